"""A dispatcher's counters, and the eight lines that SIGUSR2 prints of them. Rules only.

The lines and the words for the internal state are those that the original pcapdj documents. `lengths` is the
sum of the lengths on the wire: where it differs from `cap_lengths`, packets were captured incompletely.
"""

import time
from dataclasses import dataclass, replace

RUNNING = "Running"
SUSPENDED = "Suspended"
WAITING = "Waiting for authorization"
FEEDING = "Feeding fifo buffer"


@dataclass(slots=True)
class Statistics:
    """What one dispatcher has done since it started; published once a second.

    Args:
        started_s: seconds since the epoch.
        pid, pipe: who it is.
        at_fault: why the lane is held, where it is not the file but the analyzer; else empty.
        jumps: files whose first packet's time jumps, seen from the file before.
        last_jump, last_jump_name: how the last of them does, and which it is.
    """

    started_s: float
    pid: int
    pipe: str
    state: str = RUNNING
    waiting_for: str = ""
    suspended_by: str = ""
    suspensions: int = 0
    files: int = 0
    failed: int = 0
    packets: int = 0
    cap_lengths: int = 0
    lengths: int = 0
    name: bytes = b""
    done_bytes: int = 0
    total_bytes: int = 0
    stream: str = ""
    stream_bytes: int = 0
    at_fault: str = ""
    jumps: int = 0
    last_jump: str = ""
    last_jump_name: bytes = b""

    @property
    def shown_state(self) -> str:
        """The internal state as the original names it: a suspension hides what is suspended."""
        return SUSPENDED if self.suspended_by else self.state

    def counted(self, packets: int, cap_lengths: int, lengths: int) -> "Statistics":
        """Return a copy with these records on top: those of the file that is being fed."""
        return replace(
            self,
            packets=self.packets + packets,
            cap_lengths=self.cap_lengths + cap_lengths,
            lengths=self.lengths + lengths,
        )

    def lines(self, now_s: float) -> str:
        """Return the eight [STATS] lines, the start in local time."""
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started_s))
        return (
            f"[STATS] Start time:{started}\n"
            f"[STATS] Uptime:{int(now_s - self.started_s)} (seconds)\n"
            f"[STATS] Internal state:{self.shown_state}\n"
            f"[STATS] Number of suspensions:{self.suspensions}\n"
            f"[STATS] Number of files:{self.files}\n"
            f"[STATS] Number of packets:{self.packets}\n"
            f"[STATS] Number of cap_lengths:{self.cap_lengths}\n"
            f"[STATS] Number of lengths:{self.lengths}\n"
        )
