"""Commands as processes: no Redis, a Redis with a password, init, check, sample."""

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.forkserver import PIPE, Finished, clean_environment, run, server, start
from support.redis_server import redis_at

from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.settings_file import NAME as SETTINGS
from pcapdj.service import CONF, write_layout
from pcapdj.store.client import COMMAND_TIMEOUT_S
from pcapdj.store.embedded import find_server, version_of

SECRET = "canary-word"  # noqa: S105 - of a private server, for minutes
NO_ANALYZERS = "/nonexistent"  # a PATH: `check` asks each analyzer for its version, which takes half a second


def pcapdj(*arguments: str | Path, cwd: Path, **variables: str) -> Finished:
    """Run `pcapdj` without the variables of this environment."""
    return run("pcapdj", *arguments, cwd=cwd, env=clean_environment(**variables))


@pytest.fixture
def locked_redis(short_path: Path) -> Iterator[Path]:
    """Run a redis-server that needs a password; return its socket."""
    with redis_at(short_path / "locked.sock", "--requirepass", SECRET) as server:
        yield server.socket


COMMANDS = [
    ["status"], ["status", "--json"], ["limits"], ["limits", "set", "min-free=8%"], ["gate", "open"],
    ["suspend"], ["resume"], ["finish"], ["failed"], ["requeue", "/x"],
    ["reclaim", "--dry-run", "--root", "/x"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_without_redis_a_command_ends_with_69_and_one_sentence(words: list[str], short_path: Path) -> None:
    """The sentence names the address; there is no traceback."""
    done = pcapdj(*words, cwd=short_path, PCAPDJ_REDIS_URL=f"unix://{short_path}/none.sock")

    assert done.returncode == ExitCode.UNAVAILABLE
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "none.sock" in done.stderr


PRINTING = [
    ["--help"], ["--version"], ["status", "--help"], ["cat", "--help"], ["completion", "bash"], ["check"],
    ["sample", "sample"], ["init", "sensor", "--preset", "summary"],
]  # fmt: skip


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_an_answer_that_cannot_be_written_is_one_sentence(
    words: list[str], unbuffered: str, short_path: Path
) -> None:
    """`pcapdj check > file` on a full disk; the exit code shows that the answer is missing."""
    variables = clean_environment(PYTHONUNBUFFERED=unbuffered, PCAPDJ_REDIS_URL="unix:///nowhere")
    with Path("/dev/full").open("wb") as full:
        done = run("pcapdj", *words, cwd=short_path, env=variables, stdout=full, is_real=True)

    command = words[0] if not words[0].startswith("-") else ""
    sentence = f"{f'pcapdj {command}'.rstrip()}: The output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (ExitCode.ERROR, sentence)


def test_an_error_that_cannot_be_written_keeps_its_exit_code(short_path: Path) -> None:
    """Scripts and supervisord look at it."""
    with Path("/dev/full").open("wb") as full:
        done = run(
            "pcapdj", "status", "--nope", cwd=short_path, env=clean_environment(), stderr=full, is_real=True
        )

    assert done.returncode == ExitCode.USAGE


def test_a_redis_that_hangs_is_waited_for_three_seconds(short_path: Path) -> None:
    """A server that accepts and never answers ends every command; the short pause of a busy one does not."""

    def ended(words: list[str]) -> Finished:
        return pcapdj(*words, cwd=short_path, PCAPDJ_REDIS_URL=f"unix://{short_path}/mute.sock")

    server()  # started once, before the threads need it
    with socket.socket(socket.AF_UNIX) as mute, ThreadPoolExecutor(2 * len(COMMANDS)) as pool:
        mute.bind(str(short_path / "mute.sock"))
        mute.listen(2 * len(COMMANDS))
        ends = pool.map(ended, COMMANDS)
        waited_s = list(pool.map(connected_s, [mute] * len(COMMANDS)))

    assert {(done.returncode, done.stderr.count("\n")) for done in ends} == {(ExitCode.UNAVAILABLE, 1)}
    assert min(waited_s) >= COMMAND_TIMEOUT_S - 0.5


def connected_s(mute: socket.socket) -> float:
    """Accept a connection, and return how many seconds later the other end closes it."""
    with mute.accept()[0] as connection:
        started_s = time.monotonic()
        while connection.recv(4096):
            pass
    return time.monotonic() - started_s


def test_in_a_layout_the_layouts_redis_is_meant_and_no_other(short_path: Path) -> None:
    """The error names the service that does not run, and what starts it; no other server is used instead."""
    (short_path / CONF).touch()

    here = pcapdj("status", cwd=short_path)
    url = f"unix://{short_path}/var/run/redis.sock"
    elsewhere = pcapdj("status", "--redis-url", url, cwd=short_path.parent)

    assert here.returncode == elsewhere.returncode == ExitCode.UNAVAILABLE
    assert f"Redis at {url} does not answer" in here.stderr
    assert here.stderr.endswith(" 'pcapdj up' starts the service.\n")
    assert elsewhere.stderr.endswith(f" 'pcapdj up' in '{short_path}' starts the service.\n")


@pytest.mark.parametrize("credential", ["", ":wrong-guess@"])
@pytest.mark.parametrize("words", [["status"], ["suspend"], ["limits", "set", "min-free=8%"]], ids=" ".join)
def test_a_refused_password_ends_a_command_with_77(
    locked_redis: Path, words: list[str], credential: str, short_path: Path
) -> None:
    """Missing or wrong: one sentence, which never has the password in it."""
    done = pcapdj(*words, cwd=short_path, PCAPDJ_REDIS_URL=f"unix://{credential}{locked_redis}")

    assert done.returncode == ExitCode.DENIED
    assert done.stderr.count("\n") == 1
    assert "wrong-guess" not in done.stderr + done.stdout


def test_the_password_may_come_from_a_file(locked_redis: Path, short_path: Path) -> None:
    """With the right one the command works, and does not show it."""
    (short_path / "password").write_text(SECRET + "\n")

    done = pcapdj(
        "status", "--json", "--redis-password-file", short_path / "password",
        cwd=short_path, PCAPDJ_REDIS_URL=f"unix://{locked_redis}",
    )  # fmt: skip

    assert done.returncode == ExitCode.OK
    assert json.loads(done.stdout)["queued"] == 0
    assert SECRET not in done.stdout + done.stderr


def test_check_marks_a_refused_password_as_wrong(locked_redis: Path, short_path: Path) -> None:
    """The line has the reason, the last line the count; exit 1."""
    url = f"unix://:wrong-guess@{locked_redis}"

    done = pcapdj("check", cwd=short_path, PATH=NO_ANALYZERS, PCAPDJ_REDIS_URL=url, COLUMNS="300")

    assert done.returncode == ExitCode.ERROR
    assert re.search("^Redis +wrong: Redis at", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("1 problem is marked 'wrong'.\n")
    assert "wrong-guess" not in done.stdout


def test_check_notes_what_a_redis_would_lose(short_path: Path) -> None:
    """A server that keeps nothing; pcapdj can still work with it."""
    with redis_at(short_path / "redis.sock") as server:
        done = pcapdj("check", cwd=short_path, PATH=NO_ANALYZERS, PCAPDJ_REDIS_URL=server.url, COLUMNS="300")

    assert done.returncode == ExitCode.OK
    assert re.search("^ +note: appendonly is no and save is empty", done.stdout, re.MULTILINE)
    assert "Nothing is wrong." in done.stdout


def test_check_gives_limits_in_bytes(redis_socket: Path, short_path: Path) -> None:
    """The bytes that a percentage is on this disk, as the controller calculates them."""
    url = f"unix://{redis_socket}"

    limits = {"PCAPDJ_MIN_FREE": "1MiB", "PCAPDJ_MIN_AVAILABLE_MEMORY": "1KiB", "PCAPDJ_MIN_FREE_INODES": "0"}
    done = pcapdj("check", cwd=short_path, PATH=NO_ANALYZERS, PCAPDJ_REDIS_URL=url, COLUMNS="300", **limits)

    assert "holds below 1.0 MiB (1,048,576 bytes)" in done.stdout
    assert "opens again from 1.5 MiB (1,572,864 bytes), after 30 s" in done.stdout
    assert "suspends below 512.0 KiB (524,288 bytes)" in done.stdout
    assert "available; holds below 1.0 KiB (1,024 bytes)" in done.stdout
    assert "inodes" not in done.stdout


def test_check_shows_a_redis_that_keeps_the_queue(short_path: Path) -> None:
    """The settings that keep it, and the live limits; not what overrides none."""
    server_version = version_of(find_server())
    with redis_at(short_path / "redis.sock", "--appendonly", "yes") as server:
        for command in (["limits", "set", "resume-after=5s"], ["gate", "auto"], ["gate", "accept"]):
            pcapdj(*command, cwd=short_path, PCAPDJ_REDIS_URL=server.url)
        server.client.xadd("PCAPDJ_JOURNAL", {"name": "/in/1.pcap"})

        done = pcapdj("check", cwd=short_path, PCAPDJ_REDIS_URL=server.url, COLUMNS="300")

    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert re.fullmatch(" {11}the journal has 1 entry in [0-9.]+ (bytes|KiB) of its memory", lines.pop(4))
    assert lines[1:5] == [
        f"Redis      {server_version} at {server.url}",
        "           it keeps the queue: appendonly yes, appendfsync everysec, maxmemory-policy noeviction",
        "           note: live values override the limits below: resume-after=5s",
        f"Embedded   {server_version} at {find_server()}",
    ]


def test_check_finds_invalid_limits_in_the_environment(redis_socket: Path, short_path: Path) -> None:
    """A limit that each role would refuse is wrong here, too."""
    url = f"unix://{redis_socket}"

    done = pcapdj(
        "check", cwd=short_path, PATH=NO_ANALYZERS, PCAPDJ_REDIS_URL=url, PCAPDJ_MIN_FREE="98%", COLUMNS="300"
    )

    assert done.returncode == ExitCode.ERROR
    assert "wrong: min-free: '98%'" in done.stdout


def test_check_counts_what_is_wrong(short_path: Path) -> None:
    """A Redis that is named and does not answer, and limits that contradict each other."""
    url = f"unix://{short_path}/none.sock"

    done = pcapdj(
        "check", cwd=short_path, PATH=NO_ANALYZERS, PCAPDJ_REDIS_URL=url, PCAPDJ_MIN_FREE="98%", COLUMNS="300"
    )

    assert done.returncode == ExitCode.ERROR
    assert done.stdout.count("wrong: ") == 2
    assert done.stdout.endswith("2 problems are marked 'wrong'.\n")


def test_check_shows_a_lane_whose_live_limits_cannot_be_read(short_path: Path) -> None:
    """Another program wrote the key; each lane has its own."""
    with redis_at(short_path / "redis.sock") as server:
        server.client.rpush("PCAPDJ_CONTROL", "x")
        variables = {"PATH": NO_ANALYZERS, "PCAPDJ_REDIS_URL": server.url, "COLUMNS": "300"}
        wrong = pcapdj("check", cwd=short_path, **variables)
        other = pcapdj("check", "--lane", "b", cwd=short_path, **variables)

    assert re.search(r"^ +wrong: .*WRONGTYPE", wrong.stdout, re.MULTILINE)
    assert "WRONGTYPE" not in other.stdout


def test_watch_ends_by_ctrl_c_without_a_word(redis_socket: Path, short_path: Path) -> None:
    """Ctrl-C is the announced way to end it: exit 0, no traceback."""
    env = clean_environment(PCAPDJ_REDIS_URL=f"unix://{redis_socket}")
    with start(
        "pcapdj", "status", "--watch", "--json", stdout=PIPE, stderr=PIPE, text=True, cwd=short_path, env=env
    ) as watching:
        first = watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate()

    assert json.loads(first)["failed"] == 0
    assert (watching.returncode, errors) == (ExitCode.OK, "")


def test_init_prints_the_next_commands(short_path: Path) -> None:
    """They can be pasted into a shell; the file runs this interpreter with the chosen preset."""
    done = pcapdj("init", "sensor 1", "--preset", "summary", cwd=short_path, PATH="/usr/bin:/bin")

    programs = Path(sys.executable).parent
    conf = (short_path / "sensor 1" / CONF).read_text()
    assert done.returncode == ExitCode.OK
    assert done.stdout == (
        f"The service in '{short_path}/sensor 1' is ready; its analyzer is the preset summary."
        " pcapdj.env has all settings. Next:\n"
        f"  cd '{short_path}/sensor 1'\n"
        f"  {programs}/pcapdj up\n"
        "  mv CAPTURES.. inbox/\n"
        f"  {programs}/pcapdj status --watch\n"
    )
    assert f"{sys.executable} -P -m pcapdj.consumer_launcher" in conf
    assert "\nPCAPDJ_PRESET=summary\n" in (short_path / "sensor 1" / SETTINGS).read_text()


@pytest.mark.parametrize("is_ours", [True, False])
def test_init_prints_the_path_of_pcapdj_unless_the_name_finds_this_one(
    short_path: Path, *, is_ours: bool
) -> None:
    """Another version on PATH would be started else."""
    programs, others = Path(sys.executable).parent, short_path / "bin"
    others.mkdir()
    (others / "pcapdj").write_text("#!/bin/sh\n")
    (others / "pcapdj").chmod(0o755)
    path = f"{programs if is_ours else others}:/usr/bin:/bin"

    done = pcapdj("init", "sensor", "--preset", "summary", cwd=short_path, PATH=path)

    assert f"\n  {'pcapdj' if is_ours else programs / 'pcapdj'} up\n" in done.stdout


@pytest.mark.parametrize(("folder", "root"), [("sensor", "cap:tures"), ("sen:sor", "captures")])
def test_init_refuses_a_root_that_its_settings_would_take_for_two(
    short_path: Path, folder: str, root: str
) -> None:
    """`cap` would be one of them, and `pcapdj reclaim` would remove what it has."""
    done = pcapdj("init", folder, "--root", root, "--preset", "summary", cwd=short_path)

    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "has a ':', which is between two folders in PCAPDJ_ROOT" in done.stderr
    assert [*short_path.iterdir()] == []


def test_init_chooses_summary_where_suricata_is_missing(short_path: Path) -> None:
    """The first command works on a bare machine, and shows the reason."""
    done = pcapdj("init", "sensor", cwd=short_path, PATH=NO_ANALYZERS)

    assert done.returncode == ExitCode.OK
    assert "its analyzer is the preset summary, because Suricata is not installed. " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["x" * 120], ExitCode.CANNOT_CREATE),
        (["100%"], ExitCode.CANNOT_CREATE),
        (["sensor", "--preset", "nonsense"], ExitCode.USAGE),
        ([], ExitCode.USAGE),
        (["sensor", "--nonsense"], ExitCode.USAGE),
    ],
)
def test_init_refuses_with_one_sentence(arguments: list[str], code: ExitCode, short_path: Path) -> None:
    """A path without room for sockets, an unknown preset, a missing argument: nothing is made."""
    done = pcapdj("init", *arguments, cwd=short_path)

    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert list(short_path.iterdir()) == []


def test_sample_writes_captures_and_prints_the_next_command(short_path: Path) -> None:
    """Five captures and the sum to compare with."""
    done = pcapdj("sample", "demo", cwd=short_path)

    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert done.stdout == "Wrote 5 captures to 'demo'.\nNext: pcapdj run demo\n"
    assert len(list((short_path / "demo").glob("*.pcap*"))) == 5


def test_check_on_a_machine_without_a_service(short_path: Path) -> None:
    """Every line of the screen, the versions of programs and packages aside."""
    limits = {"PCAPDJ_MIN_FREE": "1MiB", "PCAPDJ_MIN_FREE_INODES": "0", "PCAPDJ_SUSPEND_FREE": "0"}

    done = pcapdj("check", cwd=short_path, COLUMNS="300", **limits)

    lines = [line.rstrip() for line in done.stdout.splitlines()]
    shown = dict(line.split(maxsplit=1) for line in lines[1:-1] if not line.startswith(" "))
    length = len(f"{short_path}/var/run/supervisor.sock.4194304")
    assert done.returncode == ExitCode.OK
    assert (lines[0], lines[-1]) == ("What this machine has", "Nothing is wrong.")
    labels = "Redis Embedded Analyzers Pipe Sockets Disk Python Packages Records"
    assert list(shown) == labels.split()
    assert shown["Redis"] == (
        "none at the default address; 'pcapdj run' and the service start the embedded one"
    )
    assert shown["Embedded"] == f"{version_of(find_server())} at {find_server()}"
    assert shown["Analyzers"].endswith("summary (our own)")
    assert shown["Sockets"] == f"paths in this folder need {length} of at most 107 bytes"
    assert re.fullmatch(r"'out': \d\S* [GT]iB free", shown["Disk"])
    assert [line.strip() for line in lines if line.startswith(" ")][-3:] == [
        "holds below 1.0 MiB (1,048,576 bytes)",
        "opens again from 1.5 MiB (1,572,864 bytes), after 30 s",
        "never suspends",
    ]


def test_check_in_the_folder_of_a_service_that_does_not_run(short_path: Path) -> None:
    """Its Redis is started with it: a note, and the command."""
    write_layout(short_path, "")

    done = pcapdj("check", cwd=short_path, PATH=NO_ANALYZERS, COLUMNS="300")

    assert done.returncode == ExitCode.OK
    assert ("note: the service of this folder does not run; 'pcapdj up' starts it\n") in "".join(
        line.rstrip() + "\n" for line in done.stdout.splitlines()
    )


def test_run_on_a_terminal_breaks_its_sentences_between_words(tmp_path: Path) -> None:
    """The files that cannot be fed are shown with their reasons, which are longer than many a terminal."""
    for number in range(2):
        (tmp_path / f"{number}.pcap").write_text("no capture")
    master, slave = os.openpty()
    command = ["run", "0.pcap", "1.pcap", "--preset", "summary"]
    environment = clean_environment(COLUMNS="40")
    piped = run("pcapdj", *command, cwd=tmp_path, env=environment)
    done = run("pcapdj", *command, cwd=tmp_path, env=environment, stderr=slave)
    os.close(slave)
    _, _, printed = os.read(master, 8192).decode().rpartition("\x1b[2K")  # the end of the bar
    os.close(master)

    whole = piped.stderr.splitlines()
    assert (done.returncode, len(whole)) == (piped.returncode, 2)
    assert min(map(len, whole)) > 40
    assert " ".join(map(str.strip, printed.splitlines())) == " ".join(whole)
    assert len(printed.splitlines()) > 2
