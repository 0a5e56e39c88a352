"""What is left to look at after a scenario was killed: the analyzers' copies, Redis's lists, what is kept."""

import ctypes
import fcntl
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from faults.checker import Findings, RedisLists, Stream, check_journal, check_names, check_order, check_stream
from faults.scenario import Scenario
from pcapdj.feed.note import BatchNote, latest_note
from pcapdj.runtime.safe_text import to_name

_PIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sent:
    """What the launcher has of the stream.

    Args:
        note: about the batch that was sent last.
        rest: what of it is not in the pipe.
        has_file: a capture file is in flight.
    """

    note: BatchNote
    rest: bytes
    has_file: bool


def sent_of(scenario: Scenario) -> Sent | None:
    """Return what the launcher's descriptors show, from /proc; None if no batch was sent."""
    folder, kept = Path(f"/proc/{scenario.roles['consumer_launcher'].pid}/fd"), dict[str, Path]()
    batches: list[Path] = []
    with suppress(OSError, KeyError, IndexError):
        for descriptor in sorted(folder.iterdir(), key=lambda each: int(each.name)):
            with suppress(OSError):
                target = str(descriptor.readlink()).removesuffix(" (deleted)")
                kept[target] = descriptor
                if target.startswith("pipe:") and _is_open_for_both(descriptor):
                    batches.append(descriptor)  # they were received one after the other
        note = latest_note(kept["/memfd:pcapdj-note"].read_bytes())
        if note is None:
            return None
        has_file = any(target.startswith(str(scenario.captures)) for target in kept)
        return Sent(note, _content_of(batches[note.batch]), has_file)
    return None


def _is_open_for_both(descriptor: Path) -> bool:
    """Report whether a descriptor of another process is open for reading and writing."""
    flags = (descriptor.parent.parent / "fdinfo" / descriptor.name).read_text().split()[3]
    return int(flags, 8) & os.O_ACCMODE == os.O_RDWR


def _content_of(pipe: Path) -> bytes:
    """Return what is in a pipe, and leave it there."""
    source = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        copied = ctypes.CDLL(None).tee(source, writer, _PIPE_BYTES, os.SPLICE_F_NONBLOCK)
        return os.read(reader, _PIPE_BYTES) if copied > 0 else b""
    finally:
        for descriptor in (source, reader, writer):
            os.close(descriptor)


def lists_of(scenario: Scenario) -> RedisLists:
    """Return where all names are, at one instant."""
    keys = scenario.store.keys
    with scenario.store.redis.pipeline(transaction=True) as batch:
        for key in (keys.in_queue, keys.processed, keys.failed):
            batch.lrange(key, 0, -1)
        batch.hget(keys.current(str(scenario.pipe)), "name")
        batch.xrange(keys.journal)
        queued, processed, failed, current, journal = batch.execute()
    failures = [to_name(json.loads(entry)["name"]) for entry in failed]
    numbers = {os.fsencode(file.path): file.number for file in scenario.files.values()}
    entries = [fields for _, fields in journal if fields[b"name"] in numbers]
    return RedisLists(
        queued,
        [current] if current else [],
        processed,
        failures,
        [(numbers[e[b"name"]], e[b"stream"].decode(), e[b"verdict"].decode()) for e in entries],
    )


def streams_of(scenario: Scenario) -> list[Stream]:
    """Return what the analyzers wrote, oldest first."""
    copies = [path for path in scenario.out.glob("*/copy") if not path.parent.is_symlink()]
    copies.sort(key=lambda path: path.stat().st_mtime_ns)  # the next stream begins after the last has ended
    ids = [path.parent.name.rpartition("-")[2] for path in copies]
    streams = [
        Stream(stream, path.read_bytes(), stream in scenario.killed)
        for stream, path in zip(ids, copies, strict=True)
    ]
    return [stream for stream in streams if stream.data]


def findings_of(scenario: Scenario) -> list[Findings]:
    """Return what the checker finds in all streams and in Redis."""
    streams, lists = streams_of(scenario), lists_of(scenario)
    checked = {stream.id: check_stream(stream, scenario.files) for stream in streams}
    by_id = {stream.id: stream for stream in streams}
    return [
        *checked.values(),
        check_order(list(checked.values())),
        check_names(lists, scenario.accepted),
        check_journal(lists, checked, by_id, scenario.files),
    ]
