"""Whether a Redis keeps a queue: what its settings mean for names that were pushed. Rules only.

Source: redis.io "Redis persistence" and "Key eviction"; the losses were measured with `kill -9`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

JUDGED: Final = ("appendonly", "appendfsync", "save", "maxmemory-policy")
Settings = Mapping[str, str]


def risks(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each way in which this Redis may lose names, or stop over a full disk.

    Args:
        settings: what CONFIG GET says, by name; missing ones are not judged.
    """
    yield from _persistence(settings)
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy.startswith("allkeys"):
        yield f"maxmemory-policy is {policy}: it may evict the queue when memory is full; use noeviction"


def _persistence(settings: Settings) -> Iterator[str]:
    if settings.get("appendonly", "yes") != "yes":
        if settings.get("save"):
            yield "appendonly is no: a crash loses all names since the last snapshot; use appendonly yes"
        else:
            yield "appendonly is no and save is empty: a restart loses the queue; use appendonly yes"
    elif settings.get("appendfsync") == "no":
        yield "appendfsync is no: a power loss may cost the last half minute; use everysec"
    elif settings.get("appendfsync") == "always":
        yield "appendfsync is always: the server exits when its disk is full; everysec makes it wait instead"
