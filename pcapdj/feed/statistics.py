"""A dispatcher's counters, and the eight lines that SIGUSR2 prints of them. Rules only.

The lines and the words for the internal state are those that the original pcapdj documents. `lengths` is the
sum of the lengths on the wire: where it differs from `cap_lengths`, packets were captured incompletely. The
file in flight is counted from its progress; once it is finished it is added for good.
"""

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pcapdj.feed.progress import FileProgress

RUNNING = "Running"
SUSPENDED = "Suspended"
WAITING = "Waiting for authorization"
FEEDING = "Feeding fifo buffer"

# What `counted` adds of the file in flight.
_OF_FILES = (
    *("packets", "cap_lengths", "lengths", "stream_bytes", "jumps", "last_jump", "last_jump_name"),
    *("left_out", "wrapped_times", "steps_back", "largest_step_back_ns", "beyond_snaplen"),
    *("after_2038_stream", "last_anomaly", "last_anomaly_name", "read_bytes"),
)


@dataclass(slots=True)
class Statistics:
    """What one dispatcher has done since it started; published once a second.

    Args:
        started_s: seconds since the epoch.
        pid, pipe: who it is.
        queue: the name of the queue that it takes files from, as `-q` has it.
        place: of its lock, as `registration.claim_id` compares it.
        waiting_for: what it waits for, as a sentence; empty while it works.
        storage, storage_since_s: the mount point or folder whose return it waits for, and since when, in
            seconds since the epoch; empty: it does not.
        storage_queued: how many of the queue's first 10,000 names wait for it, too.
        at_fault: why the lane is held, where it is not the file but the analyzer; else empty.
        jumps: files whose first packet's time jumps, seen from the previous file.
        last_jump, last_jump_name: how the last of them does, and which it is.
        left_out, wrapped_times, beyond_snaplen: packets that are not in the stream, that have another time
            there, and that are longer than the snaplen of their file.
        steps_back, largest_step_back_ns: packets earlier than the one before them, inside files.
        after_2038_stream: the last stream with times that libpcap reads as negative.
        last_anomaly, last_anomaly_name: the last of these in words, and its file.
        known: files that were not fed, since their capture was fed before.
        read_bytes: of files on their disks, compressed ones as they are.
        restored: how often Redis had lost that it works, or its file.
        lost_names, lost_s: how many names Redis has lost of the queue, and when that was noticed last.
        progress: of the file in flight.
    """

    started_s: float
    pid: int
    pipe: str
    queue: str = ""
    place: str = ""
    state: str = RUNNING
    waiting_for: str = ""
    storage: bytes = b""
    storage_since_s: float = 0.0
    storage_queued: int = 0
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
    left_out: int = 0
    wrapped_times: int = 0
    steps_back: int = 0
    largest_step_back_ns: int = 0
    beyond_snaplen: int = 0
    after_2038_stream: str = ""
    last_anomaly: str = ""
    last_anomaly_name: bytes = b""
    known: int = 0
    read_bytes: int = 0
    restored: int = 0
    lost_names: int = 0
    lost_s: float = 0.0
    progress: FileProgress = field(default_factory=FileProgress)

    @property
    def shown_state(self) -> str:
        """The internal state as the original names it: a suspension hides what is suspended."""
        return SUSPENDED if self.suspended_by else self.state

    def show(self, state: str, waiting_for: str = "") -> None:
        """Set the internal state, and what is waited for in it."""
        self.state, self.waiting_for = state, waiting_for

    def wait_for(self, sentence: str) -> None:
        """Set what is waited for; empty: nothing."""
        self.waiting_for = sentence

    def wait_for_storage(self, place: bytes, since_s: float, queued: int) -> None:
        """Set whose return is waited for, since when, and how many queued names wait, too; empty: nothing."""
        self.storage, self.storage_since_s, self.storage_queued = place, since_s, queued

    def hold(self, reason: str) -> None:
        """Set why the lane is held; empty: it is not."""
        self.at_fault = reason

    def suspend(self, by: str) -> None:
        """Set who suspends feeding; empty: feeding goes on."""
        self.suspensions += bool(by and not self.suspended_by)
        self.suspended_by = by

    def show_losses(self, restored: int, lost_names: int, now_s: float) -> None:
        """Set how often Redis had lost the registration, and how many names of the queue."""
        self.lost_s = now_s if lost_names > self.lost_names else self.lost_s
        self.restored, self.lost_names = restored, lost_names

    def begin_file(self, name: bytes) -> None:
        """Show the file in flight."""
        self.name, self.total_bytes, self.progress = name, 0, FileProgress()

    def show_size(self, total_bytes: int) -> None:
        """Set the size of the file in flight."""
        self.total_bytes = total_bytes

    def begin_pass(self, progress: FileProgress) -> None:
        """Count the file in flight by this progress."""
        self.progress = progress

    def begin_stream(self, stream: str) -> None:
        """Show the stream that the file in flight enters."""
        self.stream = stream

    def finish_file(self, *, is_processed: bool, is_known: bool = False) -> None:
        """Add the file in flight to the totals."""
        counted = self.counted()
        for name in _OF_FILES:
            setattr(self, name, getattr(counted, name))
        self.files += is_processed and not is_known
        self.known += is_known
        self.failed += not is_processed
        self.begin_file(b"")

    def counted(self) -> "Statistics":
        """Return a copy with the records of the file in flight on top."""
        progress = self.progress
        totals = progress.totals
        counted = replace(
            self,
            packets=self.packets + totals.packets,
            cap_lengths=self.cap_lengths + totals.cap_lengths_bytes,
            lengths=self.lengths + totals.lengths_bytes,
            done_bytes=progress.source_bytes,
            read_bytes=self.read_bytes + progress.source_bytes,
            stream_bytes=progress.end_bytes or self.stream_bytes,
            left_out=self.left_out + sum(progress.left_out.values()),
            wrapped_times=self.wrapped_times + totals.wrapped_times,
            steps_back=self.steps_back + totals.steps_back,
            largest_step_back_ns=max(self.largest_step_back_ns, totals.largest_step_back_ns),
            beyond_snaplen=self.beyond_snaplen + totals.beyond_snaplen,
            after_2038_stream=self.stream if totals.has_times_after_2038 else self.after_2038_stream,
            progress=FileProgress(),
        )
        if progress.anomaly:
            counted.last_anomaly, counted.last_anomaly_name = progress.anomaly, self.name
        if progress.jump:
            counted.jumps += 1
            counted.last_jump, counted.last_jump_name = progress.jump, self.name
        return counted

    def published(self) -> dict[str, Any]:
        """Return the fields of PCAPDJ_STATS, without the heartbeat and the stall."""
        fields = asdict(self.counted()) | {"state": self.shown_state}
        del fields["progress"]
        return fields

    def lines(self, now_s: float) -> str:
        """Return the eight [STATS] lines, the start in local time."""
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started_s))
        counted = self.counted()
        return (
            f"[STATS] Start time:{started}\n"
            f"[STATS] Uptime:{int(now_s - self.started_s)} (seconds)\n"
            f"[STATS] Internal state:{self.shown_state}\n"
            f"[STATS] Number of suspensions:{self.suspensions}\n"
            f"[STATS] Number of files:{self.files}\n"
            f"[STATS] Number of packets:{counted.packets}\n"
            f"[STATS] Number of cap_lengths:{counted.cap_lengths}\n"
            f"[STATS] Number of lengths:{counted.lengths}\n"
        )
