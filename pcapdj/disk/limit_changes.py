"""What a change of the limits means on the disks that are watched now, before it is made. Rules only.

min-free  10% -> 20%
/data/out  hold below 7.0 GiB -> 14.0 GiB, open from 10.5 GiB -> 21.0 GiB, suspended below 3.5 GiB -> 7.0 GiB
           the gate would hold: 9.1 GiB are free
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pcapdj.disk.limits import DEFAULTS, DERIVED, Limits, Thresholds, Watch, parse_limits
from pcapdj.runtime.safe_text import printable
from pcapdj.runtime.units import human_size

_WORDS: Final = {"minimum": "hold below", "resume": "open from", "suspend": "suspended below"}

Fields = Mapping[str, Any]


def change_lines(disks: Sequence[Fields], in_force: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the lines about a change.

    Args:
        disks: as `published_gate.published_disks` returns them.
        in_force: the texts of the limits in force, by name; empty: a derived one.
        after: those that would be in force.

    Raises:
        ConfigError: the limits would be out of order, by themselves or on one of these disks.
    """
    names = [name for name in DEFAULTS if in_force.get(name, "") != after.get(name, "")]
    width = max([len(name) for name in names] or [0])
    lines = [f"{name:<{width}}  {_shown(name, in_force)} -> {_shown(name, after)}" for name in names]
    old, new = parse_limits(in_force, force=True), parse_limits(after, force=True)
    return [*lines, *(line for disk in disks for line in _lines_of(disk, old, new))]


def _shown(name: str, texts: Mapping[str, str]) -> str:
    return printable(texts.get(name, "")) or DERIVED.get(name, "off")


def _lines_of(disk: Fields, old: Limits, new: Limits) -> Iterator[str]:
    before = Thresholds(disk["suspend_below"], disk["hold_below"], disk["open_from"])
    if disk["free"] is None or before != _thresholds(disk, old):  # its path has a limit of its own
        return
    after = _thresholds(disk, new)
    changes = [
        f"{word} {_amount(disk, getattr(before, field))} -> {_amount(disk, getattr(after, field))}"
        for field, word in _WORDS.items()
        if getattr(before, field) != getattr(after, field)
    ]
    if not changes:
        return
    name = printable(disk["name"])
    yield f"{name}  {', '.join(changes)}"
    if disk["free"] < after.minimum:
        what = "suspend" if disk["free"] < after.suspend else "hold"
        yield f"{'':<{len(name)}}  the gate would {what}: {_amount(disk, disk['free'])} are free"


def _thresholds(disk: Fields, limits: Limits) -> Thresholds:
    if disk["unit"] == "inodes":
        return limits.inode_thresholds(disk["total"])
    if disk["name"] == "memory":
        return limits.memory_thresholds(disk["total"])
    return limits.space_thresholds(Watch(disk["name"]), disk["total"])


def _amount(disk: Fields, number: int) -> str:
    return human_size(number) if disk["unit"] == "bytes" else f"{number:,}"
