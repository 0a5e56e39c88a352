"""The watched disks: how full they are, where the limits are, and when they are reached. Rules only.

    /data/out  open, 37.2 GiB of 69.7 GiB free
      [#####################.........O....H..S]
      O open from 10.5 GiB free, H hold below 7.0 GiB, S suspended below 3.5 GiB
      fills by 12.3 MiB/s: hold in 41 min, suspended in 47 min

The bar is the whole disk, `#` is in use, and the letters are the limits. Inodes and memory look the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pcapdj.console.snapshot_fields import number_in
from pcapdj.runtime.safe_text import printable
from pcapdj.runtime.units import human_size, rough_duration

_BAR_WIDTH: Final = 60  # a terminal has 80 columns
_OF_OUTLOOK: Final = ("free", "hold_below", "suspend_below", "open_from", "fills_per_s")
_SLOWEST: Final = 86_400 * 30  # seconds: a limit that is further away is not near

Fields = Mapping[str, Any]


def disk_lines(disks: Sequence[Fields], trends: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Return the lines about the measured resources.

    Args:
        disks: as `disk.published_gate.published_disks` returns them.
        trends: lines about the last day, by the name of the disk.
    """
    found = trends or {}
    return [
        line
        for disk in disks
        for line in (*_lines_of(disk), *(f"  {each}" for each in found.get(disk["name"], ())))
    ]


def outlook_of(disks: object, name: str) -> str:
    """Return which limits the disk of this name reaches when, if it goes on as in the last seconds.

    Args:
        disks: a list as PCAPDJ_GATE has it; what another program wrote there in another form is left out.
        name: of the disk.

    Returns:
        `fills by 12.3 MiB/s: hold in 41 min`; empty: none within a month, or unknown.
    """
    for each in disks if isinstance(disks, list) else ():
        if isinstance(each, Mapping) and each.get("name") == name:
            is_whole = all(type(each.get(field)) is int for field in _OF_OUTLOOK)
            is_whole = is_whole and {"state", "unit"} <= each.keys()
            return next(_outlook(each), "") if is_whole else ""
    return ""


def _lines_of(disk: Fields) -> Iterator[str]:
    name, state = printable(disk["name"]), printable(disk["state"])
    if disk["free"] is None:
        yield f"{name}  {state}: it {printable(disk['failure'])}, which counts as full"
        return
    yield f"{name}  {state}, {_free_of_total(disk)} free"
    if disk["total"] > 0:
        yield f"  {usage_bar(disk)}"
    suspends = disk["suspend_below"]
    limits = [
        f"O open from {number_text(disk, disk['open_from'])} free",
        f"H hold below {number_text(disk, disk['hold_below'])}",
    ]
    limits.append(f"S suspended below {number_text(disk, suspends)}" if suspends else "never suspended")
    yield f"  {', '.join(limits)}" if disk["hold_below"] else "  without limits"
    yield from (f"  {line}" for line in _outlook(disk))


def usage_bar(disk: Fields) -> str:
    """Return the whole disk as a bar with its limits: O open from, H hold below, S suspended below.

    Args:
        disk: with a total above 0.
    """
    bar = list(f"{'#' * _place(disk, disk['free']):.<{_BAR_WIDTH}}")
    for mark, limit in (("O", "open_from"), ("H", "hold_below"), ("S", "suspend_below")):
        if disk[limit]:
            bar[min(_BAR_WIDTH - 1, _place(disk, disk[limit]))] = mark
    return f"[{''.join(bar)}]"


def _place(disk: Fields, free: int) -> int:
    """Return how many characters of the bar are in use with so much free."""
    share = 1 - max(0, min(free, disk["total"])) / disk["total"]
    return int(share * _BAR_WIDTH)


def _outlook(disk: Fields) -> Iterator[str]:
    """Yield which limits are reached when, if the disk goes on as in the last seconds."""
    free, rate = disk["free"], disk["fills_per_s"]
    if rate > 0:
        worse = {"open": ("hold", "suspended"), "hold": ("suspended",)}.get(disk["state"], ())
        steps = [("hold", disk["hold_below"]), ("suspended", disk["suspend_below"])]
        times = [(word, (free - at) / rate) for word, at in steps if word in worse and at and free >= at]
        word, speed = "fills", rate
    elif rate < 0 and disk["state"] != "open":
        steps = [("open", disk["open_from"])]
        if disk["state"] == "suspended":
            steps.insert(0, ("hold", disk["hold_below"]))
        times = [(word, (at - free) / -rate) for word, at in steps if free < at and can_be_free(disk, at)]
        word, speed = "empties", -rate
    else:
        return
    near = [f"{state} in {rough_duration(left_s)}" for state, left_s in times if left_s <= _SLOWEST]
    if near:
        yield f"{word} by {_amount(disk, speed)}/s: {', '.join(near)}"


def can_be_free(disk: Fields, amount: float) -> bool:
    """Report whether a disk can have this much free: whether it is larger, as far as its size is known."""
    return not 0 < number_in(disk, "total") <= amount


def _free_of_total(disk: Fields) -> str:
    free, total = disk["free"], disk["total"]
    if total <= 0:
        return _amount(disk, free)
    return f"{number_text(disk, free)} of {_amount(disk, total)}"


def _amount(disk: Fields, number: int) -> str:
    return number_text(disk, number) if disk["unit"] == "bytes" else f"{number:,} {printable(disk['unit'])}"


def number_text(disk: Fields, number: int) -> str:
    """Return an amount without the unit where that is one of a kind: a line has to fit into 80 columns."""
    return human_size(number) if disk.get("unit") == "bytes" else f"{number:,}"
