"""Redis killed in a storm of names: each that it has acknowledged is there when it runs again.

A Redis that syncs by itself holds back what it has acknowledged while it does; then, and only then, is
`aof_buffer_length` more than nothing after an answer. That is the moment to kill it: with `appendfsync
everysec` 30 of 30 such kills lost names. On a tmpfs, where a sync takes no time, the moment does not come.
"""

import random
import time
from typing import Any, Final

from faults.figures import Figures
from faults.scenario import Scenario

_KEY: Final = "storm"  # no dispatcher takes from it
_LONGEST_S: Final = 1.3  # longer than a second: who syncs every second does so in most storms
_SHORTEST_S: Final = 0.2


def redises(scenario: Scenario, figures: Figures, seed: str, kills: int) -> None:
    """Kill Redis in so many storms, and count what it forgot.

    Args:
        scenario: nothing of it runs yet; of its processes only Redis is started.
        figures: where kills and forgotten names are counted.
        seed: decides how long each storm lasts.
        kills: how many.
    """
    rng = random.Random(seed)  # noqa: S311 - storms that can be repeated
    scenario.start_redis()
    for number in range(kills):
        scenario.store.redis.delete(_KEY)
        acknowledged = _storm(scenario, rng.uniform(_SHORTEST_S, _LONGEST_S))
        scenario.kill_redis()
        figures.kills["redis"] += 1
        figures.counts["names pushed in storms"] += len(acknowledged)
        scenario.start_redis()
        kept: Any = scenario.store.redis.lrange(_KEY, 0, -1)
        if kept != acknowledged:
            figures.forgotten += len(acknowledged) - len(kept)
            figures.violated(f"storm {number}: {len(kept)} of {len(acknowledged)} names are left")


def _storm(scenario: Scenario, longest_s: float) -> list[bytes]:
    """Push until Redis owes its file what it acknowledged, or the time is over; return what was pushed."""
    acknowledged: list[bytes] = []
    until_s = time.monotonic() + longest_s
    while time.monotonic() < until_s:
        name = f"/captures/of/a/sensor/{len(acknowledged):06}.pcap".encode()
        scenario.store.redis.rpush(_KEY, name)
        acknowledged.append(name)
        held_back: Any = scenario.store.redis.info("persistence")
        if held_back["aof_buffer_length"]:
            break
    return acknowledged
