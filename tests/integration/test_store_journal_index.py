"""The index of the journal on a real Redis: a search finds the same as without it, and reads less."""

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.store import journal, journal_index
from pcapdj.store.client import Store
from pcapdj.store.journal import Conditions, read_journal
from pcapdj.store.journal_index import JournalIndexer, index_part, read_index

SECOND = 10**9
CONDITIONS = [
    Conditions(stream="s3"),
    Conditions(stream="none", since_ns=0),
    Conditions(stream="x", verdict="processed"),
    Conditions(verdict="failed", finished_until_ms=77_000),
    Conditions(since_ns=100 * SECOND),
    Conditions(until_ns=100 * SECOND, finished_since_ms=24_000),
    Conditions(since_ns=100 * SECOND, until_ns=150 * SECOND),
    Conditions(stream="s3", finished_since_ms=33_000, finished_until_ms=36_000),
    Conditions(stream="s9", finished_until_ms=20_000),
    Conditions(stream="s1", finished_since_ms=90_000),
]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Index the journal in parts of eight entries, and read it in parts of five."""
    monkeypatch.setattr(journal_index, "PART_ENTRIES", 8)
    monkeypatch.setattr(journal, "PAGE", 5)


def write(store: Store, numbers: range, later_ms: int = 0, /, **fields: Any) -> None:
    """Write entries, a second after the one before; a stream has ten files."""
    with store.redis.pipeline(transaction=False) as batch:
        for number in numbers:
            entry = {
                "name": f"/in/{number}.pcap",
                "verdict": "failed" if number % 37 == 0 else "processed",
                "stream": f"s{number // 10}",
                "earlier_streams": f'["s{number * 7 % 10}", "x"]' if number % 11 == 0 else "",
                "first_ts_ns": (number * 3 + number % 5) * SECOND,
                "last_ts_ns": (number * 3 + 6) * SECOND,
                "largest_step_back_ns": 20 * SECOND * (number % 3 == 0),
            }
            batch.xadd(
                store.keys.journal, dict[Any, Any](entry | fields), id=f"{(number + 1) * 1000 + later_ms}-0"
            )
        batch.execute()


def index_all(store: Store) -> int:
    """Index what can be; return how many parts were noted."""
    parts = 0
    while index_part(store):
        parts += 1
    return parts


def found(store: Store, wanted: Conditions) -> list[list[bytes]]:
    """Return the names that fit, in both orders."""
    return [
        [file.name for part in read_journal(store, wanted, is_newest_first=newest) for file in part.files]
        for newest in (False, True)
    ]


def ranges_read(store: Store) -> int:
    """Return how often Redis has read a range of a stream."""
    client: Any = store.redis
    statistics = client.info("commandstats")
    return sum(statistics.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("xrange", "xrevrange"))


@pytest.mark.parametrize("change", ["none", "trimmed", "part removed", "foreign parts", "more entries"])
def test_a_search_finds_the_same_with_the_index_and_without(store: Store, change: str) -> None:
    """In both directions, with each condition, whatever was removed or added since it was made."""
    write(store, range(100))
    assert index_all(store) == 12
    key = store.keys.journal_index
    if change == "trimmed":
        store.redis.xtrim(store.keys.journal, maxlen=60, approximate=False)
    elif change == "part removed":
        parts: Any = store.redis.xrange(key)
        store.redis.xdel(key, parts[0][0], parts[4][0], parts[5][0])
    elif change == "foreign parts":
        store.redis.xadd(key, {"after": "x", "streams": "", "verdicts": ""}, id="97000-0")
        store.redis.xadd(key, {"after": "97000-0", "earliest_ns": "inf"}, id="98000-0")
    elif change == "more entries":
        write(store, range(100, 117))
        assert index_part(store)

    with_index = [found(store, wanted) for wanted in CONDITIONS]
    store.redis.delete(key)

    assert with_index == [found(store, wanted) for wanted in CONDITIONS]


def test_a_search_reads_the_parts_that_may_have_what_is_wanted(store: Store) -> None:
    """Of 2000 entries, which are 400 pages without the index; the progress counts all."""
    write(store, range(1000))
    write(store, range(1000, 1001), verdict="removed")
    write(store, range(1001, 2000))
    index_all(store)

    for wanted, newest in product(
        (
            Conditions(stream="s150"),
            Conditions(since_ns=4500 * SECOND, until_ns=4520 * SECOND),
            Conditions(verdict="removed"),
        ),
        (False, True),
    ):
        before = ranges_read(store)
        parts = list(read_journal(store, wanted, is_newest_first=newest))

        assert [file for part in parts for file in part.files]
        assert sum(part.looked_at for part in parts) >= 2000
        assert ranges_read(store) - before < 15


def test_nothing_is_searched_in_the_index_without_a_condition_that_it_has(store: Store) -> None:
    """Neither for all entries, nor for a name or a time of finishing."""
    write(store, range(1))
    before = ranges_read(store)

    for wanted in (Conditions(), Conditions(name_end=b"0.pcap"), Conditions(finished_since_ms=0)):
        assert found(store, wanted) == [[b"/in/0.pcap"]] * 2

    assert ranges_read(store) - before == 6


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"stream": "a b"}, {"stream": "none"}),
        ({"stream": "x" * 65}, {"stream": "none"}),
        ({"earlier_streams": '["a\\"b"]'}, {"stream": "none"}),
        ({"verdict": "\xff\n"}, {"verdict": "none"}),
        ({"first_ts_ns": "1e999"}, {"since_ns": 10**18}),
        ({"largest_step_back_ns": "inf"}, {"since_ns": 10**18}),
    ],
)
def test_a_part_with_what_is_not_ours_may_have_anything(
    store: Store, fields: dict[str, str], wanted: dict[str, Any]
) -> None:
    """Another program may have written the entry."""
    write(store, range(8))
    index_all(store)
    assert [part.may_have(**wanted) for part in read_index(store)] == [False]

    store.redis.delete(store.keys.journal, store.keys.journal_index)
    write(store, range(8), **fields)
    index_all(store)
    assert [part.may_have(**wanted) for part in read_index(store)] == [True]


def test_the_index_of_a_journal_that_began_again_at_an_earlier_time_is_not_used(store: Store) -> None:
    """Neither before the new one has reached the times of the old one, nor after; it is made again then."""
    write(store, range(20, 30), 1)
    index_all(store)
    store.redis.delete(store.keys.journal)
    for first, end in ((0, 10), (10, 40)):
        write(store, range(first, end))

        assert [*read_index(store)] == []
        assert len(found(store, Conditions(stream="s0"))[0]) == 10
    assert index_all(store) == 5
    assert next(read_index(store)).last == (8000, 0)
    assert len(found(store, Conditions(stream="s0"))[0]) == 10


WORDS = st.sampled_from(["", "s1", "s2", "a b", "x" * 65, "\xff"])
TIMES = st.integers(0, 6).map(str) | st.sampled_from(
    ["", "-5", "1e3", "0x2", "nan", "-inf", "x", str(2**63 - 1)]
)
ENTRIES = st.fixed_dictionaries(
    {"stream": WORDS, "verdict": st.sampled_from(["processed", "failed", "removed", "", "v w"])},
    optional={
        "earlier_streams": st.lists(WORDS, max_size=2).map(json.dumps) | st.just('[["s1", 1, 2], ["s2'),
        "first_ts_ns": TIMES,
        "last_ts_ns": TIMES,
        "largest_step_back_ns": TIMES,
        "first_packet": st.just("1"),
        "packets": st.just("1"),
    },
)
NEXT_IDS = st.sampled_from([(0, 1), (1, 0), (5, 3), (3_600_000, 0)])  # ms, and number where that is 0
CHANGES = st.one_of(
    st.tuples(st.just("write"), st.lists(st.tuples(ENTRIES, NEXT_IDS), min_size=1, max_size=12)),
    st.tuples(st.just("note"), st.integers(1, 4)),
    st.tuples(st.just("remove"), st.lists(st.integers(0, 30), max_size=8)),
    st.tuples(st.just("trim"), st.integers(0, 30)),
    st.tuples(st.just("begin_again"), st.integers(1, 7200)),
    st.tuples(st.just("remove_parts"), st.lists(st.integers(0, 3), max_size=2)),
)
WANTED = [
    Conditions(stream="s1"),
    Conditions(stream="a b"),
    Conditions(stream="s2", verdict="failed"),
    Conditions(verdict="v w"),
    Conditions(verdict="removed", finished_since_ms=3_600_000),
    Conditions(since_ns=3),
    Conditions(until_ns=2, finished_until_ms=7_200_000),
    Conditions(stream="s2", since_ns=2, until_ns=4),
    Conditions(since_ns=10**18),
]


class ChangedJournal:
    """A journal and its index, changed as programs, operators and clocks may."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.redis
        self._id = (1_000_000, 0)
        self._written = 0

    def write(self, entries: list[tuple[dict[str, str], tuple[int, int]]]) -> None:
        """Write entries: fields, and by how much their ids are above the last one."""
        for fields, (later_ms, more) in entries:
            self._id = (self._id[0] + later_ms, 0) if later_ms else (self._id[0], self._id[1] + more)
            self._written += 1
            entry = {"name": f"/in/{self._written}.pcap", **fields}
            self._client.xadd(self._store.keys.journal, entry, id="{}-{}".format(*self._id))

    def note(self, parts: int) -> None:
        """Note parts of it in the index."""
        for _ in range(parts):
            index_part(self._store)

    def remove(self, places: list[int]) -> None:
        """Remove some entries."""
        self._remove(self._store.keys.journal, places)

    def remove_parts(self, places: list[int]) -> None:
        """Remove some entries of the index."""
        self._remove(self._store.keys.journal_index, places)

    def trim(self, entries: int) -> None:
        """Keep the newest entries."""
        self._client.xtrim(self._store.keys.journal, maxlen=entries, approximate=False)

    def begin_again(self, earlier_s: int) -> None:
        """Remove it, and set the clock back."""
        self._client.delete(self._store.keys.journal)
        self._id = (max(1, self._id[0] - 1000 * earlier_s - self._written), 0)

    def _remove(self, key: str, places: list[int]) -> None:
        ids = [each for each, _ in self._client.xrange(key)]
        if removed := [ids[place] for place in places if place < len(ids)]:
            self._client.xdel(key, *removed)


@given(changes=st.lists(CHANGES, min_size=2, max_size=8))
def test_no_change_of_the_journal_makes_the_index_hide_a_file(
    store: Store, changes: list[tuple[str, Any]]
) -> None:
    """Entries of any program, removed ones, and a journal that began again at any time."""
    store.redis.flushdb()
    journal_of_test = ChangedJournal(store)
    for change, about in changes:
        getattr(journal_of_test, change)(about)
    index: Any = store.redis.xrange(store.keys.journal_index)

    with_index = [found(store, wanted) for wanted in WANTED]
    store.redis.delete(store.keys.journal_index)

    assert with_index == [found(store, wanted) for wanted in WANTED], index


def test_the_index_is_trimmed_with_the_journal(store: Store) -> None:
    """So it has a four hundredth of its entries at most."""
    write(store, range(32))
    index_all(store)
    write(store, range(32, 40))
    store.redis.xtrim(store.keys.journal, maxlen=20, approximate=False)

    assert index_part(store)
    assert [part.last[0] // 1000 for part in read_index(store)] == [24, 32, 40]


def test_a_role_notes_a_part_when_it_has_written_one(store: Store) -> None:
    """At first all that is there, a part in each step; then only after as many entries as a part has."""
    write(store, range(17))
    indexer = JournalIndexer(store)
    for _ in range(4):
        indexer.step()
    assert len([*read_index(store)]) == 2

    before = ranges_read(store)
    write(store, range(17, 24))
    for _ in range(7):
        indexer.add_entry()
        indexer.step()
    assert ranges_read(store) == before
    write(store, range(24, 25))
    indexer.add_entry()
    indexer.step()
    assert len([*read_index(store)]) == 3


def test_a_role_works_on_where_the_index_cannot_be_written(store: Store) -> None:
    """The key has another type: a search names it, feeding goes on."""
    write(store, range(8))
    store.redis.set(store.keys.journal_index, "x")

    JournalIndexer(store).step()

    assert store.redis.get(store.keys.journal_index) == b"x"
