"""`pcapdj up`, `down` and `restart` with a real supervisord: where supervisord itself is not on PATH."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import forkserver
from support.captures import Record, classic
from support.mounts import fill, memory_mount
from support.service_rig import environment, processes_about, programs_in
from support.waiting import wait_until

from pcapdj.runtime.errors import ExitCode

ROLES = ("redis", "consumer", "dispatcher", "controller", "importer")

pytestmark = pytest.mark.timeout(150)


def pcapdj(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command of ours in this folder; return its exit code and all that it prints."""
    variables = environment(PCAPDJ_CONSUMER_COMMAND="cat {pipe}", RIG=str(folder), **settings)
    done = forkserver.run("pcapdj", *arguments, cwd=folder, env=variables, forks=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(short_path: Path) -> Iterator[Path]:
    """Return a folder as `pcapdj init` makes it; its service is ended afterwards."""
    made = short_path / "service"
    pcapdj(short_path, "init", str(made), "--preset", "summary")
    yield made
    pcapdj(made, "down")
    wait_until(lambda: not processes_about(made), "every process to be gone")


def states(folder: Path) -> dict[str, str]:
    """Return the state of each program."""
    return {name: each["statename"] for name, each in programs_in(folder).items()}


@pytest.mark.slow
def test_up_starts_what_does_not_run_and_down_ends_it(folder: Path) -> None:
    """The whole service, then one role of it; each command shows what became of it."""
    before = pcapdj(folder, "down")
    refused = pcapdj(folder, "up", "consumer", "bogus")
    programs_before = programs_in(folder)
    started = pcapdj(folder, "up")
    stopped = pcapdj(folder, "down", "importer", "controller")
    states_meanwhile = states(folder)
    again = pcapdj(folder, "up", "importer")
    dispatcher = programs_in(folder)["dispatcher"]["pid"]
    restarted = pcapdj(folder, "restart", "dispatcher")
    dispatcher_then = programs_in(folder)["dispatcher"]["pid"]
    unknown = pcapdj(folder, "restart", "dispatch")
    ended = pcapdj(folder, "down")

    assert before == (
        ExitCode.UNAVAILABLE,
        "pcapdj down: The service of this folder does not run. 'pcapdj up' starts it.\n",
    )
    assert refused == (
        ExitCode.USAGE,
        f"pcapdj up: No role is called 'bogus'. There are: {', '.join(ROLES)}.\n",
    )
    assert programs_before == {}
    assert started[0] == 0
    assert [line.split()[:2] for line in started[1].splitlines()[:5]] == [[each, "running"] for each in ROLES]
    assert "The service runs" in started[1]
    assert stopped[1].splitlines() == [
        "controller  stopped   'pcapdj up controller' starts it",
        "importer    stopped   'pcapdj up importer' starts it",
    ]
    assert states_meanwhile["controller"] == states_meanwhile["importer"] == "STOPPED"
    assert again[0] == 0
    assert again[1].startswith("importer    running   pid ")
    assert restarted[0] == 0
    assert dispatcher_then not in (0, dispatcher)
    assert unknown == (
        ExitCode.USAGE,
        "pcapdj restart: No role is called 'dispatch'. Did you mean dispatcher?\n",
    )
    assert ended[0] == 0
    assert ended[1].splitlines() == [
        "The service ends; the analyzer writes its results first, which may take two minutes.",
        "The service has ended.",
    ]
    assert states(folder) == {}


@pytest.mark.slow
def test_a_service_does_not_end_while_redis_has_names_only_in_its_memory(folder: Path) -> None:
    """Redis accepts what it then cannot write to a full disk; its end would lose that, also in order."""
    conf = folder / "supervisord.conf"
    before, _, roles = conf.read_text().partition("[program:consumer]")
    conf.write_text(before)  # of the roles only Redis
    assert "[program:importer]" in roles
    (folder / "1.pcap").write_bytes(classic([Record()]))
    with memory_mount(folder, "2m", folder / "var" / "redis"):
        (folder / "var" / "redis").chmod(0o700)
        started = pcapdj(folder, "up")
        filling = fill(folder / "var" / "redis")
        imported = pcapdj(folder, "import", "1.pcap")
        refused = [pcapdj(folder, *words) for words in (["down"], ["restart"], ["down", "redis"])]
        filling.unlink()
        wait_until(lambda: pcapdj(folder, "down")[0] == 0, "the service to end")
        again = pcapdj(folder, "up")
        queue = pcapdj(folder, "queue")
        pcapdj(folder, "down")

    assert (started[0], again[0]) == (0, 0), started
    assert imported[0] == ExitCode.UNAVAILABLE
    assert imported[1].startswith(
        "1 queued, 0 already queued or fed, 0 not imported.\npcapdj import: Redis cannot"
    )
    assert {code for code, _ in refused} == {ExitCode.ERROR}
    assert all("its latest changes are only in its memory" in printed for _, printed in refused)
    assert "1.pcap" in queue[1]


@pytest.mark.long
@pytest.mark.slow
def test_a_role_that_cannot_start_is_shown_with_the_reason_and_the_exit_code_is_1(folder: Path) -> None:
    """Supervisord tries it again in vain: what it printed last is shown below its name, and no other line.

    That it has not reported follows from this, and is not shown as well. A configuration that supervisord
    could not read again, or would read otherwise, is shown by a later `up`.
    """
    conf = folder / "supervisord.conf"
    exiting = "command=/bin/sh -c \"echo 'It begins.'; echo 'It has no room.'; exit 2\""
    conf.write_text(re.sub(r"(?m)^command=.* -m pcapdj\.controller.*$", lambda _: exiting, conf.read_text()))
    code, printed = pcapdj(folder, "up")
    restarted, printed_then = pcapdj(folder, "restart", "controller")
    conf.write_text(conf.read_text().replace("exit 2", "exit 3"))
    changed = pcapdj(folder, "up", "importer")
    conf.write_text(conf.read_text() + "no setting\n")
    damaged = pcapdj(folder, "up", "importer")
    lines = printed.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("controller"))

    assert code == 1
    assert lines[place].split()[1] in ("backoff", "starting")
    assert lines[place].endswith("see var/log/controller.log")
    assert lines[place + 1].strip() == "It has no room."
    assert "reported" not in printed
    assert restarted == 1
    assert printed_then.startswith("controller  ")
    sentence = "supervisord.conf has changed since the service was started (controller): 'pcapdj down' and"
    assert f"{sentence} 'pcapdj up' apply the change.\n" in changed[1]
    assert (changed[0], damaged[0]) == (ExitCode.OK, ExitCode.ERROR)
    assert "pcapdj up: supervisord.conf cannot be read: " in damaged[1]
    assert "no setting" in damaged[1]


def test_a_folder_without_a_service_and_a_file_that_cannot_be_read_are_refused(folder: Path) -> None:
    """One sentence each, with what to do."""
    elsewhere = pcapdj(folder.parent, "up")
    with (folder / "supervisord.conf").open("a") as conf:
        conf.write("no setting\n")
    damaged = pcapdj(folder, "up")

    assert elsewhere[0] == ExitCode.USAGE
    assert elsewhere[1].endswith("Change to the service's folder, or make one with 'pcapdj init DIR'.\n")
    assert damaged[0] == 1
    assert damaged[1].startswith("pcapdj up: supervisord does not start: Error: ")
    assert "no setting" in damaged[1]


@pytest.mark.long
def test_up_in_the_foreground_is_supervisord_itself(folder: Path) -> None:
    """As systemd wants it: the process that was started is the one that SIGTERM ends in order."""
    process = forkserver.start(
        "pcapdj",
        *("up", "--foreground"),
        cwd=folder,
        env=environment(PCAPDJ_CONSUMER_COMMAND="cat {pipe}", RIG=str(folder)),
        stdout=forkserver.DEVNULL,
        forks=True,
    )
    wait_until(lambda: set(states(folder).values()) == {"RUNNING"}, "all programs to run")
    second = pcapdj(folder, "up", "--foreground")
    one_role = pcapdj(folder, "up", "--foreground", "importer")
    pid = int((folder / "var/run/supervisord.pid").read_text())
    os.kill(process.pid, 15)

    assert pid == process.pid
    assert process.wait() == 0
    assert one_role == (ExitCode.USAGE, "pcapdj up: --foreground starts all roles. Name none.\n")
    assert second == (
        ExitCode.USAGE,
        f"pcapdj up: The service runs already: supervisord has the pid {pid}.\n",
    )
