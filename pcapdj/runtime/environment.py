"""Which of our environment variables the programs that we start get.

An analyzer parses hostile bytes, and a reading process hangs in foreign file systems: neither needs to know
where Redis is, how to log in there, or how to reach supervisord. What is not passed on cannot be read there.
"""

import os
from typing import Final

_OURS: Final = "PCAPDJ_"
# They may have passwords (PCAPDJ_REDIS_URL, REDISCLI_AUTH), or the way to Redis or supervisord.
_PRIVATE: Final = ("PCAPDJ_REDIS", "REDIS", "VALKEY", "SUPERVISOR_")


def foreign_environment() -> dict[str, str]:
    """Return the environment for a program of others: an analyzer, a Redis server."""
    return _without((_OURS, *_PRIVATE))


def own_environment() -> dict[str, str]:
    """Return the environment for a process of ours that needs no Redis: settings stay, the login does not."""
    return _without(_PRIVATE)


def _without(prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith(prefixes)}
