"""Captures that were fed go, the oldest first; others stay. On real Redis and files."""

import os
from functools import partial
from pathlib import Path

import pytest
from support.mounts import memory_mount
from support.reclaiming import (
    feed,
    make_room,
    names_in,
    reclaimed,
    selected,
    whole_disk,
    write_capture,
)

from pcapdj.commands.reclaim import with_progress
from pcapdj.console import slow_work
from pcapdj.reclaim.rounds import Disk, previewed_round, run_round
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Return a folder of three captures."""
    folder = tmp_path / "captures"
    folder.mkdir()
    for number in range(3):
        write_capture(folder / f"{number}.pcap", number)
    return folder


def test_captures_that_were_fed_go_and_others_stay(store: Store, captures: Path, signals: Signals) -> None:
    """What became of each is in Redis, and nothing of it is left in progress."""
    feed(store, captures / "0.pcap", captures / "1.pcap")

    done = make_room(store, selected(captures), signals, captures)

    assert names_in(captures) == ["2.pcap"]
    assert [each.file.name for each in done.removed] == [os.fsencode(captures / f"{n}.pcap") for n in (0, 1)]
    assert {name: fields["how"] for name, fields in reclaimed(store).items()} == {
        "0.pcap": "removed",
        "1.pcap": "removed",
    }
    assert not store.redis.exists(store.keys.reclaiming)
    assert b"reclaiming" not in b"".join(store.redis.hvals(store.keys.fed))  # type: ignore[arg-type]


def test_a_preview_changes_nothing(store: Store, captures: Path) -> None:
    """It names the files that would go."""
    feed(store, captures / "0.pcap")
    before = store.redis.hgetall(store.keys.fed)

    shown = previewed_round(store, selected(captures), [whole_disk(captures)])

    assert [each.name for each in shown.chosen] == [os.fsencode(captures / "0.pcap")]
    assert names_in(captures) == ["0.pcap", "1.pcap", "2.pcap"]
    assert store.redis.hgetall(store.keys.fed) == before


def test_a_look_at_many_processed_files_says_how_many(
    store: Store, captures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes seconds where there are a million, and comes before the answer."""
    monkeypatch.setattr(slow_work, "_AFTER_S", -1.0)
    store.redis.rpush(store.keys.processed, *(f"/gone/{number}" for number in range(6000)))
    disks = [whole_disk(captures)]

    shown = previewed_round(store, selected(captures), disks, partial(with_progress, store))

    assert shown.plan.gone == 6000
    assert capsys.readouterr().err == "6,000 processed files to look at ..\n"


def test_the_oldest_go_until_enough_is_free(store: Store, tmp_path: Path, signals: Signals) -> None:
    """By the time when they were fed, whatever their names are; a disk that has room loses nothing."""
    with memory_mount(tmp_path) as mount:
        folder = mount.folder
        paths = [write_capture(folder / f"{number}.pcap", number) for number in range(3)]
        feed(store, *reversed(paths))
        found = os.statvfs(folder)
        disk = Disk(str(folder), folder.stat().st_dev, found.f_bavail * found.f_frsize, 0)

        assert run_round(store, selected(folder), [disk], signals).removed == []
        more = disk._replace(free_bytes=disk.free_bytes + 1)
        done = run_round(store, selected(folder), [more], signals)

        assert [each.file.name for each in done.removed] == [os.fsencode(paths[2])]
        assert done.needs.is_met()
