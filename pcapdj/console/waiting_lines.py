"""What a lane waits for now, one line for each reason. Rules only.

    Waits for   room at 'out': 3.0 GiB free; new files start from 37.8 GiB
                the end of the current file: then the stream ends

The lane waits for who suspends it, and, where a file needs it, for the gate. A dispatcher waits for what it
reports: files, storage, launcher. Beside that it may wait for an authorization, or for an analyzer that
reads nothing. One that feeds waits for nothing. What a silent role last waited for is not shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pcapdj.console.disk_lines import can_be_free, number_text
from pcapdj.console.dispatcher_lines import short_names
from pcapdj.console.screen import Line, Tone
from pcapdj.console.snapshot_fields import Fields, number_in, silence_text
from pcapdj.runtime.safe_text import command_about, printable, printable_sentence, quoted
from pcapdj.runtime.units import rough_duration

LABEL: Final = "Waits for"
STALLED_S: Final = 60  # a shorter pause is an analyzer that writes its output
OPERATOR: Final = "operator"  # their and the gate's member of PCAPDJ_SUSPEND
GATE: Final = "gate"
SIGUSR1: Final = "usr1:"  # before a dispatcher's id: its member
AUTHORIZATION: Final = "Waiting for authorization"  # the state's name, as the original has it
SUSPENDED: Final = "Suspended"
_FILES: Final = "files in the queue"
_LEAD: Final = "Waiting for "
IDLE: Final = f"{_LEAD}{_FILES}."
OPENING: Final = f"{_LEAD}the analyzer to open the pipe."

Wait = tuple[str, Tone]


def waiting_lines(snapshot: Fields, now_s: float) -> Iterator[Line]:
    """Yield what the lane, its dispatchers and its analyzer wait for.

    Args:
        snapshot: as `status --json` prints it.
        now_s: seconds since the epoch.
    """
    label = LABEL
    found = [
        *_suspension_waits(snapshot),
        *_gate_waits(snapshot, now_s),
        *_dispatcher_waits(snapshot),
        *_analyzer_waits(snapshot.get("consumer") or {}, now_s),
        *_finish_waits(snapshot.get("finish")),
    ]
    for text, tone in dict.fromkeys(found):
        yield Line(label, text, tone)
        label = ""


def suspenders_text(members: Sequence[object], snapshot: Fields) -> str:
    """Return who of PCAPDJ_SUSPEND suspends feeding; a dispatcher by its short name."""
    dispatchers = {str(each.get("id")) for each in snapshot.get("dispatchers") or ()}
    words = [str(each) for each in members]
    ids = {each: each.removeprefix(SIGUSR1) for each in words if each.startswith(SIGUSR1)}
    names = short_names(sorted(dispatchers | set(ids.values())))
    return ", ".join(
        f"SIGUSR1 to the dispatcher {printable(names[ids[each]])}" if each in ids else printable(each)
        for each in words
    )


def _suspension_waits(snapshot: Fields) -> Iterator[Wait]:
    members = [str(each) for each in snapshot.get("suspended") or ()]
    if OPERATOR in members:
        yield "'pcapdj resume': feeding is suspended by the operator", Tone.ATTENTION
    if others := [each for each in members if each not in (OPERATOR, GATE)]:
        yield f"the end of the suspension by {suspenders_text(others, snapshot)}", Tone.ATTENTION


def _gate_waits(snapshot: Fields, now_s: float) -> Iterator[Wait]:
    """Yield what has to happen before a file is authorized, or a suspended one goes on."""
    gate = snapshot.get("gate") or {}
    is_fed = any(file.get("state") == "feeding" for file, _ in _current(snapshot))
    is_suspended = GATE in (snapshot.get("suspended") or ()) and is_fed
    requested = [
        str(file.get("name", ""))
        for file, dispatcher in _current(snapshot)
        if _is_requested(file, dispatcher)
    ]
    if not requested and not is_suspended:
        return
    names = [f"the authorization of {quoted(name.rpartition('/')[2])}" for name in requested[:1]]
    wanted = next(iter(names), "the gate to open")
    if not gate or gate.get("stale"):
        silence = f"is {silence_text(gate)}" if gate else "has not reported"
        yield f"{wanted}: the controller {silence}", Tone.BAD
    elif gate.get("cause") == OPERATOR and gate.get("state") != "open":
        yield "'pcapdj gate auto': the gate is held by the operator", Tone.ATTENTION
    elif gate.get("cause") == "reserve":
        yield f"room at {quoted(str(gate.get('path') or ''))} for the output of the next file", Tone.ATTENTION
    elif gate.get("state") != "open" and (disks := [*_closed_disks(gate, is_fed=is_fed)]):
        yield from ((text, Tone.ATTENTION) for text in disks)
    elif between := _between_text(gate.get("between"), now_s):
        yield between, Tone.ATTENTION
    elif gate.get("state") != "open":
        yield "the gate to open", Tone.ATTENTION
    else:
        yield wanted, Tone.PLAIN


def _is_requested(file: Fields, dispatcher: Fields) -> bool:
    """Report whether a file waits for its authorization, also while the dispatcher shows a suspension."""
    states = (AUTHORIZATION, SUSPENDED) if file.get("state") == "asked" else (AUTHORIZATION,)
    waits_for_other = dispatcher.get("stale") or dispatcher.get("waiting_for")
    return dispatcher.get("state") in states and not waits_for_other


def _current(snapshot: Fields) -> Iterator[tuple[Fields, Fields]]:
    """Yield each taken file with its dispatcher."""
    dispatchers = {each.get("id"): each for each in snapshot.get("dispatchers") or ()}
    for file in snapshot.get("current") or ():
        yield file, dispatchers.get(file.get("dispatcher"), {})


def _closed_disks(gate: Fields, *, is_fed: bool) -> Iterator[str]:
    """Yield what is missing on each disk that closes the gate, for the file that is fed or for a new one."""
    disks, short = gate.get("disks"), gate.get("short")
    is_suspended = gate.get("state") == "suspended"
    for disk in disks if isinstance(disks, list) else ():
        if not isinstance(disk, Mapping) or disk.get("state") != gate.get("state"):
            continue
        name = quoted(str(disk.get("name", "")))
        if type(disk.get("free")) is not int:
            yield f"{name}: it {printable_sentence(str(disk.get('failure') or ''))}, which counts as full"
            continue
        was_short = isinstance(short, Mapping) and disk.get("name") in short
        goes_on = is_suspended and is_fed
        needed = "hold_below" if goes_on or not (was_short or is_suspended) else "open_from"
        follows = _what_follows(disk, needed, gate, goes_on=goes_on)
        yield f"room at {name}: {_amount(disk, 'free')} free; {follows}"


def _what_follows(disk: Fields, needed: str, gate: Fields, *, goes_on: bool) -> str:
    """Return what happens once the disk has this much free."""
    follows = "feeding goes on" if goes_on else "new files start"
    limits = gate.get("limits")
    lasting = printable(str(limits.get("resume-after") or "")) if isinstance(limits, Mapping) else ""
    if number_in(disk, "free") >= number_in(disk, needed):
        return f"{follows} if that lasts {lasting}".rstrip()
    if not can_be_free(disk, number_in(disk, needed)):
        return f"{_amount(disk, needed)} are needed, more than it has: see 'pcapdj limits'"
    return f"{follows} from {_amount(disk, needed)}"


def _amount(disk: Fields, field: str) -> str:
    return number_text(disk, round(number_in(disk, field)))


def _between_text(between: object, now_s: float) -> str:
    """Return what the command of --between does before the next file; empty: nothing."""
    if not isinstance(between, Mapping):
        return ""
    name = quoted(str(between.get("name") or "").rpartition("/")[2])
    if between.get("state") == "running":
        lasts = rough_duration(now_s - number_in(between, "since_s"))
        return f"the command of --between, which has been running for {lasts} before {name}"
    if between.get("state") == "failed" and type(between.get("again_in_s")) in (int, float):
        again = rough_duration(number_in(between, "again_in_s"))
        return f"the command of --between, which failed and runs again in {again}"
    return ""


def _dispatcher_waits(snapshot: Fields) -> Iterator[Wait]:
    dispatchers = snapshot.get("dispatchers") or ()
    if not dispatchers and number_in(snapshot, "queued"):
        yield "a dispatcher: none has reported yet", Tone.BAD
    names = short_names([str(each.get("id")) for each in dispatchers])
    starts = any(_analyzer_waits(snapshot.get("consumer") or {}, 0.0))
    for each in dispatchers:
        who = f"{printable(names[str(each.get('id'))])}: " if len(dispatchers) > 1 else ""
        if each.get("stale"):
            yield f"{who}the dispatcher, which is {silence_text(each)}", Tone.BAD
        elif (sentence := printable_sentence(str(each.get("waiting_for") or ""))) == OPENING and starts:
            continue  # the analyzer's own line has more about it
        elif sentence:
            yield f"{who}{_without_lead(sentence, snapshot)}", _tone_of(sentence)
        elif _is_stalled(each, snapshot):
            lasts = rough_duration(number_in(each, "stalled_s"))
            yield f"{who}the analyzer, which has read nothing for {lasts}", Tone.BAD


def _without_lead(sentence: str, snapshot: Fields) -> str:
    """Return what is waited for without the words that are the line's label."""
    text = sentence.removeprefix(_LEAD).removesuffix(".") if sentence.startswith(_LEAD) else sentence
    stream = str((snapshot.get("consumer") or {}).get("stream") or "")
    if text != _FILES or not stream or snapshot.get("finish"):
        return text
    command = command_about(str(snapshot.get("lane") or ""), "finish")
    return f"{text}; stream {printable(stream)} stays open until '{command}'"


def _tone_of(sentence: str) -> Tone:
    return Tone.PLAIN if sentence == IDLE else Tone.ATTENTION


def _is_stalled(dispatcher: Fields, snapshot: Fields) -> bool:
    """Report whether the analyzer reads nothing, although neither it nor feeding is paused."""
    consumer = snapshot.get("consumer") or {}
    may_read = not snapshot.get("suspended") and not consumer.get("paused_s")
    return may_read and number_in(dispatcher, "stalled_s") >= STALLED_S


def _analyzer_waits(consumer: Fields, now_s: float) -> Iterator[Wait]:
    if consumer.get("stale"):
        return
    since = f", for {rough_duration(now_s - number_in(consumer, 'since_s'))}" if "since_s" in consumer else ""
    words = {"flushing": "writes its last results", "starting": "starts"}
    if (state := str(consumer.get("state"))) in words:
        yield f"the analyzer, which {words[state]}{since}", Tone.PLAIN
    elif state == "failing":
        yield "the next start of the analyzer, which fails", Tone.BAD


def _finish_waits(finish: object) -> Iterator[Wait]:
    if finish == "now":
        yield "the end of the current file: then the stream ends ('pcapdj finish')", Tone.PLAIN
    elif finish:
        yield "an empty queue: then the stream ends ('pcapdj finish')", Tone.PLAIN
