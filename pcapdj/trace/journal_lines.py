"""How an entry of the journal is shown: lines for people, an object or a row for programs. No I/O."""

from typing import Any, Final

from pcapdj.runtime.foreign_json import decode_json
from pcapdj.runtime.numbers import counted, finite_number, signed_number
from pcapdj.runtime.safe_text import printable, printable_sentence, quoted, without_effect
from pcapdj.runtime.units import human_size, steps_back_text, utc_text, utc_text_ns
from pcapdj.store.journal import FedFile

COLUMNS: Final = (
    *("finished", "name", "verdict", "reason", "stream", "first_packet", "packets", "size_bytes"),
    *("cap_lengths", "lengths", "fed_s", "first", "last", "step_ns", "jump", "left_out", "wrapped_times"),
    *("steps_back", "largest_step_back_ns", "beyond_snaplen", "after_2038", "attempt", "earlier_streams"),
    *("known_as", "begins_as", "suspect"),
)
_NOT_NUMBERS: Final = (
    *("name", "verdict", "reason", "stream", "jump", "first", "known_as", "begins_as", "suspect", "failure"),
    "known_since_s",
)
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
_JSON: Final = ("left_out", "earlier_streams", "earlier_parts")


def lines_of(file: FedFile) -> list[str]:
    """Return the line of a file, and below it what is unusual about it."""
    finished = utc_text(file.finished_ms / 1000) if file.finished_ms else ""
    parts = [finished, f"{printable(file.verdict):<9}", quoted(file.name)]
    details = [counted(file.packets, "packet"), _amount(file)]
    if file.first_ts_ns is not None and file.last_ts_ns is not None:
        details.append(f"{utc_text_ns(file.first_ts_ns)} to {utc_text_ns(file.last_ts_ns)}")
    details += [f"stream {printable(file.stream)}"] if file.stream else []
    return [
        "  ".join(filter(None, parts)),
        f"    {', '.join(filter(None, details))}",
        *(f"    {printable_sentence(note)}" for note in notes_of(file)),
    ]


def notes_of(file: FedFile) -> list[str]:
    """Return what is unusual about a file, in words."""
    fields = file.fields
    notes = [file.reason] if file.reason else []
    notes += [fields["jump"]] if fields.get("jump") else []
    notes += [f"packets left out, by link type: {fields['left_out']}"] if fields.get("left_out") else []
    if file.lengths > file.cap_lengths:
        notes.append(f"captured incompletely: {human_size(file.lengths - file.cap_lengths)} are missing")
    if steps := signed_number(fields.get("steps_back", "")):
        notes.append(steps_back_text(steps, file.largest_step_back_ns))
    if wrapped := signed_number(fields.get("wrapped_times", "")):
        notes.append(f"{counted(wrapped, 'time')} wrapped")
    if beyond := signed_number(fields.get("beyond_snaplen", "")):
        notes.append(f"{counted(beyond, 'packet')} beyond the snaplen")
    if fields.get("attempt", "1") not in ("1", ""):
        notes.append(f"attempt {fields['attempt']}: its stream broke off before")
    for name, words in (("known_as", "not fed: known as"), ("begins_as", "begins like")):
        notes += [f"{words} {quoted(fields[name])}"] if fields.get(name) else []
    notes += [f"earlier streams: {fields['earlier_streams']}"] if fields.get("earlier_streams") else []
    notes += [f"its stream may lack output: {fields['suspect']}"] if fields.get("suspect") else []
    return notes


def object_of(file: FedFile) -> dict[str, Any]:
    """Return an entry for programs: numbers as numbers, JSON as what it is, times also in words."""
    found: dict[str, Any] = {"finished_s": file.finished_ms / 1000}
    for name, text in file.fields.items():
        found[name] = _value(name, text)
    found["rate_bytes_per_s"] = rate_of(file)
    for name, time_ns in (("first_time", file.first_ts_ns), ("last_time", file.last_ts_ns)):
        found[name] = None if time_ns is None else utc_text_ns(time_ns)
    return found


def row_of(file: FedFile) -> list[str]:
    """Return an entry as a row below `COLUMNS`; no cell is a formula for a spreadsheet."""
    finished = utc_text(file.finished_ms / 1000) if file.finished_ms else ""
    times = {"first": file.first_ts_ns, "last": file.last_ts_ns}
    shown = {name: "" if time_ns is None else utc_text_ns(time_ns) for name, time_ns in times.items()}
    fields = {**file.fields, **shown, "finished": finished}
    return [_cell(fields.get(name, "")) for name in COLUMNS]


def rate_of(file: FedFile) -> int | None:
    """Return how many bytes of packets were fed per second; None: unknown."""
    return round(file.cap_lengths / file.fed_s) if file.fed_s and file.cap_lengths else None


def _amount(file: FedFile) -> str:
    if not file.packets:
        return "" if file.size_bytes is None else human_size(file.size_bytes)
    rate = rate_of(file)
    took = "" if file.fed_s is None else f" in {file.fed_s:.1f} s"
    return f"{human_size(file.cap_lengths)}{took}{f' ({human_size(rate)}/s)' if rate else ''}"


def _cell(text: str) -> str:
    """Return a cell: what a spreadsheet would compute begins with an apostrophe, which makes it text.

    Names and reasons come from other programs, and so may numbers: whatever is no number is text. What could
    act on a terminal is escaped, because people look at a table with `head` and `column`, too.
    """
    is_formula = text.startswith(_FORMULAS) and finite_number(text) is None
    return ("'" if is_formula else "") + without_effect(text)


def _value(name: str, text: str) -> Any:
    if name in _JSON:
        try:
            return decode_json(text) if text else None
        except ValueError:
            return text
    if name in _NOT_NUMBERS or not text:
        return text or None
    number = signed_number(text)
    if number is not None:
        return number
    fraction = finite_number(text)
    return text if fraction is None else fraction
