"""`pcapdj journal`, and `pcapdj requeue` of a time range, with the journal of a lane on a real Redis."""

import csv
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from support.captures import Record, classic
from support.cases import some_long
from support.forkserver import clean_environment, start

from pcapdj.commands import events, failed, journal, report, requeue, whence
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from pcapdj.trace.journal_lines import COLUMNS

Run = Callable[..., tuple[int, str, str]]
TUESDAY_S = 1_700_000_000  # 2023-11-14T22:13:20Z
HOSTILE = b"/in/\x1b[2J;\n'\xff,\".pcap"


@pytest.fixture
def run(store: Store, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a runner of a command in the test's lane: exit code, stdout, stderr."""

    def run_command(app: typer.Typer, *arguments: str) -> tuple[int, str, str]:
        options = ["--redis-url", store.url, "--lane", store.keys.lane]
        code = exit_code_of(app, "pcapdj test", [*options, *arguments])
        printed = capfdbinary.readouterr()
        return code, os.fsdecode(printed.out), os.fsdecode(printed.err)

    return run_command


def feed(
    store: Store, name: bytes, *, stream: str = "5ca1ab1e", begin_s: int = TUESDAY_S, **fields: Any
) -> None:
    """Let a dispatcher finish a file; one that is there has its identity."""
    store.redis.rpush(store.keys.in_queue, name)
    jobs = JobQueue(store, "d")
    entry = jobs.take()
    assert isinstance(entry, QueueEntry)
    jobs.mark(stream=stream)
    entry = jobs.take()
    assert isinstance(entry, QueueEntry)
    times = {"first_ts_ns": begin_s * 10**9, "last_ts_ns": (begin_s + 60) * 10**9}
    numbers: Any = {"packets": 3, "cap_lengths": 3000, "lengths": 3000, "first_packet": 1, "fed_s": "0.500"}
    identity: Any = {}
    if os.path.exists(name):  # noqa: PTH110 - bytes
        status = os.stat(name)  # noqa: PTH116 - bytes
        identity = {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    assert jobs.finish(entry, Result(name, "processed", identity, {**times, **numbers, **fields}))


@pytest.fixture
def files(store: Store, tmp_path: Path) -> list[Path]:
    """Return four captures that were fed into two streams: of Tuesday, and of the days after it."""
    paths = [tmp_path / f"{number}.pcap" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(classic([Record(number + 1)] * (number + 1)))
        feed(store, bytes(path), stream="ab"[number // 2], begin_s=TUESDAY_S + number * 86_400)
    return paths


def queued(store: Store) -> list[str]:
    """Return the queued names."""
    return [os.fsdecode(name) for name in store.redis.lrange(store.keys.in_queue, 0, -1)]


def test_each_file_has_its_numbers_times_and_what_was_unusual(run: Run, store: Store) -> None:
    """In words, each name on one line."""
    feed(
        store,
        HOSTILE,
        jump="begins 12 s before the end of the previous file",
        left_out='{"113": 2}',
        lengths=4000,
        steps_back=1,
        largest_step_back_ns=10**9,
        attempt=2,
    )

    code, out, err = run(journal.app)

    assert (code, err) == (0, "")
    head, *notes = out.splitlines()
    times = "2023-11-14T22:13:20.000000Z to 2023-11-14T22:14:20.000000Z"
    assert head.split("  ")[1:] == ["processed", "$'/in/\\x1b[2J;\\x0a\\'\\xff,\".pcap'"]
    assert [note.strip() for note in notes] == [
        f"3 packets, 2.9 KiB in 0.5 s (5.9 KiB/s), {times}, stream 5ca1ab1e",
        "begins 12 s before the end of the previous file",
        'packets left out, by link type: {"113": 2}',
        "captured incompletely: 1000 B are missing",
        "1 step back in time, 1 s",
        "attempt 2: its stream broke off before",
    ]


def test_programs_get_json_lines_or_a_table(run: Run, store: Store) -> None:
    """Numbers are numbers, JSON is no text and gives a name's bytes back; in a table they are escaped."""
    feed(store, HOSTILE, left_out='{"113": 2}', earlier_streams='["a"]', attempt=1)

    [entry] = [json.loads(line) for line in run(journal.app, "--json")[1].splitlines()]
    rows = list(csv.DictReader(io.StringIO(run(journal.app, "--csv")[1], newline="")))

    assert os.fsencode(entry["name"]) == HOSTILE
    assert rows[0]["name"] == "/in/\\x1b[2J;\\n'\\xff,\".pcap"
    assert (entry["packets"], entry["left_out"], entry["earlier_streams"]) == (3, {"113": 2}, ["a"])
    assert (entry["fed_s"], entry["rate_bytes_per_s"], entry["verdict"]) == (
        0.5,
        6000,
        "processed",
    )
    assert (entry["first_time"], rows[0]["first"]) == ("2023-11-14T22:13:20.000000Z",) * 2
    assert tuple(rows[0]) == COLUMNS


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula_for_a_spreadsheet(run: Run, store: Store, begin: str) -> None:
    """Whoever names a file or writes to Redis has nothing computed; numbers stay numbers."""
    text = f"{begin}HYPERLINK(A1)"
    feed(store, os.fsencode(text), suspect=text, attempt=text, step_ns=-5)

    [row] = csv.DictReader(io.StringIO(run(journal.app, "--csv")[1], newline=""))
    [entry] = [json.loads(line) for line in run(journal.app, "--json")[1].splitlines()]

    shown = text.replace("\t", "\\t").replace("\r", "\\r")
    assert (row["name"], row["suspect"], row["attempt"]) == (f"'{shown}",) * 3
    assert (row["step_ns"], entry["name"]) == ("-5", text)


@pytest.mark.parametrize("name", [b"--", b"--preset=x"])
def test_no_name_is_an_option_of_the_program_that_gets_it(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    """With xargs it goes to run: one that begins with a dash is written with its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / os.fsdecode(name)).write_bytes(classic([Record(1)]))
    feed(store, name)

    assert run(journal.app, "--print0")[1] == f"./{os.fsdecode(name)}\0"


def test_no_path_outside_of_the_roots_is_printed(
    run: Run, store: Store, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links are not followed, so that the program that xargs starts gets only what may be fed."""
    root = tmp_path / "root"
    root.mkdir()
    inside, link = root / "inside.pcap", root / "link.pcap"
    inside.write_bytes(classic([Record(1)]))
    link.symlink_to(files[0])
    for path in (inside, link):
        feed(store, bytes(path))
    monkeypatch.setenv("PCAPDJ_ROOT", str(root))

    assert run(journal.app, "--print0")[1] == f"{inside}\0"


@pytest.mark.parametrize("field", ["reason", "attempt", "stream"])
def test_no_field_of_a_table_acts_on_a_terminal(run: Run, store: Store, field: str) -> None:
    """People look at it with head or column: control characters, and those that turn text around."""
    hostile: Any = {field: b"\x1b[2J\xe2\x80\xae\r\xff"}
    feed(store, b"/in/1.pcap", **hostile)

    _, table, _ = run(journal.app, "--csv")

    assert "\\x1b[2J\\u202e\\r\\xff" in table
    assert all(line.isprintable() for line in table.split("\r\n"))


@pytest.mark.parametrize("option", ["--csv", "--print0"])
def test_names_cannot_act_on_a_terminal(store: Store, tmp_path: Path, option: str) -> None:
    """What programs get as bytes is escaped where a person reads it."""
    path = tmp_path / os.fsdecode(HOSTILE.replace(b"/in/", b""))
    path.write_bytes(classic([Record(1)]))
    feed(store, os.fsencode(path), size_bytes=path.stat().st_size, mtime_ns=path.stat().st_mtime_ns)
    words = ["journal", option, "--redis-url", store.url, "--lane", store.keys.lane]
    ours, terminal = os.openpty()
    try:
        with start("pcapdj", *words, env=clean_environment(), stdout=terminal) as process:
            os.close(terminal)
            assert process.wait() == ExitCode.OK
            shown = os.read(ours, 1 << 16)
    finally:
        os.close(ours)

    assert b"\\x1b[2J" in shown
    assert shown.replace(b"\r", b"").replace(b"\n", b"").decode().isprintable()


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ([], [0, 1, 2, 3]),
        (["--stream", "b"], [2, 3]),
        (["--last", "2"], [2, 3]),
        (["--times", "packets", "--since", "2023-11-15", "--until", "2023-11-15"], [1]),
        (["--times", "packets", "--until", "2023-11-14T22:13:20Z"], [0]),
        (["--since", "1h"], [0, 1, 2, 3]),
        (["/2.pcap"], [2]),
        (["--verdict", "failed"], []),
        (["--until", "1h"], []),
    ],
)
def test_files_are_chosen(run: Run, files: list[Path], words: list[str], numbers: list[int]) -> None:
    """By stream, verdict, name, when they were fed, or when their packets were captured."""
    code, out, _ = run(journal.app, "--json", *words)

    assert [json.loads(line)["name"] for line in out.splitlines()] == [str(files[n]) for n in numbers]
    assert code == (0 if numbers else 1)


def test_paths_are_printed_for_xargs(run: Run, files: list[Path]) -> None:
    """Without files that changed since they were fed, or are missing."""
    files[1].unlink()
    files[2].write_bytes(b"another")

    assert run(journal.app, "--print0")[1] == f"{files[0]}\0{files[3]}\0"


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "--csv"],
        ["--since", "soon"],
        ["--since", "2024", "--until", "2023"],
        ["--times", "x"],
        ["--verdict", "good"],
    ],
)
def test_a_wrong_question_is_refused(run: Run, words: list[str]) -> None:
    """In one sentence."""
    code, out, err = run(journal.app, *words)

    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)


def test_a_time_range_is_shown_before_it_is_queued(run: Run, store: Store, files: list[Path]) -> None:
    """Names, sizes, how many streams; only --yes queues, in the order in which they were fed."""
    words = ("--since", "2023-11-15", "--until", "2023-11-16")

    shown = run(requeue.app, *words)
    assert queued(store) == []
    done = run(requeue.app, *words, "--yes")

    assert (shown[0], shown[2]) == (0, "")
    assert [line.split() for line in shown[1].splitlines()[:2]] == [
        ["68", "B", f"'{files[1]}'"],
        ["90", "B", f"'{files[2]}'"],
    ]
    assert "2 files, 158 B, from 2 streams, packets from 2023-11-15T22:13:20.000000Z to" in shown[1]
    assert shown[1].endswith("Nothing was queued: add --yes to queue them.\n")
    assert done == (0, "2 of 2 queued again.\n", "")
    assert queued(store) == [str(files[1]), str(files[2])]
    assert run(requeue.app, *words, "--yes")[0] == 1, "they are queued already"


def test_a_file_that_was_fed_twice_is_queued_once(run: Run, store: Store, files: list[Path]) -> None:
    """The journal has two entries of it."""
    run(requeue.app, "0.pcap")
    JobQueue(store, "d").take()
    store.redis.delete(store.keys.current("d"))
    entries: Any = store.redis.xrange(store.keys.journal, count=1)
    [(entry_id, fields)] = entries
    old = f"{int(entry_id.split(b'-')[0]) - 100_000_000}-0"
    store.redis.delete(store.keys.journal)
    store.redis.xadd(store.keys.journal, fields, id=old)
    feed(store, bytes(files[0]))

    assert (
        run(requeue.app, "--since", "2023-11-14", "--until", "2023-11-14", "--yes")[1]
        == "1 of 1 queued again.\n"
    )
    assert queued(store) == [str(files[0])]


def test_old_packets_are_not_mixed_into_an_open_stream(run: Run, store: Store, files: list[Path]) -> None:
    """The refusal offers `finish`, `run`, and to do it all the same."""
    consumer = {"stream": "b", "state": "reading", "heartbeat_s": f"{time.time() + 60:.3f}"}
    store.redis.hset(store.keys.consumer, mapping=dict[Any, Any](consumer))
    root, lane = files[0].parent, store.keys.lane
    words = ("--since", "2023-11-14", "--until", "2023-11-14", "--root", str(root))

    shown, refused = run(requeue.app, *words), run(requeue.app, *words, "--yes")

    command = (
        f"pcapdj journal --lane {lane} --times packets --since 2023-11-14 --until 2023-11-14"
        f" --root {root} --print0 | xargs -0 -x pcapdj run --logdir second-look"
    )
    assert (shown[0], refused[0]) == (0, 1)
    assert "Stream b is open: packets of another time would be mixed into it." in shown[1]
    assert f"'pcapdj finish --lane {lane}'" in refused[2]
    assert command in refused[2]
    assert queued(store) == []
    assert run(requeue.app, *words, "--yes", "--into-open-stream")[1] == "1 of 1 queued again.\n"
    assert queued(store) == [str(files[0])]


@pytest.mark.usefixtures("files")
def test_the_id_of_the_open_stream_does_not_act_on_the_terminal(run: Run, store: Store) -> None:
    """Any program that reaches Redis may have written it."""
    hostile = "b\x1b[2J\nNothing is open.\u202e"
    consumer = {"stream": hostile, "state": "reading", "heartbeat_s": f"{time.time() + 60:.3f}"}
    store.redis.hset(store.keys.consumer, mapping=dict[Any, Any](consumer))
    words = ("--since", "2023-11-14", "--until", "2023-11-14")

    shown, refused = run(requeue.app, *words)[1], run(requeue.app, *words, "--yes")[2]

    for text in (shown, refused):
        assert r"Stream b\x1b[2J\nNothing is open.\u202e is open: packets of another" in text


def test_files_that_are_gone_are_counted(run: Run, store: Store, files: list[Path]) -> None:
    """They cannot be fed again."""
    files[1].unlink()
    words = ("--since", "2023-11-15", "--until", "2023-11-16")

    assert "1 more changed since they were fed, or are missing." in run(requeue.app, *words)[1]
    files[2].unlink()
    assert run(requeue.app, *words)[2] == (
        "pcapdj test: No file of that time can be fed again. 2 changed since they were fed, or are missing.\n"
    )
    assert queued(store) == []


def test_files_outside_of_the_roots_are_not_looked_at(run: Run, store: Store, files: list[Path]) -> None:
    """Any program may have written the names: what is outside is counted, and not queued."""
    outside, link = files[1], files[2]
    (root := outside.parent / "captures").mkdir()
    inside = root / "in.pcap"
    inside.write_bytes(outside.read_bytes())
    feed(store, bytes(inside), begin_s=TUESDAY_S + 86_400)
    behind = root / "link.pcap"
    behind.symlink_to(link)
    feed(store, bytes(behind), begin_s=TUESDAY_S + 86_400)
    words = ("--since", "2023-11-15", "--until", "2023-11-16", "--root", str(root))

    shown, done = run(requeue.app, *words)[1], run(requeue.app, *words, "--yes")

    assert "3 more are outside of the roots, or behind a link." in shown
    assert done == (0, "1 of 1 queued again.\n", "")
    assert queued(store) == [str(inside)]


def test_the_last_part_of_a_name_is_enough(run: Run, store: Store, files: list[Path]) -> None:
    """For requeue and failed, if only one file has it."""
    feed(store, b"/other/3.pcap")
    store.redis.rpush(store.keys.in_queue, "/in/bad.pcap")
    jobs = JobQueue(store, "d")
    entry = jobs.take()
    assert isinstance(entry, QueueEntry)
    assert jobs.finish(
        entry, Result(json.dumps({"name": "/in/bad.pcap", "reason": "damaged"}).encode(), "failed")
    )

    assert run(failed.app, "bad.pcap")[1] == "'/in/bad.pcap': damaged\n"
    assert run(requeue.app, "2.pcap", "bad.pcap")[1] == "2 of 2 queued again.\n"
    assert queued(store) == [str(files[2]), "/in/bad.pcap"]
    assert "'3.pcap' is not unique among the processed or failed files." in run(requeue.app, "3.pcap")[2]
    assert "Not among the failed files: 'bad.pcap'." in run(failed.app, "bad.pcap")[2]


@pytest.mark.parametrize(
    "value",
    some_long(
        [b"9" * 5000, b"--5", b"\xc2\xb2", b"1e999", b"nan", b"-1", b"\xff\x1b[2J", b'[{"a":1}]'],
        quick=(b"9" * 5000, b"nan", b"\xff\x1b[2J"),
    ),
)
def test_numbers_that_another_program_wrote_end_no_command(run: Run, store: Store, value: bytes) -> None:
    """In whichever field of an entry; what is printed for programs is JSON."""
    feed(store, b"/in/1.pcap")
    entries: Any = store.redis.xrange(store.keys.journal)
    [(_, good)] = entries
    others = {b"steps_back", b"wrapped_times", b"begin_bytes", b"linktype", b"stream_end", b"earlier_streams"}
    for name in {*good, *others} - {b"name"}:
        store.redis.xadd(store.keys.journal, {**good, name: value})
    at = ["--at", "2023-11-14T22:13:30Z"]
    commands: list[tuple[typer.Typer, list[str]]] = [
        *((journal.app, words) for words in ([], ["--json"])),
        *((report.app, words) for words in ([], ["--json"])),
        *((whence.app, words) for words in (at, [*at, "--json"])),
        *((events.app, ["--since", "9999d", *words]) for words in ([], ["--json"])),
    ]

    for app, words in commands:
        code, printed, errors = run(app, *words)
        assert (code in (ExitCode.OK, ExitCode.ERROR), "Traceback" in errors) == (True, False), errors
        assert "\x1b" not in printed + errors
        for line in printed.splitlines() if "--json" in words and app is not report.app else ():
            json.loads(line, parse_constant=pytest.fail)
