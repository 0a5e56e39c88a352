"""Lines of files and pipes that other programs write: `pcapdj.runtime.foreign_files`."""

import os
import tempfile
from pathlib import Path
from typing import Final

import pytest
from support.holes import with_hole

from pcapdj.runtime import foreign_files
from pcapdj.runtime.foreign_files import foreign_lines, lines_as_they_come, lines_of, skip_hole
from pcapdj.store.start_problem import problem_at, write_problem

CASES: Final = {
    b"": [],
    b"a\nb\n": ["a\n", "b\n"],
    b"a\n\nb": ["a\n", "\n", "b"],
    b"123456789\n12345678\n123": ["12345678\n", "123"],
    b"x" * 30 + b"\nb\n": ["b\n"],
    b"\xff\n": ["\ufffd\n"],
    b"a\nb\0\0\0c\nd\0e": ["a\n", "c\n", "e"],
    b"x" * 30 + b"\0" * 30 + b"c\nd\n": ["c\n", "d\n"],
    b"\0" * 30 + b"x" * 30 + b"\nd\n" + b"\0" * 12: ["d\n"],
}


@pytest.mark.parametrize("content", CASES)
@pytest.mark.parametrize("read_bytes", [1, 3, 100])
def test_lines_are_the_same_however_they_come(
    content: bytes, read_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that are too long are left out, whatever part of them was read at once."""
    monkeypatch.setattr(foreign_files, "MOST_LINE_BYTES", 9)
    monkeypatch.setattr(foreign_files, "_READ_BYTES", read_bytes)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        assert [line for line in lines_as_they_come(file) if line] == CASES[content]
        file.seek(0)
        assert list(map(len, lines_of(file))) == list(map(len, CASES[content]))


def test_a_long_line_that_comes_byte_by_byte_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of a megabyte took minutes: all that had come of it was copied and searched for each byte."""
    looked_at = list[int]()

    def behind_hole(line: bytes) -> tuple[bytes, bool]:
        looked_at.append(len(line))
        return line, False

    monkeypatch.setattr(foreign_files, "_behind_hole", behind_hole)
    monkeypatch.setattr(foreign_files, "_READ_BYTES", 1)
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 5000)
        file.seek(0)
        assert [line for line in lines_as_they_come(file) if line] == ["x" * 5000]

    assert sum(looked_at) <= 5000


def test_the_problem_of_a_server_is_not_what_a_link_leads_to(tmp_path: Path) -> None:
    """Root names the Redis of a user, who may link to a file that only root can read: it would be shown."""
    (tmp_path / "secret").write_text("s3cr3t")
    write_problem(tmp_path / "ours.sock", "The disk is full.")
    (tmp_path / "theirs.problem").symlink_to("secret")

    assert problem_at(f"unix://{tmp_path}/ours.sock") == "The disk is full."
    assert problem_at(f"unix://{tmp_path}/theirs.sock") == ""


def test_a_pause_is_an_empty_text() -> None:
    """What came so far can be answered, though its pipe stays open; a longer pause is not shown again."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe:
        os.write(write, b"a\nb")
        lines = lines_as_they_come(pipe, pause_s=0.01)
        assert [next(lines), next(lines)] == ["a\n", ""]
        os.write(write, b"c\n")
        assert [next(lines), next(lines)] == ["bc\n", ""]
        os.close(write)
        assert list(lines) == []


def test_a_hole_of_terabytes_costs_no_time(tmp_path: Path) -> None:
    """A hole costs its author nothing, and would take hours to read; the lines before and behind it count."""
    path = with_hole(tmp_path / "eve.json", b"a\n")
    assert list(foreign_lines(path)) == ["a\n"]
    with path.open("ab") as file:
        file.write(b"b\nc\n")
    assert list(foreign_lines(path)) == ["a\n", "b\n", "c\n"]
    with path.open("rb") as file:
        assert [line for line in lines_as_they_come(file) if line] == ["a\n", "b\n", "c\n"]


def test_what_comes_while_the_last_hole_is_skipped_is_not_skipped(tmp_path: Path) -> None:
    """The file may grow between the look for data and the step to its end."""
    path = with_hole(tmp_path / "eve.json", b"a\n")
    with path.open("rb", buffering=0) as file, path.open("ab") as writer:

        def seek(place: int, whence: int) -> int:
            try:
                return file.seek(place, whence)
            finally:
                if whence == os.SEEK_DATA:
                    writer.write(b"b\n")
                    writer.flush()

        file.seek(1 << 20)
        skip_hole(seek)
        assert file.read() == b"b\n"
