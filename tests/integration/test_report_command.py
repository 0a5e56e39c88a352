"""`pcapdj report` of files, and of the journal of a lane on a real Redis."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.captures import Record, classic, enhanced, interface, section
from support.redis_server import fill

from pcapdj.commands import report
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store

Run = Callable[..., tuple[int, str, str]]
BEGIN_S = 1_700_000_000


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a runner of the command: exit code, stdout, stderr."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        code = exit_code_of(report.app, "pcapdj report", list(arguments))
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run_command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with four captures: one after a gap, one cut by its snaplen, one damaged."""
    folder = tmp_path / "in"
    folder.mkdir()

    def packets(begin_s: int, length: int | None = None) -> list[Record]:
        return [Record(BEGIN_S + begin_s + second, 0, b"x" * 60, length) for second in range(0, 60, 10)]

    (folder / "1.pcap").write_bytes(classic(packets(0)))
    (folder / "2.pcap").write_bytes(classic(packets(60, 1500)))
    (folder / "3.pcap").write_bytes(classic(packets(600))[:-5])
    (folder / "4.pcap").write_bytes(classic(packets(660)))
    return folder


def test_files_are_compared_before_they_are_fed(run: Run, folder: Path) -> None:
    """Only what is unusual is shown, with sums below."""
    code, out, err = run(str(folder))

    damage = "file ends inside a record: 55 of 60 captured bytes (at byte 404)"
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines() if line] == [
        ["first", "packet", "lasts", "packets", "file"],
        ["2023-11-14T22:14:20.000000Z", "50", "s", "6", f"'{folder}/2.pcap'"],
        *[["captured", "incompletely:", "8.4", "KiB", "of", "8.8", "KiB", "are", "missing"]],
        ["2023-11-14T22:23:20.000000Z", "40", "s", "5", f"'{folder}/3.pcap'"],
        *[["gap", "of", "8", "min", "10", "s", "before", "it"]],
        damage.split(),
        ["2023-11-14T22:24:20.000000Z", "50", "s", "6", f"'{folder}/4.pcap'"],
        *[["gap", "of", "20", "s", "before", "it"]],
        ["files", "4"],
        ["packets", "23"],
        ["time", "11", "min", "50", "s"],
        ["gaps", "2,", "the", "largest", "8", "min", "10", "s,", "8", "min", "30", "s", "in", "all"],
        ["incomplete", "1", "file,", "8.4", "KiB", "were", "not", "captured"],
        ["failed", "1", "file"],
    ]


def test_programs_get_a_line_for_each_file_and_the_sums(run: Run, folder: Path) -> None:
    """With --all also of usual files; --gap changes what a gap is."""
    *files, end = [
        json.loads(line) for line in run(str(folder), "--json", "--all", "--gap", "1m")[1].splitlines()
    ]

    assert [Path(file["name"]).name for file in files] == ["1.pcap", "2.pcap", "3.pcap", "4.pcap"]
    assert [[each["kind"] for each in file["remarks"]] for file in files] == [
        [],
        ["incomplete"],
        ["gap", "failed"],
        [],
    ]
    assert (end["summary"]["files"], end["summary"]["gap"]["count"]) == (4, 1)
    begin_ns = (BEGIN_S + 60) * 10**9
    assert files[1] == {
        "name": f"{folder}/2.pcap",
        "first_ns": begin_ns,
        "last_ns": begin_ns + 50 * 10**9,
        "packets": 6,
        "cap_lengths": 360,
        "lengths": 9000,
        "remarks": [
            {
                "kind": "incomplete",
                "amount": 8640,
                "sentence": "captured incompletely: 8.4 KiB of 8.8 KiB are missing",
            }
        ],
    }


def test_files_are_shown_in_the_order_in_which_they_are_fed(run: Run, tmp_path: Path) -> None:
    """By name or by time; those that cannot be fed come last; folders inside folders only if asked for."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.pcap").write_bytes(classic([Record(BEGIN_S + 9)]))
    (tmp_path / "b.pcap").write_bytes(classic([Record(BEGIN_S)]))
    (tmp_path / "inner" / "c.pcap").write_bytes(classic([Record(BEGIN_S + 5)]))
    (tmp_path / "0.txt").write_bytes(b"text")

    def names(*words: str) -> list[str]:
        lines = run(str(tmp_path), *words, "--json", "--all")[1].splitlines()
        return [Path(each["name"]).name for each in map(json.loads, lines) if "name" in each]

    assert names("--order", "name") == ["a.pcap", "b.pcap"]
    assert names("--order", "time") == ["b.pcap", "a.pcap"]
    assert names("--order", "time", "--recursive") == ["b.pcap", "c.pcap", "a.pcap"]
    assert names("--recursive", "--order", "name", str(tmp_path / "0.txt"))[-1] == "0.txt"


def test_of_very_many_files_a_thousand_are_shown(run: Run, store: Store) -> None:
    """The others are a number, unless all are asked for."""
    script = """
    for n = 1, tonumber(ARGV[1]) do
        redis.call('XADD', KEYS[1], '*', 'name', n, 'verdict', 'failed', 'packets', 0, 'reason', 'x')
    end"""
    redis = ("--redis-url", store.url, "--lane", store.keys.lane)
    fill(store, script, [store.keys.journal], 1000)
    thousand = run(*redis)[1]
    fill(store, script, [store.keys.journal], 1)
    more = run(*redis)[1]

    assert "more: --all" not in thousand
    assert "\nand 1 more: --all\n\n" in more
    assert more.count("    x\n") == thousand.count("    x\n") == 1000
    assert run(*redis, "--all")[1].count("    x\n") == 1001


def test_what_the_journal_has_of_a_file_is_reported(run: Run, store: Store) -> None:
    """A file without packets and without a reason is left out; times that no clock shows are unknown."""
    most_ns, second = (1 << 63) - 1, 10**9
    entries: list[dict[str, Any]] = [
        {"first_ts_ns": most_ns, "last_ts_ns": most_ns, "packets": 2},
        {"first_ts_ns": 5, "last_ts_ns": most_ns + 1, "packets": 2, "steps_back": "x"},
        {"first_ts_ns": -most_ns - 1, "last_ts_ns": 7, "packets": 2, "cap_lengths": 3, "lengths": 4},
        {"packets": 0, "reason": "is empty"},
        {"packets": 0},
        {
            "first_ts_ns": second,
            "last_ts_ns": 2 * second,
            "packets": 2,
            "steps_back": 3,
            "largest_step_back_ns": 9,
        },
        {"first_ts_ns": second, "last_ts_ns": most_ns, "packets": 2, "largest_step_back_ns": 9},
    ]
    for number, entry in enumerate(entries):
        name = {"name": f"/in/{number}", "verdict": "processed"}
        store.redis.xadd(store.keys.journal, dict[Any, Any](name | entry))

    lines = run("--redis-url", store.url, "--lane", store.keys.lane, "--json", "--all")[1].splitlines()
    *files, end = map(json.loads, lines)

    fields = ("name", "first_ns", "last_ns", "packets", "cap_lengths", "lengths")
    assert [[file[field] for field in fields] for file in files] == [
        ["/in/0", most_ns, most_ns, 2, 0, 0],
        ["/in/1", None, None, 2, 0, 0],
        ["/in/2", None, None, 2, 3, 4],
        ["/in/3", None, None, 0, 0, 0],
        ["/in/5", second - 9, 2 * second + 9, 2, 0, 0],
        ["/in/6", second - 9, most_ns + 9, 2, 0, 0],
    ]
    assert [[each["sentence"] for each in file["remarks"]] for file in files] == [
        [],
        [],
        ["captured incompletely: 1 B of 4 B are missing"],
        ["is empty"],
        [
            "begins 106,751 d 23 h before the previous file began",
            "3 steps back in time, the largest 0.000000009 s",
        ],
        ["before 1678 or after 2261: not on the time line"],
    ]
    assert end["summary"]["files"] == 6


@pytest.mark.parametrize("how", [[], ["--quick"], ["--order", "time"]])
def test_a_packet_that_is_too_far_in_time_has_a_remark(
    run: Run, folder: Path, tmp_path: Path, how: list[str]
) -> None:
    """The other files of the folder are reported as without it."""
    (folder / "0.pcapng").write_bytes(section() + interface() + enhanced((1 << 64) - 1))

    code, out, err = run(str(folder), "--svg", str(tmp_path / "line.svg"), *how)

    assert (code, err) == (0, "")
    assert "not on the time line" in out
    assert [line.split() for line in out.splitlines() if line.startswith("beyond")] == [
        ["beyond", "1", "file"]
    ]
    *_, end = [json.loads(line) for line in run(str(folder), "--json", *how)[1].splitlines()]
    assert end["summary"]["first_ns"] == BEGIN_S * 10**9
    assert end["summary"]["beyond"]["count"] == 1


def test_a_quick_look_reads_only_the_ends(run: Run, folder: Path) -> None:
    """Packets are not counted; gaps are the same. The last packet of a damaged file is not looked for."""
    *files, end = [json.loads(line) for line in run(str(folder), "--json", "--quick")[1].splitlines()]

    assert end["summary"]["gap"]["count"] >= 1
    assert end["summary"]["packets"] == 0
    assert all(file["packets"] == 0 for file in files)
    assert {file["last_ns"] - file["first_ns"] for file in files} == {50 * 10**9, 0}


def test_the_journal_is_reported_without_its_files(run: Run, store: Store, tmp_path: Path) -> None:
    """As it was fed, also of one stream; the drawing is a new file."""
    for number, begin_s in enumerate([0, 60, 600, 300]):
        times = {"first_ts_ns": (BEGIN_S + begin_s) * 10**9, "last_ts_ns": (BEGIN_S + begin_s + 59) * 10**9}
        fields = {
            "name": f"/gone/{number}",
            "verdict": "processed",
            "stream": "ab"[number // 3],
            "packets": 5,
        }
        numbers = {"cap_lengths": 100, "lengths": 100 + number, "largest_step_back_ns": 10**30}
        store.redis.xadd(store.keys.journal, dict[Any, Any](fields | times | ({} if number else numbers)))
    redis = ("--redis-url", store.url, "--lane", store.keys.lane)
    svg = tmp_path / "line.svg"

    code, out, _ = run(*redis, "--svg", str(svg))
    of_stream = run(*redis, "--stream", "a", "--json")

    assert code == 0
    assert "begins 5 min before the previous file began" in out
    assert json.loads(of_stream[1].splitlines()[-1])["summary"]["files"] == 3
    assert ET.fromstring(svg.read_text()).tag.endswith("svg")  # noqa: S314 - our own
    again = run(*redis, "--svg", str(svg))
    assert (again[0], "exists already" in again[2]) == (ExitCode.CANNOT_CREATE, True)


@pytest.mark.parametrize(
    "words",
    [["--quick"], ["x", "--since", "1h"], ["x", "--gap", "soon"], ["--recursive"], ["--order", "name"]],
)
def test_a_wrong_use_is_refused(run: Run, words: list[str]) -> None:
    """In one sentence."""
    code, out, err = run(*words)

    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)


def test_nothing_to_report_is_an_error(run: Run, store: Store, tmp_path: Path) -> None:
    """Of an empty folder, and of an empty journal."""
    assert run(str(tmp_path))[0] == 1
    redis = ("--redis-url", store.url, "--lane", store.keys.lane)
    assert run(*redis)[2] == "pcapdj report: There are no captures.\n"

    (tmp_path / "1.pcap").write_bytes(classic([]))
    code, _, error = run(str(tmp_path), "--svg", str(tmp_path / "out.svg"))
    assert code == ExitCode.ERROR
    assert error == "pcapdj report: No capture has packets on the time line: there is nothing to draw.\n"
