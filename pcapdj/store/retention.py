"""How long Redis keeps the records of fed files; otherwise FED and CAPTURES would grow for ever.

A record in FED is removed when its file is gone and it is older than 30 days: a rotation that uses the name
again makes a new file. A file is gone only if its folder is there, on the file system that it had: storage
that is away, or does not answer, may come back with the file. The captures in CAPTURES are kept for a year,
also without a file: a copy may arrive. Once a day each hash is walked in slices. The journal is trimmed by
FINISH.

A stream in SUSPECT keeps its captures from being removed to make room. So it has no limit in number or age:
it is removed when two walks, a day apart, found it neither in FED nor in flight nor open.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, Final, NamedTuple, Protocol

from pcapdj.runtime.errors import StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import read_hashes, read_set
from pcapdj.store.client import Store
from pcapdj.store.stepwise import StepwiseWork

DAY_S: Final = 86_400.0
_EVERY_S: Final = DAY_S
_SLICE: Final = 100  # fields in one call
_MOST_SUSPECTS: Final = 1000  # that one walk looks for
_LONGEST_BYTES: Final = 80 << 10  # of a field and its value: what is longer is not ours, and stays


class LooksForFiles(Protocol):
    """As `capture.removed_files.RemovedFiles`."""

    def among(self, files: Mapping[bytes, int]) -> Collection[bytes]:
        """Return the names of the files that are gone, of names and the devices of their folders."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Retention:
    """Removes what is older than it needs to be, a slice at a time.

    Args:
        store: the lane.
        looks: looks for files, during one walk.
        fed_s: for how long FED keeps the record of a file that is gone; 0: for ever.
        captures_s: for how long CAPTURES keeps a capture; 0: for ever.
    """

    def __init__(
        self,
        store: Store,
        looks: Callable[[], LooksForFiles],
        fed_s: float = 30 * DAY_S,
        captures_s: float = 365 * DAY_S,
    ) -> None:
        self._store = store
        self._looks = looks
        self._fed_s = fed_s
        self._captures_s = captures_s
        self._unused_suspects = frozenset[bytes]()  # of the walk before
        self._work_now = StepwiseWork()
        self._next_s = 0.0

    def step(self, now_s: float) -> bool:
        """Do the next slice, if one is due; report whether there is more to do.

        Args:
            now_s: monotonic.

        Raises:
            As `Store.call`.
        """
        if not self._work_now.has_begun:
            if now_s < self._next_s:
                return False
            self._work_now.begin(self._work(time.time()))
        has_more = self._work_now.step()
        if not has_more:
            self._next_s = now_s + _EVERY_S
        return has_more

    def _work(self, now_s: float) -> Iterator[None]:
        keys = self._store.keys
        unused = self._suspects() if self._fed_s else {}
        with closing(self._looks()) as looks:
            for records in self._scan(keys.fed) if self._fed_s else ():
                for value in records.values() if unused else ():
                    _remove_named(unused, value)
                outdated = looks.among(_older_than(now_s - self._fed_s, records))
                self._forget(keys.fed, {name: records[name] for name in outdated})
                yield
        self._forget_suspects(unused)
        for captures in self._scan(keys.captures) if self._captures_s else ():
            before_s = now_s - self._captures_s
            self._forget(
                keys.captures,
                {digest: value for digest, value in captures.items() if _newest_s(value) < before_s},
            )
            yield

    def _suspects(self) -> dict[bytes, bytes]:
        """Return streams in SUSPECT with their reasons; none, where an ACL of an older version forbids it."""
        found = dict[bytes, bytes]()
        with suppress(StoreDenied, StoreFailed):
            for part in self._scan(self._store.keys.suspect):
                found |= part
                if len(found) >= _MOST_SUSPECTS:
                    break
        return found

    def _forget_suspects(self, unused: dict[bytes, bytes]) -> None:
        """Remove suspect streams that have been without a file for two walks.

        Args:
            unused: those that no record in FED names.
        """
        keys = self._store.keys
        if not unused:
            return
        with suppress(StoreDenied, StoreFailed, StoreUnavailable):
            in_use = [self._store.field(keys.consumer, "stream", _LONGEST_BYTES)]
            currents = [keys.current(to_text(each)) for each in read_set(self._store, keys.dispatchers)]
            for fields in read_hashes(
                self._store, currents, ("stream", "begin"), longest_bytes=_LONGEST_BYTES
            ):
                in_use += fields.values()
            for text in in_use:
                _remove_named(unused, text)
            self._forget(keys.suspect, {each: unused[each] for each in unused.keys() & self._unused_suspects})
            self._unused_suspects = frozenset(unused)

    def _scan(self, key: str) -> Iterator[dict[bytes, bytes]]:
        cursor, limits = b"0", [str(_SLICE), str(_LONGEST_BYTES)]
        while True:
            cursor, *parts = self._store.run("scan_hash", [key], [cursor, *limits])
            yield dict(zip(parts[::2], parts[1::2], strict=True))
            if cursor == b"0":
                return

    def _forget(self, key: str, outdated: Mapping[bytes, bytes]) -> None:
        if outdated:
            self._store.run("forget_fields", [key], [part for pair in outdated.items() for part in pair])


def _remove_named(streams: dict[bytes, bytes], text: bytes) -> None:
    """Remove the streams that this text names anywhere."""
    for stream in [each for each in streams if each in text]:
        del streams[stream]


class _Record(NamedTuple):
    """What counts of an entry of FED."""

    time_s: float
    device: int

    @classmethod
    def of(cls, value: bytes) -> "_Record | None":
        """Return it; None: the entry is not valid. One of an older version has the file's time only."""
        try:
            fields = decode_object(value)
            time_s = float(fields["time_s"] if "time_s" in fields else fields["mtime_ns"] / 1e9)
            return cls(time_s, int(fields["dev"]))
        except (ValueError, TypeError, KeyError, OverflowError):
            return None


def _older_than(before_s: float, records: Mapping[bytes, bytes]) -> dict[bytes, int]:
    """Return names and devices of the records that are older than this time."""
    valid = {name: record for name, value in records.items() if (record := _Record.of(value))}
    return {name: record.device for name, record in valid.items() if record.time_s < before_s}


def _newest_s(value: bytes) -> float:
    """Return when the newest of these captures was fed; of lines that are not valid, long ago."""
    return max(map(_time_of, value.split(b"\n")))


def _time_of(line: bytes) -> float:
    try:
        fields: dict[str, Any] = decode_object(line)
        return float(fields["time_s"])
    except (ValueError, TypeError, KeyError, OverflowError):
        return 0.0
