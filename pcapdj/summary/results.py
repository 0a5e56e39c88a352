"""The results of the analyzer, and the files in its log folder that hold them: one JSON value per line.

Times are text, UTC, with nine digits of fraction: exact, sortable, and safe from programs that read every
number as a float. `pcapdj run` reads the objects while the analyzer still runs.
"""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, Self, TextIO, get_args, get_type_hints

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.foreign_files import MOST_LINE_BYTES, foreign_lines, foreign_text
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.whole_file import mkdir_inside, open_inside, unlink_inside, write_whole

FLOWS_NAME = "flows.jsonl"
OBJECTS_NAME = "objects.jsonl"
SUMMARY_NAME = "summary.json"

_MOST_CONNECTIONS: Final = 1 << 63
_to_json: Final = json.JSONEncoder(check_circular=False).encode


class Ended(StrEnum):
    """How the stream ended."""

    CLEAN = "clean"
    STOPPED = "stopped"  # by SIGTERM or SIGINT
    TORN = "torn"  # not a capture, or it ended inside a record


class FlowSummary(NamedTuple):
    """One line of `flows.jsonl`: packets between two endpoints, both directions together.

    A tuple, as `HttpObject`: there may be one for each packet.
    """

    source: str  # sender of the first packet seen
    source_port: int
    destination: str
    destination_port: int
    protocol: str
    packets: int
    bytes: int  # on the wire, link layer included
    first_time: str
    last_time: str
    end: str  # closed, reset, port reused, evicted, end of stream


class HttpObject(NamedTuple):
    """One line of `objects.jsonl`: the body of one HTTP response.

    The digest is that of the body as transferred: without chunk framing, but with a content coding such as
    gzip (named in `content_encoding`). Of an incomplete object it covers the bytes in the capture.
    """

    method: str | None  # the request's; None if the capture does not have it
    host: str | None
    uri: str | None
    status: int
    content_type: str
    content_encoding: str
    size_bytes: int
    sha256: str
    complete: bool
    reason: str  # why it is incomplete; empty if it is complete
    client: str
    client_port: int
    server: str
    server_port: int
    first_time: str  # of the packet with the end of the response's head
    last_time: str


@dataclass(slots=True)
class StreamSummary:
    """The contents of `summary.json`: counts and times of the whole stream."""

    packets: int = 0
    captured_bytes: int = 0
    original_bytes: int = 0
    flows: int = 0
    objects: int = 0
    complete_objects: int = 0
    unread_connections: int = 0  # with too many small HTTP messages: counted, not read to their end
    other_packets: int = 0  # valid, but without IP: ARP, STP, LLDP
    fragments: int = 0  # of IP packets; counted, not reassembled
    undecodable_packets: int = 0
    linktype: int | None = None
    first_time: str | None = None
    last_time: str | None = None
    ended: Ended = field(default=Ended.CLEAN)
    error: str = ""


def iso_time(time_ns: int) -> str:
    """Return a time since 1970 as `2024-01-01T12:00:00.123456789Z`."""
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    return f"{_second_text(seconds)}.{fraction_ns:09d}Z"


@lru_cache(maxsize=64)  # the results of one second are usually many
def _second_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class Results(Protocol):
    """Where flows and objects go when they end."""

    def add_flow(self, flow: FlowSummary) -> None:
        """Add the next flow."""

    def add_object(self, found: HttpObject) -> None:
        """Add the next object."""


class ResultFiles:
    """The three files of one run; use as a context manager.

    Args:
        logdir: their folder, which is made.
        kept: how many objects `first_objects` has at most.

    Raises:
        CannotCreate: the folder or a file in it cannot be made.
    """

    def __init__(self, logdir: Path, kept: int = 0) -> None:
        self._logdir = logdir
        self._kept = kept
        self.first_objects: list[HttpObject] = []
        self._stack = ExitStack()
        try:
            with suppress(FileExistsError):
                mkdir_inside(logdir)
            self._flows = self._open(FLOWS_NAME)
            self._objects = self._open(OBJECTS_NAME)
        except OSError as exc:
            self._stack.close()
            raise CannotCreate(f"cannot write into {str(logdir)!r}: {exc.strerror}.") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_flow(self, flow: FlowSummary) -> None:
        """Append a flow.

        Raises:
            OSError: the disk is full.
        """
        self._flows.write(_line(flow))

    def add_object(self, found: HttpObject) -> None:
        """Append an object.

        Raises:
            OSError: the disk is full.
        """
        self._objects.write(_line(found))
        if len(self.first_objects) < self._kept:
            self.first_objects.append(found)

    def close(self, summary: StreamSummary) -> None:
        """Write everything to disk; `summary.json` is renamed into place last.

        Raises:
            OSError: the disk is full.
        """
        self._stack.close()
        text = json.dumps(dataclasses.asdict(summary), indent=2) + "\n"
        write_whole(self._logdir / SUMMARY_NAME, text.encode("ascii"), is_synced=False)

    def _open(self, name: str) -> TextIO:
        """Open a new file: one that is there is replaced, and no link is followed."""
        path = self._logdir / name
        unlink_inside(path)
        descriptor = open_inside(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        return self._stack.enter_context(os.fdopen(descriptor, "w", encoding="ascii"))


def read_objects(logdir: Path, on_read: Callable[[int], None] | None = None) -> Iterator[HttpObject]:
    """Yield the HTTP objects that an analyzer wrote into this folder, in the order in which they ended.

    There are none if there is no such file. Lines that are incomplete or not valid are ignored, and so are
    those with a field of another type: the analyzer may be another program.

    Args:
        logdir: of the stream.
        on_read: as `foreign_lines`.
    """
    kinds = [frozenset(get_args(kind) or (kind,)) for kind in get_type_hints(HttpObject).values()]
    for line in _read_lines(logdir / OBJECTS_NAME, on_read):
        values = [line.get(name, ...) for name in HttpObject._fields]
        if all(map(frozenset.__contains__, kinds, map(type, values))):  # in C: there may be millions
            yield HttpObject(*values)


def read_unread_connections(logdir: Path) -> int:
    """Return the number that an analyzer wrote into this folder's summary; 0 if there is none."""
    with suppress(OSError, ValueError):
        number = decode_object(foreign_text(logdir / SUMMARY_NAME, MOST_LINE_BYTES)).get("unread_connections")
        return number if type(number) is int and 0 < number < _MOST_CONNECTIONS else 0
    return 0


def _line(value: FlowSummary | HttpObject) -> str:
    return _to_json(value._asdict()) + "\n"


def _read_lines(path: Path, on_read: Callable[[int], None] | None) -> Iterator[dict[str, Any]]:
    for line in foreign_lines(path, on_read):
        with suppress(ValueError):
            yield decode_object(line)
