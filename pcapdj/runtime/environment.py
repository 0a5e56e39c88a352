"""Which of our environment variables the programs that we start get.

An analyzer parses hostile bytes, and a reading process hangs in foreign file systems: neither needs
the address or password of Redis, the socket of supervisord, or any other secret that a variable has. They
cannot leak what they do not get.

A variable with a password is also removed from this process, once it was read: /proc/PID/environ shows the
memory that a process was started with, whatever `os.environ` has.

The current folder may be a folder of captures from anywhere. So PATH and LD_LIBRARY_PATH are used without
their relative elements (`.`, `bin`), and PYTHONPATH without those that name the current folder itself: `.`,
and an empty one, as `PYTHONPATH=$PYTHONPATH:/opt/lib` has it where the variable was not set before.
`PYTHONPATH=lib` stays: a checkout may have its libraries there.
"""

import ctypes
import os
import re
from contextlib import suppress
from typing import Final

from pcapdj.runtime.process import own_memory

# The working folder of a program that needs none. Debian 12's suricata has a relative RUNPATH: it loads
# libraries from a folder of its working folder, even for `suricata -V`.
ROOT_FOLDER: Final = "/"
_ENVIRONMENT: Final = 50  # env_start of proc_pid_stat(5)
_OURS: Final = "PCAPDJ_"
_PYTHONPATH: Final = "PYTHONPATH"
_SEARCHED: Final = (_PYTHONPATH, "PATH", "LD_LIBRARY_PATH")
# They may have passwords (PCAPDJ_REDIS_URL, REDISCLI_AUTH), or the way to Redis or supervisord.
_PRIVATE: Final = (
    *("PCAPDJ_REDIS", "REDIS", "VALKEY", "SUPERVISOR_"),
    *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "DBUS_SESSION_BUS_ADDRESS"),  # an analyzer could act as the user
)
# A word of the name says that the value is a secret.
_SECRET: Final = re.compile(r"(?i)passw|passphrase|secret|token|credential|_pwd$|(api|access|private)_?key")


def foreign_environment() -> dict[str, str]:
    """Return the environment for a program of others: an analyzer, a Redis server.

    A shell's variables may have logins for anything (AWS_SECRET_ACCESS_KEY, GITHUB_TOKEN), which only their
    names show.
    """
    found = operator_environment()
    return {name: text for name, text in found.items() if not _SECRET.search(name)}


def operator_environment() -> dict[str, str]:
    """Return the environment for a command that the operator wrote, such as that of `--on-event`."""
    return _without((_OURS, *_PRIVATE))


def own_environment() -> dict[str, str]:
    """Return the environment for a process of ours that needs no Redis: settings stay, the login does not."""
    return _without(_PRIVATE)


def whole_environment() -> dict[str, str]:
    """Return the environment for a process of ours that needs all of it: a role."""
    return _without(())


def program_path() -> str:
    """Return where programs are searched: the absolute folders of PATH, or the system's if it is not set."""
    return _trusted_elements("PATH", os.environ.get("PATH", os.defpath))


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
        if path := _trusted_elements(name, kept.pop(name, "")):
            kept[name] = path
    return kept


def _trusted_elements(name: str, path: str) -> str:
    is_trusted = _is_another_folder if name == _PYTHONPATH else os.path.isabs
    return os.pathsep.join(filter(is_trusted, path.split(os.pathsep)))


def _is_another_folder(path: str) -> bool:
    return os.path.normpath(path) != os.curdir
