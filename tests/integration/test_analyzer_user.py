"""With `--analyzer-user` the analyzer gets the stream and its folder, and reaches nothing of root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from support.captures import classic
from support.launcher_rig import Rig, feed_stream, rig_in, stop
from support.roles_rig import numbered
from support.waiting import wait_until

from pcapdj.analyzer.process import Analyzer
from pcapdj.analyzer.user import check_log_root, find_user
from pcapdj.runtime.errors import CannotCreate, ExitCode
from pcapdj.runtime.signals import Signals

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")

NOBODY: Final = 65534
# Who it is, what it can open, and the stream. A shell: the tests' interpreter may be closed to the user.
PROBE: Final = """
id -u > id; id -G >> id; echo "$HOME $USER" >> id
for path in "$2"/run/launcher.sock "$2"/run/stream.pcap "$2"/secret "$2"/out/other /proc/$PPID/environ; do
    cat "$path" > opened 2>/dev/null && echo "$path" >> reached
done
touch "$2"/out/planted 2>/dev/null && echo planted >> reached
cat "$1" > copy
"""


@pytest.fixture
def rig(short_path: Path) -> Iterator[Rig]:
    """Return a launcher's folder, which others can enter, with files of root in it."""
    with rig_in(short_path) as rig:
        for folder in (short_path, *list(short_path.parents)[:-2]):
            folder.chmod(folder.stat().st_mode | 0o011)
        rig.logs.mkdir(mode=0o755)
        for secret in (short_path / "secret", rig.logs / "other"):
            secret.write_text("secret")
            secret.chmod(0o600)
        yield rig


def test_the_analyzer_reads_the_stream_as_another_user(rig: Rig, signals: Signals) -> None:
    """It has this user's groups and variables; root's files, sockets and processes stay closed to it."""
    capture = rig.folder / "1.pcap"
    capture.write_bytes(classic(numbered(1, 20, 100)))
    words = ("/bin/sh", "-c", PROBE, "probe", "{pipe}", str(rig.folder))
    process = rig.start(*words, options=("--analyzer-user", "nobody"))
    feed_stream(rig, signals, capture)

    assert stop(process) == 0
    folder = rig.latest()
    assert (folder / "copy").read_bytes() == capture.read_bytes()
    uid, groups, variables = (folder / "id").read_text().splitlines()
    assert (uid, "0" in groups.split(), variables.split()[1]) == (str(NOBODY), False, "nobody")
    assert not (folder / "reached").exists()
    assert folder.stat().st_uid == NOBODY
    assert (folder / "analyzer.log").stat().st_uid == 0


@pytest.mark.parametrize(
    ("user", "mode", "owner", "code", "remedy"),
    [
        ("no-such-user", 0o755, 0, ExitCode.USAGE, "There is no user 'no-such-user'"),
        ("root", 0o755, 0, ExitCode.USAGE, "is root. Name a user of its own, or leave it out."),
        ("nobody", 0o700, 0, ExitCode.CANNOT_CREATE, "chmod o+x {logs}"),
        ("nobody", 0o755, NOBODY, ExitCode.CANNOT_CREATE, "belongs to another user, nobody"),
        ("nobody", 0o777, 0, ExitCode.CANNOT_CREATE, "chmod o-w {logs}"),
    ],
    ids=["unknown", "root", "closed", "owned", "open"],
)
def test_a_user_or_folder_that_does_not_fit_is_refused(
    rig: Rig, user: str, mode: int, owner: int, code: ExitCode, remedy: str
) -> None:
    """Before anything is started, with the command that helps."""
    rig.logs.chmod(mode)
    os.chown(rig.logs, owner, owner)

    process = rig.start("cat", "{pipe}", options=("--analyzer-user", user), wait=False)

    assert process.wait() == code
    assert remedy.format(logs=rig.logs) in rig.logged()


def test_a_group_that_the_user_is_in_may_not_write_to_the_folder(rig: Rig) -> None:
    """Also where that group is trusted: the user could put a link in place of the next log folder."""
    rig.logs.chmod(0o775)
    os.chown(rig.logs, 0, NOBODY)

    options = ("--analyzer-user", "nobody", "--trust-group")
    process = rig.start("cat", "{pipe}", options=options, wait=False)

    assert process.wait() == ExitCode.CANNOT_CREATE
    assert f"chmod 755 {rig.logs}" in rig.logged()


def test_the_version_is_asked_for_as_that_user_too(rig: Rig, signals: Signals) -> None:
    """The program may be the user's own: an analyzer that was taken over could exchange it."""
    capture, program = rig.folder / "1.pcap", rig.folder / "bin" / "suricata"
    capture.write_bytes(classic(numbered(1, 20, 100)))
    program.parent.mkdir(mode=0o755)
    asked = rig.folder / "asked"
    asked.touch()
    asked.chmod(0o666)
    program.write_text(f'#!/bin/sh\n[ "$1" = -V ] || exec cat "$2" > copy\nid -u > {asked}\n')
    program.chmod(0o755)
    for path in (program.parent, program):
        os.chown(path, NOBODY, NOBODY)

    process = rig.start(str(program), "-r", "{pipe}", options=("--analyzer-user", "nobody"))
    feed_stream(rig, signals, capture)

    assert stop(process) == 0
    assert asked.read_text() == f"{NOBODY}\n"
    assert (rig.latest() / "copy").read_bytes() == capture.read_bytes()


@pytest.mark.parametrize(
    ("content", "mode", "cause"),
    [
        ("#!/missing\n", 0o755, "the interpreter in its first line, or its dynamic loader, is not installed"),
        ("text\n", 0o755, "it is not a program for this machine, or a script without #! in its first line"),
        ("#!/bin/sh\n", 0o700, "Permission denied"),
    ],
)
def test_a_program_that_this_user_cannot_execute_has_its_cause(
    rig: Rig, content: str, mode: int, cause: str
) -> None:
    """In its log, where the launcher finds it: it is started already when it becomes another user."""
    program = rig.folder / "tool"
    program.write_text(content)
    program.chmod(mode)

    analyzer = Analyzer([str(program)], rig.logs, {}, user=find_user("nobody"))
    wait_until(analyzer.exit_status, "its end")

    assert analyzer.exit_status() == "exited 1"
    assert analyzer.log.read_text() == f"'{program}' does not start as this user: {cause}\n"


def test_a_user_that_it_cannot_become_is_a_sentence_too(rig: Rig) -> None:
    """As where the kernel, or the container, does not let root do it."""
    user = find_user("nobody")
    assert user

    analyzer = Analyzer(["/bin/true"], rig.logs, {}, user=replace(user, uid=2**32 - 1))
    wait_until(analyzer.exit_status, "its end")

    assert analyzer.log.read_text() == "'/bin/true' does not start as this user: Invalid argument\n"


def test_no_process_of_that_user_holds_root_by_stopping_what_it_starts(rig: Rig) -> None:
    """An analyzer of another lane may stop all of its user's again and again, also before they call exec."""
    user = find_user("news")
    assert user
    stopper = subprocess.Popen(
        ["sh", "-c", "while :; do kill -STOP -1; done"],
        cwd="/",
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        stderr=subprocess.DEVNULL,
    )
    try:
        for number in range(5):
            folder = rig.folder / str(number)
            folder.mkdir()
            analyzer = Analyzer(["/bin/sleep", "600"], folder, {}, user=user)
            wait_until(partial(is_stopped, analyzer.pid), "it to be stopped")
            assert analyzer.kill()
            wait_until(analyzer.exit_status, "its end")
        with suppress(CannotCreate):  # it is in time, or it is stopped, too
            check_log_root(user, rig.logs)
    finally:
        stopper.kill()
        stopper.wait()


def is_stopped(pid: int) -> bool:
    """Report whether a process is stopped by a signal, as proc_pid_stat(5) has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")
