"""Which of our environment variables the programs that we start get.

An analyzer parses hostile bytes, and a reading process hangs in foreign file systems: neither needs
the address or password of Redis, or the socket of supervisord. They cannot leak what they do not get.

A variable with a password is also removed from this process, once it was read: /proc/PID/environ shows the
memory that a process was started with, whatever `os.environ` has.

PYTHONPATH, PATH and LD_LIBRARY_PATH are used without their empty elements. `PYTHONPATH=$PYTHONPATH:/opt/lib`
has one where the variable was not set before. It means the current folder, which may be a folder of captures
from anywhere.
"""

import ctypes
import os
from contextlib import suppress
from typing import Final

from pcapdj.runtime.process import own_memory

_ENVIRONMENT: Final = 50  # env_start of proc_pid_stat(5)
_OURS: Final = "PCAPDJ_"
_SEARCHED: Final = ("PYTHONPATH", "PATH", "LD_LIBRARY_PATH")
# They may have passwords (PCAPDJ_REDIS_URL, REDISCLI_AUTH), or the way to Redis or supervisord.
_PRIVATE: Final = (
    *("PCAPDJ_REDIS", "REDIS", "VALKEY", "SUPERVISOR_"),
    *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "DBUS_SESSION_BUS_ADDRESS"),  # an analyzer could act as the user
)


def foreign_environment() -> dict[str, str]:
    """Return the environment for a program of others: an analyzer, a Redis server."""
    return _without((_OURS, *_PRIVATE))


def own_environment() -> dict[str, str]:
    """Return the environment for a process of ours that needs no Redis: settings stay, the login does not."""
    return _without(_PRIVATE)


def whole_environment() -> dict[str, str]:
    """Return the environment for a process of ours that needs all of it: a role."""
    return _without(())


def program_path() -> str:
    """Return where programs are searched: the folders of PATH, or the system's if it is not set."""
    return _without_current_folder(os.environ.get("PATH", os.defpath))


def forget(name: str) -> None:
    """Remove a variable from the environment, and overwrite its value where the process got it.

    Source: proc_pid_environ(5); proc_pid_stat(5), env_start and env_end.
    """
    if os.environ.pop(name, None) is None:
        return
    # not /proc/self/environ: it is closed to a process that only root may look into
    if not (memory := own_memory(_ENVIRONMENT)):  # then it is gone for new processes only
        return
    start, end = memory
    block, wanted = b"\0" + ctypes.string_at(start, end - start), b"\0" + os.fsencode(name) + b"="
    with suppress(ValueError):  # it was set later
        place = block.index(wanted) + len(wanted) - 1
        ctypes.memset(start + place, 0, block.index(b"\0", place + 1) - place - 1)


def _without(prefixes: tuple[str, ...]) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(prefixes)}
    for name in _SEARCHED:
        if path := _without_current_folder(kept.pop(name, "")):
            kept[name] = path
    return kept


def _without_current_folder(path: str) -> str:
    return os.pathsep.join(filter(None, path.split(os.pathsep)))
