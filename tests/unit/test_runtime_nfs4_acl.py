"""Who may change a folder by its NFSv4 ACL: bytes in the layout of RFC 7530, as the kernel gives them."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.runtime import nfs4_acl
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.nfs4_acl import other_writers
from pcapdj.runtime.trust import VARIABLE, check_folder, check_way

ALLOW, DENY, AUDIT = 0, 1, 2
READ, ADD_FILE, DELETE_CHILD, WRITE_ACL = 0x1, 0x2, 0x40, 0x40000
INHERIT_ONLY, IS_GROUP = 0x8, 0x40
TRUSTED = (b"alice", b"1000", b"root", b"0")


def acl(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Return an ACL of entries: type, flags, mask, who."""
    data = struct.pack(">I", len(entries))
    for kind, flags, mask, who in entries:
        data += struct.pack(">4I", kind, flags, mask, len(who)) + who + bytes(-len(who) % 4)
    return data


@each_row(
    ("entries", "others"),
    [
        ([(ALLOW, 0, ADD_FILE, b"OWNER@"), (ALLOW, 0, READ, b"EVERYONE@")], []),
        ([(ALLOW, 0, ADD_FILE, b"bob@example.org")], [b"bob@example.org"]),
        ([(ALLOW, 0, READ, b"bob@example.org")], []),
        ([(ALLOW, 0, ADD_FILE, b"alice@example.org"), (ALLOW, 0, ADD_FILE, b"1000")], []),
        ([(ALLOW, 0, DELETE_CHILD, b"1001")], [b"1001"]),
        ([(ALLOW, 0, WRITE_ACL, b"EVERYONE@")], [b"EVERYONE@"]),
        ([(ALLOW, IS_GROUP, ADD_FILE, b"alice@example.org")], [b"alice@example.org"]),
        ([(ALLOW, INHERIT_ONLY, ADD_FILE, b"bob@example.org")], []),
        ([(DENY, 0, ADD_FILE, b"bob@a"), (ALLOW, 0, ADD_FILE | READ, b"bob@a")], []),
        ([(ALLOW, 0, ADD_FILE, b"bob@a"), (DENY, 0, ADD_FILE, b"bob@a")], [b"bob@a"]),
        ([(DENY, 0, ADD_FILE, b"EVERYONE@"), (ALLOW, 0, ADD_FILE, b"bob@a")], []),
        ([(DENY, 0, ADD_FILE, b"bob@a"), (ALLOW, 0, DELETE_CHILD, b"bob@a")], [b"bob@a"]),
        ([(AUDIT, 0, ADD_FILE, b"bob@a")], []),
        ([], []),
    ],
)
def test_only_who_may_change_what_is_in_the_folder_counts(
    entries: list[tuple[int, int, int, bytes]], others: list[bytes]
) -> None:
    """By entries that hold for the folder itself, in their order."""
    assert other_writers(acl(*entries), TRUSTED, trusts_group=False) == others


def test_the_folders_group_counts_unless_it_has_no_other_member() -> None:
    """As with the write bit of a mode."""
    data = acl((ALLOW, IS_GROUP, ADD_FILE, b"GROUP@"))

    assert other_writers(data, TRUSTED, trusts_group=False) == [b"GROUP@"]
    assert other_writers(data, TRUSTED, trusts_group=True) == []


@given(st.binary(max_size=80))
def test_any_bytes_have_an_answer_or_another_form(data: bytes) -> None:
    """No other error."""
    try:
        other_writers(data, TRUSTED, trusts_group=True)
    except ValueError:
        return


@given(st.data())
def test_an_acl_that_is_cut_off_is_refused(data: st.DataObject) -> None:
    """Its missing entries may be the ones that count."""
    whole = acl((ALLOW, 0, READ, b"OWNER@"), (ALLOW, 0, ADD_FILE, b"bobs"))
    length = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(ValueError, match="cut off"):
        other_writers(whole[:length], TRUSTED, trusts_group=True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (acl((ALLOW, 0, ADD_FILE, b"bob@example.org")), "is writable for other users by its NFSv4 ACL"),
        (b"\0\0\0\1", "has an NFSv4 ACL of an unknown form"),
    ],
)
def test_a_folder_with_such_an_acl_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, words: str
) -> None:
    """With what shows it; who trusts those users goes on. No NFS is here: the attribute is a stand-in."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)

    def attribute(path: Path, name: str) -> bytes:
        if name == nfs4_acl.ATTRIBUTE and Path(path) == folder:
            return data
        raise OSError(95, "no attribute")

    monkeypatch.setattr(os, "getxattr", attribute)
    with pytest.raises(CannotCreate, match=rf"{words}\. Look at it with nfs4_getfacl {folder}"):
        check_folder(folder)
    with pytest.raises(CannotCreate, match=words):
        check_way(folder / "inside")

    monkeypatch.setenv(VARIABLE, "1")
    check_folder(folder)
