"""The summary analyzer as a process on a real named pipe."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.forkserver import PIPE, Process, start
from support.frames import exchange, header, record, stream
from support.mounts import memory_mount
from support.waiting import wait_until

import pcapdj
from pcapdj.summary.results import Ended, StreamSummary, read_objects

CHECKOUT = Path(pcapdj.__file__).parents[1]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
SOUND = stream(*exchange(b"GET / HTTP/1.1\r\n\r\n", ANSWER))


@contextmanager
def analyzer(source: Path, logdir: Path) -> Iterator[Process]:
    """Run the analyzer for the block; it is killed if it outlives it."""
    with start("pcapdj.summary", source, logdir, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(source: Path, logdir: Path) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of the analyzer on a file."""
    with analyzer(source, logdir) as process:
        out, err = process.communicate()
    return process.wait(), out, err


def summary_in(logdir: Path) -> StreamSummary | None:
    """Return the contents of `summary.json`; None if there is no such file."""
    try:
        return StreamSummary(**json.loads((logdir / "summary.json").read_text()))
    except FileNotFoundError:
        return None


def opened_by_reader(pipe: Path) -> int:
    """Return the pipe's write end as soon as the pipe has a reader, as the launcher does."""
    descriptors: list[int] = []

    def try_open() -> bool:
        try:
            descriptors.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    wait_until(try_open, "the analyzer to open the pipe")
    os.set_blocking(descriptors[0], True)
    return descriptors[0]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Return a named pipe without reader and writer."""
    path = tmp_path / "stream.pcap"
    os.mkfifo(path)
    return path


def test_a_stream_through_a_pipe_gives_all_result_files(pipe: Path, tmp_path: Path) -> None:
    """Small writes with pauses in between give the three files and the report."""
    with analyzer(pipe, tmp_path / "logs") as process:
        with open(opened_by_reader(pipe), "wb", buffering=0) as writer:
            writer.writelines(SOUND[at : at + 100] for at in range(0, len(SOUND), 100))
        out, err = process.communicate()

    summary = summary_in(tmp_path / "logs")
    assert (process.returncode, err) == (0, "")
    assert summary is not None
    assert (summary.packets, summary.complete_objects, summary.ended) == (6, 1, Ended.CLEAN)
    assert [each.size_bytes for each in read_objects(tmp_path / "logs")] == [3]
    assert "stream        clean" in out


@pytest.mark.parametrize("data", [b"", header()])
def test_a_stream_without_records_is_valid(pipe: Path, tmp_path: Path, data: bytes) -> None:
    """Exit code 0, and a clean end in the summary."""
    with analyzer(pipe, tmp_path / "logs") as process:
        descriptor = opened_by_reader(pipe)
        os.write(descriptor, data)
        os.close(descriptor)
        process.communicate()

    summary = summary_in(tmp_path / "logs")
    assert process.returncode == 0
    assert summary is not None
    assert (summary.packets, summary.ended) == (0, Ended.CLEAN)


@pytest.mark.parametrize("has_writer", [False, True])
def test_sigterm_reports_what_was_read(pipe: Path, tmp_path: Path, *, has_writer: bool) -> None:
    """A stop signal ends the wait for bytes or for a writer, and the files are written."""
    with analyzer(pipe, tmp_path / "logs") as process:
        descriptor = opened_by_reader(pipe)
        if has_writer:
            os.write(descriptor, SOUND)
        wait_until((tmp_path / "logs" / "flows.jsonl").exists, "the analyzer to be ready")
        process.send_signal(signal.SIGTERM)
        process.communicate()
        os.close(descriptor)

    summary = summary_in(tmp_path / "logs")
    assert process.returncode == 0
    assert summary is not None
    assert summary.ended == Ended.STOPPED


def test_sighup_changes_nothing(pipe: Path, tmp_path: Path) -> None:
    """The signal to rotate logs does not end the analysis."""
    with analyzer(pipe, tmp_path / "logs") as process:
        descriptor = opened_by_reader(pipe)
        wait_until((tmp_path / "logs" / "flows.jsonl").exists, "the analyzer to be ready")
        process.send_signal(signal.SIGHUP)
        os.write(descriptor, SOUND)
        os.close(descriptor)
        process.communicate()

    summary = summary_in(tmp_path / "logs")
    assert process.returncode == 0
    assert summary is not None
    assert (summary.packets, summary.ended) == (6, Ended.CLEAN)


@pytest.mark.parametrize(
    ("data", "message", "packets"),
    [
        (SOUND[:-1], "into a record", 5),
        (SOUND + b"\xff" * 16, "captured bytes", 6),
        (b"no capture at all, only text", "not a capture stream", 0),
    ],
)
def test_a_torn_stream_is_reported_in_one_sentence(
    tmp_path: Path, data: bytes, message: str, packets: int
) -> None:
    """Exit code 1, a sentence with the fault, and the results before it."""
    source = tmp_path / "torn.pcap"
    source.write_bytes(data)

    code, _, err = finished(source, tmp_path / "logs")

    summary = summary_in(tmp_path / "logs")
    assert code == 1
    assert message in err
    assert err.count("\n") == 1
    assert summary is not None
    assert (summary.packets, summary.ended) == (packets, Ended.TORN)


def test_a_missing_source_is_reported_in_one_sentence(tmp_path: Path) -> None:
    """Without a traceback."""
    code, _, err = finished(tmp_path / "missing", tmp_path / "logs")

    assert (code, err.count("\n")) == (73, 1)


def test_a_folder_as_source_is_reported_in_one_sentence(tmp_path: Path) -> None:
    """A folder can be opened, but not read."""
    code, _, err = finished(tmp_path, tmp_path / "logs")

    assert (code, err.count("\n")) == (1, 1)


def test_a_full_disk_is_an_error(tmp_path: Path, short_path: Path) -> None:
    """Without its results the analyzer does not exit with code 0."""
    source = tmp_path / "sound.pcap"
    source.write_bytes(SOUND)
    with memory_mount(short_path, "4k") as disk:  # one of the two files
        code, _, err = finished(source, disk.folder)

        assert (code, err.count("\n")) == (1, 1)
        assert summary_in(disk.folder) is None


def test_packets_that_cannot_be_decoded_do_not_end_the_analysis(tmp_path: Path) -> None:
    """They are counted until the end of the stream."""
    source = tmp_path / "garbage.pcap"
    source.write_bytes(header(147) + record(b"\xff" * 100) * 50)

    code, out, _ = finished(source, tmp_path / "logs")

    assert code == 0
    assert "undecodable   50" in out
