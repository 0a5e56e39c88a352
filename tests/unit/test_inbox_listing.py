"""Which files are captures, in which order they are fed, and the sentences about refused files."""

import gzip
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from support.captures import Record, classic, section
from support.folders import deep_tree

from pcapdj.capture.files import StillWritten
from pcapdj.inbox.folder import MOST_LEVELS
from pcapdj.inbox.listing import list_captures, look_at_capture
from pcapdj.inbox.order import Order
from pcapdj.inbox.skipped import refusal_sentences

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
    return [file.name for file in list_captures(paths, recursive=recursive, order=order).files]


def test_paths_stay_in_the_order_given_and_a_folder_is_in_the_order_of_its_packets(tmp_path: Path) -> None:
    """Without an order option; where packets have the same time, names decide in natural order."""
    single = written(tmp_path, "z.pcap")
    folder = written(tmp_path, "d/cap2", "d/cap10")
    first = written(tmp_path, "d/cap11", content=classic([Record(seconds=0)]))

    assert found(*single, os.fsencode(tmp_path / "d")) == [*single, *first, *folder]


def test_a_file_that_is_named_again_or_is_in_a_folder_too_is_fed_once(tmp_path: Path) -> None:
    """At its first place."""
    first, second = written(tmp_path, "d/1", "d/2")

    assert found(second, os.fsencode(tmp_path / "d"), first, second) == [second, first]


def test_what_is_unusual_about_the_order_is_in_the_listing(tmp_path: Path) -> None:
    """For files in the order given, and for a folder; with an order option only for that order."""
    early = written(tmp_path, "d/cap2", content=classic([Record(seconds=3)]))
    late = written(tmp_path, "d/cap1", content=classic([Record(seconds=63)]))
    folder = os.fsencode(tmp_path / "d")

    given, of_folder = (
        list_captures([*late, *early], recursive=False),
        list_captures([folder], recursive=False),
    )
    by_name = list_captures([*late, *early], recursive=False, order=Order.NAME)

    assert "begins 1 min before" in given.notes[0]
    assert "fed in the order given" in given.notes[0]
    assert "not of their names" in of_folder.notes[0]
    assert [len(each.notes) for each in (given, of_folder, by_name)] == [1, 1, 0]


def test_an_order_by_name_covers_all_paths(tmp_path: Path) -> None:
    """The order of the shell's expansion is corrected."""
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


def test_folders_inside_folders_are_included_only_if_recursive(tmp_path: Path) -> None:
    """The user decides with an option."""
    top, inner = written(tmp_path, "x", "sub/y")

    assert found(os.fsencode(tmp_path)) == [top]
    assert sorted(found(os.fsencode(tmp_path), recursive=True)) == sorted([top, inner])


def test_hidden_files_are_listed_only_if_they_are_named(tmp_path: Path) -> None:
    """Rotation tools hide a file while they write it; a user may still name it."""
    hidden, _ = written(tmp_path, ".x", ".sub/y")

    assert found(os.fsencode(tmp_path), recursive=True) == []
    assert found(hidden) == [hidden]


@pytest.mark.long
def test_a_tree_of_3000_folders_is_listed_down_to_a_limit(tmp_path: Path) -> None:
    """What is deeper is refused in one sentence; the rest of the tree is listed."""
    first, last = written(tmp_path, "a/x", "z/x")
    with deep_tree(tmp_path / "m", 3000, every=100, content=CAPTURE):
        listing = list_captures([os.fsencode(tmp_path)], recursive=True)

    names = [file.name for file in listing.files]
    assert (names[0], names[-1], len(names)) == (first, last, 2 + (MOST_LEVELS - 1) // 100)
    [sentence] = refusal_sentences(listing.refused)
    assert sentence.endswith("is a folder that cannot be read: it is more than 200 levels deep.")


def test_a_path_that_is_too_long_for_the_system_is_refused(tmp_path: Path) -> None:
    """Twenty folders with the longest names that there are."""
    with deep_tree(tmp_path / "m", 20, name=b"d" * 255):
        listing = list_captures([os.fsencode(tmp_path)], recursive=True)

    [sentence] = refusal_sentences(listing.refused)
    assert sentence.endswith("is a folder that cannot be read: File name too long.")


def test_a_circle_of_links_is_refused_and_the_rest_is_listed(tmp_path: Path) -> None:
    """The system refuses to follow it."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    capture = written(tmp_path, "c")

    assert found(os.fsencode(tmp_path), recursive=True) == capture


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    """A circle of links must end; a link to a file is a file."""
    (real,) = written(tmp_path, "d/x")
    (tmp_path / "d/circle").symlink_to(tmp_path / "d")
    (tmp_path / "d/y").symlink_to("x")

    assert found(os.fsencode(tmp_path / "d"), recursive=True) == [real, *names_in(tmp_path, "d/y")]


def test_a_file_given_twice_is_listed_once(tmp_path: Path) -> None:
    """By itself and with its folder, or by two spellings."""
    (name,) = written(tmp_path, "d/x")

    assert found(name, os.fsencode(tmp_path / "d"), os.fsencode(tmp_path / "d/../d/x")) == [name]


def test_refused_files_that_the_user_named_are_faults(tmp_path: Path) -> None:
    """A missing or unsupported file makes the exit code 1 only if the user named it."""
    named = written(tmp_path, "text", content=b"hello") + names_in(tmp_path, "missing")
    written(tmp_path, "d/other", content=b"hello")

    listing = list_captures([*named, os.fsencode(tmp_path / "d")], recursive=False)

    assert [refusal.is_fault for refusal in listing.refused] == [True, True, False]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty: 0 bytes"),
        (gzip.compress(b"", mtime=0), "is an empty gzip file"),
        (gzip.compress(CAPTURE, mtime=0)[:12], "compressed data"),
        (b"snoop\0\0\0" + bytes(16), "which is not a supported format"),
    ],
)
def test_captures_of_a_folder_that_cannot_be_fed_are_faults(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    """Their packets will be missing; what is no capture at all is skipped."""
    (name,) = written(tmp_path, "d/x", content=content)
    written(tmp_path, "d/notes", "d/log.gz", content=b"text")
    (tmp_path / "d/nowhere").symlink_to("gone")
    os.mkfifo(tmp_path / "d/pipe")

    listing = list_captures([os.fsencode(tmp_path / "d")], recursive=False)

    [fault] = [each for each in listing.refused if each.is_fault]
    assert fault.name == name
    assert reason in fault.reason
    assert len(listing.refused) == 5


def test_a_file_that_is_gone_since_its_folder_was_listed_is_a_fault(tmp_path: Path) -> None:
    """It may have been a capture: the command may not end as if all were fed. The rest of the folder is."""
    gone, kept = written(tmp_path, "1.pcap", "2.pcap")

    def remove(_names: Sequence[bytes]) -> Collection[bytes]:
        (tmp_path / "1.pcap").unlink()
        return ()

    listing = list_captures([os.fsencode(tmp_path)], recursive=False, leave_out=remove)

    assert [each.name for each in listing.files] == [kept]
    assert [(each.name, each.reason) for each in listing.faults] == [(gone, "does not exist")]


def test_a_file_that_is_named_more_than_once_is_shown(tmp_path: Path) -> None:
    """It is fed once; two spellings are one name."""
    first, second = written(tmp_path, "a", "b")

    listing = list_captures([first, second, os.path.dirname(first) + b"/./a"], recursive=False)  # noqa: PTH120 - bytes

    assert [each.name for each in listing.files] == [first, second]
    assert listing.notes == (f"'{tmp_path}/a' is named 2 times: it is fed once.",)


def test_names_may_have_any_bytes(tmp_path: Path) -> None:
    """Newline, escape sequence, quotes, no UTF-8, a leading dash."""
    names = [
        os.fsencode(tmp_path) + b"/" + odd for odd in (b"a\nb", b"\x1b[31m", b"'\"`;$()", b"\xff\xfe", b"-x")
    ]
    for name in names:
        with open(name, "wb") as file:  # noqa: PTH123 - bytes
            file.write(CAPTURE)

    assert sorted(found(os.fsencode(tmp_path))) == sorted(names)


@pytest.mark.parametrize("kind", ["pipe", "folder", "broken link"])
def test_only_regular_files_are_listed(tmp_path: Path, kind: str) -> None:
    """Opening a pipe does not block, and only files are read."""
    if kind == "pipe":
        os.mkfifo(tmp_path / "x")
    elif kind == "folder":
        (tmp_path / "x").mkdir()
    else:
        (tmp_path / "x").symlink_to("nowhere")

    assert found(os.fsencode(tmp_path)) == []


def test_a_file_that_is_open_for_writing_can_be_refused(tmp_path: Path) -> None:
    """No matter when its writer last wrote."""
    (name,) = written(tmp_path, "x")
    os.utime(name, (1, 1))

    with (tmp_path / "x").open("ab"), pytest.raises(StillWritten):
        look_at_capture(name, refuse_written=True)
    assert look_at_capture(name, refuse_written=True).name == name


@pytest.mark.parametrize(
    ("files", "last"),
    [
        (5, "is not a supported capture format."),
        (6, "1 more was skipped."),
        pytest.param(1030, "1,025 more were skipped.", marks=pytest.mark.long),
    ],
)
def test_five_refused_files_are_named_and_the_others_counted(tmp_path: Path, files: int, last: str) -> None:
    """A folder of a thousand texts does not flood the log."""
    written(tmp_path, *(f"text{number}" for number in range(files)), content=b"hello")

    sentences = refusal_sentences(list_captures([os.fsencode(tmp_path)], recursive=False).refused)

    named = [f"Skipped: '{tmp_path}/text{number}' is not a supported capture format." for number in range(5)]
    assert sentences[:5] == named
    assert len(sentences) == min(files, 6)
    assert sentences[-1].endswith(last)


def test_each_file_that_the_user_named_has_its_own_sentence(tmp_path: Path) -> None:
    """They come first and are never only counted; each has the reason."""
    names = written(tmp_path, "text", content=b"hello") + written(tmp_path, "none", content=b"")
    names += written(tmp_path, "modem", content=b"TRSNIFF data    \x1a") + names_in(tmp_path, "missing")

    remedy = "which is not a supported format: 'editcap -F pcapng IN OUT' converts it"
    assert refusal_sentences(list_captures(names, recursive=False).refused) == [
        f"'{tmp_path}/text' is not a supported capture format.",
        f"'{tmp_path}/none' is empty: 0 bytes.",
        f"'{tmp_path}/modem' is NG Sniffer, {remedy}.",
        f"'{tmp_path}/missing' does not exist.",
    ]


def test_a_folder_that_cannot_be_read_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listed as a fault, since its captures are missing; the other folders are read."""
    (name,) = written(tmp_path, "d/x")
    deep = tmp_path / "e" / ("f" * 250)
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    for _ in range(20):  # a path beyond PATH_MAX cannot be opened, not even by root
        os.mkdir("g" * 250)  # noqa: PTH102 - relative to a path that is too long
        os.chdir("g" * 250)

    listing = list_captures([os.fsencode(tmp_path)], recursive=True)

    [refusal] = listing.refused
    assert [file.name for file in listing.files] == [name]
    assert refusal.reason == "is a folder that cannot be read: File name too long"
    assert refusal.is_fault
