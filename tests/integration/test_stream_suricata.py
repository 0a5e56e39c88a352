"""Real analyzers behind the launcher: what the presets promise."""

import hashlib
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.cases import some_long
from support.launcher_rig import ActingWaits, Rig, connected, feed, feed_stream, is_running, rig_in
from support.programs import require_program
from support.sample import sample_in
from support.waiting import wait_until

from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.interpreter import module_command
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store

HEADER_BYTES = 24


@pytest.fixture
def rig(short_path: Path) -> Iterator[Rig]:
    """Return a launcher's folder and processes."""
    with rig_in(short_path) as rig:
        yield rig


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """Return the sample's five captures as one: a header and all records."""
    captures = [path.read_bytes() for path in sample_in(tmp_path / "sample")]
    whole = tmp_path / "whole.pcap"
    whole.write_bytes(captures[0][:HEADER_BYTES] + b"".join(capture[HEADER_BYTES:] for capture in captures))
    return whole


@pytest.mark.usefixtures("suricata")
def test_suricata_extract_stores_a_3_mb_download_whole(
    rig: Rig, signals: Signals, stream: Path, tmp_path: Path
) -> None:
    """Stock limits would cut it at 100 kB; the shipped configuration has none, and the sha256 is right."""
    rig.start(options=("--preset", "suricata-extract"))

    feed_stream(rig, signals, stream)

    expected = (tmp_path / "sample/expected.sha256").read_text().split()[0]
    stored = rig.latest() / "filestore" / expected[:2] / expected
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == expected
    assert expected in (rig.latest() / "eve.json").read_text()
    assert "exit='exited 0'" in rig.logged()


@pytest.mark.usefixtures("suricata")
@pytest.mark.parametrize("runmode", some_long(["single", "autofp"], quick=("autofp",)))
def test_suricata_that_cannot_read_the_stream_is_a_crash(
    rig: Rig, signals: Signals, runmode: str, tmp_path: Path
) -> None:
    """One run mode exits 0, the other closes the pipe and lives on, deaf to SIGTERM: both are seen."""
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"no capture at all, and longer than a file header")
    rig.start("suricata", "--runmode", runmode, "-r", "{pipe}", "-l", "{logdir}", "-S", "/dev/null")
    launcher = connected(rig, signals)
    opened = launcher.open()
    pid = rig.analyzer_pid()

    with suppress(BrokenPipeError):  # it may be gone before the last look at the file
        feed(launcher, opened, garbage)

    wait_until(lambda: "analyzer_crashed" in rig.logged(), "the crash to be seen")
    assert not is_running(pid)
    os.close(opened.write_end)


@pytest.mark.usefixtures("suricata")
def test_suricata_without_rights_is_reported_with_the_cause(rig: Rig, signals: Signals, store: Store) -> None:
    """Its last line is "Signal Received", its second one has the cause; the reason names the log, too."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    command = ["suricata", "--user=nobody", "-r", "{pipe}", "-l", "{logdir}", "-S", "/dev/null"]
    lane = {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}
    rig.start(*command, environment=lane)

    def reason() -> str:
        return os.fsdecode(store.redis.hget(store.keys.consumer, "reason") or b"")

    def leave_once_shown() -> None:
        if reason():
            raise Stopped("The reason is shown.")

    with pytest.raises(Stopped):
        connected(rig, ActingWaits(signals, leave_once_shown)).open()

    log = next(iter(sorted(rig.logs.glob("2*/analyzer.log"))))
    assert f"suricata exited 0 before it opened the pipe. From its log '{log}': E: " in reason()
    assert "Permission denied" in reason()
    assert "Signal Received" not in reason()


@pytest.mark.usefixtures("suricata")
def test_suricata_with_a_header_alone_is_ended_at_once(
    rig: Rig, signals: Signals, stream: Path, tmp_path: Path
) -> None:
    """It would hang on it for ever; nothing is lost by killing it."""
    header = tmp_path / "header"
    header.write_bytes(stream.read_bytes()[:HEADER_BYTES])
    rig.start("suricata", "--runmode", "single", "-r", "{pipe}", "-l", "{logdir}", "-S", "/dev/null")
    launcher = connected(rig, signals)
    opened = launcher.open()
    with header.open("rb") as source:
        launcher.put(opened.stream, "header", source.fileno(), {})
        os.splice(source.fileno(), opened.write_end, HEADER_BYTES)

    os.close(opened.write_end)
    launcher.end(opened.stream)

    wait_until(lambda: "stream_ended" in rig.logged(), "the end")
    assert "it had nothing to read" in rig.logged()
    assert not is_running(rig.analyzer_pid())


def test_tcpdump_copies_the_stream(rig: Rig, signals: Signals, stream: Path) -> None:
    """The stream as one capture file, byte for byte."""
    require_program("tcpdump")
    rig.start(options=("--preset", "tcpdump"))

    feed_stream(rig, signals, stream)

    assert (rig.latest() / "stream.pcap").read_bytes() == stream.read_bytes()


@pytest.mark.long
def test_tshark_counts_the_streams_protocols(rig: Rig, signals: Signals, stream: Path) -> None:
    """Its table stands in the analyzer's log."""
    require_program("tshark")
    rig.start(options=("--preset", "tshark"))

    feed_stream(rig, signals, stream)

    assert "Protocol Hierarchy Statistics" in (rig.latest() / "analyzer.log").read_text()


def test_summary_runs_wherever_pcapdj_does(rig: Rig, signals: Signals, stream: Path, tmp_path: Path) -> None:
    """It starts in its log folder and still finds pcapdj, installed or not; the log has name and argv."""
    rig.start(options=("--preset", "summary"))

    feed_stream(rig, signals, stream)

    argv = module_command("pcapdj.summary", str(rig.pipe), str(rig.latest()))
    assert "command=summary" in rig.logged()
    assert f"logdir={rig.latest()}: {shlex.join(argv)}\n" in rig.logged()
    expected = (tmp_path / "sample/expected.sha256").read_text().split()[0]
    assert expected in (rig.latest() / "objects.jsonl").read_text()
