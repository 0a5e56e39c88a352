"""A lane's board as labelled lines for one screen. Rules only.

The board is the mapping that `status --json` prints; any part of it may be missing or nonsense (a role died
while writing, a foreign program wrote the key), and the line then says less.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pcapdj.console.progress import Fields, jumps_told, number, progress
from pcapdj.runtime.safe_text import printable, printable_sentence, quoted
from pcapdj.runtime.units import human_size, rough_duration

_NAME_WIDTH: Final = 64  # characters beside the labels of a terminal with 80 columns
_EXACT: Final = re.compile(r" \(\d+ bytes\)")
_STALLED_SHOWN_S: Final = 60  # less is an analyzer that writes something out


class Tone(Enum):
    """How a line is to be taken."""

    PLAIN = ""
    GOOD = "green"
    ATTENTION = "yellow"
    BAD = "red"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its label (empty: it goes on from the line above), its text, its tone."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN


def snapshot_lines(
    board: Fields, failures: Sequence[Fields], now_s: float, rates: Mapping[str, float] | None = None
) -> list[Line]:
    """Return what `status` shows.

    Args:
        board: as `status --json` prints it.
        failures: the last failed files: name (printable or not), reason.
        now_s: seconds since the epoch.
        rates: bytes per second by dispatcher, where known.
    """
    return [
        Line("Files", _counts(board), Tone.PLAIN),
        *_gate_lines(board.get("gate"), now_s),
        *_suspension_lines(board.get("suspended")),
        *_consumer_lines(board.get("consumer")),
        *_dispatcher_lines(board, rates or {}),
        *_failure_lines(failures),
    ]


def in_short(sentence: str) -> str:
    """Return the sentence without the exact bytes behind each size: those are for logs and programs."""
    return _EXACT.sub("", sentence)


def _counts(board: Fields) -> str:
    current = len(board.get("current") or ())
    return (
        f"{_count(board, 'queued')} queued, {current} current,"
        f" {_count(board, 'processed')} processed, {_count(board, 'failed')} failed"
    )


def _gate_lines(gate: Fields | None, now_s: float) -> Iterator[Line]:
    if not gate:
        yield Line("Gate", "no controller has spoken yet", Tone.ATTENTION)
        return
    state = str(gate.get("state", "unknown"))
    tone = {"open": Tone.GOOD, "suspended": Tone.BAD}.get(state, Tone.ATTENTION)
    since = f" for {rough_duration(now_s - number(gate, 'since_s'))}" if "since_s" in gate else ""
    yield Line("Gate", in_short(f"{printable(state)}{since}{_reason(gate)}"), tone)
    if "free_bytes" in gate and not gate.get("reason"):  # a reason has the numbers
        yield Line("", _room(gate))
    if gate.get("refused"):
        yield Line("", f"refused: {printable_sentence(str(gate['refused']))}", Tone.ATTENTION)
    if gate.get("stale"):
        yield Line("", f"the controller is silent{_age(gate)}", Tone.BAD)


def _room(gate: Fields) -> str:
    where = f" at {quoted(str(gate['path']))}" if gate.get("path") else ""
    return (
        f"{human_size(number(gate, 'free_bytes'))} free, {human_size(number(gate, 'needed_bytes'))}"
        f" needed{where}"
    )


def _suspension_lines(members: Sequence[object] | None) -> Iterator[Line]:
    if members:
        yield Line("Suspended", f"by {', '.join(printable(str(each)) for each in members)}", Tone.ATTENTION)


def _consumer_lines(consumer: Fields | None) -> Iterator[Line]:
    if not consumer:
        yield Line("Analyzer", "no launcher has spoken yet")
        return
    state = str(consumer.get("state", "unknown"))
    details = [
        f"{word} {printable(str(consumer[field]))}"
        for field, word in (("stream", "stream"), ("pid", "pid"), ("last_exit", "the last one"))
        if consumer.get(field) and not (field == "last_exit" and consumer.get("reason"))  # which tells it
    ]
    if number(consumer, "restarts"):
        details.append(_several(consumer, "restarts"))
    tone = Tone.BAD if state == "failing" else Tone.PLAIN
    yield Line("Analyzer", ", ".join([printable(state), *details]) + _reason(consumer), tone)
    for field, word in (("command", "runs"), ("logdir", "writes to")):
        if consumer.get(field):
            yield Line("", f"{word} {printable_sentence(str(consumer[field]))}")
    if consumer.get("last_verdict") == "crashed" and consumer.get("last_stream"):
        stream = printable(str(consumer["last_stream"]))
        told = f"stream {stream} broke off; 'pcapdj requeue --stream {stream}' feeds its files again"
        yield Line("", told, Tone.ATTENTION)
    if consumer.get("stale"):
        yield Line("", f"the launcher is silent{_age(consumer)}", Tone.BAD)


def _dispatcher_lines(board: Fields, rates: Mapping[str, float]) -> Iterator[Line]:
    dispatchers = board.get("dispatchers") or ()
    taken = {each.get("dispatcher"): each for each in board.get("current") or ()}
    if not dispatchers:
        yield Line("Dispatcher", "none has spoken yet")
    for each in dispatchers:
        state = printable(str(each.get("state", "unknown")))
        silence = f", silent{_age(each)}" if each.get("stale") else ""
        tone = Tone.ATTENTION if each.get("stale") else Tone.PLAIN
        yield Line("Dispatcher", f"{printable(str(each.get('id')))}: {state}{silence}", tone)
        if "packets" in each:
            yield Line("", _work(each))
        if (jumps := each.get("jumps")) and isinstance(jumps, int):
            told = jumps_told(jumps, str(each.get("last_jump_name", "")), str(each.get("last_jump", "")))
            yield Line("", f"timestamps: {told}", Tone.ATTENTION)
        if each.get("waiting_for"):
            yield Line("", printable_sentence(str(each["waiting_for"])), Tone.ATTENTION)
        if (stalled_s := number(each, "stalled_s")) >= _STALLED_SHOWN_S:
            told = f"the analyzer has taken no byte for {rough_duration(stalled_s)}"
            yield Line("", told, Tone.BAD)
        if current := taken.get(each.get("id")):
            yield from _file_lines(current, each, rates.get(str(each.get("id"))))


def _work(statistics: Fields) -> str:
    """Return what a dispatcher has done since it started."""
    suspensions = f", {_several(statistics, 'suspensions')}" if statistics.get("suspensions") else ""
    return (
        f"{_several(statistics, 'files')}, {_several(statistics, 'packets')},"
        f" {human_size(number(statistics, 'cap_lengths'))} captured{suspensions}"
    )


def _file_lines(current: Fields, statistics: Fields, rate: float | None) -> Iterator[Line]:
    attempt = f", attempt {_count(current, 'attempt')}" if number(current, "attempt") > 1 else ""
    state = printable(str(current.get("state", "")))
    yield from _name_lines(str(current.get("name", "")), f" ({state}{attempt})")
    total = number(statistics, "total_bytes")
    if statistics.get("name") == current.get("name") and total > 0:
        yield Line("", progress(number(statistics, "done_bytes"), total, rate))


def _name_lines(name: str, state: str) -> Iterator[Line]:
    """Yield a path, on two lines if it is long: a terminal would cut it anywhere."""
    folder, slash, base = name.rpartition("/")
    if not slash or len(quoted(name) + state) <= _NAME_WIDTH:
        yield Line("", quoted(name) + state)
        return
    yield Line("", quoted(base) + state)
    yield Line("", f"in {quoted(folder + slash)}")


def _failure_lines(failures: Sequence[Fields]) -> Iterator[Line]:
    label = "Failed last"
    for failure in failures:
        name = quoted(str(failure.get("name", "?")))
        yield Line(label, f"{name}: {printable_sentence(str(failure.get('reason', '')))}", Tone.BAD)
        label = ""


def _reason(fields: Fields) -> str:
    return _after(": ", fields.get("reason"))


def _after(lead: str, sentence: object) -> str:
    return f"{lead}{printable_sentence(str(sentence))}" if sentence else ""


def _age(fields: Fields) -> str:
    age_s = fields.get("heartbeat_age_s")
    return f" {rough_duration(age_s)}" if isinstance(age_s, int | float) else " since ever"


def _count(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return f"{value:,}" if isinstance(value, int) else "?"


def _several(fields: Fields, what: str) -> str:
    """Return a count with its noun, which ends in s."""
    return f"{_count(fields, what)} {what[:-1] if fields.get(what) == 1 else what}"
