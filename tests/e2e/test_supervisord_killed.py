"""kill -9 of supervisord, and a second one: one copy of each role, and the work goes on."""

import signal
from collections import Counter
from pathlib import Path

import pytest
from support.captures import Record, classic
from support.service_rig import Service, processes_about
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(150)
ROLES = ("consumer_launcher", "dispatcher", "controller", "importer")


def copies(folder: Path) -> Counter[str]:
    """Return how many interpreters of each role were started for this folder."""
    lines = [line for line in processes_about(folder) if "-m pcapdj." in line]
    return Counter(role for line in lines for role in ROLES if f"pcapdj.{role} " in f"{line} ")


def queue(service: Service, number: int) -> None:
    """Put a capture into the inbox."""
    made = service.folder / f"{number}.pcap"
    made.write_bytes(classic([Record(data=b"%d:%d" % (number, place)) for place in range(20)]))
    made.rename(service.folder / "inbox" / made.name)


@pytest.mark.long
@pytest.mark.slow
def test_after_supervisord_is_killed_another_one_has_one_copy_of_each(service: Service) -> None:
    """Its children die with it, so that none is left to compete with the new ones; nothing is lost.

    The new ones are forks, which `start` waits for: each copy that is an interpreter would be an old one.
    """
    service.start(is_real=True)
    queue(service, 1)
    service.await_processed(1)

    assert copies(service.folder) == dict.fromkeys(ROLES, 1) | {"importer": 2, "controller": 2}
    service.signal(signal.SIGSTOP)  # the roles do without it: their log goes nowhere, and the stream goes on
    queue(service, 2)
    service.await_processed(2)
    service.signal(signal.SIGKILL)
    wait_until(lambda: not copies(service.folder), "its children to end")
    service.start()
    queue(service, 3)
    service.await_processed(3)
    assert not copies(service.folder)
