"""`python -m pcapdj.summary PIPE LOGDIR`: reads one capture stream to its end and reports what is in it.

SIGTERM and SIGINT end the reading: what was read until then is reported, exit 0. Exit 1, with one sentence
on stderr, if the stream is torn (what came before is reported all the same) or the disk is full.
SIGHUP, which the launcher passes on for analyzers that rotate logs, changes nothing.
"""

import sys
from typing import TYPE_CHECKING

from pcapdj.summary.source import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from pcapdj.summary.results import HttpObject, Totals

USAGE = "usage: python -m pcapdj.summary PIPE LOGDIR"


def main(arguments: list[str]) -> int:
    """Run the analyzer; return its exit code (`pcapdj.runtime.errors.ExitCode`)."""
    if len(arguments) != 2:  # noqa: PLR2004 - PIPE and LOGDIR
        return _complain(USAGE, 2)
    try:
        descriptor = open_source(arguments[0])
    except (OSError, ValueError) as exc:
        return _complain(f"cannot read {arguments[0]!r}: {exc}", 73)
    # Only now what takes time to load: whoever feeds the pipe waits for the line above.
    from pathlib import Path

    from pcapdj.runtime.errors import PcapdjError

    try:
        totals, objects = _analyze(descriptor, Path(arguments[1]))
        _show(totals, objects)
    except PcapdjError as exc:
        return _complain(str(exc), exc.exit_code)
    except OSError as exc:
        return _complain(f"the summary is not whole: {exc}", 1)
    return _complain(f"the stream is torn: {totals.error}", 1) if totals.error else 0


def _analyze(descriptor: int, logdir: "Path") -> "tuple[Totals, list[HttpObject]]":
    """Read the stream to its end and write the files; return the totals and the first objects."""
    import signal

    from pcapdj.runtime.errors import CaptureError
    from pcapdj.runtime.signals import handled
    from pcapdj.summary.analysis import Analysis
    from pcapdj.summary.report import Report
    from pcapdj.summary.results import Ended
    from pcapdj.summary.source import chunks
    from pcapdj.summary.table import SHOWN_OBJECTS

    analysis = Analysis()
    first_objects: list[HttpObject] = []

    def pass_on() -> None:
        flows, objects = analysis.take()
        report.add(flows, objects)
        first_objects.extend(objects[: SHOWN_OBJECTS - len(first_objects)])

    with handled((signal.SIGHUP,)) as signals, Report(logdir) as report:
        error = ""
        try:
            for chunk in chunks(descriptor, signals):
                analysis.feed(chunk)
                pass_on()
        except CaptureError as exc:
            error = str(exc)
        stopped = Ended.STOPPED if signals.stop_requested else Ended.CLEAN
        totals = analysis.finish(Ended.TORN if error else stopped, error)
        pass_on()
        report.close(totals)
    return totals, first_objects


def _show(totals: "Totals", objects: "list[HttpObject]") -> None:
    """Print the report: a table for a person at a terminal, plain text for a log."""
    from pcapdj.summary.table import as_text

    if sys.stdout.isatty():
        from pcapdj.summary.table import show

        show(totals, objects)
    else:
        sys.stdout.write(as_text(totals, objects))
        sys.stdout.flush()


def _complain(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"pcapdj.summary: {sentence}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
