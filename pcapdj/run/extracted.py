"""The objects that an analyzer extracted, read from its output: our summary's, or Suricata's file store.

The analyzer may have been taken over, and a capture can have millions of objects. So a line counts only if
each of its fields is what it should be, texts are cut, and no more is kept than is shown or compared.
Measured: a million objects take 10 s, other lines of EVE a second for a gigabyte.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from pcapdj.console.slow_work import SlowWork, slow_work
from pcapdj.runtime.errors import ConfigError, Stopped
from pcapdj.runtime.foreign_files import foreign_bytes, foreign_lines
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Signals
from pcapdj.summary.results import OBJECTS_NAME, read_objects

MOST_OBJECTS: Final = 10  # kept to be shown; the others are counted
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MOST_SUMS_BYTES: Final = 8 << 20  # 125,000 objects with the shortest names take 26 MiB of memory
_MOST_NAME_CHARS: Final = 4096
_MOST_SIZE: Final = 1 << 63
_EVE_NAME: Final = "eve.json"
_MIB: Final = 1 << 20
_FEW_MIB: Final = 8  # read in a moment
_BLOCK_BYTES: Final = 512  # of st_blocks, stat(2)


@dataclass(frozen=True, slots=True)
class ExtractedObject:
    """A file that the analyzer extracted from the traffic.

    Args:
        name: host and path of its URI.
        size_bytes: of the extracted bytes.
        sha256: of the extracted bytes, in hexadecimal.
        is_whole: the analyzer reports no missing bytes.
    """

    name: str
    size_bytes: int
    sha256: str
    is_whole: bool


@dataclass(slots=True)
class ExtractedObjects:
    """The objects of all streams of a run.

    Args:
        first: the first ones, at most `MOST_OBJECTS`.
        count: how many there are.
        whole: the sums of those that are whole, as far as they are expected.
        is_cut: a stop signal ended the reading; there may be more.
    """

    first: list[ExtractedObject] = field(default_factory=list)
    count: int = 0
    whole: set[str] = field(default_factory=set)
    is_cut: bool = False

    @classmethod
    def of(cls, found: Iterable[ExtractedObject], expected: Mapping[str, str]) -> Self:
        """Return these objects; `expected`: sha256 to name."""
        objects = cls()
        try:
            for each in found:
                objects.count += 1
                if len(objects.first) < MOST_OBJECTS:
                    objects.first.append(each)
                if each.is_whole and each.sha256 in expected:
                    objects.whole.add(each.sha256)
        except Stopped:
            objects.is_cut = True
        return objects


def read_extracted(
    folders: Sequence[Path], expected: Mapping[str, str], signals: Signals
) -> ExtractedObjects:
    """Return the objects of all streams of a run; what is not read when a stop signal arrives is left out.

    Args:
        folders: of the streams' output.
        expected: sha256 to name.
        signals: are looked for after each 1 MiB.
    """
    sizes = [_disk_bytes(folder / name) for folder in folders for name in (OBJECTS_NAME, _EVE_NAME)]
    total_mib = sum(sizes) // _MIB
    with slow_work("MiB of the analyzer's output to look at", total_mib, _FEW_MIB) as work:
        on_read = _Reading(work, signals).add
        found = (each for folder in folders for each in extracted_from(folder, on_read))
        return ExtractedObjects.of(found, expected)


def extracted_from(logdir: Path, on_read: Callable[[int], None] | None = None) -> Iterator[ExtractedObject]:
    """Yield the objects in a stream's output folder; none where the analyzer extracts none.

    Args:
        logdir: of the stream.
        on_read: is called with the number of bytes read, after at most 1 MiB.
    """
    for each in read_objects(logdir, on_read):
        name = f"{each.host or each.server}{each.uri or ''}"
        if found := _valid_object(name, each.size_bytes, each.sha256, is_whole=each.complete):
            yield found
    yield from _suricata_objects(logdir / _EVE_NAME, on_read)


def read_expected(path: Path) -> dict[str, str]:
    """Return sha256 to name, from a file in the format of sha256sum(1).

    Raises:
        ConfigError: it cannot be read, or a line has another format.
    """
    expected = dict[str, str]()
    try:
        for line in re.finditer(rb"[^\r\n]+", foreign_bytes(path, _MOST_SUMS_BYTES, follows_link=True)):
            digits, *names = line[0].decode("utf-8").strip().split(maxsplit=1) or [""]
            if digits and not (names and _SHA256.fullmatch(digits.lower())):
                named = quoted(str(path))
                raise ConfigError(
                    f"{named} is not a sha256sum file: each line has 64 hexadecimal digits and a name."
                )
            if digits:
                expected[digits.lower()] = names[0].lstrip("*")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(f"{quoted(str(path))} cannot be read: {reason}.") from exc
    return expected


def _valid_object(name: str, size_bytes: object, sha256: str, *, is_whole: bool) -> ExtractedObject | None:
    """Return the object; None: its size or sum is not one."""
    if type(size_bytes) is not int or not 0 <= size_bytes < _MOST_SIZE or not _SHA256.fullmatch(sha256):
        return None
    return ExtractedObject(name[:_MOST_NAME_CHARS], size_bytes, sha256, is_whole)


class _Reading:
    """Shows how much was read, and looks for stop signals."""

    def __init__(self, work: SlowWork, signals: Signals) -> None:
        self._work = work
        self._signals = signals
        self._new_bytes = 0

    def add(self, count_bytes: int) -> None:
        """Count bytes.

        Raises:
            Stopped: a stop signal has arrived.
        """
        self._new_bytes += count_bytes
        if self._new_bytes >= _MIB:
            self._signals.wait(0)
            self._work.add(self._new_bytes // _MIB)
            self._new_bytes %= _MIB


def _disk_bytes(path: Path) -> int:
    """Return how much of a file is on disk, without holes; 0 if there is none."""
    with suppress(OSError):
        return path.lstat().st_blocks * _BLOCK_BYTES
    return 0


def _suricata_objects(eve: Path, on_read: Callable[[int], None] | None) -> Iterator[ExtractedObject]:
    """Yield the stored files of EVE's fileinfo events; other events and incomplete lines are skipped."""
    for line in foreign_lines(eve, on_read):
        if '"fileinfo"' in line and (stored := _stored_object(line)):
            yield stored


def _stored_object(line: str) -> ExtractedObject | None:
    try:
        event = decode_object(line)
        file = event["fileinfo"]
        if not file["stored"]:
            return None
        host = event.get("http", {}).get("hostname", "")
        is_cut = "flow timeout" in event.get("pkt_src", "")  # Suricata reports a cut file as CLOSED, too
        is_whole = file["state"] == "CLOSED" and not file.get("gaps") and not is_cut
        return _valid_object(f"{host}{file['filename']}", file["size"], file["sha256"], is_whole=is_whole)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
