"""Feeds hostile inputs through a whole pcapdj, good files between them, and judges what arrived."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from faults.evidence import streams_of
from faults.figures import Figures
from faults.hostile import Hostile
from faults.packets import Numbered, write_numbered
from faults.scenario import Scenario
from faults.shards import Shard, check_shards
from faults.watch import Watch

MEMORY_BYTES: Final = 64 << 20  # more than before; whatever the input (G7)
_SENTINEL_EVERY: Final = 10
_LONGEST_BYTES: Final = 4096  # of a path; what is longer may be kept short
_LINE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR) +\w+ \w+")


class Trial:
    """Hostile inputs on one scenario.

    Args:
        scenario: everything runs.
        figures: where violations are counted.
    """

    def __init__(self, scenario: Scenario, figures: Figures) -> None:
        self._scenario = scenario
        self._figures = figures

    def feed(self, inputs: Sequence[Hostile]) -> None:
        """Feed all, and check; every input ends somewhere, and none disturbs another."""
        dispatcher = psutil.Process(self._scenario.roles["dispatcher"].pid)
        before_bytes = dispatcher.memory_info().rss
        expected = dict(self._queued(inputs))
        files = _states(self._scenario.captures)
        Watch(self._scenario, self._figures).until(self._scenario.is_done)
        if self._scenario.roles["dispatcher"].poll() is not None:
            self._figures.violated("the dispatcher died")
            return
        grown_bytes = _peak_bytes(dispatcher.pid) - before_bytes
        if grown_bytes > MEMORY_BYTES:
            self._figures.violated(f"the dispatcher grew by {grown_bytes >> 20} MiB")
        if not self._scenario.end_stream():
            self._figures.hung("the stream did not end")
        if _states(self._scenario.captures) != files:
            self._figures.violated("a capture was changed")
        self._check(expected)
        self._figures.counts["hostile inputs"] += len(inputs)

    def _queued(self, inputs: Sequence[Hostile]) -> Iterator[tuple[bytes, Hostile | Numbered]]:
        """Make and queue everything; yield what is expected under each name."""
        folder, names = self._scenario.captures, list[bytes]()
        for number, each in enumerate(inputs):
            if number % _SENTINEL_EVERY == 0:
                file = write_numbered(folder, number, 7, size_bytes=200)
                names.append(os.fsencode(file.path))
                yield names[-1], file
            path = folder / f"input-{number:05d}"
            each.make(path)
            names.append(os.fsencode(path) if each.name is None else each.name)
            yield names[-1], each
        self._scenario.queue(*names)

    def _check(self, expected: dict[bytes, Hostile | Numbered]) -> None:
        keys = self._scenario.store.keys
        entries = self._scenario.store.redis.xrange(keys.journal) or ()
        journal = [_with_whole_name(fields, expected) for _, fields in entries]
        self._check_verdicts(journal, expected)
        streams = streams_of(self._scenario)
        if len(streams) != 1:
            self._figures.violated(
                f"{len(streams)} streams instead of one: the analyzer did not bear an input"
            )
        for stream in streams[:1]:
            shards = [one for fields in journal if (one := _shard(fields, expected))]
            self._figures.checked([check_shards(stream.data, shards)], "inputs")
        for role in ("dispatcher", "controller"):
            self._check_log(role)
        if list(self._scenario.folder.rglob("PWNED")) or Path("PWNED").exists():
            self._figures.violated("a name was run as a command")

    def _check_verdicts(self, journal: Sequence[Any], expected: dict[bytes, Hostile | Numbered]) -> None:
        verdicts = {fields[b"name"]: fields[b"verdict"] for fields in journal}
        reasons = {fields[b"name"]: fields[b"reason"] for fields in journal}
        for name, each in expected.items():
            if name not in verdicts:
                self._figures.forgotten += 1
                self._figures.violated(f"{each}: has no verdict")
            elif isinstance(each, Numbered) and verdicts[name] != b"processed":
                self._figures.violated(f"a good file failed: {reasons[name]!r}")
            elif verdicts[name] == b"failed" and not reasons[name]:
                self._figures.violated(f"{each}: failed without a reason")

    def _check_log(self, role: str) -> None:
        for line in self._scenario.log_of(role).split("\n"):
            if line and (not line.isprintable() or not _LINE.match(line)):
                self._figures.violated(f"the {role}'s log has a line that is none of its own: {line[:200]!r}")
                return


def _states(folder: Path) -> dict[Path, tuple[int, int, int, int]]:
    """Return what each file in the folder is: who writes to, renames or links one changes its ctime."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {
        path: (each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for path, each in found.items()
    }


def _with_whole_name(fields: Any, expected: dict[bytes, Hostile | Numbered]) -> Any:
    name = fields[b"name"]
    if len(name) >= _LONGEST_BYTES:
        name = next(whole for whole in expected if whole.startswith(name))
    return {**fields, b"name": name}


def _shard(fields: Any, expected: dict[bytes, Hostile | Numbered]) -> Shard | None:
    start, end = int(fields[b"stream_start"]), int(fields[b"stream_end"])
    if end <= start:
        return None
    each = expected[fields[b"name"]]
    if isinstance(each, Numbered):
        return Shard(str(each.path), start, end, each.body, is_exact=True)
    return Shard(each.label, start, end, each.good)


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10
