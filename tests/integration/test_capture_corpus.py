"""Public capture files, read by our code and compared with the facts that libpcap reads from each.

`facts.jsonl` beside the files is the reference: counts, sums and a digest over every record, by libpcap 1.10.
A timestamp's two 32-bit fields are signed there, so they are here.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.loops import Form, loops

from pcapdj.capture.opening import Capture, open_capture
from pcapdj.capture.pcap import Totals
from pcapdj.runtime.errors import CaptureError

SHARED = Path(os.environ.get("PCAPDJ_SHARED", Path(__file__).parents[3] / "shared"))
CORPUS = SHARED / "captures"
RECORD = struct.Struct("<iiII")

GENERATED = "pcapng-test-generator/output_le__"
# Files that we read further than libpcap, without an error: packets delivered, packets skipped by link type.
BEYOND_LIBPCAP = {
    "joincap/ok.pcap.gz": (851, {}),  # compressed: libpcap reads none
    f"{GENERATED}basic__test002.pcapng": (0, {}),  # no interface and no packet is a valid empty capture
    f"{GENERATED}basic__test017.pcapng": (0, {}),
    f"{GENERATED}basic__test004.pcapng": (4, {}),  # interfaces with different snaplens
    f"{GENERATED}basic__test005.pcapng": (4, {}),
    f"{GENERATED}basic__test008.pcapng": (4, {}),
    f"{GENERATED}difficult__test200.pcapng": (0, {}),
    f"{GENERATED}basic__test006.pcapng": (4, {0: 1}),  # interfaces with different link types: tshark's counts
    f"{GENERATED}basic__test014.pcapng": (0, {}),
    f"{GENERATED}advanced__test100.pcapng": (4, {0: 1}),
    f"{GENERATED}advanced__test101.pcapng": (3, {0: 1}),
    f"{GENERATED}advanced__test102.pcapng": (4, {0: 1}),
    f"{GENERATED}difficult__test201.pcapng": (3, {0: 1}),
    f"{GENERATED}difficult__test202.pcapng": (6, {0: 2}),  # and sections of different byte orders
    "tcpdump/time_2106_overflow.pcapng": (
        1,
        {},
    ),  # 2106-02-07 06:28:16 does not fit into a classic record: wraps
}


@dataclass
class Seen:
    """What an independent look at our stream finds."""

    packets: int = 0
    caplen_sum: int = 0
    len_sum: int = 0
    digest: str | None = None
    error: str | None = None
    skipped: dict[int, int] = field(default_factory=dict)


def facts_of(folder: Path) -> list[dict[str, Any]]:
    """Return the facts of each file in a folder of the corpus."""
    return [json.loads(line) for line in (folder / "facts.jsonl").read_text().splitlines()]


def stream_bytes(capture: Capture) -> Iterator[bytes]:
    """Yield the capture's records as they would enter the stream."""
    if capture.native is None:
        return
    for piece in capture.pieces(capture.native):
        yield bytes(piece.data)


def snaplen_that_libpcap_cuts_to(capture: Capture) -> int:
    """Return the snaplen of a file that has longer records; we deliver them whole."""
    totals = Totals()
    with contextlib.suppress(CaptureError):
        for piece in capture.pieces(capture.native) if capture.native else ():
            totals += piece.totals
    return capture.snaplen if totals.beyond_snaplen and capture.snaplen else 262_144


def look_at(path: Path) -> Seen:
    """Return what our code delivers of a file."""
    seen = Seen()
    digest = hashlib.sha256()
    try:
        with open_capture(os.fsencode(path), refuse_written=False) as capture:
            seen.digest = ""
            units = 1000 if capture.native and capture.native.nanosecond else 1
            limit = snaplen_that_libpcap_cuts_to(capture)
            for data in stream_bytes(capture):
                add_records(seen, digest, data, units, limit)
            seen.skipped = dict(capture.skipped)
    except CaptureError as damage:
        seen.error = damage.reason
    if seen.digest is not None:
        seen.digest = digest.hexdigest()
    return seen


def add_records(seen: Seen, digest: Any, data: bytes, units_per_us: int, limit: int) -> None:
    """Add records to what was seen, as libpcap cuts them."""
    position = 0
    while position < len(data):
        seconds, fraction, captured, length = RECORD.unpack_from(data, position)
        position += RECORD.size
        packet = data[position : position + min(captured, limit)]
        position += captured
        assert position <= len(data)
        seen.packets += 1
        seen.caplen_sum += len(packet)
        seen.len_sum += length
        digest.update(
            struct.pack("<qII", seconds * 1_000_000 + fraction // units_per_us, len(packet), length)
        )
        digest.update(packet)


def compared(path: Path, facts: dict[str, Any]) -> tuple[Any, Any]:
    """Return what our code delivers of a file, and what it has to deliver by these facts."""
    beyond = BEYOND_LIBPCAP.get(f"{path.parent.name}/{path.name}")
    seen = look_at(path)
    if beyond is not None:
        return (seen.packets, seen.skipped, seen.error), (*beyond, None)
    if facts["error"] is None:
        wanted = tuple(facts[name] for name in ("packets", "caplen_sum", "len_sum", "digest", "error"))
        return (seen.packets, seen.caplen_sum, seen.len_sum, seen.digest, seen.error), wanted
    return (min(seen.packets, facts["packets"]), bool(seen.error)), (facts["packets"], True)


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no capture corpus at {CORPUS}")
@pytest.mark.parametrize("folder", sorted(path.parent.name for path in CORPUS.glob("*/facts.jsonl")))
@pytest.mark.parametrize("form", ["compiled", "python"])
def test_public_captures_are_read_as_libpcap_reads_them(folder: str, form: Form) -> None:
    """Complete where libpcap reads it completely; else at least its records before damage, and a reason."""
    files = [(CORPUS / folder / facts["file"], facts) for facts in facts_of(CORPUS / folder)]
    with loops(form):
        found = {path.name: compared(path, facts) for path, facts in files}

    assert found
    assert {name: (seen, wanted) for name, (seen, wanted) in found.items() if seen != wanted} == {}


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no capture corpus at {CORPUS}")
def test_every_exception_from_libpcap_is_in_the_corpus() -> None:
    """An exception for a file that does not exist is an error in the list."""
    assert [name for name in BEYOND_LIBPCAP if not (CORPUS / name).is_file()] == []
