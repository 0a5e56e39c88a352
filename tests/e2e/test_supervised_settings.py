"""pcapdj.env and a real supervisord: a restart takes what the file has, and a reread changes nothing."""

import shutil
import subprocess
from pathlib import Path
from subprocess import PIPE

import pytest
from support import forkserver
from support.captures import Record, classic
from support.service_rig import PROGRAMS, Service, environment, programs_in
from support.waiting import wait_until

from pcapdj.runtime.assignments import assignment_line
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.settings_file import NAME

pytestmark = pytest.mark.timeout(150)


def made_by_init(service: Service) -> None:
    """Replace the layout of a checkout by that of `pcapdj init`."""
    words = ("init", str(service.folder), "--preset", "summary", "--force")
    forkserver.run("pcapdj", *words, cwd=service.folder, env=environment()).check_returncode()


def set_in_file(service: Service, **settings: str) -> None:
    """Write these settings into the service's file."""
    (service.folder / NAME).write_text("\n".join(assignment_line(*each) for each in settings.items()))


def pids_of(service: Service) -> dict[str, int]:
    """Return the pid of each program."""
    return {name: int(each["pid"]) for name, each in programs_in(service.folder).items()}


def in_force(service: Service) -> dict[str, dict[str, str]]:
    """Return what `check --settings` shows of each role: value and source of each setting."""
    found: dict[str, dict[str, str]] = {}
    for line in service.pcapdj("check", "--settings").splitlines()[1:]:
        name, text = line.split(maxsplit=1)
        if not line.startswith(" "):
            role = found.setdefault(name, {})
        else:
            role[name] = " ".join(text.split())
    return found


def min_free_of(service: Service) -> str:
    """Return the min-free that the controller has published."""
    return str(((service.snapshot()["gate"] or {}).get("limits") or {}).get("min-free", ""))


def assert_untouched(service: Service) -> None:
    """Neither `reread` nor `update` changes anything, nor restarts an analyzer."""
    before = pids_of(service)

    rereads = [service.control("reread") for _ in range(2)]
    update = service.control("update")

    assert rereads == ["No config updates to processes\n"] * 2
    assert update == ""
    assert pids_of(service) == before


@pytest.mark.long
@pytest.mark.slow
def test_the_shipped_layout_has_no_updates_and_a_wrong_line_is_in_the_log(service: Service) -> None:
    """The role that is restarted ends with the file's line; the others go on as they were."""
    service.start()
    assert_untouched(service)
    set_in_file(service, PCAPDJ_MIN_FREE="8%", PCAPDJ_RESUME_FREE="5%")

    service.control("restart", "controller")
    wait_until(lambda: "resume-free" in service.log_of("controller"), "the controller to end")

    assert "PCAPDJ_RESUME_FREE is set in line 2 of pcapdj.env." in service.log_of("controller")
    assert service.pid_of("dispatcher")


@pytest.mark.long
@pytest.mark.slow
def test_a_layout_of_init_has_no_updates_and_a_restart_takes_what_the_file_has_then(service: Service) -> None:
    """The analyzer, and a limit with a per cent sign; `check --settings` shows what waits for a restart."""
    made_by_init(service)
    set_in_file(service, PCAPDJ_PRESET="summary", PCAPDJ_MIN_FREE="8%")
    service.start(has_analyzer=False)
    assert_untouched(service)
    wait_until(lambda: min_free_of(service) == "8%", "the controller to report")

    service.pcapdj("limits", "set", "resume-after=1s")
    set_in_file(
        service,
        PCAPDJ_PRESET="summary",
        PCAPDJ_CONSUMER_COMMAND=service.analyzer,
        PCAPDJ_MIN_FREE="7%",
        PCAPDJ_RESUME_AFTER="0",
    )
    before = in_force(service)
    first_analyzer = service.log_of("consumer")
    service.control("restart", "consumer")
    service.control("restart", "controller")
    wait_until(lambda: min_free_of(service) == "7%", "the controller to start")
    written = service.folder / "1.pcap"
    written.write_bytes(classic([Record()]))
    shutil.move(written, service.folder / "inbox" / "1.pcap")
    service.await_processed(1)
    after = in_force(service)

    changed = "pcapdj.env:3 has 7% now: 'pcapdj restart controller' takes it"
    live = "1s live (Redis), instead of 30s (default); pcapdj.env:4 has 0 now"
    assert before["controller"]["min-free"] == f"8% pcapdj.env:2; {changed}"
    assert before["controller"]["resume-after"].startswith(live)
    assert after["controller"]["min-free"] == "7% pcapdj.env:3"
    assert after["consumer"]["preset"].endswith("not used, PCAPDJ_CONSUMER_COMMAND has the analyzer")
    assert after["importer"]["paths"] == "inbox flag"
    assert "copying.py" not in first_analyzer
    assert service.end_stream() == classic([Record()])


@pytest.mark.long
@pytest.mark.slow
def test_a_layout_of_an_earlier_version_works_as_before(service: Service) -> None:
    """Its consumer has the preset as an option, which overrides the file; its log has that."""
    conf = service.folder / "supervisord.conf"
    lines = [line for line in conf.read_text().splitlines() if not line.startswith("environment=")]
    text = "\n".join(lines).replace("-b var/run/stream.pcap", "-b var/run/stream.pcap --preset summary", 1)
    path = 'environment=PATH="%(here)s/.venv/bin:%(ENV_PATH)s"'
    conf.write_text(text.replace("[supervisord]\n", f"[supervisord]\n{path}\n"))
    set_in_file(service, PCAPDJ_CONSUMER_COMMAND=service.analyzer, PCAPDJ_RESUME_AFTER="0")

    service.start(has_analyzer=False)
    written = service.folder / "1.pcap"
    written.write_bytes(classic([Record()]))
    shutil.move(written, service.folder / "inbox" / "1.pcap")
    service.await_processed(1)

    assert "pcapdj.summary" in service.log_of("consumer")
    assert "variable_overridden variable=PCAPDJ_CONSUMER_COMMAND" in service.log_of("consumer")
    assert in_force(service)["consumer"]["preset"] == "summary flag"


def test_commands_that_work_on_no_service_never_read_the_file(short_path: Path) -> None:
    """A stick with a layout must not choose the program that `run` starts, or fail `cat`."""
    marker = short_path / "executed"
    (short_path / "supervisord.conf").touch()
    (short_path / NAME).write_text(f"PCAPDJ_CONSUMER_COMMAND=touch {marker} {{pipe}}\nNONSENSE=1\n")
    (short_path / "1.pcap").write_bytes(classic([Record()]))
    limits = ("--min-free", "1", "--suspend-free", "0", "--min-free-inodes", "0", "--resume-after", "0")

    ran = forkserver.run(
        "pcapdj", "run", "1.pcap", "--logdir", "results", *limits, cwd=short_path, env=environment()
    )
    written = subprocess.run(
        [PROGRAMS / "pcapdj", "cat", "1.pcap"], cwd=short_path, env=environment(), stdout=PIPE, check=False
    )
    status = forkserver.run("pcapdj", "status", cwd=short_path, env=environment())

    assert ran.returncode == ExitCode.OK, ran.stderr
    assert not marker.exists()
    assert written.stdout == classic([Record()])
    assert status.returncode == ExitCode.USAGE
    assert "pcapdj.env, line 2: Unknown setting 'NONSENSE'" in status.stderr
