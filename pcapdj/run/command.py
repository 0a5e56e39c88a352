"""`pcapdj run`: feed files into an analyzer as one stream, and show the results.

The options, and the flow: plan the run, start a private service, follow it, report. Nothing stays but the
analyzer's output and pcapdj.json.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from typer.core import TyperCommand

from pcapdj.analyzer.options import PresetOrDefault, TrustGroup
from pcapdj.console.screen import keep_going_if_closed, print_fitted, progress_bar
from pcapdj.disk import options
from pcapdj.feed.options import MaxGap, OnLinktype, Precision
from pcapdj.inbox.listing import Listing, list_captures
from pcapdj.inbox.order import Order
from pcapdj.inbox.queueing import queue_captures
from pcapdj.run.answering import run_answering
from pcapdj.run.extracted import read_expected, read_extracted
from pcapdj.run.follow import STOPPED_BY_USER, AbortReason, RunMonitor, RunProgress, write_error_sentence
from pcapdj.run.interrupted import continue_file
from pcapdj.run.plan import (
    RunPlan,
    choose_analyzer,
    disk_settings,
    fed_captures_of,
    known_result,
    marked_streams,
    new_logdir,
    places_of,
    plan_run,
    plan_sentence,
    refused_results,
)
from pcapdj.run.private_service import KEPT_LOGS, PrivateService, check_private_service, private_service
from pcapdj.run.record import FileResult, RunRecord, only_run_in
from pcapdj.run.report import (
    Summary,
    end_fields,
    exit_code_of,
    next_place,
    print_summary,
    stream_folders,
    summarize,
    verdict_of,
)
from pcapdj.run.view import progress_view
from pcapdj.runtime.child_process import result_of
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import CannotCreate, ExitCode, Stopped, Unavailable
from pcapdj.runtime.mounts import check_proc
from pcapdj.runtime.safe_text import printable, shell_path, to_name
from pcapdj.runtime.signals import STOP_SIGNALS, Signals, handled
from pcapdj.runtime.units import parse_duration
from pcapdj.store.captures import write_captures
from pcapdj.store.operate import finish

_STOPS = (*STOP_SIGNALS, signal.SIGHUP)  # SIGHUP: the terminal was closed
_MOST_REFUSED = 10  # shown; pcapdj.json has all


class SplitCommand(TyperCommand):
    """Takes everything after the first `--` as the analyzer's command, options included."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # its own Context
        """Keep the analyzer's command for `run`, parse the rest."""
        place = args.index("--") if "--" in args else len(args)
        ctx.obj = args[place + 1 :]
        return super().parse_args(ctx, args[:place])

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002 - a method's
        """Return the usage line of the help, with the place of the analyzer's command."""
        return ["[OPTIONS]", "FILES..", "[-- COMMAND..]"]


app = new_app()


class _Start(NamedTuple):
    """What a run begins with.

    Args:
        analyzer: preset or command, for people.
        selection: the environment variables that select it.
        expected: the sums of the expected objects.
        listing: the captures among the paths.
        folder: for the output; None: there is nothing to feed.
    """

    analyzer: str
    selection: dict[str, str]
    expected: Mapping[str, str]
    listing: Listing
    folder: Path | None


@app.command(cls=SplitCommand)
@options.with_limits
def run(  # noqa: PLR0913 - an option each
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="capture files and folders; after -- the command of any analyzer, such as tshark -r {pipe}",
        ),
    ],
    *,
    preset: PresetOrDefault = "",
    logdir: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="folder for the output; default: a new folder named after the first file",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="continue the run in --logdir: skip the files it fed")
    ] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="include folders inside folders")] = False,
    order: Annotated[
        Order | None,
        typer.Option(
            help="sort all files by name (natural order), or by the time of their first packets;"
            " default: keep the given order, and sort only the files of each folder, by time",
        ),
    ] = None,
    expect: Annotated[
        Path | None, typer.Option(help="a sha256sum file of objects that must be extracted whole")
    ] = None,
    watch: options.RunWatches,
    limits: Mapping[str, str],
    force: options.Force = False,
    max_gap: MaxGap = "1h",
    on_linktype: OnLinktype = "fail",
    precision: Precision = "first",
    trust_group: TrustGroup = False,  # noqa: ARG001 - it works by its callback
) -> None:
    """Feed FILES into one analyzer as one stream; show progress and a summary.

    Files are fed in the order given, those of a folder in the order of their packets.
    """
    started_s = time.monotonic()
    check_proc()
    parse_duration(max_gap, "--max-gap")  # refused here, not by a role in its log
    paths = [os.fsencode(file) for file in files]

    def look() -> _Start:
        analyzer, selection = choose_analyzer(context.obj, preset)
        expected = read_expected(expect) if expect else {}
        with progress_bar() as track:
            listing = list_captures(paths, recursive=recursive, order=order, track=track)
        if refused_results(listing) and not listing.files and not logdir:
            return _Start(analyzer, selection, expected, listing, None)
        folder = (logdir or new_logdir(listing)).absolute()
        check_private_service()
        return _Start(analyzer, selection, expected, listing, folder)

    analyzer, selection, expected, listing, folder = _first_look(look)
    if not folder:  # a run that feeds nothing leaves no new one
        _print_refused(refused_results(listing))
        raise typer.Exit(ExitCode.ERROR)
    watched = [str(Path(text).absolute()) for text in watch]

    def work() -> ExitCode:
        disks = disk_settings(limits, watched, folder, force=force)
        streams = {
            "PCAPDJ_MAX_GAP": max_gap,
            "PCAPDJ_ON_LINKTYPE": on_linktype,
            "PCAPDJ_PRECISION": precision,
        }
        with only_run_in(folder, resume=resume):
            record = RunRecord(folder, resume=resume)
            record.mark_suspects(marked_streams(folder))
            plan = plan_run(listing, record, analyzer, selection | disks | streams)
            return _run(plan, record, expected, started_s)

    raise typer.Exit(run_answering(work, folder, _STOPS, places_of(watched, selection)))


def _run(plan: RunPlan, record: RunRecord, expected: Mapping[str, str], started_s: float) -> ExitCode:
    """Feed the files of a plan; show and keep the results."""
    record.add(plan.refused)
    record.save()  # before anything is started
    if record.write_error:
        _print_line(write_error_sentence(record))
    _print_plan(plan, record)
    progress, abort = feed_files(plan, record)
    record.mark_suspects(progress.suspects)
    with handled(stops=_STOPS, is_command=True) as signals:
        objects = read_extracted(stream_folders(record), expected, signals)
    if objects.is_cut:
        abort = abort or STOPPED_BY_USER
    summary = replace(
        summarize(plan, record, progress),
        objects=objects,
        expected=expected,
        elapsed_s=time.monotonic() - started_s,
    )
    return _report(plan, record, progress, abort, summary)


def _first_look(look: Callable[[], _Start]) -> _Start:
    """Look at what the run needs, in a child, since that may hang."""
    with handled(stops=_STOPS, is_command=True) as signals:
        try:
            return result_of(look, signals)
        except Stopped as exc:
            raise typer.Exit(ExitCode.INTERRUPTED) from exc


def feed_files(plan: RunPlan, record: RunRecord) -> tuple[RunProgress, AbortReason | None]:
    """Feed the plan's files with a private service; return the progress, and why it was aborted if it was."""
    if not plan.files:
        return RunProgress(), None
    with (
        handled(stops=_STOPS, is_command=True) as signals,
        private_service(plan.settings, signals) as service,
    ):
        progress, abort = _follow(plan, record, service, signals)
        if abort or progress.role_ends:
            try:
                service.keep_logs(record.logdir / KEPT_LOGS)
            except CannotCreate as exc:
                _print_line(str(exc))
    return progress, abort


def _print_plan(plan: RunPlan, record: RunRecord) -> None:
    _print_line(plan_sentence(plan, record.logdir))
    _print_refused(plan.refused)
    for note in plan.notes:
        _print_line(note)


def _print_refused(refused: Sequence[FileResult]) -> None:
    for each in refused[:_MOST_REFUSED]:
        _print_line(f"{printable(each.name)}: {each.reason}")
    if len(refused) > _MOST_REFUSED:
        _print_line(f".. and {len(refused) - _MOST_REFUSED:,} more that cannot be fed.")


def _follow(
    plan: RunPlan, record: RunRecord, service: PrivateService, signals: Signals
) -> tuple[RunProgress, AbortReason | None]:
    abort: AbortReason | None = None
    try:
        service.wait_for_redis(signals)
        known = _queue_files(plan, record, service, signals)
    except Stopped:
        abort = STOPPED_BY_USER
    except Unavailable as exc:
        abort = AbortReason(str(exc), ExitCode.UNAVAILABLE)
    if abort:
        _print_line(abort.sentence)
        return RunProgress(), abort
    with progress_view(plan.total_bytes, len(plan.files)) as view:
        monitor = RunMonitor(service, record, view)
        monitor.add(known)
        abort = monitor.watch(signals)
    if abort:
        _print_line(abort.sentence)
        if abort is STOPPED_BY_USER:
            _print_line("The analyzer reads the rest and completes its output; Ctrl-C stops it at once.")
        service.stop_roles(signals)
        monitor.read_end()
    return monitor.progress, abort


def _queue_files(
    plan: RunPlan, record: RunRecord, service: PrivateService, signals: Signals
) -> list[FileResult]:
    """Queue the files; return the results of those whose captures an earlier run has fed.

    Raises:
        Stopped: a stop signal arrived.
    """
    files = plan.files
    write_captures(service.store, fed_captures_of(record.results.values()))
    if each := plan.continued:
        name = to_name(each.name)
        files = [file for file in files if file.name != name]
        continue_file(service.store, service.dispatcher_id, name, each.begin)
    store = service.store.another(timeout_s=service.store.timeout_s)  # a connection is one process's
    report = result_of(lambda: queue_captures(store, files), signals)
    finish(service.store, "empty")
    known = [file for file in files if file.name in report.known]
    return [known_result(file, report.known[file.name]) for file in known]


def _report(
    plan: RunPlan, record: RunRecord, progress: RunProgress, abort: AbortReason | None, summary: Summary
) -> ExitCode:
    code = exit_code_of(summary, progress, abort)
    record.write(end_fields(plan, record, progress, code))
    if record.write_error:
        summary = replace(summary, write_error=record.write_error, unwritten=len(record.unwritten))
        code = code or ExitCode.ERROR
    has_files = bool(plan.files or plan.processed_before)
    print_summary(replace(summary, verdict=verdict_of(code, has_files=has_files)))
    if abort and (summary.fed or summary.objects.is_cut or progress.interrupted):
        logdir = shell_path(record.logdir)
        rest = "feed the remaining files" if summary.not_fed or progress.interrupted else "see all results"
        _print_line(f"To {rest}, repeat the command with --logdir {logdir} --resume.")
    if progress.interrupted:
        _print_line(next_place(progress.interrupted, record))
    return code


def _print_line(sentence: str) -> None:
    with keep_going_if_closed(sys.stderr):
        print_fitted(sentence, to_stderr=True)
