"""Reads of keys that any program may have written: what comes back has a limit, whatever stands there.

A value in Redis may have 512 MiB, and a key any number of fields, members or entries. The server leaves out
what is too long (the scripts `read_*`), so that no role or command needs memory and time for what nothing of
ours has written. Our own values are far below these limits: a path has up to 4095 bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from pcapdj.runtime.safe_text import to_text

if TYPE_CHECKING:
    from pcapdj.store.client import Store

VALUE_LIMIT_BYTES: Final = 64 << 10
LIVE_VALUE_LIMIT_BYTES: Final = 1000  # of PCAPDJ_CONTROL; longer ones are refused anyway
ENTRY_LIMIT_BYTES: Final = (1 << 20) + 1  # of a list; JSON of a failure is not valid beyond 1 MiB
_BUDGET_BYTES: Final = 4 << 20  # of one answer
_MOST_FIELDS: Final = 200
_MEMBER_LIMIT_BYTES: Final = 8 << 10
_MOST_MEMBERS: Final = 100
_PAGE: Final = 1000  # entries of a list in one call
_STREAM_PAGE: Final = 300  # entries of a stream in one call

Hash = dict[bytes, bytes]
Track = Callable[[int], None]  # is called with how many entries were looked at, again and again


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """An entry of a stream.

    Args:
        id: Redis's time in milliseconds, and a number.
        fields: by name.
    """

    id: str
    fields: Hash

    @property
    def time_s(self) -> float:
        """When Redis got it, in seconds since the epoch."""
        return int(self.id.partition("-")[0]) / 1000


def read_hash(
    store: "Store", key: str, names: Sequence[bytes | str] = (), *, longest_bytes: int = VALUE_LIMIT_BYTES
) -> Hash:
    """Return the named fields of a hash that are there; none named: all, but at most 200.

    Args:
        store: the lane.
        key: the hash.
        names: of fields.
        longest_bytes: in place of a longer value stands its size.

    Raises:
        As `Store.call`; so do all functions here.
    """
    return next(read_hashes(store, [key], names, longest_bytes=longest_bytes))


def read_hashes(
    store: "Store",
    keys: Sequence[str],
    names: Sequence[bytes | str] = (),
    *,
    longest_bytes: int = VALUE_LIMIT_BYTES,
) -> Iterator[Hash]:
    """Yield what `read_hash` returns for each of these hashes, some hundred in each call.

    Args:
        store: the lane.
        keys: the hashes.
        names: of fields.
        longest_bytes: as of `read_hash`.
    """
    limits = [*_hash_limits(longest_bytes), *names]
    at_once = max(1, _BUDGET_BYTES // (longest_bytes * (len(names) or _MOST_FIELDS)))

    for start in range(0, len(keys), at_once):
        part = keys[start : start + at_once]
        answer = store.run("read_hashes", [*part], limits)
        yield from (hash_of(pairs) for _, pairs in zip(part, answer, strict=True))


def hash_of(parts: Sequence[bytes]) -> Hash:
    """Return fields and values in turn as a hash."""
    return dict(zip(parts[::2], parts[1::2], strict=True))


def read_set(
    store: "Store", key: str, first: Sequence[bytes | str] = (), *, most: int = _MOST_MEMBERS
) -> list[bytes]:
    """Return members of a set, each cut to 8 KiB.

    Args:
        store: the lane.
        key: the set.
        first: these are among them if they are in the set.
        most: members.
    """
    return cast("list[bytes]", store.run("read_set", [key], [*_set_limits(most), *first]))


def read_at_once(
    store: "Store", places: Sequence[str], hashes: Sequence[str], text_bytes: int, longest_bytes: int
) -> tuple[list[Any], list[Hash], str]:
    """Return what keys have at one instant.

    Args:
        store: the lane.
        places: three lists, two texts, a set.
        hashes: more keys.
        text_bytes: longer texts are cut.
        longest_bytes: as of `read_hash`.

    Returns:
        The lengths of the lists, the texts, the members; the hashes; why Redis takes no writes (empty: it
        does).
    """
    limits = [str(text_bytes), *_set_limits(_MOST_MEMBERS), *_hash_limits(longest_bytes)]

    def read(answer: Any) -> tuple[list[Any], list[Hash], str]:
        *values, found, refusal = answer
        return values, [hash_of(parts) for _, parts in zip(hashes, found, strict=True)], to_text(refusal)

    return cast("tuple[list[Any], list[Hash], str]", store.run("snapshot", [*places, *hashes], limits, read))


def read_entries(store: "Store", key: str, start: int, stop: int) -> list[bytes]:
    """Return the first entries between two places of a list, each cut to 1 MiB and together about 4 MiB."""
    arguments = [str(each) for each in (ENTRY_LIMIT_BYTES, _BUDGET_BYTES, start, stop)]
    return cast("list[bytes]", store.run("read_list", [key], arguments))


def read_page(store: "Store", key: str, place: int, most: int) -> list[bytes]:
    """Return entries from a place of a list on: at most so many, and not more than one call should read."""
    return read_entries(store, key, place, place + min(most, _PAGE) - 1)


def read_list(store: "Store", key: str) -> Iterator[list[bytes]]:
    """Yield a list in parts; what is added or removed meanwhile may be missing, or come twice."""
    place = 0
    while entries := read_page(store, key, place, _PAGE):
        yield entries
        place += len(entries)


def read_stream(  # noqa: PLR0913 - what is read, and how much at once
    store: "Store",
    key: str,
    first: str = "-",
    *,
    is_newest_first: bool = False,
    only: tuple[str, bytes] | None = None,
    most: int = _STREAM_PAGE,
    track: Track = lambda _: None,
) -> Iterator[StreamEntry]:
    """Yield the entries of a stream, a page in each call; what is added meanwhile comes, too.

    Args:
        store: the lane.
        key: the stream.
        first: the id of the first one; `(ID`: the one behind it; `-`, and with the newest first `+`: all.
        is_newest_first: go back in time.
        only: a field and its value, which the others do not have.
        most: entries that one call looks at.
        track: is called with that number after each call.
    """
    order = "newest" if is_newest_first else "oldest"
    limits = [str(each) for each in (VALUE_LIMIT_BYTES, _BUDGET_BYTES, most)]
    while True:
        last, *entries = store.run("read_stream", [key], [*limits, first, order, *(only or ())])
        if not last:
            return
        yield from (StreamEntry(entry_id.decode(), hash_of(parts)) for entry_id, parts in entries)
        track(most)
        first = f"({last.decode()}"


def _set_limits(most: int) -> list[bytes | str]:
    return [str(_MEMBER_LIMIT_BYTES), str(most)]


def _hash_limits(longest_bytes: int) -> list[bytes | str]:
    return [str(longest_bytes), str(_MOST_FIELDS), str(_BUDGET_BYTES)]
