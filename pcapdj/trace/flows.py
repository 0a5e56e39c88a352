"""Joins events to the flow record with the same flow_id: it has the times of the whole session.

Suricata gives a flow_id to another flow later, in a long stream: so where an event has its flow's start, the
record has to have the same, and where it has none, the record's flow began before the event was written.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from pcapdj.runtime.foreign_files import foreign_lines
from pcapdj.trace.events import Addresses, AnalyzerEvent, Rule, ZeekHead, event_of, time_of

_FLOW_ID: Final = re.compile(r'"flow_id": ?(\d{1,20})\b')
_EVE: Final = "eve*.json"
_CLOCKS_S: Final = 3600
_MOST_RECORDS: Final = 100  # with one flow_id: so often it is given to another flow at most


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """What other lines have of a flow.

    Args:
        start_ns, end_ns: its times; None: unknown.
        addresses: of its packets.
        outer: of the packets around them, in a tunnel.
    """

    start_ns: int | None
    end_ns: int | None
    addresses: Addresses | None
    outer: Addresses | None


def eve_lines(folder: Path) -> Iterator[str]:
    """Yield the lines of the EVE files in an analyzer's log folder, the oldest file first."""
    for path in sorted(folder.glob(_EVE), key=lambda path: path.name):
        yield from foreign_lines(path)


def stream_of(folder: Path | None) -> str:
    """Return the id of the stream whose analyzer wrote to this folder; empty: its name has none."""
    begun, _, stream = folder.name.rpartition("-") if folder else ("", "", "")
    return stream if begun.endswith("Z") and stream.isalnum() else ""


def written_between_ms(folder: Path) -> tuple[int, int] | None:
    """Return between which times files were fed into the stream of an analyzer's log folder; None: unknown.

    Its name has the time at which the stream began, and EVE is written until its end. Clocks differ by less
    than an hour.
    """
    written_s = [path.stat().st_mtime for path in folder.glob(_EVE)]
    with suppress(ValueError):
        begun = datetime.strptime(folder.name.partition("-")[0], "%Y%m%dT%H%M%S%z")
        if written_s:
            return round((begun.timestamp() - _CLOCKS_S) * 1000), round((max(written_s) + _CLOCKS_S) * 1000)
    return None


def join_flows(events: Sequence[AnalyzerEvent], lines: Iterable[str]) -> list[AnalyzerEvent]:
    """Return the events with the times of their flows, where lines have them.

    Args:
        events: in any order.
        lines: EVE.
    """
    wanted = {each.flow_id for each in events if each.flow_id is not None and _lacks(each)}
    records = dict[int, dict[FlowRecord, None]]()  # a flow of many events has many equal ones
    for line in lines if wanted else ():
        match = _FLOW_ID.search(line)
        if not match or int(match[1]) not in wanted:
            continue
        event = event_of(line, ZeekHead())
        if event and (event.start_ns is not None or event.outer):
            record = FlowRecord(event.start_ns, event.end_ns, event.addresses, event.outer)
            of_flow = records.setdefault(int(match[1]), {})
            if len(of_flow) < _MOST_RECORDS:
                of_flow[record] = None
    return [_joined(each, [*records.get(each.flow_id or 0, ())]) for each in events]


def _lacks(event: AnalyzerEvent) -> bool:
    return event.start_ns is None or event.end_ns is None or event.outer is None


def _joined(event: AnalyzerEvent, records: Sequence[FlowRecord]) -> AnalyzerEvent:
    start_ns, outers = event.start_ns, [each.outer for each in records if each.outer]
    written_ns = time_of(event.written)
    starts = [each.start_ns for each in records if each.start_ns is not None]
    if start_ns is None and starts:
        earlier = [each for each in starts if written_ns is None or each <= written_ns]
        start_ns = max(earlier, default=None)
    ends = [each.end_ns for each in records if each.end_ns is not None and each.start_ns == start_ns]
    is_alone = event.rule is Rule.JOINED_FLOW and not ends and event.start_ns is not None
    return replace(
        event,
        start_ns=start_ns,
        end_ns=event.end_ns or max(ends, default=None),
        outer=event.outer or next(iter(outers), None),
        rule=Rule.FLOW if is_alone else event.rule,
    )
