"""The order in which capture files are fed, and where names and times contradict each other. Rules only.

Captures of a folder are fed in the order of their first packets. Where two begin at the same time, and with
`--order name`, the natural order of their names decides. It is what people expect of rotated names, `cap2`
before `cap10`:

- Folders are compared part by part, so the files of one folder stay together.
- Runs of digits compare as numbers of any length, all other bytes as bytes, whatever their encoding.
- The part before the extension is compared first, then the extension. The extension of a compression counts
  for neither: `x.pcap.gz` comes before `x.pcap1.gz` and that before `x.pcap10.gz`, as tcpdump rotates them.
- Names that are equal by these rules (`01` and `1`) are ordered by their bytes: the order is total.

No order of names is right for all rotations: tcpdump -C writes `0956001` between `095600` and `095700`, and
dumpcap begins its numbers anew when it is started again.
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.units import human_duration

_DIGITS = re.compile(rb"([0-9]+)")
_MOST_DIGITS = 30  # int() refuses thousands of them; what differs before these is no counter
COMPRESSIONS = (b".gz", b".bz2", b".xz", b".zst")

# In a key: what ends a chunk, what begins a number, and the bytes of text that are escaped.
_END, _NUMBER, _SMALL = b"\0", b"\1", re.compile(rb"[\0-\2]")
_LONG, _LONG_NUMBER = 0xFF, struct.Struct(">BI")

Times = Mapping[bytes, int | None]


class Order(StrEnum):
    """What captures are sorted by."""

    NAME = "name"
    TIME = "time"


class StepBack(NamedTuple):
    """Two files next to each other, of which the second begins earlier.

    Args:
        before, after: their names.
        step_ns: by how much, in nanoseconds.
    """

    before: bytes
    after: bytes
    step_ns: int


def in_natural_order(names: Iterable[bytes]) -> list[bytes]:
    """Return the names in natural order."""
    return sorted(names, key=natural_key)


def in_order_of_time(by_name: Iterable[bytes], times: Times) -> list[bytes]:
    """Return the names in the order of their first packets.

    Args:
        by_name: in natural order, which decides between equal times.
        times: of the first packets, nanoseconds since 1970. Files without one come last.
    """
    return sorted(by_name, key=lambda name: (times.get(name) is None, times.get(name) or 0))


def given_order_note(names: Sequence[bytes], times: Times) -> str:
    """Return what to show about files that are fed in the order given; empty: their times agree with it."""
    step = _first_step_back(names, times)
    if not step:
        return ""
    return (
        f"The files are fed in the order given, and {quoted(step.after)} begins {_duration(step)} before"
        f" {quoted(step.before)}, which is fed first. A folder is fed in the order of its packets."
    )


def name_order_note(by_name: Sequence[bytes], times: Times) -> str:
    """Return what to show about files that are fed by time; empty: no numbering contradicts that.

    Args:
        by_name: in natural order.
        times: of the first packets.
    """
    step = _first_step_back(by_name, times)
    if not step or not _is_numbered_without_gap(by_name):
        return ""
    return (
        f"The files are fed in the order of their packets, not of their names: {quoted(step.after)} begins"
        f" {_duration(step)} before {quoted(step.before)}. Was a clock set back? --order name feeds by name."
    )


def _duration(step: StepBack) -> str:
    return human_duration(step.step_ns)


def _first_step_back(names: Sequence[bytes], times: Times) -> StepBack | None:
    timed = [(name, time_ns) for name in names if (time_ns := times.get(name)) is not None]
    for (before, before_ns), (after, after_ns) in pairwise(timed):
        if after_ns < before_ns:
            return StepBack(before, after, before_ns - after_ns)
    return None


def _is_numbered_without_gap(names: Sequence[bytes]) -> bool:
    """Report whether the first number in which two neighbours differ is one more in the second, always."""
    return all(_is_next_number(before, after) for before, after in pairwise(names))


def _is_next_number(before: bytes, after: bytes) -> bool:
    one, other = _DIGITS.split(before), _DIGITS.split(after)
    differing = [index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]]
    if len(one) != len(other) or not differing or differing[0] % 2 == 0:
        return False
    place = differing[0]
    return _number(one[place]) + 1 == _number(other[place])


def _number(digits: bytes) -> int:
    return int(digits[-_MOST_DIGITS:])


def natural_key(name: bytes) -> bytes:
    """Return the key that sorts paths in natural order, with at most four times the bytes of the path."""
    return b"".join(map(_part_key, name.split(b"/")))


@lru_cache(maxsize=1024)  # the folders of ten thousand names are the same few
def _part_key(part: bytes) -> bytes:
    compression = next((each for each in COMPRESSIONS if part.endswith(each)), b"")
    name = part.removesuffix(compression)
    stem, dot, extension = name.rpartition(b".")
    return _chunks(stem if dot else name) + _chunks(extension if dot else b"") + _escaped(part) + _END


def _chunks(text: bytes) -> bytes:
    """Return text and numbers in turn; the end comes before a number, and both before all text."""
    return _DIGITS.sub(_number_key, _escaped(text)) + _END


def _escaped(text: bytes) -> bytes:
    """Return text whose bytes are larger than `_END` and `_NUMBER`, in the same order."""
    return _SMALL.sub(lambda found: b"\2" + found[0], text)


def _number_key(found: re.Match[bytes]) -> bytes:
    """Return a number as its length, which decides first, and its digits; int() has a limit."""
    digits = found[0].lstrip(b"0")
    length = len(digits)
    return _NUMBER + (bytes([length]) if length < _LONG else _LONG_NUMBER.pack(_LONG, length)) + digits
