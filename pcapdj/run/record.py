"""`pcapdj.json`: which files a run fed, beside the analyzer's output; a resumed run skips those fed whole.

The file is written under another name and then renamed, at most once a second: a reader sees the old record
or the new one, never half of one. While it cannot be written (the disk is full, the folder is read-only) the
record stays in memory, feeding continues, and each later save tries again.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pcapdj import __version__
from pcapdj.runtime.errors import CannotCreate, ConfigError
from pcapdj.runtime.safe_text import quoted

RECORD: Final = "pcapdj.json"
_SAVE_INTERVAL_S: Final = 1.0  # a record may list many thousand files
_TEXT_FIELDS: Final = ("name", "verdict", "reason", "stream")
_NUMBER_FIELDS: Final = (
    "size_bytes",
    "mtime_ns",
    "packets",
    "cap_lengths",
    "lengths",
    "stream_start",
    "stream_end",
    "step_ns",
)
_INTEGER: Final = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result for one file.

    Args:
        name: absolute path as text (PEP 383).
        verdict: processed, failed or refused.
        reason: why it was not processed; empty otherwise.
        stream: the id of the stream that it was sent to; empty if none.
        numbers: the fields of `_NUMBER_FIELDS` that the journal has.
        jump: how its timestamps jump relative to the previous file; empty: they do not.
    """

    name: str
    verdict: str
    reason: str = ""
    stream: str = ""
    numbers: Mapping[str, int] = field(default_factory=dict)
    jump: str = ""

    @property
    def packets(self) -> int:
        """How many records were delivered."""
        return self.numbers.get("packets", 0)

    @property
    def size_bytes(self) -> int:
        """The size of the file on disk; 0 if the journal does not have it."""
        return self.numbers.get("size_bytes", 0)

    @property
    def is_processed(self) -> bool:
        """Report whether the file was delivered whole."""
        return self.verdict == "processed"


def result_from_journal(entry: Mapping[bytes, bytes]) -> FileResult:
    """Return the result that an entry of the journal describes."""
    texts = {key.decode(): os.fsdecode(value) for key, value in entry.items()}
    numbers = {name: int(texts[name]) for name in _NUMBER_FIELDS if _INTEGER.fullmatch(texts.get(name, ""))}
    others = {name: texts.get(name, "") for name in ("reason", "stream", "jump")}
    return FileResult(texts["name"], texts["verdict"], numbers=numbers, **others)


class RunRecord:
    """The record of one run and of the earlier runs that it resumes.

    Args:
        logdir: the folder of `pcapdj.json`; created if missing.
        resume: continue the record of an earlier run.

    Raises:
        ConfigError: an earlier record exists and `resume` is off, or none exists and it is on, or the record
            cannot be read.
        CannotCreate: the folder cannot be created.
    """

    def __init__(self, logdir: Path, *, resume: bool) -> None:
        self.logdir: Final = logdir
        self.results: dict[str, FileResult] = {}
        self.write_error = ""  # why the newest record is not on the disk; empty: it is
        self._path = logdir / RECORD
        self._is_changed = True
        self._next_save_s = 0.0
        if self._path.exists() or resume:
            self.results = _read_results(self._path, resume=resume)
        try:
            logdir.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise CannotCreate(f"{quoted(str(logdir))} cannot be created: {exc.strerror}.") from exc

    def was_processed(self, name: str, size_bytes: int, mtime_ns: int) -> bool:
        """Report whether an earlier run delivered this version of the file whole."""
        earlier = self.results.get(name)
        if earlier is None or not earlier.is_processed:
            return False
        return (earlier.size_bytes, earlier.numbers.get("mtime_ns")) == (size_bytes, mtime_ns)

    def add(self, results: Iterable[FileResult]) -> None:
        """Add results to the record in memory; `save` writes them."""
        new = {result.name: result for result in results}
        self._is_changed |= bool(new)
        self.results |= new

    def save(self) -> None:
        """Write the record if it changed and a second has passed; `write_error` has why it failed."""
        if self._is_changed and time.monotonic() >= self._next_save_s:
            self.write({})
            self._next_save_s = time.monotonic() + _SAVE_INTERVAL_S

    def write(self, end_fields: Mapping[str, Any]) -> None:
        """Write the record now; `write_error` has the reason if that fails.

        Args:
            end_fields: fields of the run's end: complete, analyzer, analyzer_end, folders; empty before.
        """
        listed = [_as_json(result) for result in self.results.values()]
        text = json.dumps({"pcapdj": __version__, "complete": False, **end_fields, "files": listed}, indent=1)
        hidden = self._path.with_name(f".{RECORD}")
        try:
            hidden.write_text(text + "\n", encoding="utf-8")
            hidden.replace(self._path)
        except OSError as exc:
            self.write_error = exc.strerror or str(exc)
            self._is_changed = True
            with suppress(OSError):
                hidden.unlink()  # half a record takes room from the analyzer
        else:
            self.write_error = ""
            self._is_changed = False


def _as_json(result: FileResult) -> dict[str, Any]:
    texts = {name: getattr(result, name) for name in _TEXT_FIELDS}
    return texts | ({"jump": result.jump} if result.jump else {}) | dict(result.numbers)


def _read_results(path: Path, *, resume: bool) -> dict[str, FileResult]:
    if not resume:
        raise ConfigError(
            f"{quoted(str(path.parent))} has the output of an earlier run.",
            hint="Use --resume to continue it, or another --logdir.",
        )
    if not path.exists():
        raise ConfigError(
            f"There is no {RECORD} of an earlier run.", hint="Name the folder of that run with --logdir."
        )
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        results = [
            FileResult(
                **{name: each[name] for name in _TEXT_FIELDS},
                numbers={name: each[name] for name in _NUMBER_FIELDS if name in each},
                jump=each.get("jump", ""),
            )
            for each in files
        ]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{quoted(str(path))} cannot be read: {exc}.") from exc
    return {result.name: result for result in results}
