"""Which captures may go: rules on values."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.capture.files import Identity
from pcapdj.reclaim.selection import (
    CHANGED,
    LINKED,
    SUSPECT,
    YOUNG,
    Candidate,
    FedRecord,
    KeepRules,
    Need,
    Needs,
    Newest,
    Present,
    oldest_for,
    previewed,
    with_claim,
)

NOW_S = 1_000_000.0
STREAMS = ("a", "b", "c")
numbers = st.integers(0, 5)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Return files of few disks, inodes, sizes, times and streams, so that rules meet."""
    files = []
    for number in range(draw(st.integers(0, 12))):
        identity = Identity(draw(st.integers(1, 2)), *(draw(numbers) for _ in range(3)))
        fed = identity if draw(st.booleans()) else identity._replace(mtime_ns=draw(numbers))
        streams = tuple(draw(st.lists(st.sampled_from(STREAMS), min_size=1, max_size=2)))
        time_s = NOW_S - draw(st.integers(0, 20))
        record = FedRecord(fed, 1, 1, streams, time_s, b"{}")
        present = Present(identity, 0, draw(st.sampled_from([1, 1, 1, 2])), draw(st.integers(0, 100)), 0)
        files.append(Candidate(b"/c/%d" % number, record, present))
    return files


rules = st.builds(
    KeepRules,
    keep_last=st.integers(0, 4),
    keep_within_s=st.sampled_from([0.0, 5.0, 10.0]),
    open_streams=st.sets(st.sampled_from(STREAMS)),
    suspects=st.sets(st.sampled_from(STREAMS), max_size=1),
)
needs = st.dictionaries(st.integers(1, 2), st.builds(Need, st.integers(-10, 300), st.integers(-1, 3)))


@given(candidates(), rules)
def test_what_may_go_is_unchanged_has_one_name_is_old_enough_and_of_no_suspect_stream(
    files: list[Candidate], keep: KeepRules
) -> None:
    """A file has a reason to stay exactly if one of the rules is broken, and it is the first of them."""
    for file in files:
        broken = [
            reason
            for reason, is_broken in (
                (CHANGED, file.fed.identity[1:] != file.present.identity[1:]),
                (LINKED, file.present.links != 1),
                (SUSPECT, bool(set(file.fed.streams) & set(keep.suspects))),
                (YOUNG, NOW_S - file.fed.time_s < keep.keep_within_s),
            )
            if is_broken
        ]
        assert keep.reason_to_stay(file, NOW_S) == (broken[0] if broken else "")


@given(candidates(), rules)
def test_the_newest_of_the_lane_and_of_each_open_stream_stay(files: list[Candidate], keep: KeepRules) -> None:
    """No file that is not among them is newer than one that is."""
    newest = Newest(keep)
    for file in files:
        newest.add(file.name, file.fed)

    groups = [files, *([f for f in files if stream in f.fed.streams] for stream in keep.open_streams)]
    for group in groups:
        kept = sorted((file.fed.time_s, file.name) for file in group)
        kept = kept[max(0, len(kept) - keep.keep_last) :]
        assert {name for _, name in kept if keep.keep_last} <= newest.names
    assert len(newest.names) <= keep.keep_last * (1 + len(keep.open_streams))


@given(candidates(), needs)
def test_the_oldest_go_and_no_more_than_are_needed(files: list[Candidate], left: dict[int, Need]) -> None:
    """Without the last file of a disk it would not have enough room; those that stay there are newer."""
    chosen = previewed(files, left)

    assert previewed(files, left) == chosen  # the needs are not changed
    for device, need in left.items():
        of_disk = [file for file in files if file.present.identity.dev == device]
        gone = [file for file in chosen if file.present.identity.dev == device]
        assert gone == sorted(of_disk, key=lambda each: each.age_key)[: len(gone)]
        before_last = sum(file.present.disk_bytes for file in gone[:-1])
        assert not gone or before_last < need.size_bytes or len(gone) - 1 < need.inodes
        if len(gone) < len(of_disk):
            freed = sum(file.present.disk_bytes for file in gone)
            assert freed >= need.size_bytes
            assert len(gone) >= need.inodes
    assert all(file.present.identity.dev in left for file in chosen)


@given(candidates(), needs)
def test_a_disk_that_has_room_loses_nothing(files: list[Candidate], left: dict[int, Need]) -> None:
    """What is subtracted while files go counts at once."""
    remaining = Needs(dict(left))
    for file in oldest_for(files, remaining):
        assert remaining.has(file.present.identity.dev)
        remaining.subtract(file.present.identity.dev, 10**6, 10)
        assert not remaining.has(file.present.identity.dev)
    assert (
        remaining.is_met()
        or not files
        or any(need.size_bytes > 0 or need.inodes > 0 for need in remaining.left.values())
    )


WHOLE: dict[str, Any] = {
    "size_bytes": 9,
    "mtime_ns": 8,
    "dev": 7,
    "ino": 6,
    "result": "processed",
    "whole": True,
    "stream": "s",
    "length_bytes": 5,
    "crc32": 4,
    "time_s": 3.5,
}
values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**70), st.text(max_size=3), st.just([]), st.just({})
)


@given(st.dictionaries(st.sampled_from([*WHOLE, "reclaiming", "earlier_streams"]), values))
def test_only_a_valid_record_of_a_file_that_was_fed_whole_is_one(changes: dict[str, Any]) -> None:
    """Whatever another program wrote into FED."""
    fields = WHOLE | changes

    record = FedRecord.from_value(json.dumps(fields).encode())

    if record:
        assert fields["whole"] is True
        assert fields["result"] == "processed"
        assert "reclaiming" not in fields
        assert record.streams[-1] == fields["stream"]
        assert all(type(each) is int and each >= 0 for each in (*record.identity, record.crc32))
    elif not changes:
        raise AssertionError("the record is valid")


@given(st.text(max_size=8))
def test_a_claimed_record_is_no_record_and_has_the_mark_that_scripts_look_for(name: str) -> None:
    """Also if a name in it looks like the mark."""
    value = json.dumps({**WHOLE, "known_as": name + '"reclaiming": '}).encode()

    assert FedRecord.from_value(value) is not None
    assert b'"reclaiming": ' not in value
    claimed = with_claim(value, "token")
    assert FedRecord.from_value(claimed) is None
    assert b'"reclaiming": ' in claimed
