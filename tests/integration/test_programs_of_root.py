"""Commands and analyzers of an ordinary user that run as root behind a set-uid program, as with sudo.

The user may not signal them, not even as zombies: their end, in order or late, ends no process of ours.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from support.programs import missing, require_program
from support.waiting import wait_until

from pcapdj.analyzer.process import Analyzer
from pcapdj.analyzer.restarts import RestartPolicy
from pcapdj.analyzer.session import AnalyzerSession, Timeouts
from pcapdj.analyzer.status import LauncherStatus, StatusPublisher
from pcapdj.console.status_lines import snapshot_lines
from pcapdj.disk.between_process import BetweenCommand, BetweenProcess
from pcapdj.runtime.fifo import Fifo
from pcapdj.runtime.process_tree import ProcessTree
from pcapdj.store import event_command
from pcapdj.store.client import Store
from pcapdj.store.event_command import EventCommand
from pcapdj.store.events import Event
from pcapdj.store.keys import Keys

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a set-uid program of root")

NOBODY: Final = 65534
ENVIRONMENT: Final = {"PATH": os.defpath}


@pytest.fixture
def folder(short_path: Path) -> Path:
    """Return a folder of nobody."""
    os.chown(short_path, NOBODY, NOBODY)
    return short_path


@pytest.fixture
def as_root(short_path: Path) -> Iterator[list[str]]:
    """Return the words before a shell script that runs as root, as `sudo sh -c`."""
    if os.statvfs(short_path).f_flag & os.ST_NOSUID:
        missing("the folder for temporary files is mounted with nosuid")
    short_path.chmod(0o755)
    program = short_path / "setpriv"
    shutil.copy(require_program("setpriv"), program)
    program.chmod(0o4755)
    yield [str(program), "--reuid", "0", "--regid", "0", "--clear-groups", "/bin/sh", "-c"]
    (short_path / "enough").touch()
    wait_until(lambda: not commands_with(f"{short_path}/"), "the ends of all that was started")


def commands_with(word: str) -> list[list[str]]:
    """Return the command lines of running processes that have the word in one of their arguments."""
    commands = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    return [each for each in commands if any(word in argument for argument in each)]


def until_enough(folder: Path) -> str:
    """Return a script that runs until the test's end at the latest; first it makes the file `started`."""
    return f"touch {folder}/started; until [ -e {folder}/enough ]; do sleep 0.01; done"


def as_nobody(work: Callable[[], object]) -> Any:
    """Return the result of the work in a child of another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as result:
        text = result.read()
    os.waitpid(child, 0)
    assert text, "the work has failed"
    return json.loads(text)


def test_a_command_before_each_file_ends_in_order(as_root: list[str]) -> None:
    """Each run is reported, and the next one follows."""

    def work() -> object:
        with closing(
            BetweenProcess(BetweenCommand([*as_root, "id -u; exit 3"], 60.0, ENVIRONMENT))
        ) as process:
            return [run(process) for _ in range(2)]

    assert [(each[0]["line"], each[-1]["exit"]) for each in as_nobody(work)] == [("0", "exited 3")] * 2


def test_a_command_that_cannot_be_killed_after_its_time_out_is_awaited(
    as_root: list[str], folder: Path
) -> None:
    """Its log says so, and no second one runs beside it."""

    def work() -> object:
        command = BetweenCommand([*as_root, until_enough(folder)], 1.0, ENVIRONMENT)
        with closing(BetweenProcess(command)) as process:
            return run(process, (folder / "enough").touch)

    line, end = as_nobody(work)

    assert line["line"].startswith("It runs as another user, and cannot be killed")
    assert end["exit"] == "ran longer than 1 s"


def run(process: BetweenProcess, at_line: Callable[[], object] = list) -> list[dict[str, Any]]:
    """Run the command once; return all messages, the one about its end last."""
    found: list[dict[str, Any]] = []

    def read() -> bool:
        for each in process.read():
            found.append(each)
            if "line" in each:
                at_line()
        return bool(found) and "exit" in found[-1]

    process.start({})
    wait_until(read, "the end of the command")
    return found


def test_a_command_for_events_that_cannot_be_killed_keeps_the_next_one_from_nothing(
    as_root: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one runs too long, the second one is run beside it."""
    monkeypatch.setattr(event_command, "LIMIT_S", 1.0)
    script = (
        f'echo "$PCAPDJ_EVENT_KIND" >>{folder}/ran; [ $PCAPDJ_EVENT_KIND = poison ] || {until_enough(folder)}'
    )
    ran = folder / "ran"

    store = Store(f"unix://{folder}/no-redis", Keys("x"))  # here: its imports may be closed to nobody

    def work() -> object:
        with closing(EventCommand([*as_root, script], store, reads_others=False)) as command:
            for kind in ("gate", "poison"):
                command.offer(Event(kind, "A sentence.", "controller", time.time(), {}))
            wait_until(lambda: ran.exists() and len(ran.read_text().splitlines()) > 1, "the second command")
        return ran.read_text().split()

    assert as_nobody(work) == ["gate", "poison"]


def test_an_analyzer_ends_in_order(as_root: list[str], folder: Path) -> None:
    """Its exit status is that of any other; while it runs, no signal to it is an error."""

    def work() -> object:
        analyzer = Analyzer([*as_root, f"{until_enough(folder)}; exit 3"], folder, ENVIRONMENT, ProcessTree())
        wait_until((folder / "started").exists, "its start as root")
        was_signalled = analyzer.signal_group(9)
        analyzer.signal(1)
        (folder / "enough").touch()
        wait_until(lambda: analyzer.exit_status() is not None, "its end")
        return was_signalled, analyzer.exit_status()

    assert as_nobody(work) == [False, "exited 3"]


def test_an_analyzer_that_cannot_be_killed_is_on_the_screen(as_root: list[str], folder: Path) -> None:
    """The launcher waits for its end, and `status` says who can end it."""

    def work() -> object:
        analyzer = Analyzer([*as_root, until_enough(folder)], folder, ENVIRONMENT, ProcessTree())
        wait_until((folder / "started").exists, "its start as root")
        fifo, timeouts = Fifo(folder / "pipe"), Timeouts(60.0)
        session = AnalyzerSession("5ca1ab1e", fifo, analyzer, folder=folder, timeouts=timeouts, now_s=0.0)
        session.kill("it had closed the pipe")
        return session.not_killed

    reason = as_nobody(work)
    lines = snapshot_lines({"consumer": {"state": "reading", "reason": reason}}, [], now_s=time.time())

    sentence = "It is to end: it had closed the pipe. But it runs as another user: end it as root."
    assert any(line.text == f"reading: {sentence}" for line in lines)


def test_the_launcher_publishes_that_its_analyzer_cannot_be_killed(store: Store, short_path: Path) -> None:
    """As the reason of its state."""
    publisher = StatusPublisher(store, short_path / "kept")
    analyzer = Analyzer(["/bin/sh", "-c", "exit 0"], short_path, ENVIRONMENT, None)
    session = AnalyzerSession(
        "5ca1ab1e", Fifo(short_path / "pipe"), analyzer, folder=short_path, timeouts=Timeouts(60.0), now_s=0.0
    )
    session.not_killed = "It is to end."
    wait_until(lambda: analyzer.exit_status() is not None, "its end")

    LauncherStatus(publisher, "sh", short_path).publish(session, RestartPolicy(1.0))
    publisher.close()

    assert store.redis.hget(store.keys.consumer, "reason") == b"It is to end."
