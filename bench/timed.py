"""Runs a command and writes down how long it took: `python bench/timed.py RESULT COMMAND ..`.

Stands in front of an analyzer, so that its time is taken in the same way whoever started it.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    """Run the command to its end and return its exit code."""
    result, *command = sys.argv[1:]
    started_s = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = {"wall_s": time.monotonic() - started_s, "cpu_s": usage.ru_utime + usage.ru_stime}
    Path(result).write_text(json.dumps(took), encoding="utf-8")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
