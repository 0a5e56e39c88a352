"""`check --monitor` about real roles: whichever is killed or stopped, it shows that within ten seconds."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.forkserver import ROOT
from support.forkserver import run as run_command
from support.fuse import FuseMount
from support.redis_server import PrivateRedis
from support.roles_rig import ROLES, Trio
from support.waiting import scaled, wait_until

from pcapdj.cli import start
from pcapdj.commands import metrics
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.service import CONF, shipped

SHOWN = {
    "controller": "controller silent",
    "consumer": "launcher silent",
    "importer": "importer silent",
    "dispatcher": "dispatcher stream.pcap silent",
}
Monitor = Callable[..., tuple[int, str]]


@pytest.fixture
def monitor(capsys: pytest.CaptureFixture[str]) -> Monitor:
    """Return a runner of the plugin: exit code and line."""

    def run(url: str, *options: str) -> tuple[int, str]:
        code = start(["check", "--monitor", "--redis-url", url, *options])
        (line,) = capsys.readouterr().out.splitlines()
        return code, line

    return run


@pytest.mark.slow
def test_each_role_that_is_stopped_or_killed_is_critical_within_ten_seconds(
    trio: Trio, monitor: Monitor, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """SIGSTOP leaves a process that exists and does nothing; plugin and alert rules name each role."""
    url = trio.environment["PCAPDJ_REDIS_URL"]
    for role in ROLES:
        trio.start(role)
    expected = [word for role in ROLES for word in ("--expect", role)]
    wait_until(lambda: monitor(url, *expected)[0] == 0, "all roles to report")

    for number in (signal.SIGSTOP, signal.SIGKILL):
        working = [trio.working_pid(role) for role in ROLES]
        for pid in working:
            os.kill(pid, number)
        began_s = time.monotonic()
        wait_until(
            lambda: all(words in monitor(url)[1] for words in SHOWN.values()), "each role to be missed"
        )
        assert time.monotonic() - began_s < scaled(10)
        assert monitor(url)[0] == 2
        assert alerts_raised(url, capsys, tmp_path) == {"dispatcher", "controller", "consumer", "importer"}
        if number == signal.SIGSTOP:
            for pid in working:
                os.kill(pid, signal.SIGCONT)
            wait_until(lambda: monitor(url)[0] == 0, "all roles to report again")


@pytest.mark.long
@pytest.mark.slow
def test_an_importer_of_which_only_the_waiting_process_is_stopped_is_silent(
    trio: Trio, monitor: Monitor
) -> None:
    """The other one goes on with its work, but no stop signal would end it."""
    url = trio.environment["PCAPDJ_REDIS_URL"]
    trio.start("importer")
    wait_until(
        lambda: "importer" not in monitor(url, "--expect", "importer")[1].partition("|")[0], "a report"
    )
    waiting = trio.processes["importer"].pid
    assert waiting != trio.working_pid("importer")

    os.kill(waiting, signal.SIGSTOP)
    began_s = time.monotonic()
    try:
        wait_until(lambda: "importer silent" in monitor(url)[1], "the importer to be missed")
        assert time.monotonic() - began_s < scaled(10)
    finally:
        os.kill(waiting, signal.SIGCONT)
    wait_until(lambda: "importer silent" not in monitor(url)[1], "the importer to report again")


def alerts_raised(url: str, capsys: pytest.CaptureFixture[str], folder: Path) -> set[str]:
    """Let promtool apply the alert rules to the metrics as of now; return the roles that they find down."""
    assert exit_code_of(metrics.app, "pcapdj metrics", ["--redis-url", url]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    series = [dict(zip(("series", "values"), line.rsplit(" ", 1), strict=True)) for line in lines]
    down = [each for each in samples(lines) if each.name == "pcapdj_role_up" and not each.value]
    count: dict[str, Any] = {
        "expr": 'count(ALERTS{alertname="PcapdjRoleDown",alertstate="firing"})',
        "eval_time": "0s",
    }
    count |= {"exp_samples": [{"labels": "{}", "value": len(down)}]}
    test = {"interval": "15s", "input_series": series, "promql_expr_test": [count]}
    rules = {"rule_files": [str(ROOT / "docs" / "monitoring" / "alerts.yml")], "tests": [test]}
    (folder / "test.yml").write_text(json.dumps(rules))  # JSON is YAML
    answer = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=folder, capture_output=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return {each.labels["role"] for each in down}


def samples(lines: list[str]) -> list[Any]:
    """Return the samples of metrics as text."""
    families = text_string_to_metric_families("\n".join(lines))
    return [sample for family in families for sample in family.samples]


def test_without_redis_it_is_critical_in_a_layout_that_has_its_own(
    short_path: Path, monitor: Monitor
) -> None:
    """Elsewhere that is unknown: the Redis of others may be down for reasons of theirs."""
    code, line = monitor(f"unix://{short_path}/var/run/redis.sock")
    assert (code, line[:17]) == (3, "PCAPDJ UNKNOWN - ")

    (short_path / CONF).write_text(shipped())
    code, line = monitor(f"unix://{short_path}/var/run/redis.sock?db=0")
    assert (code, line[:18]) == (2, "PCAPDJ CRITICAL - ")
    assert "does not answer" in line


def test_a_layout_names_the_roles_that_should_run(short_path: Path, monitor: Monitor) -> None:
    """Also before one of them has reported; one that supervisord does not start by itself is not missed."""
    (short_path / "var" / "run").mkdir(parents=True, mode=0o700)
    (short_path / CONF).write_text(shipped())
    server = PrivateRedis(short_path / "var" / "run" / "redis.sock")
    server.start()
    try:
        _, line = monitor(server.url)
        assert [
            line.count(f"{role} has not reported") for role in ("controller", "launcher", "importer")
        ] == [1] * 3
        assert "no dispatcher is registered" in line

        conf = shipped().replace("[program:importer]", "[program:importer]\nautostart=false ; by hand")
        (short_path / CONF).write_text(conf)
        assert "importer" not in monitor(server.url)[1]
        assert "controller" not in monitor(server.url, "--expect", "importer")[1]
    finally:
        server.stop()


def test_what_cannot_be_judged_is_unknown(trio: Trio, monitor: Monitor) -> None:
    """A wrong option, or a password that Redis refuses; a key of another type stops every role."""
    url = trio.environment["PCAPDJ_REDIS_URL"]

    assert monitor(url, "--expect", "analyzer")[0] == 3
    assert monitor("http://x")[0] == 3
    assert monitor(url, "--nosuch") == (
        3,
        "PCAPDJ UNKNOWN - No such option: --nosuch. See 'pcapdj check --help'.",
    )
    trio.store.redis.set(trio.store.keys.gate, "x")
    assert monitor(url)[0] == 2


def test_a_folder_in_which_nothing_can_be_judged_is_unknown(
    tmp_path: Path, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings have an error, or it was removed: 1 would be a warning, and 2 critical."""
    (tmp_path / CONF).touch()
    (tmp_path / "pcapdj.env").write_text("PCAPDJ_NONE=1\n")
    monkeypatch.chdir(tmp_path)
    assert monitor("unix:///none") == (
        3,
        "PCAPDJ UNKNOWN - pcapdj.env, line 1: Unknown setting 'PCAPDJ_NONE'. Did you mean PCAPDJ_LANE?",
    )

    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert monitor("http://x")[0] == 3
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("option", ["--nosuch", "--expect=controller"])
def test_a_check_without_monitor_keeps_the_exit_code_of_an_error(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person reads the sentence on stderr."""
    assert start(["check", option]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("pcapdj check: ")


def test_a_monitor_behind_a_file_system_that_may_hang_answers_as_elsewhere(mount: FuseMount) -> None:
    """The answer of the process that works is the only one."""
    done = run_command("pcapdj", "check", "--monitor", "--redis-url", "http://x", cwd=mount.folder)

    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.count("\n") == done.stdout.count("PCAPDJ UNKNOWN") == 1
