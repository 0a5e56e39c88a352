"""The objects of an analyzer's output, and the sums to compare them with: `pcapdj.run.extracted`."""

import json
import os
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.holes import with_hole
from support.waiting import scaled

from pcapdj.run.extracted import ExtractedObject, ExtractedObjects, extracted_from, read_expected
from pcapdj.runtime.errors import ConfigError
from pcapdj.summary.results import HttpObject

DIGEST = "0123456789abcdef" * 4
STORED = {"filename": "/x.bin", "state": "CLOSED", "stored": True, "size": 7, "sha256": DIGEST}
EVENT = {"event_type": "fileinfo", "http": {"hostname": "host"}, "fileinfo": STORED}


def objects_of(folder: Path, *events: Any) -> list[ExtractedObject]:
    """Return the objects of an eve.json with these events."""
    (folder / "eve.json").write_text("".join(json.dumps(event) + "\n" for event in events))
    return [*extracted_from(folder)]


def test_sums_are_read_as_sha256sum_writes_them(tmp_path: Path) -> None:
    """Text and binary mode, names with spaces, digits in capitals, empty lines; a tab from an editor."""
    sums, edited = tmp_path / "sums", "0" * 64
    sums.write_text(f"{DIGEST}  a name\n\n{DIGEST[::-1].upper()} *b.bin\n{edited}\tc.bin\n")

    assert read_expected(sums) == {DIGEST: "a name", DIGEST[::-1]: "b.bin", edited: "c.bin"}


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31m" + "0" * 59 + "  x\n",
        "no sums\n",
        f"{DIGEST}\n",
        f"{DIGEST[1:]}  x\n",
        f"{DIGEST}  x\n{DIGEST}0  x\n",
    ],
)
def test_a_file_that_has_no_sums_is_refused(tmp_path: Path, text: str) -> None:
    """One wrong line is enough: what it means is unknown."""
    (tmp_path / "sums").write_text(text)

    with pytest.raises(ConfigError) as refused:
        read_expected(tmp_path / "sums")

    assert str(refused.value) == (
        f"'{tmp_path}/sums' is not a sha256sum file: each line has 64 hexadecimal digits and a name."
    )


@pytest.mark.parametrize("name", ["eve.json", "objects.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "device"])
def test_an_analyzer_that_replaces_its_output_harms_nobody(tmp_path: Path, name: str, kind: str) -> None:
    """A named pipe would be waited for, a link followed to another file of this user."""
    event = json.dumps(EVENT)
    other = tmp_path / "other"
    other.write_text(event + "\n")
    place = tmp_path / name
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "link":
            place.symlink_to(other)
        case "folder":
            place.mkdir()
        case "device":
            place.symlink_to("/dev/zero")

    assert [*extracted_from(tmp_path)] == []


def test_a_line_without_an_end_is_left_out(tmp_path: Path) -> None:
    """Its neighbours are read."""
    event = json.dumps(EVENT)
    (tmp_path / "eve.json").write_text(f"{event}\n{'x' * 3_000_000}\n{event}\n")

    assert len([*extracted_from(tmp_path)]) == 2


@pytest.mark.parametrize("line", [f"{DIGEST} x\n", " ", " \n", "x"], ids=["sums", "blanks", "lines", "x"])
def test_long_sums_cost_no_more_than_their_length(tmp_path: Path, line: str) -> None:
    """A megabyte of blanks, or of lines; they lie beside captures from anywhere."""
    (tmp_path / "sums").write_text(line * ((1 << 20) // len(line)))
    began_s = time.process_time()

    with suppress(ConfigError):
        read_expected(tmp_path / "sums")

    assert time.process_time() - began_s < scaled(5)


def test_sums_take_little_memory(tmp_path: Path) -> None:
    """One character beyond the first 65,536 would make a text of the whole file four times as long."""
    lines = f"{DIGEST}  \N{GRINNING FACE}\n{DIGEST}  x\n" * (1 << 15)
    (tmp_path / "sums").write_text(lines)
    tracemalloc.start()
    try:
        expected = read_expected(tmp_path / "sums")
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert expected == {DIGEST: "x"}
    assert most_bytes < 2 * len(lines)


@pytest.mark.parametrize(
    ("raw", "reason"), [(None, "No such file or directory"), (b"\xff", "invalid start byte")]
)
def test_sums_that_cannot_be_read_are_refused_with_the_reason(
    tmp_path: Path, raw: bytes | None, reason: str
) -> None:
    """Before anything is fed."""
    if raw is not None:
        (tmp_path / "sums").write_bytes(raw)

    with pytest.raises(ConfigError, match=rf"sums' cannot be read: .*{reason}"):
        read_expected(tmp_path / "sums")


@pytest.mark.parametrize("kind", ["pipe", "device", "hole"])
def test_sums_that_are_no_file_or_have_no_end_are_refused(kind: str, tmp_path: Path) -> None:
    """They lie beside the captures, which may come from anywhere."""
    sums = tmp_path / "sums"
    if kind == "pipe":
        os.mkfifo(sums)
    elif kind == "device":
        sums.symlink_to("/dev/zero")
    else:
        with_hole(sums, f"{DIGEST}  x\n".encode())

    with pytest.raises(ConfigError, match=r"sums' cannot be read: it (is not a regular file|has more than)"):
        read_expected(sums)


def test_a_folder_without_known_output_has_no_objects(tmp_path: Path) -> None:
    """Most analyzers extract none."""
    assert [*extracted_from(tmp_path)] == []


def test_an_object_of_the_summary_is_named_by_host_and_path(tmp_path: Path) -> None:
    """Without a host, by the server's address; without a request, by the host alone."""
    whole = HttpObject(
        *("GET", "host", "/x", 200, "", "", 7, DIGEST, True, "", "10.0.0.1", 1, "10.0.0.2", 80, "", "")
    )
    cut = whole._replace(host=None, uri=None, complete=False)
    lines = [whole._asdict(), cut._asdict()]
    (tmp_path / "objects.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert [*extracted_from(tmp_path)] == [
        ExtractedObject("host/x", 7, DIGEST, is_whole=True),
        ExtractedObject("10.0.0.2", 7, DIGEST, is_whole=False),
    ]


@pytest.mark.parametrize(
    "change",
    [{"sha256": {}}, {"sha256": "\x1b[31m"}, {"size_bytes": "7"}, {"size_bytes": 10**90}, {"complete": 1}],
    ids=str,
)
def test_an_object_with_a_field_of_another_type_is_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    """An analyzer that was taken over writes what it likes; the run still shows its summary."""
    whole = HttpObject(
        *("GET", "host", "/x", 200, "", "", 7, DIGEST, True, "", "10.0.0.1", 1, "10.0.0.2", 80, "", "")
    )._asdict()
    lines = [{**whole, **change}, whole]
    (tmp_path / "objects.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert [each.name for each in extracted_from(tmp_path)] == ["host/x"]


@pytest.mark.long
@pytest.mark.parametrize("is_long", [False, True], ids=["many objects", "long names"])
def test_what_is_kept_of_the_objects_is_bounded(tmp_path: Path, is_long: bool) -> None:  # noqa: FBT001
    """Of a million names of a megabyte each, as few and as much of them as is shown."""
    stored = {**STORED, "filename": "/" + "x" * (500_000 if is_long else 0)}
    line = json.dumps({**EVENT, "fileinfo": stored}) + "\n"
    (tmp_path / "eve.json").write_text(line * (20 if is_long else 2000))

    tracemalloc.start()
    try:
        objects = ExtractedObjects.of(extracted_from(tmp_path), {DIGEST: "x"})
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (objects.count, len(objects.first), objects.whole) == (20 if is_long else 2000, 10, {DIGEST})
    assert kept_bytes < 200_000


def test_a_stored_file_of_suricata_is_an_object(tmp_path: Path) -> None:
    """Named by host and path; a file from another protocol has no host."""
    without_host = {"fileinfo": STORED}

    assert objects_of(tmp_path, {"event_type": "flow"}, EVENT, without_host) == [
        ExtractedObject("host/x.bin", 7, DIGEST, is_whole=True),
        ExtractedObject("/x.bin", 7, DIGEST, is_whole=True),
    ]


@pytest.mark.parametrize(
    "change",
    [{"state": "TRUNCATED"}, {"gaps": True}, {"pkt_src": "flow timeout"}],
    ids=["cut", "gaps", "closed by a timeout"],
)
def test_a_stored_file_that_misses_bytes_is_not_whole(tmp_path: Path, change: dict[str, Any]) -> None:
    """Suricata reports a file that the end of the stream cut as CLOSED, too."""
    event = {**EVENT, **change} if "pkt_src" in change else {**EVENT, "fileinfo": {**STORED, **change}}

    assert [each.is_whole for each in objects_of(tmp_path, event)] == [False]


@pytest.mark.parametrize(
    "event",
    [
        {**EVENT, "fileinfo": {**STORED, "stored": False}},
        {**EVENT, "fileinfo": {name: value for name, value in STORED.items() if name != "sha256"}},
        {**EVENT, "fileinfo": {**STORED, "size": None}},
        {**EVENT, "fileinfo": {**STORED, "size": "many"}},
        {**EVENT, "fileinfo": {**STORED, "size": 10**90}},
        {**EVENT, "fileinfo": {**STORED, "sha256": "\x1b]0;title\x07"}},
        {**EVENT, "fileinfo": {**STORED, "sha256": {}}},
        {**EVENT, "http": "no object"},
        ["fileinfo"],
    ],
)
def test_an_event_that_is_no_stored_file_is_left_out(tmp_path: Path, event: Any) -> None:
    """Another program may have written the file; the next event counts."""
    assert len(objects_of(tmp_path, event, EVENT)) == 1


def test_a_line_that_a_kill_cut_is_left_out(tmp_path: Path) -> None:
    """The analyzer was killed while it wrote; bytes that are no text are replaced."""
    whole = json.dumps(EVENT).encode()
    (tmp_path / "eve.json").write_bytes(whole.replace(b"/x.bin", b"/\xff") + b"\n" + whole[:-9])

    assert [each.name for each in extracted_from(tmp_path)] == ["host/\ufffd"]
