"""Reads the text of `pcapdj.json` line by line: a folder from anywhere may have any file of that name.

    {
     "pcapdj": "1.0",            the head: some lines
     "complete": true,
     "files": [
      {"name": "/in/1.pcap", ..},     one result a line
      {"name": "/in/2.pcap", ..}
     ]
    }

A record of a million files has 400 MB. Decoded as one text it would take ten times as much memory, as would
a list of as many bytes that has no result at all. A record of at most 1 MiB may have any form, as a program
writes it that has changed it.

Results are kept in memory, and a list of a result may take thirty times its text there: so what they take is
counted (`RecordSize`), not only how many they are.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from sys import getsizeof
from typing import Any, BinaryIO, Final

from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.foreign_files import MOST_LINE_BYTES, open_foreign
from pcapdj.runtime.foreign_json import MOST_BYTES, decode_object
from pcapdj.runtime.safe_text import quoted

MOST_RECORD_BYTES: Final = 1 << 30
_MOST_RESULTS: Final = 2_000_000  # a million take 1 GB of memory
_USUAL_BYTES: Final = 1024  # that texts and lists of a result take: with more it counts as several
_LIST_BEGINS: Final = ' "files": [\n'
_LIST_ENDS: Final = " ]\n"
_RECORD_ENDS: Final = "}"


class RecordSize:
    """How much memory the results of a record take, those that a later one replaces, too."""

    def __init__(self) -> None:
        self._path = Path()
        self._results = 0

    def begin(self, path: Path) -> None:
        """Count the results of this file from now on."""
        self._path = path

    def add(self, values: Sequence[object]) -> None:
        """Count a result.

        Args:
            values: its texts, lists and mappings.

        Raises:
            ConfigError: there are too many, or they take as much memory as too many.
        """
        self._results += 1 + _memory_bytes(values) // _USUAL_BYTES
        if self._results > _MOST_RESULTS:
            raise ConfigError(
                f"{quoted(str(self._path))} has results of more than {_MOST_RESULTS:,} files,"
                " or as much text.",
                hint="Use another --logdir.",
            )


def _memory_bytes(values: Sequence[object]) -> int:
    found, level = 0, values
    while level:
        found += sum(map(getsizeof, level))
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (chain(each, each.values()) if isinstance(each, dict) else each)
        ]
    return found


def files_of(path: Path) -> Iterator[Any]:
    """Yield what the list `files` of a record has; a link to the record is followed.

    Raises:
        OSError: it cannot be read, is not a regular file, or has more than 1 GiB.
        ValueError, KeyError, TypeError: it is not a whole record.
    """
    with open_foreign(path, follows_link=True) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > MOST_RECORD_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {MOST_RECORD_BYTES} bytes")
        if size_bytes <= MOST_BYTES:
            yield from decode_object(file.read(MOST_BYTES).decode("utf-8"))["files"]
        else:
            yield from _listed(_lines(file))


def _listed(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    head = ""
    for line in lines:
        head += line
        if line == _LIST_BEGINS:
            break
        if len(head) > MOST_BYTES:
            raise ValueError("the head is too long")
    decode_object(f"{head}{_LIST_ENDS}{_RECORD_ENDS}")
    for line in lines:
        if line == _LIST_ENDS:
            break
        yield decode_object(line.rstrip().removesuffix(","))
    if [line.rstrip() for line in islice(lines, 2)] != [_RECORD_ENDS]:
        raise ValueError("the end is missing")


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines; unlike those of `foreign_files.lines_of` none may be left out."""
    while line := file.readline(MOST_LINE_BYTES):
        if len(line) == MOST_LINE_BYTES:
            raise ValueError("a line is too long")
        yield line.decode("utf-8")
