"""What `pcapdj.json` keeps of a run, what the next run reads from it, and what if it cannot be written."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pcapdj.run.record import RECORD, FileResult, RunRecord, result_from_journal
from pcapdj.runtime.errors import ConfigError

ENTRY = {
    b"name": b"/in/\xff.pcap",
    b"verdict": b"processed",
    b"stream": b"s1",
    b"packets": b"3",
    b"stream_start": b"",
    b"step_ns": b"-5",
    b"jump": b"begins 5 ns before the end of the previous file",
}
RESULT = FileResult(
    "/in/\udcff.pcap",
    "processed",
    stream="s1",
    numbers={"packets": 3, "step_ns": -5},
    jump="begins 5 ns before the end of the previous file",
)
PLAIN = FileResult("/in/1.pcap", "processed", numbers={"packets": 1, "size_bytes": 9, "mtime_ns": 5})


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: write(2) then fails as on a full disk, for root too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_journal_entry_becomes_a_result_with_the_numbers_that_it_has() -> None:
    """A step may be negative; an empty field is left out."""
    assert result_from_journal(ENTRY) == RESULT


def test_a_resumed_run_reads_what_the_earlier_one_wrote(tmp_path: Path) -> None:
    """Results with a jump and without."""
    record = RunRecord(tmp_path, resume=False)
    record.add([PLAIN, RESULT])
    record.write({})

    assert RunRecord(tmp_path, resume=True).results == {PLAIN.name: PLAIN, RESULT.name: RESULT}


@pytest.mark.parametrize(
    ("verdict", "size_bytes", "mtime_ns", "is_skipped"),
    [
        ("processed", 9, 5, True),
        ("processed", 10, 5, False),
        ("processed", 9, 6, False),
        ("failed", 9, 5, False),
    ],
)
def test_only_the_same_version_of_a_file_that_was_fed_whole_is_skipped(
    tmp_path: Path, verdict: str, size_bytes: int, mtime_ns: int, *, is_skipped: bool
) -> None:
    """Another size or modification time is another file of the same name."""
    record = RunRecord(tmp_path, resume=False)
    record.add([FileResult("/a", verdict, numbers={"size_bytes": 9, "mtime_ns": 5})])

    assert record.was_processed("/a", size_bytes, mtime_ns) is is_skipped
    assert not record.was_processed("/b", size_bytes, mtime_ns)


def test_a_record_that_cannot_be_written_stays_in_memory_and_is_written_later(tmp_path: Path) -> None:
    """The earlier record stays whole, half of a new one is removed, and the next save tries again."""
    record = RunRecord(tmp_path, resume=False)
    record.add([PLAIN])
    record.write({})
    whole = (tmp_path / RECORD).read_text()

    record.add([RESULT])
    with largest_file(10):
        record.write({})
    error, left = record.write_error, (tmp_path / RECORD).read_text()
    names = [path.name for path in tmp_path.iterdir()]
    record.save()

    assert (error, left, names) == ("File too large", whole, [RECORD])
    assert record.write_error == ""
    assert len(json.loads((tmp_path / RECORD).read_text())["files"]) == 2


def test_saving_is_tried_again_after_a_second_and_not_at_each_look(tmp_path: Path) -> None:
    """A record of many thousand files is not serialized ten times a second for a full disk."""
    record = RunRecord(tmp_path, resume=False)
    with largest_file(10):
        record.save()
    record.save()

    assert record.write_error == "File too large"
    assert not (tmp_path / RECORD).exists()


@pytest.mark.parametrize(
    ("content", "resume", "expected"),
    [
        ("{}", True, "cannot be read: 'files'."),
        ("half", True, "cannot be read: Expecting value"),
        ("{}", False, "has the output of an earlier run. Use --resume to continue it, or another --logdir."),
        (None, True, "There is no pcapdj.json of an earlier run. Name the folder of that run with --logdir."),
    ],
)
def test_a_folder_is_refused_if_its_record_does_not_fit(
    tmp_path: Path, content: str | None, *, resume: bool, expected: str
) -> None:
    """Nothing is overwritten, nothing is fed twice because of a typing error, and nothing is created."""
    logdir = tmp_path / "o"
    if content is not None:
        logdir.mkdir()
        (logdir / RECORD).write_text(content)

    with pytest.raises(ConfigError) as caught:
        RunRecord(logdir, resume=resume)

    assert expected in str(caught.value)
    assert logdir.exists() == (content is not None)
