"""The journals that say which file was fed into which stream: that of a lane, and the record of a run."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from pcapdj.feed.start_point import start_point_from
from pcapdj.run.record import NEWER, RECORD, FileResult, results_in
from pcapdj.runtime.foreign_files import is_file
from pcapdj.runtime.safe_text import to_text
from pcapdj.runtime.trust import calling_user, check_folder, check_way
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store
from pcapdj.store.journal import (
    Conditions,
    FedFile,
    JournalPart,
    fed_file_of,
    journal_length,
    read_journal,
)
from pcapdj.store.registration import registered

_PART: Final = 1000
_ENDLESS: Final = 1 << 62  # packets of a file that is still fed


class JournalSource(Protocol):
    """Where the files that were fed are listed."""

    def length(self) -> int:
        """Return how many files are looked through, about."""

    def parts(self, wanted: Conditions, *, is_newest_first: bool = False) -> Iterator[JournalPart]:
        """Yield the files that fit, in the order in which they were fed or back."""


class LaneJournal:
    """The journal of a lane, and behind it the files that are fed now.

    Args:
        store: the lane.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def length(self) -> int:
        """Return how many entries the journal has.

        Raises:
            As `Store.call`; so does `parts`.
        """
        return journal_length(self._store)

    def parts(self, wanted: Conditions, *, is_newest_first: bool = False) -> Iterator[JournalPart]:
        """Yield the files that fit, those that are fed now before all others: their times are unknown."""
        yield JournalPart([*self._current_files()], 0)
        yield from read_journal(self._store, wanted, is_newest_first=is_newest_first)

    def _current_files(self) -> Iterator[FedFile]:
        for dispatcher in registered(self._store):
            key = self._store.keys.current(dispatcher)
            fields = {to_text(name): to_text(value) for name, value in read_hash(self._store, key).items()}
            start = start_point_from(fields.get("begin", ""))
            file = fed_file_of(fields)
            if file and start and file.stream and file.first_packet:
                parts = [(stream, *part) for stream, part in zip(start.streams, start.parts, strict=False)]
                yield replace(file, verdict="feeding", packets=_ENDLESS, parts=tuple(parts))


class RunJournal:
    """The record of a run, pcapdj.json.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[FedFile] | None = None

    def length(self) -> int:
        """Return how many files the record has.

        Raises:
            ConfigError: it cannot be read; so does `parts`.
        """
        return len(self._read())

    def parts(self, wanted: Conditions, *, is_newest_first: bool = False) -> Iterator[JournalPart]:
        """Yield the files that fit."""
        files = self._read()[::-1] if is_newest_first else self._read()
        for start in range(0, len(files), _PART):
            found = files[start : start + _PART]
            fitting = [file for file in found if _fits(file, wanted)]
            yield JournalPart(fitting, len(found))

    def _read(self) -> list[FedFile]:
        if self._files is None:
            self._files = [file for result in results_in(self._folder) if (file := _file_of(result))]
        return self._files


def run_folder(folder: Path) -> Path | None:
    """Return the folder with the record of the run that this folder belongs to; None: it belongs to none.

    Raises:
        CannotCreate: another user can replace the record, which names the captures that are read.
    """
    for each in (folder, folder.parent):
        if is_file(each / RECORD) or is_file(each / NEWER):
            check_folder(each, caller=calling_user())
            check_way(each, caller=calling_user())
            return each
    return None


def _file_of(result: FileResult) -> FedFile | None:
    fields = {name: str(number) for name, number in result.numbers.items()}
    fields |= {"name": result.name, "verdict": result.verdict, "reason": result.reason}
    fields |= {"stream": result.stream, "jump": result.jump, "known_as": result.known_as}
    fields |= {"left_out": json.dumps(result.left_out) if result.left_out else ""}
    fields |= {"earlier_streams": json.dumps(list(result.earlier_streams))}
    fields |= {"earlier_parts": json.dumps([list(part) for part in result.earlier_parts])}
    return fed_file_of(fields)


def _fits(file: FedFile, wanted: Conditions) -> bool:
    return (
        file.has_time(wanted.since_ns, wanted.until_ns)
        and (not wanted.stream or file.is_in(wanted.stream))
        and (not wanted.verdict or file.verdict == wanted.verdict)
        and file.name.endswith(wanted.name_end)
    )
