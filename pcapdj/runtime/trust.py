"""Refuses files and folders in which another user could put or replace something, before they are used.

`ownership` has the rule. Names are looked at with lstat(2), so that a link is judged by its own owner before
it is followed. A folder's group is trusted if it has no other member than the owner, or if PCAPDJ_TRUST_GROUP
is set. `--trust-group` sets it, also for the processes that this one starts. Then the owners of folders above
are trusted, too.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from pcapdj.runtime import nfs4_acl
from pcapdj.runtime.errors import CannotCreate, ConfigError
from pcapdj.runtime.foreign_files import is_file
from pcapdj.runtime.mount_list import true_owner
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.ownership import ROOT, Account, Distrust, acl_distrust, distrust, is_private_group
from pcapdj.runtime.safe_text import quoted, shell_path, shell_word, unix_url

VARIABLE: Final = "PCAPDJ_TRUST_GROUP"
_SERVICE: Final = ("supervisord.conf", "var", "var/run", "var/log")  # what the user of a service relies on
_SOCKETS: Final = ("var/run/redis.sock", "var/run/supervisor.sock")
_REMEDY: Final = "use a folder of your own"
_OWN_FILE: Final = "replace it by a file of your own"
_KINDS: Final = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)
# With an ACL the group's bits are the mask of all its entries.
_TAKE_AWAY: Final = {Distrust.ALL_WRITE: "o-w", Distrust.GROUP_WRITES: "g-w", Distrust.ACL_WRITES: "g-w"}
_OF_GROUP: Final = (Distrust.GROUP_WRITES, Distrust.ACL_WRITES)
_OF_NFS4_ACL: Final = (Distrust.NFS4_ACL_WRITES, Distrust.UNKNOWN_ACL)
_ACL: Final = "system.posix_acl_access"
_DEFAULT_ACL: Final = "system.posix_acl_default"
_OF_ROOT: Final = os.stat_result((0,) * 10)


def check_folder(
    path: Path,
    *,
    allows_link: bool = True,
    allows_sticky: bool = True,
    remedy: str = _REMEDY,
    caller: int | None = None,
) -> None:
    """Refuse a folder in which another user could replace our files.

    Args:
        path: of a folder that is there.
        allows_link: follow a link of this user or of root.
        allows_sticky: other users may put files into it, if they cannot replace ours.
        remedy: what to do instead of using this folder.
        caller: another user who is trusted, but for his links.

    Raises:
        CannotCreate: it is not a folder, cannot be looked at, or another user can replace files in it.
    """
    try:
        reason, found = _checked(path, allows_link=allows_link, allows_sticky=allows_sticky, caller=caller)
        if reason is None and not stat.S_ISDIR(found.st_mode):
            reason = Distrust.NO_FOLDER
        reason = reason or _of_new_files(path, found, caller)
    except OSError as exc:
        raise CannotCreate(f"The folder {quoted(str(path))} cannot be used: {exc.strerror}.") from exc
    if reason:
        raise _refused(path, reason, found, remedy)


def check_way(
    path: Path, remedy: str = _REMEDY, *, caller: int | None = None, is_there: bool = False
) -> None:
    """Refuse a path on which another user can replace a file or folder.

    That user owns a link on the path, and chooses its target; or can write to a folder above, and replace the
    next one. Missing or unreachable parts are not refused, unless the path has to be there: then all of it is
    looked at, and no other user can replace a part of it later. A missing one in /tmp they could make.

    Args:
        path: of a file or folder.
        remedy: what to do instead of using it.
        caller: another user who is trusted, but for his links.
        is_there: the path has to be there.

    Raises:
        CannotCreate: it is so.
        OSError: it has to be there, and is not, or is out of reach.
    """
    if found := _untrusted_on(path, caller, ignored=() if is_there else (OSError,)):
        raise _refused_way(path, *found, remedy)


def check_places(places: Iterable[Path]) -> None:
    """Refuse what another user has left where this process writes, such as a link or a file in /tmp.

    Args:
        places: of files and folders, also of those that are not there.

    Raises:
        CannotCreate: another user owns one.
    """
    for place in places:
        with suppress(OSError):  # it is missing, or its use fails with the reason
            found = place.lstat()
            if true_owner(found) not in (ROOT, os.geteuid()):
                raise CannotCreate(
                    f"{quoted(str(place))} is {described(found)}.", hint="Remove it, or use another folder."
                )


def check_open_folder(path: Path, descriptor: int, *, caller: int | None = None) -> None:
    """Refuse a folder that is open already, for reading: one of O_PATH shows no ACL.

    Args:
        path: for the message.
        descriptor: of the folder.
        caller: another user who is trusted.

    Raises:
        CannotCreate: another user can replace files in it, or put some there.
    """
    found = os.fstat(descriptor)
    reason = distrust(found, os.geteuid(), allows_sticky=False, caller=caller)
    reason = _unless_group_is_trusted(reason, descriptor, found, caller)
    if reason := reason or _of_new_files(descriptor, found, caller):
        raise _refused(path, reason, found, _REMEDY)


def has_service(here: Path) -> bool:
    """Report whether this folder has a service of this user: a supervisord.conf, and the folders beside it.

    Raises:
        ConfigError: another user made it, or could replace its files.
    """
    if not is_file(here / _SERVICE[0]):
        return False
    here = here.absolute()
    if untrusted := _untrusted_on(here):
        words, hint = _words_of_way(*untrusted), _way_hint(untrusted[0], untrusted[1], _REMEDY)
        raise ConfigError(f"The service in {quoted(str(here))} is not used: {words}.", hint=hint)
    for path in (here, *(here / name for name in _SERVICE)):
        try:
            reason, found = _checked(path)
        except OSError:  # missing, or out of reach: then its use fails with the reason
            continue
        if reason:
            subject = "its folder" if path == here else quoted(str(path.relative_to(here)))
            service = f"The service in {quoted(str(here))} is not used"
            raise ConfigError(
                f"{service}: {subject} {_words(reason, found)}.", hint=_service_hint(reason, here, path)
            )
    try:
        check_places(here / name for name in _SOCKETS)
    except CannotCreate as exc:  # of a process that listens there since the folder was open to all
        raise ConfigError(f"The service in {quoted(str(here))} is not used: {exc}") from exc
    return True


def check_file(path: Path) -> None:
    """Refuse a file that another user can write to or replace, also by a link on the way to it.

    Args:
        path: of a file that is there.

    Raises:
        ConfigError: it is so, or it is not a regular file.
    """
    if untrusted := _untrusted_on(path):
        words, hint = _words_of_way(*untrusted), _way_hint(untrusted[0], untrusted[1], _OWN_FILE)
        raise ConfigError(f"{quoted(path.name)} is not used: {words}.", hint=hint)
    try:
        reason, found = _checked(path)
    except OSError as exc:
        raise ConfigError(f"{quoted(path.name)} cannot be read: {exc.strerror}.") from exc
    if reason is None and not stat.S_ISREG(found.st_mode):
        reason = Distrust.NO_FILE
    if reason:
        hint = _hint(reason, path, _OWN_FILE)
        raise ConfigError(f"{quoted(path.name)} {_words(reason, found)}.", hint=hint)


def declare_trust(is_given: bool) -> bool:  # noqa: FBT001 - as an option's callback gets it
    """Trust the members of groups in this process and those that it starts, if the option is given."""
    if is_given:
        os.environ[VARIABLE] = "1"
    return is_given


def calling_user() -> int | None:
    """Return the user who became root with sudo; None: this is not root, or came to be root otherwise.

    Whoever may run pcapdj as root can start any analyzer as root; their folders give no more rights.
    """
    return whole_number(os.environ.get("SUDO_UID", "")) if os.geteuid() == ROOT else None


def owner_of(uid: int) -> str:
    """Return the name and number of a user, for people."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def described(found: os.stat_result) -> str:
    """Return kind and owner of a file, for people: `a named pipe of nobody (uid 65534)`."""
    kind = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "something else")
    return f"{kind} of {owner_of(true_owner(found))}"


def present_at(path: Path) -> str:
    """Return what exists where a file could not be made, for the end of a sentence; empty: nothing."""
    with suppress(OSError):
        return f"; there is {described(path.lstat())}"
    return ""


def _checked(
    path: Path, *, allows_link: bool = True, allows_sticky: bool = True, caller: int | None = None
) -> tuple[Distrust | None, os.stat_result]:
    """Return why a path, and where a link leads, is not trusted, and the status that shows it."""
    found = path.lstat()
    reason = distrust(found, os.geteuid(), allows_sticky=allows_sticky, caller=caller)
    if stat.S_ISLNK(found.st_mode):
        if reason or not allows_link:
            return Distrust.LINK, found
        found = path.stat()
        reason = distrust(found, os.geteuid(), allows_sticky=allows_sticky, caller=caller)
    return _unless_group_is_trusted(reason, path, found, caller), found


def _untrusted_on(
    path: Path, caller: int | None = None, *, ignored: tuple[type[OSError], ...] = (OSError,)
) -> tuple[Path, Distrust, os.stat_result] | None:
    """Return the first link or folder on the way to a path that is not trusted, and why."""
    own = resolved = path.absolute()
    with suppress(OSError):  # a link on the way cannot be read: it is looked at below
        resolved = Path(os.path.realpath(path))  # `resolve` raises where links form a loop
    for each in dict.fromkeys([*reversed(own.parents), *reversed(resolved.parents), own]):
        with suppress(*ignored):  # the rest is missing, or out of reach
            found = each.lstat()
            if each == own and not stat.S_ISLNK(found.st_mode):  # `check_folder` is about it
                continue
            is_link = stat.S_ISLNK(found.st_mode)
            owner = found.st_uid if _trusts_groups() and not is_link else os.geteuid()
            reason = distrust(found, owner, caller=caller)
            if reason := _unless_group_is_trusted(reason, each, found, caller):
                return each, Distrust.LINK if is_link else reason, found
    return None


def _unless_group_is_trusted(
    reason: Distrust | None, path: Path | int, found: os.stat_result, caller: int | None = None
) -> Distrust | None:
    """Return the reason, or that an ACL lets others write; None if these are trusted.

    Args:
        reason: by owner and mode.
        path: of the file, or its descriptor.
        found: its status.
        caller: another user who is trusted.
    """
    if reason not in (None, Distrust.GROUP_WRITES):
        return reason
    if true_owner(found) != found.st_uid:
        return Distrust.FOREIGN_FUSE
    if _trusts_groups():
        return None
    if reason and not _has_private_group(found):
        return reason
    if stat.S_ISLNK(found.st_mode):
        return None
    of_posix_acl = _distrust_of(_ACL, path, caller) if found.st_mode & stat.S_IWGRP else None
    return _nfs4_distrust(path, found, caller) or of_posix_acl


def _of_new_files(path: Path | int, found: os.stat_result, caller: int | None) -> Distrust | None:
    """Return that others may write to the files that are made in a folder; None: they may not, or need not.

    With a default ACL the umask does not count.
    """
    if _trusts_groups() or not stat.S_ISDIR(found.st_mode):
        return None
    return Distrust.DEFAULT_ACL if _distrust_of(_DEFAULT_ACL, path, caller) else None


def _distrust_of(acl: str, path: Path | int, caller: int | None) -> Distrust | None:
    try:
        entries = os.getxattr(path, acl)
    except OSError:  # none, or a file system without ACLs
        return None
    groups = (ROOT,) if _has_private_group(_OF_ROOT) else ()
    return acl_distrust(entries, (os.geteuid(), *(() if caller is None else (caller,))), groups)


def _nfs4_distrust(path: Path | int, found: os.stat_result, caller: int | None) -> Distrust | None:
    """Return why the NFSv4 ACL of a file is a reason; None: it is none, or there is no such ACL."""
    if found.st_mode & stat.S_ISVTX and found.st_mode & stat.S_IWOTH:  # accepted although all may write
        return None
    try:
        acl = os.getxattr(path, nfs4_acl.ATTRIBUTE)
    except OSError:
        return None
    users = {ROOT, os.geteuid(), *(() if caller is None else (caller,))}
    names = {str(each).encode() for each in users} | {
        os.fsencode(each.pw_name) for each in pwd.getpwall() if each.pw_uid in users
    }
    is_private = _has_private_group(found)
    try:
        has_others = nfs4_acl.other_writers(acl, names, trusts_group=is_private)
    except ValueError:
        return Distrust.UNKNOWN_ACL
    return Distrust.NFS4_ACL_WRITES if has_others else None


def _trusts_groups() -> bool:
    return os.environ.get(VARIABLE, "").lower() in ("1", "true", "t", "yes", "y", "on")


def _has_private_group(found: os.stat_result) -> bool:
    try:
        members = grp.getgrgid(found.st_gid).gr_mem
    except KeyError:
        members = None
    accounts = (Account(each.pw_name, each.pw_uid, each.pw_gid) for each in pwd.getpwall())
    return is_private_group(found, members, accounts)


def _refused_way(
    path: Path, above: Path, reason: Distrust, found: os.stat_result, remedy: str
) -> CannotCreate:
    if reason is Distrust.LINK:
        return CannotCreate(f"{quoted(str(above))} {_words(reason, found)}.", hint="Use a path without it.")
    words = f"{quoted(str(path.absolute()))} is not used: {_words_of_way(above, reason, found)}."
    return CannotCreate(words, hint=_way_hint(above, reason, remedy))


def _way_hint(above: Path, reason: Distrust, remedy: str) -> str:
    hint = _hint(reason, above, remedy)
    if reason is Distrust.OTHER_OWNER:
        return f"{hint.rstrip('.')}, or trust the owners of folders above with {VARIABLE}=1."
    return hint


def _words_of_way(above: Path, reason: Distrust, found: os.stat_result) -> str:
    return f"a folder above it, {quoted(str(above))}, {_words(reason, found)}"


def _refused(path: Path, reason: Distrust, found: os.stat_result, remedy: str) -> CannotCreate:
    words = f"The folder {quoted(str(path.absolute()))} {_words(reason, found)}."
    return CannotCreate(words, hint=_hint(reason, path, remedy))


def _words(reason: Distrust, found: os.stat_result) -> str:
    try:
        group = f"its group, {grp.getgrgid(found.st_gid).gr_name} (gid {found.st_gid})"
    except KeyError:
        group = f"its group, gid {found.st_gid}"
    words = reason.value.format(owner=owner_of(true_owner(found)), group=group)
    if reason is Distrust.ALL_WRITE and found.st_mode & stat.S_ISVTX:
        words += ", who may make files there before pcapdj does, in spite of its sticky bit"
    return words


def _hint(reason: Distrust, path: Path, remedy: str) -> str:
    if reason in _OF_NFS4_ACL:
        return (
            f"Look at it with nfs4_getfacl {shell_path(path)}, and remove that permission,"
            f" or trust those users with {VARIABLE}=1."
        )
    if reason is Distrust.DEFAULT_ACL:
        command = f"setfacl -k {shell_path(path)}"
        return f"Remove that ACL with {command}, or trust those users with {VARIABLE}=1."
    if reason not in _TAKE_AWAY:
        return f"{remedy[0].upper()}{remedy[1:]}."
    command = f"Remove that permission with chmod {_TAKE_AWAY[reason]} {shell_path(path)}"
    if reason in _OF_GROUP:
        return f"{command}, or trust the group's members with {VARIABLE}=1."
    is_lost = reason is Distrust.ALL_WRITE and path.is_mount()  # a new tmpfs has the mode 1777
    lost = " (for the next mount: the option mode=0755, if it is a tmpfs)" if is_lost else ""
    return f"{command}{lost}, or {remedy}."


def _service_hint(reason: Distrust, here: Path, path: Path) -> str:
    if reason in _TAKE_AWAY:
        return _hint(reason, path, _REMEDY)
    if os.geteuid() == ROOT:
        url = unix_url(f"{here.absolute()}/var/run/redis.sock")
        return f"Root uses a user's service if it names its Redis: --redis-url {shell_word(url)}."
    return "Change to a folder of your own, or name a Redis with --redis-url."
