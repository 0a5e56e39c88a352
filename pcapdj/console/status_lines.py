"""The status screen: a lane's snapshot as labelled lines. Rules only.

The snapshot is the mapping that `status --json` prints. Any part of it may be missing or invalid (a role died
while it wrote, another program wrote the key); the line then shows less.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pcapdj.console.disk_lines import outlook_of
from pcapdj.console.screen import Line, Tone
from pcapdj.runtime.safe_text import printable, printable_sentence, quoted, shell_word
from pcapdj.runtime.units import human_size, rough_duration, steps_back_text

_BAR_WIDTH: Final = 24
_STREAM_LIMIT_CHARS: Final = 64  # of an id that can be pasted; ours have 8
_MOST_SUSPECTS: Final = 3  # streams on the screen
_NAME_WIDTH: Final = 64  # characters beside the labels of a terminal with 80 columns
_EXACT: Final = re.compile(r" \(\d+ bytes\)")
_STALLED_SHOWN_S: Final = 60  # a shorter one is an analyzer that writes its output
_LARGEST: Final = 1 << 63  # a larger number is not a size or time, and would overflow a float
_SIGUSR1: Final = "usr1:"  # before a dispatcher's id: its member of PCAPDJ_SUSPEND

Fields = Mapping[str, Any]


def snapshot_lines(
    snapshot: Fields, failures: Sequence[Fields], now_s: float, rates: Mapping[str, float] | None = None
) -> list[Line]:
    """Return the lines of the status screen.

    Args:
        snapshot: as `status --json` prints it.
        failures: the last failed files: name (printable or not), reason.
        now_s: seconds since the epoch.
        rates: bytes per second by dispatcher, where known.
    """
    problem = printable_sentence(str(snapshot.get("redis_problem") or ""))
    return [
        *([Line("Redis", problem, Tone.BAD)] if problem else []),
        Line("Files", _counts(snapshot)),
        *_inbox_lines(snapshot.get("importer")),
        *gate_lines(snapshot.get("gate"), now_s),
        *_suspension_lines(snapshot),
        *_analyzer_lines(snapshot.get("consumer"), str(snapshot.get("lane") or "")),
        *_suspect_lines(snapshot),
        *_dispatcher_lines(snapshot, rates or {}),
        *_failure_lines(failures),
    ]


def rates_between(before: Fields, after: Fields) -> dict[str, float]:
    """Return bytes per second by dispatcher; only of those that feed the same file in both snapshots."""
    earlier = {each.get("id"): each for each in before.get("dispatchers", ())}
    rates: dict[str, float] = {}
    for each in after.get("dispatchers", ()):
        old = earlier.get(each.get("id"), {})
        elapsed_s = _number(each, "heartbeat_s") - _number(old, "heartbeat_s")
        fed_bytes = _number(each, "done_bytes") - _number(old, "done_bytes")
        if each.get("name") and old.get("name") == each["name"] and elapsed_s > 0 and fed_bytes >= 0:
            rates[str(each.get("id"))] = fed_bytes / elapsed_s
    return rates


def progress_text(done_bytes: float, total_bytes: float, rate: float | None = None) -> str:
    """Return a bar, the share, the size, and, where the rate is known, rate and time left.

    Args:
        done_bytes: of one file.
        total_bytes: of the same file, above 0.
        rate: bytes per second.
    """
    share = min(1.0, max(0.0, done_bytes / total_bytes))
    bar = "#" * int(share * _BAR_WIDTH)
    speed = f", {human_size(rate)}/s" if rate is not None else ""
    left = f", {rough_duration(max(0.0, total_bytes - done_bytes) / rate)} left" if rate else ""
    return f"[{bar:.<{_BAR_WIDTH}}] {share:.0%} of {human_size(total_bytes)}{speed}{left}"


def jumps_text(jumps: int, last_name: str, last_jump: str) -> str:
    """Return how many files begin with a timestamp jump, and the last of them.

    Args:
        jumps: the number of files; above 0.
        last_name: the path of the last of them.
        last_jump: how that one begins.
    """
    last = f"{quoted(last_name.rpartition('/')[2])} {printable_sentence(last_jump)}"
    return f"1 jump, {last}" if jumps == 1 else f"{jumps:,} jumps; last: {last}"


def anomaly_rows(counts: Fields) -> Iterator[tuple[str, str]]:
    """Yield label and text for each kind of anomaly that the files fed so far have.

    Args:
        counts: left_out, wrapped_times, steps_back, largest_step_back_ns, beyond_snaplen, after_2038_stream.
    """
    if _number(counts, "left_out"):
        yield "left out", f"{_packets(counts, 'left_out')}, because of their link type"
    if _number(counts, "wrapped_times"):
        packets = _packets(counts, "wrapped_times")
        yield "wrapped", f"the times of {packets} from before 1970 or after 2106"
    if _number(counts, "steps_back"):
        steps, largest_ns = int(_number(counts, "steps_back")), int(_number(counts, "largest_step_back_ns"))
        yield "timestamps", f"{steps_back_text(steps, largest_ns)}, inside files"
    if counts.get("after_2038_stream"):
        yield "timestamps", "after 2038-01-19, which programs built on libpcap read as negative"
    if _number(counts, "beyond_snaplen"):
        verb = "is" if counts["beyond_snaplen"] == 1 else "are"
        yield (
            "snaplen",
            f"{_packets(counts, 'beyond_snaplen')} {verb} longer than that of the file, and whole",
        )


def without_exact_bytes(sentence: str) -> str:
    """Return the sentence without the exact bytes behind each size: those are for logs and programs."""
    return _EXACT.sub("", sentence)


def _counts(snapshot: Fields) -> str:
    current = len(snapshot.get("current") or ())
    return (
        f"{_count(snapshot, 'queued')} queued, {current} current,"
        f" {_count(snapshot, 'processed')} processed, {_count(snapshot, 'failed')} failed"
    )


def _inbox_lines(importer: Fields | None) -> Iterator[Line]:
    if not importer:
        return
    if importer.get("state") == "stopped":
        yield Line("Inbox", "the importer was stopped", Tone.ATTENTION)
        return
    skipped, overlaps = importer.get("skipped"), importer.get("overlaps")
    skipped = skipped if isinstance(skipped, Mapping) else {}
    reasons = ", ".join(f"{_count(skipped, reason)} {printable(str(reason))}" for reason in skipped)
    counts = [
        f"{_count(importer, 'waiting')} waiting",
        *([f"{_count(importer, 'written')} still written"] if importer.get("written") else []),
        *([f"{_count(importer, 'known')} known already"] if importer.get("known") else []),
        *([f"{sum(_number(skipped, reason) for reason in skipped):,} skipped: {reasons}"] if skipped else []),
    ]
    yield Line("Inbox", ", ".join(counts))
    yield from _loss_lines(importer)
    if importer.get("stale"):
        yield Line("", f"the importer is {_silence(importer)}", Tone.BAD)
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
    since = f" for {rough_duration(now_s - _number(gate, 'since_s'))}" if "since_s" in gate else ""
    lines = [Line("Gate", without_exact_bytes(f"{printable(state)}{since}{_reason(gate)}"), tone)]
    if "free_bytes" in gate and not gate.get("reason"):  # a reason has the numbers
        lines.append(Line("", _free_space(gate)))
    if outlook := outlook_of(gate.get("disks"), str(gate.get("path") or "")):
        lines.append(Line("", outlook, tone))
    lines += [Line("", text, Tone.ATTENTION) for text in _between_texts(gate.get("between"), now_s)]
    if gate.get("cause") == "operator":
        lines.append(Line("", "'pcapdj gate auto' leaves it to the disks", tone))
    if gate.get("lost"):
        lines.append(Line("", printable_sentence(str(gate["lost"])), Tone.BAD))
    if gate.get("refused"):
        lines.append(Line("", f"refused: {printable_sentence(str(gate['refused']))}", Tone.ATTENTION))
    if gate.get("stale"):
        lines.append(Line("", f"the controller is {_silence(gate)}", Tone.BAD))
    return lines


def _between_texts(between: object, now_s: float) -> Iterator[str]:
    """Yield what the command of --between does, or when it runs again."""
    if not isinstance(between, Mapping):
        return
    name = quoted(str(between.get("name") or "").rpartition("/")[2])
    if between.get("state") == "running":
        lasts = rough_duration(now_s - _number(between, "since_s"))
        yield f"the command of --between has been running for {lasts} before {name}"
    elif between.get("state") == "failed" and type(between.get("again_in_s")) in (int, float):
        yield f"the command of --between runs again in {rough_duration(_number(between, 'again_in_s'))}"


def _free_space(gate: Fields) -> str:
    where = f" at {quoted(str(gate['path']))}" if gate.get("path") else ""
    free, needed = human_size(_number(gate, "free_bytes")), human_size(_number(gate, "needed_bytes"))
    return f"{free} free, {needed} needed{where}"


def suspenders_text(members: Sequence[object], snapshot: Fields) -> str:
    """Return who of PCAPDJ_SUSPEND suspends feeding; a dispatcher by its short name."""
    dispatchers = {str(each.get("id")) for each in snapshot.get("dispatchers") or ()}
    words = [str(each) for each in members]
    ids = {each: each.removeprefix(_SIGUSR1) for each in words if each.startswith(_SIGUSR1)}
    names = short_names(sorted(dispatchers | set(ids.values())))
    return ", ".join(
        f"SIGUSR1 to the dispatcher {printable(names[ids[each]])}" if each in ids else printable(each)
        for each in words
    )


def _suspension_lines(snapshot: Fields) -> Iterator[Line]:
    if members := snapshot.get("suspended"):
        yield Line("Suspended", f"by {suspenders_text(members, snapshot)}", Tone.ATTENTION)


def _analyzer_lines(consumer: Fields | None, lane: str) -> Iterator[Line]:
    if not consumer:
        yield Line("Analyzer", "no launcher has reported yet")
        return
    state = str(consumer.get("state", "unknown"))
    tone = Tone.BAD if state == "failing" else Tone.PLAIN
    yield Line(
        "Analyzer", ", ".join([printable(state), *_analyzer_details(consumer)]) + _reason(consumer), tone
    )
    for field, word in (("command", "runs"), ("logdir", "writes to")):
        if consumer.get(field):
            yield Line("", f"{word} {printable_sentence(str(consumer[field]))}")
    if stream := _crashed_stream(consumer):
        yield Line("", _to_feed_again(stream, "broke off", lane), Tone.ATTENTION)
    if consumer.get("stale"):
        yield Line("", f"the launcher is {_silence(consumer)}", Tone.BAD)


def _analyzer_details(consumer: Fields) -> Iterator[str]:
    words = {"stream": "stream", "pid": "pid", "last_exit": "the previous one"}
    if consumer.get("reason"):  # it has the last exit
        del words["last_exit"]
    for field, word in words.items():
        if value := consumer.get(field):
            yield f"{word} {printable(str(value))}"
    if _number(consumer, "restarts"):
        yield _several(consumer, "restarts")
    if consumer.get("paused_s"):
        yield "paused by the gate"


def _crashed_stream(consumer: Fields) -> str:
    """Return the last stream, if its analyzer crashed."""
    return str(consumer.get("last_stream") or "") if consumer.get("last_verdict") == "crashed" else ""


def _to_feed_again(stream: str, state: str, lane: str) -> str:
    words = ["pcapdj", "requeue", *(["--lane", lane] if lane else []), "--stream", stream]
    if len(stream) > _STREAM_LIMIT_CHARS:  # another program wrote it
        return f"stream {printable(stream)} {state}"
    command = " ".join(map(shell_word, words))
    return f"stream {printable(stream)} {state}; to feed its files again: {command}"


def _suspect_lines(snapshot: Fields) -> Iterator[Line]:
    """Yield the streams whose output may be incomplete; the last one that crashed is shown already."""
    suspects, lane = snapshot.get("suspects"), str(snapshot.get("lane") or "")
    if not isinstance(suspects, Mapping):
        return
    crashed = _crashed_stream(snapshot.get("consumer") or {})
    listed = [(str(stream), reason) for stream, reason in suspects.items() if stream != crashed]
    for stream, reason in listed[:_MOST_SUSPECTS]:
        yield Line("Suspect", _to_feed_again(stream, "may lack output", lane), Tone.BAD)
        yield Line("", printable_sentence(str(reason)), Tone.BAD)
    if len(listed) > _MOST_SUSPECTS:
        yield Line("", f"and {len(listed) - _MOST_SUSPECTS:,} more streams", Tone.BAD)


def _dispatcher_lines(snapshot: Fields, rates: Mapping[str, float]) -> Iterator[Line]:
    dispatchers = snapshot.get("dispatchers") or ()
    current = {each.get("dispatcher"): each for each in snapshot.get("current") or ()}
    names = short_names([str(each.get("id")) for each in dispatchers])
    if not dispatchers:
        yield Line("Dispatcher", "none has reported yet")
    for each in dispatchers:
        dispatcher = str(each.get("id"))
        state = printable(str(each.get("state", "unknown")))
        silence = f", {_silence(each)}" if each.get("stale") else ""
        tone = Tone.ATTENTION if each.get("stale") else Tone.PLAIN
        yield Line("Dispatcher", f"{printable(names[dispatcher])}: {state}{silence}", tone)
        yield from _work_lines(each)
        if file := current.get(each.get("id")):
            yield from _file_lines(file, each, rates.get(dispatcher))


def short_names(dispatchers: Sequence[str]) -> dict[str, str]:
    """Return a short name by id: of a pipe's path its last part, if no other pipe has the same one."""
    parts = {each: each.rpartition("/")[2] for each in dispatchers}
    last_parts = Counter(parts.values())
    return {each: part if part and last_parts[part] == 1 else each for each, part in parts.items()}


def _work_lines(statistics: Fields) -> Iterator[Line]:
    if "packets" in statistics:
        suspensions = f", {_several(statistics, 'suspensions')}" if statistics.get("suspensions") else ""
        captured = human_size(_number(statistics, "cap_lengths"))
        files, packets = _several(statistics, "files"), _several(statistics, "packets")
        known = f", {_count(statistics, 'known')} known already" if statistics.get("known") else ""
        yield Line("", f"{files}{known}, {packets}, {captured} captured{suspensions}")
    if (jumps := statistics.get("jumps")) and isinstance(jumps, int):
        last_name, last_jump = (str(statistics.get(each, "")) for each in ("last_jump_name", "last_jump"))
        yield Line("", f"timestamps: {jumps_text(jumps, last_name, last_jump)}", Tone.ATTENTION)
    for label, text in anomaly_rows(statistics):
        yield Line("", f"{label}: {text}", Tone.ATTENTION)
    if anomaly := str(statistics.get("last_anomaly") or ""):
        name = quoted(str(statistics.get("last_anomaly_name", "")).rpartition("/")[2])
        yield Line("", f"last: {name} {printable_sentence(anomaly)}", Tone.ATTENTION)
    yield from _loss_lines(statistics)
    if statistics.get("waiting_for"):
        yield Line("", printable_sentence(str(statistics["waiting_for"])), Tone.ATTENTION)
    if (stalled_s := _number(statistics, "stalled_s")) >= _STALLED_SHOWN_S:
        yield Line("", f"the analyzer has read nothing for {rough_duration(stalled_s)}", Tone.BAD)


def _loss_lines(statistics: Fields) -> Iterator[Line]:
    """Yield what Redis has lost: by a restart without its data, an eviction, a failover, another program."""
    if restored := int(_number(statistics, "restored")):
        times = "once" if restored == 1 else f"{restored:,} times"
        yield Line("", f"Redis lost its registration {times}; it was restored", Tone.ATTENTION)
    if lost := int(_number(statistics, "lost_names")):
        names = "1 name" if lost == 1 else f"{lost:,} names"
        yield Line("", f"Redis lost {names} of the queue: import the files again", Tone.BAD)


def _file_lines(current: Fields, statistics: Fields, rate: float | None) -> Iterator[Line]:
    attempt = f", attempt {_count(current, 'attempt')}" if _number(current, "attempt") > 1 else ""
    state = printable(str(current.get("state", "")))
    yield from _name_lines(str(current.get("name", "")), f" ({state}{attempt})")
    total_bytes = _number(statistics, "total_bytes")
    if statistics.get("name") == current.get("name") and total_bytes > 0:
        yield Line("", progress_text(_number(statistics, "done_bytes"), total_bytes, rate))


def _name_lines(name: str, state: str) -> Iterator[Line]:
    """Yield a path; a long one on two lines, since a terminal would break it anywhere."""
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
    return f": {printable_sentence(str(fields['reason']))}" if fields.get("reason") else ""


def _silence(fields: Fields) -> str:
    age_s = fields.get("heartbeat_age_s")
    return f"silent for {rough_duration(age_s)}" if isinstance(age_s, int | float) else "silent"


def _number(fields: Fields, name: str) -> float:
    """Return a field's number; 0 if it is missing or invalid."""
    value = fields.get(name)
    return value if isinstance(value, int | float) and abs(value) < _LARGEST else 0


def _count(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return f"{value:,}" if isinstance(value, int) else "?"


def _packets(fields: Fields, name: str) -> str:
    """Return a number of packets with its noun."""
    return f"{_count(fields, name)} {'packet' if fields.get(name) == 1 else 'packets'}"


def _several(fields: Fields, noun: str) -> str:
    """Return a count with its noun, which is a plural that ends in s."""
    return f"{_count(fields, noun)} {noun[:-1] if fields.get(noun) == 1 else noun}"
