"""The kind of a failure, from its reason: one word of a short list, for counters and alert rules. Rules only.

A reason has numbers and names, but a counter needs one of a few labels. A reason that matches no pattern is
`damaged`: nearly all other reasons are about bytes of the capture.
"""

import re
from typing import Final

# kind -> how the reasons begin; the first one that matches counts
_PATTERNS: Final = (
    ("poison", r"poison(?:\(dispatcher\))?:"),
    ("skipped", r"skipped by the operator"),
    ("overwritten", r"overwritten before it was fed"),
    ("storage", r"its folder was removed|is not on the file system that it was queued from"),
    ("unreadable", r"cannot be (?:opened|read)"),
    ("changed", r"changed while it was read|is still being written"),
    ("linktype", r".*\blink types?\b"),
    ("outside", r"is outside of"),
    ("name", r"has a(?:n empty)? name|has a NUL byte"),
    ("empty", r"is empty|is an empty"),
    (
        "format",
        r".*\bnot (?:a )?supported\b|is compressed twice|not a capture stream|.*\bnot a regular file\b",
    ),
)
_KINDS: Final = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)
OTHERS: Final = "damaged"
KINDS: Final = frozenset({OTHERS, *(kind for kind, _ in _PATTERNS)})


def failure_kind(reason: str) -> str:
    """Return the kind of a failure.

    Args:
        reason: as PCAPDJ_FAILED has it.
    """
    return next((kind for kind, pattern in _KINDS if pattern.match(reason)), OTHERS)
