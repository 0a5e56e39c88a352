"""The times of flows from an analyzer's log folder, whatever it has put there: `pcapdj.trace.flows`."""

import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcapdj.runtime.errors import ConfigError
from pcapdj.trace import flows
from pcapdj.trace.events import AnalyzerEvent, Rule, ZeekHead, event_of
from pcapdj.trace.flows import eve_lines, join_flows, written_between_ms

DAY_NS = 86_400 * 10**9


def alert(flow_id: int) -> AnalyzerEvent:
    """Return an event that has no packet and no times of its own."""
    return AnalyzerEvent("alert", Rule.JOINED_FLOW, flow_id=flow_id)


def flow_line(flow_id: int, day: int, **fields: Any) -> str:
    """Return a flow record that began on a day of January 1970 and took an hour."""
    flow = {"start": f"1970-01-{day:02}T00:00:00Z", "end": f"1970-01-{day:02}T01:00:00Z"}
    return json.dumps({"event_type": "flow", "flow_id": flow_id, "flow": flow, **fields})


def test_the_latest_flow_of_an_id_gives_the_times() -> None:
    """An id is given to another flow later; where nothing shows which one it was, the last one counts."""
    joined = join_flows(
        [alert(1), alert(2), alert(3)],
        [flow_line(1, 5), flow_line(1, 3), flow_line(2, 4)],
        has_sessions=False,
    )

    spans = [(each.start_ns, each.end_ns) for each in joined]
    hour_ns = DAY_NS // 24
    assert spans == [(4 * DAY_NS, 4 * DAY_NS + hour_ns), (3 * DAY_NS, 3 * DAY_NS + hour_ns), (None, None)]


def test_the_memory_for_flows_does_not_grow_with_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand alerts, each with a hundred flows of long texts, took two gigabytes; each keeps one."""
    monkeypatch.setattr(flows, "_MOST_TIMES", 100)
    ends = {"src_ip": "10.0.0.1", "dest_ip": "10.0.0.2", "proto": "\N{GRINNING FACE}" * 200}
    events = [alert(number) for number in range(1, 51)]
    lines = (flow_line(number, day, **ends, tunnel=ends) for day in range(1, 13) for number in range(1, 51))

    tracemalloc.start()
    try:
        joined = join_flows(events, lines, has_sessions=True)
        _, highest_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert {each.start_ns is not None for each in joined} == {True}
    assert highest_bytes < 400_000  # of 600 lines with a kilobyte each


def test_an_event_keeps_no_more_of_its_texts_than_is_shown() -> None:
    """Ten thousand events are kept at once."""
    long = "\N{GRINNING FACE}" * 1000
    ends = {"src_ip": "10.0.0.1", "dest_ip": "10.0.0.2", "proto": long}
    line = {"event_type": long, "timestamp": long, "pkt_src": long, "alert": {"signature": long}, **ends}

    event = event_of(json.dumps({**line, "tunnel": ends}), ZeekHead())

    assert event is not None
    assert event.addresses is not None
    assert (len(event.label), len(event.addresses.protocol), len(event.written)) == (300, 20, 40)


@pytest.mark.parametrize("kind", ["dangling", "loop", "pipe", "folder", "other"])
def test_what_is_no_file_is_left_out(tmp_path: Path, kind: str) -> None:
    """An analyzer that was taken over puts a link, a pipe or a folder beside its output."""
    folder = tmp_path / "20260101T000000Z-5ca1ab1e"
    folder.mkdir()
    (folder / "eve.json").write_text("{}\n")
    os.utime(folder / "eve.json", (1767225600, 1767225600))
    place = folder / "eve-2.json"
    match kind:
        case "dangling":
            place.symlink_to("nowhere")
        case "loop":
            place.symlink_to(place)
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "other":
            (tmp_path / "private").write_text("[]\n")
            place.symlink_to(tmp_path / "private")

    assert [*eve_lines(folder)] == ["{}\n"]
    assert written_between_ms(folder) == ((1767225600 - 3600) * 1000, (1767225600 + 3600) * 1000)


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million of their names would fill the memory; other files do not count."""
    monkeypatch.setattr(flows, "_MOST_FILES", 3)
    for name in ("eve-1.json", "eve-2.json", "eve-3.json", "x", "y"):
        (tmp_path / name).touch()
    assert [*eve_lines(tmp_path)] == []
    (tmp_path / "eve-4.json").touch()

    with pytest.raises(ConfigError, match=r"has more than 3 files eve\*\.json"):
        [*eve_lines(tmp_path)]


def test_lines_are_read_only_where_an_event_needs_another_one() -> None:
    """One with a packet has all that its answer shows; a log of gigabytes is read again for the others."""
    numbered = AnalyzerEvent("alert", Rule.NUMBER, packet=3, flow_id=1)
    whole = AnalyzerEvent("flow", Rule.FLOW, flow_id=1, start_ns=1, end_ns=2, is_flow=True)
    looked_at = list[str]()

    def lines() -> Iterator[str]:
        for line in (flow_line(1, 5), flow_line(2, 4)):
            looked_at.append(line)
            yield line

    assert join_flows([numbered, whole], lines(), has_sessions=False) == [numbered, whole]
    assert not looked_at
    assert join_flows([numbered], lines(), has_sessions=True)[0].start_ns == 4 * DAY_NS
    assert join_flows([alert(2)], lines(), has_sessions=False)[0].start_ns == 3 * DAY_NS
    assert len(looked_at) == 4
