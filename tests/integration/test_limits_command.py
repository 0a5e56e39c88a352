"""`pcapdj limits` and a running controller: what the controller refuses, the command refuses."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from support.forkserver import DEVNULL, start
from support.waiting import scaled, wait_until

from pcapdj.commands import limits
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store

Run = Callable[..., tuple[int, str]]
Show = Callable[[], dict[str, str]]


@pytest.fixture
def run(store: Store, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a runner of the command in the test's lane: exit code, stderr."""

    def run_command(*arguments: str) -> tuple[int, str]:
        options = ["--redis-url", store.url, "--lane", store.keys.lane]
        return exit_code_of(limits.app, "pcapdj limits", [*options, *arguments]), capsys.readouterr().err

    return run_command


SCREEN = """\
Gate  open: There is room.

/out  open, 37.0 GiB of 70.0 GiB free
  [############################.......................O..H..S..]
  O open from 10.0 GiB free, H hold below 7.0 GiB, S suspended below 3.0 GiB

min-free              10%               flag
resume-free           1.5 x min-free    derived
resume-after          5s                live, instead of 30s (default)
suspend-free          0.5 x min-free    derived
min-free-inodes       7%                live
min-available-memory  unknown: no controller is running
reserve               auto
force                 yes
                      learned from 1,234 files: the output is 0.25 x the size of a file
"""


@pytest.fixture
def _controller(store: Store, tmp_path: Path) -> Iterator[None]:
    """Run a controller with a min-free of 5 % until the test is over."""
    options = ["--watch", str(tmp_path), "--min-free", "5%"]
    lane = ["--redis-url", store.url, "--lane", store.keys.lane]
    with start("pcapdj.controller", *options, *lane, stderr=DEVNULL) as process:
        wait_until(lambda: store.redis.hexists(store.keys.gate, "heartbeat_s"), "its first heartbeat")
        yield
        process.terminate()


@pytest.fixture
def show(store: Store, capsys: pytest.CaptureFixture[str]) -> Show:
    """Return what the command prints, by the limits' names."""

    def show_limits() -> dict[str, str]:
        options = ["--redis-url", store.url, "--lane", store.keys.lane]
        assert exit_code_of(limits.app, "pcapdj limits", options) == ExitCode.OK
        lines = [line.partition(" ") for line in capsys.readouterr().out.splitlines()]
        return {name: text.strip() for name, _, text in lines}

    return show_limits


@pytest.mark.usefixtures("_controller")
def test_the_limits_in_force_are_shown(run: Run, show: Show, store: Store) -> None:
    """Also those of the controller's options and defaults, with their values."""
    run("set", "resume-after=5s")
    store.redis.hset(store.keys.control, "min-free", "nonsense")
    wait_until(lambda: store.redis.hget(store.keys.gate, "refused"), "the controller to refuse it")

    shown = show()

    words = {name: text.split(maxsplit=1) for name, text in shown.items() if name}
    assert words["min-free"] == ["5%", "flag; live nonsense is refused"]
    assert shown["resume-free"] == "1.5 x min-free    derived"
    assert words["resume-after"] == ["5s", "live, instead of 30s (default)"]
    assert words["min-free-inodes"] == ["5%", "default"]
    assert words["Gate"][0] == "open"


def test_the_whole_screen(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The gate, each disk, each limit with where it comes from, and what the reserve has learned."""
    disk = {"name": "/out", "unit": "bytes", "free": 37 << 30, "total": 70 << 30, "suspend_below": 3 << 30}
    disk |= {"hold_below": 7 << 30, "open_from": 10 << 30, "state": "open", "failure": "", "fills_per_s": 0}
    in_force = {
        "min-free": "10%",
        "resume-free": "",
        "resume-after": "5s",
        "suspend-free": "",
        "reserve": "auto",
    }
    texts = {
        "limits": in_force,
        "options": {"resume-after": "30s"},
        "sources": {"min-free": "flag", "resume-after": "default"},
    }
    reserve = {"factor": 0.25, "learned_from_files": 1234}
    fields = {
        name: json.dumps(value) for name, value in {**texts, "disks": [disk], "reserve": reserve}.items()
    }
    fields |= {"heartbeat_s": f"{time.time():.3f}", "state": "open", "reason": "There is room."}
    store.redis.hset(store.keys.gate, mapping=dict[Any, Any](fields))
    live = {"resume-after": "5s", "min-free-inodes": "7%", "force": "yes"}
    store.redis.hset(store.keys.control, mapping=dict[Any, Any](live))

    assert exit_code_of(limits.app, "x", ["--redis-url", store.url, "--lane", store.keys.lane]) == ExitCode.OK

    assert capsys.readouterr().out == SCREEN


def test_the_last_day_of_each_disk_is_shown(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The least that was free, when, and a trend in ASCII without a terminal; without samples no line."""
    limits_of_disk = dict.fromkeys(("total", "suspend_below", "hold_below", "open_from", "fills_per_s"), 0)
    texts = {"unit": "bytes", "state": "open", "failure": ""}
    disks = [{"name": name, "free": 9 << 20, **texts, **limits_of_disk} for name in ("out", "new")]
    store.redis.hset(
        store.keys.gate, mapping={"state": "open", "heartbeat_s": time.time(), "disks": json.dumps(disks)}
    )
    for age_s, free in ((7200, 8 << 20), (3600, 2 << 20), (1, 9 << 20)):
        number = f"{int((time.time() - age_s) * 1000)}-0"
        store.redis.xadd(store.keys.samples, {"out": free, "other": 1}, id=number)

    assert exit_code_of(limits.app, "x", ["--redis-url", store.url, "--lane", store.keys.lane]) == ExitCode.OK

    lines = capsys.readouterr().out.splitlines()
    at = lines.index("out  open, 9.0 MiB free")
    assert re.fullmatch(r"  least since \S+Z: 2\.0 MiB free at \S+Z", lines[at + 2])
    assert lines[at + 3].endswith("# . @]")
    assert lines[at + 4] == "  the least in each half hour, 2.0 MiB to 9.0 MiB"
    assert lines[at + 5 : at + 7] == ["new  open, 9.0 MiB free", "  without limits"]


@pytest.mark.parametrize("heartbeat", [1.5, "yesterday"])
def test_limits_of_a_controller_that_is_gone_are_not_shown(
    show: Show, store: Store, heartbeat: float | str
) -> None:
    """The next one may be started with others; a heartbeat of another program may be no number."""
    store.redis.hset(store.keys.gate, mapping={"heartbeat_s": heartbeat, "limits": '{"min-free": "5%"}'})

    assert show()["min-free"] == "unknown: no controller is running"


@pytest.mark.parametrize("limits_json", ["{", "[1]"])
def test_limits_that_are_not_json_are_not_shown(show: Show, store: Store, limits_json: str) -> None:
    """Another program may have written the field."""
    store.redis.hset(store.keys.gate, mapping={"heartbeat_s": time.time(), "limits": limits_json})

    assert show()["min-free"] == "unknown: no controller is running"


@pytest.mark.parametrize(
    ("learned", "text"),
    [
        ((1234, 0.25), "learned from 1,234 files: the output is 0.25 x the size of a file"),
        ((0, None), "nothing is learned yet: files are authorized without a reserve"),
        ((0, 0.5), ""),
    ],
)
def test_what_the_reserve_has_learned_is_shown(
    show: Show, store: Store, learned: tuple[int, float | None], text: str
) -> None:
    """From how many files, and how much output they made; a factor of the options is not learned."""
    reserve = json.dumps({"learned_from_files": learned[0], "factor": learned[1]})
    store.redis.hset(store.keys.gate, mapping={"heartbeat_s": time.time(), "reserve": reserve})

    assert show().get("", "") == text


@pytest.mark.usefixtures("_controller")
def test_a_limit_that_fits_the_controllers_options_is_taken(run: Run, store: Store) -> None:
    """8 % is below the default min-free, and above that of this controller."""
    assert run("set", "resume-free=8%") == (ExitCode.OK, "")

    assert store.redis.hget(store.keys.gate, "refused") == b""
    assert store.redis.hget(store.keys.gate, "live") == b'{"resume-free": "8%"}'


@pytest.mark.usefixtures("_controller")
def test_the_command_waits_for_the_answer_no_longer_than_it_takes(run: Run) -> None:
    """The controller answers within milliseconds. The median of three counts."""
    times_s = []
    for number in range(3):
        begun_s = time.monotonic()
        assert run("set", f"resume-after={number}s") == (ExitCode.OK, "")
        times_s.append(time.monotonic() - begun_s)

    assert median(times_s) < scaled(1.0)


@pytest.mark.usefixtures("_controller")
def test_a_limit_that_the_controller_refuses_is_put_back(run: Run, store: Store) -> None:
    """Its sentence, exit 2, and the live limits as they were before."""
    run("set", "resume-free=8%", "resume-after=5s")

    assert run("set", "resume-free=4%") == (
        ExitCode.USAGE,
        "pcapdj limits: min-free (5%) must be below resume-free (4%). The limits stay as they were.\n",
    )
    assert store.redis.hgetall(store.keys.control) == {b"resume-free": b"8%", b"resume-after": b"5s"}
    wait_until(lambda: store.redis.hget(store.keys.gate, "refused") == b"", "the refusal to go")


@pytest.mark.usefixtures("_controller")
def test_a_removal_that_the_controller_refuses_is_undone(run: Run, store: Store) -> None:
    """What is left would be out of order with its options."""
    assert run("set", "min-free=3%", "resume-free=4%")[0] == ExitCode.OK

    assert run("unset", "min-free")[0] == ExitCode.USAGE

    assert store.redis.hget(store.keys.control, "min-free") == b"3%"


@pytest.mark.usefixtures("_controller")
def test_the_operators_force_is_enough(run: Run, store: Store) -> None:
    """The controller was started without."""
    assert run("set", "min-free=60%", "--force") == (ExitCode.OK, "")

    assert store.redis.hget(store.keys.gate, "refused") == b""


@pytest.mark.usefixtures("_controller")
def test_a_force_that_is_needed_is_not_taken_away(run: Run, store: Store) -> None:
    """Its min-free would be refused without."""
    run("set", "min-free=60%", "--force")

    assert run("unset", "force")[0] == ExitCode.USAGE
    assert store.redis.hget(store.keys.control, "force") == b"yes"

    assert run("unset", "force", "min-free")[0] == ExitCode.OK
    assert not store.redis.exists(store.keys.control)


@pytest.mark.usefixtures("_controller")
def test_a_change_is_shown_before_it_is_made(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On each disk, with what the gate would do; --dry-run stops there."""
    lane = ["--redis-url", store.url, "--lane", store.keys.lane]
    words = [*lane, "set", "min-free=40%", "--dry-run"]

    assert exit_code_of(limits.app, "pcapdj limits", words) == ExitCode.OK
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "min-free  5% -> 40%"
    assert re.fullmatch(
        rf"{tmp_path}  hold below (\S+ \S+) -> \S+ \S+, open from .* -> .*, suspended below .* -> .*", second
    )
    assert not store.redis.exists(store.keys.control)

    assert run("set", "min-free=5%", "--dry-run") == (ExitCode.OK, "")
    assert run("set", "resume-free=4%", "--dry-run") == (
        ExitCode.USAGE,
        "pcapdj limits: min-free (5%) must be below resume-free (4%).\n",
    )
    assert run("show", "--dry-run")[0] == ExitCode.USAGE
    assert exit_code_of(limits.app, "pcapdj limits", [*lane, "set", "min-free=6%"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("min-free  5% -> 6%\n")


def test_without_a_controller_a_change_cannot_be_shown(run: Run, store: Store) -> None:
    """Which disks it is about is not known."""
    code, sentence = run("set", "min-free=6%", "--dry-run")

    assert code == ExitCode.USAGE
    assert sentence.startswith("pcapdj limits: No controller is running: ")
    assert not store.redis.exists(store.keys.control)


def test_without_a_controller_the_limit_is_left_for_the_next_one(run: Run, store: Store) -> None:
    """The command prints that."""
    assert run("set", "resume-free=4%") == (
        ExitCode.OK,
        "No controller is running; the next one applies this if it fits its options.\n",
    )
    assert store.redis.hget(store.keys.control, "resume-free") == b"4%"


def test_a_controller_that_hangs_is_not_waited_for_for_long(run: Run, store: Store) -> None:
    """Its last heartbeat is fresh, its answer never comes; what was written stays."""
    store.redis.hset(store.keys.gate, mapping={"heartbeat_s": time.time(), "live": "{}", "refused": ""})

    assert run("set", "min-free=8%") == (
        ExitCode.OK,
        "The controller has not answered yet: see 'pcapdj status'.\n",
    )
    assert store.redis.hget(store.keys.control, "min-free") == b"8%"
