"""Folders of other users: nothing is written to them, and no service in them is taken for ours.

The tests are root and give folders away. What root may not trust, no other user may.
"""

import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from support.acls import set_acl
from support.captures import Record, classic
from support.cases import some_long
from support.forkserver import DEVNULL, Finished, run
from support.fuse import FuseMount, fuse_in
from support.mounts import memory_mount
from support.redis_server import redis_command
from support.service_rig import environment
from support.waiting import wait_until

from pcapdj.analyzer.launch import make_log_root
from pcapdj.runtime.errors import CannotCreate, ConfigError, ExitCode
from pcapdj.runtime.places import private_folder, user_folder
from pcapdj.runtime.trust import (
    VARIABLE,
    check_file,
    check_folder,
    check_open_folder,
    check_places,
    check_way,
    has_service,
)
from pcapdj.runtime.whole_file import write_whole
from pcapdj.service import CONF, PRIVATE_FOLDERS, check_supervisords_files, write_layout
from pcapdj.store.client import Store
from pcapdj.store.embedded import claim_data
from pcapdj.store.keys import Keys
from pcapdj.summary.sample import EXPECTED_NAME

OTHER: Final = 65534
NAME: Final = f"nobody (uid {OTHER})"
SHARED_GROUP: Final = 12345

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


def give_away(*paths: Path) -> None:
    """Give files, and links themselves, to another user; skip where this one may not."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    for path in paths:
        os.chown(path, OTHER, OTHER, follow_symlinks=False)


def pcapdj(*arguments: str | Path, cwd: Path, **variables: str) -> Finished:
    """Run a command in a folder."""
    return run("pcapdj", *arguments, cwd=cwd, env=environment(**variables))


NO_ANALYZERS = "/nonexistent"  # a PATH: `check` asks each analyzer for its version, which takes half a second


@pytest.fixture
def theirs(short_path: Path) -> Path:
    """Return a folder of another user, which all may enter."""
    short_path.chmod(0o755)
    folder = short_path / "theirs"
    folder.mkdir(mode=0o755)
    give_away(folder)
    return folder


@pytest.fixture
def precious(short_path: Path) -> Path:
    """Return a folder of ours with a file, whose modes and content shall stay."""
    folder = short_path / "precious"
    folder.mkdir(mode=0o755)
    (folder / "file").write_text("ours")
    return folder


def is_untouched(precious: Path) -> bool:
    """Report whether nothing was written to it."""
    names = [path.name for path in precious.iterdir()]
    mode = stat.S_IMODE(precious.stat().st_mode)
    return (names, (precious / "file").read_text(), mode) == (["file"], "ours", 0o755)


@pytest.fixture
def their_service(theirs: Path) -> Iterator[Path]:
    """Return a service of another user; its Redis runs and has a queue."""
    socket = theirs / "var/run/redis.sock"
    socket.parent.mkdir(parents=True)
    (theirs / CONF).write_text("[supervisord]\n")
    give_away(theirs / "var", theirs / "var/run", theirs / CONF)
    command = redis_command(socket, "--unixsocketperm", "777", "--dir", "/", "--appendonly", "no")
    server = subprocess.Popen(command, user=OTHER, group=OTHER, stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, "the other user's Redis to listen")
        yield theirs
    finally:
        server.kill()
        server.wait()


@needs_root
def test_init_writes_nothing_to_a_folder_of_another_user(theirs: Path, precious: Path) -> None:
    """Its owner could have put links there, to files of ours."""
    (theirs / "var").symlink_to(precious)
    (theirs / CONF).symlink_to(precious / "file")
    give_away(theirs / "var", theirs / CONF)

    done = pcapdj("init", theirs, "--force", "--preset", "summary", cwd=precious.parent)

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert f"The folder '{theirs}' belongs to another user, {NAME}. Use a folder of your own." in done.stderr
    assert is_untouched(precious)


@needs_root
def test_init_refuses_links_of_another_user_on_the_way(short_path: Path, precious: Path) -> None:
    """Who made the link chose where the service would be."""
    (short_path / "link").symlink_to(precious)
    give_away(short_path / "link")

    for place in (short_path / "link", short_path / "link" / "sensor"):
        with pytest.raises(CannotCreate, match=r"link' is a link, which belongs to nobody \(uid"):
            write_layout(place, "text")

    assert is_untouched(precious)


@needs_root
@pytest.mark.parametrize("name", PRIVATE_FOLDERS)
def test_init_changes_nothing_through_a_planted_link(name: str, short_path: Path, precious: Path) -> None:
    """A link that another user left in a folder of ours is refused, and its target keeps its mode."""
    folder = short_path / "sensor"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(precious)
    give_away(folder / name)

    with pytest.raises(CannotCreate, match="is a link, which belongs to nobody"):
        write_layout(folder, "text")

    assert is_untouched(precious)


def test_init_leaves_our_own_links_as_they_are(short_path: Path, precious: Path) -> None:
    """An operator may keep the queue on another disk; --force replaces a linked supervisord.conf."""
    folder = short_path / "sensor"
    (folder / "var").mkdir(parents=True)
    (folder / "var/redis").symlink_to(precious)
    (folder / CONF).symlink_to(precious / "file")

    write_layout(folder, "text", force=True)

    assert is_untouched(precious)
    assert not (folder / CONF).is_symlink()
    assert (folder / CONF).read_text() == "text"


@needs_root
def test_init_stays_in_the_folder_that_was_checked(short_path: Path, precious: Path) -> None:
    """A folder that is replaced meanwhile gets nothing: everything is made by descriptor."""
    folder, moved = short_path / "sensor", short_path / "moved"

    class Replacing(str):
        """A text that replaces the folder when it is about to be written."""

        __slots__ = ()

        def encode(self, *_: Any) -> bytes:
            folder.rename(moved)
            folder.symlink_to(precious)
            return b"text"

    write_layout(folder, Replacing("text"))

    assert is_untouched(precious)
    assert (moved / CONF).read_text() == "text"


@needs_root
@pytest.mark.parametrize(
    "command",
    some_long(
        [
            ("status",),
            ("limits",),
            ("gate",),
            ("suspend",),
            ("resume",),
            ("finish",),
            ("failed",),
            ("requeue", "1.pcap"),
            ("reclaim", "--dry-run", "--root", "/x"),
            ("import", "."),
            ("control", "--check"),
            ("dispatch", "-b", "pipe"),
            ("consume", "--preset", "summary"),
        ],
        quick=(
            ("status",),
            ("requeue", "1.pcap"),
            ("import", "."),
            ("control", "--check"),
            ("consume", "--preset", "summary"),
        ),
    ),
    ids=lambda command: command[0],
)
def test_a_service_of_another_user_is_not_taken_for_ours(
    command: tuple[str, ...], their_service: Path
) -> None:
    """One sentence, the code of a wrong configuration, and not a word of that user's queue."""
    before = sorted(their_service.rglob("*"))

    done = pcapdj(*command, cwd=their_service)

    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""
    assert done.stderr == (
        f"pcapdj {command[0]}: The service in '{their_service}' is not used: its folder belongs to another"
        f" user, {NAME}. Root uses a user's service if it names its Redis: --redis-url"
        f" unix://{their_service}/var/run/redis.sock.\n"
    )
    assert sorted(their_service.rglob("*")) == before


@needs_root
@pytest.mark.parametrize(
    "command", [("status",), ("consume", "--preset", "summary")], ids=["command", "role"]
)
def test_why_its_settings_are_not_read_is_said_once(command: tuple[str, ...], their_service: Path) -> None:
    """It is also why the command ends."""
    (their_service / "pcapdj.env").write_text("PCAPDJ_MIN_FREE=1GiB\n")

    done = pcapdj(*command, cwd=their_service)

    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith(
        f"pcapdj {command[0]}: pcapdj.env in this folder is not read. The service in "
    )
    assert done.stderr.count("\n") == 1


@needs_root
def test_check_shows_that_the_service_here_is_another_users(their_service: Path) -> None:
    """The other lines are shown all the same."""
    done = pcapdj("check", cwd=their_service, PATH=NO_ANALYZERS)

    assert f"is not used: its folder belongs to another user, {NAME}" in " ".join(done.stdout.split())
    assert "Python" in done.stdout
    assert done.returncode == ExitCode.ERROR


@needs_root
def test_check_shows_once_what_is_wrong(their_service: Path) -> None:
    """Redis and disks of the service here are refused for the same reason."""
    done = pcapdj("check", cwd=their_service, PATH=NO_ANALYZERS)

    assert done.returncode == ExitCode.ERROR
    assert done.stdout.count("is not used: its folder belongs to another user") == 1


@needs_root
def test_root_uses_a_users_service_that_it_names(their_service: Path) -> None:
    """By the URL of its Redis; the peer is the owner of the socket's folder."""
    done = pcapdj("status", "--redis-url", f"unix://{their_service}/var/run/redis.sock", cwd=their_service)

    assert done.returncode == ExitCode.OK, done.stderr


@needs_root
def test_a_redis_of_another_user_in_a_folder_of_all_is_refused(short_path: Path) -> None:
    """In /tmp anyone can have made the socket; the kernel names who listens."""
    short_path.chmod(0o1777)
    socket = short_path / "redis.sock"
    command = redis_command(socket, "--unixsocketperm", "777", "--dir", "/", "--appendonly", "no")
    server = subprocess.Popen(command, user=OTHER, group=OTHER, stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, "the other user's Redis to listen")

        done = pcapdj("status", "--redis-url", f"unix://{socket}", cwd=short_path)
    finally:
        server.kill()
        server.wait()

    assert done.returncode == ExitCode.DENIED
    assert f"The Redis at '{socket}' belongs to another user, {NAME}, pid {server.pid}." in done.stderr


@needs_root
@pytest.mark.parametrize("name", [CONF, "var", "var/run", "var/log"])
def test_each_part_of_a_service_has_to_be_ours(name: str, short_path: Path) -> None:
    """One that another user could make or replace is enough."""
    write_layout(short_path, "text")
    assert has_service(short_path)
    give_away(short_path / name)

    with pytest.raises(ConfigError, match=f"'{name}' belongs to another user, nobody"):
        has_service(short_path)


@needs_root
@pytest.mark.parametrize("name", ["redis.sock", "supervisor.sock"])
def test_a_socket_of_another_user_in_a_service_is_not_used(name: str, short_path: Path) -> None:
    """A process that made it while the folder was open to all may listen there still."""
    write_layout(short_path, "text")
    (short_path / "var/run" / name).touch()
    give_away(short_path / "var/run" / name)

    with pytest.raises(ConfigError, match=rf"{name}' is a file of nobody \(uid 65534\)\. Remove it"):
        has_service(short_path)


@pytest.mark.parametrize(("mode", "words"), [(0o777, "all users"), (0o775, f"its group, gid {SHARED_GROUP}")])
def test_a_service_that_others_can_change_is_refused(mode: int, words: str, short_path: Path) -> None:
    """They could put another service in its place; the sentence has the command that helps."""
    write_layout(short_path, "text")
    share(short_path, mode)

    with pytest.raises(
        ConfigError, match=rf"its folder is writable for {words}\. Remove that permission with chmod [og]-w"
    ):
        has_service(short_path)


def share(folder: Path, mode: int) -> None:
    """Give a folder a group that has other members, and this mode."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to any group")
    os.chown(folder, -1, SHARED_GROUP)
    folder.chmod(mode)


@pytest.fixture
def claiming(short_path: Path) -> Iterator[FuseMount]:
    """Return a file system of another user, a program of whom says that all of its files are root's."""
    short_path.chmod(0o755)
    with fuse_in(short_path, user=OTHER) as mount:
        yield mount


CLAIMING: Final = f"is on a file system (FUSE) that another user, {NAME}, has mounted"


def test_the_settings_of_a_service_are_not_read_where_another_user_says_who_owns_them(
    claiming: FuseMount,
) -> None:
    """They choose the commands that run as root."""
    (claiming.source / CONF).write_text("[supervisord]")
    (claiming.source / "pcapdj.env").write_text("PCAPDJ_CONSUMER_COMMAND=touch {pipe}")
    assert (claiming.folder / CONF).stat().st_uid == os.geteuid()

    for command in ("status", "up"):
        done = pcapdj(command, cwd=claiming.folder)

        assert f"its folder {CLAIMING}. " in done.stderr
        assert done.returncode == ExitCode.USAGE


def test_no_folder_is_used_where_another_user_says_who_owns_it(claiming: FuseMount) -> None:
    """By its path, open, or for what is in it: also a file that pcapdj would take for a note of its own."""
    (claiming.source / "note").touch()
    inside, opened = claiming.folder / "note", os.open(claiming.folder, os.O_RDONLY)

    checks = (
        partial(check_folder, claiming.folder),
        partial(check_way, inside),
        partial(check_file, inside),
        partial(check_open_folder, claiming.folder, opened),
        partial(make_log_root, claiming.folder / "out"),
    )
    for check in checks:
        with pytest.raises((CannotCreate, ConfigError), match=re.escape(CLAIMING)):
            check()
    with pytest.raises(CannotCreate, match=re.escape(f"is a file of {NAME}.")):
        check_places([inside])
    os.close(opened)


@pytest.mark.parametrize("command", ["up", "restart"])
def test_supervisord_writes_no_log_through_a_link_of_another_user(
    command: str, short_path: Path, tmp_path: Path
) -> None:
    """A copy of a folder keeps the owners of links; supervisord would follow it."""
    write_layout(short_path, "[supervisord]")
    link = short_path / "var/log/dispatcher.log"
    link.symlink_to(tmp_path / "made")
    give_away(link)

    done = pcapdj(command, cwd=short_path)

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert done.stderr.startswith(f"pcapdj {command}: '{link}' ")
    assert "nobody (uid 65534)" in done.stderr
    assert not (tmp_path / "made").exists()

    link.unlink()
    link.symlink_to(tmp_path / "made")  # one of this user may lead to another disk
    assert "does not run" in pcapdj("down", cwd=short_path).stderr


@pytest.mark.parametrize(("make", "kind"), [(Path.touch, "a file"), (os.mkfifo, "a named pipe")])
@pytest.mark.parametrize("name", ["log/dispatcher.log", "log/supervisord.log", "run/supervisord.pid"])
def test_supervisord_opens_no_file_that_another_user_left(
    make: Callable[[Path], object], kind: str, name: str, short_path: Path
) -> None:
    """It would hang in the open of a pipe, deaf to `down`; and that user could read and change the logs."""
    write_layout(short_path, "[supervisord]")
    place = short_path / "var" / name
    make(place)
    place.chmod(0o666)
    give_away(place)

    ended = {command: pcapdj(command, cwd=short_path) for command in ("up", "restart")}
    checked = pcapdj("check", cwd=short_path, PATH=NO_ANALYZERS)

    sentence = f"'{place}' is {kind} of {NAME}."
    assert {done.returncode for done in ended.values()} == {ExitCode.CANNOT_CREATE}
    assert all(done.stderr.startswith(f"pcapdj {command}: {sentence}") for command, done in ended.items())
    assert sentence in re.sub(r"\s+", " ", checked.stdout)
    assert "does not run" in pcapdj("down", cwd=short_path).stderr


@pytest.mark.parametrize("name", ["dispatcher.log.1.gz", "dispatcher.log-20260101", "note"])
def test_files_of_others_that_supervisord_does_not_write_keep_no_service_from_its_start(
    name: str, short_path: Path
) -> None:
    """As what logrotate compresses for a group of readers."""
    write_layout(short_path, "[supervisord]")
    place = short_path / "var/log" / name
    place.touch()
    give_away(place)

    check_supervisords_files(short_path)


@pytest.mark.parametrize("name", [".", CONF, "var/run", "var/log", "above"])
@pytest.mark.parametrize("entry", ["user", "group"])
def test_a_service_that_others_can_change_by_an_acl_is_refused(
    name: str, entry: str, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mode of the folder is that of a group without other members: the ACL has one more user."""
    folder = short_path / "above/service"
    folder.mkdir(parents=True)
    write_layout(folder, "text")
    assert has_service(folder)
    place = folder.parent if name == "above" else folder / name
    set_acl(place, **{entry: (65_534, 7)})  # type: ignore[arg-type]  # of the entries

    with pytest.raises(
        ConfigError, match=r"writable for other users by its ACL\. Remove that permission with chmod g-w"
    ):
        has_service(folder)

    monkeypatch.setenv(VARIABLE, "1")
    assert has_service(folder)
    monkeypatch.delenv(VARIABLE)
    place.chmod(place.stat().st_mode & ~0o020)  # the mask
    assert has_service(folder)


def test_init_writes_nothing_to_a_folder_that_others_can_change_by_an_acl(short_path: Path) -> None:
    """Nor do run and its like: their folders are checked by the same rule."""
    set_acl(short_path, user=(65_534, 7))

    with pytest.raises(CannotCreate, match="by its ACL"):
        write_layout(short_path, "text")
    with pytest.raises(CannotCreate, match="by its ACL"):
        check_folder(short_path)

    assert list(short_path.iterdir()) == []


def test_the_operator_may_trust_a_group(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option of init and run, or by the variable; all users are never trusted."""
    share(short_path, 0o2775)
    assert pcapdj("init", ".", "--preset", "summary", cwd=short_path).returncode == ExitCode.CANNOT_CREATE

    done = pcapdj("init", ".", "--preset", "summary", "--trust-group", cwd=short_path)

    assert done.returncode == ExitCode.OK, done.stderr
    monkeypatch.setenv(VARIABLE, "1")
    assert has_service(short_path)
    short_path.chmod(0o777)
    with pytest.raises(ConfigError, match="writable for all users"):
        has_service(short_path)


@pytest.fixture(params=["all", "group", "owner", "behind a link"])
def unsafe(request: pytest.FixtureRequest, short_path: Path) -> Path:
    """Return a folder of ours below one in which another user can put his own in its place."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user or group")
    short_path.chmod(0o755)
    above = short_path / "open"
    (above / "ours").mkdir(parents=True)
    match request.param:
        case "group":
            share(above, 0o775)
        case "owner":
            give_away(above)
        case _:
            above.chmod(0o777)
    if request.param != "behind a link":
        return above / "ours"
    (short_path / "link").symlink_to(above / "ours")
    return short_path / "link"


@pytest.mark.parametrize("use", [make_log_root, private_folder, lambda path: write_layout(path, "text")])
def test_a_folder_that_another_user_can_replace_is_refused(unsafe: Path, use: Callable[[Path], None]) -> None:
    """Also a new one in it: what was checked now may be his link a moment later."""
    for place in (unsafe, unsafe / "new" / "one"):
        with pytest.raises(
            CannotCreate, match=r"is not used: a folder above it, '.*/open', .*(chmod|_GROUP=1)"
        ):
            use(place)

    assert not list(unsafe.iterdir())


def test_no_service_and_no_temporary_files_below_a_folder_that_others_can_write_to(
    unsafe: Path, precious: Path
) -> None:
    """Nor the results of a run, named after its first file."""
    (unsafe / CONF).write_text("[supervisord]\n")
    with pytest.raises(ConfigError, match=r"is not used: a folder above it, '.*/open', "):
        has_service(unsafe)
    (unsafe / CONF).unlink()

    (unsafe / "x").write_bytes(classic([Record()]))
    done = pcapdj("run", "x", "--preset", "summary", cwd=unsafe)
    elsewhere = pcapdj(
        *("run", unsafe / "x", "--preset", "summary", "--logdir", precious / "out"),
        cwd=precious,
        TMPDIR=str(unsafe),
    )

    assert [done.returncode, elsewhere.returncode] == [ExitCode.CANNOT_CREATE] * 2
    assert "a folder above it" in done.stderr
    assert "a folder above it" in elsewhere.stderr
    assert [path.name for path in unsafe.iterdir()] == ["x"]


def test_folders_above_may_be_sticky_or_belong_to_those_who_are_trusted(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In /tmp another user can replace his own only; of a shared folder the operator decides."""
    short_path.chmod(0o755)
    for name, mode in (("sticky", 0o1777), ("shared", 0o775)):
        (short_path / name).mkdir()
        share(short_path / name, mode)
    give_away(short_path / "shared")
    make_log_root(short_path / "sticky" / "out")

    monkeypatch.setenv(VARIABLE, "1")

    make_log_root(short_path / "shared" / "out")
    (short_path / "shared").chmod(0o777)
    with pytest.raises(CannotCreate, match="is writable for all users"):
        make_log_root(short_path / "shared" / "out")


def test_what_pcapdj_makes_is_not_writable_for_others(short_path: Path) -> None:
    """Whatever the umask is; else the next command would refuse it. The inbox alone follows the umask."""
    before = os.umask(0)
    try:
        write_layout(short_path / "sensor", "text")
        make_log_root(short_path / "logs" / "root")
        private_folder(short_path / "above" / "run")
    finally:
        os.umask(before)

    assert [path.name for path in short_path.rglob("*") if path.stat().st_mode & 0o022] == ["inbox"]


def test_a_folder_of_all_users_takes_no_results(short_path: Path) -> None:
    """In a sticky folder nobody replaces our files, but anybody can have put his in their place before."""
    short_path.chmod(0o1777)

    for refused in (write_layout, claim_data):
        with pytest.raises(CannotCreate, match="is writable for all users"):
            refused(short_path, "text")
    with pytest.raises(CannotCreate, match=r"or name a folder of your own with --logdir\.$"):
        make_log_root(short_path)

    assert list(short_path.iterdir()) == []


def test_a_new_tmpfs_is_refused_with_why_and_what_to_do(short_path: Path) -> None:
    """Without an option its mode is 1777; chmod lasts until it is mounted again."""
    with memory_mount(short_path) as mount:
        with pytest.raises(CannotCreate) as refused:
            make_log_root(mount.folder)
        mount.folder.chmod(0o755)
        make_log_root(mount.folder)

    assert str(refused.value) == (
        f"The folder '{mount.folder}' is writable for all users, who may make files there before pcapdj does,"
        f" in spite of its sticky bit. Remove that permission with chmod o-w {mount.folder} (for the next"
        " mount: the option mode=0755, if it is a tmpfs), or name a folder of your own with --logdir."
    )


@needs_root
def test_a_new_folder_on_a_file_system_without_owners_is_removed_again(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT gives each file to the user of its mount: another user, if root works on somebody's stick."""
    mkdir = os.mkdir

    def mkdir_on_fat(name: str, mode: int, *, dir_fd: int) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        os.chown(name, OTHER, OTHER, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", mkdir_on_fat)

    with pytest.raises(CannotCreate, match="belongs to another user, nobody"):
        make_log_root(short_path / "results")

    assert not (short_path / "results").exists()


@needs_root
def test_sample_writes_nothing_through_links(short_path: Path, precious: Path) -> None:
    """A file of the sample's name is replaced."""
    folder = short_path / "samples"
    folder.mkdir(mode=0o755)
    for name in (EXPECTED_NAME, f".{EXPECTED_NAME}", "sample-20240101-120000.pcap"):
        (folder / name).symlink_to(precious / "file")
        give_away(folder / name)

    done = pcapdj("sample", folder, cwd=short_path)

    assert done.returncode == ExitCode.OK, done.stderr
    assert is_untouched(precious)
    assert not [path for path in folder.iterdir() if path.is_symlink()]


@needs_root
@pytest.mark.parametrize("is_link", [False, True])
def test_run_writes_nothing_to_an_output_folder_of_another_user(
    is_link: bool,  # noqa: FBT001 - a parameter of the test
    theirs: Path,
    precious: Path,
) -> None:
    """Its owner could replace the results, or put links in the analyzer's way."""
    (precious.parent / "1.pcap").write_bytes(classic([Record()]))
    logdir = theirs
    if is_link:
        logdir = precious.parent / "link"
        logdir.symlink_to(precious)
        give_away(logdir)

    done = pcapdj("run", "1.pcap", "--preset", "summary", "--logdir", logdir, cwd=precious.parent)

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert NAME in done.stderr
    assert list(theirs.iterdir()) == []
    assert is_untouched(precious)


@pytest.mark.long
@pytest.mark.parametrize("place", ["their folder", "a new folder in it"])
def test_root_by_sudo_writes_results_into_a_folder_of_the_user_who_called_it(
    place: str, theirs: Path
) -> None:
    """`cd case; sudo pcapdj run .` works; without sudo, or by another user, it does not."""
    (theirs / "1.pcap").write_bytes(classic([Record()]))
    words = ["run", "1.pcap", "--preset", "summary", "--min-free", "0", "--suspend-free", "0"]
    words += ["--logdir", "."] if place == "their folder" else []

    refused = [pcapdj(*words, cwd=theirs, **caller) for caller in ({}, {"SUDO_UID": str(OTHER + 1)})]
    done = pcapdj(*words, cwd=theirs, SUDO_UID=str(OTHER))

    assert [each.returncode for each in refused] == [ExitCode.CANNOT_CREATE] * 2
    assert done.returncode == 0, done.stderr
    assert len(list(theirs.rglob("pcapdj.json"))) == 1


@pytest.mark.parametrize("name", ["1-pcapdj", "on the way/out"])
def test_root_by_sudo_follows_no_link_of_the_user_who_called_it(
    name: str, theirs: Path, precious: Path
) -> None:
    """Neither as the output folder nor on the way to it."""
    (theirs / "1.pcap").write_bytes(classic([Record()]))
    link = theirs / Path(name).parts[0]
    link.symlink_to(precious)
    give_away(link)

    done = pcapdj("run", "1.pcap", "--preset", "summary", "--logdir", name, cwd=theirs, SUDO_UID=str(OTHER))

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert "is a link, which belongs to" in done.stderr
    assert is_untouched(precious)


def test_a_service_of_the_user_who_called_sudo_is_still_his(their_service: Path) -> None:
    """Results only: a queue, its settings and its commands are not taken for those of root."""
    done = pcapdj("status", cwd=their_service, SUDO_UID=str(OTHER))

    assert done.returncode == ExitCode.USAGE
    assert "is not used" in done.stderr


def test_run_refuses_a_folder_for_temporary_files_in_which_all_users_can_replace_its_own(
    short_path: Path,
) -> None:
    """Its sockets and its pipe are there."""
    (short_path / "1.pcap").write_bytes(classic([Record()]))
    (short_path / "open").mkdir()
    (short_path / "open").chmod(0o777)

    done = pcapdj("run", "1.pcap", "--preset", "summary", cwd=short_path, TMPDIR=str(short_path / "open"))

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert "open' is writable for all users. Remove that permission with chmod o-w" in done.stderr
    assert done.stderr.endswith(", or set TMPDIR to a folder of your own.\n")


def test_a_folder_that_gives_new_files_to_others_by_its_default_acl_is_refused(short_path: Path) -> None:
    """The umask does not count there: that user could change the record which `--resume` believes."""
    (short_path / "1.pcap").write_bytes(classic([Record()]))
    (short_path / "out").mkdir()
    set_acl(short_path / "out", is_default=True, user=(65_534, 7))
    words = ["run", "1.pcap", "--preset", "summary", "--logdir", "out"]

    refused = pcapdj(*words, cwd=short_path)
    trusted = pcapdj(*words, cwd=short_path, **{VARIABLE: "1"})

    assert refused.returncode == ExitCode.CANNOT_CREATE
    assert "out' lets other users write to new files in it, by its default ACL. Remove" in refused.stderr
    assert trusted.returncode == ExitCode.OK


@needs_root
def test_a_link_that_cannot_be_read_is_refused_as_any_of_another_user(short_path: Path) -> None:
    """One to the root folder of a process leads nowhere for who may not look into the process."""
    short_path.chmod(0o1777)
    link = short_path / "link"
    link.symlink_to("/proc/1/root")
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    if not (child := os.fork()):
        code = 1
        try:
            os.setgroups([])
            os.setgid(65_533)
            os.setuid(65_533)
            with pytest.raises(CannotCreate, match="link' is a link, which belongs to nobody"):
                check_way(link / "x")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("name", [b"a\nb", b"\x1b[2J", b"\xff", "\u202eb".encode(), b"it's $HOME"])
def test_the_command_that_mends_a_folder_can_be_pasted(short_path: Path, name: bytes) -> None:
    """Bash reads the name of the folder from it, whatever a screen cannot show."""
    folder = short_path / os.fsdecode(name)
    folder.mkdir()
    folder.chmod(0o777)

    refusal = pcapdj("init", folder, cwd=short_path).stderr
    [command] = re.findall(r"with (chmod .*), or use", refusal)
    assert command.isprintable()
    subprocess.run(["bash", "-c", command], check=True)

    assert folder.stat().st_mode & stat.S_IWOTH == 0


@needs_root
def test_a_dispatcher_makes_no_pipe_in_a_folder_of_another_user(theirs: Path) -> None:
    """That user could put another pipe there, or anything else."""
    done = run("pcapdj", "dispatch", "-b", theirs / "pipe", env=environment(PCAPDJ_REDIS_URL="unix:///none"))

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert f"a folder above it, '{theirs}', belongs to another user" in done.stderr
    assert [*theirs.iterdir()] == []


@needs_root
def test_whence_reads_no_record_of_another_user(theirs: Path, short_path: Path) -> None:
    """It names the captures that are read, and that user chooses them."""
    (theirs / "pcapdj.json").write_text("{}")
    (theirs / "5ca1ab1e").mkdir()

    for folder in (theirs, theirs / "5ca1ab1e"):
        done = pcapdj("whence", "--log", folder, "--at", "2026-11-24T10:30:00Z", cwd=short_path)

        assert done.returncode == ExitCode.CANNOT_CREATE
        assert f"The folder '{theirs}' belongs to another user" in done.stderr


@needs_root
def test_the_embedded_redis_keeps_its_data_in_no_folder_of_another_user(
    theirs: Path, short_path: Path
) -> None:
    """Nor does it listen in one."""
    places = [(theirs, short_path / "own" / "redis.sock"), (short_path / "data", theirs / "redis.sock")]
    for data, socket in places:
        done = run(
            *("pcapdj.store.embedded", data, "--socket", socket),
            cwd=short_path,
            env=environment(),
            stdin=DEVNULL,
        )

        assert done.returncode == ExitCode.CANNOT_CREATE
        assert f"The folder '{theirs}' belongs to another user, {NAME}." in done.stderr
    assert list(theirs.iterdir()) == []


def test_the_embedded_redis_notes_its_version_in_a_new_file(tmp_path: Path, precious: Path) -> None:
    """A link under the note's name, or under the hidden one, is replaced."""
    tmp_path.chmod(0o700)
    for name in ("written-by", ".written-by"):
        (tmp_path / name).symlink_to(precious / "file")

    claim_data(tmp_path, "Redis 7.0.15")

    assert is_untouched(precious)
    assert (tmp_path / "written-by").read_text() == "Redis 7.0.15\n"


@pytest.mark.parametrize("kind", ["link", "pipe", "file of another user", "left behind"])
def test_a_file_is_written_whole_into_a_new_one(kind: str, tmp_path: Path, precious: Path) -> None:
    """Whatever stands under the hidden name: it is removed, and not written to."""
    hidden = tmp_path / ".pcapdj.json"
    if kind == "link":
        hidden.symlink_to(precious / "file")
    elif kind == "pipe":
        os.mkfifo(hidden)
    else:
        hidden.write_text("other")
    if kind == "file of another user" and os.geteuid() == 0:
        give_away(hidden)

    write_whole(tmp_path / "pcapdj.json", b"new", mode=0o600)

    found = (tmp_path / "pcapdj.json").lstat()
    assert stat.S_ISREG(found.st_mode)
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o600)
    assert (tmp_path / "pcapdj.json").read_bytes() == b"new"
    assert is_untouched(precious)
    assert not hidden.exists()


@needs_root
def test_a_runtime_folder_of_another_user_is_not_used(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As sudo keeps XDG_RUNTIME_DIR of who typed it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(theirs))

    assert user_folder() == Path("/tmp/pcapdj-0")  # noqa: S108 - only its name


def test_a_link_in_place_of_the_users_own_folder_is_refused(
    short_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of ours: pcapdj makes a folder there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    (short_path / "pcapdj").symlink_to(precious)

    with pytest.raises(CannotCreate, match="pcapdj' is a link, which belongs to "):
        private_folder(user_folder())

    assert is_untouched(precious)


def test_our_own_redis_is_used(redis_socket: Path) -> None:
    """The check of the peer is no obstacle."""
    store = Store(f"unix://{redis_socket}", Keys("own"))
    store.ping()
    store.close()
