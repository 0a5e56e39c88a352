"""File names as people may safely see them.

A name is any byte string without NUL up to 4095 bytes (PATH_MAX less its NUL); it comes from Redis and may
hold newlines, terminal escapes or bytes that are no UTF-8. Inside pcapdj it stays bytes. Rules only.
"""

import os

NAME_LIMIT_BYTES = 4095
SHOWN_LIMIT = 300  # characters of a name in a log line: enough to recognise it, too few to flood


def printable(name: bytes | str) -> str:
    """Return the name on one line, every character that could act on a terminal escaped.

    Control, format (U+202E turns text around), surrogate, private and unassigned characters and blanks other
    than the space become backslash escapes, and so do backslash and quote; a name longer than `SHOWN_LIMIT`
    ends in an ellipsis.
    """
    text = os.fsdecode(name) if isinstance(name, bytes) else name
    shown = "".join(_shown(char) for char in text[: SHOWN_LIMIT + 1])
    return shown if len(shown) <= SHOWN_LIMIT else shown[: SHOWN_LIMIT - 1] + "…"


def quoted(name: bytes | str) -> str:
    """Return `printable` in single quotes: how names stand in messages."""
    return f"'{printable(name)}'"


def to_text(name: bytes) -> str:
    """Return the name for JSON; `to_name` gives the same bytes back."""
    return os.fsdecode(name)


def to_name(text: str) -> bytes:
    """Return the bytes of a name that stood in JSON or on a command line."""
    return os.fsencode(text)


def _shown(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if "\udc80" <= char <= "\udcff":  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
