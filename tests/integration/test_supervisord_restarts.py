"""Real supervisord on the laid-out file: what it restarts, what it gives up, what stop leaves behind."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.forkserver import DEVNULL, clean_environment, start
from support.service_rig import programs_in
from support.waiting import wait_until

from pcapdj.service import CONF, configuration, write_layout
from pcapdj.store.client import Store

Info = Callable[[str], dict[str, Any]]


@pytest.fixture
def service(short_path: Path, store: Store) -> Iterator[Info]:
    """Run the service on the tests' Redis with a limit that makes no sense; yield its process info."""
    folder = short_path / "sensor one"
    write_layout(folder, configuration(interpreter=Path(sys.executable)), "PCAPDJ_PRESET=summary\n")
    variables = {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}
    variables["PCAPDJ_MIN_FREE"] = "98%"
    options = ("-n", "-c", str(folder / CONF))
    with start(
        "supervisor.supervisord",
        *options,
        cwd=folder,
        env=clean_environment(**variables),
        stdout=DEVNULL,
        forks=True,
    ) as supervisord:
        try:
            yield lambda name: programs_in(folder).get(name, {})
        finally:
            supervisord.terminate()
            supervisord.wait()


def test_crashes_are_restarted_and_mistakes_are_not(service: Info) -> None:
    """A killed role comes back; an unneeded Redis stays down; a wrong limit is tried with pauses."""
    wait_until(lambda: service("importer").get("statename") == "RUNNING", "the importer to run")
    first = service("importer")["pid"]

    os.kill(first, signal.SIGKILL)

    wait_until(lambda: service("importer").get("pid", 0) not in {0, first}, "a second importer")
    wait_until(lambda: service("redis")["statename"] == "EXITED", "redis to find that it is not needed")
    assert service("redis")["exitstatus"] == 0
    wait_until(lambda: service("controller")["statename"] in {"BACKOFF", "EXITED"}, "the controller to end")
    assert "98%" in Path(service("controller")["stdout_logfile"]).read_text()
