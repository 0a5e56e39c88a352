"""Overlaps, as properties: no rotation of one sensor overlaps, two taps always do."""

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.inbox.overlaps import Span, closest_pairs, longest_overlap

SECOND_NS = 1_000_000_000
STEPS = st.integers(1, 3600).map(lambda seconds: seconds * SECOND_NS)


@given(steps=st.lists(STEPS, max_size=30), has_ends=st.booleans(), start_ns=st.integers(0, 1 << 62))
def test_files_that_end_before_the_next_one_begins_never_overlap(
    *, steps: list[int], has_ends: bool, start_ns: int
) -> None:
    """However irregular the rotation is, and in whatever order they are listed."""
    spans, first_ns = [], start_ns
    for number, step_ns in enumerate(steps):
        spans.append(Span(b"/cap%d" % number, first_ns, first_ns + step_ns if has_ends else None))
        first_ns += step_ns

    assert longest_overlap(spans[::-1], closest_pairs(spans[::-1])) is None


@given(step_ns=STEPS, count=st.integers(2, 30), offset=st.floats(0, 0.999), has_ends=st.booleans())
def test_two_regular_rotations_at_the_same_time_always_overlap(
    *, step_ns: int, count: int, offset: float, has_ends: bool
) -> None:
    """Whatever their offset is; the pair that is shown has one file of each."""
    offset_ns = int(offset * step_ns)
    firsts = {
        tap: [after_ns + number * step_ns for number in range(count)]
        for tap, after_ns in (("in", 0), ("out", offset_ns))
    }
    spans = [
        Span(f"/{tap}-{number}".encode(), first_ns, first_ns + step_ns if has_ends else None)
        for tap, all_ns in firsts.items()
        for number, first_ns in enumerate(all_ns)
    ]

    found = longest_overlap(spans, closest_pairs(spans))

    assert found
    assert found.series == {b"/in-#", b"/out-#"}
    assert 0 < found.duration_ns <= step_ns
