"""`pcapdj cat` as a process: stdout, stderr and exit code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.captures import NANO, Record, classic, records_of
from support.forkserver import PIPE, ROOT, Finished, run, start
from support.programs import require_program
from support.sample import sample_in

from pcapdj.cli import start as cli_start
from pcapdj.runtime.errors import ExitCode


def cat(*arguments: str | Path, output: Path, mode: str = "wb", **variables: str) -> Finished:
    """Run `pcapdj cat` with stdout into a file, and with these environment variables."""
    with output.open(mode) as out:
        return run("pcapdj", "cat", *arguments, stdout=out, env=os.environ | variables)


@pytest.fixture
def captures(tmp_path: Path) -> list[Path]:
    """Return five rotated captures."""
    return sample_in(tmp_path / "captures")


def records(capture: Path) -> str:
    """Return what tcpdump reads in a capture, times and bytes."""
    tcpdump = require_program("tcpdump")
    done = subprocess.run(
        [tcpdump, "-n", "-S", "-tttt", "-x", "-r", capture], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_stream_has_every_record_in_order(captures: list[Path], tmp_path: Path) -> None:
    """What libpcap reads from the stream is what it reads from the files."""
    out = tmp_path / "out.pcap"

    done = cat(*captures, output=out)

    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert records(out) == "".join(records(capture) for capture in captures)


def test_a_folder_means_its_captures(captures: list[Path], tmp_path: Path) -> None:
    """In the order of their packets, without its other files, which are counted."""
    cat(*captures, output=tmp_path / "files.pcap")

    inner = captures[0].parent / "inner"
    inner.mkdir()
    (inner / "9.pcap").write_bytes(captures[0].read_bytes())  # a folder inside of it is another folder

    cat(captures[0].parent, output=tmp_path / "folder.pcap")

    assert (tmp_path / "folder.pcap").read_bytes() == (tmp_path / "files.pcap").read_bytes()


def test_a_damaged_file_gives_its_good_records_and_exit_1(captures: list[Path], tmp_path: Path) -> None:
    """The others are written whole; one sentence has the damage and its place."""
    captures[1].write_bytes(captures[1].read_bytes()[:-5])

    done = cat(*captures, "nowhere.pcap", output=tmp_path / "out.pcap")

    assert done.returncode == ExitCode.ERROR
    damaged, absent = done.stderr.splitlines()
    pattern = r"pcapdj cat: '{}': .* \(at byte \d+\); \d+ packets written\."
    assert re.fullmatch(pattern.format(re.escape(str(captures[1]))), damaged)
    assert absent == "pcapdj cat: 'nowhere.pcap': does not exist; 0 packets written."
    assert records(tmp_path / "out.pcap").endswith(records(captures[4]))


def test_an_output_that_is_an_input_is_refused(captures: list[Path]) -> None:
    """It would grow for ever."""
    before = captures[0].read_bytes()

    done = cat(*captures, output=captures[0], mode="ab")

    assert done.returncode == ExitCode.USAGE
    assert done.stderr == (f"pcapdj cat: '{captures[0]}' is also the output. Write to another file.\n")
    assert captures[0].read_bytes() == before


def test_a_full_output_is_one_sentence(captures: list[Path]) -> None:
    """No traceback for a full disk."""
    done = cat(*captures, output=Path("/dev/full"))

    assert done.returncode == ExitCode.ERROR
    assert done.stderr == "pcapdj cat: The output cannot be written: No space left on device.\n"


def test_a_reader_that_closes_the_pipe_early_causes_no_error(captures: list[Path]) -> None:
    """`pcapdj cat .. | head` prints nothing on stderr."""
    with start("pcapdj", "cat", *captures, stdout=PIPE, stderr=PIPE, is_real=True) as writing:
        writing.stdout.read(100)
        writing.stdout.close()
        assert writing.stderr.read() == b""


def test_it_loads_no_redis() -> None:
    """It uses no Redis, and starts without the client."""
    program = "import sys, pcapdj.commands.cat; sys.exit('redis' in sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "FILE"),
        (["--precision", "ms", "a"], "'ms'"),
        (["--order", "size", "a"], "'size'"),
        (["--sort", "a"], "--sort"),
        (["a", "--order"], "--order"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_2(
    arguments: list[str], expected: str, tmp_path: Path
) -> None:
    """As with the other commands, and it points to the help."""
    done = cat(*arguments, output=tmp_path / "out.pcap")

    assert done.returncode == ExitCode.USAGE
    assert expected in done.stderr
    assert done.stderr.endswith("See 'pcapdj cat --help'.\n")
    assert done.stderr.count("\n") == 1


def test_the_precision_may_come_from_the_environment(
    captures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invalid value is refused, and the variable is named."""
    monkeypatch.setenv("PCAPDJ_PRECISION", "ns")
    fine = cat(*captures, output=tmp_path / "fine.pcap")
    monkeypatch.setenv("PCAPDJ_PRECISION", "fine")
    wrong = cat(*captures, output=tmp_path / "wrong.pcap")

    assert (fine.returncode, wrong.returncode) == (ExitCode.OK, ExitCode.USAGE)
    assert (tmp_path / "fine.pcap").read_bytes()[:4] == b"\x4d\x3c\xb2\xa1"
    assert wrong.stderr == "pcapdj cat: PCAPDJ_PRECISION is 'fine'. Use us or ns.\n"


@pytest.mark.parametrize(
    ("precision", "magic"),
    [("us", b"\xd4\xc3\xb2\xa1"), ("ns", b"\x4d\x3c\xb2\xa1"), (None, b"\x4d\x3c\xb2\xa1")],
)
def test_the_precision_of_the_stream_can_be_chosen(
    tmp_path: Path, precision: str | None, magic: bytes
) -> None:
    """Both are accepted; without the option the first file decides."""
    (tmp_path / "a.pcap").write_bytes(classic([Record()], magic=NANO))
    option = ["--precision", precision] if precision else []

    done = cat(*option, tmp_path / "a.pcap", output=tmp_path / "out.pcap")

    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert (tmp_path / "out.pcap").read_bytes()[:4] == magic


def test_one_file_has_one_link_type(tmp_path: Path) -> None:
    """A new stream is for analyzers only; flag and variable are refused alike."""
    capture = tmp_path / "a.pcap"
    capture.write_bytes(classic([Record()]))

    by_flag = cat("--on-linktype", "new-stream", capture, output=tmp_path / "out.pcap")
    by_variable = cat(capture, output=tmp_path / "out.pcap", PCAPDJ_ON_LINKTYPE="new-stream")

    assert by_flag.returncode == by_variable.returncode == ExitCode.USAGE
    assert by_flag.stderr == by_variable.stderr
    assert by_flag.stderr == (
        "pcapdj cat: --on-linktype new-stream is for analyzers: a file has one link type.\n"
    )


def test_other_link_types_are_refused_or_rewritten(tmp_path: Path) -> None:
    """By flag or variable; the flag overrides, and an unknown word is refused."""
    raw, out = tmp_path / "raw.pcap", tmp_path / "out.pcap"
    raw.write_bytes(classic([Record(data=b"\x45raw")], linktype=101))
    (tmp_path / "a.pcap").write_bytes(classic([Record()]))

    def written(*options: str, **variables: str) -> tuple[int, int]:
        done = cat(*options, tmp_path / "a.pcap", raw, output=out, **variables)
        return done.returncode, len(records_of(out.read_bytes()[24:]))

    assert written() == written("--on-linktype", "fail") == written(PCAPDJ_ON_LINKTYPE="") == (1, 1)
    assert written("--on-linktype", "ethernet") == written(PCAPDJ_ON_LINKTYPE="ethernet") == (0, 2)
    assert written("--on-linktype", "fail", PCAPDJ_ON_LINKTYPE="ethernet") == (1, 1)
    assert written("--on-linktype", "raw") == (ExitCode.USAGE, 0)


def test_a_terminal_is_no_place_for_a_capture(captures: list[Path]) -> None:
    """Its bytes would act on the terminal."""
    ours, terminal = os.openpty()
    try:
        done = run("pcapdj", "cat", *captures, stdout=terminal)
    finally:
        os.close(ours)
        os.close(terminal)

    assert done.returncode == ExitCode.USAGE
    assert done.stderr == (
        "pcapdj cat: The output is a capture, and stdout is a terminal. Add > FILE or | PROGRAM.\n"
    )


def test_without_a_stdout_nothing_is_read(captures: list[Path]) -> None:
    """As in a job whose stdout is closed."""
    command = [sys.executable, "-m", "pcapdj", "cat", *captures]

    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *map(str, command)], stderr=PIPE, text=True, check=False, cwd=ROOT
    )

    assert done.returncode == ExitCode.ERROR
    assert done.stderr == "pcapdj cat: There is no stdout: Bad file descriptor.\n"


def test_an_unknown_handling_of_link_types_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """The second one would have to be guessed."""
    done = cat("--on-linktype", "raw", "a.pcap", output=tmp_path / "out.pcap")

    assert done.stderr == "pcapdj cat: --on-linktype is 'raw'. Use fail or ethernet.\n"


def test_the_help_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """With its default and its variable."""
    assert cli_start(["cat", "--help"]) == ExitCode.OK

    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(
        "usage: pcapdj cat [-h] [--order {name,time}] [--precision {us,ns}] [--on-linktype {fail,ethernet}]"
        " FILE [FILE ...]"
    )
    assert "Write the capture files to stdout as one classic capture, whole records only." in text
    assert "FILE capture files, or folders of them" in text
    assert "default: that of the first file [env: PCAPDJ_PRECISION]" in text
    assert "default: fail [env: PCAPDJ_ON_LINKTYPE]" in text


def test_a_jump_of_the_time_between_two_files_is_a_warning(tmp_path: Path) -> None:
    """A step back, and more than an hour forward; the packets are written, the exit code is 0."""
    names = [tmp_path / name for name in ("a", "b", "empty", "c", "d")]
    for name, seconds in zip(names, ([9], [5], [], [3605], [7300]), strict=True):
        name.write_bytes(classic([Record(seconds=each) for each in seconds]))

    done = cat(*names, output=tmp_path / "out.pcap")

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"pcapdj cat: '{tmp_path}/b': begins 4 s before the end of the previous file; 1 packet written.",
        f"pcapdj cat: '{tmp_path}/d': begins 1 h 1 min after the end of the previous file; 1 packet written.",
    ]


def test_the_order_of_a_folder_is_shown_where_its_names_contradict_it(tmp_path: Path) -> None:
    """By default by time, by wish by name; files that are no captures are counted, not written."""
    folder = tmp_path / "d"
    folder.mkdir()
    for name, seconds in (("cap1", 9), ("cap2", 5)):
        (folder / name).write_bytes(classic([Record(seconds=seconds)]))
    (folder / "notes.txt").write_text("no capture")

    by_time = cat(folder, output=tmp_path / "time.pcap")
    by_name = cat("--order", "name", folder, output=tmp_path / "name.pcap")

    assert [each.seconds for each in records_of((tmp_path / "time.pcap").read_bytes()[24:])] == [5, 9]
    assert [each.seconds for each in records_of((tmp_path / "name.pcap").read_bytes()[24:])] == [9, 5]
    assert "Was a clock set back? --order name feeds by name." in by_time.stderr
    assert f"Skipped: '{folder}/notes.txt' is not a supported capture format." in by_time.stderr
    assert "begins 4 s before the end of the previous file" in by_name.stderr
    assert (by_time.returncode, by_name.returncode) == (0, 0)


def test_a_named_file_that_is_no_capture_is_damage_also_beside_a_folder(tmp_path: Path) -> None:
    """The folder's captures are written, the exit code is 1."""
    folder, text = tmp_path / "d", tmp_path / "notes.txt"
    folder.mkdir()
    (folder / "a").write_bytes(classic([Record()]))
    text.write_text("no capture")

    done = cat(text, folder, output=tmp_path / "out.pcap")

    assert done.returncode == 1
    assert f"'{text}': is not a supported capture format" in done.stderr
    assert len(records_of((tmp_path / "out.pcap").read_bytes()[24:])) == 1


def test_what_is_unusual_in_a_file_is_a_warning(tmp_path: Path) -> None:
    """The file is written whole, the exit code is 0, and stdout has packets only."""
    capture, out = tmp_path / "a.pcap", tmp_path / "out.pcap"
    capture.write_bytes(classic([Record(5, data=b"x" * 60), Record(3, data=b"x" * 60)]))

    done = cat(capture, output=out)

    assert done.returncode == ExitCode.OK
    assert re.fullmatch(rf"pcapdj cat: '{capture}': .* back.*\.\n", done.stderr)
    assert out.stat().st_size == capture.stat().st_size


def test_it_loads_nothing_that_is_slow_to_load() -> None:
    """Loading it would take longer than all the rest for a small file."""
    program = (
        "import sys; from pcapdj.cli import start; start(['cat']);"
        "sys.exit(bool({'typer', 'pydantic', 'numpy', 'argparse', 'pathlib', 'hashlib'} & set(sys.modules)))"
    )

    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=ROOT)
