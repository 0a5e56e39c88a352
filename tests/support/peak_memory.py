"""`python -m support.peak_memory FILE..`: reads captures as `pcapdj cat` does, and prints the memory it took.

That is the highest resident memory of this process so far, less what it had before the first file, in bytes.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pcapdj.capture.concatenate import concatenate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcapdj.capture.anomalies import Anomaly
    from pcapdj.capture.pcap import Totals
    from pcapdj.runtime.errors import CaptureError


def highest_bytes() -> int:
    """Return the highest resident memory of this process so far."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10


def report(
    _name: bytes, damage: "CaptureError | None", totals: "Totals", _anomalies: "Sequence[Anomaly]"
) -> None:
    """Print how a file ended."""
    sys.stdout.write(f"{damage.reason if damage else f'{totals.packets} packets'}\n")


if __name__ == "__main__":
    before_bytes = highest_bytes()
    null = os.open(os.devnull, os.O_WRONLY)
    concatenate(list(map(os.fsencode, sys.argv[1:])), null, precision=None, report=report)
    sys.stdout.write(f"{highest_bytes() - before_bytes}\n")
