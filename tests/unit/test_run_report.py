"""The end of a run: the summary's lines, and the exit code."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.rows import each_row

from pcapdj.run.extracted import ExtractedObject, ExtractedObjects
from pcapdj.run.follow import STOPPED_BY_USER, RunProgress
from pcapdj.run.plan import RunPlan
from pcapdj.run.private_service import RoleEnd
from pcapdj.run.record import FileResult, RunRecord
from pcapdj.run.report import (
    Summary,
    analyzer_end,
    anomaly_counts,
    exit_code_of,
    next_place,
    print_summary,
    role_end_texts,
    stream_folders,
    summarize,
    summary_rows,
    suspect_streams,
    verdict_of,
)
from pcapdj.runtime.errors import ExitCode

SUMMARY = Summary(
    fed=2, failed=0, packets=1234, fed_bytes=2048, elapsed_s=1.0, analyzer="zeek, exited 0", logdir="/out"
)
ENDED = {"last_exit": "exited 0", "last_verdict": "ended", "last_stream": "s"}
WELL = RunProgress(streams=["s"], analyzer=ENDED, exits={"s": "exited 0"})


def test_the_summary_of_a_run_that_went_well() -> None:
    """Each line; a run in order has none about timestamps or the record."""
    assert summary_rows(SUMMARY) == [
        ("files", "2 fed"),
        ("packets", "1,234"),
        ("bytes", "2.0 KiB of capture files"),
        ("time", "1.0 s (2.0 KiB/s, start and end included)"),
        ("analyzer", "zeek, exited 0"),
        ("output", "/out"),
    ]


def test_the_summary_of_a_run_in_which_everything_went_wrong() -> None:
    """Each number of files, the jumps, the record, and each object beside what was expected."""
    objects = [
        ExtractedObject("a/x", 1000, "aa", is_whole=True),
        ExtractedObject("a/y", 5, "bb", is_whole=False),
    ]
    expected = {"aa": "x.bin", "bb": "y.bin"}
    summary = replace(
        SUMMARY,
        failed=1,
        fed_before=1000,
        not_fed=3,
        elapsed_s=0.0,
        jumps="1 jump, 'b.pcap' begins 12 s before the end of the previous file",
        write_error="No space left on device",
        objects=ExtractedObjects.of(objects, expected),
        expected=expected,
    )

    assert summary_rows(summary) == [
        ("files", "2 fed, 1 failed, 1,000 fed before, 3 not fed"),
        ("packets", "1,234"),
        ("timestamps", "1 jump, 'b.pcap' begins 12 s before the end of the previous file"),
        ("bytes", "2.0 KiB of capture files"),
        ("time", "0.0 s (0 B/s, start and end included)"),
        ("analyzer", "zeek, exited 0"),
        ("output", "/out"),
        ("object", "a/x, 1,000 bytes, whole"),
        ("  sha256", "aa"),
        ("  expected", "aa  the same"),
        ("object", "a/y, 5 bytes, INCOMPLETE"),
        ("  sha256", "bb"),
        ("  expected", "bb  the same"),
        ("RECORD", "pcapdj.json could not be written: No space left on device"),
        ("MISSING", "y.bin was not extracted whole"),
    ]


def test_of_very_many_missing_objects_some_are_named() -> None:
    """A file of sums may have a hundred thousand, and all of them be of another download."""
    expected = {f"{number:064x}": f"{number}.bin" for number in range(1_010)}

    rows = summary_rows(replace(SUMMARY, expected=expected))

    missing = [value for label, value in rows if label == "MISSING"]
    assert (len(missing), missing[9:]) == (
        11,
        ["9.bin was not extracted whole", ".. and 1,000 more expected objects"],
    )


def test_connections_that_our_analyzer_did_not_read_to_their_end_are_shown(tmp_path: Path) -> None:
    """Those of all streams; without any there is no line."""
    record = RunRecord(tmp_path, resume=False)
    record.add([FileResult("/in/1", "processed", stream="s2", earlier_streams=["s1"])])
    for stream in ("s1", "s2"):
        folder = tmp_path / f"20260101T000000Z-{stream}"
        folder.mkdir()
        (folder / "summary.json").write_text('{"unread_connections": 2}')
    plan = RunPlan([], [], 0, notes=(), analyzer="summary", settings={})

    rows = summary_rows(summarize(plan, record, RunProgress()))

    text = "4 connections were not read to the end as HTTP: too many small messages"
    assert [value for label, value in rows if label == "UNREAD"] == [text]
    assert "UNREAD" not in dict(summary_rows(SUMMARY))


def test_ten_known_captures_are_shown_and_the_others_counted() -> None:
    """Each with the name under which it was fed; they are not counted as fed."""
    rows = summary_rows(replace(SUMMARY, known=[(f"/{number}", "/fed") for number in range(12)]))

    assert rows[0] == ("files", "2 fed, 12 known already")
    assert rows[1:12] == [
        *[("known", f"'/{number}' is the same capture as '/fed'") for number in range(10)],
        ("known", ".. and 2 more"),
    ]


def test_ten_objects_are_shown_and_the_others_counted() -> None:
    """An analyzer may extract thousands. A single expected digest is shown below each one."""
    objects = [ExtractedObject(f"o{number}", 1, f"{number:02}", is_whole=True) for number in range(12)]

    expected = {"99": "x"}
    found = ExtractedObjects.of(objects, expected)
    rows = summary_rows(replace(SUMMARY, objects=found, expected=expected))

    assert [value for label, value in rows if label == "object"][9:] == [
        "o9, 1 byte, whole",
        ".. and 2 more",
    ]
    assert {value for label, value in rows if label == "  expected"} == {"99  NOT the same"}


def test_without_a_terminal_nothing_is_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs find paths and sentences whole, however wide the terminal would be; no line ends in blanks."""
    monkeypatch.setenv("COLUMNS", "80")
    path = "/out/" + "x" * 200

    print_summary(replace(SUMMARY, logdir=path))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "files     2 fed"
    assert lines[-1] == f"output    {path}"


@each_row(
    ("progress", "end", "code"),
    [
        (WELL, "exited 0", ExitCode.OK),
        (RunProgress(), "not started", ExitCode.OK),
        (RunProgress(analyzer={"stream": "s"}), "stopped with the run", ExitCode.OK),
        (RunProgress(analyzer={"restarts": 1}), "not started", ExitCode.ERROR),
        (replace(WELL, exits={"r": "exited 3", "s": "exited 0"}), "exited 3, exited 0", ExitCode.ERROR),
        (replace(WELL, analyzer=ENDED | {"last_verdict": "crashed"}), "exited 0", ExitCode.ERROR),
        (replace(WELL, analyzer=ENDED | {"restarts": 1}), "exited 0 after 1 restart", ExitCode.ERROR),
        (replace(WELL, analyzer=ENDED | {"restarts": 2000}), "exited 0 after 2,000 restarts", ExitCode.ERROR),
    ],
)
def test_the_analyzers_end_is_shown_and_counts(progress: RunProgress, end: str, code: ExitCode) -> None:
    """Each analyzer has to end by itself, with status 0, without a restart."""
    assert analyzer_end(progress) == end
    assert exit_code_of(SUMMARY, progress, None) is code


def test_what_the_files_lack_in_the_stream_is_added_up() -> None:
    """Of all files of the run and of those that it resumes; the largest step is not a sum."""
    numbers = {"wrapped_times": 1, "steps_back": 2, "beyond_snaplen": 3}
    results = [
        FileResult("/a", "failed", numbers=numbers | {"largest_step_back_ns": 9}),
        FileResult("/b", "processed", numbers=numbers | {"largest_step_back_ns": 5, "after_2038": 1}),
        FileResult("/c", "processed", left_out={"1": 2, "other": 3}),
    ]

    assert anomaly_counts(results) == {
        "left_out": 5,
        "wrapped_times": 2,
        "steps_back": 4,
        "beyond_snaplen": 6,
        "largest_step_back_ns": 9,
        "after_2038_stream": 1,
    }


def test_the_packets_of_an_earlier_run_are_not_counted_again(tmp_path: Path) -> None:
    """A file that was stopped in is no failed one; each run counts the packets that it fed itself."""
    numbers = {"packets": 10, "cap_lengths": 100}
    before = FileResult("/in/1", "stopped", stream="s1", numbers=numbers, begin={"offset": 40})
    after = replace(before, numbers={"packets": 25, "cap_lengths": 250}, stream="s2", earlier_streams=["s1"])
    record = RunRecord(tmp_path, resume=False)
    record.add([after])
    plan = RunPlan([], [], 0, notes=(), analyzer="zeek", settings={}, continued=before)
    for stream in ("s1", "s2"):
        (tmp_path / f"20260101T000000Z-{stream}").mkdir()

    summary = summarize(plan, record, RunProgress(interrupted=after))

    assert (summary.packets, summary.partly_fed_bytes, summary.failed) == (15, 150, 0)
    assert [folder.name[-2:] for folder in stream_folders(record)] == ["s1", "s2"]


@each_row(
    ("numbers", "begin", "fed_bytes"),
    [
        ({"size_bytes": 1000, "length_bytes": 1000}, 400, 600),
        ({"size_bytes": 1000, "length_bytes": 1000}, 1000, 0),
        ({"size_bytes": 1000, "length_bytes": 4000}, 1000, 750),  # compressed
        ({"size_bytes": 1000}, 400, 600),
        ({"size_bytes": 1000, "length_bytes": 1000, "begin_bytes": 300}, None, 700),  # it grew
        ({"size_bytes": 1000, "length_bytes": 1000}, 1001, 1000),
        ({"size_bytes": 1000, "length_bytes": 1000}, -1, 1000),
        ({"size_bytes": 1000, "length_bytes": 1000}, "400", 1000),
        ({}, 400, 0),
    ],
)
def test_of_a_file_that_goes_on_only_the_rest_counts(
    numbers: dict[str, int], begin: object, fed_bytes: int, tmp_path: Path
) -> None:
    """An earlier run fed its beginning; what another program wrote into the record counts as nothing fed."""
    before = FileResult("/in/1", "stopped", begin={"offset": begin}) if begin is not None else None
    whole = FileResult("/in/2", "processed", numbers={"size_bytes": 50, "length_bytes": 50})
    plan = RunPlan([], [], 0, notes=(), analyzer="zeek", settings={}, continued=before)
    progress = RunProgress(results=[FileResult("/in/1", "processed", numbers=numbers), whole])

    summary = summarize(plan, RunRecord(tmp_path, resume=False), progress)

    assert summary.fed_bytes == fed_bytes + 50


@pytest.mark.parametrize("stream", ["../out", "x/**/**", "a**", "*", "/etc", "\0"])
def test_a_record_of_others_names_no_folder_but_those_of_its_streams(tmp_path: Path, stream: str) -> None:
    """A run may be resumed in a folder from anywhere: its record is no path, and no pattern."""
    (tmp_path / "run" / "20260101T000000Z-s1").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    record = RunRecord(tmp_path / "run", resume=False)
    record.add(
        [FileResult("/in/1", "processed", stream=stream), FileResult("/in/2", "processed", stream="s1")]
    )

    assert [folder.name for folder in stream_folders(record)] == ["20260101T000000Z-s1"]


def test_losses_make_the_exit_code_1_and_have_their_lines() -> None:
    """A packet that was left out, or a time that wrapped; other anomalies only have lines."""
    rows = [("left out", "2 packets, because of their link type")]

    assert exit_code_of(replace(SUMMARY, anomalies=rows), WELL, None) is ExitCode.OK
    assert exit_code_of(replace(SUMMARY, anomalies=rows, has_losses=True), WELL, None) is ExitCode.ERROR
    assert rows[0] in summary_rows(replace(SUMMARY, anomalies=rows))


def test_failed_files_and_missing_objects_make_the_exit_code_1() -> None:
    """What aborts a run has a code of its own."""
    assert exit_code_of(replace(SUMMARY, failed=1), WELL, None) is ExitCode.ERROR
    assert exit_code_of(replace(SUMMARY, expected={"aa": "x"}), WELL, None) is ExitCode.ERROR
    assert exit_code_of(SUMMARY, WELL, STOPPED_BY_USER) is ExitCode.INTERRUPTED


def test_a_run_with_a_suspect_stream_shows_it_and_ends_with_1(tmp_path: Path) -> None:
    """With why, how many files it has, and what feeds them again."""
    record = RunRecord(tmp_path, resume=False)
    record.add([FileResult(f"/{name}", "processed", stream=stream) for name, stream in ("as", "bs", "ct")])
    record.mark_suspects({"s": "The disk had 0 bytes free."})
    summary = replace(SUMMARY, suspects=suspect_streams(record))

    assert summary_rows(summary)[-2:] == [
        ("SUSPECT", "stream s may lack output: The disk had 0 bytes free."),
        ("", "Correct that, and repeat the command: --resume feeds its 2 files again."),
    ]
    assert exit_code_of(summary, WELL, None) is ExitCode.ERROR
    assert exit_code_of(SUMMARY, WELL, None) is ExitCode.OK


def test_a_place_is_promised_only_if_the_next_run_can_know_it(tmp_path: Path) -> None:
    """It is not in the record on a full disk, and of no use where the analyzer's output may be lost."""
    stopped = FileResult("/b", "stopped", stream="s", numbers={"packets": 1500}, begin={"offset": 40})
    record = RunRecord(tmp_path, resume=False, interval_s=0)
    record.write({})
    record.add([FileResult("/a", "processed", stream="s"), stopped])
    unwritten = next_place(stopped, record)
    summary = replace(SUMMARY, write_error="No space left on device", unwritten=len(record.unwritten))
    record.write({})
    written = next_place(stopped, record)
    record.mark_suspects({"s": "The disk had 0 bytes free."})

    assert unwritten == "It feeds '/b' again, from where this run began it."
    assert written == "It goes on with packet 1,501 of '/b'."
    assert next_place(stopped, record) == "It feeds '/b' again, from its first packet."
    assert summary_rows(summary)[-2:] == [
        ("RECORD", "pcapdj.json could not be written: No space left on device"),
        ("", "--resume feeds what it lacks again: 2 files."),
    ]


def test_suspect_streams_beyond_three_are_counted() -> None:
    """An analyzer that dies on each link type leaves one after another."""
    rows = summary_rows(replace(SUMMARY, suspects={f"s{number}": ("It crashed.", 1) for number in range(5)}))

    assert [value for label, value in rows if label == "SUSPECT"][2:] == [
        "stream s2 may lack output: It crashed.",
        ".. and 2 more streams, in pcapdj.json",
    ]


def test_bytes_count_also_where_no_file_was_fed_whole() -> None:
    """A run that was stopped in its first file has delivered packets."""
    only_parts = replace(SUMMARY, fed_bytes=0, partly_fed_bytes=4096, elapsed_s=2.0)

    assert ("bytes", "4.0 KiB of packets of files that were not fed whole") in summary_rows(only_parts)
    assert ("time", "2.0 s (2.0 KiB/s, start and end included)") in summary_rows(only_parts)
    both = "2.0 KiB of capture files, 4.0 KiB of packets of files that were not fed whole"
    assert ("bytes", both) in summary_rows(replace(SUMMARY, partly_fed_bytes=4096))


def test_packets_that_may_be_doubled_make_the_exit_code_1() -> None:
    """The launcher died with its analyzer: another stream got the file again. Other deaths lose nothing."""
    ends = [RoleEnd("consumer", -9), RoleEnd("dispatcher", 1), RoleEnd("consumer", -9)]
    restarted = replace(SUMMARY, role_ends=role_end_texts(ends), logs="/o/logs")
    replayed = replace(restarted, replayed=[f"/in/{number}" for number in range(5)])

    names, why = "'/in/0', '/in/1', '/in/2' and 2 more files", "because the stream broke off"
    assert summary_rows(replayed)[-2:] == [
        ("RESTARTED", "launcher (killed by signal 9, 2 times), dispatcher (exited 1); logs: '/o/logs'"),
        ("REPLAYED", f"{names}: fed again, {why}; some packets may be twice in the output"),
    ]
    assert exit_code_of(restarted, WELL, None) is ExitCode.OK
    assert exit_code_of(replayed, WELL, None) is ExitCode.ERROR


def test_failures_and_the_verdict_are_the_last_lines() -> None:
    """What went wrong is still on the screen when the run has ended; beyond ten, the number of the others."""
    failures = [(f"/in/{number}", "it is torn (7 packets delivered)") for number in range(12)]
    objects = [ExtractedObject("a", 1, "00", is_whole=True)]

    rows = summary_rows(
        replace(
            SUMMARY,
            failures=failures,
            objects=ExtractedObjects.of(objects, {}),
            verdict=verdict_of(ExitCode.ERROR),
        )
    )

    assert rows[-12:-10] == [
        ("FAILED", f"'/in/{number}': it is torn (7 packets delivered)") for number in (0, 1)
    ]
    assert rows[-2:] == [
        ("FAILED", ".. and 2 more, in pcapdj.json"),
        ("verdict", "NOT complete (exit code 1)"),
    ]


def test_a_complete_run_shows_that_last() -> None:
    """One line that needs no search."""
    rows = summary_rows(replace(SUMMARY, verdict=verdict_of(ExitCode.OK)))

    assert rows[-1] == ("verdict", "complete: each file was fed whole, and the analyzer ended well")


def test_a_run_that_found_no_files_is_not_called_complete() -> None:
    """Its exit code is 0; who forgot --recursive reads why nothing was fed."""
    assert verdict_of(ExitCode.OK, has_files=False).startswith("nothing was fed: ")
    assert verdict_of(ExitCode.ERROR, has_files=False) == "NOT complete (exit code 1)"
