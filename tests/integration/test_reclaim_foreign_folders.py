"""Captures are moved into folders of ours only: another user could remove or replace the only copy.

The tests are root and give folders away. What root may not trust, no other user may.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from support import forkserver
from support.acls import set_acl
from support.forkserver import Finished, clean_environment
from support.mounts import MemoryMount, memory_mount
from support.reclaiming import at, feed, make_room, names_in, selected, write_capture
from support.waiting import wait_until

from pcapdj.reclaim.copying import NO_TARGET
from pcapdj.reclaim.folder import hidden_moved
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.signals import Signals
from pcapdj.runtime.trust import VARIABLE, check_way
from pcapdj.store.client import Store
from pcapdj.store.events import read_events

OTHER: Final = 65534
NAME: Final = f"nobody (uid {OTHER})"


def give_away(*paths: Path) -> None:
    """Give files, and links themselves, to another user."""
    for path in paths:
        os.chown(path, OTHER, OTHER, follow_symlinks=False)


@pytest.fixture
def archive(short_path: Path) -> Iterator[MemoryMount]:
    """Return another disk, whose folder is below one of ours."""
    short_path.chmod(0o755)
    with memory_mount(short_path, mounted=short_path / "home" / "archive") as mount:
        mount.folder.chmod(0o755)
        yield mount


def command(store: Store, *arguments: object, target: Path, root: Path, **variables: str) -> Finished:
    """Run `pcapdj reclaim`, which would move all captures below the root."""
    words: list[object] = [*arguments, "--reclaim", f"move:{target}", "--root", root]
    words += ["--free", "100%", "--keep-last", 0, "--redis-url", store.url, "--lane", store.keys.lane]
    return forkserver.run("pcapdj", "reclaim", *map(str, words), env=clean_environment(**variables))


def their_folder_above(archive: Path, short_path: Path) -> Path:
    """Give the folder above away."""
    give_away(short_path / "home")
    return archive


def their_link_on_the_way(archive: Path, short_path: Path) -> Path:
    """Lead to it by a link of another user."""
    (short_path / "link").symlink_to(archive.parent)
    give_away(short_path / "link")
    return short_path / "link" / archive.name


def open_folder_above(archive: Path, short_path: Path) -> Path:
    """Let all users write to the folder above."""
    (short_path / "home").chmod(0o777)
    return archive


def their_folder(archive: Path, _short_path: Path) -> Path:
    """Give the folder itself away."""
    give_away(archive)
    return archive


WAYS: Final[dict[str, tuple[Callable[[Path, Path], Path], str]]] = {
    "a folder above of another user": (their_folder_above, f"home', belongs to another user, {NAME}"),
    "a link of another user": (their_link_on_the_way, f"link' is a link, which belongs to {NAME}"),
    "a folder above that is open to all": (open_folder_above, "home', is writable for all users"),
    "a folder of another user": (their_folder, f"archive' belongs to another user, {NAME}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_target_that_another_user_can_replace_is_refused(
    store: Store, root: Path, archive: MemoryMount, short_path: Path, way: str
) -> None:
    """Also in a preview; the captures stay."""
    prepare, words = WAYS[way]
    feed(store, write_capture(root / "1.pcap"))
    target = prepare(archive.folder, short_path)

    for action in ("now", "--dry-run"):
        done = command(store, action, target=target, root=root)
        assert done.returncode == ExitCode.CANNOT_CREATE
        assert words in done.stderr

    assert (names_in(root), names_in(archive.folder)) == (["1.pcap"], [])


ACCEPTED: Final[dict[str, tuple[Callable[[Path, Path], object], dict[str, str]]]] = {
    "a sticky folder above": (lambda _, short_path: (short_path / "home").chmod(0o1777), {}),
    "the owner of a folder above is trusted": (their_folder_above, {VARIABLE: "1"}),
    "the user who called sudo": (their_folder_above, {"SUDO_UID": str(OTHER)}),
    "a folder of the user who called sudo": (their_folder, {"SUDO_UID": str(OTHER)}),
}


@pytest.mark.parametrize("way", ACCEPTED)
def test_a_target_that_is_accepted_elsewhere_is_accepted_here(
    store: Store, root: Path, archive: MemoryMount, short_path: Path, way: str
) -> None:
    """By the same rules as an output folder."""
    prepare, variables = ACCEPTED[way]
    (root / "sub").mkdir()
    feed(store, write_capture(root / "sub" / "1.pcap"))
    prepare(archive.folder, short_path)

    command(store, "now", target=archive.folder, root=root, **variables)

    assert (names_in(root / "sub"), names_in(archive.folder / "sub")) == ([], ["1.pcap"])


def test_a_link_of_ours_on_the_way_is_followed(
    store: Store, root: Path, archive: MemoryMount, short_path: Path
) -> None:
    """The path of the copy is the one that was typed."""
    feed(store, write_capture(root / "1.pcap"))
    (link := short_path / "link").symlink_to(archive.folder)

    done = command(store, "now", target=link, root=root)

    assert f"-> '{link}/1.pcap'" in done.stdout
    assert (names_in(root), names_in(archive.folder)) == ([], ["1.pcap"])


def test_a_round_of_the_controller_that_is_refused_is_on_the_screen_and_an_event(
    store: Store, root: Path, archive: MemoryMount, short_path: Path
) -> None:
    """Nobody sees what its process prints."""
    target = their_folder_above(archive.folder, short_path)

    done = command(store, "now", "--if-short", target=target, root=root)

    about = json.loads(store.redis.hget(store.keys.gate, "reclaim") or b"")
    assert done.returncode == ExitCode.CANNOT_CREATE
    assert f"belongs to another user, {NAME}. " in about["problem"]
    wait_until(lambda: [each.kind for each in read_events(store)] == ["reclaim_round"], "the event")
    store.redis.hset(store.keys.gate, "state", "hold")
    words = ("--redis-url", store.url, "--lane", store.keys.lane)
    assert f"belongs to another user, {NAME}." in " ".join(
        forkserver.run("pcapdj", "status", *words, env=clean_environment(COLUMNS="400")).stdout.split()
    )


def give_to_group(path: Path) -> None:
    """Let a group write to it that has members besides its owner."""
    os.chown(path, 0, OTHER)
    path.chmod(0o775)


def let_all_write(path: Path) -> None:
    """Let all users write to it, as /tmp does."""
    path.chmod(0o1777)


def let_another_write(path: Path) -> None:
    """Let another user write to it by an ACL."""
    set_acl(path, user=(OTHER, 7))


def link_elsewhere(path: Path) -> None:
    """Let another user have a link to a folder of ours in its place."""
    path.rmdir()
    (elsewhere := path.parent / "elsewhere").mkdir()
    path.symlink_to(elsewhere.name)
    give_away(path)


INNER: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "of another user": (give_away, f"belongs to another user, {NAME}. Use a folder of your own."),
    "open to a group": (give_to_group, "is writable for its group, nogroup (gid 65534). Remove that "),
    "open to all": (let_all_write, "is writable for all users, who may make files there before pcapdj "),
    "open to another user": (let_another_write, "is writable for other users by its ACL. Remove that "),
    "a link": (link_elsewhere, f"cannot be used: Not a directory; there is a link of {NAME}."),
}


@pytest.mark.parametrize("kind", INNER)
def test_a_capture_stays_whose_folder_in_the_target_another_user_can_change(
    store: Store, root: Path, archive: MemoryMount, signals: Signals, kind: str
) -> None:
    """It is counted, and the folder is named once; the others are moved."""
    inner = archive.folder / "sub"
    inner.mkdir(mode=0o755)
    (root / "sub" / "deep").mkdir(parents=True)
    below = [
        write_capture(root / "sub" / name, number) for number, name in enumerate(["1.pcap", "deep/2.pcap"])
    ]
    feed(store, *below, write_capture(root / "3.pcap", 3))
    prepare, words = INNER[kind]
    prepare(inner)

    done = make_room(store, selected(root, "move", archive.folder), signals, root)

    assert all(path.exists() for path in below)
    assert dict(done.refused) == {NO_TARGET: 2}
    [note] = done.notes
    assert note.startswith(f"The folder '{inner}' {words}")
    assert names_in(inner) == []
    assert [name for name in names_in(archive.folder) if name.endswith(".pcap")] == ["3.pcap"]
    assert not store.redis.exists(store.keys.reclaiming)


def test_a_copy_that_a_dead_process_left_where_another_user_may_write_by_now_is_reported(
    store: Store, root: Path, archive: MemoryMount, signals: Signals
) -> None:
    """The capture has its name again, and may be queued. Once the folder is ours, a round completes that."""
    (root / "sub").mkdir()
    path = write_capture(root / "sub" / "1.pcap")
    feed(store, path)
    done = command(store, "now", target=archive.folder, root=root, PCAPDJ_FAULT="reclaim.hidden:1:kill")
    assert done.returncode == -9
    folder = os.open(path.parent, os.O_PATH)
    hidden = os.fsdecode(hidden_moved(b"1.pcap", os.fsencode(path), folder))
    os.close(folder)
    inner, left = archive.folder / "sub", [hidden, "1.pcap"]
    chosen = selected(root, "move", archive.folder)
    give_away(inner)

    refused = make_room(store, chosen, signals, root)

    assert (names_in(path.parent), names_in(inner)) == (["1.pcap"], left)
    assert refused.notes[0].startswith(
        f"What is left of the copy of '{path}' cannot be looked at. The folder '{inner}' "
    )
    assert store.redis.hlen(store.keys.reclaiming) == 1
    record: Any = store.redis.hget(store.keys.fed, os.fsencode(path))
    assert b"reclaiming" not in record

    os.chown(inner, 0, 0)
    mended = make_room(store, chosen, signals, root)
    assert (names_in(path.parent), names_in(inner), mended.notes) == ([], ["1.pcap"], [])
    assert not store.redis.exists(store.keys.reclaiming)


@pytest.mark.parametrize("planted", ["hidden name", "name"])
def test_a_compressed_copy_beside_a_capture_of_another_user_follows_no_link(
    store: Store, root: Path, archive: MemoryMount, signals: Signals, planted: str
) -> None:
    """Its folder is that of the capture, whose users could remove the capture, too."""
    feed(store, write_capture(root / "1.pcap", packets=3000))
    (precious := archive.folder / "precious").write_text("ours")
    link = root / {"hidden name": ".pcapdj-copy.1.pcap.zst", "name": "1.pcap.zst"}[planted]

    def plant() -> None:
        link.unlink(missing_ok=True)
        link.symlink_to(precious)
        give_away(link)

    give_away(root)
    plant()
    with at("reclaim.copied", plant):
        make_room(store, selected(root, "compress"), signals, root)

    assert "1.pcap" in names_in(root)
    assert (precious.read_text(), precious.stat().st_uid, precious.stat().st_nlink) == ("ours", 0, 1)


def test_a_path_that_has_to_be_there_is_not_taken_for_safe_while_it_is_missing(short_path: Path) -> None:
    """In a sticky folder any user could make it a moment later."""
    short_path.chmod(0o1777)
    missing = short_path / "missing" / "folder"

    check_way(missing)
    with pytest.raises(FileNotFoundError):
        check_way(missing, is_there=True)
