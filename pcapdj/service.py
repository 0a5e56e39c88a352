"""The service's layout: one folder with supervisord.conf, inbox, out and var.

There is one supervisord.conf, at the top of a checkout and inside the wheel. `pcapdj init` changes its
interpreter and preset and nothing else; its comments stay, so that the operator reads the same file
everywhere. Nothing is started here.
"""

import os
import re
import shlex
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.places import SOCKET_PATH_LIMIT_BYTES
from pcapdj.runtime.safe_text import quoted

CONF: Final = "supervisord.conf"
INBOX: Final = "inbox"
OPEN_FOLDERS: Final = (INBOX, "out")
_SUPERVISORDS_FOLDERS: Final = ("var/run", "var/log")
PRIVATE_FOLDERS: Final = ("var", *_SUPERVISORDS_FOLDERS, "var/redis")
# The longest path of a socket: supervisord binds `supervisor.sock.<its pid>`; a pid has up to 7 digits.
LONGEST_SOCKET: Final = Path("var/run/supervisor.sock.4194304")

_SECTION = re.compile(r"^(?=\[)", re.MULTILINE)
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


def configuration(*, interpreter: Path | None, preset: str | None) -> str:
    """Return the shipped configuration, adapted.

    Args:
        interpreter: the absolute path of the python that runs the roles; None: it is searched along PATH.
        preset: the analyzer's preset, written into the consumer's command; None: the environment has it.
    """
    sections = _SECTION.split(shipped())
    if interpreter is not None:
        sections = [_with_interpreter(part, interpreter) for part in sections]
    if preset is not None:
        sections = [_with_preset(part, preset) for part in sections]
    return "".join(sections)


def check_folder(folder: Path) -> None:
    """Refuse a folder in which the service could not run.

    Raises:
        CannotCreate: the paths of sockets in it would exceed the 107 bytes of unix(7), its path has a `%`, or
            it belongs to another user.
    """
    if "%" in str(folder.absolute()):
        raise CannotCreate(
            f"The path {quoted(str(folder.absolute()))} has a '%', which supervisord would expand.",
            hint="Choose a path without '%'.",
        )
    excess = longest_socket_bytes(folder) - SOCKET_PATH_LIMIT_BYTES
    if excess > 0:
        raise CannotCreate(
            f"The path {quoted(str(folder.absolute()))} is {excess} bytes too long: unix sockets below it"
            f" would exceed {SOCKET_PATH_LIMIT_BYTES} bytes.",
            hint="Choose a folder with a shorter path.",
        )
    owner = _owner_of(folder)
    if owner not in (None, 0, os.geteuid()):
        raise CannotCreate(
            f"The folder {quoted(str(folder.absolute()))} belongs to another user ({owner}).",
            hint="Use a folder of your own.",
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
        if not (folder / name).is_dir():
            yield f"{quoted(name)} is missing: supervisord cannot start"
    if not os.access(folder / INBOX, os.R_OK | os.X_OK):
        yield f"{quoted(INBOX)} is missing or cannot be read by this user: the importer waits for it"
    for name in (*PRIVATE_FOLDERS, logdir):
        place = folder / name
        present = next(each for each in (place, *place.parents) if each.exists())  # the others are created
        if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
            yield f"{quoted(name)} cannot be written by this user"


def write_layout(folder: Path, text: str, *, force: bool = False) -> None:
    """Create the service's folders, and write the configuration last.

    Args:
        folder: created if missing; files in it stay.
        text: of `configuration`.
        force: replace an existing supervisord.conf.

    Raises:
        CannotCreate: there is one already, `check_folder` refuses the path, or something cannot be created.
    """
    check_folder(folder)
    conf = folder / CONF
    if os.path.lexists(conf) and not force:
        raise CannotCreate(f"{quoted(str(conf))} exists already.", hint="Use --force to replace it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*OPEN_FOLDERS, *PRIVATE_FOLDERS):
            (folder / name).mkdir(exist_ok=True)
            if name in PRIVATE_FOLDERS:
                (folder / name).chmod(0o700)
        conf.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as exc:
        where = quoted(os.fspath(exc.filename or folder))
        raise CannotCreate(f"{where} cannot be created: {exc.strerror}.") from exc


def _owner_of(folder: Path) -> int | None:
    try:
        return folder.stat().st_uid
    except OSError:  # missing, or out of reach: then creating it fails with the reason
        return None


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


def _with_preset(section: str, preset: str) -> str:
    if _program_of(section) != "consumer":
        return section
    option = f" --preset {_expandable(shlex.quote(preset))}"
    return re.sub(r"(?m)^command=.*$", lambda match: match[0] + option, section, count=1)


def _expandable(text: str) -> str:
    """Return the text with each `%` doubled: supervisord expands the result to the text."""
    return text.replace("%", "%%")
