"""The status screen: a lane's snapshot as labelled lines. Rules only.

The snapshot is the mapping that `status --json` prints. Any part of it may be missing or invalid (a role died
while it wrote, another program wrote the key); the line then shows less.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pcapdj.console.disk_lines import outlook_of
from pcapdj.console.dispatcher_lines import dispatcher_lines, is_feeding, loss_lines, short_names
from pcapdj.console.screen import Line, Tone
from pcapdj.console.snapshot_fields import Fields, count_in, number_in, reason_text, several_in, silence_text
from pcapdj.console.waiting_lines import waiting_lines
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import command_about, printable, printable_sentence, quoted
from pcapdj.runtime.units import human_size, rough_duration

_STREAM_LIMIT_CHARS: Final = 64  # of an id that can be pasted; ours have 8
_RECLAIM_IS_OLD_S: Final = 900.0  # while a disk is short a round comes every ten minutes at least
_MOST_DISKS: Final = 6  # on the screen
_MOST_SUSPECTS: Final = 3  # streams on the screen
_EXACT: Final = re.compile(r" \([\d,]+ bytes?\)")


def snapshot_lines(
    snapshot: Fields,
    failures: Sequence[Fields],
    now_s: float,
    rates: Mapping[str, float] | None = None,
    queue_bytes: int | None = None,
) -> list[Line]:
    """Return the lines of the status screen.

    Args:
        snapshot: as `status --json` prints it.
        failures: the last failed files: name (printable or not), reason.
        now_s: seconds since the epoch.
        rates: bytes per second by dispatcher, where known.
        queue_bytes: the size of the queued files; None: unknown.
    """
    problem = printable_sentence(str(snapshot.get("redis_problem") or ""))
    return [
        *([Line("Redis", problem, Tone.BAD)] if problem else []),
        Line("Files", _counts(snapshot, queue_bytes)),
        *_outlook_lines(snapshot, rates or {}, queue_bytes),
        *waiting_lines(snapshot, now_s),
        *_inbox_lines(snapshot.get("importer"), now_s),
        *gate_lines(snapshot.get("gate"), now_s),
        *_disk_lines(snapshot.get("gate") or {}),
        *_analyzer_lines(snapshot.get("consumer"), str(snapshot.get("lane") or "")),
        *_suspect_lines(snapshot),
        *dispatcher_lines(snapshot, rates or {}),
        *_heartbeat_lines(snapshot),
        *_failure_lines(failures),
    ]


def without_exact_bytes(sentence: str) -> str:
    """Return the sentence without the exact bytes behind each size: those are for logs and programs."""
    return _EXACT.sub("", sentence)


def _counts(snapshot: Fields, queue_bytes: int | None) -> str:
    current = len(snapshot.get("current") or ())
    size = f" ({human_size(queue_bytes)})" if queue_bytes and number_in(snapshot, "queued") else ""
    return (
        f"{count_in(snapshot, 'queued')} queued{size}, {current} current,"
        f" {count_in(snapshot, 'processed')} processed, {count_in(snapshot, 'failed')} failed"
    )


def _outlook_lines(snapshot: Fields, rates: Mapping[str, float], queue_bytes: int | None) -> Iterator[Line]:
    """Yield when the current files and the whole queue will be read, at the rate of the last minutes."""
    rate, feeds = sum(rates.values()), any(is_feeding(each) for each in snapshot.get("dispatchers") or ())
    if rate < 1 or not feeds or not queue_bytes or not number_in(snapshot, "queued"):
        return
    left_bytes = queue_bytes + sum(
        max(0.0, number_in(each, "total_bytes") - number_in(each, "done_bytes"))
        for each in snapshot.get("dispatchers") or ()
    )
    yield Line("", f"all of them are read in {rough_duration(left_bytes / rate)}, at {human_size(rate)}/s")


def _disk_lines(gate: Fields) -> Iterator[Line]:
    """Yield a line for each watched disk, the one nearest to its limit first."""
    listed = gate.get("disks")
    disks = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    label = "Disks"
    for disk in sorted(disks, key=_free_space_left)[:_MOST_DISKS]:
        yield Line(label, _disk_text(disk), Tone.PLAIN if _free_space_left(disk) > 0 else Tone.ATTENTION)
        label = ""
    if len(disks) > _MOST_DISKS:
        yield Line("", f"and {len(disks) - _MOST_DISKS:,} more; 'pcapdj limits' shows all")


def _free_space_left(disk: Fields) -> float:
    """Return which share of a disk is free above its limit; below 0: less than the limit; -2: unknown."""
    if type(disk.get("free")) is not int:
        return -2.0
    free, hold_below = number_in(disk, "free"), number_in(disk, "hold_below")
    return (free - hold_below) / max(1.0, number_in(disk, "total"))


def _disk_text(disk: Fields) -> str:
    name, is_bytes = quoted(str(disk.get("name", ""))), disk.get("unit") == "bytes"
    if type(disk.get("free")) is not int:
        return f"{name} {printable_sentence(str(disk.get('failure') or ''))}, which counts as full"

    def shown(field: str) -> str:
        number = number_in(disk, field)
        return human_size(number) if is_bytes else f"{number:,.0f}"

    total = f" of {shown('total')}" if number_in(disk, "total") else ""
    limit = f", holds below {shown('hold_below')}" if number_in(disk, "hold_below") else ", without limits"
    return f"{name} {shown('free')}{total} free{limit}"


def _heartbeat_lines(snapshot: Fields) -> Iterator[Line]:
    """Yield how long ago each role has reported."""
    roles = [("controller", "gate"), ("launcher", "consumer"), ("importer", "importer")]
    found = [(role, snapshot.get(key) or {}) for role, key in roles]
    dispatchers = snapshot.get("dispatchers") or ()
    names = short_names([str(each.get("id")) for each in dispatchers])
    shown = names if len(dispatchers) > 1 else dict.fromkeys(names, "")
    found += [(f"dispatcher {printable(shown[str(each.get('id'))])}".rstrip(), each) for each in dispatchers]
    ages = [(role, fields.get("heartbeat_age_s")) for role, fields in found]
    texts = [f"{role} {rough_duration(age_s)}" for role, age_s in ages if isinstance(age_s, int | float)]
    missing = [role for role, fields in found if not fields]
    if texts:
        never = f"; not yet: {', '.join(missing)}" if missing else ""
        yield Line("Reported", f"{', '.join(texts)} ago{never}")


def _inbox_lines(importer: Fields | None, now_s: float) -> Iterator[Line]:
    if not importer:
        return
    if importer.get("state") == "stopped":
        yield Line("Inbox", "the importer was stopped", Tone.ATTENTION)
        return
    skipped, overlaps = importer.get("skipped"), importer.get("overlaps")
    skipped = skipped if isinstance(skipped, Mapping) else {}
    reasons = ", ".join(f"{count_in(skipped, reason)} {printable(str(reason))}" for reason in skipped)
    counts = [
        f"{count_in(importer, 'waiting')} waiting",
        *([f"{count_in(importer, 'written')} still written"] if importer.get("written") else []),
        *([f"{count_in(importer, 'known')} known already"] if importer.get("known") else []),
        *(
            [f"{sum(number_in(skipped, reason) for reason in skipped):,} skipped: {reasons}"]
            if skipped
            else []
        ),
    ]
    yield Line("Inbox", ", ".join(counts))
    if importer.get("last_event"):
        ago = rough_duration(now_s - number_in(importer, "last_event_s"))
        yield Line("", f"{printable_sentence(str(importer['last_event']))}, {ago} ago")
    yield from loss_lines(importer)
    if importer.get("stale"):
        yield Line("", f"the importer is {silence_text(importer)}", Tone.BAD)
    if importer.get("problem"):
        yield Line("", printable_sentence(str(importer["problem"])), Tone.BAD)
    for overlap in overlaps if isinstance(overlaps, list) else ():
        yield Line("", printable_sentence(str(overlap)), Tone.ATTENTION)


def gate_lines(gate: Fields | None, now_s: float) -> list[Line]:
    """Return the lines about the gate: its state, why, what comes next and when.

    Args:
        gate: PCAPDJ_GATE as the snapshot has it.
        now_s: seconds since the epoch.
    """
    if not gate:
        return [Line("Gate", "no controller has reported yet", Tone.ATTENTION)]
    state = str(gate.get("state", "unknown"))
    tone = {"open": Tone.GOOD, "suspended": Tone.BAD}.get(state, Tone.ATTENTION)
    since = f" for {rough_duration(now_s - number_in(gate, 'since_s'))}" if "since_s" in gate else ""
    lines = [Line("Gate", without_exact_bytes(f"{printable(state)}{since}{reason_text(gate)}"), tone)]
    if "free_bytes" in gate and not gate.get("reason"):  # a reason has the numbers
        lines.append(Line("", _free_space(gate)))
    if outlook := outlook_of(gate.get("disks"), str(gate.get("path") or "")):
        lines.append(Line("", outlook, tone))
    lines += _reclaim_lines(gate.get("reclaim"), now_s)
    if gate.get("lost"):
        lines.append(Line("", printable_sentence(str(gate["lost"])), Tone.BAD))
    if gate.get("refused"):
        lines.append(Line("", f"refused: {printable_sentence(str(gate['refused']))}", Tone.ATTENTION))
    if gate.get("stale"):
        lines.append(Line("", f"the controller is {silence_text(gate)}", Tone.BAD))
    return lines


def _reclaim_lines(reclaim: object, now_s: float) -> Iterator[Line]:
    """Yield what the last round that made room has done, and what is wrong with it."""
    if not isinstance(reclaim, Mapping) or not reclaim.get("how"):
        return
    files, freed = number_in(reclaim, "removed"), human_size(number_in(reclaim, "freed_bytes"))
    age_s = now_s - number_in(reclaim, "time_s")
    ago = rough_duration(age_s)
    if files:
        yield Line("", f"--reclaim, {ago} ago: {counted(int(files), 'file')}, {freed} freed")
    notes = reclaim.get("notes")
    problem = reclaim.get("problem") if age_s < _RECLAIM_IS_OLD_S else None
    for sentence in [problem, *(notes if isinstance(notes, list) else [])]:
        if sentence:
            yield Line("", printable_sentence(str(sentence)), Tone.ATTENTION)


def _free_space(gate: Fields) -> str:
    where = f" at {quoted(str(gate['path']))}" if gate.get("path") else ""
    free, needed = human_size(number_in(gate, "free_bytes")), human_size(number_in(gate, "needed_bytes"))
    return f"{free} free, {needed} needed{where}"


def _analyzer_lines(consumer: Fields | None, lane: str) -> Iterator[Line]:
    if not consumer:
        yield Line("Analyzer", "no launcher has reported yet")
        return
    state = str(consumer.get("state", "unknown"))
    tone = Tone.BAD if state == "failing" else Tone.PLAIN
    yield Line(
        "Analyzer", ", ".join([printable(state), *_analyzer_details(consumer)]) + reason_text(consumer), tone
    )
    for field, word in (("command", "runs"), ("logdir", "writes to")):
        if consumer.get(field):
            yield Line("", f"{word} {printable_sentence(str(consumer[field]))}")
    if stream := _crashed_stream(consumer):
        yield Line("", _to_feed_again(stream, "broke off", lane), Tone.ATTENTION)
    if consumer.get("stale"):
        yield Line("", f"the launcher is {silence_text(consumer)}", Tone.BAD)


def _analyzer_details(consumer: Fields) -> Iterator[str]:
    words = {"stream": "stream", "pid": "pid", "last_exit": "the previous one"}
    if consumer.get("reason"):  # it has the last exit
        del words["last_exit"]
    for field, word in words.items():
        if value := consumer.get(field):
            yield f"{word} {printable(str(value))}"
    if number_in(consumer, "restarts"):
        yield several_in(consumer, "restarts")
    if consumer.get("paused_s"):
        yield "paused by the gate"


def _crashed_stream(consumer: Fields) -> str:
    """Return the last stream, if its analyzer crashed."""
    return str(consumer.get("last_stream") or "") if consumer.get("last_verdict") == "crashed" else ""


def _to_feed_again(stream: str, state: str, lane: str) -> str:
    if len(stream) > _STREAM_LIMIT_CHARS:  # another program wrote it
        return f"stream {printable(stream)} {state}"
    command = command_about(lane, "requeue", "--stream", stream)
    return f"stream {printable(stream)} {state}; to feed its files again: {command}"


def _suspect_lines(snapshot: Fields) -> Iterator[Line]:
    """Yield the streams whose output may be incomplete; the last one that crashed is shown already."""
    suspects, lane = snapshot.get("suspects"), str(snapshot.get("lane") or "")
    if not isinstance(suspects, Mapping):
        return
    crashed = _crashed_stream(snapshot.get("consumer") or {})
    listed = [(str(stream), reason) for stream, reason in suspects.items() if stream != crashed]
    shown = ""
    for stream, reason in listed[:_MOST_SUSPECTS]:
        yield Line("Suspect", _to_feed_again(stream, "may lack output", lane), Tone.BAD)
        if reason != shown:  # an analyzer that dies on a link type does so on stream after stream
            yield Line("", printable_sentence(str(reason)), Tone.BAD)
        shown = reason
    if len(listed) > _MOST_SUSPECTS:
        more = counted(len(listed) - _MOST_SUSPECTS, "more stream")
        yield Line("", f"and {more}; all of them: {command_about(lane, 'status', '--json')}", Tone.BAD)


def _failure_lines(failures: Sequence[Fields]) -> Iterator[Line]:
    label = "Failed last"
    for failure in failures:
        name = quoted(str(failure.get("name", "?")))
        yield Line(label, f"{name}: {printable_sentence(str(failure.get('reason', '')))}", Tone.BAD)
        label = ""
