"""Values that another program wrote into every field of every hash: each screen shows what it can."""

import json
import re
from pathlib import Path
from typing import Final

import pytest
import typer

from pcapdj.commands import check, events, failed, finish, forget, limits, metrics, queue, skip, status
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.safe_text import is_shown
from pcapdj.store.client import Store

DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs/redis-keys.md"
DISPATCHER: Final = "/run/pipe"
VALUES: Final = {
    "text": b"*",
    "empty": b"",
    "digits": b"9" * 400,
    "no number": b"nan",
    "hostile": b"\x1b[2J\xe2\x80\xae\n\xff",
    "list": json.dumps([{"name": 10**90, "unit": "bytes", "free": 10**90, "time_s": 1e308}] * 2).encode(),
    "object": json.dumps(
        dict.fromkeys(("time_s", "freed_bytes", "since_s", "name", "state"), 10**90)
    ).encode(),
}
COMMANDS: Final[dict[str, tuple[typer.Typer, list[str]]]] = {
    "status": (status.app, []),
    "status --json": (status.app, ["--json"]),
    "queue": (queue.app, []),
    "queue --json": (queue.app, ["--json"]),
    "limits": (limits.app, []),
    "metrics": (metrics.app, []),
    "check --monitor": (check.app, ["--monitor"]),
    "events": (events.app, []),
    "events --file": (events.app, ["--file", "*"]),
    "failed": (failed.app, []),
    "skip": (skip.app, []),
    "forget": (forget.app, ["x"]),
    "finish": (finish.app, []),
}


def documented_fields() -> dict[str, list[str]]:
    """Return the fields of the hashes, by key, as the documentation has them."""
    text = DOCUMENT.read_text().partition("## Fields of the hashes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(PCAPDJ_\w+)[^|]*\| (.*) \|$", text, re.MULTILINE)
    return {key: re.findall(r"[\w-]+", _without_brackets(fields)) for key, fields in rows}


def _without_brackets(text: str) -> str:
    while (shorter := re.sub(r"\([^()]*\)", "", text)) != text:
        text = shorter
    return text


def fill(store: Store, value: bytes) -> None:
    """Write a value into each field of each hash."""
    keys = store.keys
    store.redis.sadd(keys.dispatchers, DISPATCHER)
    for key, fields in documented_fields().items():
        place = key + f":{DISPATCHER}" if key in ("PCAPDJ_CURRENT", "PCAPDJ_STATS") else key
        prefix = f"{{{keys.lane}}}:" if keys.lane else ""
        store.redis.hset(f"{prefix}{place}", mapping=dict.fromkeys(fields, value))


def test_the_documentation_names_the_fields() -> None:
    """The tests below would pass without any."""
    fields = documented_fields()

    assert {"PCAPDJ_CURRENT", "PCAPDJ_STATS", "PCAPDJ_GATE", "PCAPDJ_CONSUMER"} <= set(fields)
    assert {"total_bytes", "queue", "storage_since_s"} <= set(fields["PCAPDJ_STATS"])


@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
def test_no_value_in_any_field_ends_a_screen_or_acts_on_a_terminal(
    store: Store, capsys: pytest.CaptureFixture[str], value: bytes
) -> None:
    """Whichever command reads it: no traceback, and each character is shown."""
    for name, (app, words) in COMMANDS.items():
        fill(store, value)
        exit_code_of(app, "pcapdj test", ["--redis-url", store.url, "--lane", store.keys.lane, *words])
        printed = capsys.readouterr()
        text = printed.out + printed.err
        assert "Traceback" not in text, f"{name}: {text}"
        assert is_shown(text.replace("\n", "")), name
        for line in printed.out.splitlines() if "--json" in words else ():
            json.loads(line, parse_constant=pytest.fail)
