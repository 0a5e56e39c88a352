"""Which files and folders are trusted, by owner and mode: a rule on values."""

import os
import stat

from hypothesis import given
from hypothesis import strategies as st
from support.acls import acl_of
from support.rows import each_row

from pcapdj.runtime.ownership import Account, Distrust, acl_distrust, distrust, is_private_group, may_serve

US, OTHER, ROOT = 1000, 1001, 0
FOLDER, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK
ALICE, BOB = Account("alice", US, US), Account("bob", OTHER, OTHER)

users = st.sampled_from([US, OTHER, ROOT])
modes = st.builds(lambda kind, bits: kind | bits, st.sampled_from([FOLDER, FILE]), st.integers(0, 0o1777))


def status(mode: int, uid: int = US, gid: int = US) -> os.stat_result:
    """Return a status as lstat(2) gives it."""
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@each_row(
    ("found", "reason"),
    [
        (status(FOLDER | 0o700), None),
        (status(FOLDER | 0o755, uid=ROOT), None),
        (status(FOLDER | 0o700, uid=OTHER), Distrust.OTHER_OWNER),
        (status(FOLDER | 0o777), Distrust.ALL_WRITE),
        (status(FOLDER | 0o1777, uid=ROOT), None),
        (status(FOLDER | 0o1777, uid=OTHER), Distrust.OTHER_OWNER),
        (status(FOLDER | 0o775, gid=7), Distrust.GROUP_WRITES),
        (status(FOLDER | 0o775, gid=ROOT), Distrust.GROUP_WRITES),
        (status(FOLDER | 0o2777, gid=7), Distrust.ALL_WRITE),
        (status(FILE | 0o1666), Distrust.ALL_WRITE),
        (status(LINK | 0o777), None),
        (status(LINK | 0o777, uid=OTHER), Distrust.OTHER_OWNER),
    ],
)
def test_a_file_is_trusted_by_its_owner_and_mode(found: os.stat_result, reason: Distrust | None) -> None:
    """Ours or root's, and not writable for others; only in a sticky folder others may write."""
    assert distrust(found, US) is reason


@given(modes, users)
def test_nothing_of_another_user_is_trusted(mode: int, uid: int) -> None:
    """Whatever its mode is; and root trusts only root."""
    found = status(mode, uid=uid)

    assert (distrust(found, US) is Distrust.OTHER_OWNER) == (uid == OTHER)
    assert (distrust(found, ROOT) is Distrust.OTHER_OWNER) == (uid != ROOT)


@given(modes, users)
def test_root_may_trust_one_user_more_but_not_his_links(mode: int, uid: int) -> None:
    """The one who called sudo; what others may replace is refused as before."""
    found = status(mode, uid=uid)

    assert distrust(found, ROOT, caller=uid) is distrust(status(mode, uid=ROOT), ROOT)
    assert distrust(status(LINK | 0o777, uid=OTHER), ROOT, caller=OTHER) is Distrust.OTHER_OWNER


@given(modes, users)
def test_what_another_user_may_replace_is_not_trusted(mode: int, uid: int) -> None:
    """A write bit for group or others gives a reason, unless the folder is sticky."""
    found = status(mode, uid=uid, gid=7)
    can_replace = mode & 0o022 and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)

    assert (distrust(found, US) is None) == (uid != OTHER and not can_replace)


@given(modes, users)
def test_a_sticky_folder_is_only_trusted_where_that_is_enough(mode: int, uid: int) -> None:
    """Else its write bits count as those of any folder."""
    found = status(mode, uid=uid, gid=7)

    assert (distrust(found, US, allows_sticky=False) is None) == (uid != OTHER and not mode & 0o022)


@given(modes, users, st.integers(0, 0o777))
def test_taking_rights_away_never_makes_it_less_trusted(mode: int, uid: int, taken: int) -> None:
    """`chmod` with fewer rights is always a remedy."""
    before, after = (distrust(status(each, uid=uid, gid=7), US) for each in (mode, mode & ~taken))

    assert after is None or before is not None


@each_row(
    ("gid", "members", "accounts", "is_private"),
    [
        (US, (), [ALICE, BOB], True),
        (US, ("alice",), [ALICE, BOB], True),
        (US, ("bob",), [ALICE, BOB], False),
        (US, ("alice", "carol"), [ALICE, BOB], False),
        (US, (), [ALICE, Account("bob", OTHER, US)], False),
        (US, (), [ALICE, Account("alice-too", US, US)], True),
        (7, ("alice",), [ALICE, BOB], True),
        (7, (), [ALICE, BOB], False),
        (7, None, [ALICE, BOB], False),
        (US, None, [BOB], True),
        (US, None, [Account("bob", OTHER, US)], False),
        (ROOT, (), [ALICE, Account("root", ROOT, ROOT)], True),
        (ROOT, ("bob",), [ALICE, BOB, Account("root", ROOT, ROOT)], False),
        (ROOT, (), [Account("operator", OTHER, ROOT), Account("root", ROOT, ROOT)], False),
        (7, ("alice", "root"), [ALICE, BOB, Account("root", ROOT, ROOT)], True),
    ],
)
def test_a_group_without_another_member_is_its_owner(
    gid: int,
    members: tuple[str, ...] | None,
    accounts: list[Account],
    is_private: bool,  # noqa: FBT001 - a value of the table
) -> None:
    """By the entry of the group, and by the first groups of all users; root may do anything anyway."""
    assert is_private_group(status(FOLDER | 0o775, gid=gid), members, accounts) is is_private


@each_row(
    ("peer", "folder", "socket", "trusted"),
    [
        (US, status(FOLDER | 0o1777, uid=ROOT), status(FILE, uid=US), True),
        (ROOT, status(FOLDER | 0o1777, uid=ROOT), status(FILE, uid=ROOT), True),
        (OTHER, status(FOLDER | 0o1777, uid=ROOT), status(FILE, uid=OTHER), False),
        (OTHER, status(FOLDER | 0o755, uid=OTHER), status(FILE, uid=OTHER), True),
        (OTHER, status(FOLDER | 0o755, uid=ROOT), status(FILE, uid=OTHER), True),
        (OTHER, status(FOLDER | 0o755, uid=ROOT), status(FILE, uid=ROOT), False),
        (OTHER, status(FOLDER | 0o775, uid=US), status(FILE, uid=OTHER), False),
    ],
)
def test_the_server_of_a_named_socket_is_who_may_have_put_it_there(
    peer: int,
    folder: os.stat_result,
    socket: os.stat_result,
    trusted: bool,  # noqa: FBT001 - a value of the table
) -> None:
    """Such as redis in /run/redis; in /tmp any user could have made the socket."""
    assert may_serve(peer, US, socket, folder) is trusted


@each_row(
    ("entries", "reason"),
    [
        ({}, None),
        ({"user": (OTHER, 7)}, Distrust.ACL_WRITES),
        ({"user": (OTHER, 5)}, None),
        ({"user": (OTHER, 7), "mask": (0, 5)}, None),
        ({"user": (US, 7)}, None),
        ({"user": (ROOT, 7)}, None),
        ({"group": (OTHER, 6)}, Distrust.ACL_WRITES),
        ({"group": (OTHER, 4)}, None),
    ],
)
def test_an_acl_is_trusted_if_it_lets_no_others_write(
    entries: dict[str, tuple[int, int]], reason: Distrust | None
) -> None:
    """Named users and groups count, as far as the mask lets them."""
    assert acl_distrust(acl_of(**entries), [US]) is reason
    assert acl_distrust(b"", [US]) is None


def test_the_group_of_root_in_an_acl_is_trusted_if_it_has_no_other_member() -> None:
    """Who calls knows that."""
    acl = acl_of(group=(ROOT, 7))

    assert acl_distrust(acl, [US]) is Distrust.ACL_WRITES
    assert acl_distrust(acl, [US], [ROOT]) is None
