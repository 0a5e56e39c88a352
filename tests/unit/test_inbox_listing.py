"""Which files are captures, and in which order they come."""

import gzip
import os
from pathlib import Path

import pytest
from support.captures import Record, classic, section

from pcapdj.capture.files import StillWritten
from pcapdj.inbox.listing import Order, capture_files, look_at, refusal_sentences

CAPTURE = classic([Record()])


def names_in(folder: Path, *names: str) -> list[bytes]:
    """Return the absolute names of these files of the folder."""
    return [os.fsencode(folder / name) for name in names]


def written(folder: Path, *names: str, content: bytes = CAPTURE) -> list[bytes]:
    """Write the files, folders included, and return their absolute names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return names_in(folder, *names)


def found(*paths: bytes, recursive: bool = False, order: Order | None = None) -> list[bytes]:
    """Return the names of the captures found."""
    return [file.name for file in capture_files(paths, recursive=recursive, order=order).files]


def test_a_folder_comes_in_natural_order_and_paths_as_given(tmp_path: Path) -> None:
    """Without an order the operator's own holds; inside a folder it is the natural one."""
    single = written(tmp_path, "z.pcap")
    folder = written(tmp_path, "d/cap2", "d/cap10", "d/cap1")

    assert found(*single, os.fsencode(tmp_path / "d")) == [*single, folder[2], folder[0], folder[1]]


def test_an_order_by_name_holds_for_all_paths(tmp_path: Path) -> None:
    """What the shell expanded in its own order is put right."""
    first, tenth, second = written(tmp_path, "cap1", "cap10", "cap2")

    assert found(first, tenth, second, order=Order.NAME) == [first, second, tenth]


def test_an_order_by_time_puts_files_without_packets_last(tmp_path: Path) -> None:
    """The first packet's time decides; empty and damaged captures follow in natural order."""
    late = written(tmp_path, "a", content=classic([Record(seconds=9)]))
    early = written(tmp_path, "b", content=classic([Record(seconds=3)]))
    empty = written(tmp_path, "c10", "c9", content=classic([]))

    assert found(os.fsencode(tmp_path), order=Order.TIME) == [*early, *late, empty[1], empty[0]]


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    """A capture may have any name, and a text file may be named like a capture."""
    captures = written(tmp_path, "notes.txt") + written(tmp_path, "ng", content=section())
    captures += written(tmp_path, "packed", content=gzip.compress(CAPTURE))
    written(tmp_path, "fake.pcap", content=b"not a capture at all")
    written(tmp_path, "log.gz", content=gzip.compress(b"text"))

    assert sorted(found(os.fsencode(tmp_path))) == sorted(captures)


def test_folders_within_are_looked_into_only_if_asked_for(tmp_path: Path) -> None:
    """Recursion is the operator's choice."""
    top, inner = written(tmp_path, "x", "sub/y")

    assert found(os.fsencode(tmp_path)) == [top]
    assert sorted(found(os.fsencode(tmp_path), recursive=True)) == sorted([top, inner])


def test_hidden_names_are_taken_only_if_asked_for(tmp_path: Path) -> None:
    """Rotation tools hide a file while they write it; an operator may name it all the same."""
    hidden, _ = written(tmp_path, ".x", ".sub/y")

    assert found(os.fsencode(tmp_path), recursive=True) == []
    assert found(hidden) == [hidden]


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    """A circle of links must end; a link to a file is a file."""
    (real,) = written(tmp_path, "d/x")
    (tmp_path / "d/circle").symlink_to(tmp_path / "d")
    (tmp_path / "d/y").symlink_to("x")

    assert found(os.fsencode(tmp_path / "d"), recursive=True) == [real, *names_in(tmp_path, "d/y")]


def test_a_file_named_twice_comes_once(tmp_path: Path) -> None:
    """By itself and with its folder, or by two spellings."""
    (name,) = written(tmp_path, "d/x")

    assert found(name, os.fsencode(tmp_path / "d"), os.fsencode(tmp_path / "d/../d/x")) == [name]


def test_what_was_asked_for_and_is_no_capture_is_told_apart(tmp_path: Path) -> None:
    """The missing and the unfit by their names; what merely lay in a folder is only counted."""
    named = written(tmp_path, "text", content=b"hello") + names_in(tmp_path, "missing")
    written(tmp_path, "d/other", content=b"hello")

    listing = capture_files([*named, os.fsencode(tmp_path / "d")], recursive=False)

    assert [refusal.is_asked_for for refusal in listing.refused] == [True, True, False]


def test_names_of_any_bytes_are_taken(tmp_path: Path) -> None:
    """Newline, escape sequence, quotes, no UTF-8, a leading dash."""
    names = [
        os.fsencode(tmp_path) + b"/" + odd for odd in (b"a\nb", b"\x1b[31m", b"'\"`;$()", b"\xff\xfe", b"-x")
    ]
    for name in names:
        with open(name, "wb") as file:  # noqa: PTH123 - bytes
            file.write(CAPTURE)

    assert sorted(found(os.fsencode(tmp_path))) == sorted(names)


@pytest.mark.parametrize("kind", ["pipe", "folder", "broken link"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Nothing blocks on a pipe, and nothing but files is read."""
    if kind == "pipe":
        os.mkfifo(tmp_path / "x")
    elif kind == "folder":
        (tmp_path / "x").mkdir()
    else:
        (tmp_path / "x").symlink_to("nowhere")

    assert found(os.fsencode(tmp_path)) == []


def test_a_file_that_is_open_for_writing_can_be_refused(tmp_path: Path) -> None:
    """However long ago its writer last wrote."""
    (name,) = written(tmp_path, "x")
    os.utime(name, (1, 1))

    with (tmp_path / "x").open("ab"), pytest.raises(StillWritten):
        look_at(name, refuse_written=True)
    assert look_at(name, refuse_written=True).name == name


def test_only_a_few_refused_files_are_named(tmp_path: Path) -> None:
    """A folder of ten thousand texts does not flood the log."""
    written(tmp_path, *(f"text{number}" for number in range(30)), content=b"hello")

    sentences = refusal_sentences(capture_files([os.fsencode(tmp_path)], recursive=False).refused)

    assert len(sentences) == 6
    assert "25" in sentences[-1]
