"""The captures that were fed, as Redis keeps them: by the digest of their beginning.

FINISH writes them, one line of JSON for each, the newest last, at most sixteen of a digest. Importer and
dispatcher read them to find out whether a file is one of them. Any program may have written a line:
`capture.identity` checks it.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pcapdj.runtime.foreign_json import decode_object
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store

MOST_CAPTURES: Final = 16  # of one digest, as in FINISH
_LONGEST_BYTES: Final = 64 << 10  # of the lines of a digest
_ENOUGH_BYTES: Final = 2 << 20  # an answer may lack the values behind this many bytes
_CHUNK: Final = 2000  # digests in one call

CaptureFields = dict[str, Any]


def candidates(store: Store, digests: Iterable[str]) -> list[CaptureFields]:
    """Return the fed captures that are kept under these digests: those of the first digest first.

    Args:
        store: the lane.
        digests: as of `capture.identity.looked_up_under`.

    Raises:
        As `Store.call`.
    """
    return candidates_of_each(store, [list(digests)])[0]


def candidates_of_each(store: Store, files: Sequence[Sequence[str]]) -> list[list[CaptureFields]]:
    """Return `candidates` of many files: for each of them, with as few calls as possible.

    Args:
        store: the lane.
        files: the digests of each.

    Raises:
        As `Store.call`.
    """
    wanted = list(dict.fromkeys(digest for digests in files for digest in digests))
    found = dict[str, list[CaptureFields]]()
    for start in range(0, len(wanted), _CHUNK):
        found |= _read(store, wanted[start : start + _CHUNK])
    return [[fields for digest in digests for fields in found.get(digest, ())] for digests in files]


def write_captures(store: Store, captures: Iterable[tuple[str, CaptureFields]]) -> None:
    """Write captures that were fed into an empty lane, each under its digests, the oldest first.

    Raises:
        As `Store.call`.
    """
    lines = defaultdict[str, list[str]](list)
    for digests, fields in captures:
        for digest in digests.split():
            lines[digest].append(json.dumps(fields, separators=(",", ":")))
    values = {digest: "\n".join(each[-MOST_CAPTURES:]) for digest, each in lines.items()}
    for start in range(0, len(values), _CHUNK):
        part = dict[Any, Any](list(values.items())[start : start + _CHUNK])
        store.call(lambda client, part=part: client.hset(store.keys.captures, mapping=part))  # type: ignore[misc]


def _read(store: Store, digests: Sequence[str]) -> dict[str, list[CaptureFields]]:
    """Read some digests; those of a long answer again in halves, since its end may be missing."""
    values = read_hash(store, store.keys.captures, digests, longest_bytes=_LONGEST_BYTES)
    if sum(map(len, values.values())) > _ENOUGH_BYTES and len(digests) > 1:
        middle = len(digests) // 2
        return _read(store, digests[:middle]) | _read(store, digests[middle:])
    return {digest.decode(): _fields_of(value) for digest, value in values.items()}


def _fields_of(value: bytes) -> list[CaptureFields]:
    """Return the valid lines of a value."""
    found = []
    for line in value.split(b"\n"):
        try:
            found.append(decode_object(line, most_bytes=_LONGEST_BYTES))
        except ValueError:
            continue
    return found
