"""Joins events to the flow record with the same flow_id: it has the times of the whole session.

In a long stream Suricata uses a flow_id again for another flow. So if an event has the start of its flow, the
record must have the same start. If it has none, the record's flow must have begun before the event was
written.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Final

from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.foreign_files import foreign_lines
from pcapdj.runtime.safe_text import quoted
from pcapdj.trace.events import Addresses, AnalyzerEvent, Rule, ZeekHead, event_of, time_of

_FLOW_ID: Final = re.compile(r'"flow_id": ?(\d{1,20})\b')
_EVE: Final = "eve*.json"
_CLOCKS_S: Final = 3600
_MOST_OF_FLOW: Final = 100  # times with one flow_id: so often it is given to another flow at most
_MOST_TIMES: Final = 100_000  # of all flows that are wanted at once
_MOST_FILES: Final = 10_000  # of one folder: Suricata writes one an hour, at most


@dataclass(slots=True)
class FlowLines:
    """What other lines have of a flow.

    Args:
        times: its first and its last time, of each line; None: the line has none.
        outer: of the packets around its packets, in a tunnel.
    """

    times: dict[tuple[int | None, int | None], None] = field(default_factory=dict)
    outer: Addresses | None = None


def eve_lines(folder: Path) -> Iterator[str]:
    """Yield the lines of the EVE files in an analyzer's log folder, the oldest file first.

    Raises:
        ConfigError: as `_eve_files`.
    """
    for path in _eve_files(folder):
        yield from foreign_lines(path)


def _eve_files(folder: Path) -> list[Path]:
    """Return the EVE files of a folder, by name.

    Raises:
        ConfigError: there are too many, or the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = (each.name for each in entries if fnmatchcase(each.name, _EVE))
            found = [*islice(names, _MOST_FILES + 1)]
    except OSError as exc:
        raise ConfigError(f"{quoted(str(folder))} cannot be read: {exc.strerror}.") from exc
    if len(found) > _MOST_FILES:
        raise ConfigError(f"{quoted(str(folder))} has more than {_MOST_FILES:,} files {_EVE}.")
    return [folder / name for name in sorted(found)]


def stream_of(folder: Path | None) -> str:
    """Return the id of the stream whose analyzer wrote to this folder; empty: its name has none."""
    begun, _, stream = folder.name.rpartition("-") if folder else ("", "", "")
    return stream if begun.endswith("Z") and stream.isalnum() else ""


def written_between_ms(folder: Path) -> tuple[int, int] | None:
    """Return between which times files were fed into the stream of an analyzer's log folder; None: unknown.

    Its name has the time at which the stream began, and EVE is written until its end. Clocks differ by less
    than an hour.
    """
    written_s = [_written_s(path) for path in _eve_files(folder)]
    latest_s = max((each for each in written_s if each is not None), default=None)
    with suppress(ValueError):
        begun = datetime.strptime(folder.name.partition("-")[0], "%Y%m%dT%H%M%S%z")
        if latest_s is not None:
            return round((begun.timestamp() - _CLOCKS_S) * 1000), round((latest_s + _CLOCKS_S) * 1000)
    return None


def _written_s(path: Path) -> float | None:
    """Return when a file was written last; None: it is gone, or what `eve_lines` does not read, as a link."""
    with suppress(OSError):
        found = path.lstat()
        return found.st_mtime if stat.S_ISREG(found.st_mode) else None
    return None


def join_flows(
    events: Sequence[AnalyzerEvent], lines: Iterable[str], *, has_sessions: bool
) -> list[AnalyzerEvent]:
    """Return the events with the times of their flows, where lines have them.

    Args:
        events: in any order.
        lines: EVE; not one is read where no event needs another line.
        has_sessions: the sessions of events with a packet of their own are wanted, too, with the packets
            around theirs.
    """
    wanted = {
        each.flow_id
        for each in events
        if each.flow_id is not None and _lacks(each, has_sessions=has_sessions)
    }
    most = min(_MOST_OF_FLOW, max(1, _MOST_TIMES // max(1, len(wanted))))
    flows = dict[int, FlowLines]()
    for line in lines if wanted else ():
        match = _FLOW_ID.search(line)
        if not match or int(match[1]) not in wanted:
            continue
        event = event_of(line, ZeekHead())
        if event and (event.start_ns is not None or event.outer):
            flow = flows.setdefault(int(match[1]), FlowLines())
            flow.outer = flow.outer or event.outer
            if len(flow.times) < most:
                flow.times[event.start_ns, event.end_ns] = None
    return [_joined(each, flows.get(each.flow_id or 0, FlowLines())) for each in events]


def _lacks(event: AnalyzerEvent, *, has_sessions: bool) -> bool:
    if event.has_packet and not has_sessions:
        return False
    return event.start_ns is None or event.end_ns is None or (has_sessions and event.outer is None)


def _joined(event: AnalyzerEvent, flow: FlowLines) -> AnalyzerEvent:
    start_ns, written_ns = event.start_ns, time_of(event.written)
    starts = [start for start, _ in flow.times if start is not None]
    if start_ns is None and starts:
        earlier = [each for each in starts if written_ns is None or each <= written_ns]
        start_ns = max(earlier, default=None)
    ends = [end for start, end in flow.times if end is not None and start == start_ns]
    is_alone = event.rule is Rule.JOINED_FLOW and not ends and event.start_ns is not None
    return replace(
        event,
        start_ns=start_ns,
        end_ns=event.end_ns or max(ends, default=None),
        outer=event.outer or flow.outer,
        rule=Rule.FLOW if is_alone else event.rule,
    )
