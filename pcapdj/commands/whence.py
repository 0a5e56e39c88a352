"""`pcapdj whence`: from what an analyzer reported, or from a time, to the capture file and the packet.

The events come from stdin, from a file, or from the log folder of an analyzer (`--log`); or the options are
the question (`--at`). The journal of the lane has which file has which packets of a stream; where `--log`
belongs to a run, its record has that. The rules are in `pcapdj.trace`.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Final

import typer

from pcapdj.capture.roots import Roots
from pcapdj.console.screen import print_fitted, print_json, print_json_with
from pcapdj.console.slow_work import slow_work
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.foreign_files import is_folder, lines_as_they_come, open_foreign
from pcapdj.runtime.safe_text import quoted
from pcapdj.store.journal import Conditions
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.trace.answers import as_object, cut_as_object, file_objects, lines_about, lines_of_cut
from pcapdj.trace.events import AnalyzerEvent, Rule, ZeekHead, addresses_of, event_of, time_of
from pcapdj.trace.flows import eve_lines, join_flows, stream_of, written_between_ms
from pcapdj.trace.locate import Location, Locator, TooManyFiles
from pcapdj.trace.presence import Presences, reading_roots
from pcapdj.trace.sessions import cut_sessions
from pcapdj.trace.sources import JournalSource, LaneJournal, RunJournal, run_folder

_FEWEST: Final = 500  # events that are looked for at once, in one pass over the journal: the first ones ..
_MOST: Final = 16_000  # .. and the last ones of many; about 2 KiB each
_MOST_HOSTS: Final = 2
_MOST_CUT: Final = 10_000  # events whose sessions are cut out

app = new_app()


@app.command()
def whence(  # noqa: PLR0913 - an option each
    events: Annotated[
        str,
        typer.Argument(
            metavar="EVENTS",
            help="lines of Suricata's EVE or Zeek's conn.log; default: the EVE file in --log, else stdin",
        ),
    ] = "",
    *,
    log: Annotated[
        Path | None,
        typer.Option(help="the analyzer's log folder: it names the stream, and has the flow records"),
    ] = None,
    stream: Annotated[str, typer.Option(help="the id of the events' stream")] = "",
    sid: Annotated[int | None, typer.Option(help="only alerts of this signature")] = None,
    flow_id: Annotated[int | None, typer.Option(help="only events of this flow")] = None,
    all_events: Annotated[
        bool, typer.Option("--all", help="with --log: all events, not only alerts")
    ] = False,
    at: Annotated[
        str,
        typer.Option(metavar="TIME", help="instead of events: a time, as 2026-11-24T10:30:00Z"),
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="with --at: the end of a time range")] = "",
    host: Annotated[
        list[str] | None,
        typer.Option(help="with --at: only packets of this IP address; given twice: between the two"),
    ] = None,
    port: Annotated[list[int] | None, typer.Option(help="with --at: the port of each host")] = None,
    protocol: Annotated[str, typer.Option(help="with --at: tcp, udp, icmp ..")] = "",
    write: Annotated[
        str,
        typer.Option("--write", "-w", metavar="FILE", help="cut the sessions out into a new file"),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON lines")] = False,
    roots: Roots = None,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Find the capture file and the packet that an alert, a flow or a time is about; cut its session out."""
    if at and (events or sid or flow_id or all_events):
        raise ConfigError("--at looks for a time: leave out EVENTS, --sid, --flow-id and --all.")
    if not at and (until or host or port or protocol):
        raise ConfigError("--until, --host, --port and --protocol belong to --at.")

    folder = _log_folder(log)
    is_alert = folder is not None and not events and not all_events
    if at:
        batches = iter([[_question(at, until, host or [], port or [], protocol)]])
    else:
        read = _batches(eve_lines(folder)) if folder and not events else _read(events)
        batches = (
            [each for each in some if _is_wanted(each, sid, flow_id, is_alert=is_alert)] for some in read
        )
    run = run_folder(folder) if folder else None
    store = None if run else open_store(redis_url, redis_password_file, lane)
    source: JournalSource = LaneJournal(store) if store else RunJournal(run or Path())
    answer = _Answer(Presences(store, reading_roots(roots)), as_json=as_json, out=write)
    for batch in [_few(chain.from_iterable(batches))] if write else batches:
        named = [replace(each, stream=stream or stream_of(folder)) for each in batch]
        lines = eve_lines(folder) if folder else ()
        joined = join_flows(named, lines, has_sessions=as_json or bool(write))
        written_ms = written_between_ms(folder) if folder and not stream else None
        for found in _located(source, joined, written_ms, is_cut=bool(write)):
            answer.add(found)
    answer.end(is_about_alerts=is_alert and sid is None and flow_id is None)


def _log_folder(log: Path | None) -> Path | None:
    if log and not is_folder(log):
        raise ConfigError(f"{quoted(str(log))} is not a folder.")
    return Path(os.path.realpath(log)) if log else None


def _question(
    at: str, until: str, hosts: Sequence[str], ports: Sequence[int], protocol: str
) -> AnalyzerEvent:
    """Return what the options ask.

    Raises:
        ConfigError: a time or an address is not valid.
    """
    start_ns, end_ns = time_of(at), time_of(until or at)
    for text, time_ns in ((at, start_ns), (until, end_ns)):
        if time_ns is None:
            raise ConfigError(f"{quoted(text)} is not a time.", hint="Write it as 2026-11-24T10:30:00Z.")
    addresses = addresses_of(tuple(hosts), tuple(ports), protocol) if hosts else None
    if len(hosts) > _MOST_HOSTS or (hosts and addresses is None) or (ports and len(ports) != len(hosts)):
        raise ConfigError("--host takes one or two IP addresses of one version, and --port a port of each.")
    rule = Rule.TIME_AND_ADDRESSES if addresses else Rule.TIME
    return AnalyzerEvent("time", rule, start_ns=start_ns, end_ns=end_ns, addresses=addresses)


def _read(name: str) -> Iterator[list[AnalyzerEvent]]:
    """Yield the events of a file or of stdin; of a pipe also before its end, when nothing comes for a moment.

    Raises:
        ConfigError: the file cannot be opened, or stdin is a terminal.
    """
    if name and name != "-":
        try:
            with open_foreign(Path(name), follows_link=True) as file:
                yield from _batches(lines_as_they_come(file))
        except OSError as exc:
            raise ConfigError(f"{quoted(name)} cannot be read: {exc.strerror}.") from exc
        return
    if sys.stdin.isatty():
        hint = "Pipe lines of EVE into it, or use --log FOLDER or --at TIME."
        raise ConfigError("There are no events: stdin is a terminal.", hint=hint)
    yield from _batches(lines_as_they_come(sys.stdin.buffer))


def _batches(lines: Iterator[str]) -> Iterator[list[AnalyzerEvent]]:
    """Yield events, many at once; an empty line among them stands for a pause.

    For each batch the journal is read, and for some the flow records of all events. So the first one is
    small, for an early answer, and each one that follows is twice as large as the one before.
    """
    head, batch, most = ZeekHead(), list[AnalyzerEvent](), _FEWEST
    for line in lines:
        if event := event_of(line, head):
            batch.append(event)
        if len(batch) == most or (batch and not line):
            most = min(_MOST, 2 * most) if len(batch) == most else most
            yield batch
            batch = []
    yield batch


def _is_wanted(event: AnalyzerEvent, sid: int | None, flow_id: int | None, *, is_alert: bool) -> bool:
    if is_alert and sid is None and flow_id is None:
        return event.sid is not None
    return sid in (None, event.sid) and flow_id in (None, event.flow_id)


def _few(found: Iterator[AnalyzerEvent]) -> list[AnalyzerEvent]:
    """Return all events; raise once there are too many: stdin may never end."""
    if len(events := [*islice(found, _MOST_CUT + 1)]) > _MOST_CUT:
        raise PcapdjError(
            f"More than {_MOST_CUT:,} events: their sessions are not cut out at once.",
            hint="Choose some with --sid or --flow-id.",
        )
    return events


def _located(
    source: JournalSource,
    events: Sequence[AnalyzerEvent],
    written_ms: tuple[int, int] | None,
    *,
    is_cut: bool,
) -> Iterator[list[Location]]:
    """Yield what the journal has about events, of all at once where their files are not too many.

    Args:
        source: the journal.
        events: what is looked for.
        written_ms: when their stream was fed; None: unknown.
        is_cut: their sessions are cut out.

    Raises:
        TooManyFiles: those of a single event are, or of all whose sessions are cut out.
    """
    waiting = [events] if events else []
    while waiting:
        batch = waiting.pop()
        try:
            found = _found(source, batch, written_ms, is_cut=is_cut)
        except TooManyFiles:
            if is_cut or len(batch) == 1:
                raise
        else:
            yield found
            continue
        # behind the handler: the exception keeps all that was found so far
        waiting += batch[len(batch) // 2 :], batch[: len(batch) // 2]


def _found(
    source: JournalSource,
    events: Sequence[AnalyzerEvent],
    written_ms: tuple[int, int] | None,
    *,
    is_cut: bool,
) -> list[Location]:
    locator = Locator(events, has_sessions=is_cut)
    is_newest_first = bool(locator.stream)  # then the search ends with the file that begins the stream
    with slow_work("journal entries to look at", source.length()) as work:
        for part in source.parts(_conditions(locator, written_ms), is_newest_first=is_newest_first):
            locator.add(part.files, is_newest_first=is_newest_first)
            work.add(part.looked_at)
            if locator.is_complete:
                break
    return locator.locations()


def _conditions(locator: Locator, written_ms: tuple[int, int] | None) -> Conditions:
    """Return which files can add something: those of the stream, where it is known, else of the time."""
    if locator.stream:
        since_ms, until_ms = written_ms or (None, None)
        return Conditions(locator.stream, finished_since_ms=since_ms, finished_until_ms=until_ms)
    since_ns, until_ns = locator.times_ns or (None, None)
    return Conditions(since_ns=since_ns, until_ns=until_ns)


class _Answer:
    """Prints what was found; stdout is for a capture if that is written there.

    Args:
        presences: looks at the files.
        as_json: for programs.
        out: the capture that is written; empty: none.
    """

    def __init__(self, presences: Presences, *, as_json: bool, out: str) -> None:
        self._presences = presences
        self._as_json = as_json
        self._out = out
        self._events = self._missing = 0
        self._is_whole = True

    def add(self, locations: Sequence[Location]) -> None:
        """Print what was found of each event; cut the sessions out, if that is wanted."""
        for location in locations:
            self._events += 1
            self._missing += bool(location.problem())
            if self._as_json:
                files = file_objects(location, self._presences)
                print_json_with("files", files, as_object(location), to_stderr=self._out == "-")
            else:
                for line in lines_about(location, self._presences):
                    self._print(line)
        if self._out and locations:
            self._cut(locations)

    def _cut(self, locations: Sequence[Location]) -> None:
        report = cut_sessions(locations, self._presences, self._out)
        self._is_whole = not report.left_out
        if self._as_json:
            print_json(cut_as_object(report, self._out), to_stderr=self._out == "-")
        else:
            for line in lines_of_cut(report, self._out):
                self._print(line)

    def end(self, *, is_about_alerts: bool) -> None:
        """End with an error if something is missing.

        Args:
            is_about_alerts: only alerts of a log folder were looked for.

        Raises:
            PcapdjError: it is.
        """
        if not self._events and is_about_alerts:
            raise PcapdjError("The log has no alerts.", hint="--all looks for its other events, too.")
        if not self._events:
            raise PcapdjError("There are no events to look for.")
        if self._missing:
            raise PcapdjError(f"{self._missing:,} of {self._events:,} were not found.")
        if not self._is_whole:
            raise PcapdjError("Some captures are not there any more: their packets are missing.")

    def _print(self, line: str) -> None:
        print_fitted(line, to_stderr=self._out == "-")
