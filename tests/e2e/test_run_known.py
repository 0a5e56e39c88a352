"""`pcapdj run` feeds each capture once: copies, and what an earlier run of the same folder has fed."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import forkserver
from support.captures import Record, classic, records_of
from support.forkserver import DEVNULL, PIPE
from support.roles_rig import HEADER_BYTES, numbered, places, places_in
from support.service_rig import COPYING, environment

pytestmark = pytest.mark.timeout(150)

OLD = (1_600_000_000, 1_600_000_000)
ROOM = ("--min-free", "1MiB", "--resume-after", "0", "--suspend-free", "0", "--min-free-inodes", "0")


@pytest.fixture
def home(short_path: Path) -> Path:
    """Return a folder with a copying analyzer."""
    (short_path / "copying.py").write_text(COPYING)
    (short_path / "tmp").mkdir()
    return short_path


def run(home: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """Run `pcapdj run` into the folder `o`; return exit code, stdout and stderr."""
    env = environment(TMPDIR=str(home / "tmp"), RIG=str(home))
    command = ["--logdir", "o", *ROOM, "--", "python3", str(home / "copying.py"), "{pipe}", "{logdir}"]
    streams: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE, "text": True}
    with forkserver.start(
        "pcapdj", "run", *arguments, *command, cwd=home, env=env, forks=True, **streams
    ) as process:
        stdout, stderr = process.communicate(120)
    assert "Traceback" not in stderr
    return process.wait(), stdout, stderr


def put(home: Path, name: str, packets: Sequence[Record], time_s: int = 0) -> Path:
    """Write a complete capture."""
    path = home / name
    path.write_bytes(classic(packets))
    os.utime(path, (OLD[0] + time_s, OLD[1] + time_s))
    return path


def streams(home: Path) -> list[list[tuple[int, int]]]:
    """Return file and place of every packet of each stream, the oldest first."""
    copies = sorted((home / "o").glob("2*/copy"), key=lambda path: path.stat().st_mtime_ns)
    return [places_in(path.read_bytes()) for path in copies]


def recorded(home: Path) -> dict[str, dict[str, Any]]:
    """Return the record's files by the last part of their names."""
    files = json.loads((home / "o" / "pcapdj.json").read_text())["files"]
    return {Path(each["name"]).name: each for each in files}


@pytest.mark.long
def test_copies_of_a_capture_are_named_and_not_fed(home: Path) -> None:
    """Exit 0: every packet is in the stream."""
    first, other = put(home, "a.pcap", numbered(1, 20)), put(home, "b.pcap", numbered(2, 20))
    copy = put(home, "copy.pcap", numbered(1, 20))
    packed = home / "packed.pcap.gz"
    packed.write_bytes(gzip.compress(first.read_bytes()))
    os.utime(packed, OLD)

    code, stdout, stderr = run(home, first, copy, other, packed)

    assert (code, streams(home)) == (0, [places(1, 20) + places(2, 20)])
    assert "files     2 fed, 2 known already\n" in stdout
    assert f"known     '{copy}' is the same capture as '{first}'\n" in stdout
    assert f"{copy}: not fed again: it is the same capture as '{first}'\n" in stderr
    about = {name: (each["packets"], each.get("known_as")) for name, each in recorded(home).items()}
    assert about == {
        "a.pcap": (20, None),
        "copy.pcap": (0, str(first)),
        "b.pcap": (20, None),
        "packed.pcap.gz": (0, str(first)),
    }


@pytest.mark.long
def test_a_shorter_cut_is_named_too(home: Path) -> None:
    """It is fed whole: nothing proves that its packets were fed."""
    long, short = put(home, "long.pcap", numbered(1, 200)), put(home, "short.pcap", numbered(1, 100))

    code, _, stderr = run(home, long, short)

    assert (code, streams(home)) == (0, [places(1, 200) + places(1, 100)])
    assert f"{short}: 100 packets; it begins like '{long}', which was fed, and is shorter\n" in stderr


@pytest.mark.long
def test_a_lost_capture_is_a_failure(home: Path) -> None:
    """A capture that is cut off fails; its rest is fed by the next run, and then nothing is missing."""
    packets = numbered(1, 40)
    path = put(home, "a.pcap", packets)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    os.utime(path, OLD)

    code, _, _ = run(home, path)
    path.write_bytes(whole)
    os.utime(path, (OLD[0] + 5, OLD[1] + 5))
    again, stdout, stderr = run(home, path, "--resume")

    assert (code, again) == (1, 0)
    assert streams(home) == [places(1, 39), places(1, 40)[39:]]
    assert "packets   1\n" in stdout
    assert "1 packet, which follow the" in stderr
    assert len(recorded(home)["a.pcap"]["earlier_streams"]) == 1


def test_a_resumed_run_knows_what_was_fed_under_other_names_and_times(home: Path) -> None:
    """Renamed, touched and compressed captures are not fed again; of one that grew only the rest is."""
    names = ["renamed.pcap", "touched.pcap", "packed.pcap", "grown.pcap", "same.pcap"]
    files = [put(home, name, numbered(number, 20)) for number, name in enumerate(names)]
    code, _, stderr = run(home, *files)
    assert code == 0, stderr
    files[0] = files[0].rename(home / "other.pcap")
    os.utime(files[1], (OLD[0] + 9, OLD[1] + 9))
    files[2].unlink()
    files[2] = home / "packed.pcap.gz"
    files[2].write_bytes(gzip.compress(classic(numbered(2, 20))))
    os.utime(files[2], OLD)
    put(home, "grown.pcap", numbered(3, 30), time_s=9)

    code, stdout, _ = run(home, *files, "--resume")

    assert code == 0
    first, second = streams(home)
    assert (len(first), second) == (100, places(3, 30)[20:])
    assert "files     1 fed, 1 fed before, 3 known already\n" in stdout
    again, stdout, _ = run(home, *files, "--resume")
    assert (again, len(streams(home))) == (0, 2)
    assert "files     0 fed, 5 fed before\n" in stdout
    touched = recorded(home)["touched.pcap"]
    assert (touched["packets"], touched.get("known_as")) == (20, None)


@pytest.mark.long
def test_streams_are_whole(home: Path) -> None:
    """The rest of a file is a stream of its own, with a header."""
    path = put(home, "a.pcap", numbered(1, 20))
    run(home, path)
    put(home, "a.pcap", numbered(1, 21), time_s=9)
    run(home, path, "--resume")
    for copy in (home / "o").glob("2*/copy"):
        assert records_of(copy.read_bytes()[HEADER_BYTES:])
