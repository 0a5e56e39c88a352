"""Who may put or replace files in a folder by its NFSv4 ACL. Rules only.

A mounted NFSv4 file system shows the ACL of its server as the attribute `system.nfs4_acl`, in XDR:

    entries (4) | of each: type (4), flags (4), mask (4), length of who (4), who, zeros up to a multiple of 4

Mode bits do not show entries of named users and groups on every server. An entry that denies counts for those
behind it. Names are `user@domain`, or numbers where the server maps none; the domain is not compared, since
this machine can only map its own.

Source: RFC 7530, section 6.2.1; RFC 4506, section 4.10 (strings); fs/nfs/nfs4proc.c of Linux.
"""

import struct
from collections.abc import Collection, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

ATTRIBUTE: Final = "system.nfs4_acl"
_OWNER, _GROUP, _EVERYONE = b"OWNER@", b"GROUP@", b"EVERYONE@"
_COUNT: Final = struct.Struct(">I")
_ENTRY: Final = struct.Struct(">4I")
_INHERIT_ONLY, _IS_GROUP = 0x08, 0x40
# WRITE_DATA/ADD_FILE, APPEND_DATA/ADD_SUBDIRECTORY, DELETE_CHILD, WRITE_ACL, WRITE_OWNER
_CHANGES: Final = 0x2 | 0x4 | 0x40 | 0x4_0000 | 0x8_0000


class _Type(IntEnum):
    ALLOW = 0
    DENY = 1


class _Entry(NamedTuple):
    type: int
    flags: int
    mask: int
    who: bytes


def other_writers(acl: bytes, trusted: Collection[bytes], *, trusts_group: bool) -> list[bytes]:
    """Return who else may change what is in a folder, as the ACL names them.

    Args:
        acl: the attribute.
        trusted: names and numbers of users who may.
        trusts_group: the folder's group has no other member.

    Raises:
        ValueError: the attribute has another form.
    """
    denied = dict[tuple[bytes, int], int]()
    found = dict[bytes, None]()
    for entry in _entries(acl):
        if entry.flags & _INHERIT_ONLY:
            continue
        who = (entry.who, entry.flags & _IS_GROUP)
        if entry.type == _Type.DENY:
            denied[who] = denied.get(who, 0) | entry.mask
        elif entry.type == _Type.ALLOW:
            allowed = entry.mask & ~denied.get(who, 0) & ~denied.get((_EVERYONE, 0), 0)
            if allowed & _CHANGES and not _is_trusted(entry, trusted, trusts_group=trusts_group):
                found[entry.who] = None
    return list(found)


def _is_trusted(entry: _Entry, trusted: Collection[bytes], *, trusts_group: bool) -> bool:
    if entry.who == _OWNER:
        return True
    if entry.who == _GROUP:
        return trusts_group
    return not entry.flags & _IS_GROUP and entry.who.partition(b"@")[0] in trusted


def _entries(acl: bytes) -> Iterator[_Entry]:
    try:
        (count,) = _COUNT.unpack_from(acl)
        place = _COUNT.size
        for _ in range(count):
            kind, flags, mask, length = _ENTRY.unpack_from(acl, place)
            place += _ENTRY.size
            who = acl[place : place + length]
            if len(who) < length:
                raise ValueError("an entry of an NFSv4 ACL is cut off")
            yield _Entry(kind, flags, mask, who)
            place += length + -length % 4
    except struct.error as exc:
        raise ValueError("an NFSv4 ACL is cut off") from exc
