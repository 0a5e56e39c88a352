"""The service's layout: one folder with supervisord.conf, inbox, out and var, and how that file is adapted.

There is one supervisord.conf, at the top of a checkout and inside the wheel. `pcapdj init` and `pcapdj run`
change its text (interpreter, preset, programs left out) and nothing else; its comments stay, so that the
operator reads the same file everywhere. Nothing is started here.
"""

import os
import re
import shlex
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Final

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.places import SOCKET_PATH_LIMIT_BYTES
from pcapdj.runtime.safe_text import quoted

CONF: Final = "supervisord.conf"
OPEN_FOLDERS: Final = ("inbox", "out")
PRIVATE_FOLDERS: Final = ("var", "var/run", "var/log", "var/redis")
# The longest name bound: supervisord binds `supervisor.sock.<its pid>` first, and a pid has up to 7 digits.
LONGEST_SOCKET: Final = Path("var/run/supervisor.sock.4194304")

_SECTION = re.compile(r"^(?=\[)", re.MULTILINE)
_PYTHON = re.compile(r"(?<= )python3(?= -m )")


def shipped() -> str:
    """Return the text of the shipped supervisord.conf.

    Raises:
        CannotCreate: the installation lacks it.
    """
    for place in (files("pcapdj") / CONF, Path(__file__).resolve().parent.parent / CONF):
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise CannotCreate(f"This installation of pcapdj lacks {CONF}.", hint="Install it again.")


def configuration(*, interpreter: Path | None, preset: str | None, without: Collection[str] = ()) -> str:
    """Return the shipped configuration, adapted.

    Args:
        interpreter: the absolute python that runs the roles; None leaves the search along PATH.
        preset: the analyzer's preset, written into the consumer's command; None leaves it to the environment.
        without: the programs to leave out, by name.
    """
    sections = [part for part in _SECTION.split(shipped()) if _program_of(part) not in without]
    if interpreter is not None:
        sections = [_with_interpreter(part, interpreter) for part in sections]
    if preset is not None:
        sections = [_with_preset(part, preset) for part in sections]
    return "".join(sections)


def check_folder(folder: Path) -> None:
    """Refuse a folder in which the service could not run.

    Raises:
        CannotCreate: its path leaves its sockets too few of the 107 bytes that unix(7) allows, or has a `%`.
    """
    if "%" in str(folder.absolute()):
        raise CannotCreate(
            f"The path {quoted(str(folder.absolute()))} has a '%', which supervisord expands.",
            hint="Choose a folder without.",
        )
    excess = longest_socket_bytes(folder) - SOCKET_PATH_LIMIT_BYTES
    if excess > 0:
        raise CannotCreate(
            f"The path {quoted(str(folder.absolute()))} is {excess} bytes too long: unix sockets below it"
            f" would exceed {SOCKET_PATH_LIMIT_BYTES} bytes.",
            hint="Choose a folder with a shorter path.",
        )


def longest_socket_bytes(folder: Path) -> int:
    """Return the bytes of the longest socket path that the service would bind in this folder."""
    return len(os.fsencode(folder.absolute() / LONGEST_SOCKET))


def lay_out(folder: Path, text: str, *, force: bool = False) -> None:
    """Make the service's folders, and write the configuration last.

    Args:
        folder: made if missing; files in it stay.
        text: of `configuration`.
        force: replace a supervisord.conf that stands there.

    Raises:
        CannotCreate: one stands there, `check_folder` refuses the path, or something cannot be made.
    """
    check_folder(folder)
    conf = folder / CONF
    if conf.exists() and not force:
        raise CannotCreate(f"{quoted(str(conf))} is there already.", hint="Use --force to replace it.")
    try:
        _make_folders(folder)
        conf.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as exc:
        where = quoted(os.fspath(exc.filename or folder))
        raise CannotCreate(f"{where} cannot be made: {exc.strerror}.") from exc


def _make_folders(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in OPEN_FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    for name in PRIVATE_FOLDERS:
        private = folder / name
        private.mkdir(exist_ok=True)
        private.chmod(0o700)


def _program_of(section: str) -> str | None:
    match = re.match(r"\[program:([^]]+)\]", section)
    return match[1] if match else None


def _with_interpreter(section: str, interpreter: Path) -> str:
    """Return the section with this python in its command, and its folder first on PATH."""
    python = _expandable(shlex.quote(str(interpreter)))
    section = _PYTHON.sub(lambda _: python, section)
    return section.replace("%(here)s/.venv/bin", _expandable(str(interpreter.parent)))


def _with_preset(section: str, preset: str) -> str:
    if _program_of(section) != "consumer":
        return section
    option = f" --preset {_expandable(shlex.quote(preset))}"
    return re.sub(r"(?m)^command=.*$", lambda match: match[0] + option, section, count=1)


def _expandable(text: str) -> str:
    """Return the text as supervisord's expansion of `%` gives it back."""
    return text.replace("%", "%%")
