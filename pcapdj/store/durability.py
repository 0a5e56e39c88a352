"""Whether a Redis keeps a queue: what its settings mean for names that were pushed. Rules only.

Source: redis.io "Redis persistence" and "Key eviction"; the losses were measured with `kill -9`. That one may
cost everysec two seconds is in docs/operations.md and no warning: a server of one's own has nothing better.
"""

from collections.abc import Iterator, Mapping
from typing import Final

JUDGED: Final = ("appendonly", "appendfsync", "save", "maxmemory-policy")
Settings = Mapping[str, str]


def risks(settings: Settings, *, is_synced: bool) -> Iterator[str]:
    """Yield a sentence for each way in which this Redis may lose names, or stop over a full disk.

    Args:
        settings: what CONFIG GET says, by name; missing ones are not judged.
        is_synced: a process beside the server brings its file to the disk every second.
    """
    yield from _persistence(settings, is_synced=is_synced)
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy.startswith("allkeys"):
        yield f"maxmemory-policy is {policy}: it may evict the queue when memory is full; use noeviction"


def _persistence(settings: Settings, *, is_synced: bool) -> Iterator[str]:
    if settings.get("appendonly", "yes") != "yes":
        if settings.get("save"):
            yield "appendonly is no: a crash loses all names since the last snapshot; use appendonly yes"
        else:
            yield "appendonly is no and save is empty: a restart loses the queue; use appendonly yes"
    elif settings.get("appendfsync") == "no" and not is_synced:
        yield "appendfsync is no, nobody else syncs: a power loss may cost the last half minute; use everysec"
    elif settings.get("appendfsync") == "always":
        yield "appendfsync is always: the server exits when its disk is full; everysec makes it wait instead"
