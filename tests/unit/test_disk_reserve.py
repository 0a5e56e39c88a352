"""Whether the output of the next file fits above min-free, and what the gate decides from that."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.disk.gate import Cause, Decision, State
from pcapdj.disk.next_files import NextFiles, next_files
from pcapdj.disk.output_ratio import GROUP_BYTES, FileGroup, OutputRatios, ReserveFactor
from pcapdj.disk.reserve import ExpectedFile, Fit, OutputDisk, Reserve

DISK = OutputDisk("/out", free_bytes=3000, min_free_bytes=1000, total_bytes=10_000)
OPEN = Decision(State.OPEN, "open")
GIB = 1 << 30
LEARNED = OutputRatios(plain=(FileGroup(GROUP_BYTES, int(2.8 * GROUP_BYTES)),) * 20)


def reserved(factor: float | None = 1.0, disk: OutputDisk | None = DISK) -> Reserve:
    """Return a typed reserve."""
    return Reserve(ReserveFactor(factor), OutputRatios(), disk)


def files(*sizes: int | None) -> list[ExpectedFile]:
    """Return files of these sizes."""
    return [ExpectedFile(b"/in/%d.pcap" % number, size) for number, size in enumerate(sizes, 1)]


def judged(*sizes: int | None, in_flight: int = 0, reserve: Reserve | None = None) -> NextFiles:
    """Return requested files of these sizes, beside one in flight."""
    return next_files(reserve or reserved(), files(*sizes), files(in_flight)[:1] if in_flight else [])


def test_a_file_fits_exactly_up_to_min_free() -> None:
    """One byte more waits."""
    assert judged(2000).authorizable() == [b"/in/1.pcap"]
    assert judged(2001).authorizable() == []
    assert judged(2001).decision(OPEN).state is State.HOLD
    assert judged(2001).decision(OPEN).cause is Cause.RESERVE


def test_files_in_flight_and_those_before_it_take_their_room() -> None:
    """Each is judged by itself: a smaller one may pass a large one that waits."""
    assert judged(1500, in_flight=600).authorizable() == []
    assert judged(1500, 600, 400).authorizable() == [b"/in/1.pcap", b"/in/3.pcap"]
    assert judged(5000, 600).authorizable() == [b"/in/2.pcap"]
    assert judged(5000, 600).decision(OPEN) is OPEN


def test_without_size_factor_or_disk_a_file_is_authorized() -> None:
    """Another program requested it, nothing is learned yet, or the disk does not answer."""
    unlearned = Reserve(ReserveFactor(is_learned=True), OutputRatios(), DISK)

    assert judged(None).authorizable() == [b"/in/1.pcap"]
    assert judged(1 << 50, reserve=unlearned).authorizable() == [b"/in/1.pcap"]
    assert judged(1 << 50, reserve=reserved(disk=None)).authorizable() == [b"/in/1.pcap"]
    assert judged(1 << 50, reserve=reserved(None)).authorizable() == [b"/in/1.pcap"]


def test_the_reason_has_both_numbers_and_what_happens_next() -> None:
    """A person who reads it needs no other command."""
    disk = OutputDisk("/out", int(4.9 * GIB), 2 * GIB, 40 * GIB)
    reserve = Reserve(ReserveFactor(is_learned=True), LEARNED, disk)
    large = [ExpectedFile(b"/in/a.pcap", int(1.2 * GIB))]

    decision = next_files(reserve, large, []).decision(OPEN)

    assert decision.reason == (
        "The next file 'a.pcap' (1.2 GiB) needs about 3.4 GiB (3,607,771,543 bytes) for its output"
        " (2.8 x its size, learned from 20 files); 2.9 GiB (3,113,851,289 bytes) are above min-free on"
        " '/out'. It is authorized from 5.4 GiB (5,755,255,191 bytes) free. 'pcapdj limits set reserve=off'"
        " or 'pcapdj gate open' authorizes it anyway."
    )
    assert decision.needed == 5755255191
    assert decision.measurement is not None
    assert (decision.measurement.path, decision.measurement.free) == ("/out", disk.free_bytes)


def test_a_file_that_never_fits_is_shown_as_such() -> None:
    """It needs more than the empty disk has above min-free."""
    reason = judged(9001).decision(OPEN).reason

    assert judged(9000).numbers[0].fit is Fit.WAITS
    assert judged(9001).numbers[0].fit is Fit.NEVER
    assert "'/out' has 8.8 KiB (9,000 bytes) above min-free when it is empty: it never fits." in reason
    assert reason.endswith("or 'pcapdj gate open' authorizes it anyway; 'pcapdj skip' gives it up.")


def test_the_published_numbers_are_those_of_the_first_requested_file() -> None:
    """Without a request there is the factor alone; switched off, nothing."""
    shown = json.loads(judged(2500, in_flight=100).as_fields(0)["reserve"])

    assert (shown["name"], shown["fit"], shown["factor"]) == ("/in/1.pcap", "waits", 1.0)
    assert (shown["input_bytes"], shown["needs_bytes"]) == (2500, 2500)
    assert (shown["left_bytes"], shown["in_flight_bytes"]) == (1900, 100)
    assert (shown["is_compressed"], shown["learned_from_files"]) == (False, 0)
    assert judged(2500, reserve=reserved(None)).as_fields(0)["reserve"] == ""
    unrequested = json.loads(judged().as_fields(0)["reserve"])
    assert (unrequested["name"], unrequested["factor"], unrequested["needs_bytes"]) == ("", 1.0, None)
    assert judged(reserve=reserved(None)).as_fields(0) == {"reserve": "", "between": ""}


sizes = st.lists(st.none() | st.integers(0, 5000), max_size=8)


@given(
    requested=sizes,
    flying=sizes,
    factor=st.floats(0.01, 100),
    free=st.integers(0, 5000),
    minimum=st.integers(0, 5000),
)
def test_what_is_authorized_leaves_min_free_after_all_outputs(
    requested: list[int | None], flying: list[int | None], factor: float, free: int, minimum: int
) -> None:
    """For any files: those of a known size that are authorized fit beside all those in flight."""
    disk = OutputDisk("/out", free, minimum, 5000)
    found = next_files(reserved(factor, disk), files(*requested), files(*flying))
    allowed = [each for each in found.numbers if each.file.name in found.authorizable()]

    needs = sum(each.needs_bytes or 0 for each in allowed)
    reserved_bytes = sum(int(factor * (size or 0)) for size in flying)
    assert needs == 0 or needs + reserved_bytes <= free - minimum
    assert all(each.file.name in found.authorizable() for each in found.numbers if each.needs_bytes is None)
    is_held = bool(found.numbers) and not allowed
    assert (found.decision(OPEN).state is State.HOLD) is is_held
