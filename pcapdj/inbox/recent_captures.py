"""The captures that went into a lane lately, and which of them overlap in time.

For each pair of series (two taps) only the first overlap is shown, as long as that pair is remembered.
"""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from pcapdj.capture.files import OpenFile, open_regular
from pcapdj.capture.last_packet import last_packet_time_ns
from pcapdj.inbox.overlaps import Overlap, Span, closest_pairs, longest_overlap
from pcapdj.runtime.errors import CaptureError

_MOST_FILES: Final = 1000
_MOST_SHOWN: Final = 5
_MOST_PAIRS: Final = 1000  # of series: whoever may put files into an inbox can name each of them otherwise


class RecentCaptures:
    """The captures that an importer queued last.

    Attributes:
        overlaps: the last overlaps, in sentences.
    """

    def __init__(self) -> None:
        self.overlaps: deque[str] = deque(maxlen=_MOST_SHOWN)
        self._spans: deque[Span] = deque(maxlen=_MOST_FILES)
        self._shown: deque[frozenset[bytes]] = deque(maxlen=_MOST_PAIRS)

    def add(self, spans: Sequence[Span]) -> str:
        """Add queued captures; return a sentence about the first overlap of two series, else nothing."""
        self._spans.extend(spans)
        overlap = find_overlap(self._spans, {span.name for span in spans})
        if overlap is None or overlap.series in self._shown:
            return ""
        self._shown.append(overlap.series)
        self.overlaps.append(overlap.sentence)
        return overlap.sentence


def find_overlap(spans: Sequence[Span], new: Collection[bytes] | None = None) -> Overlap | None:
    """Return the two captures that overlap most in time; None: no two overlap.

    For a few neighbours the time of the last packet is read from the file.

    Args:
        spans: of captures that go into one lane.
        new: at least one file of the pair is among these; None: any.
    """
    pairs = [(with_end(one), other) for one, other in closest_pairs(spans, new)]
    return longest_overlap(spans, pairs)


def with_end(span: Span) -> Span:
    """Return the span with the time of the last packet, which is read from the file if it is unknown."""
    if span.last_ns is not None:
        return span
    try:
        file = OpenFile(open_regular(span.name, root=span.root))
    except CaptureError:
        return span
    last_ns = last_packet_time_ns(file, span.first_ns)
    file.close()
    return span._replace(last_ns=last_ns)
