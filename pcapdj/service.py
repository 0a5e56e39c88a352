"""The service's layout: one folder with supervisord.conf, pcapdj.env, inbox, out and var.

There is one supervisord.conf, at the top of a checkout and inside the wheel. `pcapdj init` changes its
interpreter, adds roots and nothing else; its comments stay, so that the operator reads the same file
everywhere. What the operator chooses stands in pcapdj.env (`runtime.settings_file`). Nothing is started here.
"""

import os
import re
import shlex
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from configparser import RawConfigParser
from contextlib import suppress
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final

from pcapdj.runtime.errors import CannotCreate, ConfigError
from pcapdj.runtime.foreign_files import is_folder, is_there
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.places import SOCKET_PATH_LIMIT_BYTES, make_folder
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.settings_file import NAME as SETTINGS
from pcapdj.runtime.trust import calling_user, check_folder, check_open_folder, check_places, check_way
from pcapdj.runtime.whole_file import write_whole_in

CONF: Final = "supervisord.conf"
INBOX: Final = "inbox"
OPEN_FOLDERS: Final = (INBOX, "out")
_LOGS: Final = "var/log"
_SUPERVISORDS_FOLDERS: Final = ("var/run", _LOGS)
_SUPERVISORDS_PID: Final = "var/run/supervisord.pid"
_REDIS_DATA: Final = "var/redis"
PRIVATE_FOLDERS: Final = ("var", *_SUPERVISORDS_FOLDERS, _REDIS_DATA)
_MODE: Final = 0o755
_INBOX_MODE: Final = 0o777  # less the umask: others may deliver captures
_PRIVATE_MODE: Final = 0o700
_CONF_MODE: Final = 0o644
# The longest path of a socket: supervisord binds `supervisor.sock.<its pid>`; a pid has up to 7 digits.
LONGEST_SOCKET: Final = Path("var/run/supervisor.sock.4194304")

_SECTION = re.compile(r"^(?=\[)", re.MULTILINE)
_LOG_NAME = re.compile(r"\.log(\.\d+)?$")  # supervisord renames NAME.log to NAME.log.1
_PYTHON = re.compile(r"(?<= )python3(?= -m )")


def shipped() -> str:
    """Return the text of the shipped supervisord.conf.

    Raises:
        CannotCreate: the installation does not have it.
    """
    for place in (files("pcapdj") / CONF, Path(__file__).resolve().parent.parent / CONF):
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise CannotCreate(f"This installation of pcapdj has no {CONF}.", hint="Install it again.")


def configuration(*, interpreter: Path | None, roots: Sequence[Path] = ()) -> str:
    """Return the shipped configuration, adapted.

    Args:
        interpreter: the absolute path of the python that runs the roles; None: it is searched along PATH.
        roots: the folders below which captures must lie, for all but the consumer; none: anywhere.

    Raises:
        ConfigError: one of the paths would be read as something else: a line end begins another setting.
    """
    for path in filter(None, (interpreter, *roots)):
        _check_line(str(path))
    sections = _SECTION.split(shipped())
    if interpreter is not None:
        sections = [_with_interpreter(part, interpreter) for part in sections]
    words = [word for root in roots for word in ("--root", str(root.absolute()))]
    sections = [_with_options(part, ("dispatcher", "importer", "controller"), words) for part in sections]
    return "".join(sections)


def configuration_parser() -> RawConfigParser:
    """Return a parser that reads a supervisord.conf as supervisord does, without its expansions.

    Source: supervisor 4.3.0, options.py, UnhosedConfigParser.
    """
    return RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))


def check_path(folder: Path) -> None:
    """Refuse a folder in which the service could not run.

    Raises:
        CannotCreate: the paths of sockets in it would exceed the 107 bytes of unix(7), or its path has a `%`.
    """
    if "%" in str(folder.absolute()):
        raise CannotCreate(
            f"The path {quoted(str(folder.absolute()))} has a '%', which supervisord would expand.",
            hint="Choose a path without '%'.",
        )
    excess = longest_socket_bytes(folder) - SOCKET_PATH_LIMIT_BYTES
    if excess > 0:
        raise CannotCreate(
            f"The path {quoted(str(folder.absolute()))} is {counted(excess, 'byte')} too long: unix sockets"
            f" below it would exceed {SOCKET_PATH_LIMIT_BYTES} bytes.",
            hint="Choose a folder with a shorter path.",
        )


def longest_socket_bytes(folder: Path) -> int:
    """Return the length of the longest path of a socket that the service would make in this folder."""
    return len(os.fsencode(folder.absolute() / LONGEST_SOCKET))


def folder_problems(folder: Path, logdir: str) -> Iterator[str]:
    """Yield which folders of the service in this folder its user cannot use, each with the reason.

    Args:
        folder: has a supervisord.conf.
        logdir: of the analyzer's output.
    """
    for name in _SUPERVISORDS_FOLDERS:
        if not is_folder(folder / name):
            yield f"{quoted(name)} is missing: supervisord cannot start"
    if not os.access(folder / INBOX, os.R_OK | os.X_OK):
        yield f"{quoted(INBOX)} is missing or cannot be read by this user: the importer waits for it"
    for name in (*PRIVATE_FOLDERS, logdir):
        place = folder / name
        present = next(each for each in (place, *place.parents) if is_there(each))  # the others are created
        if not is_folder(present) or not os.access(present, os.W_OK | os.X_OK):
            yield f"{quoted(name)} cannot be written by this user"
        elif present == place and name in (_REDIS_DATA, logdir):
            yield from _refusal(partial(check_folder, place, allows_sticky=False, caller=calling_user()))
    yield from _refusal(partial(check_supervisords_files, folder))


def _refusal(check: Callable[[], None]) -> Iterator[str]:
    """Yield why the role, or command, that writes there refuses it."""
    try:
        check()
    except CannotCreate as exc:
        yield str(exc)


def check_supervisords_files(folder: Path) -> None:
    """Refuse what another user left where supervisord writes while `var/log` and `var/run` were open to all.

    A link leads where that user wants, a pipe holds supervisord for ever, and a file is theirs to read. Files
    that it does not write, as a compressed log, may be anyone's.

    Raises:
        CannotCreate: there is such a thing, or another user can replace what a link of this user leads to.
    """
    places = [folder / _SUPERVISORDS_PID]
    with suppress(OSError), os.scandir(folder / _LOGS) as entries:  # else supervisord reports it
        names = (each for each in entries if _LOG_NAME.search(each.name))
        places += [Path(each.path) for each in names if not each.is_dir(follow_symlinks=False)]
    check_places(places)
    for link in filter(Path.is_symlink, places):
        check_way(link)


def write_layout(folder: Path, text: str, settings: str = "", *, force: bool = False) -> bool:
    """Create the service's folders, and write the configuration last.

    Everything is made in the folder that was checked, whatever its path leads to by then, and nothing is
    written through a link. A link in place of one of the service's folders is left as it is.

    Args:
        folder: created if missing; files in it stay.
        text: of `configuration`.
        settings: the text of the settings file; one that is there already stays.
        force: replace an existing supervisord.conf.

    Returns:
        Whether the settings were written.

    Raises:
        CannotCreate: there is one already, `check_path` refuses the path, something cannot be created, or
            another user could replace it.
    """
    check_path(folder)
    conf = folder / CONF
    make_folder(folder, _MODE)
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise _cannot_create(folder, exc) from exc
    try:
        check_open_folder(folder, opened)
        if os.path.lexists(conf) and not force:
            raise CannotCreate(f"{quoted(str(conf))} exists already.", hint="Use --force to replace it.")
        for name in (*OPEN_FOLDERS, *PRIVATE_FOLDERS):
            _make_part(folder, opened, name)
        is_new = not _is_there(SETTINGS, opened)
        if is_new:
            write_whole_in(opened, SETTINGS, settings.encode(), mode=_CONF_MODE, is_synced=False)
        content = text.encode("utf-8", "surrogateescape")
        write_whole_in(opened, CONF, content, mode=_CONF_MODE, is_synced=False)
    except OSError as exc:
        raise _cannot_create(folder / os.fsdecode(exc.filename or ""), exc) from exc
    finally:
        os.close(opened)
    return is_new


def _is_there(name: str, opened: int) -> bool:
    try:
        os.lstat(name, dir_fd=opened)
    except FileNotFoundError:
        return False
    return True


def _make_part(folder: Path, opened: int, name: str) -> None:
    """Make one of the service's folders; give one that is private its mode, also if it is there already."""
    try:
        os.mkdir(name, _INBOX_MODE if name == INBOX else _MODE, dir_fd=opened)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=opened).st_mode):
            raise
    if name not in PRIVATE_FOLDERS:
        return
    check_folder(folder / name)
    if stat.S_ISLNK(os.lstat(name, dir_fd=opened).st_mode):
        return
    part = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened)
    try:
        check_open_folder(folder / name, part)
        os.fchmod(part, _PRIVATE_MODE)
    finally:
        os.close(part)


def _cannot_create(path: Path, error: OSError) -> CannotCreate:
    return CannotCreate(f"{quoted(str(path))} cannot be created: {error.strerror}.")


def _program_of(section: str) -> str | None:
    match = re.match(r"\[program:([^]]+)\]", section)
    return match[1] if match else None


def _with_interpreter(section: str, interpreter: Path) -> str:
    """Return the section with this python in its command, and its folder first on PATH.

    -P: in a checkout the current folder has the package; in any other folder it has nothing to execute.
    """
    python = f"{_expandable(shlex.quote(str(interpreter)))} -P"
    section = _PYTHON.sub(lambda _: python, section)
    return section.replace("%(here)s/.venv/bin", _expandable(str(interpreter.parent)))


def _with_options(section: str, programs: Collection[str], words: Sequence[str]) -> str:
    """Return the section with these words at the end of its command, if it is of one of the programs."""
    if not words or _program_of(section) not in programs:
        return section
    options = _expandable(f" {shlex.join(words)}")
    return re.sub(r"(?m)^command=.*$", lambda match: match[0] + options, section, count=1)


def _check_line(text: str) -> None:
    """Refuse what supervisord does not read as a part of one line.

    Source: configparser of Python, `inline_comment_prefixes` as supervisor sets them: `;` and `#` behind a
    blank begin a comment.
    """
    if not text.isprintable() or " ;" in text or " #" in text:
        raise ConfigError(
            f"{quoted(text)} cannot stand in {CONF}.",
            hint="Use a path without control characters, ' ;', ' #', and bytes that are not UTF-8.",
        )


def _expandable(text: str) -> str:
    """Return the text with each `%` doubled: supervisord expands the result to the text."""
    return text.replace("%", "%%")
