"""The FIFO fault of Suricata 8.0.0 to 8.0.5, emulated with a few lines of C preloaded into Suricata 7.

These versions give libpcap's file a new buffer after it has read the file header, and so lose what was read
with it. pcapdj sends the header alone, and the records once it has been read.
"""

import os
import re
import subprocess
from pathlib import Path
from threading import Thread
from typing import Final

import pytest
from support import forkserver
from support.forkserver import PIPE
from support.programs import require_program
from support.sample import sample_in
from support.service_rig import environment

SOURCE: Final = Path(forkserver.__file__).with_name("new_buffer.c")
OPTIONS: Final = ("-S", "/dev/null", "-k", "none", "-l")


@pytest.fixture
def preloaded(short_path: Path) -> list[str]:
    """Return the beginning of the command of a Suricata that loses what it read with the header."""
    library = short_path / "new_buffer.so"
    compiler = require_program("cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True, timeout=60)
    return ["env", f"LD_PRELOAD={library}", require_program("suricata")]


def test_through_a_plain_pipe_it_reads_nothing_and_exits_0(preloaded: list[str], short_path: Path) -> None:
    """Header and records arrive together: what follows the header is lost, and no error is reported."""
    (capture, *_) = sample_in(short_path / "sample")
    pipe, logs = short_path / "pipe", short_path / "logs"
    logs.mkdir()
    os.mkfifo(pipe)
    writer = Thread(target=write_all, args=(pipe, capture.read_bytes()))
    writer.start()

    ran = subprocess.run(
        [*preloaded, "-r", pipe, *OPTIONS, logs], capture_output=True, text=True, timeout=60, check=False
    )
    writer.join()

    assert ran.returncode == 0
    assert "failed to get first packet timestamp" in ran.stdout + ran.stderr


def write_all(pipe: Path, content: bytes) -> None:
    """Write into the pipe until its reader goes."""
    try:
        pipe.write_bytes(content)
    except BrokenPipeError:
        return


@pytest.mark.long
def test_through_pcapdj_everything_arrives(preloaded: list[str], short_path: Path) -> None:
    """The same Suricata gets every packet of the five files."""
    files = [str(path) for path in sample_in(short_path / "sample")]
    (short_path / "tmp").mkdir()
    room = ("--min-free", "1MiB", "--resume-after", "0", "--suspend-free", "0", "--min-free-inodes", "0")

    with forkserver.start(
        *("pcapdj", "run", *files, "--logdir", "out", *room),
        *("--", *preloaded, "-r", "{pipe}", *OPTIONS, "{logdir}"),
        cwd=short_path,
        env=environment(TMPDIR=str(short_path / "tmp")),
        forks=True,
        stdout=PIPE,
        stderr=PIPE,
        text=True,
    ) as process:
        stdout, stderr = process.communicate(60)

    assert process.wait() == 0, stderr
    assert re.search(r"^packets +3,377$", stdout, re.MULTILINE), stdout + stderr
    assert "3377 packets" in (short_path / "out/latest/analyzer.log").read_text()
