"""Draws a time line as SVG, for any browser or document. Pure.

Files are bars on a line of time; where they overlap, they are on the next line. Pauses between them stay
empty, and gaps are red. Files that are too close at this width are drawn as one bar, so the drawing has
the same size for a hundred files and for a million.
"""

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from pcapdj.runtime.units import human_duration, utc_text
from pcapdj.trace.timeline import Timeline

_WIDTH, _MARGIN, _BAR, _STEP = 1200, 20, 22, 28  # in pixels
_MOST_LINES: Final = 6  # of bars; what overlaps more is drawn on the last one
_TICKS: Final = 4  # a label has 20 characters: more would overlap
_COLUMNS: Final = 2  # of sums: the longest have 60 characters
_TITLE_CHARS: Final = 120  # at ten pixels: bold, and wide characters
_LEAST_WIDTH: Final = 0.75
_STYLE: Final = """\
text{font:13px sans-serif;fill:#222}.head{font-weight:bold}.file{fill:#3b6ea5}.odd{fill:#6f9bc8}
.mark{fill:#d99000}.gap{fill:#c0392b}.axis{stroke:#888;stroke-width:1}
@media (prefers-color-scheme:dark){text{fill:#ddd}svg{background:#1b1b1b}}"""

Bar = tuple[float, float, str]


def svg_of(timeline: Timeline, title: str) -> Iterator[str]:
    """Yield the drawing.

    Args:
        timeline: with at least one file that has packets.
        title: above it.
    """
    first_ns, last_ns = timeline.first_ns or 0, timeline.last_ns or 0
    lines = _lines_of_bars(timeline, first_ns, max(1, last_ns - first_ns))
    axis_y = 50 + _STEP * len(lines)
    height = axis_y + 40 + 18 * ((len(timeline.lines()) + _COLUMNS - 1) // _COLUMNS) + 30
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}">\n'
    yield f"<style>{_STYLE}</style>\n"
    yield f'<text class="head" x="{_MARGIN}" y="24">{escape(_fitting(title))}</text>\n'
    for line, bars in enumerate(lines):
        for x, width, kind in bars:
            y = 40 + _STEP * line
            yield f'<rect class="{kind}" x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_BAR}"/>\n'
    yield from _gaps(timeline, first_ns, max(1, last_ns - first_ns), axis_y)
    yield from _axis(first_ns, last_ns, axis_y)
    for place, (label, text) in enumerate(timeline.lines()):
        x, y = _MARGIN + (place % _COLUMNS) * 590, axis_y + 50 + 18 * (place // _COLUMNS)
        yield f'<text x="{x}" y="{y}">{escape(label)}: {escape(text)}</text>\n'
    yield (
        f'<text x="{_MARGIN}" y="{height - 8}">blue: files; yellow: steps back, cut packets or damage inside;'
        " red: gaps</text>\n</svg>\n"
    )


def _fitting(title: str) -> str:
    """Return a title that fits into the drawing: a long one loses its middle, not the end of a path."""
    half = _TITLE_CHARS // 2
    return title if len(title) <= _TITLE_CHARS else f"{title[:half]} … {title[-half + 3 :]}"


def _x(time_ns: int, first_ns: int, span_ns: int) -> float:
    return _MARGIN + (time_ns - first_ns) * (_WIDTH - 2 * _MARGIN) / span_ns


def _lines_of_bars(timeline: Timeline, first_ns: int, span_ns: int) -> list[list[Bar]]:
    """Return the bars of each line, from left to right where files are in order."""
    lines: list[list[Bar]] = [[]]
    ends = [first_ns - 1]
    for number, (begin_ns, end_ns) in enumerate(zip(timeline.firsts, timeline.lasts, strict=True)):
        free = (line for line, latest_ns in enumerate(ends) if begin_ns >= latest_ns)
        line = next(free, min(len(lines), _MOST_LINES - 1))
        if line == len(lines):
            lines.append([])
            ends.append(end_ns)
        ends[line] = max(ends[line], end_ns)
        x = _x(begin_ns, first_ns, span_ns)
        width = max(_LEAST_WIDTH, _x(end_ns, first_ns, span_ns) - x)
        kind = "mark" if timeline.marks[number] else "odd" if number % 2 else "file"
        _add(lines[line], (x, width, kind))
    return lines


def _add(bars: list[Bar], bar: Bar) -> None:
    """Add a bar; one that is narrow and next to the last one becomes part of that."""
    x, width, kind = bar
    if bars:
        last_x, last_width, last_kind = bars[-1]
        is_narrow = width < 2 * _LEAST_WIDTH and last_x <= x <= last_x + last_width + _LEAST_WIDTH
        if is_narrow and (kind == last_kind or "mark" not in (kind, last_kind)):
            bars[-1] = (last_x, max(last_width, x + width - last_x), last_kind)
            return
    bars.append(bar)


def _gaps(timeline: Timeline, first_ns: int, span_ns: int, axis_y: int) -> Iterator[str]:
    """Yield a mark for each gap that is wide enough to be seen, and for others one at each place."""
    latest_ns, last_x = timeline.firsts[0], -1.0
    for begin_ns, end_ns in zip(timeline.firsts, timeline.lasts, strict=True):
        if begin_ns - latest_ns > timeline.gap_ns:
            x = _x(latest_ns, first_ns, span_ns)
            width = max(_LEAST_WIDTH, _x(begin_ns, first_ns, span_ns) - x)
            if x + width > last_x + _LEAST_WIDTH:
                text = f"gap of {human_duration(begin_ns - latest_ns)} from {utc_text(latest_ns // 10**9)}"
                yield f'<rect class="gap" x="{x:.2f}" y="{axis_y - 6}" width="{width:.2f}" height="5">'
                yield f"<title>{text}</title></rect>\n"
                last_x = x + width
        latest_ns = max(latest_ns, end_ns)


def _axis(first_ns: int, last_ns: int, y: int) -> Iterator[str]:
    yield f'<line class="axis" x1="{_MARGIN}" y1="{y}" x2="{_WIDTH - _MARGIN}" y2="{y}"/>\n'
    for tick in range(_TICKS + 1):
        time_ns = first_ns + (last_ns - first_ns) * tick // _TICKS
        x = _x(time_ns, first_ns, max(1, last_ns - first_ns))
        anchor = "start" if tick == 0 else "end" if tick == _TICKS else "middle"
        yield f'<line class="axis" x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 5}"/>'
        yield f'<text x="{x:.1f}" y="{y + 20}" text-anchor="{anchor}">{utc_text(time_ns // 10**9)}</text>\n'
