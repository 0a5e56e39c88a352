"""Access ACLs of files, as the kernel takes and gives them."""

import errno
import os
import struct
from pathlib import Path
from typing import Final

import pytest

_NOBODY: Final = 0xFFFF_FFFF  # the id of entries that name no one
_TAGS: Final = {"user": 0x02, "group": 0x08, "mask": 0x10}


def acl_of(**entries: tuple[int, int]) -> bytes:
    """Return an ACL with these entries, `user`, `group` or `mask`: an id and permissions each."""
    named = {"mask": (0, 7), **entries}
    found = [(0x01, 7, _NOBODY), (0x04, 5, _NOBODY), (0x20, 5, _NOBODY)]
    found += [
        (_TAGS[tag], mode, _NOBODY if tag == "mask" else number) for tag, (number, mode) in named.items()
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in sorted(found))


def set_acl(path: Path, *, is_default: bool = False, **entries: tuple[int, int]) -> None:
    """Give a file an ACL; skip where its file system has none.

    The mask of an access ACL shows as the group's mode. A default one is that of new files.
    """
    try:
        os.setxattr(path, f"system.posix_acl_{'default' if is_default else 'access'}", acl_of(**entries))
    except OSError as exc:
        if exc.errno == errno.EOPNOTSUPP:
            pytest.skip("the file system has no ACLs")
        raise
