"""What the analyzer finds out, as it stands in its files: one value per line of JSON. Pure.

Times are text, UTC, with nine digits of fraction: exact, sortable, and safe from programs that read every
number as a float.
"""

import time
from dataclasses import dataclass, field
from enum import StrEnum


class Ended(StrEnum):
    """How the stream came to its end."""

    CLEAN = "clean"
    STOPPED = "stopped"  # by SIGTERM or SIGINT; what was read until then is reported
    TORN = "torn"  # not a capture, or the end lies inside a record


@dataclass(frozen=True, slots=True)
class FlowSummary:
    """One line of `flows.jsonl`: packets between two endpoints, both directions together."""

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


@dataclass(frozen=True, slots=True)
class HttpObject:
    """One line of `objects.jsonl`: the body of one HTTP response.

    The digest is that of the body as transferred: chunk framing is taken off, a content coding such as
    gzip (named in `content_encoding`) is not. Of an incomplete object it covers the bytes that were seen.
    """

    method: str | None  # the request's; None if it was not seen
    host: str | None
    uri: str | None
    status: int
    content_type: str
    content_encoding: str
    size_bytes: int
    sha256: str
    complete: bool
    reason: str  # why not complete; empty if it is
    client: str
    client_port: int
    server: str
    server_port: int
    first_time: str  # of the packet with the end of the response's head
    last_time: str


@dataclass(frozen=True, slots=True)
class Totals:
    """`summary.json`: the whole stream in numbers."""

    packets: int = 0
    captured_bytes: int = 0
    original_bytes: int = 0
    flows: int = 0
    objects: int = 0
    complete_objects: int = 0
    other_packets: int = 0  # sound, but no IP: ARP, STP, LLDP
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
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction_ns:09d}Z"
