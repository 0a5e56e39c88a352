"""Runs a command and writes its times to a file: `python bench/timed.py RESULT COMMAND ..`.

The analyzer is measured in the same way whether `pcapdj run` or the benchmark starts it.
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
    times = {"wall_s": time.monotonic() - started_s, "cpu_s": usage.ru_utime + usage.ru_stime}
    Path(result).write_text(json.dumps(times), encoding="utf-8")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
