"""`pcapdj run`: feed files into an analyzer as one stream, now, and say what came of it.

A private service does the work (`one_shot`); nothing of it stays but the analyzer's output and pcapdj.json.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from pcapdj.console.screen import progress_bar
from pcapdj.disk import options
from pcapdj.disk.limits import parse_limits
from pcapdj.feed.options import MaxGap, OnLinktype
from pcapdj.inbox.listing import capture_files
from pcapdj.run.extracted import read_expected
from pcapdj.run.follow import GaveUp, Progress, Running
from pcapdj.run.plan import (
    RESTART_PAUSE,
    Plan,
    check_disks,
    chosen_analyzer,
    intent,
    is_done,
    is_out_of_order,
    new_logdir,
    refused_files,
)
from pcapdj.run.private_service import PrivateService
from pcapdj.run.record import RECORD, FedFile, RunRecord
from pcapdj.run.report import exit_code_of, print_summary, summary_of, write_end
from pcapdj.run.view import view
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, ExitCode, Stopped, Unavailable
from pcapdj.runtime.safe_text import printable, printable_sentence, quoted
from pcapdj.runtime.signals import Signals, handled
from pcapdj.runtime.units import parse_duration
from pcapdj.store.enqueue import Intake
from pcapdj.store.operate import finish


class SplitCommand(TyperCommand):
    """Takes what stands behind the first `--` as the analyzer's command, whatever it looks like."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # its own Context
        """Keep the command for later, parse the rest."""
        place = args.index("--") if "--" in args else len(args)
        ctx.obj = args[place + 1 :]
        return super().parse_args(ctx, args[:place])

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002 - a method's
        """Return what the help shows behind the command's name, with the analyzer's place."""
        return ["[OPTIONS]", "FILES..", "[-- COMMAND..]"]


_REFUSED_SHOWN = 10

app = new_app()


@app.command(cls=SplitCommand)
def run(  # noqa: PLR0913 - an option each
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="captures and folders; behind -- any analyzer's command, as tshark -r {pipe}",
        ),
    ],
    *,
    preset: Annotated[
        str,
        typer.Option(
            envvar="PCAPDJ_PRESET",
            help="the analyzer; default: suricata-extract where Suricata is installed, else summary",
            show_default=False,
        ),
    ] = "",
    logdir: Annotated[
        Path | None,
        typer.Option(help="where the output goes; default: a new folder named after the first file"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on after the files done in --logdir")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="look into folders within folders")] = False,
    expect: Annotated[
        Path | None, typer.Option(help="a sha256sum file: what has to be among the extracted objects")
    ] = None,
    watch: options.RunWatches,
    min_free: options.MinFree = "",
    resume_free: options.ResumeFree = "",
    resume_after: options.ResumeAfter = "",
    suspend_free: options.SuspendFree = "",
    min_free_inodes: options.MinFreeInodes = "",
    min_available_memory: options.MinAvailableMemory = "",
    force: options.Force = False,
    max_gap: MaxGap = "1h",
    on_linktype: OnLinktype = "fail",
) -> None:
    """Feed FILES, in the order given, into one analyzer as one stream; show progress and a summary."""
    started_s = time.monotonic()
    expected = read_expected(expect) if expect else {}
    analyzer = chosen_analyzer(context.obj, preset)
    with progress_bar() as tracked:
        names = [os.fsencode(path) for path in files]
        listing = capture_files(names, recursive=recursive, tracked=tracked)
    limits = options.limit_texts(
        min_free=min_free,
        resume_free=resume_free,
        resume_after=resume_after,
        suspend_free=suspend_free,
        min_free_inodes=min_free_inodes,
        min_available_memory=min_available_memory,
    )
    parse_duration(max_gap, "--max-gap")
    watched = [str(Path(text).absolute()) for text in watch]
    folder = (logdir or new_logdir(listing)).absolute()
    defaults = (str(folder), tempfile.gettempdir())
    check_disks(parse_limits(limits, force=force), options.watches_of(watched, defaults, force=force))
    if resume and not (logdir and (logdir / RECORD).exists()):
        raise ConfigError(f"There is no {RECORD} of an earlier run.", hint="Name its folder with --logdir.")
    record = RunRecord(folder, resume=resume)
    settings = {options.variable_of(name): text for name, text in limits.items()}
    settings["PCAPDJ_RESTART_PAUSE"] = os.environ.get("PCAPDJ_RESTART_PAUSE") or RESTART_PAUSE
    settings |= {"PCAPDJ_WATCH": "\n".join(watched), "PCAPDJ_FORCE": "1" if force else ""}
    settings |= {
        **analyzer.settings,
        "PCAPDJ_LOGDIR": str(record.logdir),
        "PCAPDJ_MAX_GAP": max_gap,
        "PCAPDJ_ON_LINKTYPE": on_linktype,
    }
    record.add(refused_files(listing))
    record.save()
    wanted = [each for each in listing.files if not is_done(record, each)]
    plan = Plan(wanted, settings, analyzer.shown, record, done=len(listing.files) - len(wanted))
    _say(intent(plan))
    _say_refused(refused_files(listing))
    if is_out_of_order(listing):
        _say("They are fed in the order given, not their natural one; a folder is fed in natural order.")
    progress, gave_up = carry_out(plan)
    raise typer.Exit(conclude(plan, progress, gave_up, expected, time.monotonic() - started_s))


def carry_out(plan: Plan) -> tuple[Progress, GaveUp | None]:
    """Feed the plan's files with a private service; return how far it came, and why no farther."""
    if not plan.files:
        return Progress(), None
    as_stop = {signal.SIGHUP: partial(os.kill, os.getpid(), signal.SIGTERM)}  # the terminal was closed
    with handled(as_stop) as signals, PrivateService(plan.settings) as session:
        try:
            session.await_redis(signals)
        except Stopped:
            return Progress(), GaveUp("Stopped by the user.", ExitCode.INTERRUPTED)
        except Unavailable as exc:
            return Progress(), GaveUp(str(exc), ExitCode.UNAVAILABLE)
        return follow(plan, session, signals)


def follow(plan: Plan, session: PrivateService, signals: Signals) -> tuple[Progress, GaveUp | None]:
    """Queue the files, show progress until the run is over, and stop the service in order."""
    Intake(session.store).admit({each.name: each.identity for each in plan.files})
    finish(session.store, "empty")
    with view(plan.total_bytes, len(plan.files)) as shown:
        running = Running(session, plan.record, shown)
        gave_up = running.follow(signals)
        if gave_up:
            _say(gave_up.reason)
            session.keep_logs(plan.record.logdir / "logs")
    return running.progress, gave_up


def conclude(
    plan: Plan,
    progress: Progress,
    gave_up: GaveUp | None,
    expected: Mapping[str, str],
    elapsed_s: float,
) -> ExitCode:
    """Print the summary, complete pcapdj.json, return the exit code."""
    summary = summary_of(plan, progress, expected, elapsed_s)
    code = exit_code_of(summary, progress, gave_up)
    write_end(plan, progress, code)
    print_summary(summary)
    if gave_up and summary.fed:
        logdir = quoted(str(plan.record.logdir))
        _say(f"With --logdir {logdir} --resume it goes on after the files that were fed.")
    return code


def _say_refused(files: Sequence[FedFile]) -> None:
    for refused in files[:_REFUSED_SHOWN]:
        _say(f"{printable(refused.name)}: {refused.reason}")
    if len(files) > _REFUSED_SHOWN:
        _say(f".. and {len(files) - _REFUSED_SHOWN:,} more that cannot be fed; {RECORD} names them.")


def _say(sentence: str) -> None:
    sys.stderr.write(printable_sentence(sentence) + "\n")
    sys.stderr.flush()
