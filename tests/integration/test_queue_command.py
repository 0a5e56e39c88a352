"""`pcapdj queue`: the queue in order, and what an operator does with it, on a real Redis."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import Record, classic
from support.dispatcher_rig import journal

from pcapdj.commands import queue as command
from pcapdj.inbox.listing import list_captures
from pcapdj.inbox.queueing import queue_captures
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.store import queue as store_queue
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome
from pcapdj.store.events import read_events
from pcapdj.store.job_queue import JobQueue, QueueEntry
from pcapdj.store.queue import Edit, edit_queue, with_identities
from pcapdj.store.queue_check import compare_now

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(store: Store, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a runner of the command in the test's lane: exit code, stdout, stderr."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        options = ["--redis-url", store.url, "--lane", store.keys.lane]
        code = exit_code_of(command.app, "pcapdj queue", [*options, *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


@pytest.fixture
def inbox(store: Store, tmp_path: Path) -> Path:
    """Return a folder with five captures, which an importer has queued."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.pcap").write_bytes(classic([Record(number + 1)] * (number + 1)))
    assert set(imported(store, folder).values()) == {Outcome.NEW}
    return folder


def imported(store: Store, folder: Path) -> dict[bytes, Outcome]:
    """Let an importer look at the folder; return what became of each file."""
    listing = list_captures([bytes(folder)], recursive=False)
    return queue_captures(store, listing.files).outcomes


def listed(store: Store) -> list[bytes]:
    """Return the queue."""
    return cast("list[bytes]", store.redis.lrange(store.keys.in_queue, 0, -1))


def queued(store: Store) -> list[str]:
    """Return the last parts of the queued names, in order."""
    return [name.rpartition(b"/")[2].decode() for name in listed(store)]


def is_consistent(store: Store) -> bool:
    """Report whether the hash has no more lines of a name than the queue has, and counts right."""
    names = listed(store)
    lines: dict[Any, Any] = store.redis.hgetall(store.keys.queued)
    total, _, surplus = map(int, lines.pop(b"", b"0 0 0").split())
    counts = {name: len(text.split(b"\n")) for name, text in lines.items()}
    is_right = total == sum(counts.values()) and total + surplus == len(names)
    return is_right and all(count <= names.count(name) for name, count in counts.items())


def test_the_queue_is_listed_in_order_with_sizes_and_what_is_in_flight(
    run: Run, store: Store, inbox: Path
) -> None:
    """As lines for people, and as JSON lines; a name that another program pushed has no size."""
    store.redis.sadd(store.keys.dispatchers, "d", "e")
    assert isinstance(JobQueue(store, "d").take(), QueueEntry)
    assert isinstance(JobQueue(store, "e").take(), QueueEntry)
    store.redis.hset(store.keys.stats("e"), "total_bytes", 68)
    store.redis.rpush(store.keys.in_queue, "/by/hand.pcap")

    code, out, err = run()
    lines = [json.loads(line) for line in run("--json")[1].splitlines()]

    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "4 queued, 2 in flight"
    assert out.splitlines()[1].split() == ["in", "flight", f"'{inbox}/0.pcap',", "asked"]
    assert out.splitlines()[2].split() == ["in", "flight", "68", "B", f"'{inbox}/1.pcap',", "asked"]
    assert out.splitlines()[3].split() == ["1", "90", "B", f"'{inbox}/2.pcap'"]
    assert out.splitlines()[-1].split() == ["4", "'/by/hand.pcap'"]
    assert lines[0]["queued"] == 4
    assert lines[0]["current"] == [
        {"name": f"{inbox}/0.pcap", "dispatcher": "d", "state": "asked", "size_bytes": None},
        {"name": f"{inbox}/1.pcap", "dispatcher": "e", "state": "asked", "size_bytes": 68},
    ]
    assert lines[1] == {"place": 1, "name": f"{inbox}/2.pcap", "size_bytes": 90}
    assert lines[-1] == {"place": 4, "name": "/by/hand.pcap", "size_bytes": None}


def test_what_is_removed_and_moved_is_an_event(run: Run, store: Store, inbox: Path) -> None:
    """Of one name with the name, so that its history has it; a look changes nothing."""
    run("first", "2.pcap")
    run("last", "0.pcap", "1.pcap")
    run("remove", "3.pcap", "--dry-run")
    run("remove", "3.pcap")
    run("remove", "0.pcap", "1.pcap")

    assert [(each.kind, each.role, each.sentence, dict(each.fields)) for each in read_events(store)] == [
        ("reordered", "queue", "1 name moved to the beginning of the queue.", {"name": f"{inbox}/2.pcap"}),
        ("reordered", "queue", "2 names moved to the end of the queue.", {}),
        ("removed", "queue", "1 name removed from the queue.", {"name": f"{inbox}/3.pcap"}),
        ("removed", "queue", "2 names removed from the queue.", {}),
    ]


@pytest.mark.usefixtures("inbox")
def test_a_long_queue_is_shown_page_by_page(run: Run, store: Store) -> None:
    """The last line has the command for the next page."""
    page, rest, everything = run("--most", "2"), run("--from", "4"), run("--most", "0")

    assert page[1].endswith(f"and 3 more: pcapdj queue --lane {store.keys.lane} --from 3\n")
    assert [line.split()[0] for line in rest[1].splitlines()[1:]] == ["4", "5"]
    assert everything[1].count("\n") == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["remov", "x"], "Unknown action 'remov'. Write list, remove NAME.., first NAME.. or last NAME..."),
        (["remove"], "Name the files to remove or to move."),
        (["first"], "Name the files to remove or to move."),
        (["list", "x"], "list takes no names."),
        (["--most", "-1"], "Invalid value for '--most': '-1' is below 0. See 'pcapdj queue --help'."),
        (["--from", "0"], "Invalid value for '--from': '0' is below 1. See 'pcapdj queue --help'."),
    ],
)
def test_a_wrong_use_is_refused(run: Run, words: list[str], sentence: str) -> None:
    """Before anything is read: one sentence, with what to write instead."""
    assert run(*words) == (ExitCode.USAGE, "", f"pcapdj queue: {sentence}\n")


def test_of_many_edited_names_ten_are_shown_and_a_move_has_a_limit(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are a number; above the limit nothing is moved."""
    names = [f"/by/hand/{number:02}.pcap" for number in range(12)]
    store.redis.rpush(store.keys.in_queue, *names)

    _, out, _ = run("remove", "--dry-run", "*.pcap")
    assert out.splitlines() == [*map(repr, names[:10]), "and 2 more", "12 names would be removed."]

    monkeypatch.setattr(command, "_MOST_MOVED", 11)
    code, _, error = run("last", "*.pcap")
    assert (code, "More than 11 names match" in error) == (ExitCode.ERROR, True)
    assert len(listed(store)) == 12


def test_a_removed_file_does_not_come_back(run: Run, store: Store, inbox: Path) -> None:
    """At the importer's next looks; another version of it does. The journal and the events have it."""
    code, out, _ = run("remove", "2.pcap", f"{inbox}/4.pcap")

    assert code == 0
    assert out.endswith("2 names removed from the queue.\n")
    assert queued(store) == ["0.pcap", "1.pcap", "3.pcap"]
    assert is_consistent(store)
    assert [outcome for _, outcome in sorted(imported(store, inbox).items())] == [
        Outcome.QUEUED,
        Outcome.QUEUED,
        Outcome.FED,
        Outcome.QUEUED,
        Outcome.FED,
    ]
    entries = journal(store)
    assert [(entry["name"], entry["verdict"]) for entry in entries] == [
        (f"{inbox}/{number}.pcap".encode(), b"removed") for number in (2, 4)
    ]
    assert [event.kind for event in read_events(store)] == ["removed"]
    (inbox / "2.pcap").write_bytes(classic([Record(9)] * 9))
    assert imported(store, inbox)[bytes(inbox / "2.pcap")] is Outcome.NEW


def test_patterns_fit_last_parts_or_with_a_slash_whole_names(run: Run, store: Store, inbox: Path) -> None:
    """A dry run changes nothing."""
    dry = run("remove", "[12].pcap", "--dry-run")
    assert dry[1].endswith("2 names would be removed.\n")
    assert len(queued(store)) == 5

    assert run("remove", "[12].pcap")[0] == 0
    assert queued(store) == ["0.pcap", "3.pcap", "4.pcap"]
    assert run("remove", f"{inbox.parent}/*/[03].*")[0] == 0
    assert queued(store) == ["4.pcap"]
    assert is_consistent(store)
    assert run("remove", "9*") == (1, "", "pcapdj queue: No queued name matches.\n")


def test_names_are_moved_to_the_beginning_and_the_end(run: Run, store: Store, inbox: Path) -> None:
    """In the order of the command line; those of a pattern keep theirs."""
    assert run("first", "3.pcap", "1.pcap")[1].endswith("2 names moved to the beginning of the queue.\n")
    assert queued(store) == ["3.pcap", "1.pcap", "0.pcap", "2.pcap", "4.pcap"]
    run("last", "[13].pcap")
    assert queued(store) == ["0.pcap", "2.pcap", "4.pcap", "3.pcap", "1.pcap"]

    assert is_consistent(store)
    assert store.redis.xlen(store.keys.journal) == 0
    assert set(imported(store, inbox).values()) == {Outcome.QUEUED}


def test_a_last_part_has_to_be_unique(run: Run, store: Store) -> None:
    """Nothing is changed if one word is doubtful or missing."""
    store.redis.rpush(store.keys.in_queue, "/a/1.pcap", "/b/1.pcap", "/b/2.pcap")

    doubtful, missing = run("remove", "2.pcap", "1.pcap"), run("remove", "2.pcap", "3.pcap")

    assert doubtful == (
        1,
        "",
        "pcapdj queue: '1.pcap' is not unique in the queue. Name one of '/a/1.pcap', '/b/1.pcap'.\n",
    )
    assert missing == (1, "", "pcapdj queue: Not in the queue: '3.pcap'.\n")
    assert queued(store) == ["1.pcap", "1.pcap", "2.pcap"]


def test_a_name_is_removed_as_often_as_it_is_queued(run: Run, store: Store) -> None:
    """Other programs push a name twice; their names have no file that could be noted as removed."""
    store.redis.rpush(store.keys.in_queue, "/a", "/b", "/a", "/c", "/a")

    assert run("remove", "/a")[1] == "'/a'\n'/a'\n'/a'\n3 names removed from the queue.\n"
    assert queued(store) == ["b", "c"]
    assert is_consistent(store)
    assert not store.redis.exists(store.keys.fed)


names = st.lists(st.sampled_from([b"/%d" % n for n in range(6)]), max_size=25)


@given(start=names, data=st.data())
def test_editing_by_place_is_what_a_list_would_do(
    store: Store, monkeypatch: pytest.MonkeyPatch, start: list[bytes], data: st.DataObject
) -> None:
    """Whatever was taken from the head since the names were read, and whatever is there twice."""
    monkeypatch.setattr(store_queue, "_EDITED", 3)
    for key in store.redis.scan_iter(match=f"{store.keys.prefix}*"):
        store.redis.delete(key)
    if start:
        store.redis.rpush(store.keys.in_queue, *start)
    chosen = sorted(data.draw(st.sets(st.integers(0, max(0, len(start) - 1)), max_size=len(start))))
    chosen = [place for place in chosen if place < len(start)]
    taken = data.draw(st.integers(0, len(start)))
    edit = data.draw(st.sampled_from(Edit))
    occurrences = with_identities(store, [start[place] for place in chosen], chosen)
    for _ in range(taken):
        store.redis.lpop(store.keys.in_queue)

    done = edit_queue(store, edit, occurrences)
    compare_now(store)

    left = [name.decode() for name in listed(store)]
    rest = [name.decode() for name in start[taken:]]
    assert is_consistent(store)
    if edit is Edit.REMOVE:
        assert len(left) == len(rest) - done
    else:
        assert sorted(left) == sorted(rest)
    if not taken and len(set(start)) == len(start):
        kept = [name.decode() for place, name in enumerate(start) if place not in chosen]
        moved = [start[place].decode() for place in chosen]
        assert left == {Edit.REMOVE: kept, Edit.FIRST: moved + kept, Edit.LAST: kept + moved}[edit]
