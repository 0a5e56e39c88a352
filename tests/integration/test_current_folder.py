"""The current folder is data: no interpreter of pcapdj executes a file there, or beside the captures."""

import ast
import json
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from support import forkserver, in_turn
from support.canaries import BEFORE_OURS, MODULES, Canaries
from support.captures import Record, classic
from support.cases import some_long
from support.forkserver import ROOT, clean_environment
from support.service_rig import PROGRAMS, Service, environment
from support.waiting import LIMIT_S, scaled, wait_until

from pcapdj.analyzer.presets import PRESETS
from pcapdj.cli import MODULES as COMMANDS
from pcapdj.runtime.environment import foreign_environment, own_environment, program_path
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.interpreter import module_command
from pcapdj.service import configuration
from pcapdj.store.client import Store

SCRIPT: Final = (str(PROGRAMS / "pcapdj"),)
SAFE: Final = (sys.executable, "-P", "-m", "pcapdj")
TYPED: Final = (sys.executable, "-m", "pcapdj")
ROOM: Final = ("--min-free", "1MiB", "--resume-after", "0", "--suspend-free", "0", "--min-free-inodes", "0")
CAPTURES: Final = "../captures"
RUN: Final = ("run", f"{CAPTURES}/1.pcap", "--preset", "summary", "--logdir", "../results", *ROOM)
IN_TURN: Final[Mapping[str, Sequence[str]]] = {
    "run": RUN[1:],
    "cat": (f"{CAPTURES}/1.pcap",),
    "sample": ("../samples",),
    "check": (),
    "completion": ("bash",),
    "init": ("../service", "--preset", "summary"),
    **dict.fromkeys(("up", "down", "restart"), ()),
    "import": ("--watch", CAPTURES),
    "status": (),
    "events": (),
    "queue": (),
    "journal": (),
    "report": (f"{CAPTURES}/1.pcap",),
    "metrics": (),
    "whence": ("--at", "2020-01-01T00:00:00Z"),
    "reclaim": ("--dry-run", "--reclaim", "delete", "--root", CAPTURES),
    "limits": (),
    "gate": ("hold",),
    "suspend": (),
    "resume": (),
    "finish": (),
    "failed": (),
    "requeue": (f"{CAPTURES}/1.pcap",),
    "skip": (f"{CAPTURES}/1.pcap",),
    "forget": ("/no/dispatcher",),
    "dispatch": ("-b", "../pipe", "--follow"),
    "control": (),
    "consume": ("--socket", "../l.sock", "-b", "../own/pipe", "--logdir", "../out", "--preset", "summary"),
}


@pytest.fixture
def canaries(short_path: Path) -> Canaries:
    """Return canaries; none is planted yet. There is a capture, and a current folder."""
    for name in ("marks", "here", "captures", "own"):
        (short_path / name).mkdir(mode=0o700)
    (short_path / "captures" / "1.pcap").write_bytes(classic([Record()]))
    return Canaries(short_path / "marks")


@pytest.fixture
def here(canaries: Canaries, short_path: Path) -> Path:
    """Return a current folder; beside the captures there is one of everything."""
    canaries.plant(short_path / "captures", (*MODULES, *BEFORE_OURS), package=True, is_listed=True)
    return short_path / "here"


def variables(store: Store, **others: str) -> dict[str, str]:
    """Return an environment in which no folder has the package but this Python's own."""
    clean = environment(PCAPDJ_REDIS_URL=store.url, PCAPDJ_LANE=store.keys.lane, **others)
    return clean if "PYTHONPATH" in others else {name: clean[name] for name in clean if name != "PYTHONPATH"}


def succeed(command: Sequence[str], here: Path, env: Mapping[str, str]) -> None:
    """Run a command to its end in this folder."""
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, errors="replace", check=False)
    assert done.returncode in (ExitCode.OK, ExitCode.ERROR), done.stderr
    assert "Traceback" not in done.stderr


def run_in_turn(
    python: Sequence[str], names: Sequence[str], here: Path, env: Mapping[str, str]
) -> dict[str, int]:
    """Run these commands in one interpreter, each role until it works; return their exit codes."""
    codes = here.parent / "codes"
    commands = [[name, *IN_TURN[name]] for name in names]
    succeed([*python, str(codes), json.dumps(commands)], here, env)
    return dict(zip(names, json.loads(codes.read_text()), strict=True))


@pytest.mark.parametrize(
    "start", some_long([SCRIPT, SAFE], quick=[SCRIPT]), ids=["pcapdj", "python -P -m pcapdj"]
)
def test_the_command_executes_nothing_in_the_current_folder(
    start: Sequence[str], here: Path, canaries: Canaries, store: Store
) -> None:
    """No module of any name, no package `pcapdj`, no settings."""
    canaries.plant(here, (*MODULES, *BEFORE_OURS), package=True)

    succeed([*start, "status"], here, variables(store))

    assert canaries.found() == set()


@pytest.mark.long
def test_python_m_executes_nothing_once_the_package_is_loaded(
    here: Path, canaries: Canaries, store: Store
) -> None:
    """What Python itself imports before is beyond us; all that pcapdj imports is not."""
    canaries.plant(here)

    succeed([*TYPED, "status"], here, variables(store))

    assert canaries.found() == set()


@pytest.mark.long
@pytest.mark.parametrize("start", ["as the script", "as python -m"])
def test_no_command_imports_anything_of_the_current_folder(
    start: str, here: Path, canaries: Canaries, short_path: Path, store: Store
) -> None:
    """Whatever the command or role is, and the processes that it starts: the search path has no such folder.

    One interpreter runs all of them, since each module is searched for once. Its search path begins as that
    of the script, or with the current folder, as `python -m` and `python -c` have it.
    """
    if start == "as the script":
        python = [sys.executable, str(shutil.copy(in_turn.__file__, short_path / "own"))]
        canaries.plant(here, (*MODULES, *BEFORE_OURS), package=True)
    else:
        python = [sys.executable, "-c", Path(in_turn.__file__).read_text()]
        canaries.plant(here)

    codes = run_in_turn(python, list(IN_TURN), here, variables(store))

    refused = dict.fromkeys(("requeue", "skip", "forget", "whence", "journal"), ExitCode.ERROR)
    refused |= dict.fromkeys(("up", "down", "restart"), ExitCode.USAGE)  # there is no service here
    refused["reclaim"] = ExitCode.UNAVAILABLE  # no controller has reported a disk
    assert codes == dict.fromkeys(IN_TURN, ExitCode.OK) | refused
    assert canaries.found() == set()


def test_a_role_started_by_its_module_executes_nothing_in_the_current_folder(
    here: Path, canaries: Canaries, store: Store
) -> None:
    """`python -m pcapdj.dispatcher` is what the original's users type."""
    canaries.plant(here)
    command = [sys.executable, "-m", "pcapdj.dispatcher", *IN_TURN["dispatch"]]
    log = here.parent / "role.log"
    with log.open("wb") as stream:
        role = subprocess.Popen(command, cwd=here, env=variables(store), stdout=stream, stderr=stream)
    try:
        wait_until(lambda: handles_stops(role.pid) or role.poll() is not None, "the role to start")
    finally:
        role.send_signal(signal.SIGTERM)
        role.wait(scaled(LIMIT_S))

    assert role.returncode == ExitCode.OK, log.read_text()
    assert canaries.found() == set()


def handles_stops(pid: int) -> bool:
    """Report whether the process has a handler for SIGTERM: all of its modules are imported then."""
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigCgt" in each)
    return bool(int(line.split()[1], 16) & 1 << signal.SIGTERM - 1)


@pytest.mark.long
@pytest.mark.parametrize("element", ["", "."])
def test_the_current_folder_in_pythonpath_is_not_searched(
    element: str, here: Path, canaries: Canaries, short_path: Path, store: Store
) -> None:
    """`PYTHONPATH=$PYTHONPATH:/opt/lib`, with nothing in the variable before, is a common mistake."""
    canaries.plant(here, set(MODULES) - {"sitecustomize", "usercustomize"})
    python = [sys.executable, str(shutil.copy(in_turn.__file__, short_path / "own"))]
    env = variables(store, PYTHONPATH=f"{element}:/nowhere")

    codes = run_in_turn(python, ["status", "import"], here, env)

    assert set(codes.values()) == {ExitCode.OK}
    assert canaries.found() == set()


@pytest.mark.parametrize(
    "preset",
    [
        pytest.param(name, marks=() if name == "summary" else pytest.mark.long)
        for name in [*filter(lambda name: shutil.which(PRESETS[name][0]), PRESETS), "summary"]
    ],
)
def test_run_executes_nothing_in_the_current_folder_with_any_preset(
    preset: str, here: Path, canaries: Canaries, store: Store
) -> None:
    """Not even the analyzer, which starts elsewhere, as its Redis and its roles do."""
    canaries.plant(here)
    options = (CAPTURES, "--preset", preset, "--logdir", "results", *ROOM)

    done = forkserver.run("pcapdj", "run", *options, cwd=here, env=variables(store), forks=True)

    assert done.returncode in (ExitCode.OK, ExitCode.ERROR), done.stderr
    assert canaries.found() == set()


def test_each_program_of_a_service_is_started_without_its_folder() -> None:
    """All five; what they execute is looked at where they run."""
    text = configuration(interpreter=Path(sys.executable))

    assert text.count(" -P -m pcapdj.") == 5


@pytest.mark.long
@pytest.mark.parametrize("is_old", [False, True], ids=["of today", "of an older init"])
def test_a_service_executes_nothing_in_its_folder(
    is_old: bool,  # noqa: FBT001 - a parameter of the test
    canaries: Canaries,
    short_path: Path,
) -> None:
    """All five programs work in the folder of the layout; an older `pcapdj init` wrote them without -P."""
    (short_path / "service").mkdir()
    service = Service(short_path / "service")
    text = configuration(interpreter=Path(sys.executable))
    (service.folder / "supervisord.conf").write_text(text.replace(" -P -m ", " -m ") if is_old else text)
    names = MODULES if is_old else (*MODULES, *BEFORE_OURS)
    canaries.plant(service.folder, names, settings=False)
    canaries.plant(service.folder / "inbox", names, is_listed=True)
    shutil.copy(short_path / "captures" / "1.pcap", service.folder / "inbox")
    env = environment(
        PCAPDJ_PRESET="summary", **dict.fromkeys(("PCAPDJ_MIN_FREE", "PCAPDJ_RESUME_AFTER"), "1")
    )
    command = [str(PROGRAMS / "supervisord"), "-n", "-c", "supervisord.conf"]
    supervisord = subprocess.Popen(command, cwd=service.folder, env=env, stdout=subprocess.DEVNULL)
    try:
        wait_until(service.is_ready, "a dispatcher to register")
        service.await_processed(1)
    finally:
        supervisord.terminate()
        supervisord.wait(scaled(LIMIT_S))
        service.stop()

    assert canaries.found() == set()


def test_pythonpath_of_the_operator_stays_in_force(here: Path, store: Store) -> None:
    """Modules of a folder that the operator names are found, also in what a role starts."""
    (here / "named").mkdir()
    (here / "named" / "typing.py").write_text("raise SystemExit('the named folder was searched')\n")
    env = variables(store, PYTHONPATH=str(here / "named"))

    done = subprocess.run(
        module_command("pcapdj.summary", "pipe", "results"),
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == "the named folder was searched\n"


def test_every_command_is_tried() -> None:
    """A new one gets its line in the table above."""
    assert set(IN_TURN) == set(COMMANDS)


def bare_python(folder: Path) -> tuple[str, dict[str, str]]:
    """Return an interpreter that has all libraries and not pcapdj, and its environment."""
    libraries = folder / "libraries"
    libraries.mkdir()
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if "pcapdj" not in each.name and each.suffix != ".pth":
            (libraries / each.name).symlink_to(each)
    python = sys._base_executable  # type: ignore[attr-defined]  # noqa: SLF001 - without the libraries of the venv
    return str(python), clean_environment(PYTHONPATH=str(libraries))


@pytest.fixture
def checkout(canaries: Canaries, short_path: Path) -> Path:
    """Return a checkout that is not installed; a canary for each library lies at its top."""
    root = short_path / "checkout"
    root.mkdir()
    (root / "pcapdj").symlink_to(ROOT / "pcapdj")  # a copy would be compiled anew by each process
    shutil.copy(ROOT / "supervisord.conf", root)
    canaries.plant(root)
    return root


@pytest.mark.long
def test_a_checkout_that_is_not_installed_runs_from_its_top(
    checkout: Path, canaries: Canaries, short_path: Path
) -> None:
    """`python -m pcapdj run` there starts roles and analyzer, and executes nothing beside the package."""
    python, env = bare_python(short_path)
    missing = subprocess.run([python, "-P", "-c", "import pcapdj"], env=env, capture_output=True, check=False)
    assert missing.returncode

    options = ("../captures/1.pcap", "--preset", "summary", "--logdir", "../results", *ROOM)
    done = subprocess.run(
        [python, "-m", "pcapdj", "run", *options],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == ExitCode.OK, done.stderr
    assert list((short_path / "results").glob("*/flows.jsonl"))
    assert canaries.found() == set()


@pytest.mark.long
@pytest.mark.parametrize("options", [("-m",), ("-P", "-m")], ids=" ".join)
def test_a_folder_that_pythonpath_names_is_searched_also_as_the_current_folder(
    options: tuple[str, ...], checkout: Path, short_path: Path
) -> None:
    """The operator named it; only what Python adds by itself is removed."""
    python, env = bare_python(short_path)
    libraries = env["PYTHONPATH"]
    env["PYTHONPATH"] = f"{libraries}:{checkout}"
    for canary in checkout.glob("*.py"):
        canary.unlink()

    done = subprocess.run(
        [python, *options, "pcapdj", "status", "--redis-url", "unix:///nowhere"],
        cwd=libraries,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr


@pytest.mark.long
def test_the_command_of_a_checkout_runs_in_any_folder(
    checkout: Path, here: Path, canaries: Canaries, short_path: Path
) -> None:
    """By the path of its start file, without being installed."""
    canaries.plant(here, (*MODULES, *BEFORE_OURS), package=True)
    python, env = bare_python(short_path)
    command = [python, "-P", str(checkout / "pcapdj" / "__main__.py"), "sample", "samples"]

    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert len(list(here.glob("samples/*.pcap"))) == 5
    assert canaries.found() == set()


@pytest.mark.parametrize(
    "module",
    some_long(
        ["pcapdj.store.syncing", "pcapdj.summary", "pcapdj.capture.reading_process"],
        quick=("pcapdj.summary",),
    ),
)
def test_a_module_of_a_checkout_runs_wherever_a_role_works(
    module: str, checkout: Path, here: Path, canaries: Canaries, short_path: Path
) -> None:
    """Each module that pcapdj starts as a process is found without being installed, and only that package."""
    canaries.plant(here, (*MODULES, *BEFORE_OURS), package=True)
    python, env = bare_python(short_path)

    done = subprocess.run(
        [python, "-P", str(checkout / "pcapdj" / "__main__.py"), module],
        cwd=here,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "ModuleNotFoundError" not in done.stderr
    assert canaries.found() == set()


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (":/opt/lib", "/opt/lib"),
        ("/opt/lib:", "/opt/lib"),
        ("/a::/b", "/a:/b"),
        (".:/a:./", "/a"),
        (":", None),
        ("././/.", None),
    ],
)
def test_the_current_folder_is_left_out_of_paths(
    path: str, kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else that the operator wrote stays, for the analyzer too."""
    names = ("PYTHONPATH", "PATH", "LD_LIBRARY_PATH")
    for name in names:
        monkeypatch.setenv(name, path)

    for name in names:
        assert own_environment().get(name) == kept
        assert foreign_environment().get(name) == kept


def test_programs_and_libraries_are_searched_in_absolute_folders_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`bin` is a folder of the current one; modules of a checkout may be in its `lib`."""
    for name in ("PYTHONPATH", "PATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "bin:/a:../b")

    found = foreign_environment()

    assert (found["PATH"], found["LD_LIBRARY_PATH"], program_path()) == ("/a", "/a", "/a")
    assert found["PYTHONPATH"] == "bin:/a:../b"


NEEDED: Final = {"which": "path", "Popen": "env", "run": "env", "posix_spawn": "", "execve": ""}


def starts_of(path: Path) -> Iterator[ast.Call]:
    """Yield the calls of a module that look for a program or start one, with the system's libraries."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            library, _, name = function.rpartition(".")
            if (
                library in ("", "os", "shutil", "subprocess")
                and name in NEEDED
                and (library or name == "which")
            ):
                yield node
            assert not function.startswith(("os.execl", "os.execv(", "os.execvp", "os.system", "os.popen"))


@cache
def all_starts() -> list[tuple[str, ast.Call]]:
    """Return these calls of the whole package, each with its module's name."""
    return [(path.name, call) for path in (ROOT / "pcapdj").rglob("*.py") for call in starts_of(path)]


def test_each_start_of_a_program_has_an_environment_of_its_own() -> None:
    """Without one it inherits empty elements of PATH and PYTHONPATH, which mean the current folder."""
    assert len(all_starts()) > 10
    for name, call in all_starts():
        needed = NEEDED[ast.unparse(call.func).rpartition(".")[2]]
        given = {each.arg: ast.unparse(each.value) for each in call.keywords}
        assert not needed or needed in given, f"{name}, line {call.lineno}"
        assert "os.environ" not in ast.unparse(call), f"{name}, line {call.lineno}"


def started_without(argument: str) -> list[str]:
    """Return the modules that start a program without this argument, sorted, once for each start."""
    return sorted(
        name
        for name, call in all_starts()
        if NEEDED[ast.unparse(call.func).rpartition(".")[2]] == "env"
        and argument not in {each.arg for each in call.keywords}
    )


# our modules end by themselves
OUTLIVING: Final = ("supervised.py", "syncing.py")


def test_each_program_that_is_started_ends_with_who_started_it() -> None:
    """Also when that process is killed; supervisord is to stay."""
    assert started_without("preexec_fn") == sorted(OUTLIVING)


# the operator's own commands, whose arguments may be relative, and our modules, which get -P
STARTED_HERE: Final = ("between_process.py", "event_command.py", "syncing.py", "reclaim_process.py")


def test_each_program_of_others_gets_a_folder_to_work_in() -> None:
    """A program may load libraries or scripts from there: Debian 12's Suricata has a relative RUNPATH."""
    assert started_without("cwd") == sorted(STARTED_HERE)


def test_a_program_that_shows_its_version_does_not_work_in_the_current_folder(
    here: Path, short_path: Path, store: Store
) -> None:
    """`check` starts them all, and `run` a Suricata."""
    folders = short_path / "folders"
    for name in ("suricata", "zeek", "tshark", "redis-server"):
        (short_path / "own" / name).write_text(f"#!/bin/sh\n/bin/pwd >>{folders}\n")
        (short_path / "own" / name).chmod(0o755)
    env = variables(store) | {"PATH": str(short_path / "own")}

    forkserver.run("pcapdj", "check", cwd=here, env=env)

    assert set(folders.read_text().split()) == {"/"}


def test_no_program_of_the_current_folder_is_started(here: Path, canaries: Canaries, store: Store) -> None:
    """`PATH=$PATH:` is such a mistake, `.` a habit: no analyzer and no Redis of that folder is found."""
    (here / "bin").mkdir()
    for name in ("suricata", "zeek", "tshark", "redis-server", "valkey-server"):
        canaries.plant_program(here / name)
        canaries.plant_program(here / "bin" / name)
    env = variables(store) | {"PATH": ":.:bin:/nowhere"}

    for command in (
        ["check"],
        ["run", CAPTURES, "--preset", "suricata", "--logdir", "r"],
        ["init", "service"],
    ):
        forkserver.run("pcapdj", *command, cwd=here, env=env, forks=True)

    assert canaries.found() == set()
    assert "PCAPDJ_PRESET=summary" in (here / "service" / "pcapdj.env").read_text()
