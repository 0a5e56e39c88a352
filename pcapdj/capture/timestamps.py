"""Timestamps from one capture file to the next: gaps, and which of them are jumps worth a warning. Pure.

A gap is the time from the last packet of a file to the first packet of the next, both in file order. It is
negative where the next file begins earlier. A negative gap is always a jump: the files are out of order, or
the clock was set back. A positive gap is a jump above a limit: a file may be missing. Analyzers take their
time from the packets, so a jump makes them end flows too early or keep them too long.
"""

from typing import Final, NamedTuple

DEFAULT_MAX_GAP_NS: Final = 3600 * 10**9  # the 1h of --max-gap


class TimestampJump(NamedTuple):
    """A gap that is reported to the operator.

    Args:
        gap_ns: negative where the file begins before the end of the previous one.
    """

    gap_ns: int

    @property
    def description(self) -> str:
        """What tables and the journal show after the file's name."""
        return f"begins {self._distance} the end of the previous file"

    @property
    def message(self) -> str:
        """What the log shows, with the likely reason."""
        question = "are the files in order?" if self.gap_ns < 0 else "is a file missing?"
        return f"Its first packet is {self._distance} the last packet of the previous file: {question}"

    @property
    def _distance(self) -> str:
        from pcapdj.runtime.units import human_duration  # `pcapdj cat` starts without it

        return f"{human_duration(abs(self.gap_ns))} {'before' if self.gap_ns < 0 else 'after'}"


def gap_ns(last_ts_ns: int | None, first_ts_ns: int | None) -> int | None:
    """Return the gap between two files; None without a previous file, or where one has no packet.

    Args:
        last_ts_ns: timestamp of the previous file's last packet, nanoseconds since 1970.
        first_ts_ns: timestamp of this file's first packet.
    """
    return None if last_ts_ns is None or first_ts_ns is None else first_ts_ns - last_ts_ns


def find_jump(gap_ns: int | None, max_gap_ns: int) -> TimestampJump | None:
    """Return the jump if the gap is one, else None.

    Args:
        gap_ns: None without a previous file.
        max_gap_ns: a longer gap is a jump; 0: no gap forward is one.
    """
    if gap_ns is None:
        return None
    is_too_long = 0 < max_gap_ns < gap_ns
    return TimestampJump(gap_ns) if gap_ns < 0 or is_too_long else None
