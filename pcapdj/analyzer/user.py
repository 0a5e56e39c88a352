"""Another user for the analyzer (`--analyzer-user`), where the launcher is root.

If an attacker takes over the analyzer, they reach only what that user may reach. They do not reach Redis,
supervisord, the roles, or captures of the service's user. The analyzer gets the stream as a descriptor, so it
needs no access to the folder of the pipe. It owns its log folder. It must not be able to write to the folder
of all log folders: it could put a link in place of the next one, and root would follow it.
"""

import grp
import os
import pwd
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pcapdj.analyzer import as_user
from pcapdj.runtime.errors import CannotCreate, ConfigError
from pcapdj.runtime.process import KEYCTL
from pcapdj.runtime.safe_text import quoted, shell_path

_MAY_NOT_ENTER, _MAY_WRITE = 1, 2
_ANSWER_LIMIT_S: Final = 2.0
_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class AnalyzerUser:
    """The user, with the groups that it has in the system's lists.

    Args:
        name: as the system has it.
        uid, gid: its numbers.
        groups: all of its groups.
        home: its folder.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    def environment(self) -> dict[str, str]:
        """Return the variables that name the user."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line by which this process, which is root, starts one of this user.

        Args:
            argv: of that one; the first element is the program's path.
        """
        numbers = [os.getpid(), self.uid, self.gid, ",".join(map(str, self.groups)), KEYCTL]
        return [sys.executable, "-I", "-S", as_user.__file__, *map(str, numbers), *argv]

    def become(self) -> None:
        """Let this process, which is root, be this user for good."""
        os.setgroups(self.groups)
        os.setgid(self.gid)
        os.setuid(self.uid)


def find_user(name: str) -> AnalyzerUser | None:
    """Return the user of this name; None for an empty one.

    Raises:
        ConfigError: there is no such user, it is root, or this process is not root.
    """
    if not name:
        return None
    if os.geteuid() != 0:
        raise ConfigError(
            "Only root can run the analyzer as another user.", hint="Leave out --analyzer-user."
        )
    try:
        found = pwd.getpwnam(name)
    except KeyError as exc:
        raise ConfigError(f"There is no user {quoted(name)}.") from exc
    if found.pw_uid == 0:
        raise ConfigError("--analyzer-user is root.", hint="Name a user of its own, or leave it out.")
    groups = [each.gr_gid for each in grp.getgrall() if name in each.gr_mem]
    return AnalyzerUser(name, found.pw_uid, found.pw_gid, (found.pw_gid, *groups), found.pw_dir)


def check_log_root(user: AnalyzerUser, path: Path) -> None:
    """Refuse a folder of log folders that the user cannot enter, or could change.

    Raises:
        CannotCreate: the message has the command that helps.
    """
    answer = _ask_as(user, path)
    if answer & _MAY_WRITE:
        raise CannotCreate(
            f"The user {quoted(user.name)} can write to {quoted(str(path))}, and replace log folders in it.",
            hint=f"Give it to root: chown root {shell_path(path)} && chmod 755 {shell_path(path)}",
        )
    if answer & _MAY_NOT_ENTER:
        parts = (*reversed(path.parents), path)
        closed = next((each for each in parts if _ask_as(user, each) & _MAY_NOT_ENTER), path)
        raise CannotCreate(
            f"The user {quoted(user.name)} cannot enter {quoted(str(closed))}, where its log folders are.",
            hint=f"Allow it: chmod o+x {shell_path(closed)}, or choose another --logdir.",
        )


def _ask_as(user: AnalyzerUser, path: Path) -> int:
    """Return what is wrong with the access of the user to a folder, as a set of bits.

    Raises:
        CannotCreate: there is no answer; any process of the user can stop the one that looks.
    """
    child = os.fork()
    if not child:
        code = 0xFF
        try:
            user.become()
            may_not_enter = 0 if os.access(path, os.X_OK) else _MAY_NOT_ENTER
            code = may_not_enter | (_MAY_WRITE if os.access(path, os.W_OK) else 0)
        finally:
            os._exit(code)
    until_s = time.monotonic() + _ANSWER_LIMIT_S
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    if not ended[0] or not os.WIFEXITED(ended[1]):
        os.kill(child, signal.SIGKILL)
        raise CannotCreate(
            f"A process of the user {quoted(user.name)} cannot look at {quoted(str(path))}.",
            hint="Another process of that user may stop it.",
        )
    return os.WEXITSTATUS(ended[1])
