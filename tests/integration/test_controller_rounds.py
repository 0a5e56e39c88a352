"""The controller's rounds against a real Redis and the real disk."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.logs import logged
from support.programs import missing
from support.waiting import scaled, wait_until

from pcapdj.controller import Controller
from pcapdj.disk.limits import Watch
from pcapdj.disk.live_limits import LiveLimits
from pcapdj.disk.measurements import Samples
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.monitor import DiskMonitor
from pcapdj.disk.schedule import BUSY_S
from pcapdj.runtime import log
from pcapdj.runtime.errors import ConfigError, PcapdjError, Stopped
from pcapdj.runtime.signals import handled
from pcapdj.store.client import Store
from pcapdj.store.grants import Form, Granted, Grants, Pending
from pcapdj.store.notifier import Notifier

TINY = {"min-free": "1", "min-free-inodes": "off", "resume-after": "0"}
Make = Callable[..., Controller]


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Iterator[Make]:
    """Return a maker of controllers that watch the test's folder, with limits that any disk meets."""
    with handled() as signals:

        def controller(
            *, path: Path = tmp_path, or_parent: bool = False, form: Form = "string", **typed: str
        ) -> Controller:
            limits = LiveLimits({**TINY, **{name.replace("_", "-"): text for name, text in typed.items()}})
            return Controller(
                Grants(store, form),
                DiskMonitor(DiskMeter([Watch(str(path), or_parent=or_parent)]), limits),
                signals,
            )

        yield controller


class RecordingMeter(DiskMeter):
    """Records when it measured; with the fourth measurement, or another one, it ends the controller."""

    def __init__(self, watches: Sequence[Watch], last: int = 4) -> None:
        super().__init__(watches)
        self.measured_s: list[float] = []
        self._last = last

    def measure(self) -> Samples:
        """Measure as the controller's own meter does."""
        self.measured_s.append(time.monotonic())
        if len(self.measured_s) == self._last:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().measure()


class CountingGrants(Grants):
    """Counts the rounds of the controller by what each of them reads."""

    rounds = 0

    def look(self) -> Pending:
        """Read as each round does."""
        self.rounds += 1
        return super().look()


class HoldingGrants(Grants):
    """Holds the gate from the third round on, and records when each round begins; the fifth is the last."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.begun_s: list[float] = []

    def look(self) -> Pending:
        """Read as each round does."""
        self.begun_s.append(time.monotonic())
        if len(self.begun_s) == 3:
            set_live(self._store, gate="hold")
        elif len(self.begun_s) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().look()


class ChangingGrants(Grants):
    """Makes NEXT a key of another type before its first and its third round; the fourth one is the last."""

    rounds = 0

    def look(self) -> Pending:
        """Read as each round does; a message begins the next one at once."""
        self.rounds += 1
        store = self._store
        store.redis.delete(store.keys.next)
        if self.rounds % 2:
            store.redis.set(store.keys.next, "x")
        if self.rounds == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        store.notify("changed")
        return super().look()


def gate(store: Store) -> dict[str, str]:
    """Return the fields of PCAPDJ_GATE."""
    fields: Any = store.redis.hgetall(store.keys.gate)
    return {name.decode(): value.decode() for name, value in fields.items()}


def times_free(tmp_path: Path, factor: float) -> str:
    """Return so many times the free space, as a limit."""
    return str(int(shutil.disk_usage(tmp_path).free * factor))


def set_live(store: Store, **fields: str) -> None:
    """Set live fields."""
    store.redis.hset(
        store.keys.control, mapping={name.replace("_", "-"): text for name, text in fields.items()}
    )


def test_it_authorizes_the_requested_files_and_no_others(store: Store, make: Make) -> None:
    """One request, one authorization; no request, none."""
    controller = make()
    assert controller.step() == 0
    assert not store.redis.exists(store.keys.auth)

    store.redis.rpush(store.keys.next, b"/in/\xff\n1.pcap")

    assert controller.step() == 1
    assert store.redis.get(store.keys.auth) == b"/in/\xff\n1.pcap"
    assert store.redis.llen(store.keys.next) == 0
    assert controller.step() == 0


def test_the_set_form_authorizes_several_at_once(store: Store, make: Make) -> None:
    """Each dispatcher of a lane finds its own file in the set."""
    store.redis.rpush(store.keys.next, "/1", "/2")

    assert make(form="set").step() == 2

    assert store.redis.smembers(store.keys.auth) == {b"/1", b"/2"}


def test_a_grant_waits_while_another_file_stands_in_auth(store: Store, make: Make) -> None:
    """The string form holds one name; the second is granted when the first is consumed."""
    controller = make()
    store.redis.sadd(store.keys.dispatchers, "a")
    store.redis.hset(store.keys.current("a"), mapping={"name": "/1", "state": "asked"})
    store.redis.set(store.keys.auth, "/1")
    store.redis.rpush(store.keys.next, "/2")

    assert controller.step() == 0
    assert store.redis.lrange(store.keys.next, 0, -1) == [b"/2"]
    store.redis.delete(store.keys.auth)

    assert controller.step() == 1


def test_only_an_open_gate_looks_four_times_a_second_for_a_grant_that_waits(
    store: Store, tmp_path: Path
) -> None:
    """While it is held, each second. The first message, and the one about the gate, begin one round more."""
    store.redis.sadd(store.keys.dispatchers, "a")
    store.redis.hset(store.keys.current("a"), mapping={"name": "/1", "state": "asked"})
    store.redis.set(store.keys.auth, "/1")
    store.redis.rpush(store.keys.next, "/2")
    grants = HoldingGrants(store)

    with handled() as signals, suppress(Stopped):
        monitor = DiskMonitor(DiskMeter([Watch(str(tmp_path))]), LiveLimits(TINY))
        controller = Controller(grants, monitor, signals)
        controller.step()  # which opens the gate
        grants.begun_s.clear()
        controller.run(Notifier(store))

    pauses_s = [after_s - before_s for before_s, after_s in pairwise(grants.begun_s)]
    assert 0.2 < max(pauses_s[:2]) < scaled(0.9)
    assert max(pauses_s[2:]) > 0.9


def test_a_name_that_is_not_requested_is_not_granted(store: Store) -> None:
    """The announcement may be gone by the time of the grant."""
    assert Grants(store).grant(b"/never") is Granted.NOT_REQUESTED
    assert not store.redis.exists(store.keys.auth)


def test_an_invalid_name_is_removed(store: Store, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty, or a mebibyte long, and logged with its length; the file behind it gets its grant."""
    store.redis.rpush(store.keys.next, b"", b"x" * (1 << 20), b"/1")

    make().step()

    assert store.redis.get(store.keys.auth) == b"/1"
    assert store.redis.llen(store.keys.next) == 0
    log = logged(capsys, "invalid_name", 2)
    for length_bytes in (0, 1 << 20):
        assert (
            f"invalid_name length_bytes={length_bytes}: The requested name is not a valid file name." in log
        )


def test_a_live_limit_closes_and_opens_the_gate(store: Store, make: Make, tmp_path: Path) -> None:
    """Above the free space it holds, with the numbers; taken away it opens again."""
    controller = make()
    controller.step()
    assert gate(store)["state"] == "open"

    set_live(store, min_free=times_free(tmp_path, 1.5))
    store.redis.rpush(store.keys.next, "/1")
    assert controller.step() == 0
    held = gate(store)
    assert (held["state"], held["path"]) == ("hold", str(tmp_path))
    assert int(held["free_bytes"]) < int(held["needed_bytes"])
    assert f"{int(held['free_bytes']):,} bytes" in held["reason"]

    store.redis.delete(store.keys.control)
    assert controller.step() == 1
    assert gate(store)["state"] == "open"


def test_a_bad_live_value_is_refused_with_a_reason(store: Store, make: Make, tmp_path: Path) -> None:
    """The limits before it stay in force; the reason is published until the value is gone."""
    controller = make()
    controller.step()

    for name, value in (("resume_after", "5\u017f"), ("min_free", "98%")):
        set_live(store, **{name: value})
        controller.step()
        assert gate(store)["state"] == "open"
        assert name.replace("_", "-") in gate(store)["refused"]
        store.redis.delete(store.keys.control)

    set_live(store, min_free=times_free(tmp_path, 1.5))
    controller.step()
    assert gate(store)["state"] == "hold"
    assert gate(store)["refused"] == ""


def test_the_operators_override_comes_first(store: Store, make: Make, tmp_path: Path) -> None:
    """Open on a full disk, hold on an empty one, auto again."""
    controller = make(min_free=times_free(tmp_path, 1.5))

    for word, state in (("open", "open"), ("auto", "hold"), ("hold", "hold")):
        set_live(store, gate=word)
        controller.step()
        assert gate(store)["state"] == state

    set_live(store, gate="auto", min_free="1")
    controller.step()
    assert gate(store)["state"] == "open"


def test_suspension_touches_only_the_gates_own_member(store: Store, make: Make, tmp_path: Path) -> None:
    """The operator's suspension and a dispatcher's stay, whatever the gate does."""
    others = {b"operator", b"usr1:a"}
    store.redis.sadd(store.keys.suspend, *others)
    controller = make()

    set_live(store, min_free=times_free(tmp_path, 4), suspend_free=times_free(tmp_path, 2))
    controller.step()
    assert gate(store)["state"] == "suspended"
    assert store.redis.smembers(store.keys.suspend) == {b"gate", *others}

    store.redis.delete(store.keys.control)
    controller.step()
    assert store.redis.smembers(store.keys.suspend) == others


def test_only_transitions_are_notified(store: Store, make: Make, tmp_path: Path) -> None:
    """Those who show the gate learn at once when it changes."""
    controller = make()
    with store.redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis-py
        channel.subscribe(store.keys.channel)
        controller.step()
        controller.step()
        set_live(store, min_free=times_free(tmp_path, 1.5))
        controller.step()
        store.notify("end")
        heard: list[bytes] = []
        while not heard or heard[-1] != b"end":
            if message := channel.get_message(timeout=20):
                heard.append(message["data"])

    assert heard == [b"gate open", b"gate hold", b"end"]


def test_a_closed_gate_opens_when_its_time_has_passed(store: Store, make: Make, tmp_path: Path) -> None:
    """The time runs through the rounds: none of them starts it again."""
    controller = make(min_free=times_free(tmp_path, 1.5), resume_after="0.3s")
    controller.step()
    set_live(store, min_free="1")
    controller.step()
    assert gate(store)["reason"].endswith("enough to open; it opens if that lasts 0.3 s.")

    store.redis.rpush(store.keys.next, "/1")
    wait_until(lambda: controller.step() == 1, "the gate to open")


def test_the_time_runs_on_while_redis_refuses_the_gate(store: Store, make: Make, tmp_path: Path) -> None:
    """What the disks did meanwhile counts."""
    controller = make(min_free=times_free(tmp_path, 1.5), resume_after="0.3s")
    controller.step()
    set_live(store, min_free="1")
    store.redis.delete(store.keys.gate)
    store.redis.lpush(store.keys.gate, "x")
    with pytest.raises(PcapdjError, match="WRONGTYPE"):
        controller.step()
    begun_s = time.monotonic()
    wait_until(lambda: time.monotonic() - begun_s > 0.4, "the time in which the disk has room")
    store.redis.delete(store.keys.gate)
    store.redis.rpush(store.keys.next, "/1")

    assert controller.step() == 1


def test_between_two_heartbeats_nothing_is_published(store: Store, make: Make) -> None:
    """A round may come every few milliseconds, with each file."""
    controller, heartbeats = make(), set()
    for _ in range(10):
        controller.step()
        heartbeats.add(gate(store)["heartbeat_s"])

    assert len(heartbeats) < 10


def test_a_stop_signal_that_comes_during_a_measurement_ends_the_round(store: Store, tmp_path: Path) -> None:
    """A disk may hang for minutes; nothing is authorized afterwards."""
    store.redis.rpush(store.keys.next, "/1")
    with handled() as signals:
        monitor = DiskMonitor(RecordingMeter([Watch(str(tmp_path))], last=1), LiveLimits(TINY))
        with pytest.raises(Stopped):
            Controller(Grants(store), monitor, signals).step()

    assert not store.redis.exists(store.keys.auth)


def test_a_restarted_controller_goes_on_from_what_was_published(
    store: Store, make: Make, tmp_path: Path
) -> None:
    """Between min-free and resume-free a closed gate stays closed, since the same time; a new one is open."""
    thresholds = {"min_free": times_free(tmp_path, 0.5), "resume_free": times_free(tmp_path, 2)}
    make(min_free=times_free(tmp_path, 1.5)).step()
    since = gate(store)["since_s"]

    make(**thresholds).step()
    assert (gate(store)["state"], gate(store)["since_s"]) == ("hold", since)

    store.redis.delete(store.keys.gate)
    make(**thresholds).step()
    assert gate(store)["state"] == "open"


def test_a_restarted_controller_lifts_a_suspension_of_its_predecessor(store: Store, make: Make) -> None:
    """It was killed while suspended; the disk is fine by now."""
    store.redis.sadd(store.keys.suspend, "gate", "operator")
    store.redis.hset(store.keys.gate, mapping={"state": "suspended", "path": "/gone"})

    make().step()

    assert store.redis.smembers(store.keys.suspend) == {b"operator"}


def test_a_watched_folder_that_vanishes_suspends(store: Store, make: Make, tmp_path: Path) -> None:
    """It counts as full until it is back."""
    folder = tmp_path / "out"
    controller = make(path=folder)
    controller.step()
    assert gate(store)["state"] == "suspended"
    assert "is not there" in gate(store)["reason"]

    folder.mkdir()
    store.redis.rpush(store.keys.next, "/1")
    wait_until(lambda: controller.step() == 1, "a grant, on a measurement that is new")
    assert gate(store)["state"] == "open"


def test_a_hold_that_redis_has_lost_is_an_error_and_shown(
    make: Make, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also by the next controller, until an operator sets the gate again. `gate auto` is no loss."""
    set_live(store, gate="auto")
    first = make()
    first.step()
    set_live(store, gate="hold")
    first.step()
    assert gate(store)["lost"] == ""
    store.redis.delete(store.keys.control)

    first.step()

    sentence = "Redis has lost the operator's hold: 'pcapdj gate hold' sets it again."
    assert gate(store)["lost"] == sentence
    log.flush()
    assert f"ERROR   controller hold_lost: {sentence}" in capfd.readouterr().err
    second = make()
    second.step()
    assert gate(store)["lost"] == sentence
    set_live(store, gate="auto")
    second.step()
    assert gate(store)["lost"] == ""


@pytest.mark.parametrize("key", ["next", "control", "dispatchers", "gate", "suspend"])
def test_a_key_of_another_type_stops_grants_until_it_is_gone(store: Store, make: Make, key: str) -> None:
    """The error names the key; without a published gate there is no grant; afterwards the next file works."""
    controller, name = make(), getattr(store.keys, key)
    if key == "next":
        store.redis.set(name, "x")
    else:
        store.redis.rpush(store.keys.next, "/1")
        store.redis.lpush(name, "x")

    with pytest.raises(PcapdjError, match="WRONGTYPE"):
        controller.step()
    assert not store.redis.exists(store.keys.auth)

    store.redis.delete(name)
    store.redis.delete(store.keys.next)
    store.redis.rpush(store.keys.next, "/1")
    assert controller.step() == 1


def test_what_redis_refuses_is_logged_once_and_the_disks_are_measured_on(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk has to suspend feeding whatever the queue's keys are."""
    store.redis.set(store.keys.next, "x")
    meter = RecordingMeter([Watch(str(tmp_path))], last=3)
    begun_s = time.time()
    with handled() as signals, suppress(Stopped):
        Controller(Grants(store), DiskMonitor(meter, LiveLimits(TINY)), signals).run(Notifier(store))
    log = logged(capsys, "Nothing is authorized")
    pauses_s = [after_s - before_s for before_s, after_s in pairwise(meter.measured_s)]
    fields = gate(store)
    assert log.count("WRONGTYPE") == 1
    assert re.search(
        r"ERROR +controller key_unusable: .* Nothing is authorized until that is corrected\.", log
    )
    assert min(pauses_s) < scaled(1.5)
    assert fields["state"] == "open"
    assert begun_s <= float(fields["since_s"]) < float(fields["heartbeat_s"]) <= time.time()


def test_a_refusal_that_comes_again_is_logged_again_at_once(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it lasts, once a minute; after a round that went well it is a new one."""
    with handled() as signals, suppress(Stopped):
        monitor = DiskMonitor(DiskMeter([Watch(str(tmp_path))]), LiveLimits(TINY))
        Controller(ChangingGrants(store), monitor, signals).run(Notifier(store))

    logged(capsys, "key_unusable", 2)


def test_an_auth_of_another_type_is_replaced(store: Store, make: Make) -> None:
    """A hash in AUTH authorizes nothing, so a grant takes its place."""
    store.redis.hset(store.keys.auth, "x", "y")
    store.redis.rpush(store.keys.next, "/1")

    assert make().step() == 1
    assert store.redis.get(store.keys.auth) == b"/1"


def test_the_disks_are_measured_every_second_while_a_file_is_fed(store: Store, tmp_path: Path) -> None:
    """A full disk has to suspend within 1.5 s: this second, and half a second of the dispatcher."""
    store.redis.sadd(store.keys.dispatchers, "a")
    store.redis.hset(store.keys.current("a"), mapping={"name": "/1", "state": "feeding"})
    meter = RecordingMeter([Watch(str(tmp_path))])

    grants = CountingGrants(store)
    with handled() as signals, suppress(Stopped):
        monitor = DiskMonitor(meter, LiveLimits(TINY))
        Controller(grants, monitor, signals).run(Notifier(store))

    pauses_s = [after_s - before_s for before_s, after_s in pairwise(meter.measured_s)]
    assert min(pauses_s) > 0.9
    assert min(pauses_s) < scaled(1.5)
    assert grants.rounds < 3 * len(meter.measured_s)  # about a round a second, no busy loop


def test_an_idle_controller_does_not_measure_in_each_round(store: Store, tmp_path: Path) -> None:
    """A requested file needs a new measurement, the heartbeat does not."""
    meter = RecordingMeter([Watch(str(tmp_path))])
    with handled() as signals:
        controller = Controller(Grants(store), DiskMonitor(meter, LiveLimits(TINY)), signals)
        controller.step()
        controller.step()
        assert len(meter.measured_s) == 1

        wait_until(lambda: time.monotonic() - meter.measured_s[0] > BUSY_S, "the measurement to be old")
        controller.step()
        assert len(meter.measured_s) == 1

        store.redis.rpush(store.keys.next, "/1")
        controller.step()
        assert len(meter.measured_s) == 2


def test_limits_out_of_order_on_the_disk_are_refused_at_the_start(make: Make, tmp_path: Path) -> None:
    """With the numbers of this disk."""
    with pytest.raises(ConfigError, match="bytes"):
        make(min_free="40%", resume_free="1")

    assert make(min_free=times_free(tmp_path, 0.1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with a tmpfs of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        missing("only root may mount a small tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_real_disk_that_fills_holds_then_suspends_then_recovers(
    store: Store, make: Make, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 4 MiB tmpfs, filled by a file and freed again.

    The log has each transition with its reason, and how fast the disk fills only where it got worse.
    """
    controller = make(path=small_disk, min_free="25%")  # hold below 1 MiB, suspend below 0.5, open from 1.5
    for filled_kib, state in (
        (0, "open"),
        (3300, "hold"),
        (3700, "suspended"),
        (3300, "suspended"),
        (2700, "hold"),
        (1000, "open"),
    ):
        (small_disk / "log").write_bytes(bytes(filled_kib << 10))
        wait_until(partial(shows, controller, store, state, 4096 - filled_kib), f"the gate to be {state}")
    logged = re.findall(r" gate_(\w+) .*: '.*' (has .*)", capsys.readouterr().err)
    assert [word for word, _ in logged] == ["open", "hold", "suspended", "hold", "open"]
    assert not any(str(small_disk) in logged[number][1] for number in (0, 3, 4))


def register_feeding(store: Store) -> None:
    """Register a dispatcher that has a file."""
    store.redis.sadd(store.keys.dispatchers, "one")
    store.redis.hset(store.keys.current("one"), "name", "/1")


def test_a_disk_that_fills_while_nothing_is_fed_is_measured_every_second(
    store: Store, small_disk: Path
) -> None:
    """An analyzer writes long after its last input; a changed limit is measured once, as on an idle disk."""
    meter = RecordingMeter([Watch(str(small_disk))])
    with handled() as signals:
        controller = Controller(Grants(store), DiskMonitor(meter, LiveLimits(TINY)), signals)
        for wanted, filled_kib in ((2, 0), (3, 3000)):
            controller.step()
            wait_until(lambda: time.monotonic() - meter.measured_s[-1] > BUSY_S, "a second to pass")
            controller.step()
            assert len(meter.measured_s) == wanted - 1
            (small_disk / "log").write_bytes(bytes(filled_kib << 10))
            set_live(store, resume_after=f"{wanted}s")
            controller.step()
            assert len(meter.measured_s) == wanted
        wait_until(lambda: time.monotonic() - meter.measured_s[-1] > BUSY_S, "a second to pass")
        with suppress(Stopped):  # the fourth measurement ends the controller
            controller.step()

    assert len(meter.measured_s) == 4


@pytest.mark.parametrize("is_fed", [True, False], ids=["while a file is fed", "after a message"])
def test_a_disk_near_its_limit_is_measured_between_rounds(
    store: Store, tmp_path: Path, *, is_fed: bool
) -> None:
    """More often than there are rounds: an analyzer may begin to write. The 20th measurement is the last."""
    if is_fed:
        register_feeding(store)
    near = LiveLimits({**TINY, "min-free": times_free(tmp_path, 0.999), "suspend-free": "1"}, force=True)
    grants, meter = CountingGrants(store), RecordingMeter([Watch(str(tmp_path))], last=20)
    with handled() as signals, suppress(Stopped):
        Controller(grants, DiskMonitor(meter, near), signals).run(Notifier(store))

    assert len(meter.measured_s) >= 20
    assert grants.rounds <= 10


def test_the_folder_below_an_unmounted_disk_counts_as_full(
    store: Store, make: Make, small_disk: Path
) -> None:
    """Also for the next controller, until the operator accepts it."""
    out = small_disk / "out"
    out.mkdir()
    controller = make(path=out)
    controller.step()
    assert gate(store)["state"] == "open"

    subprocess.run(["umount", "--lazy", str(small_disk)], check=True)
    out.mkdir()
    try:
        wait_until(lambda: measured_state(controller, store) == "suspended", "the disk to be missed")
        reason = gate(store)["reason"]
        assert f"is not on the file system mounted at '{small_disk}' any more" in reason
        assert "pcapdj gate accept" in reason

        successor = make(path=out)
        assert measured_state(successor, store) == "suspended"
        store.redis.hset(store.keys.control, "accept", "1")
        assert measured_state(successor, store) == "open"
        assert measured_state(make(path=out), store) == "open"
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(small_disk)], check=True)


def test_a_controller_that_starts_while_the_disk_is_unmounted_does_not_measure_its_parent(
    store: Store, make: Make, small_disk: Path
) -> None:
    """The folder of the output went with the disk; an operator who removed it is not held up."""
    out = small_disk / "out"
    out.mkdir()
    assert measured_state(make(path=out, or_parent=True), store) == "open"
    out.rmdir()
    assert measured_state(make(path=out, or_parent=True), store) == "open"

    subprocess.run(["umount", str(small_disk)], check=True)
    try:
        controller = make(path=out, or_parent=True)
        assert measured_state(controller, store) == "suspended"
        assert f"is not on the file system mounted at '{small_disk}' any more" in gate(store)["reason"]
        store.redis.hset(store.keys.control, "accept", "1")
        assert measured_state(controller, store) == "open"
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(small_disk)], check=True)


def measured_state(controller: Controller, store: Store) -> str:
    """Run a round with a request, so that it measures; return the gate's state."""
    store.redis.rpush(store.keys.next, "/1")
    controller.step()
    return gate(store)["state"]


class PublishedStates(CountingGrants):
    """Notes each published state with the round in which it was published."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.states: list[tuple[int, object]] = []

    def publish(self, fields: Mapping[str, str | float], *, suspended: bool, message: str = "") -> None:
        """Publish as the controller does."""
        self.states.append((self.rounds, fields["state"]))
        super().publish(fields, suspended=suspended, message=message)


class FillingMeter(DiskMeter):
    """Fills a disk before the third measurement; the fourth one ends the controller."""

    measured = filled_in_round = 0

    def __init__(self, disk: Path, grants: CountingGrants) -> None:
        super().__init__([Watch(str(disk))])
        self._disk, self._grants = disk, grants

    def measure(self) -> Samples:
        """Measure the disk as it is."""
        self.measured += 1
        if self.measured == 3:
            (self._disk / "log").write_bytes(bytes(3900 << 10))
            self.filled_in_round = self._grants.rounds
        if self.measured == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().measure()


def test_a_disk_that_fills_between_two_rounds_suspends_at_once(store: Store, small_disk: Path) -> None:
    """The suspension is in Redis before the next round begins."""
    register_feeding(store)
    limits = LiveLimits({**TINY, "min-free": "25%"})
    grants = PublishedStates(store)
    meter = FillingMeter(small_disk, grants)
    with handled() as signals, suppress(Stopped):
        Controller(grants, DiskMonitor(meter, limits), signals).run(Notifier(store))

    assert (meter.filled_in_round, "suspended") in grants.states
    assert store.redis.smembers(store.keys.suspend) == {b"gate"}


def test_a_restarted_controller_knows_the_largest_fill_rate(
    store: Store, make: Make, small_disk: Path
) -> None:
    """It is among the fields of the gate."""
    store.redis.hset(store.keys.gate, "fill_rates", '{"largest": {"bytes": 7000000}, "fed_s": 60}')

    make(path=small_disk).step()

    assert json.loads(gate(store)["fill_rates"])["largest"]["bytes"] == 7_000_000


def shows(controller: Controller, store: Store, state: str, free_kib: int) -> bool:
    """Run a round with a request, so that it measures; report whether it saw this state and free space."""
    store.redis.rpush(store.keys.next, "/1")
    controller.step()
    seen = gate(store)
    return seen["state"] == state and int(seen["free_bytes"]) == free_kib << 10


def test_a_gate_that_an_operator_sets_counts_from_then_and_has_no_numbers_of_a_disk(
    store: Store, make: Make, tmp_path: Path
) -> None:
    """Also where its state stays: it is open for another reason now. A closed disk is in the reason."""
    controller = make()
    controller.step()
    opened_s = float(gate(store)["since_s"])
    assert (gate(store)["cause"], gate(store)["path"]) == ("resources", str(tmp_path))

    set_live(store, gate="open")
    controller.step()

    shown = gate(store)
    assert (shown["state"], shown["cause"], shown["path"]) == ("open", "operator", "")
    assert (shown["free_bytes"], shown["needed_bytes"]) == ("0", "0")
    assert float(shown["since_s"]) > opened_s
    assert shown["reason"].startswith("An operator opened it: files start whatever the disks have, until ")

    set_live(store, min_free=times_free(tmp_path, 1.5))
    make(min_free=times_free(tmp_path, 1.5)).step()
    assert gate(store)["since_s"] == shown["since_s"]
    assert re.match(r"An operator opened it, although '\S+' has .* free, below ", gate(store)["reason"])


def test_a_disk_that_goes_away_while_the_gate_is_closed_is_logged(
    store: Store, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state of the gate stays as it is; that it is back is logged, too."""
    folder = tmp_path / "out"
    folder.mkdir()
    controller = make(path=folder, min_free=times_free(tmp_path, 4), suspend_free=times_free(tmp_path, 2))
    assert measured_state(controller, store) == "suspended"

    folder.rmdir()
    wait_until(lambda: measured_reason(controller, store).startswith(f"'{folder}' is not there"), "the loss")
    folder.mkdir()
    wait_until(lambda: "is not there" not in measured_reason(controller, store), "the return")

    log = logged(capsys, "measured_again")
    assert f"WARNING controller cannot_measure path={folder}: '{folder}' is not there, which counts" in log
    assert log.count("gate_suspended") == 1


def measured_reason(controller: Controller, store: Store) -> str:
    """Run a round with a request, so that it measures; return the gate's reason."""
    measured_state(controller, store)
    return gate(store)["reason"]


def request(store: Store, name: str, input_bytes: int) -> None:
    """Request a file as a dispatcher of ours does."""
    store.redis.sadd(store.keys.dispatchers, "one")
    fields = {"name": name, "state": "asked", "input_bytes": input_bytes, "compression": ""}
    store.redis.hset(store.keys.current("one"), mapping=dict[Any, Any](fields))
    store.redis.delete(store.keys.next)
    store.redis.rpush(store.keys.next, name)


def test_a_file_whose_output_does_not_fit_holds_the_gate_and_each_such_file_is_logged(
    store: Store, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 4 MiB, 1 MiB is its min-free. The live reserve lets it pass."""
    limits = LiveLimits({**TINY, "min-free": "25%", "reserve": "2"})
    with handled() as signals:
        meter = DiskMeter([Watch(str(small_disk))], logdir=str(small_disk))
        controller = Controller(Grants(store), DiskMonitor(meter, limits), signals)
        request(store, "/in/1.pcap", 1 << 20)
        assert controller.step() == 1
        store.redis.delete(store.keys.auth)

        (small_disk / "log").write_bytes(bytes(2 << 20))
        wait_until(lambda: measured_reason_of(controller, store, "/in/2.pcap", 1 << 20), "the hold")
        shown = gate(store)
        assert (shown["state"], shown["cause"], shown["path"]) == ("hold", "reserve", str(small_disk))
        assert int(shown["needed_bytes"]) == 3 << 20
        assert "2.0 MiB" in shown["reason"]
        request(store, "/in/3.pcap", 1 << 30)
        wait_until(lambda: controller.step() or "it never fits" in gate(store)["reason"], "its reason")

        store.redis.hset(store.keys.control, "reserve", "off")
        assert controller.step() == 1
        assert gate(store)["state"] == "open"

    log = logged(capsys, "gate_hold", 2)
    assert re.search(r"gate_hold path=\S+ .*: The next file '2\.pcap' \(1\.0 MiB\) needs about 2\.0 MiB", log)
    assert re.search(r"gate_hold path=\S+ .*: The next file '3\.pcap' .* it never fits", log)


def measured_reason_of(controller: Controller, store: Store, name: str, input_bytes: int) -> bool:
    """Run a round with this request; report whether its output does not fit."""
    request(store, name, input_bytes)
    return controller.step() == 0 and gate(store)["cause"] == "reserve"


def test_a_foreign_request_is_authorized_without_a_reserve(store: Store, small_disk: Path) -> None:
    """Its size is not known; a number that no file has counts as unknown, too."""
    limits = LiveLimits({**TINY, "min-free": "25%", "reserve": "1000"})
    with handled() as signals:
        meter = DiskMeter([Watch(str(small_disk))], logdir=str(small_disk))
        controller = Controller(Grants(store), DiskMonitor(meter, limits), signals)
        store.redis.rpush(store.keys.next, b"/in/\xff\n")
        assert controller.step() == 1
        store.redis.delete(store.keys.auth)
        request(store, "/in/1.pcap", 0)
        store.redis.hset(store.keys.current("one"), "input_bytes", "9" * 400)
        assert controller.step() == 1


def test_a_file_that_is_authorized_counts_until_its_dispatcher_has_fed_it(
    store: Store, small_disk: Path
) -> None:
    """Two of 1 MiB fit above min-free, a third one of 2 MiB does not."""
    limits = LiveLimits({**TINY, "min-free": "25%", "reserve": "1"})
    with handled() as signals:
        meter = DiskMeter([Watch(str(small_disk))], logdir=str(small_disk))
        controller = Controller(Grants(store, "set"), DiskMonitor(meter, limits), signals)
        request(store, "/in/1.pcap", 1 << 20)
        assert controller.step() == 1
        store.redis.sadd(store.keys.dispatchers, "two")
        store.redis.hset(store.keys.current("two"), mapping={"name": "/in/2.pcap", "input_bytes": 3 << 20})
        store.redis.rpush(store.keys.next, "/in/2.pcap")
        assert controller.step() == 0
        wait_until(lambda: controller.step() or gate(store)["cause"] == "reserve", "the hold")
        assert "beside 1.0 MiB for files in flight" in gate(store)["reason"]

        store.redis.delete(store.keys.current("one"))
        assert controller.step() == 1


def test_an_output_key_of_another_type_keeps_no_disk_from_being_measured(
    store: Store, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reserve is not learned, which is logged once; files are authorized."""
    store.redis.set(store.keys.output, "x")
    limits = LiveLimits({**TINY, "min-free": "25%", "reserve": "auto"})
    with handled() as signals:
        meter = DiskMeter([Watch(str(small_disk))], logdir=str(small_disk))
        controller = Controller(Grants(store), DiskMonitor(meter, limits), signals)
        request(store, "/in/1.pcap", 1 << 20)
        assert controller.step() == 1
        controller.step()

    assert logged(capsys, "reserve_not_learned").count("reserve_not_learned") == 1
