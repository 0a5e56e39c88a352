"""The kind of a failure, from reasons as they are in PCAPDJ_FAILED."""

from pathlib import Path

import pytest

from pcapdj.store.failure_kinds import KINDS, failure_kind

KEYS_DOC = Path(__file__).resolve().parents[2] / "docs" / "redis-keys.md"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("poison: the analyzer died 3 times while it read this file", "poison"),
        ("poison(dispatcher): 3 dispatchers died while they read this file", "poison"),
        ("skipped by the operator", "skipped"),
        ("overwritten before it was fed", "overwritten"),
        ("its folder was removed", "storage"),
        ("cannot be opened: Permission denied", "unreadable"),
        ("cannot be read at byte 4096: Input/output error", "unreadable"),
        ("changed while it was read: 5 bytes became 7", "changed"),
        ("is still being written", "changed"),
        ("all packets have another link type than the stream's", "linktype"),
        ("is outside of '/in'", "outside"),
        ("has a name of 5000 bytes, more than 4095", "name"),
        ("is empty: 0 bytes", "empty"),
        ("is an empty gz file", "empty"),
        ("is snoop, which is not a supported format", "format"),
        ("is compressed twice: gz inside another compression", "format"),
        ("file ends inside a record: 800 of 900 captured bytes", "damaged"),
        ("", "damaged"),
    ],
)
def test_each_reason_has_a_kind(reason: str, kind: str) -> None:
    """What no pattern knows is about the bytes of the capture."""
    assert failure_kind(reason) == kind


def test_the_kinds_are_documented() -> None:
    """Alert rules use them."""
    (row,) = [line for line in KEYS_DOC.read_text().splitlines() if line.startswith("| failure |")]

    assert {kind for kind in KINDS if f"`{kind}`" in row} == KINDS
