"""Programs of others cannot reach the terminal of who started a role: they would show texts there, or type.

What is typed (TIOCSTI) is read by the shell when the role has ended, as the user of that shell: root, where
the analyzer has a user of its own.
"""

import os
import pty
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from support.waiting import wait_until

from pcapdj.analyzer.process import Analyzer
from pcapdj.disk.between_process import BetweenCommand, BetweenProcess

PROBE: Final = ["/bin/sh", "-c", "true </dev/tty && touch opened; touch ended"]
ENVIRONMENT: Final = {"PATH": os.defpath}


def run_analyzer(folder: Path) -> None:
    """Run the probe as an analyzer."""
    analyzer = Analyzer(PROBE, folder, ENVIRONMENT)
    wait_until(lambda: analyzer.exit_status() is not None, "the analyzer's end")


def run_between(folder: Path) -> None:
    """Run the probe as the command before a file; it works in the folder of the controller."""
    os.chdir(folder)
    with closing(BetweenProcess(BetweenCommand(PROBE, 60.0, ENVIRONMENT))) as process:
        process.start({})
        wait_until(lambda: any("exit" in each for each in process.read()), "the command's end")


def run_child(folder: Path) -> None:
    """Run the probe as any child: it has the terminal."""
    subprocess.run(PROBE, cwd=folder, env=ENVIRONMENT, check=True)


@pytest.mark.parametrize(
    ("run", "found"),
    [(run_analyzer, {"ended"}), (run_between, {"ended"}), (run_child, {"ended", "opened"})],
    ids=["analyzer", "between", "child"],
)
def test_it_has_no_terminal(tmp_path: Path, run: Callable[[Path], None], found: set[str]) -> None:
    """The process that starts it has one."""
    child, terminal = pty.fork()
    if not child:
        try:
            run(tmp_path)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(terminal)

    assert {each.name for each in tmp_path.iterdir()} - {"analyzer.log"} == found
