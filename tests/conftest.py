"""The fixtures that tests of every kind use, and settings of the whole run; what is neither is in `support`.

Hypothesis has one profile. It has no deadline, since a busy machine is no fault of ours. Each property tries
15 examples, or as many as PCAPDJ_TEST_EXAMPLES names: the same ones each time in CI, so that a commit is
judged by what it changes; everywhere else new ones, which finds more. Slow tests come first in each worker's
part, so that none is left with one at the end.
"""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings
from support import forkserver
from support.cases import some_long
from support.loops import loops
from support.redis_library import keep_version
from support.redis_server import redis_at
from support.suricata import suricata
from support.waiting import FACTOR, is_met, scaled

from pcapdj.capture import compiled
from pcapdj.runtime import log
from pcapdj.runtime.signals import Signals, handled
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys

__all__ = ["suricata"]

LATE = b":PCAPDJ_EVENTS"  # its thread may write an event when its role, and the test, have ended
MARK = "PYTEST_SESSION_FOLDER"
LONG_WORDS = ("mark.long", "some_long", "both_forms", "suricata")  # each way in which a test gets the mark
QUICK_FORM = "compiled" if Path(compiled.LIBRARY).exists() else "python"
_LAST_ENDS_S = 2.0
SLOWEST_FIRST = ("e2e", "faults", "integration", "property", "unit")

settings.register_profile(
    "pcapdj",
    max_examples=int(os.environ.get("PCAPDJ_TEST_EXAMPLES", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize="CI" in os.environ,
)
settings.load_profile("pcapdj")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell ignores it for what it starts with &
    signal.signal(signal.SIGINT, signal.default_int_handler)
keep_version()
if os.geteuid() != 0:  # a command that runs in this process must not hide it: roles look for its descriptors
    os.environ["PCAPDJ_DEBUGGER"] = "1"
gc.disable()  # what is collected stays until the end: looking through it again and again takes a second


def pytest_configure(config: pytest.Config) -> None:
    """Import pcapdj once for the fork servers of all workers."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        forkserver.share()


def pytest_unconfigure() -> None:
    """End what was started for the workers."""
    forkserver.close()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the modules of which `-m long` selects no test: a third of what each worker imports."""
    if config.getoption("markexpr") != "long" or not collection_path.match("test_*.py"):
        return None
    return None if _may_be_long(collection_path) else True


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Fail `make test` if `make test-long` would leave out a module that has long tests."""
    paths = {item.path for item in items if item.get_closest_marker("long")}
    assert [path.name for path in paths if not _may_be_long(path)] == [], f"not named in {LONG_WORDS}"


def _may_be_long(path: Path) -> bool:
    text = path.read_text("utf-8")
    return any(word in text for word in LONG_WORDS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the slow tests first, and scale every test's limit as waits are scaled.

    pytest-xdist gives each worker one part of the list, all of one length, and then lets them take from
    another's end. The slow tests are dealt out one by one, the others by module, so that what the tests of a
    module share is made once. Unit tests come last: they make the parts equally long.
    """
    slow, quick, modules = list[pytest.Item](), list[pytest.Item](), dict[Path, list[pytest.Item]]()
    for item in sorted(items, key=_place):
        if item.get_closest_marker("slow"):
            slow.append(item)
        elif item.path.parent.name == SLOWEST_FIRST[-1]:
            quick.append(item)
        else:
            modules.setdefault(item.path, []).append(item)
    parts, count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), len(items)
    items.clear()
    for part in range(parts):
        items += slow[part::parts]
        items += [item for path in list(modules)[part::parts] for item in modules[path]]
        wanted = max(0, count * (part + 1) // parts - len(items))
        items += quick[:wanted]
        del quick[:wanted]
    items += quick
    for item in items if FACTOR != 1 else ():
        marker = item.get_closest_marker("timeout")
        limit_s = marker.args[0] if marker else float(config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(scaled(limit_s)), append=False)


def _place(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return SLOWEST_FIRST.index(folder) if folder in SLOWEST_FIRST else len(SLOWEST_FIRST)


def pytest_collection_finish() -> None:
    """Free garbage from here on, without looking at what collection has made."""
    gc.freeze()
    gc.enable()


def _marked(folder: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _is_marked(process, folder)]


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the session if its tests have left a process or a temporary folder."""
    tmp_path_factory.getbasetemp()  # which pytest removes itself
    before = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="t-")
    Path(folder).chmod(0o711)  # a test may become another user
    os.environ |= {"TMPDIR": folder, MARK: folder}
    tempfile.tempdir = folder

    yield

    os.environ["TMPDIR"] = tempfile.tempdir = before
    unfinished = forkserver.close()
    # what dies with a role that the last test has killed is gone a moment after it, and not at once
    is_met(lambda: not _marked(folder), _LAST_ENDS_S)
    running = _marked(folder)
    commands = [" ".join(process.cmdline()) for process in running]
    for process in running:
        process.kill()
    left = list(Path(folder).iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    assert (unfinished, commands, left) == ([], [], [])


def _is_marked(process: psutil.Process, folder: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(MARK) == folder
    except psutil.Error:  # gone meanwhile, or of another user
        return False


@pytest.fixture(autouse=True)
def log_lines_are_written_in_their_test() -> Iterator[None]:
    """Wait for the thread that writes the log: what one test logs must not be read by the next."""
    yield
    log.flush()


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Return this process's signals, as a role has them."""
    with handled() as signals:
        yield signals


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a private folder whose path leaves room for a unix socket's 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pcapdj-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    """Run a private redis-server on a unix socket for the session; each test uses a lane of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="pcapdj-redis-") as folder,
        redis_at(
            Path(folder) / "redis.sock",
            *("--appendonly", "yes", "--appendfsync", "no"),
            dies_with_caller=True,
        ) as server,
    ):
        yield server.socket
        keys: Any = server.client.scan_iter()
        left = [key for key in keys if not key.endswith(LATE)]
        assert left == [], "keys that a test left behind"


@pytest.fixture
def store(redis_socket: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return a store in a lane of its own, whose keys are removed afterwards."""
    lane = f"{os.getpid()}-{abs(hash(request.node.nodeid))}"
    with_lane = Store(f"unix://{redis_socket}", Keys(lane), timeout_s=scaled(10))
    yield with_lane
    for key in with_lane.redis.scan_iter(match=f"{with_lane.keys.prefix}*"):
        with_lane.redis.delete(key)
    with_lane.close()


@pytest.fixture(params=some_long(["python", "compiled"], quick=(QUICK_FORM,)), scope="module")
def both_forms(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module's tests with each form of the loops over records; that of this machine is the quick one.

    `test_compiled_loops_properties.py` shows that both do the same.
    """
    with loops(request.param):
        yield
