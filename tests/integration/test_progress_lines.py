"""Commands that look at thousands of entries show a terminal how far they are, and leave no line behind."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Any, Final

import pytest
from support.redis_server import fill

from pcapdj.cli import MODULES
from pcapdj.console import slow_work
from pcapdj.runtime.command import exit_code_of
from pcapdj.store.client import Store

MANY: Final = 5001  # one more than is worth a line
SHOWN: Final = re.compile(r"\r\x1b\[K([\d,]+) of ([\d,]+ [a-z ]+ to [a-z ]+)")
FILL: Final = """
for n = 1, tonumber(ARGV[1]) do
    local bad = '/bad/' .. n .. '.pcap'
    local failure = '{"name": "' .. bad .. '", "reason": "is cut off"}'
    redis.call('RPUSH', KEYS[1], '/queued/' .. n .. '.pcap')
    redis.call('RPUSH', KEYS[2], '/old/' .. n .. '.pcap')
    redis.call('RPUSH', KEYS[3], failure)
    local id, name = (1700000000000 + n * 1000) .. '-0', '/old/' .. n .. '.pcap'
    redis.call('HSET', KEYS[4], name, '{"result": "processed", "stream": "s' .. n % 50 .. '"}')
    local verdict, kind = n == 4000 and 'failed' or 'processed', n == 4000 and 'rare' or 'gate'
    redis.call('XADD', KEYS[5], id, 'name', name, 'verdict', verdict, 'stream', 's' .. n, 'packets', 1)
    redis.call('XADD', KEYS[6], id, 'kind', kind, 'role', 'controller')
end"""
ENTRIES: Final = "5,001 of 5,001 journal entries to look at"
QUEUED: Final = "5,101 of 5,101 queued names to look at"  # requeue has queued a hundred
FAILED: Final = "5,001 of 5,001 failed files to look at"

# what is typed -> what a terminal shows at last of each work, in the order of the work
COMMANDS: Final = {
    "journal --verdict failed": ["4,601 of 5,001 journal entries to look at"],
    "journal --stream none": [ENTRIES],
    "journal --last 9999 --verdict failed": [ENTRIES],
    "journal --print0": [ENTRIES],
    "report --stream s4000": [ENTRIES],
    "events --since 2023-11-01 --kind rare": ["10,002 of 10,002 events and journal entries to look at"],
    "events --file none.pcap": ["10,002 of 10,002 queued names and journal entries to look at"],
    "failed /bad/4000.pcap": [FAILED, FAILED],
    "failed none.pcap": [FAILED],
    "failed --forget": [FAILED],
    "requeue none.pcap": ["10,002 of 10,002 processed and failed files to look at"],
    "requeue --since 2023-11-01 --until 2023-12-01": [ENTRIES],
    "requeue --stream s7": ["5,001 of 5,001 processed files to look at"],
    "queue remove none.pcap": ["5,000 of 5,101 queued names to compare", QUEUED],
    "queue remove none*": [QUEUED],
    "queue remove 49*9.pcap --dry-run": [QUEUED],
    "queue remove 49*9.pcap": [QUEUED],
    "failed --retry": ["5,001 of 5,001 failed files to queue"],
}


class Terminal(io.TextIOWrapper):
    """A terminal for both streams, as bytes."""

    def __init__(self) -> None:
        self.got = io.BytesIO()
        super().__init__(self.got, "utf-8", write_through=True)

    def isatty(self) -> bool:
        """Report that it is one."""
        return True


def printed(store: Store, words: str) -> str:
    """Run a command in the test's lane; return what the terminal got."""
    command, *arguments = words.split()
    app: Any = import_module(MODULES[command]).app
    lane = ["--redis-url", store.url, "--lane", store.keys.lane]
    terminal = Terminal()
    with redirect_stdout(terminal), redirect_stderr(terminal):
        exit_code_of(app, f"pcapdj {command}", [*lane, *arguments])
    return terminal.got.getvalue().decode()


def last_of_each(text: str) -> list[str]:
    """Return what is shown at last of each work: it has words of its own, or begins again."""
    shown = [(int(done.replace(",", "")), rest) for done, rest in SHOWN.findall(text)]
    ends = zip(shown, [*shown[1:], (0, "")], strict=False)
    return [
        f"{done:,} of {rest}"
        for (done, rest), (next_done, next_rest) in ends
        if next_done < done or next_rest != rest
    ]


@pytest.mark.long
def test_slow_commands_show_how_far_they_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is looked at is counted, and nothing stands behind the line that it is shown on."""
    monkeypatch.setattr(slow_work, "_AFTER_S", -1.0)
    monkeypatch.setattr(slow_work, "_EVERY_S", -1.0)
    keys = store.keys
    written = (keys.in_queue, keys.processed, keys.failed, keys.fed, keys.journal, keys.events)
    fill(store, FILL, written, MANY)

    texts = {words: printed(store, words) for words in COMMANDS}

    assert {words: last_of_each(text) for words, text in texts.items()} == COMMANDS
    lines = [line for text in texts.values() for line in re.sub(r"[^\r\n]*\r\x1b\[K", "", text).splitlines()]
    assert [line for line in lines if "look at" in line] == []
