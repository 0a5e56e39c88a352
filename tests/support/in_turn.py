"""Runs commands of pcapdj in turn in one interpreter: what several of them import is imported once.

`python in_turn.py FILE COMMANDS` or `python -c TEXT FILE COMMANDS`, where COMMANDS is a JSON list of command
lines. FILE gets the list of their exit codes. A command that handles SIGTERM is a role: it gets that signal.
"""

import sys


def main() -> None:
    """Run the commands of the arguments."""
    from pcapdj.cli import start  # before any other import: it removes the current folder from sys.path

    import json  # isort: skip
    import os
    import signal
    from pathlib import Path

    codes = list["str | int | None"]()
    for words in json.loads(sys.argv[2]):
        stopping = _stop_when_it_works(os.getpid()) if _is_role(words) else 0
        try:
            codes.append(start(words))
        except SystemExit as end:
            codes.append(end.code)
        if stopping:
            os.waitpid(stopping, 0)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Path(sys.argv[1]).write_text(json.dumps(codes))


def _is_role(words: "list[str]") -> bool:
    return words[0] in ("dispatch", "control", "consume") or "--watch" in words


def _stop_when_it_works(pid: int) -> int:
    """Fork a process that sends SIGTERM as soon as it is handled: all modules are imported then.

    A role may work in a child, which has to handle it, too.
    """
    import os
    import signal
    import time

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so that only the role's own handler counts
    stopping = os.fork()
    if stopping == 0:
        while not all(map(_handles_stops, [pid, *_children(pid, os.getpid())])):
            time.sleep(0.005)
        os.kill(pid, signal.SIGTERM)
        os._exit(0)
    return stopping


def _handles_stops(pid: int) -> bool:
    import signal
    from pathlib import Path

    caught = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
    return bool(int(caught, 16) & 1 << signal.SIGTERM - 1)


def _children(pid: int, left_out: int) -> "list[int]":
    from pathlib import Path

    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in pids if int(child) != left_out]


if __name__ == "__main__":
    main()
