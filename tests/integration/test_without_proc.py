"""Where no /proc is mounted (chroot, container) a role or a run says so, and no capture is at fault.

An empty file system covers it, in a mount namespace that ends with the role.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from support.programs import require_program
from support.reclaiming import write_capture
from support.service_rig import environment
from support.waiting import scaled, wait_until

from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store

SENTENCE: Final = "/proc is not mounted: pcapdj needs it. Mount it: mount -t proc proc /proc"
COVER: Final = "mount -t tmpfs none /proc"
OPENS: Final = f"""
import os, subprocess, sys
from pcapdj.capture.reading_process import FileOpener
from pcapdj.runtime.errors import Unavailable
from pcapdj.runtime.signals import handled

def opened():
    file = opener.open(os.fsencode(sys.argv[1]), root=None, refuse_written=False)
    assert len(file.read(4, 0)) == 4
    file.close()

with handled() as signals:
    opener = FileOpener(signals)
    opened()
    subprocess.run("{COVER}", shell=True, check=True)
    try:
        opened()
    except Unavailable as exc:
        print(exc)
"""
NOBODY: Final = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a mount namespace")


def isolated(*words: str | Path) -> list[str]:
    """Return the command line of a command in a mount namespace of its own."""
    return [require_program("unshare"), "--mount", *map(str, words)]


def variables(store: Store) -> dict[str, str]:
    """Return the environment of a role in a lane."""
    return environment(PCAPDJ_REDIS_URL=store.url, PCAPDJ_LANE=store.keys.lane)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["dispatch", "-b", "pipe"], id="dispatcher"),
        pytest.param(["control"], id="controller"),
        pytest.param(["consume", "--", "cat", "{pipe}"], id="launcher"),
        pytest.param(["import", "1.pcap"], id="importer"),
        pytest.param(["run", "1.pcap", "--logdir", "out", "--", "cat", "{pipe}"], id="run"),
    ],
)
def test_no_role_starts_without_it(store: Store, short_path: Path, words: list[str]) -> None:
    """It neither fails the queue nor ends with a traceback, and queues nothing whose mount it cannot see."""
    capture = write_capture(short_path / "1.pcap")
    store.redis.rpush(store.keys.in_queue, os.fsencode(capture))
    script = f'{COVER} && exec "$@"'

    done = subprocess.run(
        isolated("sh", "-c", script, "sh", sys.executable, "-m", "pcapdj", *words),
        cwd=short_path,
        env=variables(store),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(30),
    )

    assert done.returncode == ExitCode.UNAVAILABLE
    assert SENTENCE in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert store.redis.lrange(store.keys.in_queue, 0, -1) == [os.fsencode(capture)]


@pytest.mark.parametrize("kind", ["path", "relative path", "link of another user"])
def test_a_good_capture_is_not_missing_where_it_is_gone(tmp_path: Path, kind: str) -> None:
    """The dispatcher opens what it has found through /proc; so does the process that reads behind links."""
    name = write_capture(tmp_path / "1.pcap")
    if kind == "link of another user":
        name = tmp_path / "link"
        name.symlink_to("1.pcap")
        os.chown(name, NOBODY, NOBODY, follow_symlinks=False)
    command = isolated(sys.executable, "-c", OPENS, name.name if kind == "relative path" else name)

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.stdout.strip(), done.stderr) == (SENTENCE, "")


def test_a_dispatcher_that_loses_it_fails_no_capture(store: Store, short_path: Path) -> None:
    """It ends and says why; the next one has the whole queue."""
    queued = [os.fsencode(write_capture(short_path / f"{number}.pcap", number)) for number in (1, 2)]
    command = isolated(sys.executable, "-m", "pcapdj", "dispatch", "-b", "pipe", "--id", "x", "--follow")
    with subprocess.Popen(
        command, cwd=short_path, env=variables(store), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(lambda: store.redis.exists(store.keys.stats("x")), "the dispatcher to start")
            enter = [require_program("nsenter"), f"--mount=/proc/{process.pid}/ns/mnt", *COVER.split()]
            subprocess.run(enter, check=True)
            store.redis.rpush(store.keys.in_queue, *queued)
            printed = process.communicate(timeout=scaled(30))[1]
        finally:
            process.kill()

    assert process.returncode == ExitCode.UNAVAILABLE
    assert SENTENCE in " ".join(printed.split())
    assert not store.redis.exists(store.keys.failed)
    assert store.redis.lrange(store.keys.in_queue, 0, -1) == queued[1:]  # the first one is in flight
