"""The `pcapdj` command: which subcommand runs, its help, and the answer to an unknown word."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.loops import loops
from support.rows import each_row

from pcapdj import __version__, cli
from pcapdj.runtime.errors import ExitCode


def test_help_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    """Each subcommand has a line in the help, in one of the groups."""
    assert cli.start(["--help"]) == ExitCode.OK

    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(cli.MODULES)


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """`pcapdj` alone shows what it can do."""
    assert cli.start([]) == ExitCode.OK

    assert capsys.readouterr().out.startswith("Usage: pcapdj")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the package's version, and which form of the loops over records is in use."""
    with loops("python"):
        assert cli.start(["--version"]) == ExitCode.OK

    assert capsys.readouterr().out == f"pcapdj {__version__}, Python loops (PCAPDJ_LOOPS=python)\n"


def test_the_help_of_run_has_a_place_for_the_analyzer(capsys: pytest.CaptureFixture[str]) -> None:
    """The usage line shows where the command of another analyzer goes."""
    assert cli.start(["run", "--help"]) == ExitCode.OK

    assert capsys.readouterr().out.startswith("Usage: pcapdj run [OPTIONS] FILES.. [-- COMMAND..]\n")


@pytest.mark.parametrize("name", cli.MODULES)
def test_help_of_a_subcommand_is_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`pcapdj help run` and `pcapdj run --help` print the same, for each subcommand."""
    shown = []
    for arguments in ([name, "--help"], ["help", name]):
        assert cli.start(arguments) == ExitCode.OK
        shown.append(capsys.readouterr().out)

    own, other = shown
    assert own.lower().startswith(f"usage: pcapdj {name} ")
    assert other == own


def test_help_of_an_unknown_subcommand_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """As the subcommand itself."""
    assert cli.start(["help", "xyzzy"]) == ExitCode.USAGE

    assert capsys.readouterr().err == "pcapdj: Unknown subcommand 'xyzzy'. See 'pcapdj --help'.\n"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("staus", "Did you mean 'pcapdj status'?"),
        ("requeu", "Did you mean 'pcapdj requeue'?"),
        ("xyzzy", "See 'pcapdj --help'."),
    ],
)
def test_an_unknown_subcommand_is_refused_with_the_most_similar_one(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error costs one sentence on stderr, exit code 2, and no traceback."""
    assert cli.start([word]) == ExitCode.USAGE

    error = capsys.readouterr().err
    assert error == f"pcapdj: Unknown subcommand '{word}'. {hint}\n"


def test_a_word_with_escape_sequences_is_shown_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """A typed word cannot act on the terminal that shows the error."""
    cli.start(["\x1b[31mred\nline\udcff"])

    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert error.count("\n") == 1


@each_row("module", sorted(cli.MODULES.values()))
def test_every_subcommand_has_its_module(module: str) -> None:
    """The table names modules that exist."""
    assert find_spec(module) is not None


def test_help_loads_neither_typer_nor_redis() -> None:
    """Help starts quickly: it imports no library."""
    program = (
        "import sys; from pcapdj.cli import start; start(['--help']);"
        "sys.exit(' '.join({'typer', 'redis', 'rich', 'psutil'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.stderr.strip() == ""


def test_python_dash_m_is_the_same_command() -> None:
    """`python -m pcapdj` works where the script is not on PATH."""
    done = subprocess.run(
        [sys.executable, "-m", "pcapdj", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith(f"pcapdj {__version__}, ")


@pytest.mark.parametrize("module", ["typer", "redis"])
def test_ctrl_c_during_the_imports_shows_no_traceback(module: str, tmp_path: Path) -> None:
    """They take longer than the rest of a short command: exit 130, as later, and not a line."""
    (tmp_path / f"{module}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, "-m", "pcapdj", "run", "1.pcap"]
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(cli.__file__).parents[1]}"}

    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (ExitCode.INTERRUPTED, "", "")
