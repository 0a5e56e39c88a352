"""The formats and reasons in docs/formats.md, compared with the code."""

import ast
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from support.rows import each_row

from pcapdj.capture import budget, decompress, interfaces, pcap, pcapng
from pcapdj.capture.linktypes import REWRITABLE
from pcapdj.capture.stream_options import OnLinktype, skipped_packets

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "formats.md").read_text()
QUOTED = re.findall(r"`([^`]+)`", DOCUMENT)
READERS = sorted((ROOT / "pcapdj" / "capture").glob("*.py"))


def pattern_of(text: ast.AST) -> str | None:
    """Return a pattern for the text of a reason; `{..}` matches anything."""
    if isinstance(text, ast.Constant):
        return re.escape(str(text.value))
    if not isinstance(text, ast.JoinedStr):
        return None
    parts = (re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in text.values)
    return "".join(parts)


def reasons_in(path: Path) -> Iterator[str]:
    """Yield the pattern of every reason that a module passes to a CaptureError or a Damage."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"CaptureError", "Damage"}:
            pattern = pattern_of(node.args[0])
            if pattern is not None:
                yield pattern


def test_every_reason_in_the_code_is_documented() -> None:
    """An operator finds every message there."""
    reasons = [(path.name, pattern) for path in READERS for pattern in reasons_in(path)]

    assert len(reasons) > 30
    assert [each for each in reasons if not any(re.match(each[1], quoted) for quoted in QUOTED)] == []


@each_row(
    "limit",
    [
        pcap.MAX_CAPTURED_BYTES,
        pcapng.MAX_BLOCK_BYTES,
        interfaces.MAX_INTERFACES,
        interfaces.MAX_INTERFACE_KINDS,
        decompress.MAX_RATIO,
        decompress.MAX_BYTES,
        decompress.STEP_BYTES // 1024,
    ],
)
def test_every_limit_is_documented(limit: int) -> None:
    """With its number."""
    assert str(limit) in DOCUMENT


@each_row("what", ["read_bytes", "decompressed_bytes", "members", "blocks"])
def test_every_limit_of_the_budget_is_documented(what: str) -> None:
    """Word for word, with its number."""
    reason = budget.Budget().spend(**{what: budget.MOST_BYTES + 1})

    assert reason in QUOTED


def section(heading: str) -> str:
    """Return the text below a heading."""
    return DOCUMENT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_every_rewritable_link_type_is_documented() -> None:
    """With its number in the first column of the table; and no other."""
    rows = [line.split("|")[1] for line in section("Link types").splitlines() if line.startswith("| ")]
    numbers = {int(number) for row in rows for number in re.findall(r"\b\d+\b", row)}

    assert numbers == REWRITABLE


def test_every_value_of_on_linktype_is_documented() -> None:
    """Spelled as the option takes it."""
    rows = [line.split("|")[1] for line in section("Link types").splitlines() if line.startswith("| `")]

    assert {row.split("`")[1] for row in rows} == set(typing.get_args(OnLinktype))


def test_the_messages_about_skipped_packets_are_documented() -> None:
    """Word for word."""
    document = " ".join(DOCUMENT.split())

    assert skipped_packets({101: 3}, rewrites=False) in document
    assert skipped_packets({113: 2}, rewrites=True) in document
