"""Every capture once: renamed, linked, touched, compressed, grown, cut off and overwritten files."""

import gzip
import json
import os
import signal
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.captures import RAW_IP, classic, enhanced, interface, records_of, section
from support.cases import some_long
from support.dispatcher_rig import journal, queue_as_imported
from support.roles_rig import HEADER_BYTES, Trio, numbered, places, places_in
from support.waiting import wait_until

from pcapdj.capture.fed_before import SameCapture
from pcapdj.capture.files import Identity, OpenFile
from pcapdj.capture.identity import FIRST_BYTES, FedCapture, QueuedFile, digest_of, kept_under
from pcapdj.capture.opening import capture_of
from pcapdj.feed.known_captures import KnownCaptures
from pcapdj.store.captures import candidates, write_captures
from pcapdj.store.job_queue import QueueEntry

OLD = (1_600_000_000, 1_600_000_000)
BIG = 4000  # packets of 900 bytes: pipe and batch hold less than half of them


def put(trio: Trio, name: str, content: bytes, time_s: int = 0) -> Path:
    """Write a complete file."""
    path = trio.captures / name
    path.write_bytes(content)
    os.utime(path, (OLD[0] + time_s, OLD[0] + time_s))
    return path


def offer(trio: Trio, *paths: Path, again: bool = False) -> None:
    """Queue files as the importer does."""
    queue_as_imported(trio.store, *map(os.fsencode, paths), again=again)
    trio.store.notify("queued")


def feed(trio: Trio, *paths: Path, again: bool = False) -> dict[str, bytes]:
    """Queue files as the importer does, and wait for the result of the last one."""
    before = len(journal(trio.store))
    offer(trio, *paths, again=again)
    return finished(trio, before + len(paths))


def finished(trio: Trio, count: int) -> dict[str, bytes]:
    """Wait until so many files are finished; return what the journal has of the last one."""
    wait_until(lambda: len(journal(trio.store)) >= count, f"{count} files to be finished")
    [*_, last] = journal(trio.store)
    assert len(journal(trio.store)) == count
    return last


def arrived(trio: Trio) -> list[tuple[int, int]]:
    """Return file and place of every packet that the analyzers got, once the last one has copied all."""
    return [place for stream in streams(trio) for place in places_in(stream)]


def streams(trio: Trio) -> list[bytes]:
    """Return the streams that the analyzers got, once the last one has copied all."""
    entries = [each for each in journal(trio.store) if each["stream"]]
    if entries:
        copy, end = f"*-{entries[-1]['stream'].decode()}/copy", int(entries[-1]["stream_end"])
        wait_until(lambda: next(trio.out.glob(copy)).stat().st_size >= end, "the analyzer to write all")
    return trio.streams()


def failures(trio: Trio) -> list[dict[str, Any]]:
    """Return the entries of FAILED."""
    return [json.loads(each) for each in trio.store.redis.lrange(trio.store.keys.failed, 0, -1)]


def fed(trio: Trio, path: Path) -> dict[str, Any]:
    """Return what FED has of a file."""
    return dict(json.loads(trio.store.redis.hget(trio.store.keys.fed, os.fsencode(path)) or b"{}"))


def classic_of(file: int, count: int) -> bytes:
    """Return a capture of numbered packets."""
    return classic(numbered(file, count))


def nanoseconds(file: int, count: int) -> bytes:
    """Return a big-endian capture with nanoseconds."""
    return classic(numbered(file, count), 0xA1B23C4D, ">")


def pcapng(file: int, count: int) -> bytes:
    """Return the same packets as pcapng, the second half on a second interface described in the middle."""
    blocks = [
        enhanced(n, each.data, 0 if n < count // 2 else 1) for n, each in enumerate(numbered(file, count))
    ]
    middle = count // 2
    return section() + interface() + b"".join([*blocks[:middle], interface(), *blocks[middle:]])


FORMS = {"classic": classic_of, "nanoseconds": nanoseconds, "pcapng": pcapng}


@pytest.fixture
def service(trio: Trio) -> Trio:
    """Return roles that run."""
    trio.start_all()
    return trio


@pytest.mark.long
def test_renamed_linked_grown_and_compressed_captures_arrive_once(service: Trio) -> None:
    """Of five captures one is touched and grown by five packets: 105 packets, each once."""
    for number in range(5):
        feed(service, put(service, f"{number}.pcap", classic_of(number, 20)))
    folder = service.captures
    (folder / "0.pcap").rename(folder / "renamed.pcap")
    os.link(folder / "1.pcap", folder / "link.pcap")
    put(service, "2.pcap", classic_of(2, 25), time_s=5)
    (folder / "3.pcap").rename(folder / "3.pcap.filepart")
    (folder / "3.pcap.filepart").rename(folder / "3b.pcap")
    put(service, "4.pcap.gz", gzip.compress((folder / "4.pcap").read_bytes()))
    (folder / "4.pcap").unlink()

    names = ["renamed.pcap", "link.pcap", "2.pcap", "3b.pcap", "4.pcap.gz"]
    feed(service, *(folder / name for name in names))

    assert arrived(service) == [*[place for n in range(5) for place in places(n, 20)], *places(2, 25)[20:]]
    about = [(each["known_as"], each["packets"]) for each in journal(service.store)[5:] if "known_as" in each]
    known = [os.fsencode(folder / f"{number}.pcap") for number in (0, 1, 3, 4)]
    assert about == [(name, b"0") for name in known]
    assert len(service.store.redis.lrange(service.store.keys.processed, 0, -1)) == 10
    assert not failures(service)
    assert "It is the same capture as" in service.logged("dispatcher")
    wait_until(lambda: service.statistics()["known"] == 4, "the statistics to show it")
    assert service.statistics()["files"] == 6


@pytest.mark.long
def test_short_captures_that_all_begin_alike_are_each_known(service: Trio) -> None:
    """The first 40 bytes of short pcapng captures are the same blocks; their copies arrive in any order."""
    contents = [section() + interface() + enhanced(0, numbered(n, 1, 8)[0].data) for n in range(20)]
    feed(service, *[put(service, f"{n}.pcapng", each) for n, each in enumerate(contents)])
    feed(service, *[put(service, f"{n}.pcapng.gz", gzip.compress(contents[n])) for n in range(20)])
    known = [entry.get("known_as") for entry in journal(service.store)[20:]]
    assert known == [os.fsencode(service.captures / f"{n}.pcapng") for n in range(20)]
    assert arrived(service) == [place for n in range(20) for place in places(n, 1)]


@pytest.mark.parametrize("form", some_long(FORMS, quick=("pcapng",)))
@pytest.mark.parametrize(
    "pack", some_long([bytes, gzip.compress], quick=(gzip.compress,)), ids=["plain", "gzip"]
)
def test_of_a_file_that_grew_only_the_rest_is_fed(
    service: Trio, form: str, pack: Callable[[bytes], bytes]
) -> None:
    """As its own entry of the journal; what is behind it makes the whole file known."""
    whole = FORMS[form](1, 40)
    begun = FORMS[form](1, 40)[: whole.index(numbered(1, 40)[30].data) - (28 if form == "pcapng" else 16)]
    path = put(service, "a.pcap", pack(begun))
    assert feed(service, path)["packets"] == b"30"
    put(service, "a.pcap", pack(whole), time_s=5)

    entry = feed(service, path)

    assert (entry["packets"], entry["begin_bytes"]) == (b"10", str(len(begun)).encode())
    assert (entry["length_bytes"], int(entry["crc32"])) == (str(len(whole)).encode(), zlib.crc32(whole))
    assert arrived(service) == places(1, 40)
    assert feed(service, put(service, "copy.pcap", whole))["known_as"] == os.fsencode(path)


@pytest.mark.long
def test_the_rest_of_a_file_goes_into_the_next_stream_if_its_own_is_over(service: Trio) -> None:
    """The next stream begins with the first packet behind what was fed."""
    path = put(service, "a.pcap", classic_of(1, 30))
    feed(service, path)
    service.store.redis.set(service.store.keys.finish, "now")
    wait_until(lambda: not service.store.redis.exists(service.store.keys.finish), "the end of the stream")
    put(service, "a.pcap", classic_of(1, 40), time_s=5)
    feed(service, path)
    assert [places_in(stream) for stream in streams(service)] == [places(1, 30), places(1, 40)[30:]]


@pytest.mark.parametrize("form", some_long(FORMS, quick=("nanoseconds",)))
@pytest.mark.parametrize(
    "pack", some_long([bytes, gzip.compress], quick=(gzip.compress,)), ids=["plain", "gzip"]
)
def test_a_file_that_was_cut_off_goes_on_when_it_is_complete(
    service: Trio, form: str, pack: Callable[[bytes], bytes]
) -> None:
    """It fails with what was good of it, also twice; then only what was missing is fed."""
    whole = FORMS[form](1, 40)
    path = put(service, "a.pcap", pack(whole[: whole.index(numbered(1, 40)[30].data) + 5]))
    assert feed(service, path)["packets"] == b"30"
    os.utime(path, (OLD[0] + 2, OLD[0] + 2))
    assert feed(service, path)["packets"] == b"0"
    assert "file ends inside" in failures(service)[0]["reason"]
    put(service, "a.pcap", pack(whole), time_s=5)

    entry = feed(service, path)

    assert (entry["verdict"], entry["packets"]) == (b"processed", b"10")
    assert arrived(service) == places(1, 40)
    assert not failures(service)


@pytest.mark.parametrize("death", some_long(["", "dispatcher"], quick=("dispatcher",)))
def test_a_file_that_grows_while_it_is_read_goes_on_behind_what_was_read(trio: Trio, death: str) -> None:
    """It fails with the packets that it had; the rest is fed when it is queued again.

    Also if it grew while no dispatcher ran.
    """
    trio.brake.touch()
    trio.start_all()
    path = put(trio, "a.pcap", classic_of(1, BIG))
    offer(trio, path)
    trio.await_copied(30_000)
    if death:
        trio.kill(death)
    put(trio, "a.pcap", classic_of(1, BIG + 100), time_s=5)
    if death:
        trio.start(death)
    trio.brake.unlink()
    assert finished(trio, 1)["packets"] == str(BIG).encode()
    assert "changed while it was read" in failures(trio)[0]["reason"]

    assert feed(trio, path)["packets"] == b"100"

    assert arrived(trio) == places(1, BIG + 100)
    assert not failures(trio)


@pytest.mark.long
def test_a_file_with_other_damage_is_fed_whole_again(service: Trio) -> None:
    """Only what is missing at its end may come later, even if all before the damage is as it was."""
    content = classic_of(1, 40)
    good = classic_of(1, 22)
    path = put(service, "a.pcap", good + b"\xff" * 2000 + content[len(good) + 2000 :])
    first = feed(service, path)
    assert first["verdict"] == b"failed"
    put(service, "a.pcap", content, time_s=5)
    assert feed(service, path)["packets"] == b"40"
    assert arrived(service) == [*places(1, int(first["packets"])), *places(1, 40)]


@pytest.mark.parametrize("push", some_long(["again", "foreign"], quick=("foreign",)))
def test_what_a_person_queues_is_fed_whole(service: Trio, push: str) -> None:
    """`import --again`, `requeue`, `failed --retry`, and scripts of their own."""
    path = put(service, "a.pcap", classic_of(1, 20))
    feed(service, path)
    if push == "again":
        feed(service, path, again=True)
    else:
        service.queue(path)
        finished(service, 2)
    assert arrived(service) == places(1, 20) * 2


def test_a_shorter_cut_of_a_fed_capture_is_fed_whole_and_reported(service: Trio) -> None:
    """Why its packets are there twice stands in the log and in the journal."""
    long = put(service, "long.pcap", classic_of(1, 200))
    feed(service, long)
    entry = feed(service, put(service, "short.pcap", classic_of(1, 100)))
    assert (entry["packets"], entry["begins_as"]) == (b"100", os.fsencode(long))
    assert arrived(service) == places(1, 200) + places(1, 100)
    wait_until(lambda: "capture_shorter" in service.logged("dispatcher"), "it to be logged")


def test_captures_without_packets_are_never_compared(service: Trio) -> None:
    """Nothing of them can be there twice."""
    for number in range(2):
        entry = feed(service, put(service, f"{number}.pcapng", section() + interface()))
        assert (entry["verdict"], entry.get("known_as")) == (b"processed", None)
    assert not service.store.redis.exists(service.store.keys.captures)


def test_what_was_queued_is_what_is_fed(trio: Trio) -> None:
    """A ring of files that wrapped: the lost captures fail, the new ones come in their own order."""
    ring = [put(trio, f"r{number}.pcap", classic_of(number, 20)) for number in range(3)]
    offer(trio, *ring)
    for number in range(2):
        put(trio, f"r{number}.pcap", classic_of(10 + number, 20), time_s=60)
    offer(trio, *ring[:2])
    trio.start_all()
    finished(trio, 5)

    assert arrived(trio) == [*places(2, 20), *places(10, 20), *places(11, 20)]
    lost = [(each["name"], each["reason"], each.get("lost"), each["packets"]) for each in failures(trio)]
    assert lost == [(str(path), "overwritten before it was fed", True, 0) for path in ring[:2]]
    assert [each["verdict"] for each in journal(trio.store)] == [b"failed"] * 2 + [b"processed"] * 3
    assert fed(trio, ring[0])["result"] == "processed"


@pytest.mark.parametrize(
    "now", some_long([b"", b"no capture at all", classic_of(9, 5)[:20]], quick=(b"no capture at all",))
)
def test_a_capture_is_lost_too_if_what_has_its_name_cannot_be_read(trio: Trio, now: bytes) -> None:
    """A writer has emptied it, and begins anew."""
    path = put(trio, "r.pcap", classic_of(1, 20))
    offer(trio, path)
    put(trio, "r.pcap", now, time_s=60)
    trio.start_all()
    finished(trio, 1)
    assert [(each["reason"], each["lost"]) for each in failures(trio)] == [
        ("overwritten before it was fed", True)
    ]
    assert fed(trio, path) == {}


def test_a_capture_whose_name_another_one_is_written_under_is_lost(trio: Trio) -> None:
    """The writer has it open; a writer that appends to it is no reason."""
    lost, grows = (put(trio, name, classic_of(1, 20)) for name in ("lost.pcap", "grows.pcap"))
    offer(trio, lost, grows)
    with lost.open("wb") as other, grows.open("ab") as same:
        other.write(classic_of(2, 5))
        other.flush()
        same.write(b"begun")
        same.flush()
        trio.start_all()
        finished(trio, 2)
    reasons = {Path(each["name"]).name: each["reason"] for each in failures(trio)}
    assert reasons == {"lost.pcap": "overwritten before it was fed", "grows.pcap": "is still being written"}


@pytest.mark.parametrize("now", some_long(["other", "empty", "grown"], quick=("grown",)))
def test_a_file_is_compared_again_once_it_is_authorized(trio: Trio, now: str) -> None:
    """The dispatcher had it open while the gate held: it was overwritten in place, or has grown."""
    for role in ("consumer", "dispatcher"):
        trio.start(role)
    path = put(trio, "a.pcap", classic_of(1, 20))
    offer(trio, path)
    trio.wait_logged("dispatcher", "waiting_for_authorization")
    contents = {"other": classic_of(2, 20), "empty": b"", "grown": classic_of(1, 30)}
    put(trio, "a.pcap", contents[now], time_s=60)
    trio.start("controller")
    finished(trio, 1)

    if now == "grown":
        assert (arrived(trio), failures(trio)) == (places(1, 30), [])
        return
    assert [(each["reason"], each["lost"]) for each in failures(trio)] == [
        ("overwritten before it was fed", True)
    ]
    assert arrived(trio) == []


def test_a_pushed_name_is_fed_as_it_is_once_it_is_authorized(trio: Trio) -> None:
    """Nothing is known of what another program pushed."""
    for role in ("consumer", "dispatcher"):
        trio.start(role)
    path = put(trio, "a.pcap", classic_of(1, 20))
    trio.queue(path)
    trio.wait_logged("dispatcher", "waiting_for_authorization")
    put(trio, "a.pcap", classic_of(2, 20), time_s=60)
    trio.start("controller")
    finished(trio, 1)
    assert arrived(trio) == places(2, 20)


@pytest.mark.long
def test_a_file_that_only_grew_while_it_was_queued_is_fed_whole(trio: Trio) -> None:
    """It is the file that was queued."""
    path = put(trio, "a.pcap", classic_of(1, 20))
    offer(trio, path)
    put(trio, "a.pcap", classic_of(1, 30), time_s=60)
    trio.start_all()
    finished(trio, 1)
    assert arrived(trio) == places(1, 30)


@pytest.mark.long
@pytest.mark.parametrize("who", ["dispatcher", "consumer"])
def test_the_rest_of_a_file_that_grew_survives_crashes(trio: Trio, who: str) -> None:
    """A dispatcher that takes over goes on at the record; a new analyzer gets the rest, and only the rest."""
    path = put(trio, "a.pcap", classic_of(1, 50))
    trio.start_all()
    feed(trio, path)
    first_bytes = len(classic_of(1, 50))
    trio.brake.touch()
    put(trio, "a.pcap", classic_of(1, 50 + BIG), time_s=5)
    offer(trio, path)
    trio.await_copied(first_bytes + 1)
    trio.kill(who)
    if who == "consumer":
        trio.brake.unlink()
        trio.start(who)
        entry = finished(trio, 2)
        assert entry["attempt"] == b"2"
        assert places_in(streams(trio)[-1]) == places(1, 50 + BIG)[50:]
    else:
        trio.start(who)
        trio.brake.unlink()
        entry = finished(trio, 2)
        assert arrived(trio) == places(1, 50 + BIG)
    content = classic_of(1, 50 + BIG)
    assert (int(entry["crc32"]), int(entry["begin_bytes"])) == (zlib.crc32(content), first_bytes)


@pytest.mark.long
def test_a_file_that_grows_after_an_orderly_stop_goes_on_behind_what_was_fed(trio: Trio) -> None:
    """It fails with the packets that the first stream has; the others are fed when it is queued again."""
    trio.brake.touch()
    trio.start_all()
    path = put(trio, "a.pcap", classic_of(1, BIG))
    offer(trio, path)
    trio.await_copied(30_000)
    trio.brake.unlink()
    for role in ("dispatcher", "consumer"):
        trio.kill(role, signal.SIGTERM)
    put(trio, "a.pcap", classic_of(1, BIG + 100), time_s=5)
    for role in ("consumer", "dispatcher"):
        trio.start(role)
    count = int(finished(trio, 1)["packets"])
    assert 0 < count < BIG
    assert "changed while it was read" in failures(trio)[0]["reason"]
    assert fed(trio, path)["size_bytes"] == len(classic_of(1, BIG))

    assert int(feed(trio, path)["packets"]) == BIG + 100 - count

    assert arrived(trio) == places(1, BIG + 100)
    assert not failures(trio)


@pytest.mark.long
def test_an_orderly_stop_in_the_rest_of_a_file_doubles_nothing(trio: Trio) -> None:
    """The next stream goes on at the record, and the journal has where the entry began."""
    path = put(trio, "a.pcap", classic_of(1, 50))
    trio.start_all()
    feed(trio, path)
    trio.brake.touch()
    content = classic_of(1, 50 + BIG)
    put(trio, "a.pcap", content, time_s=5)
    offer(trio, path)
    trio.await_copied(len(classic_of(1, 50)) + 1)
    trio.brake.unlink()
    for role in ("dispatcher", "consumer"):
        trio.kill(role, signal.SIGTERM)
    for role in ("consumer", "dispatcher"):
        trio.start(role)

    entry = finished(trio, 2)

    assert arrived(trio) == places(1, 50 + BIG)
    assert len(trio.streams()) == 2
    assert (int(entry["packets"]), int(entry["crc32"])) == (BIG, zlib.crc32(content))
    assert int(entry["begin_bytes"]) == len(classic_of(1, 50))


@pytest.mark.long
@pytest.mark.parametrize("loops", ["python", "compiled"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_take_over_in_mid_file_gives_the_same_checksum(
    trio: Trio, form: str, pack: Callable[[bytes], bytes], loops: str
) -> None:
    """Also with packets that the stream does not accept; the file is known afterwards as any other."""
    trio.environment["PCAPDJ_LOOPS"] = loops
    content = FORMS[form](1, BIG)
    if form == "pcapng":
        content += interface(RAW_IP) + enhanced(5, b"other", 2)
    path = put(trio, "a.pcap", pack(content))
    trio.brake.touch()
    trio.start_all()
    offer(trio, path)
    trio.await_copied(30_000)
    trio.kill("dispatcher")
    trio.start("dispatcher")
    trio.brake.unlink()
    finished(trio, 1)

    assert arrived(trio) == places(1, BIG)
    about = fed(trio, path)
    assert (about["crc32"], about["length_bytes"]) == (zlib.crc32(content), len(content))
    assert about["first"] == kept_under(content[:FIRST_BYTES], len(content))
    [kept] = candidates(trio.store, [about["first"]])
    assert (kept["name"], kept["is_whole"], kept["crc32"]) == (str(path), True, zlib.crc32(content))
    assert "known_as" in feed(trio, put(trio, "copy.pcap", content))


def test_a_file_that_is_known_needs_no_analyzer_and_no_authorization(trio: Trio) -> None:
    """It is processed while nothing else can be."""
    trio.start_all()
    path = put(trio, "a.pcap", classic_of(1, 20))
    feed(trio, path)
    assert records_of(trio.streams()[0][HEADER_BYTES:])
    for role in ("controller", "consumer"):
        trio.kill(role)
    entry = feed(trio, put(trio, "b.pcap", classic_of(1, 20)))
    assert (entry["known_as"], entry["stream"]) == (os.fsencode(path), b"")


def test_a_long_comparison_is_shown(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fed meanwhile, and `status` has the reason."""
    shown = list[str]()

    class Showing:
        def wait(self, timeout_s: float, *readable: object, stops: int = 1, waiting_for: str = "") -> None:
            del timeout_s, readable, stops
            shown.append(waiting_for)

    monkeypatch.setattr("pcapdj.feed.known_captures._SLOW_S", 0.0)
    content = classic_of(1, 100)
    path = put(trio, "a.pcap", content)
    fed = FedCapture("/fed", len(content), zlib.crc32(content), True, 0, 0, Identity(1, 2, 3, 4), 1.0)
    key = kept_under(content[:FIRST_BYTES], len(content))
    write_captures(trio.store, [(key, fed.as_fields())])
    queued = QueuedFile(Identity(0, 0, 0, 0), 0, digest_of(b""), "/", "boot")
    entry = QueueEntry(os.fsencode(path), "asked", 1, 0, "token", "", "", json.dumps(queued.as_fields()))
    file = OpenFile(os.open(path, os.O_RDONLY))
    known = KnownCaptures(trio.store, None, Showing())  # type: ignore[arg-type]  # nothing is opened
    with capture_of(os.fsencode(path), file) as capture:
        assert isinstance(known.find(entry, capture), SameCapture)
    assert set(shown) == {"Comparing 89.5 KiB with captures that were fed and begin alike."}

    shown.clear()
    monkeypatch.setattr("pcapdj.feed.known_captures._SLOW_S", 600.0)
    with capture_of(os.fsencode(path), OpenFile(os.open(path, os.O_RDONLY))) as capture:
        assert isinstance(known.find(entry, capture), SameCapture)
    assert set(shown) == {""}


def test_what_other_programs_write_about_fed_captures_is_not_believed(service: Trio) -> None:
    """Not lines that are no valid record, nor a record whose checksum is not that of the file's bytes."""
    content = classic_of(1, 100)
    key = kept_under(content[:FIRST_BYTES], len(content))
    good = FedCapture("/fed", len(content), zlib.crc32(content), True, 0, 0, Identity(1, 2, 3, 4), 1.0)
    wrong = good._replace(crc32=1).as_fields()
    lines = [b"no JSON", b"[" * 5000, b"{}", b"7", json.dumps(wrong).encode()]
    lines.append(json.dumps(good.as_fields() | {"name": "\ud800"}).encode())
    for name, value in (("length_bytes", 1 << 70), ("time_s", float("nan")), ("name", None), ("identity", 5)):
        lines.append(json.dumps(good.as_fields() | {name: value}).encode())
    service.store.redis.hset(service.store.keys.captures, key, b"\n".join(lines))

    entry = feed(service, put(service, "a.pcap", content))

    assert (entry["packets"], entry.get("known_as")) == (b"100", None)
    assert arrived(service) == places(1, 100)


def test_a_place_that_another_program_wrote_ends_in_a_failure(service: Trio) -> None:
    """The checksum is right, and the section is none: the file fails, and the next one is fed."""
    content = pcapng(1, 40)
    begun = content[: content.index(numbered(1, 40)[30].data) - 28]
    key = kept_under(begun, len(begun))
    forged = FedCapture("/fed", len(begun), zlib.crc32(begun), True, 44, 200, Identity(1, 2, 3, 4), 1.0)
    write_captures(service.store, [(key, forged.as_fields())])

    entry = feed(service, put(service, "a.pcapng", content))

    assert (entry["verdict"], entry["packets"]) == (b"failed", b"0")
    assert feed(service, put(service, "b.pcap", classic_of(2, 5)))["packets"] == b"5"
