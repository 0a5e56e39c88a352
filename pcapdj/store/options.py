"""The Redis options of every role and command, as typer types, and the store that they name."""

import errno
import os
import select
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from pcapdj.runtime.environment import forget
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.mounts import mount_that_may_hang
from pcapdj.runtime.safe_text import quoted, unix_url
from pcapdj.runtime.settings_record import FILE_OF_PASSWORD, may_be_path
from pcapdj.runtime.trust import has_service
from pcapdj.store.client import COMMAND_TIMEOUT_S, ROLE_TIMEOUT_S, Store
from pcapdj.store.keys import IN_QUEUE, Keys
from pcapdj.store.redis_url import DEFAULT_URL, SOCKET_IN_LAYOUT, URL_VARIABLE, has_secret, refuse_secret

_MOST_PASSWORD_BYTES: Final = 4096
_PIPE_LIMIT_S: Final = 60.0  # a program that a pipe comes from may ask a person for its passphrase


def _checked_url(context: typer.Context, parameter: typer.CallbackParam, url: str) -> str:
    source = context.get_parameter_source(parameter.name or "")
    if source is not None and source.name == "COMMANDLINE":
        refuse_secret(url, "--redis-url")
    return url


RedisUrl = Annotated[
    str,
    typer.Option(
        "--redis-url",
        envvar=URL_VARIABLE,
        help="redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379",
        callback=_checked_url,
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--redis-password-file",
        envvar="PCAPDJ_REDIS_PASSWORD_FILE",
        help="a file with Redis's password",
    ),
]
Lane = Annotated[
    str,
    typer.Option("--lane", envvar="PCAPDJ_LANE", help="a prefix for all keys: one lane per sensor"),
]


OnEvent = Annotated[
    str,
    typer.Option(
        "--on-event",
        envvar="PCAPDJ_ON_EVENT",
        metavar="CMD",
        help="run this command (no shell) when the gate changes, the analyzer fails, a file is poison or"
        " storage goes away; PCAPDJ_EVENT_KIND, PCAPDJ_EVENT_SENTENCE and others describe the event",
    ),
]
FedDays = Annotated[
    int,
    typer.Option(
        "--fed-days",
        envvar="PCAPDJ_FED_DAYS",
        min=0,
        help="with --watch: forget a fed file that is gone after this many days; 0 = never",
    ),
]
CapturesDays = Annotated[
    int,
    typer.Option(
        "--captures-days",
        envvar="PCAPDJ_CAPTURES_DAYS",
        min=0,
        help="with --watch: forget a fed capture after this many days; 0 = never",
    ),
]


def open_store(
    url: str, password_file: Path | None, lane: str, *, in_queue: str = IN_QUEUE, is_role: bool = False
) -> Store:
    """Return the store that the options name; nothing is sent yet. A password leaves the environment.

    Args:
        url: empty for the default (`default_url`).
        password_file: its first line is the password.
        lane: the lane's name, empty for the default lane.
        in_queue: the queue's name where it is renamed.
        is_role: a role's calls are short, and it repeats them; a command waits once, for three seconds.

    Raises:
        ConfigError: the URL, the lane or the password file is not valid.
    """
    url = url or default_url(Path.cwd())
    if has_secret(os.environ.get(URL_VARIABLE, "")):
        forget(URL_VARIABLE)
    return Store(
        url,
        Keys(lane, in_queue),
        timeout_s=ROLE_TIMEOUT_S if is_role else COMMAND_TIMEOUT_S,
        password=_password_of(password_file) if password_file else None,
    )


def environment_of(store: Store, password_file: Path | None) -> dict[str, str]:
    """Return the variables by which a process of ours finds this store: not on its command line.

    Args:
        store: whose server it is.
        password_file: that was given for it.
    """
    found = {URL_VARIABLE: store.url}
    return found | ({FILE_OF_PASSWORD: str(password_file.absolute())} if password_file else {})


def default_url(folder: Path) -> str:
    """Return the URL to use where no option gives one.

    PCAPDJ_REDIS_URL, else the socket of the service in this folder (a supervisord.conf is there), else
    Redis's own default. Where the server of a layout does not answer, no other server is used in its place.

    Raises:
        ConfigError: the service in this folder is another user's.
    """
    if url := os.environ.get(URL_VARIABLE):
        return url
    if has_service(folder):
        return unix_url(str((folder / SOCKET_IN_LAYOUT).absolute()))
    return DEFAULT_URL


def _first_line(path: Path) -> str:
    """Return the first line of a file, which may be a pipe of the shell's: `<(command)`.

    Raises:
        OSError: it cannot be read; or it is a pipe, and nobody writes the line.
        UnicodeDecodeError: it is not UTF-8.
    """
    data, end_s = b"", time.monotonic() + _PIPE_LIMIT_S
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        while b"\n" not in data and len(data) < _MOST_PASSWORD_BYTES:
            if not select.select([descriptor], [], [], max(0.0, end_s - time.monotonic()))[0]:
                raise OSError(errno.ETIMEDOUT, f"no line came from it in {_PIPE_LIMIT_S:g} s")
            with suppress(BlockingIOError):
                if not (part := os.read(descriptor, _MOST_PASSWORD_BYTES)):
                    break
                data += part
    finally:
        os.close(descriptor)
    return (data.splitlines() or [b""])[0].decode("utf-8")


def _password_of(path: Path) -> str:
    """Return the password; a stop ends also a role that waits for its file: a pipe, or on one that hangs."""
    from pcapdj.runtime.child_process import result_of
    from pcapdj.runtime.command import ended_in_order

    if not mount_that_may_hang(os.fsencode(path)):
        with ended_in_order():
            return _password(path)
    return result_of(partial(_password, path))


def _password(path: Path) -> str:
    if not may_be_path(str(path)):  # it may be the password itself
        raise ConfigError(
            "The password file does not exist.", hint="Name a file that has the password in its first line."
        )
    try:
        password = _first_line(path)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigError(f"The password file {quoted(str(path))} cannot be read: {reason}.") from exc
    if not password:
        raise ConfigError(f"The password file {quoted(str(path))} is empty.")
    return password
