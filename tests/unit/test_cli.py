"""The `pcapdj` command: which subcommand runs, and what it says of a word it does not know."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from pcapdj import __version__, cli
from pcapdj.runtime.errors import ExitCode


def test_help_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    """Each subcommand has a line in the help, in one of the groups."""
    assert cli.start(["--help"]) == ExitCode.OK

    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(cli.MODULES)


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Who types only `pcapdj` wants to know what it can do."""
    assert cli.start([]) == ExitCode.OK

    assert capsys.readouterr().out.startswith("Usage: pcapdj")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the package's version."""
    assert cli.start(["--version"]) == ExitCode.OK

    assert capsys.readouterr().out == f"pcapdj {__version__}\n"


def test_the_help_of_run_has_a_place_for_the_analyzer(capsys: pytest.CaptureFixture[str]) -> None:
    """Who has another analyzer sees where its command goes."""
    assert cli.start(["run", "--help"]) == ExitCode.OK

    assert capsys.readouterr().out.startswith("Usage: pcapdj run [OPTIONS] FILES.. [-- COMMAND..]\n")


@pytest.mark.parametrize(
    ("word", "hint"),
    [("staus", "'pcapdj status'"), ("requeu", "'pcapdj requeue'"), ("xyzzy", "pcapdj --help")],
)
def test_an_unknown_subcommand_is_answered_with_the_nearest(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error costs one sentence on stderr, exit code 2, and no traceback."""
    assert cli.start([word]) == ExitCode.USAGE

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert hint in said


def test_a_word_with_escape_sequences_is_shown_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """What was typed cannot act on the terminal that shows the error."""
    cli.start(["\x1b[31mred\nline\udcff"])

    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("module", sorted(cli.MODULES.values()))
def test_every_subcommand_has_its_module(module: str) -> None:
    """The table names modules that exist."""
    assert find_spec(module) is not None


def test_help_loads_neither_typer_nor_redis() -> None:
    """Help and completion stay quick, since nothing is imported for them."""
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

    assert done.stdout == f"pcapdj {__version__}\n"
