"""An analyzer has no key of who started it: a session keyring stays with a process that changes its user."""

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from support.programs import missing
from support.waiting import wait_until

from pcapdj.analyzer.process import Analyzer
from pcapdj.analyzer.user import AnalyzerUser, find_user
from pcapdj.runtime.process import KEYCTL
from pcapdj.runtime.process_tree import ProcessTree

ADD_KEY: Final = {"x86_64": 248}.get(os.uname().machine, 217)
SESSION: Final = ctypes.c_long(-3)
PYTHON: Final = Path("/usr/bin/python3")
JOIN, SEARCH, READ = 1, 10, 11
SECRET: Final = b"topsecret"
SCRIPT: Final = f"""
import ctypes, sys
call = ctypes.CDLL(None).syscall
key = call({KEYCTL}, {SEARCH}, ctypes.c_long(-3), b"user", b"pcapdj:test", 0)
text = ctypes.create_string_buffer(64)
print("found", call({KEYCTL}, {READ}, key, text, 64), text.value.decode())
"""


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a child, whose keyring ends with it; return its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("name", ["", "nobody"])
def test_an_analyzer_reads_no_key_of_the_session(name: str, short_path: Path) -> None:
    """As this user and as another one; the same program, started in another way, finds the key."""
    if name and os.geteuid() != 0:
        pytest.skip("only root can start a program as another user")
    if not PYTHON.exists():  # that of this process may be in a folder of root
        missing(f"{PYTHON} is not there")
    short_path.chmod(0o755)
    user: AnalyzerUser | None = find_user(name) if name else None
    call = ctypes.CDLL(None).syscall
    has_keys = call(KEYCTL, 0, SESSION, 0) >= 0  # a container may forbid keyctl(2) for all

    def work() -> None:
        call(KEYCTL, JOIN, None)
        call(ADD_KEY, b"user", b"pcapdj:test", SECRET, len(SECRET), SESSION)
        command = [str(PYTHON), "-c", SCRIPT]
        with (short_path / "directly").open("w") as file:
            subprocess.run(command, stdout=file, check=True)
        analyzer = Analyzer(command, short_path, dict(os.environ), ProcessTree(), user=user)
        wait_until(lambda: analyzer.exit_status() is not None, "its end")

    assert in_child(work) == 0
    assert (short_path / "directly").read_text().strip() == ("found 9 topsecret" if has_keys else "found -1")
    assert (short_path / "analyzer.log").read_text().strip() == "found -1"
