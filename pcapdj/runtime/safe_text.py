"""Text from outside, made safe to show on a terminal and in a log.

File names, messages of Redis and an analyzer's log may hold newlines, terminal escapes or bytes that
are not UTF-8. A file name is any byte string without NUL, up to 4095 bytes (PATH_MAX less its NUL); inside
pcapdj it stays bytes. Rules only.
"""

import os
import re
from typing import Final

NAME_LIMIT_BYTES = 4095
PRINTABLE_LIMIT_CHARS = 300  # of a name in a log line: enough to recognise it, too few to flood the log
_MESSAGE_LIMIT_CHARS = 160
_URL: Final = re.compile(r"(\w+)://.*", re.DOTALL)


def printable(name: bytes | str) -> str:
    """Return the name on one line, every character that could act on a terminal escaped.

    Control, format (U+202E turns text around), surrogate, private and unassigned characters and blanks other
    than the space become backslash escapes, and so do backslash and quote; a name longer than
    `PRINTABLE_LIMIT_CHARS` ends in an ellipsis.

    Source: str.isprintable of Python; PEP 383 for bytes that are not UTF-8.
    """
    text = os.fsdecode(name) if isinstance(name, bytes) else name
    escaped = "".join(_escaped(char) for char in text[: PRINTABLE_LIMIT_CHARS + 1])
    if len(escaped) <= PRINTABLE_LIMIT_CHARS:
        return escaped
    return escaped[: PRINTABLE_LIMIT_CHARS - 1] + "…"


def quoted(name: bytes | str) -> str:
    """Return `printable` in single quotes: how messages show a name."""
    return f"'{printable(name)}'"


def printable_sentence(sentence: str) -> str:
    """Return the sentence on one line; quotes stay, what could act on a terminal is escaped."""
    return "".join(char if char.isprintable() else printable(char) for char in sentence)


def shortened_message(message: str) -> str:
    """Return the start of another program's message: one line, at most 160 characters, no full stop."""
    return " ".join(message.split())[:_MESSAGE_LIMIT_CHARS].rstrip(".")


def without_urls(sentence: str) -> str:
    """Return the sentence up to the scheme of a URL in it: a word in the wrong place may have a password."""
    return _URL.sub(r"\1://…", sentence)


def to_text(name: bytes) -> str:
    """Return the name as text for JSON; `to_name` gives the same bytes back."""
    return os.fsdecode(name)


def to_name(text: str) -> bytes:
    """Return the bytes of a name that was read from JSON or a command line."""
    return os.fsencode(text)


def _escaped(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8 (PEP 383)
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
