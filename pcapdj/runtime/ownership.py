"""Which files and folders this process may trust, by owner and mode. Rules only.

A folder is trusted if only this user and root can create or replace files in it. Then a file that was checked
there is still the same a moment later, and no link in it leads elsewhere. So the folder must belong to this
user or to root, and neither its mode nor an access ACL may let others write. Four exceptions:

- in a sticky folder, such as /tmp, a user can replace only their own files;
- a group whose only member is the folder's owner counts as the owner (umask 002 on Debian, Ubuntu, Fedora);
- the operator may trust the members of the folder's group (`runtime.trust`);
- results may be in a folder of the user who became root with sudo. That user's links are not trusted.

Source: inode(7), "The file type and mode"; acl(5); linux/posix_acl_xattr.h; OpenSSH on Debian has the same
rule for groups.
"""

import os
import stat
import struct
from collections.abc import Collection, Iterable
from enum import Enum
from typing import Final, NamedTuple

ROOT: Final = 0
# An access ACL as the kernel gives it: a version, then tag, permissions and id of each entry.
_ACL_HEADER_BYTES: Final = 4
_ACL_ENTRY: Final = struct.Struct("<HHI")
_NAMED_USER, _NAMED_GROUP, _MASK, _MAY_WRITE = 0x02, 0x08, 0x10, 0x02


class Distrust(Enum):
    """Why a file or folder is not trusted; the words follow its name in a sentence."""

    OTHER_OWNER = "belongs to another user, {owner}"
    LINK = "is a link, which belongs to {owner}"
    NO_FOLDER = "is not a folder; it belongs to {owner}"
    NO_FILE = "is not a regular file; it belongs to {owner}"
    ALL_WRITE = "is writable for all users"
    GROUP_WRITES = "is writable for {group}"
    ACL_WRITES = "is writable for other users by its ACL"
    NFS4_ACL_WRITES = "is writable for other users by its NFSv4 ACL"
    DEFAULT_ACL = "lets other users write to new files in it, by its default ACL"
    FOREIGN_FUSE = "is on a file system (FUSE) that another user, {owner}, has mounted"
    UNKNOWN_ACL = "has an NFSv4 ACL of an unknown form"


class Account(NamedTuple):
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int


def distrust(
    found: os.stat_result, uid: int, *, allows_sticky: bool = True, caller: int | None = None
) -> Distrust | None:
    """Return why this user should not trust it; None if there is no reason.

    Args:
        found: of lstat(2). Of a link only the owner counts; the folder decides who may replace it.
        uid: this user's.
        allows_sticky: a sticky folder is accepted, because the caller trusts no name in it.
        caller: another user who is trusted, but for links.
    """
    is_callers = found.st_uid == caller and not stat.S_ISLNK(found.st_mode)
    if found.st_uid not in (uid, ROOT) and not is_callers:
        return Distrust.OTHER_OWNER
    is_sticky = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX) and allows_sticky
    if stat.S_ISLNK(found.st_mode) or is_sticky:
        return None
    if found.st_mode & stat.S_IWOTH:
        return Distrust.ALL_WRITE
    if found.st_mode & stat.S_IWGRP:
        return Distrust.GROUP_WRITES
    return None


def acl_distrust(
    acl: bytes, trusted: Collection[int], trusted_groups: Collection[int] = ()
) -> Distrust | None:
    """Return why this user should not trust a file with this access ACL; None if there is no reason.

    Its mode does not show it: with an ACL the bits of the group are the mask of all entries.

    Args:
        acl: the attribute `system.posix_acl_access`; empty: there is none.
        trusted: users who may write, beside root.
        trusted_groups: groups that may.
    """
    entries = [*_ACL_ENTRY.iter_unpack(acl[_ACL_HEADER_BYTES:])]
    mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), _MAY_WRITE)
    writers = [(tag, named) for tag, permissions, named in entries if permissions & mask & _MAY_WRITE]
    others = [named for tag, named in writers if tag == _NAMED_USER and named not in (*trusted, ROOT)]
    groups = [named for tag, named in writers if tag == _NAMED_GROUP and named not in trusted_groups]
    return Distrust.ACL_WRITES if others or groups else None


def is_private_group(
    found: os.stat_result, members: Collection[str] | None, accounts: Iterable[Account]
) -> bool:
    """Report whether the group of a file has no other member than the file's owner, and root.

    Args:
        found: of the file.
        members: of the group, by name; None if the group has no entry.
        accounts: all of this machine: a user's first group does not list him as a member.
    """
    users = [each for each in accounts if found.st_gid == each.gid or each.name in (members or ())]
    trusted = (found.st_uid, ROOT)
    names = {each.name for each in users if each.uid in trusted}
    if members is None and not users:  # a container's user may have no entry, and a group of the same number
        return found.st_gid == found.st_uid
    return bool(names) and all(each.uid in trusted for each in users) and set(members or ()) <= names


def may_serve(peer_uid: int, uid: int, socket: os.stat_result, folder: os.stat_result) -> bool:
    """Report whether the process of this user may be the server at a unix socket that was named.

    Whoever names a socket trusts the folder's owner, who could put any socket there, and root, who may have
    given the socket away. If others can create files in the folder, as in /tmp, it must be this user or root.

    Args:
        peer_uid: the user of the process that listens.
        uid: this user's.
        socket: the status of the socket.
        folder: the status of its folder.
    """
    is_shared = folder.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
    return peer_uid in (uid, ROOT, folder.st_uid) or (not is_shared and peer_uid == socket.st_uid)
