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
    Path(sys.argv[1]).write_text(json.dumps(codes))


def _is_role(words: "list[str]") -> bool:
    return words[0] in ("dispatch", "control", "consume") or "--watch" in words


def _stop_when_it_works(pid: int) -> int:
    """Fork a process that sends SIGTERM as soon as it is handled: all modules are imported then."""
    import os
    import signal
    import time
    from pathlib import Path

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    stopping = os.fork()
    if stopping == 0:
        caught = 0
        while not caught & 1 << signal.SIGTERM - 1:
            time.sleep(0.005)
            status = Path(f"/proc/{pid}/status").read_text()
            caught = int(status.split("SigCgt:")[1].split()[0], 16)
        os.kill(pid, signal.SIGTERM)
        os._exit(0)
    return stopping


if __name__ == "__main__":
    main()
