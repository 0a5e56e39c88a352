"""`python -m fuzz SECONDS SEED`: what a capture costs, and whether both forms of the loops and libpcap agree.

Each round makes a file in two sizes, one four times the other, and gives it to `pcapdj cat` in both forms of
the loops, or to the summary. A finding ends the program:

- an error that is no `CaptureError`; a stream of one form that differs from the other's;
- a stream that tcpdump does not read to its end;
- more than `MOST_US_PER_BYTE` of CPU time for each byte of the (decompressed) input, or so much more for the
  larger file that the cost grows faster than the size;
- more bytes read than four times the file.

The seed of the round is printed with a finding: `python -m fuzz 0 SEED` repeats it.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from support.analysis import Collected
from support.loops import loops

from fuzz.inputs import Input, capture, traffic
from pcapdj.capture.anomalies import Anomaly
from pcapdj.capture.concatenate import concatenate
from pcapdj.capture.pcap import Totals
from pcapdj.runtime.errors import CaptureError
from pcapdj.summary.analysis import Analysis
from pcapdj.summary.results import Ended

SMALL_BYTES, TIMES_LARGER = 1 << 15, 8
# The dearest input that is no fault has packets of a few bytes, each of them an undecodable one: 0.6 us for
# each byte on an idle machine of 2020. CPU time does not depend on other processes by more than twice.
MOST_US_PER_BYTE: Final = 4.0 * float(os.environ.get("PCAPDJ_TEST_PATIENCE", "1"))
_FREE_S: Final = 0.1  # not counted: imports, tables, the noise of the clock
_MOST_GROWTH: Final = 2.5  # of the cost for each byte, from the small to the large input
_TRIES: Final = 3  # the least time counts: another process may have used the caches
_CHUNK_BYTES: Final = 256 << 10
_TCPDUMP_EVERY: Final = 10
_MOST_WRITTEN: Final = (
    2  # bytes of the stream for each of the input, with what the headers grow: 17 become 31
)


class Cost(NamedTuple):
    """What an input took, and what came of it."""

    cpu_s: float
    read_bytes: int
    result: object


class Measured(NamedTuple):
    """What an input of one size took at least, its size, and what came of it."""

    cpu_s: float
    size_bytes: int
    result: object


class Finding(Exception):
    """What is wrong with an input."""


def main() -> None:
    """Make inputs until the time is over; at least one."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    until_s, rounds = time.monotonic() + seconds, Counter[str]()
    dearest: dict[str, tuple[float, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        while not rounds or time.monotonic() < until_s:
            rng = random.Random(seed)  # noqa: S311 - no secret
            kind, make = rng.choice([("captures", capture), ("streams", traffic)])
            made = make(rng)
            try:
                us_per_byte = try_capture(made, Path(folder), rng) if kind == "captures" else try_stream(made)
            except BaseException:
                sys.stderr.write(f"fuzz: seed {seed}: {made.name}\n")
                raise
            dearest[kind] = max(dearest.get(kind, (0.0, "")), (us_per_byte, made.name))
            rounds[kind] += 1
            seed += 1
    for kind, count in rounds.items():
        us_per_byte, name = dearest[kind]
        cost = f"the dearest took {us_per_byte:.2f} us for each byte: {name}"
        sys.stdout.write(f"fuzz: {count} {kind}; {cost}\n")


def try_capture(made: Input, folder: Path, rng: random.Random) -> float:
    """Read a capture in both forms of the loops; return the highest CPU time for each byte, in us."""
    path, results, dearest = folder / "in", list[object](), 0.0
    for form in ("python", "compiled"):
        with loops(form):
            us_per_byte, result = cost_of(made, lambda data: _concatenated(path, data))
        results.append(result)
        dearest = max(dearest, us_per_byte)
    if results[0] != results[1]:
        raise Finding("the two forms of the loops differ")
    if not rng.randrange(_TCPDUMP_EVERY):
        _read_by_libpcap(folder / "in.out")
    return dearest


def try_stream(made: Input) -> float:
    """Give a stream to the summary; return the CPU time for each byte, in us."""
    return cost_of(made, _analyzed, 2 * SMALL_BYTES)[0]


def cost_of(
    made: Input, use: Callable[[bytes], Cost], small_bytes: int = SMALL_BYTES
) -> tuple[float, object]:
    """Use the input in both sizes; return the CPU time for each byte of the larger one, and its result."""
    parts, faults = made.parts_for(small_bytes), list[str]()
    while len(faults) < _TRIES:  # in one of them another process may have had the caches
        small, large = (_least(made, count, use) for count in (parts, parts * TIMES_LARGER))
        if fault := _fault_of(small, large):
            faults.append(fault)
            continue
        return max(0.0, large.cpu_s - _FREE_S) / large.size_bytes * 1e6, large.result
    raise Finding(faults[-1])


def _fault_of(small: Measured, large: Measured) -> str:
    """Return what is wrong with the cost of an input in two sizes; empty: nothing.

    The small one may fit into the first window; behind it a thread decompresses, which doubles the cost of an
    archive for each packet.
    """
    if max(0.0, large.cpu_s - _FREE_S) / large.size_bytes * 1e6 > MOST_US_PER_BYTE:
        return f"{large.size_bytes} bytes took {large.cpu_s:.2f} s of CPU time"
    growth = large.size_bytes / small.size_bytes
    if large.cpu_s > 2 * _FREE_S and large.cpu_s > _MOST_GROWTH * growth * max(small.cpu_s, _FREE_S / 2):
        return f"{growth:.1f} times as many bytes took {large.cpu_s:.2f} s instead of {small.cpu_s:.2f} s"
    return ""


def _least(made: Input, parts: int, use: Callable[[bytes], Cost]) -> Measured:
    """Return the least cost of a few tries."""
    data, size_bytes = made.content(parts)
    size_bytes = max(size_bytes, len(data))
    cost = use(data)
    for _ in range(_TRIES - 1):
        if cost.cpu_s < _FREE_S:
            break
        cost = min(cost, use(data), key=lambda each: each.cpu_s)
    if cost.read_bytes > 4 * len(data) + (1 << 20):
        raise Finding(f"of {len(data)} bytes {cost.read_bytes} were read")
    return Measured(cost.cpu_s, size_bytes, cost.result)


def _concatenated(path: Path, data: bytes) -> Cost:
    """Write the file's packets to a stream, as `pcapdj cat` does."""
    path.write_bytes(data)
    reports: list[object] = []

    def report(_: bytes, damage: CaptureError | None, totals: Totals, found: Sequence[Anomaly]) -> None:
        reports.append((str(damage), totals.packets, [each.sentence for each in found]))

    out = path.with_suffix(".out")
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        before_bytes, began_s = _read_so_far(), time.process_time()
        concatenate([os.fsencode(path)], descriptor, precision=None, report=report, rewrites=True)
        cpu_s, read_bytes = time.process_time() - began_s, _read_so_far() - before_bytes
    finally:
        os.close(descriptor)
    return Cost(cpu_s, read_bytes, (reports, out.read_bytes()))


def _analyzed(data: bytes) -> Cost:
    """Give the stream to the summary as it comes from a pipe."""
    began_s = time.process_time()
    analysis = Analysis(Collected())
    for at in range(0, len(data), _CHUNK_BYTES):
        analysis.feed(data[at : at + _CHUNK_BYTES])
    summary = analysis.finish(Ended.CLEAN)
    return Cost(time.process_time() - began_s, 0, summary)


def _read_so_far() -> int:
    """Return how many bytes this process has read."""
    return int(Path("/proc/self/io").read_text().split()[1])


def _read_by_libpcap(path: Path) -> None:
    if not path.stat().st_size:
        return
    words = ["tcpdump", "-r", str(path), "-w", "/dev/null"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode or "truncated" in done.stderr or "bogus" in done.stderr:
        raise Finding(f"tcpdump: {done.stderr}")


if __name__ == "__main__":
    main()
