"""Which of our environment variables the programs that we start get.

An analyzer parses hostile bytes, and a reading process hangs in foreign file systems: neither needs to know
where Redis is, how to log in there, or how to reach supervisord. What is not passed on cannot be read there.

PYTHONPATH is passed on without empty elements. `PYTHONPATH=$PYTHONPATH:/opt/lib` has one where the variable
was not set before. Python takes it for the current folder, which may be a folder of captures from anywhere.
"""

import os
from typing import Final

_OURS: Final = "PCAPDJ_"
_PYTHON_PATH: Final = "PYTHONPATH"
# They may have passwords (PCAPDJ_REDIS_URL, REDISCLI_AUTH), or the way to Redis or supervisord.
_PRIVATE: Final = ("PCAPDJ_REDIS", "REDIS", "VALKEY", "SUPERVISOR_")


def foreign_environment() -> dict[str, str]:
    """Return the environment for a program of others: an analyzer, a Redis server."""
    return _without((_OURS, *_PRIVATE))


def own_environment() -> dict[str, str]:
    """Return the environment for a process of ours that needs no Redis: settings stay, the login does not."""
    return _without(_PRIVATE)


def _without(prefixes: tuple[str, ...]) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(prefixes)}
    elements = kept.pop(_PYTHON_PATH, "").split(os.pathsep)
    return kept | ({_PYTHON_PATH: os.pathsep.join(filter(None, elements))} if any(elements) else {})
