"""What Redis's settings mean for a queue."""

from support.rows import each_row

from pcapdj.store.server import risks

SAFE = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}


def test_the_recommended_settings_bring_no_risk() -> None:
    """Every name is on the disk within a second or two, none is evicted."""
    assert list(risks(SAFE, is_synced=False)) == []


def test_the_settings_of_the_embedded_server_bring_no_risk() -> None:
    """It does not sync, but its companion process does."""
    assert list(risks(SAFE | {"appendfsync": "no"}, is_synced=True)) == []


@each_row(
    ("settings", "words"),
    [
        ({"appendonly": "no", "save": "3600 1"}, "snapshot"),
        ({"appendonly": "no", "save": ""}, "restart loses"),
        ({"appendfsync": "always"}, "exits when its disk is full"),
        ({"appendfsync": "no"}, "power loss"),
        ({"maxmemory-policy": "allkeys-lru"}, "evict"),
    ],
)
def test_each_risky_setting_is_one_sentence(settings: dict[str, str], words: str) -> None:
    """It names the setting, what may be lost, and what to use."""
    (risk,) = risks(SAFE | settings, is_synced=False)

    assert words in risk


def test_unknown_settings_are_not_judged() -> None:
    """A server that does not show its settings gets no warning about them."""
    assert list(risks({}, is_synced=False)) == []
