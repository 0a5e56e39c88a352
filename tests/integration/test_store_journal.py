"""The journal of a lane on a real Redis: which entries are read, and what of them is valid."""

import json
from typing import Any

import pytest

from pcapdj.store import journal
from pcapdj.store.client import Store
from pcapdj.store.journal import Conditions, FedFile, journal_length, read_journal

SECOND = 10**9


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the journal in parts of three entries."""
    monkeypatch.setattr(journal, "PAGE", 3)


def write(store: Store, number: int, **fields: Any) -> None:
    """Write an entry, a second after the one before."""
    entry = {
        "name": f"/in/{number}.pcap",
        "verdict": "processed",
        "stream": "even" if number % 2 == 0 else "odd",
        "packets": 10,
        "first_packet": number // 2 * 10 + 1,
        "first_ts_ns": number * 100 * SECOND,
        "last_ts_ns": (number * 100 + 90) * SECOND,
        "size_bytes": 1000,
        "fed_s": "0.250",
    }
    store.redis.xadd(store.keys.journal, dict[Any, Any](entry | fields), id=f"{(number + 1) * 1000}-0")


def names(store: Store, wanted: Conditions, *, is_newest_first: bool = False) -> list[int]:
    """Return the numbers of the files that are read."""
    parts = read_journal(store, wanted, is_newest_first=is_newest_first)
    return [int(file.name[4:-5]) for part in parts for file in part.files]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Conditions(), [0, 1, 2, 3, 4, 5, 6]),
        (Conditions(stream="odd"), [1, 3, 5]),
        (Conditions(verdict="failed"), [6]),
        (Conditions(since_ns=390 * SECOND, until_ns=400 * SECOND), [3, 4]),
        (Conditions(since_ns=390 * SECOND + 1, until_ns=400 * SECOND - 1), []),
        (Conditions(until_ns=0), [0]),
        (Conditions(finished_since_ms=3000, finished_until_ms=5000), [2, 3, 4]),
        (Conditions(name_end=b"/5.pcap"), [5]),
        (Conditions(stream="even", since_ns=100 * SECOND, verdict="processed"), [2, 4]),
    ],
)
def test_the_entries_that_fit_are_read(store: Store, wanted: Conditions, found: list[int]) -> None:
    """In the order in which they were written, or back; times count to the nanosecond."""
    for number in range(7):
        write(store, number, **({"verdict": "failed"} if number == 6 else {}))

    assert names(store, wanted) == found
    assert names(store, wanted, is_newest_first=True) == found[::-1]
    assert journal_length(store) == 7


def test_a_file_of_several_streams_belongs_to_each(store: Store) -> None:
    """With its part in each of them."""
    write(store, 3, earlier_streams='["even"]', earlier_parts="[[5, 4]]")

    [part] = read_journal(store, Conditions(stream="even"))
    [file] = part.files

    assert file.all_parts == (("even", 5, 4), ("odd", 11, 6))
    assert (file.finished_ms, file.fed_s, file.size_bytes) == (4000, 0.25, 1000)
    assert part.looked_at == 1


def test_steps_back_widen_the_times_of_a_file(store: Store) -> None:
    """Its first packet is not the earliest one."""
    write(store, 3, largest_step_back_ns=50 * SECOND)

    assert names(store, Conditions(since_ns=240 * SECOND, until_ns=250 * SECOND)) == [3]
    assert names(store, Conditions(until_ns=250 * SECOND - 1)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"packets": "many", "first_packet": "1" * 30, "first_ts_ns": "-", "fed_s": "x"},
        {"earlier_streams": "[", "earlier_parts": "{}", "stream": "x" * 50_000},
        {"earlier_streams": '["a"]', "earlier_parts": "[[1]]"},
        {"earlier_streams": json.dumps(["a"] * 3), "earlier_parts": "[[1, 2]]"},
        {"first_ts_ns": "1e999", "last_ts_ns": "nan", "largest_step_back_ns": "inf"},
    ],
)
def test_what_is_not_valid_in_an_entry_is_left_out(store: Store, fields: dict[str, Any]) -> None:
    """Another program may have written it; the others are read."""
    store.redis.xadd(store.keys.journal, {"a": "b"}, id="1-0")
    write(store, 3, **fields)
    write(store, 4)

    files = [file for part in read_journal(store) for file in part.files]

    assert [file.name for file in files] == [b"/in/3.pcap", b"/in/4.pcap"]
    assert files[0].parts == ()
    assert names(store, Conditions(since_ns=0, until_ns=600 * SECOND))[-1] == 4


def test_a_file_without_packets_has_no_time_and_no_part(store: Store) -> None:
    """It is only read where no time and no stream is wanted."""
    write(store, 3, stream="", packets=0, first_packet="", first_ts_ns="", last_ts_ns="")

    [part] = read_journal(store)
    file: FedFile = part.files[0]

    assert (file.all_parts, file.span_ns) == ((), None)
    assert names(store, Conditions(since_ns=0)) == []
    assert names(store, Conditions(stream="odd")) == []
