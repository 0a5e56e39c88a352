"""How every command ends: with its exit code, and one sentence instead of a traceback."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from support.programs import require_program
from support.roles_rig import children_of
from support.rows import each_row
from support.waiting import wait_until

from pcapdj.runtime.command import exit_code_of, lines_of, new_app, run_command
from pcapdj.runtime.errors import (
    AlreadyRunning,
    CannotCreate,
    CaptureError,
    ConfigError,
    ExitCode,
    LauncherGone,
    PcapdjError,
    Stopped,
    StoreDenied,
    StoreUnavailable,
)
from pcapdj.runtime.interpreter import pcapdj_command


def app_that(action: object) -> typer.Typer:
    """Return an app whose command raises the action, or returns it."""
    app = new_app()

    @app.command()
    def command(size: Annotated[int, typer.Option("-s", "--size")] = 0) -> object:
        """Do it."""
        del size
        if isinstance(action, BaseException):
            raise action
        return action

    return app


ERRORS = [
    (ConfigError("No such size.", hint="Write bytes."), 2),
    (StoreUnavailable("Redis does not answer."), 69),
    (CannotCreate("No pipe."), 73),
    (AlreadyRunning("Another one."), 75),
    (StoreDenied("Wrong password."), 77),
    (CaptureError("is empty", offset=7), 1),
    (LauncherGone("It is gone."), 1),
]


def test_a_file_that_looks_like_an_option_gets_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell's `*` expands to it, and the message about an unknown option would not explain that."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-dash.pcap").touch()

    with_file = exit_code_of(app_that(None), "pcapdj it", ["-dash.pcap"])
    without = exit_code_of(app_that(None), "pcapdj it", ["-other.pcap"])

    first, second = capsys.readouterr().err.splitlines()
    assert (with_file, without) == (2, 2)
    assert first.endswith("For the file of that name write './-dash.pcap'.")
    assert second.endswith("See 'pcapdj it --help'.")


@pytest.mark.parametrize(
    ("arguments", "variable", "refusal"),
    [
        (["--port", "x"], "0", "Invalid value for '--port': 'x' is not a whole number."),
        (["--port", "70000"], "0", "Invalid value for '--port': '70000' is above 65535."),
        (["--port", "-1"], "0", "Invalid value for '--port': '-1' is below 0."),
        ([], "maybe", "Invalid value for '--force' (env var: 'IT'): 'maybe' is neither 1 (yes) nor 0 (no)."),
    ],
)
def test_a_refused_number_or_switch_is_shown_with_what_it_is_not(
    arguments: list[str],
    variable: str,
    refusal: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The sentence has the value, and no word of the library that checks the options."""
    app = new_app()

    @app.command()
    def command(
        *,
        port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 0,
        force: Annotated[bool, typer.Option("--force", envvar="IT")] = False,
    ) -> None:
        """Do it."""
        del port, force

    monkeypatch.setenv("IT", variable)

    assert exit_code_of(app, "pcapdj it", arguments) == ExitCode.USAGE
    assert capsys.readouterr().err == f"pcapdj it: {refusal} See 'pcapdj it --help'.\n"


def test_a_refused_choice_is_named_with_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence has no word of the library that checks the options."""
    app = new_app()

    @app.command()
    def command(order: Annotated[Literal["name", "time"], typer.Option("--order")] = "name") -> None:
        """Do it."""
        del order

    assert exit_code_of(app, "pcapdj it", ["--order", "x"]) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        "pcapdj it: Invalid value for '--order': 'x' is not one of 'name', 'time'. See 'pcapdj it --help'.\n"
    )


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_each_of_our_errors_is_one_sentence_and_its_exit_code(
    error: PcapdjError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the hint, without a traceback, on stderr."""
    assert exit_code_of(app_that(error), "pcapdj it", []) == code

    out, err = capsys.readouterr()
    assert (out, err) == ("", f"pcapdj it: {error}\n")


@pytest.mark.parametrize(
    "arguments", [["--unknown"], ["-s", "many"], ["--size"], ["unexpected"], ["--size\nforged"]]
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the command that prints the help."""
    assert exit_code_of(app_that(None), "pcapdj it", arguments) == ExitCode.USAGE

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("pcapdj it: ")
    assert line.endswith("See 'pcapdj it --help'.")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_not_an_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`-h` as in the original."""
    assert exit_code_of(app_that(None), "pcapdj it", [option]) == ExitCode.OK

    assert "--size" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (None, 0),
        (ExitCode.HOLD, 3),
        (Stopped("A stop signal."), 0),
        (KeyboardInterrupt(), 130),
        (typer.Exit(5), 5),
    ],
    ids=repr,
)
def test_a_command_that_succeeds_or_is_stopped_prints_nothing(
    action: object, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stop signal is not an error; Ctrl-C ends with 130."""
    assert exit_code_of(app_that(action), "pcapdj it", []) == code

    assert capsys.readouterr() == ("", "")


def test_an_error_in_pcapdj_itself_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """No other error does."""
    assert exit_code_of(app_that(ZeroDivisionError("ours")), "pcapdj it", []) == ExitCode.ERROR

    assert "ZeroDivisionError: ours" in capsys.readouterr().err


def test_a_message_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Names in messages are quoted already; the whole message is escaped once more."""
    exit_code_of(app_that(PcapdjError("bad\n2026 ERROR \x1b[2J")), "pcapdj it", [])

    assert capsys.readouterr().err == "pcapdj it: bad\\n2026 ERROR \\x1b[2J\n"


def test_usual_options_are_read_without_a_library_that_is_slow_to_load(tmp_path: Path) -> None:
    """Pydantic takes 0.1 s of CPU time; numbers, paths, lists, texts and defaults need none of it."""
    code = """
import sys
from pathlib import Path
from typing import Annotated
import typer
from pcapdj.runtime.command import exit_code_of, new_app
app = new_app()
@app.command()
def command(
    names: list[str],
    *,
    path: Path | None = None,
    most: Annotated[int, typer.Option(min=0)] = 1,
    text: str = "",
) -> None:
    print(names, path, most, repr(text), "pydantic" in sys.modules)
exit_code_of(app, "it", ["a", "b", "--path", sys.argv[1], "--most", "0007"])
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True)

    assert done.stdout == f"['a', 'b'] {tmp_path} 7 '' False\n"


def test_a_list_from_the_environment_has_one_value_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths may hold blanks and colons."""
    monkeypatch.setenv("PCAPDJ_WATCH", "/in/a b\n\n  \n/in/c:d\n")

    assert lines_of("PCAPDJ_WATCH")() == ["/in/a b", "/in/c:d"]
    assert lines_of("PCAPDJ_NOT_SET")() == []


def test_the_exit_codes_are_the_documented_ones() -> None:
    """Scripts and supervisord.conf depend on them."""
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "ERROR": 1,
        "USAGE": 2,
        "HOLD": 3,
        "UNAVAILABLE": 69,
        "CANNOT_CREATE": 73,
        "BUSY": 75,
        "DENIED": 77,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (None, 0),
        (3, 3),
        (Stopped("A stop signal."), 0),
        (KeyboardInterrupt(), 130),
        (ConfigError("It is not a size."), 2),
        (ZeroDivisionError("ours"), 1),
    ],
    ids=repr,
)
def test_a_command_without_typer_ends_with_the_same_codes(
    action: object, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """`cat` has its own parser, for a quick start; only an error in pcapdj itself shows a traceback."""

    def command() -> int | None:
        if isinstance(action, BaseException):
            raise action
        return action if isinstance(action, int) else None

    assert run_command("pcapdj it", command) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert ("Traceback" in err) is isinstance(action, ZeroDivisionError)
    assert err.startswith("pcapdj it: It is not") is isinstance(action, ConfigError)


def test_a_command_whose_reader_has_gone_ends_silently_with_0() -> None:
    """As with `head`: what stdout still holds is discarded, so that the interpreter's exit does not fail."""
    code = """
import sys
from pcapdj.runtime.command import run_command
def command():
    for _ in range(100_000):
        print("a line")
sys.exit(run_command("pcapdj it", command))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()  # type: ignore[union-attr]  # a pipe
        err = process.stderr.read()  # type: ignore[union-attr]  # a pipe

    assert (process.returncode, err) == (0, b"")


def test_signals_that_the_starter_blocked_arrive_and_ends_of_children_are_seen() -> None:
    """Else subprocess takes each failure for a success, and SIGTERM never ends the process."""
    code = """
import signal, subprocess, sys
from pcapdj.runtime.command import ended_in_order, run_command
def command():
    print(subprocess.run(["false"]).returncode, flush=True)
    signal.pause()
with ended_in_order():
    run_command("pcapdj it", command)
"""
    inherited = ("env", "--ignore-signal=CHLD", "--block-signal=TERM")
    with subprocess.Popen([*inherited, sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        seen = process.stdout.readline()
        process.send_signal(signal.SIGTERM)

    assert (seen, process.returncode) == (b"1\n", -signal.SIGTERM)


def in_a_container(*words: str | Path, stops: signal.Signals) -> tuple[int, bytes]:
    """Stop a command that is the first process of a PID namespace once it handles signals, or waits.

    Returns:
        Its exit code, and what it printed on stderr.
    """
    unshare = [require_program("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"]
    with subprocess.Popen([*unshare, *words], stderr=subprocess.PIPE) as process:
        assert process.stderr
        wait_until(lambda: children_of(process.pid), "the command to start")
        [command] = children_of(process.pid)
        mask = 1 << stops - 1
        caught = re.compile(r"SigCgt:\s*([0-9a-f]+)")
        status = Path(f"/proc/{command}/status")
        wait_until(lambda: int(caught.search(status.read_text())[1], 16) & mask, "it to handle the signal")  # type: ignore[index]
        os.kill(command, stops)
        printed = process.stderr.read()
    return process.returncode, printed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a PID namespace")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_the_first_process_of_a_container_ends_on_a_signal(number: signal.Signals) -> None:
    """The kernel sends such a process no signal that it does not handle, and it cannot end itself by one."""
    code = (
        "import signal\nfrom pcapdj.runtime.command import ended_in_order, run_command\n"
        "with ended_in_order():\n    run_command('pcapdj it', signal.pause)"
    )

    assert in_a_container(sys.executable, "-c", code, stops=number) == (128 + number, b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a PID namespace")
def test_a_role_in_a_container_ends_while_it_waits_before_it_handles_signals(tmp_path: Path) -> None:
    """Here for its password, which comes through a pipe that nobody writes to."""
    pipe = tmp_path / "password"
    os.mkfifo(pipe, 0o600)
    words = ["dispatch", "-b", str(tmp_path / "p"), "--redis-password-file", str(pipe)]

    ended = in_a_container(*pcapdj_command(words[0]), *words[1:], stops=signal.SIGTERM)

    assert ended == (128 + signal.SIGTERM, b"")


@each_row(
    "setup, work, sentence",
    [
        (
            "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
            "[os.dup(0) for _ in range(100)]",
            "It cannot open as many files as it needs (ulimit -n).",
        ),
        (
            "resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))",
            "bytes(1 << 29)",
            "There is not enough memory.",
        ),
        (
            "threading.stack_size(1 << 29); resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))",
            "threading.Thread(target=int).start()",
            "No thread can be started: too little memory, or too many processes (ulimit -u).",
        ),
    ],
)
def test_what_the_system_does_not_give_is_one_sentence(setup: str, work: str, sentence: str) -> None:
    """It is no error in pcapdj, wherever it happens."""
    code = f"""
import os, resource, sys, threading
from pcapdj.runtime.command import run_command
{setup}
sys.exit(run_command("pcapdj it", lambda: {work}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (ExitCode.ERROR, f"pcapdj it: {sentence}\n")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", b"\\xe9 \\u2026\n"), ("latin-1", b"\xe9 \\u2026\n"), ("utf-8", "é \u2026\n".encode())],
)
def test_what_the_locale_cannot_encode_is_shown_as_its_escape(encoding: str, shown: bytes) -> None:
    """A name or a cut text; before, the command ended there with a traceback."""
    code = """
import sys
from pcapdj.runtime.command import run_command
sys.exit(run_command("pcapdj it", lambda: print("\\xe9 \\u2026")))
"""
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, shown, b"")
