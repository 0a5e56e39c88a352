"""What `pcapdj whence` answers about one event: sentences for people, an object for programs."""

from collections.abc import Iterator
from typing import Any

from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable, quoted, to_text
from pcapdj.runtime.units import utc_text_ns
from pcapdj.store.journal import FedFile
from pcapdj.trace.events import AnalyzerEvent, Rule
from pcapdj.trace.locate import Location, PacketPlace
from pcapdj.trace.presence import Presences
from pcapdj.trace.sessions import CutReport, FileCut

_MOST_FILES = 20  # of one event that people see
_FEEDING = "feeding"
_HOW = {
    Rule.NUMBER: "by its number (pcap_cnt)",
    Rule.OUTER_NUMBER: "by the number of the packet around it, or of the last fragment (tunnel.pcap_cnt)",
    Rule.FLOW: "by the times of its flow",
    Rule.JOINED_FLOW: "by the times of the flow with its flow_id",
    Rule.TIME_AND_ADDRESSES: "by its times and addresses",
    Rule.TIME: "by the time",
    Rule.NONE: "",
}


def lines_about(location: Location, presences: Presences) -> Iterator[str]:
    """Yield what people read about one event."""
    yield _head(location.event)
    if problem := location.problem():
        yield f"    {problem}"
    elif place := location.place:
        yield f"    {_place(place)}, {_HOW[location.event.rule]}"
        yield f"    {_presence(place.file, presences)}"
    else:
        yield from _files(location, presences)


def as_object(location: Location) -> dict[str, Any]:
    """Return what programs read about one event, without its files."""
    event = location.event
    found: dict[str, Any] = {"event": event.label, "rule": event.rule.value, "stream": location.stream}
    found |= {"flow_id": event.flow_id, "pcap_cnt": event.packet, "signature_id": event.sid}
    found |= {"start": _time(event.start_ns), "end": _time(event.end_ns)}
    found["timestamp"] = event.written or None
    return found | ({"problem": problem} if (problem := location.problem()) else {})


def file_objects(location: Location, presences: Presences) -> Iterator[dict[str, Any]]:
    """Yield what programs read about the files of one event; there may be a hundred thousand."""
    if location.problem():
        return
    if place := location.place:
        numbers = {"packet": place.packet, "stream_packet": place.stream_packet}
        yield {**_file_object(place.file, presences), **numbers}
    else:
        yield from (_file_object(file, presences) for file in _shown_files(location))


def lines_of_cut(report: CutReport, out: str) -> Iterator[str]:
    """Yield what people read about a cut."""
    for each in report.files:
        if each.packets:
            yield f"{quoted(each.file.name)}: {_numbers(each)}"
    for each in report.left_out:
        yield f"{quoted(each.file.name)} was not read: {each.presence.sentence}."
    yield f"{counted(report.packets, 'packet')} written to {'stdout' if out == '-' else quoted(out)}."


def cut_as_object(report: CutReport, out: str) -> dict[str, Any]:
    """Return what programs read about a cut."""
    files = [
        {"name": to_text(each.file.name), "packets": each.packets, "first": first, "last": last}
        for each in report.files
        for first, last in [each.numbers]
        if each.packets
    ]
    left_out = [{"name": to_text(each.file.name), "state": each.presence.state} for each in report.left_out]
    return {"written": out, "packets": report.packets, "files": files, "left_out": left_out}


def _head(event: AnalyzerEvent) -> str:
    parts = [printable_label(event)]
    if event.addresses:
        parts.append(str(event.addresses))
    if (time_ns := event.time_ns if event.time_ns is not None else event.start_ns) is not None:
        parts.append(utc_text_ns(time_ns))
    return ", ".join(parts)


def printable_label(event: AnalyzerEvent) -> str:
    """Return what an event is, safe for a terminal."""
    return printable(event.label).replace("\\'", "'")


def _place(place: PacketPlace) -> str:
    number = f"packet {place.packet:,} of {quoted(place.file.name)}"
    details = [f"{place.stream_packet:,} of stream {place.stream}"]
    if left_out := place.file.fields.get("left_out"):
        details.append(f"the file also has packets that were left out: {left_out}")
    if begin := place.file.fields.get("begin_bytes", "").strip("0"):
        details.append(f"counted from byte {begin}, where feeding continued after the file grew")
    return f"{number} ({'; '.join(details)})"


def _files(location: Location, presences: Presences) -> Iterator[str]:
    event, files = location.event, _shown_files(location)
    start, end = _time(event.start_ns), _time(event.end_ns)
    until = f" to {end}" if end and end != start else ""
    yield f"    {start}{until}, {_HOW[event.rule]}; files that may have its packets:"
    for file in files[:_MOST_FILES]:
        parts = ", ".join(
            f"{first:,} to {first + packets - 1:,} of stream {stream}"
            for stream, first, packets in file.all_parts
        )
        yield f"    {quoted(file.name)} (packets {parts}): {_presence(file, presences)}"
    if (more := len(files) - _MOST_FILES) > 0:
        yield f"    and {more:,} more"


def _shown_files(location: Location) -> list[FedFile]:
    """Return the files of the time of the session itself."""
    event, files = location.event, location.session_files()
    end_ns = event.start_ns if event.end_ns is None else event.end_ns
    return [
        file
        for file in files
        if event.start_ns is None
        or end_ns is None
        or file.has_time(event.start_ns // 1000 * 1000, end_ns // 1000 * 1000 + 999)
    ] or files


def _presence(file: FedFile, presences: Presences) -> str:
    if file.verdict == _FEEDING:
        return "the file is being fed"
    failed = f"; it failed: {file.reason}" if file.verdict == "failed" else ""
    return presences.of(file).sentence + failed


def _file_object(file: FedFile, presences: Presences) -> dict[str, Any]:
    presence = presences.of(file)
    parts = [{"stream": stream, "first": first, "packets": n} for stream, first, n in file.all_parts]
    fields: dict[str, Any] = {"name": to_text(file.name), "verdict": file.verdict, "state": presence.state}
    fields |= {"path": to_text(presence.path) if presence.path else None}
    fields |= {"parts": parts if file.verdict != _FEEDING else []}
    return fields | {"first": _time(file.first_ts_ns), "last": _time(file.last_ts_ns)}


def _numbers(each: FileCut) -> str:
    first, last = each.numbers
    if each.packets == 1:
        return f"packet {first:,}"
    return f"{counted(each.packets, 'packet')}, the first is {first:,}, the last is {last:,}"


def _time(time_ns: int | None) -> str | None:
    return None if time_ns is None else utc_text_ns(time_ns)
