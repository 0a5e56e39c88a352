"""`pcapdj skip` of the file that is fed: it ends at a record's end, and the next one follows it."""

import os
import signal
from threading import Thread

from support import forkserver
from support.dispatcher_rig import journal
from support.roles_rig import Trio, places, places_in
from support.waiting import wait_until

from pcapdj.store.events import read_events
from pcapdj.store.failures import all_failures

PACKETS = 4000  # of 900 bytes: pipe and batch hold less than half of a file


def test_the_file_that_is_fed_fails_with_its_packets_and_the_next_one_goes_on(trio: Trio) -> None:
    """The stream is whole; the file's numbers are those of what arrived; nothing is skipped twice."""
    trio.brake.touch()
    trio.start_all()
    first, second = trio.capture("1.pcap", 1, PACKETS), trio.capture("2.pcap", 2)
    trio.queue(first, second)
    wait_until(lambda: any(each.stat().st_size for each in trio.out.glob("*/copy")), "the analyzer to read")
    done = []
    url = trio.environment["PCAPDJ_REDIS_URL"]
    command = Thread(
        target=lambda: done.append(forkserver.run("pcapdj", "skip", "1.pcap", "--redis-url", url))
    )
    dispatcher = trio.working_pid("dispatcher")
    os.kill(dispatcher, signal.SIGSTOP)  # else it may remove the request between two looks
    command.start()
    wait_until(lambda: trio.store.redis.exists(trio.store.keys.skip), "the request")
    os.kill(dispatcher, signal.SIGCONT)
    wait_until(lambda: not trio.store.redis.exists(trio.store.keys.skip), "the dispatcher to see it")
    trio.brake.unlink()
    command.join()
    trio.await_processed(1)

    assert done[0].stdout == f"'{first}' is skipped; `pcapdj failed` lists it.\n"
    [failure], entries = list(all_failures(trio.store)), journal(trio.store)
    [stream] = [places_in(stream) for stream in trio.streams()]
    count = failure.fields["packets"]
    assert (failure.reason, failure.fields["name"]) == ("skipped by the operator", str(first))
    assert 0 < count < PACKETS
    assert stream == [*places(1, PACKETS)[:count], *places(2, 50)]
    assert [entry["first_packet"] for entry in entries] == [b"1", b"%d" % (count + 1)]
    assert [event.kind for event in read_events(trio.store) if event.role == "skip"] == ["skipped"]


def test_a_file_that_grew_while_it_waited_for_its_authorization_is_skipped(trio: Trio) -> None:
    """The reason is that of the operator, not that another file had its name."""
    trio.start("consumer")
    trio.start("dispatcher")
    path, url = trio.capture("1.pcap", 1), trio.environment["PCAPDJ_REDIS_URL"]
    forkserver.run("pcapdj", "import", path, "--redis-url", url)
    wait_until(lambda: trio.store.redis.llen(trio.store.keys.next), "the file to be requested")
    with path.open("ab") as file:
        file.write(b"x")

    done = forkserver.run("pcapdj", "skip", "--redis-url", url)

    assert done.stdout == f"'{path}' is skipped; `pcapdj failed` lists it.\n"
    assert [failure.reason for failure in all_failures(trio.store)] == ["skipped by the operator"]
