"""docs/operations.md and docs/redis-keys.md describe what the code does: codes, restarts, variables, keys."""

import configparser
import re
from pathlib import Path

from support.rows import each_row

from pcapdj.analyzer.session import Verdict
from pcapdj.disk.gate import State
from pcapdj.disk.limits import DEFAULTS
from pcapdj.disk.options import variable_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.service import shipped
from pcapdj.store.keys import Keys

ROOT = Path(__file__).resolve().parent.parent.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
KEYS = (ROOT / "docs" / "redis-keys.md").read_text()
ROLES = ["consumer", "dispatcher", "controller", "importer"]
# how the code names an environment variable that it reads
_READ = re.compile(
    r"(?:envvar=|lines_of\(|environ\.get\(|VARIABLE(?:: Final)? = )\"(PCAPDJ_[A-Z_]+)\"", re.MULTILINE
)


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its two head lines."""
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_exit_code_is_documented_with_its_number() -> None:
    """The table has the codes of `ExitCode`, no more and no fewer."""
    documented = {int(row[0]) for row in rows(OPERATIONS, "Exit codes")}

    assert documented == {int(code) for code in ExitCode}


@each_row("role", ROLES)
def test_supervisord_does_with_a_code_what_the_table_has(role: str) -> None:
    """`stays down` in the table is `exitcodes=` in the file; everything else is restarted."""
    conf = configparser.RawConfigParser()
    conf.read_string(shipped())
    section = conf[f"program:{role}"]

    stays_down = {int(row[0]) for row in rows(OPERATIONS, "Exit codes") if row[2].startswith("stays down")}

    assert section["autorestart"] == "unexpected"
    assert {int(code) for code in section["exitcodes"].split(",")} == stays_down


def test_a_crash_is_restarted_and_mistakes_are_not_for_ever() -> None:
    """Tracebacks and missing services are tried again; what no second try can mend ends."""
    stays_down = {int(row[0]) for row in rows(OPERATIONS, "Exit codes") if row[2].startswith("stays down")}

    assert {ExitCode.ERROR, ExitCode.UNAVAILABLE}.isdisjoint(stays_down)
    assert {ExitCode.USAGE, ExitCode.CANNOT_CREATE, ExitCode.BUSY, ExitCode.DENIED} <= stays_down


@each_row("role", ROLES)
def test_a_busy_role_is_tried_until_the_old_launcher_has_flushed(role: str) -> None:
    """Supervisord waits 1, 2, 3 .. s between early exits: together longer than the consumer may take."""
    conf = configparser.RawConfigParser()
    conf.read_string(shipped())
    tries = conf.getint(f"program:{role}", "startretries")

    assert sum(range(1, tries + 1)) > conf.getint("program:consumer", "stopwaitsecs")


def test_every_environment_variable_is_documented() -> None:
    """Each variable that the code reads has a row, and no row is left of one that is gone."""
    read = {
        name for path in (ROOT / "pcapdj").rglob("*.py") for name in _READ.findall(path.read_text("utf-8"))
    }

    read |= {variable_of(limit) for limit in DEFAULTS}
    documented = {row[0].strip("`") for row in rows(OPERATIONS, "Environment variables")}

    assert documented == read


def test_every_key_is_documented() -> None:
    """The table of keys has exactly those of the store."""
    keys = Keys()
    names = {
        value
        for value in (str(getattr(keys, name)) for name in dir(keys) if not name.startswith("__"))
        if value.startswith("PCAPDJ_") and not value.endswith(":")
    }
    names |= {keys.current("<id>"), keys.stats("<id>"), keys.samples_of("<id>")}

    assert {row[0].strip("`") for row in rows(KEYS, "Keys")} == names


def test_every_warning_is_explained() -> None:
    """An operator finds each WARNING and ERROR event of the code in the tables of what to do."""
    warned = {event for level, event in logged_events() if level in ("warning", "error")}

    assert len(warned) > 20
    assert warned - explained_events() == set()


@each_row(
    ("role", "file", "room"),
    [
        ("dispatcher", "dispatcher.py", "feed"),
        ("controller", "controller.py", "disk"),
        ("consumer", "consumer_launcher.py", "analyzer"),
        ("importer", "importer.py", "inbox"),
    ],
)
def test_every_module_of_a_role_logs_under_the_roles_name(role: str, file: str, room: str) -> None:
    """It is the word after the level, by which an operator sees who wrote a line."""
    package = ROOT / "pcapdj"
    paths = [package / file, *(package / room).glob("*.py")]

    names = [name for path in paths for name in re.findall(r'EventLog\("(.*?)"\)', path.read_text())]

    assert set(names) == {role}


def test_every_explained_event_is_in_the_code() -> None:
    """A renamed or removed event leaves no row behind."""
    logged = {event for _, event in logged_events()}

    assert explained_events() - logged == set()


def explained_events() -> set[str]:
    """Return the events that the tables of what to do explain: every event has an underscore."""
    section = OPERATIONS.split("\n## What to do when\n", 1)[1].split("\n## ", 1)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return {event for cell in cells for event in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", cell)}


def logged_events() -> set[tuple[str, str]]:
    """Return level and name of every event that the code logs, also where a variable holds one of the two."""
    found: set[tuple[str, str]] = set()
    for path in (ROOT / "pcapdj").rglob("*.py"):
        text = path.read_text("utf-8")
        anomalies = re.findall(r"(?:Anomaly\(\s*|TIMES_AFTER_2038 = )\"([a-z0-9_]+)\"", text)
        found |= {("warning", event) for event in anomalies}
        found |= set(
            re.findall(r"(?i:events?|log)\b[^.\n]{0,20}\.(info|warning|error)\(\s*\"([a-z_]+)\"", text)
        )
        if table := re.search(r"^FAILURE_EVENTS\b.*?^}", text, re.MULTILINE | re.DOTALL):
            found |= {("warning", event) for event in re.findall(r"\"([a-z_]+)\"", table.group())}
    found |= {("warning", f"gate_{state.word}") for state in State if state is not State.OPEN}
    found |= {("warning", f"analyzer_{verdict.value}") for verdict in Verdict if verdict is not Verdict.ENDED}
    return found | {("warning", "stream_ended")}
