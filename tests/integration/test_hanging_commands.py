"""Commands whose options, current folder or output are on a file system that hangs: each ends in time."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import Popen

import pytest
from support.forkserver import PIPE, run, start
from support.fuse import FuseMount
from support.waiting import scaled, wait_until

from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.interpreter import pcapdj_command
from pcapdj.store.client import Store

STOP_LIMIT_S = 1.0
HANGS = "{hangs}"  # a folder of the file system
COMMANDS = {
    "metrics": ["metrics", "--textfile", f"{HANGS}/lane.prom"],
    "report": ["report", "--svg", f"{HANGS}/time-line.svg"],
    "sample": ["sample", f"{HANGS}/samples"],
    "init": ["init", f"{HANGS}/service"],
    "events": ["events", f"--redis-url=unix://{HANGS}/redis.sock"],
    "status": ["status", "--redis-url", f"unix://{HANGS}/redis.sock"],
    "check": ["check", "--redis-password-file", f"{HANGS}/password"],
}
IN_EACH_RUN = ("metrics", "init", "status")


@pytest.fixture
def variables(store: Store) -> Mapping[str, str]:
    """Return the environment of commands that work on the store."""
    return {**os.environ, "PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}


def ends_in_time(
    words: Sequence[str], mount: FuseMount, folder: Path, variables: Mapping[str, str], code: int
) -> str:
    """Start a command, stop it while a call hangs, and return its stderr."""
    mount.hang(everything=True)
    with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, env=variables, cwd=folder) as process:
        wait_until(lambda: mount.has_hung, "a call to hang")
        begun_s = time.monotonic()

        process.send_signal(signal.SIGTERM)

        assert process.wait() == code
        assert time.monotonic() - begun_s < scaled(STOP_LIMIT_S)
        mount.go_on()
        return str(process.communicate()[1], "utf-8")


@pytest.mark.parametrize(
    "name",
    [each if each in IN_EACH_RUN else pytest.param(each, marks=pytest.mark.long) for each in COMMANDS],
)
def test_a_command_ends_while_what_it_was_given_hangs(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path, name: str
) -> None:
    """In whichever option, and as the current folder; the sentence says what it waited for."""
    words = [each.replace(HANGS, str(mount.folder)) for each in COMMANDS[name]]

    stderr = ends_in_time(words, mount, tmp_path, variables, ExitCode.ERROR)

    assert stderr == f"pcapdj {words[0]}: It was stopped while a file system did not answer.\n"


@pytest.mark.parametrize("name", ["queue", pytest.param("restart", marks=pytest.mark.long)])
def test_a_command_ends_while_its_current_folder_hangs(
    mount: FuseMount, variables: Mapping[str, str], name: str
) -> None:
    """It looks for the service of that folder."""
    script = 'echo ready && read now && exec "$@"'
    command = ["/bin/sh", "-c", script, "sh", *pcapdj_command(name)]
    with Popen(command, cwd=mount.folder, env=variables, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        mount.hang(everything=True)
        process.stdin.write(b"now\n")
        process.stdin.flush()
        wait_until(lambda: mount.has_hung, "a call to hang")

        process.send_signal(signal.SIGTERM)

        code = process.wait()
        mount.go_on()
        assert code == ExitCode.ERROR
        assert b"It was stopped while a file system did not answer." in process.communicate()[1]


def test_a_command_ends_while_a_path_of_the_settings_file_hangs(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path
) -> None:
    """The command is not given that path: it is known once the file was read."""
    (tmp_path / "supervisord.conf").touch()
    (tmp_path / "pcapdj.env").write_text(f"PCAPDJ_REDIS_URL=unix://{mount.folder}/redis.sock\n")
    others = {name: text for name, text in variables.items() if name != "PCAPDJ_REDIS_URL"}

    stderr = ends_in_time(["journal"], mount, tmp_path, others, ExitCode.ERROR)

    assert "It was stopped while a file system did not answer." in stderr


@pytest.mark.parametrize(
    "words",
    [
        ["dispatch", "-b", "pipe"],
        pytest.param(["control"], marks=pytest.mark.long),
        pytest.param(
            ["consume", "-b", "pipe", "--preset", "summary", "--logdir", "out"], marks=pytest.mark.long
        ),
        pytest.param(["import", "--watch", "."], marks=pytest.mark.long),
    ],
)
def test_a_role_ends_while_its_password_file_hangs(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path, words: Sequence[str]
) -> None:
    """It has not begun yet: the signal ends it."""
    words = [*words, "--redis-password-file", str(mount.folder / "password")]

    assert ends_in_time(words, mount, tmp_path, variables, -signal.SIGTERM) == ""


def test_a_dispatcher_ends_while_the_folder_of_its_pipe_hangs(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path
) -> None:
    """In order: a successor may start."""
    ends_in_time(["dispatch", "-b", str(mount.folder / "pipe")], mount, tmp_path, variables, ExitCode.OK)


def test_the_roots_of_a_dispatcher_may_hang(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path
) -> None:
    """It does not look at them itself: without a file in the queue it ends as everywhere."""
    mount.hang(everything=True)

    done = run("pcapdj", "dispatch", "-b", "pipe", "--root", mount.folder, env=variables, cwd=tmp_path)

    mount.go_on()
    assert done.returncode == ExitCode.OK
    assert "The queue is drained." in done.stderr


def test_the_exit_code_of_a_command_there_is_the_usual_one(
    mount: FuseMount, variables: Mapping[str, str]
) -> None:
    """Output, refusal and usage are those of a command on a local file system."""
    usage = run("pcapdj", "queue", "--none", env=variables, cwd=mount.folder)
    answer = run("pcapdj", "queue", "--json", env=variables, cwd=mount.folder)

    assert (usage.returncode, usage.stdout) == (ExitCode.USAGE, "")
    assert usage.stderr.startswith("pcapdj queue: No such option: --none")
    assert (answer.returncode, answer.stderr) == (ExitCode.OK, "")
    assert answer.stdout.startswith("{")
