"""Which lines of an analyzer's output name the cause of its exit. Rules only.

The last line is often not the cause. Suricata that may not write its log folder prints the cause second and
ends with "Signal Received.  Stopping engine."; a program with a wrong option prints the cause first and then
its usage. So the lines are ranked, and of the best rank that occurs the first and the last line are shown:
the first is usually the cause, the last what ended the process.

    1  an error by its form     "E: pcap: ..", "Error: ..", "<Error> - ..", "ValueError: .."
    2  a line of the program    "tcpdump: ..": programs name themselves before a complaint
    3  an error by its words    "cannot open ..", "no space left .."
    4  anything else; only the last line is shown

Warnings are not errors, whatever words they contain.
"""

import re
from collections.abc import Sequence
from typing import Final

_LINE_LIMIT_CHARS: Final = 300
_BY_FORM: Final = re.compile(
    r"^(?:\S+ ){0,6}<error>"  # Suricata 6: 1/2/2026 -- 10:00:00 - <Error> - [ERRCODE: ..]
    r"|^(?:\[[^]]*\] )?(?:\S+ ){0,2}(?:e|(?:fatal |internal )?error|fatal|critical|panic)\b ?[:!]"
    r"|^(?:fatal )?error in\b"  # Zeek
    r"|^[\w.]*(?:Error|Exception)(?::|$)",  # the end of a Python traceback
    re.IGNORECASE,
)
_BY_WORDS: Final = re.compile(
    r"\b(?:error|fatal|fail(?:ed|ure|s)?|can(?:not|'t)|could not|unable to|denied|not permitted|no such"
    r"|not found|does(?:n't| not) exist|no space|quota|invalid|unknown|unrecognized|unsupported|refused"
    r"|abort(?:ed)?|panicked|out of memory|segmentation fault|bus error|assertion)\b",
    re.IGNORECASE,
)
_WARNING: Final = re.compile(r"^(?:\[[^]]*\] )?(?:\S+ ){0,6}<?(?:w|warn|warning)\b>? ?[:-]", re.IGNORECASE)


def cause_in(lines: Sequence[str], program: str) -> str:
    """Return the line or the two lines that name the cause, separated by " .. "; empty if there is no output.

    Args:
        lines: what the analyzer printed, or its beginning and its end.
        program: the name of its executable file.
    """
    printed = [line.strip() for line in lines if line.strip()]
    if not printed:
        return ""
    ranks = [_rank(line, program) for line in printed]
    best = min(ranks)
    chosen = [line for line, rank in zip(printed, ranks, strict=True) if rank == best]
    shown = [chosen[0], chosen[-1]] if best < _OTHER and chosen[0] != chosen[-1] else [chosen[-1]]
    return " .. ".join(line[:_LINE_LIMIT_CHARS] for line in shown)


_OTHER: Final = 4


def _rank(line: str, program: str) -> int:
    if _WARNING.search(line):
        return _OTHER
    if _BY_FORM.search(line):
        return 1
    if line.startswith(f"{program}: "):
        return 2
    return 3 if _BY_WORDS.search(line) else _OTHER
