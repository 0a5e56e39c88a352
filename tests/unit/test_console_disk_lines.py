"""The watched disks as `pcapdj limits` shows them."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.console.disk_lines import disk_lines, outlook_of, usage_bar

_GIB = 1 << 30
_DISK: dict[str, Any] = {
    "name": "/data/out",
    "unit": "bytes",
    "free": 37 * _GIB,
    "total": 70 * _GIB,
    "suspend_below": 3 * _GIB,
    "hold_below": 7 * _GIB,
    "open_from": 10 * _GIB,
    "state": "open",
    "fills_per_s": 0,
    "failure": "",
}


def shown(**changes: object) -> str:
    """Return the lines of a disk with these fields."""
    return "\n".join(disk_lines([{**_DISK, **changes}]))


def test_a_disk_is_shown_with_its_space_its_limits_and_when_they_are_reached() -> None:
    """It fits into 80 columns."""
    lines = shown(fills_per_s=10 << 20)

    assert lines == (
        "/data/out  open, 37.0 GiB of 70.0 GiB free\n"
        "  [############################.......................O..H..S..]\n"
        "  O open from 10.0 GiB free, H hold below 7.0 GiB, S suspended below 3.0 GiB\n"
        "  fills by 10.0 MiB/s: hold in 51 min, suspended in 58 min"
    )
    assert max(map(len, lines.splitlines())) <= 80


@each_row(
    ("changes", "expected"),
    [
        ({}, None),
        ({"fills_per_s": 1}, None),
        (
            {"state": "hold", "free": 5 * _GIB, "fills_per_s": 1 << 20},
            "fills by 1.0 MiB/s: suspended in 34 min",
        ),
        (
            {"state": "suspended", "free": 2 * _GIB, "fills_per_s": -(1 << 20)},
            "empties by 1.0 MiB/s: hold in 85 min, open in 2 h",
        ),
        (
            {"state": "hold", "free": 8 * _GIB, "fills_per_s": -(1 << 20)},
            "empties by 1.0 MiB/s: open in 34 min",
        ),
        ({"fills_per_s": -(1 << 20)}, None),
        (
            {"state": "hold", "free": 5 * _GIB, "fills_per_s": -(1 << 20)},
            "empties by 1.0 MiB/s: open in 85 min",
        ),
        ({"state": "hold", "free": 5 * _GIB, "total": 9 * _GIB, "fills_per_s": -(1 << 20)}, None),
    ],
    ids=[
        *("steady", "months", "holding", "suspended, empties", "holding, empties", "open, empties"),
        *("below min-free, empties", "out of reach, empties"),
    ],
)
def test_the_outlook_has_the_next_limits_only(changes: dict[str, object], expected: str | None) -> None:
    """Those that the disk moves to, within a month."""
    last = shown(**changes).splitlines()[-1]

    assert last.strip() == expected if expected else "suspended below" in last


HOLDS: dict[str, Any] = {"state": "hold", "free": 5 * _GIB}
MONTH_S = 30 * 86_400


@each_row(
    ("changes", "expected"),
    [
        (
            {"free": 7 * _GIB, "fills_per_s": 1 << 20},
            "fills by 1.0 MiB/s: hold in 0 s, suspended in 68 min",
        ),
        ({"free": 7 * _GIB + 50, "fills_per_s": 1}, "fills by 1 B/s: hold in 50 s"),
        ({"free": 7 * _GIB + MONTH_S, "fills_per_s": 1}, "fills by 1 B/s: hold in 30 d"),
        ({"free": 7 * _GIB + MONTH_S + 1, "fills_per_s": 1}, ""),
        (
            {"open_from": 0, "hold_below": 0, "free": 4 * _GIB, "fills_per_s": 1 << 20},
            "fills by 1.0 MiB/s: suspended in 17 min",
        ),
        ({**HOLDS, "fills_per_s": 0}, ""),
        ({**HOLDS, "state": "open", "fills_per_s": -(1 << 20)}, ""),
        ({**HOLDS, "free": 10 * _GIB - 50, "fills_per_s": -1}, "empties by 1 B/s: open in 50 s"),
        ({**HOLDS, "free": 10 * _GIB, "fills_per_s": -1}, ""),
        ({**HOLDS, "total": 0, "fills_per_s": -(1 << 20)}, "empties by 1.0 MiB/s: open in 85 min"),
        ({**HOLDS, "total": 1, "fills_per_s": -(1 << 20)}, ""),
        ({**HOLDS, "total": 10 * _GIB, "fills_per_s": -(1 << 20)}, ""),
        ({**HOLDS, "free": 5.5, "fills_per_s": 1}, ""),
        ({"name": "/other"}, ""),
    ],
)
def test_a_limit_counts_up_to_its_last_byte(changes: dict[str, object], expected: str) -> None:
    """Just at it, a month away, without one, and on disks of which the size is unknown or too small."""
    others = [{**_DISK, "name": "/first", "fills_per_s": 1}, "foreign"]

    assert outlook_of([*others, {**_DISK, **changes}], "/data/out") == expected


def test_of_a_disk_in_another_form_there_is_no_outlook() -> None:
    """Each field is needed."""
    whole = {**_DISK, "free": 7 * _GIB, "fills_per_s": 1}
    needed = {*whole} - {"name", "failure", "total"}

    parts = {field: {name: value for name, value in whole.items() if name != field} for field in needed}

    assert {field: outlook_of([part], "/data/out") for field, part in parts.items()} == dict.fromkeys(
        needed, ""
    )
    assert (outlook_of("foreign", "/data/out"), outlook_of([], "/data/out")) == ("", "")


def test_the_size_is_shown_where_it_is_known() -> None:
    """A limit of a byte has the last place of the bar, where the disk is full."""
    assert shown(total=0).startswith("/data/out  open, 37.0 GiB free\n  O open from")
    assert shown(total=-1).startswith("/data/out  open, 37.0 GiB free\n")
    assert shown(total=1, free=1).startswith("/data/out  open, 1 B of 1 B free\n  [")
    assert shown(total=0, free=3, unit="inodes").startswith("/data/out  open, 3 inodes free\n")
    tiny = {"total": 1000, "open_from": 0, "hold_below": 0, "suspend_below": 1}
    assert usage_bar({**_DISK, **tiny, "free": 0}) == f"[{'#' * 59}S]"
    assert usage_bar({**_DISK, **tiny, "free": 1}) == f"[{'#' * 59}S]"
    assert usage_bar({**_DISK, **tiny, "total": 60, "suspend_below": 0, "free": 1}) == f"[{'#' * 59}.]"
    assert usage_bar({**_DISK, **tiny, "total": 60, "suspend_below": 0, "free": 0}) == f"[{'#' * 60}]"


def test_what_cannot_be_measured_is_shown_with_its_reason() -> None:
    """Without numbers."""
    assert shown(free=None, state="suspended", failure="is not mounted any more") == (
        "/data/out  suspended: it is not mounted any more, which counts as full"
    )


def test_inodes_and_a_disk_without_limits_are_shown() -> None:
    """Inodes are numbers; where nothing suspends or holds, that is written."""
    inodes = shown(unit="inodes", name="/out (inodes)", free=900, total=1000, suspend_below=0, hold_below=50)
    assert "900 of 1,000 inodes free" in inodes
    assert inodes.endswith("H hold below 50, never suspended")
    millions = {"open_from": 1_258_290, "hold_below": 838_860, "suspend_below": 419_430}
    many = shown(unit="inodes", free=16_000_000, total=16_777_200, **millions)
    assert max(map(len, many.splitlines())) <= 80
    assert "  without limits" in shown(hold_below=0, suspend_below=0, open_from=0)
    assert "[" not in shown(total=0)


def test_names_are_shown_escaped() -> None:
    """Another program may have written them."""
    assert "\x1b" not in shown(name="/a\x1b[2J", state="\x1b", unit="\x1b", failure="\x1b")
    assert "\x1b" not in shown(free=None, failure="\x1b")


@given(st.integers(-(1 << 62), 1 << 62), st.integers(1, 1 << 62), st.integers(0, 1 << 62))
def test_the_bar_has_its_width_whatever_the_numbers(free: int, total: int, limit: int) -> None:
    """Limits may be above the size of the disk."""
    bar = usage_bar({**_DISK, "free": free, "total": total, "hold_below": limit})

    assert len(bar) == 62
    assert set(bar) <= set("[#.OHS]")
