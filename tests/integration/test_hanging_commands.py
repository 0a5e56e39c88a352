"""Commands whose options, current folder or output are on a file system that hangs: each ends in time."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import Popen

import pytest
from support.captures import Record, classic
from support.forkserver import PIPE, clean_environment, run, start
from support.fuse import FuseMount
from support.reclaiming import STREAM, feed
from support.waiting import scaled, wait_until

from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.interpreter import pcapdj_command
from pcapdj.store.client import Store

STOP_LIMIT_S = 1.0
FED_S = 1_600_000_000  # 2020-09-13T12:26:40Z
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


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["queue"], ExitCode.ERROR),
        (["import", "1.pcap"], -signal.SIGTERM),
        *(
            pytest.param(words, code, marks=pytest.mark.long)
            for words, code in (
                (["restart"], ExitCode.ERROR),
                (["up"], ExitCode.ERROR),
                (["up", "--foreground"], -signal.SIGTERM),
                (["run", "1.pcap"], -signal.SIGTERM),
                (["dispatch", "-b", "pipe"], -signal.SIGTERM),
            )
        ),
    ],
)
def test_a_command_ends_while_its_current_folder_hangs(
    mount: FuseMount, variables: Mapping[str, str], words: Sequence[str], code: int
) -> None:
    """It looks for the service of that folder. What does its work in its own process has not begun."""
    script = 'echo ready && read now && exec "$@"'
    command = ["/bin/sh", "-c", script, "sh", *pcapdj_command(*words)]
    with Popen(command, cwd=mount.folder, env=variables, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        mount.hang(everything=True)
        process.stdin.write(b"now\n")
        process.stdin.flush()
        wait_until(lambda: mount.has_hung, "a call to hang")

        process.send_signal(signal.SIGTERM)

        assert process.wait() == code
        mount.go_on()
        sentence = b"It was stopped while a file system did not answer."
        assert (sentence in process.communicate()[1]) == (code == ExitCode.ERROR)


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
        ["requeue", "--stream", STREAM],
        pytest.param(["requeue", "1.pcap"], marks=pytest.mark.long),
        ["journal", "--print0"],
        pytest.param(["whence", "--at", "2020-09-13T12:26:40Z"], marks=pytest.mark.long),
    ],
)
def test_a_command_ends_while_a_capture_that_was_fed_hangs(
    mount: FuseMount, store: Store, variables: Mapping[str, str], tmp_path: Path, words: Sequence[str]
) -> None:
    """Redis has its path: the command is not given it."""
    capture = mount.source / "1.pcap"
    capture.write_bytes(classic([Record()]))
    os.utime(capture, (FED_S, FED_S))
    times = {"first_ts_ns": FED_S * 10**9, "last_ts_ns": (FED_S + 1) * 10**9, "packets": 1}
    feed(store, mount.folder / "1.pcap", journal=times)

    stderr = ends_in_time(words, mount, tmp_path, variables, ExitCode.ERROR)

    assert stderr.endswith(f"pcapdj {words[0]}: It was stopped while a file system did not answer.\n")


@pytest.mark.parametrize("name", ["inbox", pytest.param("out", marks=pytest.mark.long)])
@pytest.mark.parametrize("words", [["check"], ["init", ".", "--force"]])
def test_a_command_ends_while_a_usual_folder_of_the_service_hangs(
    mount: FuseMount, short_path: Path, name: str, words: Sequence[str]
) -> None:
    """No option and no variable names it; it is a link, or a mount point."""
    service = short_path / "service"
    environment = clean_environment()
    assert run("pcapdj", "init", service, env=environment).returncode == ExitCode.OK
    (service / name).rmdir()
    (service / name).symlink_to(mount.folder)

    stderr = ends_in_time(words, mount, service, environment, ExitCode.ERROR)

    assert stderr == f"pcapdj {words[0]}: It was stopped while a file system did not answer.\n"


@pytest.mark.parametrize("variable", ["PATH", "PCAPDJ_WATCH"])
def test_a_command_ends_while_a_folder_of_a_variable_hangs(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path, variable: str
) -> None:
    """In whichever form it is there."""
    texts = {"PATH": f"{mount.folder}:{os.environ['PATH']}", "PCAPDJ_WATCH": f"{mount.folder}=1MiB"}

    ends_in_time(["check"], mount, tmp_path, {**variables, variable: texts[variable]}, ExitCode.ERROR)


def test_ctrl_c_and_sigterm_end_a_command_in_a_child_as_any_other(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path
) -> None:
    """A file system that may hang is mounted, and answers: nobody is told that it did not."""
    assert mount.folder.exists()
    words = ["status", "--watch", "--json"]
    for stop, code in ((signal.SIGINT, ExitCode.OK), (signal.SIGTERM, -signal.SIGTERM)):
        with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, env=variables, cwd=tmp_path) as process:
            assert process.stdout.readline().startswith(b"{")

            process.send_signal(stop)

            assert process.communicate()[1] == b""
            assert process.returncode == code


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_shell_lets_a_command_ignore_ends_it_as_little_as_any_other(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path, stop: signal.Signals
) -> None:
    """As the Ctrl-C that is meant for the script which started it with `&`; the child would be killed."""
    assert mount.folder.exists()
    ignoring = ["env", f"--ignore-signal={stop.value}", *pcapdj_command("status"), "--watch", "--json"]
    with Popen(ignoring, stdout=PIPE, stderr=PIPE, env=variables, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"{")

        process.send_signal(stop)

        later = [process.stdout.readline() for _ in range(3)]  # one each second: the child had 0.8 s to end
        other = signal.SIGTERM if stop is signal.SIGINT else signal.SIGINT
        process.send_signal(other)
        assert all(line.startswith(b"{") for line in later)
        assert process.communicate()[1] == b""


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


@pytest.mark.parametrize(
    "words",
    [
        ["control", "--on-event", f"{HANGS}/page 'the operator'"],
        pytest.param(["control", "--between", f"{HANGS}/rotate"], marks=pytest.mark.long),
        ["consume", "-b", "pipe", "--logdir", "out", "--", f"{HANGS}/analyzer", "{pipe}"],
    ],
)
def test_a_role_ends_while_the_program_of_its_command_hangs(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path, words: Sequence[str]
) -> None:
    """It looks for it when it starts."""
    words = [each.replace(HANGS, str(mount.folder)) for each in words]

    assert ends_in_time(words, mount, tmp_path, variables, -signal.SIGTERM) == ""


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        pytest.param("PATH", ["consume", "-b", "pipe", "--preset", "suricata"], marks=pytest.mark.long),
        ("XDG_RUNTIME_DIR", ["consume", "--preset", "summary"]),
        ("XDG_RUNTIME_DIR", ["import", "--watch", "."]),
        pytest.param("XDG_RUNTIME_DIR", ["dispatch", "-b", "pipe"], marks=pytest.mark.long),
    ],
)
def test_a_role_ends_while_a_folder_of_its_environment_hangs(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path, variable: str, words: Sequence[str]
) -> None:
    """Where it looks for programs, and has its own files."""
    text = f"{mount.folder}:{os.environ['PATH']}" if variable == "PATH" else str(mount.folder)

    assert ends_in_time(words, mount, tmp_path, {**variables, variable: text}, -signal.SIGTERM) == ""


def test_a_role_without_programs_works_while_a_folder_of_path_hangs(
    mount: FuseMount, variables: Mapping[str, str], tmp_path: Path
) -> None:
    """It has nothing to look for there."""
    mount.hang(everything=True)
    environment = {**variables, "PATH": f"{mount.folder}:{os.environ['PATH']}"}

    done = run("pcapdj", "dispatch", "-b", "pipe", env=environment, cwd=tmp_path)

    mount.go_on()
    assert (done.returncode, "The queue is drained." in done.stderr) == (ExitCode.OK, True)


@pytest.mark.parametrize("place", ["TMPDIR", "PATH", "analyzer"])
def test_a_run_ends_while_its_programs_or_temporary_files_hang(
    mount: FuseMount, tmp_path: Path, place: str
) -> None:
    """Before it has begun one signal is enough, and nothing is left."""
    capture = tmp_path / "1.pcap"
    capture.write_bytes(classic([Record()]))
    texts = {"TMPDIR": str(mount.folder), "PATH": f"{mount.folder}:{os.environ['PATH']}"}
    environment = clean_environment(**{place: texts[place]} if place in texts else {})
    analyzer = ["--", str(mount.folder / "analyzer"), "{pipe}"] if place == "analyzer" else []

    stderr = ends_in_time(["run", str(capture), *analyzer], mount, tmp_path, environment, ExitCode.ERROR)

    assert stderr == "pcapdj run: It was stopped while a file system did not answer.\n"
    assert [each.name for each in tmp_path.glob("1*")] == ["1.pcap"]


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
