"""`python -P -m pcapdj.summary PIPE LOGDIR`: reads one capture stream to its end, reports what it contains.

SIGTERM and SIGINT end the reading: everything read until then is reported, exit code 0. Exit code 1, with one
sentence on stderr, if the stream is torn (everything before is reported) or the disk is full. SIGHUP, which
the launcher forwards to analyzers that rotate their logs, has no effect.

The pipe is opened before the imports that take time, because its writer waits for a reader. Opening is
non-blocking: the launcher hands out the write end only when the pipe has a reader, see fifo(7).
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pcapdj.summary.results import HttpObject, StreamSummary

USAGE = "usage: python -P -m pcapdj.summary PIPE LOGDIR"


def main(arguments: list[str]) -> int:
    """Run the analyzer; return its exit code (`pcapdj.runtime.errors.ExitCode`)."""
    if len(arguments) != 2:  # noqa: PLR2004 - PIPE and LOGDIR
        return _complain(USAGE, 2)
    try:
        descriptor = os.open(arguments[0], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as exc:
        return _complain(f"cannot read {arguments[0]!r}: {exc}", 73)
    from pathlib import Path

    from pcapdj.runtime.errors import PcapdjError
    from pcapdj.runtime.streams import tell_failures_of_stdout

    tell_failures_of_stdout()
    try:
        summary, objects = _analyze(descriptor, Path(arguments[1]))
        _show(summary, objects)
    except PcapdjError as exc:
        return _complain(str(exc), exc.exit_code)
    except OSError as exc:
        return _complain(f"the summary is incomplete: {exc}", 1)
    return _complain(f"the stream is torn: {summary.error}", 1) if summary.error else 0


def _analyze(descriptor: int, logdir: "Path") -> "tuple[StreamSummary, list[HttpObject]]":
    """Read the stream to its end and write the files; return the summary and the first objects."""
    import signal

    from pcapdj.runtime.errors import CaptureError
    from pcapdj.runtime.signals import handled
    from pcapdj.summary.analysis import Analysis
    from pcapdj.summary.results import Ended, ResultFiles
    from pcapdj.summary.stream import chunks
    from pcapdj.summary.table import SHOWN_OBJECTS

    with handled((signal.SIGHUP,)) as signals, ResultFiles(logdir, SHOWN_OBJECTS) as files:
        analysis, error = Analysis(files), ""
        try:
            for chunk in chunks(descriptor, signals):
                analysis.feed(chunk)
        except CaptureError as exc:
            error = str(exc)
        stopped = Ended.STOPPED if signals.stop_requested else Ended.CLEAN
        summary = analysis.finish(Ended.TORN if error else stopped, error)
        files.close(summary)
    return summary, files.first_objects


def _show(summary: "StreamSummary", objects: "list[HttpObject]") -> None:
    """Print the report: a table on a terminal, else plain text."""
    from pcapdj.summary.table import as_text, show

    if sys.stdout.isatty():
        show(summary, objects)
    else:
        sys.stdout.write(as_text(summary, objects))
        sys.stdout.flush()


def _complain(sentence: str, exit_code: int) -> int:
    from pcapdj.runtime.safe_text import printable_sentence

    sys.stderr.write(f"pcapdj.summary: {printable_sentence(sentence)}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
