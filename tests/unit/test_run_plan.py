"""The plan of a run: what is fed, with which analyzer, into which folder, and what is refused before."""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.fuse import fuse_in
from support.rows import each_row

from pcapdj.capture.files import Identity
from pcapdj.inbox.listing import CaptureFile, Listing
from pcapdj.inbox.overlaps import Overlap
from pcapdj.inbox.skipped import Refusal
from pcapdj.run.plan import (
    RunPlan,
    choose_analyzer,
    disk_settings,
    marked_streams,
    new_logdir,
    plan_run,
    plan_sentence,
    refused_results,
)
from pcapdj.run.record import FileResult, RunRecord
from pcapdj.runtime.errors import ConfigError, Unavailable

VARIABLES = ("PCAPDJ_RESTART_PAUSE", "PCAPDJ_CONSUMER_COMMAND", "PCAPDJ_PRESET")
NAMED = Refusal(b"/in/\xff.txt", "is no capture", is_fault=True)
FOUND = Refusal(b"/in/notes", "is no capture", is_fault=False)


STOPPED = FileResult(
    "/in/2", "stopped", numbers={"packets": 1000, "size_bytes": 100, "mtime_ns": 9}, begin={"offset": 40}
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan without the settings of this environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_file_in_which_a_run_was_stopped_is_continued(tmp_path: Path) -> None:
    """Also if it changed since: then it fails, with the number of packets that were fed."""
    record = RunRecord(tmp_path, resume=False)
    record.add([FileResult("/in/1", "processed", numbers={"size_bytes": 100, "mtime_ns": 1}), STOPPED])

    found = plan_run(captures("/in/1", "/in/2", "/in/3"), record, "zeek", {})

    assert found.continued == STOPPED
    assert [each.name for each in found.files] == [b"/in/2", b"/in/3"]
    assert plan_run(captures("/in/3"), record, "zeek", {}).continued is None


def test_a_file_whose_first_packets_are_in_a_suspect_stream_is_fed_from_the_first(tmp_path: Path) -> None:
    """The analyzer's output about them may be lost; so it is with the whole files of that stream."""
    record = RunRecord(tmp_path, resume=False)
    record.add([replace(STOPPED, stream="s2", earlier_streams=["s1"])])
    record.mark_suspects({"s1": "The disk was full."})

    found = plan_run(captures("/in/2"), record, "zeek", {})

    assert (found.continued, [each.name for each in found.files]) == (None, [b"/in/2"])


@pytest.mark.parametrize("verdict", ["stopped", "processed"])
def test_a_file_of_which_only_the_rest_is_in_a_suspect_stream_goes_on_where_that_began(
    tmp_path: Path, verdict: str
) -> None:
    """Its first packets are in a good stream: they are not fed again."""
    record = RunRecord(tmp_path, resume=False)
    first = replace(STOPPED, stream="s1", begin={"offset": 1, "streams": ["s1"]})
    rest = replace(
        first,
        stream="s2",
        verdict=verdict,
        earlier_streams=["s1"],
        begin={"offset": 2, "streams": ["s1", "s2"]},
    )
    record.add([first])
    record.add([rest if verdict == "stopped" else replace(rest, begin={})])
    for _ in range(2):  # each resumed run finds the marks again
        record.mark_suspects({"s2": "The disk was full."})

        found = plan_run(captures("/in/2"), record, "zeek", {}).continued
        assert found is not None
        assert found.begin == first.begin

    record.mark_suspects({"s1": "The disk was full.", "s2": "The disk was full."})
    assert plan_run(captures("/in/2"), record, "zeek", {}).continued is None


def captures(*names: str) -> Listing:
    """Return a listing of captures of 100 bytes each."""
    files = tuple(CaptureFile(name.encode(), identity(name)) for name in names)
    return Listing(files, (NAMED, FOUND))


def identity(name: str) -> Identity:
    """Return the identity of a file that only differs by its name's last number."""
    return Identity(1, int(name[-1]), 100, int(name[-1]))


def plan(*, files: int = 0, before: int = 0, analyzer: str = "zeek", names: tuple[str, ...] = ()) -> RunPlan:
    """Return a plan of so many files."""
    listed = captures(*(names or [f"/in/{number}" for number in range(files)])).files
    return RunPlan(listed, [], before, notes=(), analyzer=analyzer, settings={})


def test_files_that_were_fed_whole_are_left_out(tmp_path: Path) -> None:
    """They count as fed before; a file that changed since, or failed, is fed again."""
    record = RunRecord(tmp_path, resume=False)
    fed = {"size_bytes": 100, "mtime_ns": 1}
    record.add(
        [
            FileResult("/in/1", "processed", numbers=fed),
            FileResult("/in/2", "processed", numbers=fed),
            FileResult("/in/3", "failed", numbers=fed | {"mtime_ns": 3}),
        ]
    )

    found = plan_run(captures("/in/1", "/in/2", "/in/3"), record, "zeek", {"PCAPDJ_X": "y"})

    assert [each.name for each in found.files] == [b"/in/2", b"/in/3"]
    assert (found.processed_before, found.total_bytes, found.analyzer) == (1, 200, "zeek")
    assert found.refused == [FileResult("/in/\udcff.txt", "failed", "is no capture")]
    assert found.settings == {
        "PCAPDJ_RESTART_PAUSE": "20ms",
        "PCAPDJ_LOGDIR": str(tmp_path),
        "PCAPDJ_X": "y",
    }


def test_a_stream_is_marked_with_the_reason_but_not_with_what_a_link_leads_to(tmp_path: Path) -> None:
    """An analyzer, or who sent the folder, may link to a key of this user: it would be in pcapdj.json."""
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    for stream in ("full", "linked", "named", "long", "pipe"):
        (tmp_path / f"20260101T000000Z-{stream}").mkdir()
    marks = {each.name.partition("-")[2]: each / "SUSPECT" for each in tmp_path.glob("*-*")}
    marks["full"].touch()
    marks["linked"].symlink_to(secret)
    marks["named"].write_text("It crashed.\n")
    marks["long"].write_text("x" * 10_000)
    os.mkfifo(marks["pipe"])

    found = marked_streams(tmp_path)

    assert found.pop("long") == "x" * 1000
    assert found.pop("named") == "It crashed."
    assert found == dict.fromkeys(("full", "linked", "pipe"), "The disk was full.")


def test_what_an_analyzer_left_in_the_place_of_a_folder_has_no_mark(tmp_path: Path) -> None:
    """Links, wherever they lead, do not end the resumed run."""
    marked = tmp_path / "elsewhere" / "20260101T000000Z-other"
    marked.mkdir(parents=True)
    (marked / "SUSPECT").touch()
    logdir = tmp_path / "out"
    logdir.mkdir()
    (logdir / "20260101T000000Z-file").touch()
    for name, target in (("loop", "loop"), ("long", "x" * 300), ("other", str(marked)), ("none", "none/x")):
        (logdir / f"20260101T000000Z-{name}").symlink_to(target)
    (logdir / "20260101T000000Z-full").mkdir()
    (logdir / "20260101T000000Z-full" / "SUSPECT").touch()

    assert marked_streams(logdir) == {"full": "The disk was full."}
    assert marked_streams(tmp_path / "none") == {}


def test_a_folder_that_an_analyzer_covered_has_no_mark(tmp_path: Path) -> None:
    """By a file system whose server is gone; any user may mount one (fusermount3)."""
    logdir = tmp_path / "out"
    covered = logdir / "20260101T000000Z-dead"
    covered.mkdir(parents=True)
    with fuse_in(tmp_path, covered) as mount:
        mount.kill()

        assert marked_streams(logdir) == {}


def test_the_pause_between_analyzers_may_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person waits, so the default is short."""
    monkeypatch.setenv("PCAPDJ_RESTART_PAUSE", "5s")

    found = plan_run(captures(), RunRecord(tmp_path, resume=False), "zeek", {})

    assert found.settings["PCAPDJ_RESTART_PAUSE"] == "5s"


def test_only_refused_files_that_the_user_named_are_results() -> None:
    """A folder may hold anything else."""
    assert refused_results(captures()) == [FileResult("/in/\udcff.txt", "failed", "is no capture")]


@each_row(
    ("of", "sentence"),
    [
        (plan(files=1), "1 file into zeek; output in '/o'."),
        (plan(files=0), "0 files into zeek; output in '/o'."),
        (plan(names=("/in/1",) * 1200), "1,200 files into zeek; output in '/o'."),
        (plan(files=2, before=1), "2 files into zeek, 1 fed by an earlier run; output in '/o'."),
        (plan(files=1, before=1000), "1 file into zeek, 1,000 fed by an earlier run; output in '/o'."),
        (
            replace(plan(files=1), continued=STOPPED),
            "1 file into zeek, '/in/2' from packet 1,001 on; output in '/o'.",
        ),
        (
            replace(plan(files=2), overlap=Overlap(b"/in/1", b"/in/2", 90_000_000_000)),
            "2 files into zeek, overlapping in time by 1 min 30 s; output in '/o'.",
        ),
        (plan(before=1), "The file was fed by an earlier run, nothing to feed; output in '/o'."),
        (plan(before=1000), "All 1,000 files were fed by an earlier run, nothing to feed; output in '/o'."),
    ],
)
def test_the_plan_is_one_sentence(of: RunPlan, sentence: str) -> None:
    """How many files, into what, how many are left out, and where the output is."""
    assert plan_sentence(of, Path("/o")) == sentence


def test_disks_become_settings_of_the_controller(tmp_path: Path) -> None:
    """As typed: the controller reads them again."""
    settings = disk_settings({"min-free": "1MiB"}, [f"{tmp_path}=2MiB", "/"], tmp_path, force=True)

    assert settings == {
        "PCAPDJ_MIN_FREE": "1MiB",
        "PCAPDJ_WATCH": f"{tmp_path}=2MiB\n/",
        "PCAPDJ_FORCE": "1",
    }
    assert disk_settings({}, [], tmp_path, force=False) == {"PCAPDJ_WATCH": "", "PCAPDJ_FORCE": ""}


def test_a_limit_that_is_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    """The run would wait for ever; the output and the temporary folder are measured by default."""
    with pytest.raises(ConfigError, match=f"'{tmp_path}'|'{tempfile.gettempdir()}'"):
        disk_settings({"min-free": "900PiB"}, [], tmp_path, force=False)


def test_half_of_the_disk_needs_force(tmp_path: Path) -> None:
    """As for the controller: it may be a mistake."""
    with pytest.raises(ConfigError, match="min-free"):
        disk_settings({"min-free": "60%"}, [], tmp_path, force=False)


def test_the_command_comes_before_the_preset_and_that_before_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The program is found here, since the launcher works in another folder."""
    monkeypatch.setenv("PCAPDJ_CONSUMER_COMMAND", "sh -c 'exit 1' {pipe}")
    shell = "/usr/bin/sh" if Path("/usr/bin/sh").exists() else "/bin/sh"

    shown, selected = choose_analyzer(["sh", "{pipe}"], "summary")
    assert (shown, Path(selected["PCAPDJ_CONSUMER_COMMAND"].split()[0]).name) == ("sh {pipe}", "sh")
    assert choose_analyzer([], "summary") == (
        "summary",
        {"PCAPDJ_PRESET": "summary", "PCAPDJ_CONSUMER_COMMAND": ""},
    )
    shown, selected = choose_analyzer([], "")
    assert shown == "sh -c 'exit 1' {pipe}"
    assert selected["PCAPDJ_CONSUMER_COMMAND"].removeprefix("/usr") == (
        f"{shell} -c 'exit 1' '{{pipe}}'".removeprefix("/usr")
    )


def test_without_a_choice_it_is_suricata_or_our_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suricata where it is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    without, _ = choose_analyzer([], "")
    (tmp_path / "suricata").write_text("#!/bin/sh\n")
    (tmp_path / "suricata").chmod(0o755)
    with_suricata, _ = choose_analyzer([], "")

    assert (without, with_suricata) == ("summary", "suricata-extract")


@pytest.mark.parametrize(
    ("command", "preset", "error"),
    [
        (["no-such-program", "{pipe}"], "", Unavailable),
        ([], "no-such-preset", ConfigError),
        ([sys.executable], "", ConfigError),
        ([], "zeek", Unavailable),
    ],
)
def test_an_analyzer_that_cannot_start_is_refused(
    command: list[str], preset: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is created."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(error):
        choose_analyzer(command, preset)


def test_a_new_folder_is_named_after_the_first_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its extensions; with a number if there is one already; in the current folder."""
    monkeypatch.chdir(tmp_path)
    listing = captures("/in/cap.pcap.1", "/in/other2")

    names = []
    for _ in range(3):
        names.append(new_logdir(listing))
        names[-1].mkdir()

    assert names == [Path("cap-pcapdj"), Path("cap-pcapdj-2"), Path("cap-pcapdj-3")]
    assert new_logdir(Listing((), (NAMED,))) == Path("\udcff-pcapdj")
    assert new_logdir(captures("/in/.1")) == Path("run-pcapdj")


def test_without_files_there_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor with a thousand runs in the folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^The given paths contain no capture files\. --recursive "):
        new_logdir(Listing((), ()))

    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        Path(f"a1-pcapdj{suffix}").touch()
    with pytest.raises(
        ConfigError, match=r"^There are 1000 runs of 'a1' here\. Name a folder with --logdir\.$"
    ):
        new_logdir(captures("/in/a1"))
