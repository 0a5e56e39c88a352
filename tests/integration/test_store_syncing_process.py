"""The companion process of the embedded server: until when it syncs, and what its start may fail on."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.forkserver import run
from support.rows import each_row
from support.waiting import wait_until

from pcapdj.runtime import log
from pcapdj.store.start_problem import problem_at
from pcapdj.store.syncing import AppendOnlyFiles, HangWatch, is_synced, keep_synced, lock_data, start_beside


@contextmanager
def watched(*command: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Return a process and its pidfd; both end with the block."""
    with subprocess.Popen(command) as process:
        pidfd = os.pidfd_open(process.pid)
        try:
            yield process, pidfd
        finally:
            process.kill()
            os.close(pidfd)


def test_it_syncs_once_more_after_the_server_has_ended(tmp_path: Path) -> None:
    """The server may have written until its last moment."""
    synced: list[int] = []

    with watched("true") as (_, pidfd):
        keep_synced(AppendOnlyFiles(tmp_path, synced.append), pidfd, lock_data(tmp_path), HangWatch(tmp_path))

    assert len(synced) == 1


def test_the_folder_is_unlocked_before_the_last_sync(tmp_path: Path) -> None:
    """The next server does not wait for a slow disk."""
    free: list[bool] = []

    def sync(_: int) -> None:
        free.append(not is_synced(tmp_path))

    with watched("true") as (_, pidfd):
        keep_synced(AppendOnlyFiles(tmp_path, sync), pidfd, lock_data(tmp_path), HangWatch(tmp_path))

    assert free == [True]


def test_it_syncs_while_the_server_runs(tmp_path: Path) -> None:
    """After each append."""
    synced: list[int] = []
    with watched("sleep", "60") as (process, pidfd):
        files, folder = AppendOnlyFiles(tmp_path, synced.append), lock_data(tmp_path)
        keeping = threading.Thread(target=keep_synced, args=(files, pidfd, folder, HangWatch(tmp_path)))
        keeping.start()
        wait_until(lambda: synced, "the folder to be synced")
        before = len(synced)
        (tmp_path / "appendonly.aof").write_bytes(b"*1")

        wait_until(lambda: len(synced) >= before + 2, "the file and its folder to be synced")

        process.kill()
        keeping.join()


def test_a_failing_disk_is_logged_once_and_syncing_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next rounds try again, and log nothing for a minute."""
    tried: list[int] = []

    def fail(descriptor: int) -> None:
        tried.append(descriptor)
        raise OSError(5, "Input/output error")

    with watched("sleep", "60") as (process, pidfd):
        files, folder = AppendOnlyFiles(tmp_path, fail), lock_data(tmp_path)
        keeping = threading.Thread(target=keep_synced, args=(files, pidfd, folder, HangWatch(tmp_path)))
        keeping.start()
        wait_until(lambda: len(tried) >= 2, "it to be tried again")
        process.kill()
        keeping.join()
    log.flush()

    logged = capsys.readouterr().err
    assert logged.count("WARNING redis sync_failed") == 1
    assert "Input/output error" in logged


def test_a_sync_that_hangs_is_named_until_it_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the log, once, and beside the server's socket, where each screen finds it."""
    answers, socket = threading.Event(), tmp_path / "redis.sock"

    def hang(_: int) -> None:
        answers.wait()

    watch = HangWatch(socket, limit_s=0.05)
    watch.start()
    with watched("sleep", "60") as (process, pidfd):
        files = AppendOnlyFiles(tmp_path, hang)
        keeping = threading.Thread(target=keep_synced, args=(files, pidfd, lock_data(tmp_path), watch))
        keeping.start()
        wait_until(lambda: problem_at(f"unix://{socket}"), "the hang to be shown")
        problem = problem_at(f"unix://{socket}")
        answers.set()
        wait_until(lambda: not problem_at(f"unix://{socket}"), "the hang to be over")
        process.kill()
        keeping.join()
    log.flush()

    logged = capsys.readouterr().err
    assert problem.startswith("The disk with the data of Redis has not finished a sync for more than 10 s.")
    assert logged.count("WARNING redis sync_hangs") == 1
    assert logged.count("INFO    redis sync_returned") == 1


def test_a_companion_that_cannot_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the server has to sync by itself; the folder is unlocked."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))

    assert not start_beside(tmp_path, lock_data(tmp_path), tmp_path)
    assert not is_synced(tmp_path)


def test_a_companion_that_fails_at_its_start_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does where memory is short."""
    monkeypatch.setattr(sys, "executable", "false")

    assert not start_beside(tmp_path, lock_data(tmp_path), tmp_path)


@each_row("arguments", [(), ("--help",), ("/data", "1"), ("/data", "one", "two")])
def test_a_start_by_hand_is_refused_with_a_sentence(arguments: tuple[str, ...]) -> None:
    """It is a part of the embedded Redis."""
    done = run("pcapdj.store.syncing", *arguments)

    assert done.returncode == 2
    assert done.stderr == "python -m pcapdj.store.syncing: Only the embedded Redis starts this program.\n"
