"""Samples of disks and of what was read: every ten seconds, for a day; and rates over minutes from them."""

import json
import time
from typing import Any

import pytest
from support.roles_rig import Trio
from support.waiting import wait_until

from pcapdj.store import samples
from pcapdj.store.client import Store
from pcapdj.store.samples import Least, Sampler, disk_values, least_values, rates_of


def add(store: Store, age_s: float, **values: int) -> None:
    """Add a sample of this age."""
    number = f"{int((time.time() - age_s) * 1000)}-0"
    store.redis.xadd(store.keys.samples, dict[Any, Any](values), id=number)


def test_a_rate_is_that_of_the_oldest_and_newest_sample_of_the_time(store: Store) -> None:
    """What was there for a part of it has the rate of that part; what is new has none."""
    add(store, 700, out=0)
    add(store, 100, out=1000, other=5)
    add(store, 50, out=9999)
    add(store, 0, out=2000, other=5, new=1)

    rates = rates_of(store, store.keys.samples, 600, time.time())

    assert rates == {"out": pytest.approx(10, rel=0.01), "other": 0}
    assert rates_of(store, store.keys.samples, 10, time.time()) == {}


def test_without_two_samples_there_is_no_rate(store: Store) -> None:
    """Nor from what another program wrote."""
    assert rates_of(store, store.keys.samples, 600, time.time()) == {}
    add(store, 20, out=1)
    assert rates_of(store, store.keys.samples, 600, time.time()) == {}
    store.redis.xadd(store.keys.samples, {"out": "many"})
    assert rates_of(store, store.keys.samples, 600, time.time()) == {}


def test_the_least_of_each_span_of_the_last_day_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a span goes on in the next part; what is older, or another program wrote, is left out."""
    monkeypatch.setattr(samples, "_PAGE", 2)
    now_s = 1_700_000_000.0
    values: list[tuple[float, dict[Any, Any]]] = [
        (90_000, {"out": 1}), (1010, {"out": 7}), (1000, {"out": 5, "in": 9}), (990, {"out": 8}),
        (10, {"out": 10}), (5, {"out": "many", "in": "9" * 19}), (0, {"out": 6, "x" * 5000: 1}),
    ]  # fmt: skip
    for age_s, fields in values:
        store.redis.xadd(store.keys.samples, fields, id=f"{int((now_s - age_s) * 1000)}-0")

    found = least_values(store, store.keys.samples, 500, now_s)

    assert found == {
        "out": {
            3_399_997: Least(7, now_s - 1010),
            3_399_998: Least(5, now_s - 1000),
            3_399_999: Least(10, now_s - 10),
            3_400_000: Least(6, now_s),
        },
        "in": {3_399_998: Least(9, now_s - 1000)},
    }


@pytest.mark.parametrize(
    ("names_each", "name_bytes", "most"), [(3000, 8, 5000), (600, 4096, 1023)], ids=["names", "bytes"]
)
def test_any_number_of_names_that_another_program_wrote_fills_no_memory(
    store: Store, names_each: int, name_bytes: int, most: int
) -> None:
    """One answer has the first 5000 values, and less than 4 MiB of names; their later samples count."""
    for entry in range(2):
        names = (f"{entry}-{number}".rjust(name_bytes, "x") for number in range(names_each))
        store.redis.xadd(store.keys.samples, dict[Any, Any](dict.fromkeys(names, 5)))
    known = "0-0".rjust(name_bytes, "x")
    store.redis.xadd(store.keys.samples, {known: 4})

    found = least_values(store, store.keys.samples, samples.DAY_S, time.time())

    assert len(found) == most
    assert min(found[known].values()).value == 4


def test_samples_are_added_every_ten_seconds_and_kept_for_a_day(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each adds one, and removes what is older, or beyond the number of a day."""
    monkeypatch.setattr(samples, "MOST", 200)
    add(store, 2 * samples.DAY_S, out=1)
    sampler = Sampler(store.keys.samples)
    assert sampler.is_due()
    batch = store.redis.pipeline()
    for _ in range(400):
        sampler.add(batch, {"out": 1})
    sampler.add(batch, {})
    batch.execute()

    assert not sampler.is_due()
    assert 200 <= store.redis.xlen(store.keys.samples) < 310


def test_values_of_disks_are_those_that_are_free() -> None:
    """A disk that could not be measured has none; what is not valid is left out."""
    disks = [{"name": "/out", "free": 5}, {"name": "/gone", "free": None}, {"free": True}, "foreign"]

    assert disk_values(json.dumps(disks)) == {"/out": 5}
    assert disk_values("{") == disk_values(7) == {}


def test_controller_and_dispatcher_keep_samples(trio: Trio) -> None:
    """The free space of the watched disk, and the bytes that were read."""
    trio.start_all()
    trio.queue(path := trio.capture("1.pcap", 1))
    trio.await_processed(1)
    keys, redis = trio.store.keys, trio.store.redis
    wait_until(lambda: redis.xlen(keys.samples), "a sample of the disks")
    wait_until(lambda: redis.xlen(keys.samples_of(str(trio.pipe))), "a sample of the dispatcher")
    wait_until(lambda: trio.statistics()["read_bytes"] == path.stat().st_size, "the bytes that were read")

    found: Any = redis.xrange(keys.samples, count=1)
    fields = found[0][1]
    assert int(fields[str(trio.folder).encode()]) > 0
