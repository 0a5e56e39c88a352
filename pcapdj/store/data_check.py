"""Whether the embedded server can start on its data: is there room, and can it read its append-only file?

Redis exits at once with code 1 if it cannot create a file in its data folder, or if its append-only file is
damaged in the middle. (It cuts off a torn end without help, `is_torn`.) supervisord would start it again at
once, each time. So its start waits here: for its disk, for room on it, or for a repaired file. If a server
has ended shortly after its start for another reason, the wait becomes longer each time.

Only after such an end the file is checked, with redis-check-aof: that reads all of it, as the server does.
Source: redis.io "Redis persistence", "What should I do if my AOF gets corrupted?".
"""

import errno
import math
import os
import re
import subprocess
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from pcapdj.runtime.backoff import backoff_s
from pcapdj.runtime.environment import foreign_environment
from pcapdj.runtime.errors import CannotCreate, Unavailable
from pcapdj.runtime.foreign_files import foreign_text, own_text
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.process import foreign_child_setup
from pcapdj.runtime.safe_text import quoted, shell_line, shortened_message
from pcapdj.runtime.whole_file import write_whole
from pcapdj.store.start_problem import PROBLEM, write_problem

_NEEDED_BYTES: Final = 1 << 16  # a manifest, the beginning of a file, the first queued names
_PROBE: Final = ".room"
_LOADED_S: Final = 60.0  # a server that lived longer has read its file
_SHORT_UPTIME_S: Final = 3.0  # of a server that could not start, and of the start of this process
_LONGEST_PAUSE_S: Final = 30.0
_LONGEST_CHECK_S: Final = 3600.0
_LOOK_S: Final = 0.5
_MOUNTED: Final = ".mounted"  # beside the socket: the data folder was a mount point
_STARTS: Final = ".starts"  # beside the socket: when the last server was started, and how many ended early
_ANALYZED: Final = re.compile(r"filename=(.+), size=(\d{1,20}), ok_up_to=(\d{1,20}),")
_NOT_VALID: Final = " is not valid"
_LONGEST_LINE_CHARS: Final = 1000
_FILES: Final = (Path("appendonlydir/appendonly.aof.manifest"), Path("appendonly.aof"))  # of Redis 7; before
_MOST_BYTES: Final = 100
_MOST_MANIFEST_BYTES: Final = 1 << 16
_LONGEST_HEADER_BYTES: Final = 64
_END: Final = b"\r\n"
_MOST_QUICK_ENDS: Final = 3  # in a row without a pause: somebody may have killed it


def check_mounted(data: Path, socket: Path) -> None:
    """Check that the data folder is a mount point, if it was one before: the one below would begin empty.

    Args:
        data: the server's folder.
        socket: beside it stands whether the folder was a mount point.

    Raises:
        CannotCreate: its disk is not mounted; the cause is an OSError.
    """
    note = socket.with_suffix(_MOUNTED)
    with suppress(OSError):  # missing: it is made, or waited for
        is_mount_point = data.stat().st_dev != data.parent.stat().st_dev
        if is_mount_point:
            write_whole(note, b"", mode=0o600, is_synced=False)
        elif os.path.lexists(note):
            raise CannotCreate(
                f"The disk of {quoted(str(data))} is not mounted.",
                hint=f"If the data belong on another disk now, remove {quoted(str(note))}.",
            ) from OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def notes_beside(socket: Path) -> tuple[Path, ...]:
    """Return where pcapdj leaves notes for its next start beside the server's socket."""
    return tuple(socket.with_suffix(suffix) for suffix in (_MOUNTED, _STARTS, PROBLEM))


def places_in(data: Path) -> list[Path]:
    """Return what is in the server's folder, and in that of its files: the server follows links there."""
    places = list[Path]()
    for folder in {(data / name).parent for name in _FILES}:
        with suppress(OSError), os.scandir(folder) as entries:
            places += [Path(each.path) for each in entries]
    return places


def check_space(data: Path) -> None:
    """Check that the server can create and write files in its folder.

    Raises:
        CannotCreate: it cannot; the cause is the OSError.
    """
    probe = data / _PROBE
    try:
        write_whole(probe, bytes(_NEEDED_BYTES), is_synced=False)
        probe.unlink()
    except OSError as exc:
        raise CannotCreate(
            f"The folder {quoted(str(data))} has no room for the data of Redis: {exc.strerror}."
        ) from exc


def damage_of(server: Path, data: Path) -> str:
    """Return what is wrong with the server's append-only file and what repairs it; empty: nothing is.

    Raises:
        Unavailable: the check cannot be run.
    """
    checked = next((data / name for name in _FILES if (data / name).exists()), None)
    if checked is None:
        return ""
    program = server.with_name(server.name.replace("server", "check-aof"))
    is_own = not program.exists()  # one program for both, which looks at the name that it is called by
    try:
        done = subprocess.run(
            [program, checked.name],
            executable=server if is_own else program,
            cwd=checked.parent,
            env=foreign_environment(),
            capture_output=True,
            errors="replace",
            check=False,
            timeout=_LONGEST_CHECK_S,
            preexec_fn=foreign_child_setup(),
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"{quoted(str(program))} does not check the data of Redis: {exc}.") from exc
    if not done.returncode:
        return ""
    repair = _repair(server if is_own else program, program, checked)
    return _described(done.stdout, checked, shell_line(repair))


def is_torn(path: Path, offset: int) -> bool:
    """Report whether an append-only file just ends early: the server cuts that off by itself.

    Args:
        path: of the file.
        offset: where the last command begins that is not whole, or a transaction that has no end.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        file.seek(offset)
        while header := file.readline(_LONGEST_HEADER_BYTES):
            if header.startswith(b"#"):  # an annotation
                continue
            if (count := _number(header, b"*")) is None:
                return _is_cut(header, b"*") and file.tell() >= size_bytes
            for _ in range(count):
                header = file.readline(_LONGEST_HEADER_BYTES)
                if (length_bytes := _number(header, b"$")) is None:
                    return _is_cut(header, b"$") and file.tell() >= size_bytes
                end = file.tell() + length_bytes
                if end + len(_END) > size_bytes:
                    return True
                file.seek(end)
                if file.read(len(_END)) != _END:
                    return False
    return True


def _number(header: bytes, kind: bytes) -> int | None:
    """Return the number of a line such as `*3`; None: it is no such line."""
    digits = header[len(kind) : -len(_END)]
    return whole_number(digits) if header == kind + digits + _END else None


def _is_cut(header: bytes, kind: bytes) -> bool:
    """Report whether this is the beginning of such a line."""
    digits = header[len(kind) :].removesuffix(_END[:1])
    return not header or (header.startswith(kind) and (not digits or whole_number(digits) is not None))


def wait_for_usable_data(server: Path, data: Path, socket: Path, events: EventLog) -> None:
    """Wait, if the last servers of this folder ended shortly after their start, until another may be started.

    Args:
        server: the program.
        data: its folder.
        socket: where it will listen; notes and problems stand beside it.
        events: the log.

    Raises:
        Unavailable: the append-only file cannot be checked.
    """
    uptime_s, failures, reminder = *_last_uptime(socket), Reminder()
    while uptime_s < _LOADED_S and (damage := damage_of(server, data)):
        if reminder.is_due(damage, time.monotonic()):
            write_problem(socket, damage)
            events.error("redis_data_damaged", damage)
        before = _stamps(data)
        while _stamps(data) == before:
            time.sleep(_LOOK_S)  # a stop signal ends the process here
    failures = failures + 1 if uptime_s < _SHORT_UPTIME_S else 0
    if failures > _MOST_QUICK_ENDS:
        pause_s = backoff_s(failures - _MOST_QUICK_ENDS, first_s=1.0, limit_s=_LONGEST_PAUSE_S)
        sentence = f"The server has ended {failures} times just after its start; var/log/redis.log has why."
        write_problem(socket, sentence)
        events.warning("redis_keeps_ending", sentence, pause_s=pause_s)
        time.sleep(pause_s)
    with suppress(OSError):
        write_whole(_note(socket), f"{time.time():.3f} {failures}".encode(), is_synced=False)


def _described(output: str, checked: Path, repair: str) -> str:
    if not (found := _not_valid(output)):
        last = shortened_message((output.splitlines() or ["no reason"])[-1])
        return (
            f"Redis cannot read its data, {quoted(str(checked))}, which cannot be repaired ({last})."
            f" Restore the folder from a copy, or move it away to start with an empty queue."
        )
    size_bytes, good_bytes = int(found[2]), int(found[3])
    damaged, cut_bytes = checked.with_name(found[1]), size_bytes - good_bytes
    if _is_last(damaged, checked) and is_torn(damaged, good_bytes):
        return ""
    return (
        f"Redis cannot read its data: {quoted(str(damaged))} is damaged at byte {good_bytes}. Copy the"
        f" folder, then run: {repair} (it cuts off the last {cut_bytes:,} of {size_bytes:,} bytes,"
        f" and with them all changes of queue and results since then). Redis starts as soon as that is done."
    )


def _not_valid(output: str) -> re.Match[str] | None:
    """Return name, size and good bytes of the file that is not valid; None: the check names none."""
    for line, after in pairwise(output.splitlines()):
        found = _ANALYZED.search(line[:_LONGEST_LINE_CHARS])
        if found and _NOT_VALID in after:
            return found
    return None


def _is_last(damaged: Path, checked: Path) -> bool:
    """Report whether a file is the one to which the server appends."""
    if damaged == checked:
        return True
    lines = foreign_text(checked, _MOST_MANIFEST_BYTES).splitlines()
    names = [line.split()[1].strip('"') for line in lines if line.endswith(" type i")]
    return names[-1:] == [damaged.name]


def _repair(program: Path, name: Path, checked: Path) -> list[str]:
    """Return the command that repairs the file."""
    if program == name:
        return [str(program), "--fix", str(checked.absolute())]
    words = shell_line(["exec", "-a", name.name, str(program), "--fix", str(checked.absolute())])
    return ["bash", "-c", words]


def _last_uptime(socket: Path) -> tuple[float, int]:
    """Return how long ago the last server was started, in seconds, and how many before it ended early."""
    with suppress(OSError, ValueError):
        started_s, failures = own_text(_note(socket), _MOST_BYTES).split()
        return abs(time.time() - float(started_s)), int(failures)
    return math.inf, 0


def _stamps(data: Path) -> set[tuple[str, int, int]]:
    folders = {(data / name).parent for name in _FILES}
    found = set()
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for each in entries:
                with suppress(OSError):
                    state = each.stat()
                    found.add((each.path, state.st_size, state.st_mtime_ns))
    return found


def _note(socket: Path) -> Path:
    return socket.with_suffix(_STARTS)
