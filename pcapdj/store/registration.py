"""The dispatchers of a lane, for scripts that look at what each of them has in hand.

All keys of a script have to be known before it runs. So the caller reads the ids first, and the script checks
that they are still those: if a dispatcher came or went in between, the caller does both again.
"""

from collections.abc import Sequence
from typing import Final

from pcapdj.runtime.errors import StoreFailed
from pcapdj.runtime.safe_text import NAME_LIMIT_BYTES, to_text
from pcapdj.store.bounded import read_set
from pcapdj.store.client import Reply, Store

_MOST_IDS: Final = 1000
_CALLS: Final = 20  # dispatchers come and go a few times a day


def registered(store: Store) -> list[str]:
    """Return the ids of the dispatchers, at most 1000.

    Raises:
        As `Store.call`.
    """
    return _registered(store)[0]


def run_with_currents(
    store: Store, script: str, keys: Sequence[str], arguments: Sequence[bytes | str]
) -> Reply:
    """Run a script that gets the CURRENT hashes of all dispatchers as its last keys (`current_names.lua`).

    Args:
        store: the lane.
        script: its name.
        keys: before these hashes.
        arguments: behind the dispatchers' ids.

    Raises:
        StoreFailed: dispatchers came and went at every call.
        As `Store.call`.
    """
    for _ in range(_CALLS):
        ids, count = _registered(store)
        places = [*keys, *map(store.keys.current, ids)]
        answer = store.run(script, places, [str(count), *ids, *arguments])
        if answer is not None:
            return answer
    raise StoreFailed(f"The dispatchers in {store.keys.dispatchers} change with every look.")


def _registered(store: Store) -> tuple[list[str], int]:
    """Return the ids, and how many there are; -1: more than are read."""
    members = read_set(store, store.keys.dispatchers, most=_MOST_IDS)
    ids = [to_text(each) for each in members if len(each) <= NAME_LIMIT_BYTES]
    return ids, len(members) if len(members) < _MOST_IDS else -1
