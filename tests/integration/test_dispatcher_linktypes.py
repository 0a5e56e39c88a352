"""A file of another link type than the stream's: failed, the first of a new stream, or rewritten."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.captures import (
    Record,
    as_read,
    classic,
    cooked,
    enhanced,
    file_header,
    interface,
    record,
    records_of,
    section,
)
from support.dispatcher_rig import (
    Dispatchers,
    dispatchers_in,
    journal,
    listed,
    queue_authorized,
    stopped,
)
from support.roles_rig import Trio
from support.waiting import wait_until

from pcapdj.store.client import Store

HEADER = 24
ETHERNET, RAW_IP = [Record(1, 2, b"ethernet"), Record(3, 4, b"frames", 80)], [Record(5, 6, b"\x45raw", 40)]
IPV4 = bytes(12) + b"\x08\x00"  # the header of a frame that was made


@pytest.fixture
def rig(tmp_path: Path, store: Store) -> Iterator[Dispatchers]:
    """Return dispatchers of one pipe, with an analyzer by hand."""
    with dispatchers_in(tmp_path, store) as rig:
        yield rig


@pytest.fixture
def trio(trio: Trio) -> Trio:
    """Return a launcher that runs, and a dispatcher that does not yet."""
    trio.start("consumer")
    return trio


def failures(store: Store) -> dict[str, str]:
    """Return the reason of each failed file."""
    entries = [json.loads(entry) for entry in listed(store, store.keys.failed)]
    return {os.path.basename(entry["name"]): entry["reason"] for entry in entries}  # noqa: PTH119 - a name


def test_by_default_it_fails_with_both_names(rig: Dispatchers) -> None:
    """And the stream goes on with the next file."""
    queue_authorized(
        rig, {"a": classic(ETHERNET), "raw": classic(RAW_IP, linktype=101), "b": classic(ETHERNET)}
    )
    dispatcher = rig.start()

    stream = rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    assert records_of(stream[HEADER:]) == as_read(ETHERNET * 2)
    assert failures(rig.store) == {"raw": "is raw IP (101), but the stream is Ethernet (1)"}


@pytest.mark.parametrize("is_flag", [True, False])
def test_what_can_be_ethernet_is_rewritten(rig: Dispatchers, *, is_flag: bool) -> None:
    """Also what begins the stream; the journal counts what went into it, the rest is logged."""
    can = Record(9, 9, cooked(0x000C, b"can"))
    mixed = section() + b"".join(map(interface, (1, 0, 105))) + enhanced(10**6, b"ethernet", 0)
    names = queue_authorized(
        rig,
        {
            "raw": classic(RAW_IP, linktype=101),
            "a": classic(ETHERNET),
            "cooked": classic([Record(7, 8, cooked(0x0800, b"v4")), can], linktype=113),
            "wireless": classic(ETHERNET, linktype=105),
            "mixed": mixed + enhanced(10**6, b"\2\0\0\0null", 1) + enhanced(10**6, b"wireless", 2),
            "only can": classic([can], linktype=113),
        },
    )
    variables = {} if is_flag else {"PCAPDJ_ON_LINKTYPE": "ethernet"}
    dispatcher = rig.start(*(["--on-linktype", "ethernet"] if is_flag else []), environment=variables)

    stream = rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    sender = bytes(6) + b"\2\1\2\3\4\5\x08\x00"
    expected = [
        Record(5, 6, IPV4 + b"\x45raw", 54),
        *as_read(ETHERNET),
        Record(7, 8, sender + b"v4", 16),
        Record(1, 0, b"ethernet", 8),
        Record(1, 0, IPV4 + b"null", 18),
    ]
    assert int.from_bytes(stream[20:24], "little") == 1
    assert records_of(stream[HEADER:]) == expected
    assert failures(rig.store) == {"wireless": "is 802.11 (105), but the stream is Ethernet (1)"}
    assert listed(rig.store, rig.store.keys.processed) == [*names[:3], *names[4:]]
    counted = [
        tuple(int(entry[name]) for name in ("packets", "cap_lengths", "lengths"))
        for entry in journal(rig.store)
    ]
    assert counted == [(1, 18, 54), (2, 14, 88), (1, 16, 16), (0, 0, 0), (2, 26, 26), (0, 0, 0)]
    left_out = "packets skipped because they cannot be rewritten to Ethernet: "
    logged = [line.split(left_out)[1] for line in rig.logged().splitlines() if left_out in line]
    assert logged == ["1 of Linux cooked (113)", "1 of 802.11 (105)", "1 of Linux cooked (113)"]


def test_an_open_stream_gets_every_packet_that_fits(rig: Dispatchers) -> None:
    """Whatever the file's first packet is, and however long: what is wrong or left out is logged."""
    mixed = section() + interface(189) + interface() + enhanced(10**6, b"usb") + enhanced(10**6, b"fits", 1)
    long = file_header(snaplen=3) + record(Record(3, 4, b"longer"))
    names = queue_authorized(rig, {"a": classic(ETHERNET), "mixed": mixed, "long": long})
    dispatcher = rig.start()

    stream = rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    assert records_of(stream[HEADER:]) == as_read([*ETHERNET, Record(1, 0, b"fits"), Record(3, 4, b"longer")])
    assert listed(rig.store, rig.store.keys.processed) == names
    assert "packets skipped because of their link type: 1 of Linux USB (189)" in rig.logged()
    assert rig.logged().count("snaplen 3 is wrong: 1 packet is longer") == 1


def test_a_file_without_packets_is_never_at_fault(rig: Dispatchers) -> None:
    """Whatever link type its header has; and the first file with a packet decides that of the stream."""
    files = {"raw": classic([], linktype=101), "a": classic(ETHERNET), "wifi": classic([], linktype=105)}
    files["ng"] = section() + interface(105)
    names = queue_authorized(rig, files)
    dispatcher = rig.start()

    stream = rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    assert stream == classic(ETHERNET)
    assert listed(rig.store, rig.store.keys.processed) == names
    assert failures(rig.store) == {}


def test_by_hand_a_new_stream_waits_for_the_next_analyzer(rig: Dispatchers) -> None:
    """The old one sees its end, and nothing of the next stream while it still has the pipe open."""
    names = queue_authorized(rig, {"a": classic(ETHERNET), "raw": classic(RAW_IP, linktype=101)})
    dispatcher = rig.start("--on-linktype", "new-stream")
    first = rig.reader()

    first.read(len(classic(ETHERNET)))
    rig.wait_for("waiting until its reader")
    assert listed(rig.store, rig.store.keys.processed) == names[:1]
    assert first.read_to_end() == classic(ETHERNET)
    first.close()
    wait_until(lambda: "Waiting for an analyzer" in rig.logged().splitlines()[-1], "the pipe to be wanted")
    second = rig.reader()

    assert second.read_to_end() == classic(RAW_IP, linktype=101)
    assert dispatcher.wait() == 0
    assert listed(rig.store, rig.store.keys.processed) == names
    assert "The next file is raw IP (101), but the stream is Ethernet (1)." in rig.logged()


def test_a_stop_signal_ends_the_wait_for_the_old_analyzer(rig: Dispatchers) -> None:
    """Which may take as long as it likes to write out what it has."""
    queue_authorized(rig, {"a": classic(ETHERNET), "raw": classic(RAW_IP, linktype=101)})
    dispatcher = rig.start("--on-linktype", "new-stream")
    rig.reader().read(len(classic(ETHERNET)))
    rig.wait_for("waiting until its reader")

    assert stopped(dispatcher)[0] == 0


def test_each_change_of_link_type_is_a_new_stream(trio: Trio) -> None:
    """Equal neighbours share one. A file without packets neither ends one nor begins one."""
    kinds = {"1": 1, "2": 1, "3": 101, "empty": 1, "4": 101, "5": 113, "6": 1}
    files = {
        name: classic([] if name == "empty" else [Record(1, 2, name.encode())], linktype=linktype)
        for name, linktype in kinds.items()
    }
    paths = []
    for name, content in files.items():
        paths.append(trio.captures / name)
        paths[-1].write_bytes(content)
        os.utime(paths[-1], (1_600_000_000, 1_600_000_000))
    trio.start("controller")
    trio.start("dispatcher", "--on-linktype", "new-stream")
    trio.queue(*paths)

    trio.await_processed(len(paths))

    def expected(linktype: int, *names: str) -> bytes:
        return classic([Record(1, 2, name.encode()) for name in names], linktype=linktype)

    assert trio.streams() == [
        expected(1, "1", "2"),
        expected(101, "3", "4"),
        expected(113, "5"),
        expected(1, "6"),
    ]
    assert failures(trio.store) == {}


@pytest.mark.long
def test_the_stream_ends_before_the_file_of_another_link_type_is_asked_for(trio: Trio) -> None:
    """So the analyzer writes out what it has, and the gate measures with that, before a grant."""
    first, second = trio.captures / "1", trio.captures / "2"
    for path, content in ((first, classic(ETHERNET)), (second, classic(RAW_IP, linktype=228))):
        path.write_bytes(content)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    keys = trio.store.keys
    trio.store.redis.sadd(keys.auth, os.fsencode(first))
    trio.start("dispatcher", "--on-linktype", "new-stream")
    trio.queue(first, second)

    trio.wait_logged("consumer", " stream_ended ")

    wait_until(
        lambda: listed(trio.store, keys.next) == [os.fsencode(second)], "the next file to be asked for"
    )
    assert trio.streams() == [classic(ETHERNET)]
    logged = [line.split()[3].rstrip(":") for line in trio.logged("dispatcher").splitlines()]
    changes = logged.index("linktype_changes")
    assert logged[changes : changes + 3] == ["linktype_changes", "stream_ended", "waiting_for_authorization"]
    trio.store.redis.sadd(keys.auth, os.fsencode(second))
    trio.store.notify("authorized")
    trio.await_processed(2)
    wait_until(
        lambda: trio.streams() == [classic(ETHERNET), classic(RAW_IP, linktype=228)], "the second stream"
    )


@pytest.mark.long
def test_a_restart_between_two_files_keeps_the_stream_of_the_same_link_type(trio: Trio) -> None:
    """And ends it for another one."""
    paths = [trio.captures / name for name in "123"]
    for path, linktype in zip(paths, (101, 101, 1), strict=True):
        path.write_bytes(classic(RAW_IP, linktype=linktype))
        os.utime(path, (1_600_000_000, 1_600_000_000))
    trio.start("controller")
    for number, path in enumerate(paths, start=1):
        trio.start("dispatcher", "--on-linktype", "new-stream")
        trio.queue(path)
        trio.await_processed(number)
        trio.kill("dispatcher")

    whole: list[Any] = [classic(RAW_IP * 2, linktype=101), classic(RAW_IP)]
    wait_until(lambda: trio.streams() == whole, "both streams")
