"""The time line of captures, and its drawing: `pcapdj.trace.timeline`, `pcapdj.trace.drawing`."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.trace.drawing import svg_of
from pcapdj.trace.timeline import CaptureSpan, RemarkKind, Timeline

SECOND = 10**9
BEGIN = 1_700_000_000
LIMIT_NS = 1 << 63


def span(begin_s: int, seconds: int = 60, **fields: int | str) -> CaptureSpan:
    """Return a file that begins and lasts so long."""
    first_ns = (BEGIN + begin_s) * SECOND
    return CaptureSpan(b"/in/a", first_ns, first_ns + seconds * SECOND, packets=10, **fields)  # type: ignore[arg-type]


def remarks(*spans: CaptureSpan) -> list[list[tuple[str, int]]]:
    """Return kind and amount of the remarks of each file."""
    timeline = Timeline()
    return [[(each.kind.value, each.amount) for each in timeline.add(file)] for file in spans]


def test_each_file_is_compared_with_those_before_it() -> None:
    """Gaps, overlaps, steps back; a short pause is none of them."""
    found = remarks(span(0), span(65), span(200), span(250), span(100), span(500))

    assert found == [
        [],
        [],
        [("gap", 75 * SECOND)],
        [("overlap", 10 * SECOND)],
        [("step_back", 150 * SECOND)],
        [("gap", 190 * SECOND)],
    ]


def test_files_that_follow_a_step_back_overlap_only_with_packets_of_their_time() -> None:
    """A folder of last month behind one of this month is one step back, until it reaches what was fed."""
    found = remarks(span(10_000), span(0), span(60), span(120), span(10_020), span(10_030, 10))

    assert found == [
        [],
        [("step_back", 10_000 * SECOND)],
        [],
        [],
        [("overlap", 40 * SECOND)],
        [("overlap", 10 * SECOND)],
    ]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), max_size=30))
def test_an_overlap_is_time_that_a_file_before_has_too(files: list[tuple[int, int]]) -> None:
    """Files that share no moment with any before, but for pauses that are no gap, have none."""
    found = remarks(*(span(begin, seconds) for begin, seconds in files))

    for number, (begin, seconds) in enumerate(files):
        before = [(first, first + length) for first, length in files[:number]]
        is_near = any(first - 10 < begin + seconds and begin < last + 10 for first, last in before)
        overlaps = [amount for kind, amount in found[number] if kind == "overlap"]
        assert is_near or not overlaps
        assert all(0 < amount <= seconds * SECOND for amount in overlaps)


def test_what_is_unusual_inside_a_file_is_a_remark_too() -> None:
    """Steps back inside it, bytes that were not captured, why it failed."""
    [found] = remarks(
        span(0, steps_back=2, largest_step_back_ns=5, cap_lengths=60, lengths=100, failure="bad")
    )

    assert found == [("steps_back_inside", 5), ("incomplete", 40), ("failed", 0)]


def test_files_without_packets_have_no_place_on_the_line() -> None:
    """Those behind them are compared with those before them."""
    empty = CaptureSpan(b"/in/empty", None, None)

    assert remarks(empty, span(0), empty, span(100)) == [[], [], [], [("gap", 40 * SECOND)]]


@given(st.lists(st.integers(-(1 << 66), 1 << 66) | st.sampled_from([-LIMIT_NS, 1 - LIMIT_NS, LIMIT_NS - 1])))
def test_times_that_have_no_place_on_the_line_are_a_remark(times: list[int]) -> None:
    """A pcapng file may have any: packets of the year 500,000 take 64 bits, and a unit and an offset more."""
    timeline = Timeline()

    found = [timeline.add(CaptureSpan(b"/in/a", time_ns, time_ns, packets=1)) for time_ns in times]

    for time_ns, of_file in zip(times, found, strict=True):
        is_beyond = abs(time_ns) >= LIMIT_NS
        assert [each.kind for each in of_file if each.kind is RemarkKind.BEYOND] == [
            RemarkKind.BEYOND
        ] * is_beyond
        assert not is_beyond or len(of_file) == 1
    assert timeline.summary()["files"] == len(times)
    assert ("beyond" in dict(timeline.lines())) == any(abs(time_ns) >= LIMIT_NS for time_ns in times)
    if timeline.first_ns is not None:
        assert "".join(svg_of(timeline, "x"))


def test_the_sums_are_for_people_and_for_programs() -> None:
    """How often, how much in all, and the largest."""
    timeline = Timeline()
    for each in (span(0), span(100), span(300, lengths=9, cap_lengths=4)):
        timeline.add(each)

    assert timeline.lines() == [
        ("files", "3"),
        ("packets", "30"),
        ("time", "6 min"),
        ("gaps", "2, the largest 2 min 20 s, 3 min in all"),
        ("incomplete", "1 file, 5 B were not captured"),
    ]
    summary = timeline.summary()
    assert summary["gap"] == {"count": 2, "total": 180 * SECOND, "largest": 140 * SECOND}
    assert (summary["files"], summary["first_ns"]) == (3, BEGIN * SECOND)
    assert summary.keys() >= {kind.value for kind in RemarkKind}


@given(
    st.lists(
        st.tuples(st.integers(-(1 << 40), 1 << 40), st.integers(0, 1 << 30), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_every_time_line_can_be_drawn(files: list[tuple[int, int, bool]]) -> None:
    """As one SVG; each bar is inside it."""
    timeline = Timeline()
    for begin_ns, length_ns, is_cut in files:
        timeline.add(CaptureSpan(b"x", begin_ns, begin_ns + length_ns, 1, 1, 1 + is_cut))

    drawing = ET.fromstring("".join(svg_of(timeline, "<a> & b")))  # noqa: S314 - our own

    bars = [each for each in drawing.iter() if each.get("width") and each.tag.endswith("rect")]
    assert len(bars) >= 1
    for bar in bars:
        x, width = float(bar.get("x", "")), float(bar.get("width", ""))
        assert x >= 19.9
        assert x + width <= 1180 + 1
    assert "<a> & b" in "".join(drawing.itertext())


WIDTH, CHARACTER = 1200.0, 8.0  # of the drawing, and of a wide character of its font, in pixels
FOUND_ONCE: dict[str, int | str] = {
    "steps_back": 1,
    "largest_step_back_ns": 86_399 * SECOND,
    "cap_lengths": 1,
    "lengths": 1 << 40,
    "failure": "x",
}


def extents(drawing: ET.Element) -> dict[str, list[tuple[float, float]]]:
    """Return from where to where each text of the drawing reaches, by its height in the drawing."""
    found: dict[str, list[tuple[float, float]]] = {}
    for text in (each for each in drawing.iter() if each.tag.endswith("text")):
        is_title = text.get("class") == "head"
        width = len(text.text or "") * (CHARACTER * 1.2 if is_title else CHARACTER)
        shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor", "start")]
        left = float(text.get("x", "")) - shift * width
        found.setdefault(text.get("y", ""), []).append((left, left + width))
    return found


@pytest.mark.parametrize("count", [1, 2, 300])
def test_no_label_of_the_drawing_overlaps_or_leaves_it(count: int) -> None:
    """The axis, the sums of everything that may be unusual, and a title of any length."""
    timeline = Timeline()
    for number in range(count):
        timeline.add(span(number * 7000 - 40_000 * (number % 3), 9000, **FOUND_ONCE))
    title = "time line of " + "/srv/captures" * 50

    drawing = ET.fromstring("".join(svg_of(timeline, title)))  # noqa: S314 - our own

    lines = extents(drawing)
    _, _, width, height = map(float, drawing.get("viewBox", "").split())
    assert width == WIDTH
    assert max(map(float, lines)) <= height
    for texts in lines.values():
        assert all(left >= 0 and right <= WIDTH for left, right in texts)
        assert all(before[1] < after[0] for before, after in pairwise(sorted(texts)))


def test_the_time_before_the_first_file_is_no_gap() -> None:
    """Where later files go back in time."""
    timeline = Timeline()
    for file in (span(90_000), span(0), span(60)):
        timeline.add(file)

    assert 'class="gap"' not in "".join(svg_of(timeline, "x"))


def test_the_drawing_of_many_files_is_small() -> None:
    """What cannot be told apart at this width is one bar."""
    timeline = Timeline()
    for number in range(20_000):
        timeline.add(span(number * 70 + 900 * (number // 1000)))

    drawing = "".join(svg_of(timeline, "many"))

    assert len(drawing) < 300_000
    assert drawing.count('class="gap"') == 19
