"""Where sockets and pipes may be, and which process is at the other end of a connection."""

import os
import socket
from pathlib import Path

import pytest

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.places import (
    SOCKET_PATH_LIMIT_BYTES,
    Peer,
    check_socket_path,
    default_folder,
    peer_of,
    private_folder,
    user_folder,
)

OTHER_UID = 65534


def test_a_layout_in_this_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a supervisord.conf the roles find each other without options."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert default_folder(tmp_path) == Path("/run/user/1/pcapdj")

    (tmp_path / "supervisord.conf").touch()

    assert default_folder(tmp_path) == tmp_path / "var/run"


def test_without_a_runtime_folder_each_user_has_one_in_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two users never share it."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    assert default_folder(tmp_path) == user_folder()
    assert user_folder().name == f"pcapdj-{os.geteuid()}"


def test_a_missing_folder_is_made_private(tmp_path: Path) -> None:
    """With those above it."""
    private_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    """One sentence, no traceback."""
    (tmp_path / "run").touch()

    with pytest.raises(CannotCreate, match="is not a folder; it belongs to"):
        private_folder(tmp_path / "run")


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    """That user could put another socket or pipe there."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give a folder away")
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    os.chown(folder, OTHER_UID, -1)

    with pytest.raises(CannotCreate, match=rf"run' belongs to another user, nobody \(uid {OTHER_UID}\)"):
        private_folder(folder)


def test_a_folder_of_root_is_good_for_every_user(tmp_path: Path) -> None:
    """Root may replace any file anyway."""
    assert Path("/usr").stat().st_uid == 0
    assert tmp_path.stat().st_uid == os.geteuid()

    private_folder(Path("/usr"))
    private_folder(tmp_path)


def test_a_folder_in_which_all_users_may_write_is_refused_unless_it_is_sticky(tmp_path: Path) -> None:
    """In one as /tmp another user cannot replace a file of ours."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(
        CannotCreate, match=r"is writable for all users\. Remove that permission with chmod o-w"
    ):
        private_folder(folder)

    folder.chmod(0o1777)
    private_folder(folder)


def test_the_longest_socket_path_is_allowed_and_works(short_path: Path) -> None:
    """The limit is the kernel's: one byte more fails."""
    name = "x" * (SOCKET_PATH_LIMIT_BYTES - len(os.fsencode(short_path)) - 1)
    longest = short_path / name

    check_socket_path(longest)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(longest))
    with pytest.raises(CannotCreate, match="has 108 bytes; unix sockets take 107"):
        check_socket_path(short_path / f"{name}x")


def test_the_kernel_names_the_other_end() -> None:
    """Its pid and user are not what the other end claims."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        assert peer_of(one) == Peer(os.getpid(), os.geteuid())


def test_root_and_this_user_are_trusted() -> None:
    """No other user is."""
    assert Peer(1, 0).is_trusted
    assert Peer(1, os.geteuid()).is_trusted
    assert not Peer(1, os.geteuid() + 1).is_trusted
