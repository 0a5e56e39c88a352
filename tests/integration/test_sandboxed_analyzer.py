"""The documented sandbox: the analyzer reads the stream and writes its folder, and reaches nothing else."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support.captures import classic
from support.launcher_rig import Rig, feed_stream, rig_in, stop
from support.roles_rig import numbered

from pcapdj.runtime.signals import Signals

SECURITY: Final = (Path(__file__).resolve().parents[2] / "SECURITY.md").read_text()
PROBE: Final = [
    "sh",
    "-c",
    "ls -d /proc/[0-9]* > processes; ls $(dirname {pipe}) /root /home /var/run > seen; cat {pipe} > copy",
]


def documented() -> list[str]:
    """Return the documented command up to the analyzer, for a machine without Suricata's files."""
    line = re.search(r'PCAPDJ_CONSUMER_COMMAND="(bwrap .*)"', SECURITY)
    assert line
    words = shlex.split(line[1])
    place = words.index("/etc/suricata") - 1
    del words[place : place + 3]
    return words[: words.index("suricata")]


def works() -> bool:
    """Report whether this machine has bubblewrap, and lets this user make namespaces."""
    words = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    return (
        bool(shutil.which("bwrap")) and not subprocess.run(words, capture_output=True, check=False).returncode
    )


needs_bubblewrap = pytest.mark.skipif(not works(), reason="needs bubblewrap and user namespaces")


@pytest.fixture
def rig(short_path: Path) -> Iterator[Rig]:
    """Return a launcher's folder and processes."""
    with rig_in(short_path) as rig:
        yield rig


@needs_bubblewrap
def test_the_documented_sandbox_feeds_the_analyzer(rig: Rig, signals: Signals) -> None:
    """The stream arrives whole; of other processes and of the service's folder nothing is seen."""
    capture = rig.folder / "1.pcap"
    capture.write_bytes(classic(numbered(1, 20, 100)))
    process = rig.start(*documented(), *PROBE)
    feed_stream(rig, signals, capture)

    assert stop(process) == 0
    assert (rig.latest() / "copy").read_bytes() == capture.read_bytes()
    assert len((rig.latest() / "processes").read_text().split()) <= 4
    assert "launcher.sock" not in (rig.latest() / "seen").read_text()


@needs_bubblewrap
def test_suricata_works_with_exactly_the_documented_command(rig: Rig, signals: Signals) -> None:
    """As a person pastes it; its output is in the stream's folder, and it ends by itself."""
    if not shutil.which("suricata") or not Path("/etc/suricata").is_dir():
        pytest.skip("needs Suricata")
    line = re.search(r'PCAPDJ_CONSUMER_COMMAND="(bwrap .*)"', SECURITY)
    assert line
    capture = rig.folder / "1.pcap"
    capture.write_bytes(classic(numbered(1, 20, 100)))
    process = rig.start(environment={"PCAPDJ_CONSUMER_COMMAND": line[1]})
    feed_stream(rig, signals, capture)

    assert stop(process) == 0
    assert "exit='exited 0'" in rig.logged()
    assert (rig.latest() / "eve.json").exists()


@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_behind_a_launcher_of_root_the_sandbox_needs_another_user(rig: Rig, signals: Signals) -> None:
    """Else root in it is root of the machine. The stream is a descriptor then, and is not bound."""
    for folder in (rig.folder, *list(rig.folder.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    rig.logs.mkdir(mode=0o755)
    capture = rig.folder / "1.pcap"
    capture.write_bytes(classic(numbered(1, 20, 100)))
    words = documented()
    place = words.index("{pipe}") - 1
    del words[place : place + 3]
    probe = [*PROBE[:-1], f"id -u > uid; [ -w /proc/sys/kernel/core_pattern ] && touch escape; {PROBE[-1]}"]
    process = rig.start(*words, *probe, options=("--analyzer-user", "nobody"))
    feed_stream(rig, signals, capture)

    assert stop(process) == 0
    assert (rig.latest() / "copy").read_bytes() == capture.read_bytes()
    assert (rig.latest() / "uid").read_text() == "65534\n"
    assert not (rig.latest() / "escape").exists()
    assert len((rig.latest() / "processes").read_text().split()) <= 4
