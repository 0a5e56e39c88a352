"""`pcapdj check --settings` of a service that does not run: what each role would have, and from where."""

from pathlib import Path

import pytest
from support import forkserver
from support.forkserver import Finished, clean_environment

from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.settings_file import NAME
from pcapdj.service import configuration, write_layout


@pytest.fixture
def folder(short_path: Path) -> Path:
    """Return the folder of a service without Redis."""
    made = short_path / "service"
    write_layout(made, configuration(interpreter=None))
    return made


def check(folder: Path, *lines: str, **variables: str) -> Finished:
    """Run the command in the folder, whose settings file has these lines."""
    (folder / NAME).write_text("".join(f"{line}\n" for line in lines))
    environment = clean_environment(COLUMNS="300", **variables)
    return forkserver.run("pcapdj", "check", "--settings", cwd=folder, env=environment)


def settings(done: Finished) -> dict[str, dict[str, str]]:
    """Return what is shown of each role: what became of it, and its settings by name."""
    found: dict[str, dict[str, str]] = {}
    for line in done.stdout.splitlines()[1:]:
        name, text = line.split(maxsplit=1)
        if not line.startswith(" "):
            role = found.setdefault(name, {"": text.strip()})
        else:
            role[name] = " ".join(text.split())
    return found


def test_a_role_that_does_not_run_has_the_settings_of_its_next_start(folder: Path) -> None:
    """From the file, the environment, supervisord.conf and the defaults; live limits need a Redis."""
    lines = ("PCAPDJ_PRESET=summary", "PCAPDJ_MIN_FREE=8%", "PCAPDJ_FLUSH_TIMEOUT=5s")
    done = check(folder, *lines, PCAPDJ_FLUSH_TIMEOUT="7s")

    shown = settings(done)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert shown["Redis"][""].startswith("limits that were set live are not shown: Redis at")
    for role in ("dispatcher", "controller", "consumer", "importer"):
        assert shown[role][""] == "does not run; started from here it would have"
    assert shown["consumer"]["preset"] == "summary pcapdj.env:1"
    assert shown["consumer"]["flush-timeout"] == "7s environment; it overrides pcapdj.env:3 (5s)"
    assert shown["controller"]["min-free"] == "8% pcapdj.env:2"
    assert shown["controller"]["resume-after"] == "30s default"
    assert shown["controller"]["between"] == "- default"
    assert shown["importer"]["paths"] == "inbox flag"


def test_a_preset_beside_a_command_is_not_used(folder: Path) -> None:
    """The command has the analyzer; an empty one does not count."""
    both = ("PCAPDJ_PRESET=summary", "PCAPDJ_CONSUMER_COMMAND=cat {pipe}")

    preset = settings(check(folder, *both))["consumer"]["preset"]

    assert preset == "summary pcapdj.env:1; not used, PCAPDJ_CONSUMER_COMMAND has the analyzer"


def test_a_role_that_would_not_start_is_shown_with_the_reason(folder: Path) -> None:
    """The others have their settings all the same."""
    shown = settings(check(folder, "PCAPDJ_KEEP_LAST=many"))

    reason = "does not run, and would not start: Invalid value for '--keep-last'"
    assert shown["controller"][""].startswith(reason)
    assert "preset" in shown["consumer"]


def test_without_a_service_there_are_no_settings(short_path: Path) -> None:
    """One sentence, and where to go."""
    done = check(short_path)

    assert done.returncode == ExitCode.USAGE
    assert done.stderr == (
        f"pcapdj check: '{short_path}' has no supervisord.conf. Change to the service's folder.\n"
    )
