"""The analyzer's result files and its report."""

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from pcapdj.runtime.errors import CannotCreate
from pcapdj.summary import table
from pcapdj.summary.results import (
    Ended,
    FlowSummary,
    HttpObject,
    ResultFiles,
    StreamSummary,
    iso_time,
    read_objects,
    read_unread_connections,
)
from pcapdj.summary.table import SHOWN_OBJECTS, as_text

FOUND = HttpObject(
    method="GET",
    host="a.example",
    uri="/x",
    status=200,
    content_type="text/plain",
    content_encoding="",
    size_bytes=6,
    sha256="ab" * 32,
    complete=True,
    reason="",
    client="192.0.2.1",
    client_port=4000,
    server="198.51.100.2",
    server_port=80,
    first_time=iso_time(1),
    last_time=iso_time(2),
)
FLOW = FlowSummary("192.0.2.1", 1, "198.51.100.2", 80, "tcp", 2, 100, iso_time(1), iso_time(2), "closed")
SUMMARY = StreamSummary(
    packets=7, objects=1, complete_objects=1, linktype=1, ended=Ended.TORN, error="half a record"
)


def test_results_are_read_back_as_written(tmp_path: Path) -> None:
    """Objects, flows and summary."""
    with ResultFiles(tmp_path / "new" / "folder", kept=1) as files:
        files.add_flow(FLOW)
        files.add_object(FOUND)
        files.add_object(FOUND)
        files.close(SUMMARY)

    assert files.first_objects == [FOUND]

    assert [*read_objects(tmp_path / "new" / "folder")] == [FOUND, FOUND]
    summary = json.loads((tmp_path / "new" / "folder" / "summary.json").read_text())
    assert summary == dataclasses.asdict(SUMMARY)
    flows = (tmp_path / "new" / "folder" / "flows.jsonl").read_text()
    assert json.loads(flows) == FLOW._asdict()


def test_a_folder_without_results_is_empty(tmp_path: Path) -> None:
    """Before the analyzer has written anything."""
    assert [*read_objects(tmp_path)] == []


def test_an_incomplete_last_line_is_ignored(tmp_path: Path) -> None:
    """The analyzer may still be writing it."""
    line = json.dumps(FOUND._asdict())
    (tmp_path / "objects.jsonl").write_text(f"{line}\n{line[:50]}")

    assert [*read_objects(tmp_path)] == [FOUND]


def test_no_result_is_written_through_a_link(tmp_path: Path) -> None:
    """Another user may have exchanged the folder: under sudo the analyzer is root."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "out").mkdir()
    for name in ("flows.jsonl", "objects.jsonl", "summary.json", ".summary.json"):
        (tmp_path / "out" / name).symlink_to(precious)

    with ResultFiles(tmp_path / "out") as files:
        files.add_flow(FLOW)
        files.close(SUMMARY)

    assert precious.read_text() == "precious"
    assert [each.name for each in (tmp_path / "out").iterdir() if each.is_symlink()] == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Here a file has the folder's name."""
    (tmp_path / "file").touch()

    with pytest.raises(CannotCreate, match="cannot write into"):
        ResultFiles(tmp_path / "file" / "logs")


def test_the_report_shows_summary_and_objects() -> None:
    """Numbers, digests and how the stream ended."""
    text = as_text(SUMMARY, [FOUND])

    assert "torn: half a record" in text
    assert FOUND.sha256 in text
    assert "a.example/x" in text


def test_the_report_counts_the_objects_that_it_does_not_show() -> None:
    """It shows twenty; the file has all."""
    text = as_text(dataclasses.replace(SUMMARY, objects=SHOWN_OBJECTS + 5), [FOUND] * SHOWN_OBJECTS)

    assert "and 5 more in objects.jsonl" in text


def test_the_report_shows_the_connections_that_were_not_read_if_there_are_any() -> None:
    """They are counted, and known to no file only."""
    unread = dataclasses.replace(SUMMARY, unread_connections=2)

    assert "not read" not in as_text(SUMMARY, [FOUND])
    assert "not read      2 connections with too many small messages" in as_text(unread, [FOUND])


def test_the_number_of_connections_that_were_not_read_is_read_back(tmp_path: Path) -> None:
    """It is a number whatever another program writes into the file; 0 without one."""
    with ResultFiles(tmp_path) as files:
        files.close(dataclasses.replace(SUMMARY, unread_connections=3))

    assert read_unread_connections(tmp_path) == 3
    assert read_unread_connections(tmp_path / "none") == 0
    for text in ("", "[]", "{}", '{"unread_connections": "3"}', '{"unread_connections": -1}', "\xff"):
        (tmp_path / "summary.json").write_bytes(text.encode("latin-1"))
        assert read_unread_connections(tmp_path) == 0


def test_control_characters_from_the_network_are_escaped() -> None:
    """Those in a URI are shown, not executed."""
    hostile = FOUND._replace(uri="/\x1b[2J\n[bold]", complete=False, reason="why\x9b")

    assert "\x1b" not in as_text(SUMMARY, [hostile])
    assert "\x9b" not in as_text(SUMMARY, [hostile])
    assert "\\x1b" in as_text(SUMMARY, [hostile])


def test_a_terminal_shows_the_same_in_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markup in cells has no effect."""
    screen = Console(file=io.StringIO(), width=200)
    monkeypatch.setattr(table, "Console", lambda **_: screen)

    table.show(dataclasses.replace(SUMMARY, objects=3), [FOUND._replace(uri="/[red]x")])

    assert isinstance(screen.file, io.StringIO)
    assert "a.example/[red]x" in screen.file.getvalue()
    assert "and 2 more" in screen.file.getvalue()
