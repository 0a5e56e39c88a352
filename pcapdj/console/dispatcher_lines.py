"""The dispatchers on the status screen: what each does, its file, what is unusual. Rules only."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pcapdj.console.screen import Line, Tone
from pcapdj.console.snapshot_fields import Fields, count_in, number_in, packets_in, several_in, silence_text
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable, printable_sentence, quoted
from pcapdj.runtime.units import human_size, rough_duration, steps_back_text

_BAR_WIDTH: Final = 24
FEEDING: Final = "Feeding fifo buffer"  # the state's name, as the original has it
_NAME_WIDTH: Final = 64  # characters beside the labels of a terminal with 80 columns


def rates_between(before: Fields, after: Fields) -> dict[str, float]:
    """Return bytes per second by dispatcher; only of those that feed the same file in both snapshots."""
    earlier = {each.get("id"): each for each in before.get("dispatchers", ())}
    rates: dict[str, float] = {}
    for each in after.get("dispatchers", ()):
        old = earlier.get(each.get("id"), {})
        elapsed_s = number_in(each, "heartbeat_s") - number_in(old, "heartbeat_s")
        fed_bytes = number_in(each, "done_bytes") - number_in(old, "done_bytes")
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
    if number_in(counts, "left_out"):
        yield "left out", f"{packets_in(counts, 'left_out')}, because of their link type"
    if number_in(counts, "wrapped_times"):
        packets = packets_in(counts, "wrapped_times")
        yield "wrapped", f"the times of {packets} from before 1970 or after 2106"
    if number_in(counts, "steps_back"):
        steps, largest_ns = (
            int(number_in(counts, "steps_back")),
            int(number_in(counts, "largest_step_back_ns")),
        )
        yield "timestamps", f"{steps_back_text(steps, largest_ns)}, inside files"
    if counts.get("after_2038_stream"):
        yield "timestamps", "after 2038-01-19, which programs built on libpcap read as negative"
    if number_in(counts, "beyond_snaplen"):
        verb = "is" if counts["beyond_snaplen"] == 1 else "are"
        yield (
            "snaplen",
            f"{packets_in(counts, 'beyond_snaplen')} {verb} longer than that of the file, and whole",
        )


def short_names(dispatchers: Sequence[str]) -> dict[str, str]:
    """Return a short name by id: of a pipe's path its last part, if no other pipe has the same one."""
    parts = {each: each.rpartition("/")[2] for each in dispatchers}
    last_parts = Counter(parts.values())
    return {each: part if part and last_parts[part] == 1 else each for each, part in parts.items()}


def dispatcher_lines(snapshot: Fields, rates: Mapping[str, float]) -> Iterator[Line]:
    """Yield the lines about all dispatchers; the rates are bytes per second, where known."""
    dispatchers = snapshot.get("dispatchers") or ()
    current = {each.get("dispatcher"): each for each in snapshot.get("current") or ()}
    names = short_names([str(each.get("id")) for each in dispatchers])
    if not dispatchers:
        yield Line("Dispatcher", "none has reported yet")
    for each in dispatchers:
        dispatcher = str(each.get("id"))
        state = printable(str(each.get("state", "unknown")))
        silence = f", {silence_text(each)}" if each.get("stale") else ""
        tone = Tone.ATTENTION if each.get("stale") else Tone.PLAIN
        yield Line("Dispatcher", f"{printable(names[dispatcher])}: {state}{silence}", tone)
        yield from _work_lines(each)
        if file := current.get(each.get("id")):
            yield from _file_lines(file, each, rates.get(dispatcher) if is_feeding(each) else None)


def is_feeding(dispatcher: Fields) -> bool:
    """Report whether a dispatcher feeds a file now: neither held, suspended nor silent."""
    return dispatcher.get("state") == FEEDING and not dispatcher.get("stale")


def _work_lines(statistics: Fields) -> Iterator[Line]:
    if "packets" in statistics:
        suspensions = f", {several_in(statistics, 'suspensions')}" if statistics.get("suspensions") else ""
        captured = human_size(number_in(statistics, "cap_lengths"))
        files, packets = several_in(statistics, "files"), several_in(statistics, "packets")
        known = f", {count_in(statistics, 'known')} known already" if statistics.get("known") else ""
        yield Line("", f"{files}{known}, {packets}, {captured} captured{suspensions}")
    if (jumps := statistics.get("jumps")) and isinstance(jumps, int):
        last_name, last_jump = (str(statistics.get(each, "")) for each in ("last_jump_name", "last_jump"))
        yield Line("", f"timestamps: {jumps_text(jumps, last_name, last_jump)}", Tone.ATTENTION)
    for label, text in anomaly_rows(statistics):
        yield Line("", f"{label}: {text}", Tone.ATTENTION)
    if anomaly := str(statistics.get("last_anomaly") or ""):
        name = quoted(str(statistics.get("last_anomaly_name", "")).rpartition("/")[2])
        yield Line("", f"last: {name} {printable_sentence(anomaly)}", Tone.ATTENTION)
    yield from loss_lines(statistics)


def loss_lines(statistics: Fields) -> Iterator[Line]:
    """Yield what Redis has lost: by a restart without its data, an eviction, a failover, another program."""
    if restored := int(number_in(statistics, "restored")):
        times = "once" if restored == 1 else f"{restored:,} times"
        yield Line("", f"Redis lost its registration {times}; it was restored", Tone.ATTENTION)
    if lost := int(number_in(statistics, "lost_names")):
        yield Line("", f"Redis lost {counted(lost, 'name')} of the queue: import the files again", Tone.BAD)


def _file_lines(current: Fields, statistics: Fields, rate: float | None) -> Iterator[Line]:
    attempt = f", attempt {count_in(current, 'attempt')}" if number_in(current, "attempt") > 1 else ""
    state = printable(str(current.get("state", "")))
    yield from _name_lines(str(current.get("name", "")), f" ({state}{attempt})")
    total_bytes = number_in(statistics, "total_bytes")
    if statistics.get("name") == current.get("name") and total_bytes > 0:
        yield Line("", progress_text(number_in(statistics, "done_bytes"), total_bytes, rate))


def _name_lines(name: str, state: str) -> Iterator[Line]:
    """Yield a path; a long one on two lines, since a terminal would break it anywhere."""
    folder, slash, base = name.rpartition("/")
    if not slash or len(quoted(name) + state) <= _NAME_WIDTH:
        yield Line("", quoted(name) + state)
        return
    yield Line("", quoted(base) + state)
    yield Line("", f"in {quoted(folder + slash)}")
