"""Opening a capture file by its name: what is refused, what is complete, which file it was."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.descriptors import open_descriptors
from support.rows import each_row

from pcapdj.capture.files import SETTLED_S, OpenFile, StillWritten, open_regular, refuse_if_written
from pcapdj.runtime.errors import CaptureError

NOBODY = 65_534


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Return a file."""
    path = tmp_path / "a.pcap"
    path.write_bytes(b"content")
    return path


def refused(name: bytes, root: bytes | None = None) -> str:
    """Return why a name is refused; no descriptor may stay open."""
    before = open_descriptors()
    with pytest.raises(CaptureError) as caught:
        open_regular(name, root=root)
    assert not open_descriptors() - before
    return caught.value.reason


def test_a_regular_file_opens_at_its_start(capture: Path) -> None:
    """Read-only, not inherited by children."""
    fd = open_regular(os.fsencode(capture))

    with os.fdopen(fd, "rb") as opened:
        assert not os.get_inheritable(fd)
        assert opened.read() == b"content"


def test_a_link_is_followed_without_a_root(capture: Path) -> None:
    """Sensors link their newest file."""
    link = capture.with_name("link")
    link.symlink_to(capture)

    os.close(open_regular(os.fsencode(link)))


@each_row(
    ("name", "reason"),
    [
        (b"", "empty name"),
        (b"a\0b", "NUL"),
        (b"/" + b"x" * 4095, "4096 bytes"),
        (b"/" + b"x" * 300, "too long"),
        (b"/nowhere/at/all", "does not exist"),
        (b"/dev/zero", "is a device"),
        (b"/dev/null/x", "is not a folder"),
        (b"/tmp", "is a directory"),
        (b"/proc/self/fd", "is a directory"),
    ],
)
def test_names_that_are_not_regular_files_are_refused_with_a_reason(name: bytes, reason: str) -> None:
    """At once, and no descriptor stays open."""
    assert reason in refused(name)


def test_a_pipe_without_a_writer_does_not_block(tmp_path: Path) -> None:
    """It is refused without being read."""
    os.mkfifo(tmp_path / "pipe")

    assert refused(os.fsencode(tmp_path / "pipe")) == "is a named pipe"


def test_a_socket_is_refused(short_path: Path) -> None:
    """The reason names its kind."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / "s"))

        assert refused(os.fsencode(short_path / "s")) == "is a socket"


def test_loops_of_links_are_refused(tmp_path: Path) -> None:
    """And links to a missing file."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("gone")

    assert "loop of links" in refused(os.fsencode(tmp_path / "a"))
    assert refused(os.fsencode(tmp_path / "c")) == "does not exist"


def test_a_file_of_another_user_is_refused(short_path: Path) -> None:
    """Root may read everything, so root tries it as another user."""
    short_path.chmod(0o755)
    capture = short_path / "a.pcap"
    capture.touch(0)

    os.seteuid(os.geteuid() or NOBODY)
    try:
        reason = refused(os.fsencode(capture))
    finally:
        os.seteuid(os.getuid())

    assert reason == "cannot be read by this user: permission denied"


@pytest.mark.parametrize(
    "last_part",
    [
        b"a b.pcap",
        b"'\"`$(id);.pcap",
        b"new\nline\x1b[31m.pcap",
        b"\xff\xfe.pcap",
        b"-rf",
        b"%s {0}",
        b"\xe2\x80\xae",
    ],
)
def test_any_byte_but_nul_is_allowed_in_a_name(tmp_path: Path, last_part: bytes) -> None:
    """Only NUL ends a name."""
    name = os.fsencode(tmp_path) + b"/" + last_part
    Path(os.fsdecode(name)).write_bytes(b"")

    os.close(open_regular(name))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
@pytest.mark.parametrize("place", ["root", "above/root"])
def test_whoever_can_replace_a_root_chooses_no_other_one(tmp_path: Path, place: str) -> None:
    """A link of this user or of root on the way may stay, as to another disk."""
    (tmp_path / "real/root").mkdir(parents=True)
    (tmp_path / "real/root/a.pcap").write_bytes(b"packets")
    link = tmp_path / place.split("/", maxsplit=1)[0]
    link.symlink_to("real/root" if place == "root" else "real")
    root = os.fsencode(tmp_path / place)
    os.close(open_regular(root + b"/a.pcap", root=root))

    os.chown(link, 65_534, 65_534, follow_symlinks=False)

    with pytest.raises(CaptureError, match="is or follows a symbolic link that is not followed"):
        open_regular(root + b"/a.pcap", root=root)


def test_below_a_root_no_link_is_followed(tmp_path: Path) -> None:
    """Neither the file itself nor a folder on the way."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    (inside / "sub" / "a").write_bytes(b"")
    (outside / "b").write_bytes(b"")
    (inside / "link").symlink_to(outside / "b")
    (inside / "folder").symlink_to(outside)
    root = os.fsencode(inside)

    os.close(open_regular(root + b"/sub/a", root=root))
    os.close(open_regular(root + b"//sub/./a", root=root + b"/"))
    assert refused(root + b"/link", root) == "is a symbolic link"
    assert "follows a symbolic link" in refused(root + b"/folder/b", root)
    assert "is not a folder" in refused(root + b"/sub/a/b", root)
    assert "outside" in refused(root + b"/../out/b", root)
    assert "outside" in refused(os.fsencode(outside / "b"), root)
    assert "outside" in refused(root, root)
    assert "does not exist" in refused(root + b"/sub/none", root)


def test_an_old_file_is_complete(capture: Path) -> None:
    """Even if a writer has it open."""
    with capture.open("ab"):
        os.utime(capture, (1, 1))
        fd = open_regular(os.fsencode(capture))
        refuse_if_written(fd)
        os.close(fd)


def test_a_young_file_without_a_writer_is_complete(capture: Path) -> None:
    """The kernel grants a lease, which is given back."""
    fd = open_regular(os.fsencode(capture))

    refuse_if_written(fd)

    with capture.open("ab") as writer:  # would block or signal if a lease were left
        writer.write(b"more")
    os.close(fd)


def test_a_young_file_that_is_open_for_writing_is_refused(capture: Path) -> None:
    """Without a time to wait: it is written until its writer closes it."""
    with capture.open("ab"):
        fd = open_regular(os.fsencode(capture))
        with pytest.raises(StillWritten) as caught:
            refuse_if_written(fd)
        os.close(fd)

    assert caught.value.reason == "is still being written"
    assert caught.value.settles_in_s is None


def test_without_leases_the_age_decides(tmp_path: Path) -> None:
    """A folder, which has no leases, stands for such a file."""
    modified = 1_700_000_000.0
    os.utime(tmp_path, (modified, modified))
    fd = os.open(tmp_path, os.O_RDONLY)

    with pytest.raises(StillWritten) as caught:
        refuse_if_written(fd, clock=lambda: modified + 4)
    assert caught.value.settles_in_s == pytest.approx(SETTLED_S - 4)
    with pytest.raises(StillWritten) as future:
        refuse_if_written(fd, clock=lambda: modified - 3600)
    assert future.value.settles_in_s == SETTLED_S
    refuse_if_written(fd, clock=lambda: modified + SETTLED_S)
    os.close(fd)


def test_a_writer_that_breaks_the_lease_ends_no_process(capture: Path) -> None:
    """The signal of the broken lease is ignored by default; also in a thread."""
    script = (
        "import os, sys, threading\n"
        "from pcapdj.capture.files import StillWritten, refuse_if_written\n"
        "name = sys.argv[1]\n"
        "def write():\n"
        "    for _ in range(300): os.close(os.open(name, os.O_WRONLY | os.O_NONBLOCK))\n"
        "def ask():\n"
        "    fd = os.open(name, os.O_RDONLY)\n"
        "    for _ in range(300):\n"
        "        try: refuse_if_written(fd)\n"
        "        except StillWritten: pass\n"
        "asking = threading.Thread(target=ask); asking.start()\n"
        "try: write()\n"
        "except BlockingIOError: pass\n"
        "asking.join(); print('alive')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(capture)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_an_identity_is_that_of_the_open_file(capture: Path) -> None:
    """Not that of the name, which rotation uses again."""
    fd = open_regular(os.fsencode(capture))
    before = OpenFile(fd).identity()
    capture.rename(capture.with_name("b.pcap"))
    capture.write_bytes(b"another")

    assert OpenFile(fd).identity() == before
    assert before.size_bytes == 7
    assert stat.S_ISREG(os.fstat(fd).st_mode)
    os.close(fd)
