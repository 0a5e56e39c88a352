"""How every command ends: what went wrong in one sentence on stderr, and an exit code."""

import os
import sys
from collections.abc import Callable

from pcapdj.runtime import log
from pcapdj.runtime.errors import ExitCode, PcapdjError, Stopped


def ended(prog: str, command: Callable[[], int | None]) -> int:
    """Run a command to its end and return its exit code.

    Only a fault of ours shows a traceback.
    """
    try:
        code = command()
    except Stopped:
        return ExitCode.OK
    except PcapdjError as exc:
        say(prog, str(exc))
        return exc.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        _forget_stdout()
        return ExitCode.OK
    except Exception:  # noqa: BLE001 - the one place where the unexpected ends; supervisord starts anew
        import traceback

        log.flush()
        traceback.print_exc()
        return ExitCode.ERROR
    return int(code or 0)


def say(prog: str, sentence: str) -> None:
    """Tell the reason for an end on stderr, behind everything logged before."""
    log.flush()
    print(f"{prog}: {log.printable_sentence(sentence)}", file=sys.stderr)  # noqa: T201 - it is the answer


def _forget_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
