"""The memory of the summary analyzer, whatever the stream has in it."""

import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE, run
from typing import Final

import pytest
from support.frames import stream, tcp_frame

ANSWER: Final = b"HTTP/1.1 200\nContent-Length:1\n\nA"
TESTS: Final = Path(__file__).parents[1]
SEGMENTS: Final = 62  # as many as are held of one direction, 4 MiB
MOST_BYTES: Final = 80 << 20  # as `FlowLimits` promises
LAUNCH: Final = (
    "import sys; from support.peak_memory import highest_bytes; from pcapdj.summary.__main__ import main;"
    " main(sys.argv[1:]); print(highest_bytes(), file=sys.stderr)"
)


@pytest.mark.long
def test_objects_in_segments_that_are_held_take_no_more_memory_than_others(tmp_path: Path) -> None:
    """After a gap thousands of segments are held, each with thousands of responses; all end at once."""
    answers = ANSWER * (65_000 // len(ANSWER))
    places = [0, *(100 + each * len(answers) for each in range(SEGMENTS))]
    frames = [tcp_frame(to_server=False, seq=place, payload=answers if place else b"x") for place in places]
    capture = tmp_path / "held.pcap"
    capture.write_bytes(stream(*frames))

    command = [sys.executable, "-c", LAUNCH, str(capture), str(tmp_path / "out")]
    done = run(command, stdout=DEVNULL, stderr=PIPE, cwd=TESTS, check=True)

    assert int(done.stderr) < MOST_BYTES
    assert (tmp_path / "out" / "objects.jsonl").read_bytes().count(b"\n") > 10_000
