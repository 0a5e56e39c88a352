"""What a round must never remove: captures that changed, moved, are wanted, or are not what was fed."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.mounts import memory_mount
from support.reclaiming import (
    STREAM,
    feed,
    make_room,
    names_in,
    selected,
    whole_disk,
    write_capture,
)

from pcapdj.reclaim import rounds
from pcapdj.reclaim.folder import DAMAGED, LONG, OUTSIDE, UNREADABLE, WRITTEN, Withheld
from pcapdj.reclaim.lanes import FAILED, WANTED
from pcapdj.reclaim.planning import plan
from pcapdj.reclaim.removal import Remover
from pcapdj.reclaim.rounds import TOO_MANY, needs_of, run_round
from pcapdj.reclaim.selection import CHANGED, LINKED, NEWEST, NOT_SHORT, NOT_WHOLE, SUSPECT, YOUNG
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.signals import Signals
from pcapdj.store import reclaims
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new
from pcapdj.store.lanes import lanes_of
from pcapdj.store.operate import requeue
from pcapdj.store.reclaims import Claim

Change = Callable[[Path], object]


def version_of(path: Path) -> Any:
    """Return size and time of a file, as the importer passes them."""
    found = path.stat()
    return type("Version", (), {"size_bytes": found.st_size, "mtime_ns": found.st_mtime_ns})


def replace(path: Path) -> None:
    """Put another file of the same size and time in its place."""
    before = path.stat()
    (new := path.with_name("new")).write_bytes(b"x" * before.st_size)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(path)


def damage(path: Path) -> None:
    """Change one byte, and hide that from size and time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def grow(path: Path) -> None:
    """Add a byte."""
    with path.open("ab") as file:
        file.write(b"x")


def link_folder(path: Path) -> None:
    """Put a link in the place of its folder."""
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


def make_link(path: Path) -> None:
    """Put a link in the place of the file."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


CHANGES: dict[str, tuple[Change, str]] = {
    "replaced": (replace, CHANGED),
    "grown": (grow, CHANGED),
    "touched": (lambda path: os.utime(path, (1, 1)), CHANGED),
    "linked": (lambda path: os.link(path, path.with_name("other")), LINKED),
    "a byte changed": (damage, DAMAGED),
    "a link": (make_link, OUTSIDE),
    "below a link": (link_folder, OUTSIDE),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_not_the_fed_one_any_more_stays(
    store: Store, root: Path, signals: Signals, change: str
) -> None:
    """Whatever happened to it since it was fed."""
    (root / "sub").mkdir()
    path = write_capture(root / "sub" / "1.pcap")
    feed(store, path)
    act, reason = CHANGES[change]
    act(path)
    before = path.read_bytes()

    done = make_room(store, selected(root), signals, root)

    assert path.read_bytes() == before
    assert (done.removed, dict(done.withheld)) == ([], {reason: 1})
    assert not store.redis.exists(store.keys.reclaiming)


def swap_folder(path: Path) -> None:
    """Put another folder, with a copy of the capture, in the place of its folder."""
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.mkdir()
    write_capture(path)


BETWEEN = CHANGES | {
    "a byte changed": (damage, CHANGED),  # ctime shows it, since the file was looked at
    "a link": (make_link, OUTSIDE),
    "linked": (lambda path: os.link(path, path.with_name("other")), CHANGED),
    "gone": (Path.unlink, CHANGED),
    "its folder is another one": (swap_folder, CHANGED),
}


@pytest.mark.parametrize("change", BETWEEN)
def test_a_file_that_changes_between_plan_and_removal_stays(
    store: Store, root: Path, signals: Signals, change: str
) -> None:
    """The plan may be hours old: it is about one inode, as it was then."""
    (root / "sub").mkdir()
    path = write_capture(root / "sub" / "1.pcap")
    feed(store, path)
    with planned(store, root, signals) as (remover, [file]):
        act, reason = BETWEEN[change]
        act(path)
        before = sorted(root.rglob("*"))

        with pytest.raises(Withheld) as refused:
            remover.remove(file)

    assert str(refused.value) == reason or refused.value.message == UNREADABLE
    assert sorted(root.rglob("*")) == before
    assert not store.redis.exists(store.keys.reclaiming)


@contextmanager
def planned(store: Store, root: Path, signals: Signals) -> Iterator[tuple[Remover, Any]]:
    """Return what removes the files of a plan, and these."""
    chosen = selected(root)
    found = plan(store, chosen, needs_of([whole_disk(root)]), 2e9)
    yield Remover(store, found, chosen, signals), found.files


def queue(lane: Store, path: Path) -> None:
    """Push a name, as any program does."""
    lane.redis.rpush(lane.keys.in_queue, os.fsencode(path))


def make_current(lane: Store, path: Path) -> None:
    """Feed a file, by a dispatcher that is not even registered."""
    lane.redis.hset(lane.keys.current("/pipe"), mapping={"name": os.fsencode(path), "token": "t"})


def fail(lane: Store, path: Path) -> None:
    """Let a file fail."""
    lane.redis.hset(lane.keys.failed_names, os.fsencode(path), "{}")


def alias(path: Path) -> Path:
    """Return another path of the same file: through a link to its folder."""
    link = path.parent.parent / "alias"
    link.symlink_to(path.parent)
    return link / path.name


WAYS_TO_WANT: dict[str, tuple[Callable[[Store, Path], object], str]] = {
    "queued": (queue, WANTED),
    "queued under another name": (lambda lane, path: queue(lane, alias(path)), WANTED),
    "current": (make_current, WANTED),
    "failed": (fail, FAILED),
}


@pytest.mark.parametrize("is_own", [True, False], ids=["in this lane", "in another lane"])
@pytest.mark.parametrize("how", WAYS_TO_WANT)
def test_a_file_that_a_lane_wants_stays(
    store: Store, other_lane: Store, root: Path, signals: Signals, how: str, *, is_own: bool
) -> None:
    """Also if another program pushed its name, and nothing is beside the queue yet."""
    path = write_capture(root / "1.pcap")
    feed(store, path)
    act, reason = WAYS_TO_WANT[how]
    act(store if is_own else other_lane, path)

    done = make_room(store, selected(root), signals, root)

    where = "" if is_own else f" in lane {other_lane.keys.lane!r}"
    assert (names_in(root), list(done.withheld)) == (["1.pcap"], [f"{reason}{where}"])


@pytest.mark.parametrize("how", ["queued", "current", "failed"])
@pytest.mark.parametrize("is_own", [True, False], ids=["in this lane", "in another lane"])
def test_a_file_that_a_lane_begins_to_want_after_the_plan_stays(
    store: Store, other_lane: Store, root: Path, signals: Signals, how: str, *, is_own: bool
) -> None:
    """The claim looks at the queue itself."""
    path = write_capture(root / "1.pcap")
    feed(store, path)
    lane = store if is_own else other_lane
    lane.redis.sadd(lane.keys.dispatchers, "/pipe")  # else the lane is not there yet when the plan is made
    with planned(store, root, signals) as (remover, [file]):
        WAYS_TO_WANT[how][0](lane, path)

        with pytest.raises(Withheld, match=r"queued again|being fed again|failed files"):
            remover.remove(file)

    assert names_in(root) == ["1.pcap"]
    assert b"reclaiming" not in (store.redis.hget(store.keys.fed, os.fsencode(path)) or b"")


def watch(lane: Store, folder: Path) -> None:
    """Let the lane's importer watch a folder."""
    lane.redis.hset(lane.keys.importer, "folders", json.dumps([str(folder)]))


@pytest.mark.parametrize(
    "way", ["watches", "watches above", "watches by a link", "feeds others", "fed another"]
)
def test_a_file_stays_until_each_lane_that_works_on_its_folder_has_fed_it(
    store: Store, other_lane: Store, root: Path, signals: Signals, way: str
) -> None:
    """Two analyzers of one folder, each with its lane; then it goes."""
    path, second = write_capture(root / "1.pcap", 1), write_capture(root / "2.pcap", 2)
    feed(store, path)
    if way == "watches":
        watch(other_lane, root)
    elif way == "watches above":
        watch(other_lane, root.parent)
    elif way == "watches by a link":
        watch(other_lane, alias(path).parent)
    elif way == "feeds others":
        queue(other_lane, second)
    else:
        feed(store, second)
        feed(other_lane, second)
    names = names_in(root)

    done = make_room(store, selected(root), signals, root)

    gone = ["2.pcap"] if way == "fed another" else []
    assert names_in(root) == [name for name in names if name not in gone]
    assert any(reason.startswith("not fed whole yet in lane") for reason in done.withheld)

    other_lane.redis.delete(other_lane.keys.in_queue, other_lane.keys.queued)
    feed(other_lane, root.parent / "alias" / path.name if way == "watches by a link" else path)
    make_room(store, selected(root), signals, root)
    assert "1.pcap" not in names_in(root)


def test_a_lane_that_works_on_other_folders_wants_nothing(
    store: Store, other_lane: Store, root: Path, tmp_path: Path, signals: Signals
) -> None:
    """Two sensors share a Redis, each with its own inbox."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    watch(other_lane, inbox)
    queue(other_lane, write_capture(inbox / "1.pcap"))
    feed(store, write_capture(root / "1.pcap"))

    make_room(store, selected(root), signals, root)

    assert names_in(root) == []


NOT_FED_WHOLE: dict[str, dict[str, Any]] = {
    "packets were left out": {"left_out": '{"113": 5}'},
    "only its rest was fed": {"begin_bytes": 500},
}


@pytest.mark.parametrize("what", NOT_FED_WHOLE)
def test_a_file_of_which_not_all_is_in_a_stream_stays(
    store: Store, root: Path, signals: Signals, what: str
) -> None:
    """It is processed, but not fed whole by one entry."""
    feed(store, write_capture(root / "1.pcap"), journal=NOT_FED_WHOLE[what])

    done = make_room(store, selected(root), signals, root)

    assert (names_in(root), dict(done.withheld)) == (["1.pcap"], {NOT_WHOLE: 1})


def test_what_the_options_keep_stays(store: Store, root: Path, signals: Signals) -> None:
    """The newest files, those fed a short time ago, those of suspect streams, those on other disks."""
    paths = [write_capture(root / f"{number}.pcap", number) for number in range(4)]
    feed(store, *paths)
    disks = [whole_disk(root)]

    kept = run_round(store, selected(root, keep_last=4), disks, signals)
    young = run_round(store, selected(root, keep_within_s=1e6), disks, signals)
    store.redis.hset(store.keys.suspect, STREAM, "The disk was full.")
    suspect = run_round(store, selected(root), disks, signals)
    store.redis.delete(store.keys.suspect)
    elsewhere = run_round(store, selected(root), [], signals)

    assert names_in(root) == [path.name for path in paths]
    reasons = [dict(each.withheld) for each in (kept, young, suspect, elsewhere)]
    assert reasons == [{NEWEST: 4}, {YOUNG: 4}, {SUSPECT: 4}, {NOT_SHORT: 4}]
    make_room(store, selected(root, keep_last=1), signals, root)
    assert names_in(root) == ["3.pcap"]


def test_a_file_outside_of_the_roots_stays(
    store: Store, root: Path, tmp_path: Path, signals: Signals
) -> None:
    """By its name, or by `..` in it."""
    feed(store, write_capture(tmp_path / "1.pcap"), root / ".." / "1.pcap")

    done = make_room(store, selected(root), signals, root)

    assert ((tmp_path / "1.pcap").exists(), dict(done.withheld)) == (True, {OUTSIDE: 2})


def test_a_file_that_a_process_writes_stays(store: Store, root: Path, signals: Signals) -> None:
    """A sensor that keeps its file open may add to it."""
    path = write_capture(root / "1.pcap")
    feed(store, path)

    with path.open("ab"):
        done = make_room(store, selected(root), signals, root)

    assert (names_in(root), dict(done.withheld)) == (["1.pcap"], {WRITTEN: 1})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_captures_of_a_user_that_are_not_what_was_planned_do_not_keep_those_of_others(
    store: Store, root: Path, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round tries a thousand of each user: of one who has them open for writing, for example."""
    monkeypatch.setattr(rounds, "_MOST_REFUSALS", 2)
    paths = [write_capture(root / f"{number}.pcap") for number in range(1, 5)]
    with ExitStack() as opened:
        for path in paths:
            if path is not paths[-1]:
                os.chown(path, 65534, 65534)
                opened.enter_context(path.open("ab"))
            feed(store, path)

        done = make_room(store, selected(root), signals, root)

    assert names_in(root) == ["1.pcap", "2.pcap", "3.pcap"]
    assert dict(done.withheld) == {WRITTEN: 2, TOO_MANY: 1}


def test_a_name_without_room_for_a_hidden_one_stays(store: Store, root: Path, signals: Signals) -> None:
    """It could not be looked at under a name of its own."""
    path = write_capture(root / ("1" * 245 + ".pcap"))
    feed(store, path)

    done = make_room(store, selected(root), signals, root)

    assert (names_in(root), dict(done.withheld)) == ([path.name], {LONG: 1})


def test_a_name_that_is_claimed_cannot_be_queued(store: Store, root: Path) -> None:
    """Neither by an importer nor by an operator, until the claim is released."""
    path = write_capture(root / "1.pcap")
    feed(store, path)
    name = os.fsencode(path)
    value: Any = store.redis.hget(store.keys.fed, name)
    before = value.decode()
    during = json.dumps({**json.loads(before), "reclaiming": "1"})
    lanes = [each for each in lanes_of(store) if each.name == store.keys.lane]
    given: list[Claim] = []
    reclaims.claim_each(
        store, lanes, {store.keys.lane: Claim(store.keys.lane, "", str(path), before, during)}, given
    )

    assert enqueue_new(store, {name: version_of(path)}, again=True) == {name: Outcome.RECLAIMING}
    with pytest.raises(PcapdjError, match="is being removed"):
        requeue(store, name)
    with pytest.raises(reclaims.Refused):
        reclaims.claim_each(store, lanes, {store.keys.lane: given[0]}, [])

    reclaims.release(store, given)
    assert requeue(store, name)


def test_a_mount_that_vanishes_takes_its_captures_along(
    store: Store, tmp_path: Path, signals: Signals
) -> None:
    """The file of that name in the folder below is another one."""
    with memory_mount(tmp_path) as mount:
        path = write_capture(mount.folder / "1.pcap")
        feed(store, path)
        with planned(store, mount.folder, signals) as (remover, [file]):
            mount.unmount()
            write_capture(path)

            with pytest.raises(Withheld):
                remover.remove(file)

        assert path.exists()
        path.unlink()
        mount.mount()
        assert path.exists()
