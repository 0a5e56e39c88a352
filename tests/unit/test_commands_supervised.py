"""What `up`, `down` and `restart` show of a program of supervisord."""

from typing import Any

import pytest
from support.rows import each_row

from pcapdj.commands.supervised import Program, shown

RUNS = Program("dispatcher", "RUNNING", 7, 0, "", "var/log/dispatcher.log")


@each_row(
    "changes, is_settled_and_well, rest",
    [
        ({}, (True, True), "running   pid 7"),
        ({"state": "EXITED"}, (True, False), "exited    exit code 0; see var/log/dispatcher.log"),
        (
            {"state": "EXITED", "exit_status": 1},
            (True, False),
            "exited    exit code 1; see var/log/dispatcher.log",
        ),
        (
            {"state": "FATAL", "why": "can't find command", "exit_status": 2},
            (True, False),
            "fatal     can't find command; see var/log/dispatcher.log",
        ),
        ({"state": "FATAL"}, (True, False), "fatal     see var/log/dispatcher.log"),
        ({"state": "STOPPED"}, (True, False), "stopped   'pcapdj up dispatcher' starts it"),
        ({"state": "STARTING"}, (False, False), "starting  see var/log/dispatcher.log"),
        ({"state": "STOPPING"}, (False, False), "stopping  see var/log/dispatcher.log"),
        ({"state": "UNKNOWN"}, (False, False), "unknown   see var/log/dispatcher.log"),
        ({"state": "BACKOFF", "why": "x"}, (False, False), "backoff   x; see var/log/dispatcher.log"),
    ],
)
def test_a_program_has_its_state_and_what_to_do(
    changes: dict[str, Any], is_settled_and_well: tuple[bool, bool], rest: str
) -> None:
    """A role that ended works no more, also if that was in order; what changes by itself is waited for."""
    program = RUNS._replace(**changes)

    assert (program.is_settled, program.is_well) == is_settled_and_well
    assert program.lines == [f"dispatcher  {rest}"]


@pytest.mark.parametrize(("name", "can_be_started"), [("redis", True), ("upload", False)])
def test_a_program_that_is_no_role_has_nothing_to_do_once_it_ended_well(
    name: str,
    can_be_started: bool,  # noqa: FBT001 - a row
) -> None:
    """As the embedded Redis where another one is named; it may have been shut down, and is tried again."""
    program = RUNS._replace(name=name, state="EXITED")

    assert (program.is_well, program.can_be_started) == (True, can_be_started)
    assert program.lines == [f"{name:<12}exited    nothing to do"]


def test_all_programs_are_shown_and_whether_all_are_well(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line of its log stands below one that does not run."""
    failed = RUNS._replace(name="controller", state="FATAL", last_line="No such file")

    assert shown([RUNS])
    assert not shown([RUNS, failed])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "dispatcher  running   pid 7",
        "controller  fatal     see var/log/dispatcher.log",
        "            No such file",
    ]
