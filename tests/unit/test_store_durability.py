"""What Redis's settings mean for a queue."""

import pytest

from pcapdj.store.durability import risks

SAFE = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}


def test_what_is_recommended_is_no_risk() -> None:
    """Every name on disk within a second or two, nothing evicted."""
    assert list(risks(SAFE, is_synced=False)) == []


def test_what_the_embedded_server_uses_is_no_risk() -> None:
    """It does not sync, but its companion does."""
    assert list(risks(SAFE | {"appendfsync": "no"}, is_synced=True)) == []


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"appendonly": "no", "save": "3600 1"}, "snapshot"),
        ({"appendonly": "no", "save": ""}, "restart loses"),
        ({"appendfsync": "always"}, "exits when its disk is full"),
        ({"appendfsync": "no"}, "power loss"),
        ({"maxmemory-policy": "allkeys-lru"}, "evict"),
    ],
)
def test_each_risky_setting_is_one_sentence(settings: dict[str, str], word: str) -> None:
    """A risk names the setting, what it costs, and what to use."""
    (risk,) = risks(SAFE | settings, is_synced=False)

    assert word in risk


def test_settings_that_are_not_told_are_not_judged() -> None:
    """A server that hides its settings is not accused."""
    assert list(risks({}, is_synced=False)) == []
