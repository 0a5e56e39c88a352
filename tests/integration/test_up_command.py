"""What `pcapdj up` waits for after supervisord has started the roles: their first report, on a real Redis."""

import threading
import time
from pathlib import Path

import pytest

from pcapdj.commands import up
from pcapdj.store.client import Store


@pytest.fixture(autouse=True)
def _service_of_lane(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the folder of a service that works in the test's lane."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PCAPDJ_REDIS_URL", store.url)
    monkeypatch.setenv("PCAPDJ_LANE", store.keys.lane)
    monkeypatch.delenv("PCAPDJ_REDIS_PASSWORD_FILE", raising=False)


def report_controller(store: Store) -> None:
    """Write what a running controller does."""
    store.redis.hset(store.keys.gate, mapping={"state": "open", "heartbeat_s": time.time()})


def test_each_running_role_that_does_not_report_is_named(store: Store) -> None:
    """In one sentence; a role that does not run is not waited for, and Redis is none."""
    report_controller(store)

    running = ["redis", "controller", "consumer", "dispatcher"]
    problem = up.reporting_problem(running, limit_s=0.2)

    assert problem == "Launcher has not reported; no dispatcher is registered"
    assert up.reporting_problem(["redis", "controller"], limit_s=0.2) == ""


def test_a_role_that_reports_within_the_limit_is_no_problem(store: Store) -> None:
    """It takes a role about a second."""
    later = threading.Timer(0.3, report_controller, [store])
    later.start()

    assert up.reporting_problem(["controller"], limit_s=60) == ""

    later.join()


def test_a_redis_that_does_not_answer_is_the_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may still be starting: only after the limit it is shown."""
    monkeypatch.setenv("PCAPDJ_REDIS_URL", f"unix://{tmp_path}/none.sock")

    problem = up.reporting_problem(["controller"], limit_s=0.2)

    assert problem.startswith("Redis at ")
    assert "none.sock" in problem
