"""What is wrong with a lane, for monitoring: from a snapshot to a line and an exit code. Rules only.

    PCAPDJ CRITICAL - dispatcher stream.pcap silent for 12 s; 3 failed files | queued=7 failed=3;0 ..

CRITICAL: nothing is fed, or a failure would go unnoticed: a role that should run is missing or silent,
feeding is suspended, the analyzer is failing, the lane is held, storage is away. WARNING: the gate holds or
is set by hand, files failed, a stream may lack output, a role reports a problem. Redis that does not answer
is the caller's to judge: there is no snapshot then.

Source: Monitoring Plugins Development Guidelines, "Plugin Output for Nagios", "Performance data", "Threshold
and Ranges".
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pcapdj.console.dispatcher_lines import short_names
from pcapdj.console.snapshot_fields import ROLES, Fields, number_in
from pcapdj.console.status_lines import without_exact_bytes
from pcapdj.console.waiting_lines import GATE, STALLED_S, suspenders_text
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import command_about, printable, printable_sentence, quoted
from pcapdj.runtime.units import rough_duration

STALE_AFTER_S: Final = 5.0
_LONG_SILENCE_S: Final = 60.0  # a restart takes seconds
_MOST_FINDINGS: Final = 5  # on the line; the others are a number
_MOST_DISKS: Final = 40
_SENTENCE_CHARS: Final = 200
_LABEL_CHARS: Final = 60
_KEYS: Final = {"controller": "gate", "consumer": "consumer", "importer": "importer"}  # of the snapshot


class Level(IntEnum):
    """How much a finding matters; the number is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    level: Level
    text: str


def findings_of(snapshot: Fields, expected: Collection[str], now_s: float) -> list[Finding]:
    """Return what is wrong with the lane, the worst first.

    Args:
        snapshot: as `status --json` prints it.
        expected: of `ROLES`, those that should run.
        now_s: seconds since the epoch.
    """
    found = [
        *role_findings(snapshot, expected, now_s),
        *_gate_findings(snapshot),
        *_analyzer_findings(snapshot.get("consumer") or {}),
        *_importer_findings(snapshot.get("importer") or {}),
    ]
    for each in snapshot.get("dispatchers") or ():
        found += _dispatcher_findings(each)
    if problem := str(snapshot.get("redis_problem") or ""):
        found.append(Finding(Level.WARNING, problem))
    if suspects := snapshot.get("suspects") or {}:
        stream, reason = next(iter(suspects.items()))
        more = f" and {len(suspects) - 1} more" if len(suspects) > 1 else ""
        text = f"stream {printable(stream)}{more} may lack output: {_text({'reason': reason}, 'reason')}"
        found.append(Finding(Level.WARNING, text))
    if failed := number_in(snapshot, "failed"):
        found.append(Finding(Level.WARNING, counted(int(failed), "failed file")))
    return sorted(found, key=lambda each: -each.level)


def expected_without_layout(snapshot: Fields) -> set[str]:
    """Return the roles that should run where no supervisord.conf names them: those that have reported once.

    Dispatcher and controller always should, but for a dispatcher that has drained its queue and ended.
    """
    reported = {role for role, key in _KEYS.items() if snapshot.get(key)}
    importer = snapshot.get("importer") or {}
    if importer.get("state") == "stopped":  # one that was started by hand, and ended in order
        reported.discard("importer")
    is_done = snapshot.get("state") == "DONE" and not snapshot.get("dispatchers")
    return reported | {"controller"} | (set() if is_done else {"dispatcher"})


def monitor_line(findings: Iterable[Finding], snapshot: Fields) -> tuple[str, Level]:
    """Return the plugin's one line, and the level that is its exit code."""
    found = list(findings)
    level = max((each.level for each in found), default=Level.OK)
    texts = [each.text for each in found[:_MOST_FINDINGS]]
    if len(found) > _MOST_FINDINGS:
        texts.append(f"and {len(found) - _MOST_FINDINGS} more")
    text = "; ".join(texts) if found else _well(snapshot)
    data = " ".join(_performance(snapshot))
    lane = f"lane {printable(str(snapshot['lane']))}: " if snapshot.get("lane") else ""
    return f"PCAPDJ {level.name} - {_plain(lane + text)}{f' | {data}' if data else ''}", level


def _well(snapshot: Fields) -> str:
    queued, current = number_in(snapshot, "queued"), len(snapshot.get("current") or ())
    return f"{queued:,.0f} queued, {current} current, gate {_text(snapshot.get('gate') or {}, 'state')}"


def role_findings(snapshot: Fields, expected: Collection[str], now_s: float) -> Iterator[Finding]:
    """Yield the roles of these that have not reported, were stopped, or are silent."""
    for role in ROLES[1:]:
        fields = snapshot.get(_KEYS[role]) or {}
        if role not in expected:
            continue
        if not fields:
            yield Finding(Level.CRITICAL, f"{_shown(role)} has not reported")
        elif fields.get("state") == "stopped":
            yield Finding(Level.CRITICAL, f"{_shown(role)} was stopped")
        else:
            yield from _heartbeat_findings(_shown(role), fields, now_s)
    dispatchers = snapshot.get("dispatchers") or ()
    if not dispatchers and ROLES[0] in expected:
        yield Finding(Level.CRITICAL, "no dispatcher is registered")
    names, lane = short_names([str(each.get("id")) for each in dispatchers]), str(snapshot.get("lane") or "")
    for each in dispatchers:
        name = names[str(each.get("id"))]
        words = ["--", name] if name.startswith("-") else [name]
        command = command_about(lane, "forget", *words)
        is_shown = "|" not in command  # it would begin the performance data
        remedy = f" ('{command}' if it is out of service)" if is_shown else ""
        yield from _heartbeat_findings(f"dispatcher {printable(name)}", each, now_s, remedy)


def _heartbeat_findings(name: str, fields: Fields, now_s: float, remedy: str = "") -> Iterator[Finding]:
    age_s, beat_s = fields.get("heartbeat_age_s"), fields.get("heartbeat_s")
    if fields.get("stale"):
        since = f" for {rough_duration(age_s)}" if isinstance(age_s, int | float) else ""
        is_long = not isinstance(age_s, int | float) or age_s >= _LONG_SILENCE_S
        yield Finding(Level.CRITICAL, f"{name} silent{since}{remedy if is_long else ''}")
    elif isinstance(beat_s, float) and beat_s > now_s + STALE_AFTER_S:
        lead = rough_duration(beat_s - now_s)
        yield Finding(Level.WARNING, f"the clock of {name} is {lead} ahead: its silence would not be noticed")


def _gate_findings(snapshot: Fields) -> Iterator[Finding]:
    gate, members = snapshot.get("gate") or {}, snapshot.get("suspended") or ()
    state, reason = gate.get("state"), _text(gate, "reason")
    if state == "suspended" or GATE in members:
        yield Finding(Level.CRITICAL, f"gate suspended: {reason}".rstrip(": "))
    elif state == "hold":
        yield Finding(Level.WARNING, f"gate holds: {reason}".rstrip(": "))
    if others := [each for each in members if each != GATE]:
        yield Finding(Level.CRITICAL, f"suspended by {suspenders_text(others, snapshot)}")
    override = str((snapshot.get("control") or {}).get("gate") or "auto")
    if override != "auto":
        yield Finding(Level.WARNING, f"gate set by hand: {printable(override)}")
    for name in ("lost", "refused"):
        if gate.get(name):
            yield Finding(Level.WARNING, _text(gate, name))


def _analyzer_findings(consumer: Fields) -> Iterator[Finding]:
    if consumer.get("state") == "failing":
        yield Finding(Level.CRITICAL, f"analyzer failing: {_text(consumer, 'reason')}".rstrip(": "))


def _importer_findings(importer: Fields) -> Iterator[Finding]:
    if importer.get("problem"):
        yield Finding(Level.WARNING, f"inbox: {_text(importer, 'problem')}")
    if lost := number_in(importer, "lost_names"):
        yield Finding(Level.WARNING, f"Redis lost {counted(int(lost), 'name')} of the queue")


def _dispatcher_findings(dispatcher: Fields) -> Iterator[Finding]:
    if dispatcher.get("at_fault"):
        yield Finding(Level.CRITICAL, f"lane held: {_text(dispatcher, 'at_fault')}")
    if dispatcher.get("storage"):
        yield Finding(Level.CRITICAL, f"storage away: {quoted(str(dispatcher['storage']))}")
    if (stalled_s := number_in(dispatcher, "stalled_s")) >= STALLED_S:
        yield Finding(Level.WARNING, f"analyzer has read nothing for {rough_duration(stalled_s)}")
    if lost := number_in(dispatcher, "lost_names"):
        yield Finding(Level.WARNING, f"Redis lost {counted(int(lost), 'name')} of the queue")


def _performance(snapshot: Fields) -> Iterator[str]:
    """Yield the performance data; a range `N:` is left below N."""
    if not snapshot:
        return
    yield f"queued={number_in(snapshot, 'queued'):.0f}"
    yield f"current={len(snapshot.get('current') or ())}"
    yield f"processed={number_in(snapshot, 'processed'):.0f}"
    yield f"failed={number_in(snapshot, 'failed'):.0f};0"
    ages = [(role, snapshot.get(key) or {}) for role, key in _KEYS.items()]
    names = short_names([str(each.get("id")) for each in snapshot.get("dispatchers") or ()])
    ages += [(f"dispatcher {names[str(each.get('id'))]}", each) for each in snapshot.get("dispatchers") or ()]
    for name, fields in ages[:_MOST_DISKS]:
        age_s = fields.get("heartbeat_age_s")
        if isinstance(age_s, int | float):
            yield f"{_label(f'{name} heartbeat')}={age_s:.1f}s;;{STALE_AFTER_S:g}"
    for disk in ((snapshot.get("gate") or {}).get("disks") or ())[:_MOST_DISKS]:
        yield from _disk_performance(disk)


def _disk_performance(disk: object) -> Iterator[str]:
    if not isinstance(disk, dict) or type(disk.get("free")) is not int:
        return
    unit = "B" if disk.get("unit") == "bytes" else ""
    limits = [number_in(disk, name) for name in ("hold_below", "suspend_below")]
    warn, critical = (f"{limit:.0f}:" if limit else "" for limit in limits)
    total = number_in(disk, "total")
    label = _label(f"free {disk.get('name', '')}")
    yield f"{label}={disk['free']}{unit};{warn};{critical};0;{f'{total:.0f}' if total else ''}"


def _label(text: str) -> str:
    """Return a label in quotes: without `=`, which ends it, and with quotes doubled."""
    shown = printable(text[-_LABEL_CHARS:]).replace("\\'", "'").replace("=", "_").replace("|", "_")
    return "'" + shown.replace("'", "''") + "'"


def _shown(role: str) -> str:
    return "launcher" if role == "consumer" else role


def _text(fields: Fields, name: str) -> str:
    """Return a sentence of a role, short enough for one line, without the exact bytes and the full stop."""
    sentence = without_exact_bytes(printable_sentence(str(fields.get(name) or "")))
    return sentence[:_SENTENCE_CHARS].rstrip(". ")


def _plain(text: str) -> str:
    """Return the text without what has a meaning in a plugin's output: a bar begins the performance data."""
    return text.replace("|", "/")
