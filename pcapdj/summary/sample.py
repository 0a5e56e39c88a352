"""The sample captures: one HTTP download, cut over five rotated files, among other traffic.

Nothing but the five files fed as one stream gives the whole download: every border lies inside the
transfer, and three of the four lie where it hurts.

    border  1  between two segments
            2  between two segments in the wrong order: the later one before it, the earlier one behind
            3  between a segment and one that repeats its second half and goes on behind it
            4  between a segment and its retransmission

The same seed gives the same bytes. The files look like those of `tcpdump -G 60 -w sample-%Y%m%d-%H%M%S.pcap`.
"""

import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from pcapdj.runtime.errors import CannotCreate
from pcapdj.summary.sample_frames import Host, Segment, Sender, closed, dns_frames, opened, sent, udp_frame
from pcapdj.summary.stream import CAPTURED_LIMIT_BYTES

BODY_BYTES = 3 << 20
SEGMENT_BYTES = 1448  # what fits into an Ethernet frame beside the usual TCP options
FILE_COUNT = 5
FILE_S = 60  # time between two rotations
START_S = 1_704_110_400  # 2024-01-01 12:00:00 UTC
DOWNLOAD_NAME = "download.bin"
EXPECTED_NAME = "expected.sha256"

CLIENT = Host("192.0.2.10", 49_152, 0x10)
SERVER = Host("198.51.100.80", 80, 0x80)
RESOLVER = Host("192.0.2.53", 53, 0x53)
CLOCK = Host("203.0.113.123", 123, 0x7B)
NEIGHBOUR = Host("192.0.2.20", 40_000, 0x20)
MAIL = Host("203.0.113.25", 25, 0x19)
CLIENT_ISN = 0xFFFF_FFF0  # both directions wrap around the sequence space, the download in its second file
SERVER_ISN = 0xFFF0_0000

Parts = list[list[bytes]]


def write_sample(folder: Path, *, seed: int = 1) -> list[Path]:
    """Write the five captures, and `expected.sha256` in the form of sha256sum(1).

    Args:
        folder: made if it is missing; files of the same names are replaced.
        seed: of the body and of the disorder in the transfer.

    Returns:
        The captures, in the order in which they were "captured".

    Raises:
        CannotCreate: the folder or a file in it cannot be written.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible content, no secret
    body = rng.randbytes(BODY_BYTES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(body).hexdigest()
        (folder / EXPECTED_NAME).write_text(f"{digest}  {DOWNLOAD_NAME}\n", encoding="ascii")
        return [_write(folder, number, frames) for number, frames in enumerate(_parts(body, rng))]
    except OSError as exc:
        raise CannotCreate(f"cannot write the sample into {str(folder)!r}: {exc.strerror}.") from exc


def _parts(body: bytes, rng: random.Random) -> Parts:
    """Return the frames of each file: the download, with other traffic strewn in between."""
    parts = _download(body, rng)
    for number, frames in enumerate(parts):
        background = _background(number)
        # Never first or last: there stand the segments that the borders are about.
        places = sorted(rng.randrange(1, len(frames)) for _ in background)
        for place, frame in zip(reversed(places), reversed(background), strict=True):
            frames.insert(place, frame)
    return parts


def _download(body: bytes, rng: random.Random) -> Parts:
    head = (
        f"HTTP/1.1 200 OK\r\nServer: sample\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
    request = (
        f"GET /{DOWNLOAD_NAME} HTTP/1.1\r\nHost: files.example\r\nUser-Agent: sample\r\nAccept: */*\r\n\r\n"
    ).encode("ascii")
    client = Sender(CLIENT, SERVER, CLIENT_ISN, request)
    server = Sender(SERVER, CLIENT, SERVER_ISN, head + body)
    opening = [*opened(client, server), sent(client, server, Segment(0, len(request))), server.acknowledge()]
    parts = [
        list(_transfer(client, server, segments)) for segments in _send_order(len(head) + len(body), rng)
    ]
    parts[0][:0] = opening
    parts[-1] += [client.acknowledge(), *closed(server, client)]
    return parts


def _transfer(client: Sender, server: Sender, segments: list[Segment]) -> Iterator[bytes]:
    for number, segment in enumerate(segments, start=1):
        yield sent(server, client, segment)
        if number % 2 == 0 and number < len(segments):
            yield client.acknowledge()


def _send_order(stream_bytes: int, rng: random.Random) -> list[list[Segment]]:
    """Return the segments of each file in the order in which they pass the sensor."""
    whole = [
        Segment(at, min(SEGMENT_BYTES, stream_bytes - at)) for at in range(0, stream_bytes, SEGMENT_BYTES)
    ]
    share = len(whole) // FILE_COUNT
    parts = [whole[n * share : (n + 1) * share] for n in range(FILE_COUNT - 1)]
    parts.append(whole[(FILE_COUNT - 1) * share :])
    for part in parts:
        _disturb(part, rng)
    parts[1][-1], parts[2][0] = parts[2][0], parts[1][-1]
    parts[3].insert(0, Segment(parts[2][-1].offset + SEGMENT_BYTES // 2, SEGMENT_BYTES))
    parts[4].insert(0, parts[3][-1])
    return parts


def _disturb(part: list[Segment], rng: random.Random) -> None:
    """Let some segments come late, and some twice; the first and last ones stay as they are."""
    for _ in range(4):
        late = rng.randrange(10, len(part) - 20)
        part.insert(late + rng.randrange(1, 8), part.pop(late))
        twice = rng.randrange(10, len(part) - 20)
        part.insert(twice + rng.randrange(1, 8), part[twice])


def _background(number: int) -> list[bytes]:
    """Return frames that have nothing to do with the download, in their order."""
    neighbour = replace(NEIGHBOUR, port=NEIGHBOUR.port + number)
    client = Sender(neighbour, MAIL, 1000 * number, b"EHLO neighbour.example\r\nQUIT\r\n")
    server = Sender(MAIL, neighbour, 5000 * number, b"220 mail.example\r\n250 mail.example\r\n221 bye\r\n")
    return [
        *dns_frames(CLIENT, RESOLVER, "files.example", SERVER.address, 100 + number),
        *dns_frames(NEIGHBOUR, RESOLVER, "mail.example", MAIL.address, 200 + number),
        *opened(client, server),
        sent(server, client, Segment(0, 18)),
        sent(client, server, Segment(0, 24)),
        sent(server, client, Segment(18, 18)),
        sent(client, server, Segment(24, 6)),
        sent(server, client, Segment(36, 9)),
        *closed(server, client),
        udp_frame(NEIGHBOUR, CLOCK, b"\x23" + bytes(47)),
    ]


def _write(folder: Path, number: int, frames: list[bytes]) -> Path:
    """Write one capture: microseconds, little-endian, Ethernet, one frame after the other in equal steps."""
    start_s = START_S + number * FILE_S
    minute = f"12{number * FILE_S // 60:02d}00"
    path = folder / f"sample-20240101-{minute}.pcap"
    step_us = (FILE_S - 1) * 1_000_000 // len(frames)
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, CAPTURED_LIMIT_BYTES, 1)]
    for time_us, frame in zip(count(step=step_us), frames, strict=False):
        seconds, fraction_us = divmod(time_us, 1_000_000)
        records += [struct.pack("<IIII", start_s + seconds, fraction_us, len(frame), len(frame)), frame]
    path.write_bytes(b"".join(records))
    return path
