"""How files get into the queue, each once: what the importer, and a one-shot run, ask of Redis.

A plain RPUSH that is repeated after a lost reply doubles names, and one that looks first races with
dispatchers. Here both happen in one script, which compares with what stood in FED when the caller decided:
repeating it is safe.
"""

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol, cast

from pcapdj.runtime import failpoints
from pcapdj.store.client import Store

_CHUNK_NAMES = 1000  # in one script: a few milliseconds of Redis's time, and within Lua's limit for RPUSH


class Version(Protocol):
    """What tells a file from an earlier one of its name: rotation uses names again."""

    @property
    def size_bytes(self) -> int:
        """The file's size."""

    @property
    def mtime_ns(self) -> int:
        """When it was last written to, in ns since 1970."""


class Outcome(Enum):
    """Where a file stood when it was offered."""

    NEW = 1  # it is in the queue now
    QUEUED = 0
    CURRENT = -1
    FED_MEANWHILE = -2
    FED = -3


class Intake:
    """The way into the queue of one lane.

    Args:
        store: the lane; a `RetryingStore` waits while Redis is away.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, files: Mapping[bytes, Version], *, again: bool = False) -> dict[bytes, Outcome]:
        """Queue the files that are neither queued, current nor fed already, in their order.

        Args:
            files: absolute name to how the file is now.
            again: queue what was fed already, too.
        """
        names, standings = list(files), dict[bytes, Outcome]()
        for start in range(0, len(names), _CHUNK_NAMES):
            chunk = {name: files[name] for name in names[start : start + _CHUNK_NAMES]}
            standings |= self._admit(chunk, again=again)
        return standings

    def _admit(self, files: Mapping[bytes, Version], *, again: bool) -> dict[bytes, Outcome]:
        seen = self._fed(files)
        standings = {name: Outcome.FED for name in files if not again and is_version(seen[name], files[name])}
        rest = {name: seen[name] for name in files if name not in standings}
        answers = self._enqueue(rest) if rest else []
        return standings | dict(zip(rest, answers, strict=True))

    def _fed(self, names: Iterable[bytes]) -> dict[bytes, bytes]:
        wanted = list(names)
        values = self._store.call(
            lambda client: cast("list[bytes | None]", client.hmget(self._store.keys.fed, wanted))
        )
        return {name: value or b"" for name, value in zip(wanted, values, strict=True)}

    def _enqueue(self, seen: Mapping[bytes, bytes]) -> list[Outcome]:
        keys = self._store.keys
        arguments: list[bytes | str] = [keys.current_prefix]
        for name, value in seen.items():
            arguments += [name, value]
        failpoints.reach("enqueue.before")
        places = [keys.in_queue, keys.dispatchers, keys.fed, keys.channel]
        answers = self._store.run("enqueue", places, arguments)
        failpoints.reach("enqueue.after")
        return [Outcome(answer) for answer in answers]


def is_version(fed: bytes, version: Version) -> bool:
    """Report whether FED tells of this very file: same size and modification time, however it ended."""
    try:
        entry = json.loads(fed or b"null")
    except ValueError:
        return False
    if not isinstance(entry, dict):
        return False
    return (entry.get("size_bytes"), entry.get("mtime_ns")) == (version.size_bytes, version.mtime_ns)
