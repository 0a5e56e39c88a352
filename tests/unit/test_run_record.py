"""What `pcapdj.json` keeps of a run, what the next run reads from it, and what if it cannot be written."""

import json
import os
import resource
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.holes import HOLE_BYTES, with_hole

from pcapdj.capture.files import Identity
from pcapdj.capture.identity import FedCapture
from pcapdj.run.plan import fed_captures_of
from pcapdj.run.record import (
    NEWER,
    RECORD,
    FileResult,
    RunRecord,
    only_run_in,
    result_from_journal,
)
from pcapdj.runtime.errors import AlreadyRunning, CannotCreate, ConfigError

ENTRY = {
    b"name": b"/in/\xff.pcap",
    b"verdict": b"processed",
    b"stream": b"s1",
    b"packets": b"3",
    b"stream_start": b"",
    b"step_ns": b"-5",
    b"jump": b"begins 5 ns before the end of the previous file",
    b"left_out": b'{"101": 2}',
    b"earlier_streams": b'["s0"]',
    b"earlier_parts": b"[[1, 2]]",
}
RESULT = FileResult(
    "/in/\udcff.pcap",
    "processed",
    stream="s1",
    numbers={"packets": 3, "step_ns": -5},
    jump="begins 5 ns before the end of the previous file",
    left_out={"101": 2},
    earlier_streams=["s0"],
    earlier_parts=[[1, 2]],
)
STOPPED = FileResult(
    "/in/2.pcap",
    "stopped",
    stream="s2",
    numbers={"packets": 1, "size_bytes": 9, "mtime_ns": 5},
    earlier_streams=["s1"],
    begin={"place": {"offset": 40}},
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


def test_the_captures_of_a_record_are_those_that_were_fed() -> None:
    """Whole, or cut off at their end; not those that were known, and none with numbers that are not valid."""
    numbers = {
        "size_bytes": 9,
        "mtime_ns": 5,
        "length_bytes": 8,
        "crc32": 7,
        "section": 0,
        "interfaces_end": 0,
    }
    whole = FileResult("/a", "processed", numbers=numbers, first="40:ab")
    cut_off = replace(whole, name="/b", verdict="failed")
    known = replace(whole, name="/c", first="", known_as="/a")
    invalid = replace(whole, name="/d", numbers={**numbers, "crc32": 1 << 32})

    found = list(fed_captures_of([whole, cut_off, known, invalid, PLAIN]))

    assert [(digest, each["name"], each["is_whole"]) for digest, each in found] == [
        ("40:ab", "/a", True),
        ("40:ab", "/b", False),
    ]
    assert FedCapture.from_fields(found[0][1]) == FedCapture(
        *("/a", 8, 7, True, 0, 0), Identity(0, 0, 9, 5), 0
    )


def test_the_result_of_a_file_that_grew_has_the_streams_of_its_beginning(tmp_path: Path) -> None:
    """Their folders belong to the run's output."""
    record = RunRecord(tmp_path, resume=False)
    first = FileResult("/a", "processed", stream="s1", earlier_streams=["s0"])
    record.add([first])
    record.add([FileResult("/a", "processed", stream="s2", numbers={"begin_bytes": 9})])

    assert record.results["/a"].earlier_streams == ["s0", "s1"]


def test_a_file_whose_time_alone_changed_keeps_its_result(tmp_path: Path) -> None:
    """The next run finds it by its new time."""
    record = RunRecord(tmp_path, resume=False)
    record.add([replace(RESULT, name="/a")])
    record.add([FileResult("/a", "processed", numbers={"size_bytes": 9, "mtime_ns": 6}, known_as="/a")])

    assert record.results["/a"].packets == RESULT.packets
    assert record.was_processed("/a", 9, 6)


def test_a_resumed_run_reads_what_the_earlier_one_wrote(tmp_path: Path) -> None:
    """Results with a jump and without, and that of a file in which the run was stopped."""
    record = RunRecord(tmp_path, resume=False)
    record.add([PLAIN, RESULT, STOPPED])
    record.write({})

    again = RunRecord(tmp_path, resume=True)
    assert again.results == {each.name: each for each in (PLAIN, RESULT, STOPPED)}
    assert not again.was_processed(STOPPED.name, 9, 5)


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


def test_a_result_is_on_the_disk_at_once_also_where_the_whole_record_is_not_written(tmp_path: Path) -> None:
    """It is appended as a line; a run that resumes after a kill -9 reads both files, and makes them one."""
    record = RunRecord(tmp_path, resume=False, interval_s=1000)
    record.save()
    for result in (PLAIN, RESULT):
        record.add([result])
        record.save()
    lines = (tmp_path / NEWER).read_text().splitlines()

    resumed = RunRecord(tmp_path, resume=True)
    resumed.save()

    assert [json.loads(line)["name"] for line in lines] == [PLAIN.name, RESULT.name]
    assert resumed.results == {PLAIN.name: PLAIN, RESULT.name: RESULT}
    assert files_in(tmp_path) == [PLAIN.name, RESULT.name]
    assert not (tmp_path / NEWER).exists()


def test_a_line_that_a_crash_cut_is_left_out(tmp_path: Path) -> None:
    """Its file is fed again; the lines before it and those that are appended later are read."""
    record = RunRecord(tmp_path, resume=False, interval_s=1000)
    record.save()
    record.add([PLAIN])
    record.save()
    with (tmp_path / NEWER).open("a") as lines:
        lines.write('{"name": "/in/cut.pcap", "verd')
    record.add([RESULT])
    record.save()

    assert RunRecord(tmp_path, resume=True).results == {PLAIN.name: PLAIN, RESULT.name: RESULT}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", [1]),
        ("steps_back", "x"),
        ("left_out", 7),
        ("left_out", {"1": "x"}),
        ("earlier_streams", 9),
        ("earlier_streams", [{}]),
        ("earlier_parts", [[1, "x"]]),
        ("earlier_parts", [7]),
        ("packets", 10**90),
        ("packets", True),
        ("begin", "x"),
    ],
)
def test_a_result_with_a_field_of_another_type_is_refused(tmp_path: Path, field: str, value: object) -> None:
    """As a line it is left out, and the file fed again; it ended the run at its report."""
    fields = {"name": "/in/1.pcap", "verdict": "processed", "reason": "", "stream": "s"}
    changed = json.dumps({**fields, field: value})
    (tmp_path / NEWER).write_text(f"{json.dumps(fields)}\n{changed}\n{'[' * 100_000}\n7\n")

    assert [each.left_out for each in RunRecord(tmp_path, resume=True).results.values()] == [{}]

    (tmp_path / RECORD).write_text(f'{{"files": [{changed}]}}')
    with pytest.raises(ConfigError, match="is not a whole record of a run"):
        RunRecord(tmp_path, resume=True)


def test_a_journal_entry_keeps_only_what_is_of_its_type() -> None:
    """An analyzer of the same user reaches the journal of its run, which still ends with a report."""
    entry = ENTRY | {b"packets": b"9" * 5000, b"left_out": b'{"101": 2, "1": "x"}'}
    entry |= {b"earlier_streams": b'["s0", {}]', b"earlier_parts": b'[[1, 2], [1], 7, ["x", 1]]'}

    assert result_from_journal(entry) == replace(RESULT, numbers={"step_ns": -5})


def test_a_crash_before_the_lines_are_removed_doubles_nothing(tmp_path: Path) -> None:
    """Then a result stands in both files; the newer one of a name counts."""
    record = RunRecord(tmp_path, resume=False, interval_s=1000)
    record.save()
    record.add([FileResult(PLAIN.name, "failed", "x"), PLAIN])
    record.save()
    lines = (tmp_path / NEWER).read_text()
    record.write({})
    (tmp_path / NEWER).write_text(lines)

    assert RunRecord(tmp_path, resume=True).results == {PLAIN.name: PLAIN}


def test_a_reader_of_a_long_run_finds_at_least_four_fifths_of_its_results(tmp_path: Path) -> None:
    """The whole record is written again when a quarter more results came, with all that stand in lines."""
    record = RunRecord(tmp_path, resume=False, interval_s=0)

    for number in range(200):
        record.add([FileResult(f"/in/{number}", "processed")])
        record.save()
        assert len(files_in(tmp_path)) >= (number + 1) * 4 // 5

    assert (tmp_path / NEWER).exists()


@pytest.mark.long
def test_a_result_costs_the_same_however_many_there_are(tmp_path: Path) -> None:
    """Counted in bytes written: ten times as many results take ten times as many."""
    few = written_bytes(tmp_path / "few", 400)
    many = written_bytes(tmp_path / "many", 4000)

    assert many < 15 * few


def written_bytes(logdir: Path, results: int) -> int:
    """Return how many bytes this process writes for so many results, each saved by itself."""
    record = RunRecord(logdir, resume=False, interval_s=0)
    before = wchar()
    for number in range(results):
        record.add([FileResult(f"/in/{number:06}", "processed")])
        record.save()
    return wchar() - before


def wchar() -> int:
    """Return how many bytes this process has written so far; see proc(5)."""
    [line] = [line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar")]
    return int(line.split()[1])


def files_in(logdir: Path) -> list[str]:
    """Return the names of the files that pcapdj.json has."""
    return [each["name"] for each in json.loads((logdir / RECORD).read_text())["files"]]


def test_a_record_that_cannot_be_written_stays_in_memory_and_is_written_later(tmp_path: Path) -> None:
    """The earlier record stays whole, half of a new one is removed, and a later save tries again."""
    record = RunRecord(tmp_path, resume=False, interval_s=0)
    record.add([PLAIN])
    record.write({})
    whole = (tmp_path / RECORD).read_text()

    record.add([RESULT])
    with largest_file(10):
        record.save()
    error, left = record.write_error, (tmp_path / RECORD).read_text()
    hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    record.save()

    assert (error, left, hidden) == ("File too large", whole, [])
    assert record.write_error == ""
    assert len(files_in(tmp_path)) == 2


def test_results_that_could_not_be_appended_are_appended_later(tmp_path: Path) -> None:
    """A line of which only a part found room is written again, whole."""
    record = RunRecord(tmp_path, resume=False, interval_s=0)
    record.add([FileResult(f"/in/{number}", "processed") for number in range(10)])
    record.save()
    record.add([PLAIN])
    with largest_file(40):
        record.save()
    error = record.write_error
    record.add([RESULT])
    record.save()

    assert error == "No space left on device"
    assert record.write_error == ""
    assert RunRecord(tmp_path, resume=True).results == record.results


def test_saving_is_tried_again_after_a_second_and_not_at_each_look(tmp_path: Path) -> None:
    """A record of many thousand files is not serialized ten times a second for a full disk."""
    record = RunRecord(tmp_path, resume=False)
    with largest_file(10):
        record.save()
    record.save()

    assert record.write_error == "File too large"
    assert not (tmp_path / RECORD).exists()


def test_lines_without_a_whole_record_are_an_earlier_run_too(tmp_path: Path) -> None:
    """Its disk may have been full when it started; what it fed is not fed again."""
    (tmp_path / NEWER).write_text('{"name": "/a", "verdict": "processed", "reason": "", "stream": ""}\n')

    with pytest.raises(ConfigError, match="has the output of an earlier run"):
        RunRecord(tmp_path, resume=False)
    assert list(RunRecord(tmp_path, resume=True).results) == ["/a"]


@pytest.mark.parametrize(
    ("content", "resume", "expected"),
    [
        ("{}", True, "is not a whole record of a run. Repair it, or use another --logdir."),
        ("half", True, "is not a whole record of a run."),
        ("{}", False, "has the output of an earlier run. Use --resume to continue it, or another --logdir."),
        (None, True, "o'. Name the folder of that run with --logdir."),
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


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    """Until its end; it is created. No file marks it."""
    logdir = tmp_path / "o"
    with only_run_in(logdir, resume=False):
        for resume in (True, False):
            second = only_run_in(logdir, resume=resume)
            with pytest.raises(AlreadyRunning, match="Another run writes to"), second:
                pass

    with only_run_in(logdir, resume=True):
        assert not list(logdir.iterdir())


def test_a_folder_of_an_earlier_run_is_not_created(tmp_path: Path) -> None:
    """A mistyped name makes nothing; what is missing there is the record's to report."""
    with only_run_in(tmp_path / "o", resume=True):
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [RECORD, NEWER])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_a_record_that_is_no_file_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    """It may be in a folder of captures from anywhere, and an open of a pipe would wait for ever."""
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    elif kind == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).symlink_to("/dev/zero")

    with pytest.raises(ConfigError, match=rf"{name}' cannot be read: "):
        RunRecord(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("name", "hole_bytes"),
    [(RECORD, HOLE_BYTES), pytest.param(NEWER, 256 << 20, marks=pytest.mark.long)],
)
def test_a_record_with_a_hole_takes_no_memory(name: str, hole_bytes: int, tmp_path: Path) -> None:
    """The newer results are read line by line, and one without an end is left out."""
    with_hole(tmp_path / name, b"{}\n", hole_bytes)
    tracemalloc.start()
    with pytest.raises(ConfigError, match="it has more than") if name == RECORD else nullcontext():
        assert RunRecord(tmp_path, resume=True).results == {}
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 16 << 20


HEAD = b'{\n "pcapdj": "1",\n "files": [\n'


@pytest.mark.parametrize(
    ("beginning", "repeated", "end"),
    [
        (b"{", b"", b""),
        (HEAD, b"", b""),
        (b'{"files": [1', b",1", b"]}"),
        (HEAD, b"1,\n", b"1\n ]\n}\n"),
        (b"{\n", b" " * 4000 + b"\n", b'"files": []}'),
    ],
    ids=["hole", "hole after the head", "list on one line", "list on many lines", "blank lines"],
)
def test_a_long_record_that_no_run_wrote_is_refused_without_its_memory(
    tmp_path: Path, beginning: bytes, repeated: bytes, end: bytes
) -> None:
    """A folder of captures from anywhere may have it; only the lines up to the first wrong one are read."""
    content = beginning + repeated * ((4 << 20) // len(repeated) if repeated else 0)
    with_hole(tmp_path / RECORD, content + end if repeated else content, max(1 << 30, len(content)))
    if repeated:
        (tmp_path / RECORD).write_bytes(content + end)
    tracemalloc.start()
    with pytest.raises(ConfigError, match="is not a whole record of a run"):
        RunRecord(tmp_path, resume=True)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 8 << 20


def test_a_record_of_many_files_is_read_whole(tmp_path: Path) -> None:
    """It has more than 1 MiB; one that was cut is refused."""
    record = RunRecord(tmp_path, resume=False)
    record.add(replace(RESULT, name=f"/in/{number:01000}.pcap") for number in range(1200))
    record.write({"complete": True, "folders": {"/in": ["a"]}})

    assert RunRecord(tmp_path, resume=True).results == record.results

    data = (tmp_path / RECORD).read_bytes()
    assert len(data) > 1 << 20
    for cut in (data[:-2], data[:-5], data[:-2000], data + b"{}\n"):
        (tmp_path / RECORD).write_bytes(cut)
        with pytest.raises(ConfigError, match="is not a whole record of a run"):
            RunRecord(tmp_path, resume=True)


def test_a_record_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file costs memory; a million of them is a record of this program."""
    record = RunRecord(tmp_path, resume=False)
    record.add([PLAIN, RESULT, STOPPED])
    record.write({})
    monkeypatch.setattr("pcapdj.run.record_lines._MOST_RESULTS", 2)

    with pytest.raises(ConfigError, match="has results of more than 2 files"):
        RunRecord(tmp_path, resume=True)


@pytest.mark.parametrize("name", [RECORD, NEWER])
@pytest.mark.parametrize(
    "fields",
    [
        {"begin": {"a": [[]] * 300}},
        {"left_out": {str(number): number for number in range(300)}},
        {"earlier_streams": [""] * 3000},
        {"earlier_parts": [[1, 1]] * 300},
        {"jump": "\U0001f600" * 3000},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_record_whose_results_take_too_much_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: Mapping[str, Any], name: str
) -> None:
    """A list of empty lists takes thirty times its text: each KiB of memory counts as a result."""
    plain, long = ({"name": f"/{number}", "verdict": "failed", "reason": "", "stream": ""} for number in "ab")
    lines = [json.dumps(plain), json.dumps({**long, **fields})]
    text = "\n".join(lines) if name == NEWER else f'{{"files": [{",".join(lines)}]}}'
    (tmp_path / name).write_text(f"{text}\n")
    assert len(RunRecord(tmp_path, resume=True).results) == len(lines)
    monkeypatch.setattr("pcapdj.run.record_lines._MOST_RESULTS", 10)

    with pytest.raises(ConfigError, match="has results of more than 10 files, or as much text"):
        RunRecord(tmp_path, resume=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_the_record_of_another_user_is_not_read(tmp_path: Path) -> None:
    """Its folder is looked at first."""
    (tmp_path / RECORD).write_text("half")
    os.chown(tmp_path, 65534, 65534)

    with pytest.raises(CannotCreate, match="belongs to another user"):
        RunRecord(tmp_path, resume=True)
