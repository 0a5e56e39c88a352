"""`pcapdj.json`: what one run has fed, beside the analyzer's output, and what a resumed run may skip.

Written anew within a second, under another name first: a reader sees the old record or the new one, whole.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pcapdj import __version__
from pcapdj.runtime.errors import CannotCreate, ConfigError
from pcapdj.runtime.safe_text import quoted

RECORD: Final = "pcapdj.json"
_SAVE_S: Final = 1.0
_NUMBERS: Final = (
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
class FedFile:
    """What became of one file.

    Args:
        name: as text (PEP 383).
        verdict: processed, failed or refused.
        reason: why not processed; empty otherwise.
        stream: the stream it went into; empty if none.
        numbers: those of `_NUMBERS` that are known.
        jump: how its timestamps jump, seen from the file before; empty: they do not.
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

    def is_same(self, size_bytes: int, mtime_ns: int) -> bool:
        """Report whether it was this version of the file, and was fed whole."""
        version = (self.numbers.get("size_bytes"), self.numbers.get("mtime_ns"))
        return self.verdict == "processed" and version == (size_bytes, mtime_ns)


def fed_file(entry: Mapping[bytes, bytes]) -> FedFile:
    """Return the file that an entry of the journal tells of."""
    texts = {key.decode(): os.fsdecode(value) for key, value in entry.items()}
    numbers = {name: int(texts[name]) for name in _NUMBERS if _INTEGER.fullmatch(texts.get(name, ""))}
    return FedFile(
        texts["name"],
        texts["verdict"],
        texts.get("reason", ""),
        texts.get("stream", ""),
        numbers,
        texts.get("jump", ""),
    )


class RunRecord:
    """The record of one run and of those it resumes.

    Args:
        logdir: where it stands; made if missing.
        resume: go on after the files of an earlier run.

    Raises:
        ConfigError: there is an earlier run and it shall not be resumed, or its record cannot be read.
        CannotCreate: the folder cannot be made.
    """

    def __init__(self, logdir: Path, *, resume: bool) -> None:
        self.logdir: Final = logdir
        self.files: dict[str, FedFile] = {}
        self._path = logdir / RECORD
        self._is_changed = True
        self._next_save_s = 0.0
        try:
            logdir.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise CannotCreate(f"{quoted(str(logdir))} cannot be made: {exc.strerror}.") from exc
        if self._path.exists():
            self._take_up(resume=resume)

    def is_done(self, name: str, size_bytes: int, mtime_ns: int) -> bool:
        """Report whether an earlier run fed this version of the file whole."""
        done = self.files.get(name)
        return done is not None and done.is_same(size_bytes, mtime_ns)

    def add(self, files: Iterable[FedFile]) -> None:
        """Note what became of files; `save` writes it."""
        new = {file.name: file for file in files}
        self._is_changed |= bool(new)
        self.files |= new

    def save(self) -> None:
        """Write the record if there is news, at most once a second: it may list many thousand files."""
        if self._is_changed and time.monotonic() >= self._next_save_s:
            self.write({})
            self._next_save_s = time.monotonic() + _SAVE_S

    def write(self, ended: Mapping[str, Any]) -> None:
        """Write the record.

        Args:
            ended: what is known at the run's end: complete, analyzer, streams; empty before.
        """
        self._is_changed = False
        listed = [
            {"name": each.name, "verdict": each.verdict, "reason": each.reason, "stream": each.stream}
            | ({"jump": each.jump} if each.jump else {})
            | dict(each.numbers)
            for each in self.files.values()
        ]
        text = json.dumps({"pcapdj": __version__, "complete": False, **ended, "files": listed}, indent=1)
        hidden = self._path.with_name(f".{RECORD}")
        hidden.write_text(text + "\n", encoding="utf-8")
        hidden.replace(self._path)

    def _take_up(self, *, resume: bool) -> None:
        if not resume:
            raise ConfigError(
                f"{quoted(str(self.logdir))} holds an earlier run.",
                hint="Use --resume to go on after its files, or another --logdir.",
            )
        try:
            for each in json.loads(self._path.read_text(encoding="utf-8"))["files"]:
                numbers = {name: each[name] for name in _NUMBERS if name in each}
                fed = FedFile(
                    each["name"],
                    each["verdict"],
                    each["reason"],
                    each["stream"],
                    numbers,
                    each.get("jump", ""),
                )
                self.files[fed.name] = fed
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ConfigError(f"{quoted(str(self._path))} cannot be read: {exc}.") from exc
