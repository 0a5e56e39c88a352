"""Text from outside, made safe to show on a terminal and in a log.

File names, messages of Redis and an analyzer's log may hold newlines, terminal escapes or bytes that
are not UTF-8. A file name is any byte string without NUL, up to 4095 bytes (PATH_MAX less its NUL); inside
pcapdj it stays bytes. Rules only.
"""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

NAME_LIMIT_BYTES = 4095
PRINTABLE_LIMIT_CHARS = 300  # of a name in a log line: enough to recognise it, too few to flood the log
_MESSAGE_LIMIT_CHARS = 160
_SENTENCE_LIMIT_CHARS = 4000
_IN_URL: Final = {ord(each): f"%{ord(each):02X}" for each in "%?#\t\r\n"}
# how the commands begin that are offered for pasting; not the name before a message, as in `pcapdj run: ..`
_COMMAND: Final = re.compile(
    r"(?:pcapdj [a-z][a-z-]*+(?!:)|chmod |chown |setfacl |nfs4_getfacl |bash |exec )"
)
_OFFERED: Final = re.compile(rf"(?<!\S){_COMMAND.pattern}")
_PLAIN_WORD: Final = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
# Python counts them as printable, but no terminal shows them: marks and letters without a form, and blanks.
# With one of them two names look the same, or a text has more in it than is seen.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
_URL: Final = re.compile(r"\b(\w+)://.*", re.DOTALL)  # from the start of a word: a long one costs its length


def printable(name: bytes | str) -> str:
    """Return the name on one line, every character that could act on a terminal escaped.

    Control, format (U+202E turns text around), surrogate, private, unassigned and invisible characters and
    blanks other than the space become backslash escapes, and so do backslash and quote; a name longer than
    `PRINTABLE_LIMIT_CHARS` ends in an ellipsis.

    Source: str.isprintable of Python; DerivedCoreProperties.txt of Unicode, Default_Ignorable_Code_Point; PEP
    383 for bytes that are not UTF-8.
    """
    text = os.fsdecode(name) if isinstance(name, bytes) else name
    escaped = "".join(_escaped(char) for char in text[: PRINTABLE_LIMIT_CHARS + 1])
    if len(escaped) <= PRINTABLE_LIMIT_CHARS:
        return escaped
    return escaped[: PRINTABLE_LIMIT_CHARS - 1] + "…"


def is_shown(text: str) -> bool:
    """Report whether each character of a text is visible on a terminal and none controls it."""
    return text.isprintable() and not _INVISIBLE.search(text)


def quoted(name: bytes | str) -> str:
    r"""Return the name in quotes, as messages show it: what bash reads as this name, unless it was cut.

    A name that needs escapes is written as $'..', with bytes as \xNN; one longer than
    `PRINTABLE_LIMIT_CHARS` ends in an ellipsis.

    Source: bash(1), QUOTING.
    """
    text = os.fsdecode(name) if isinstance(name, bytes) else name
    shown = _between_quotes(text[: PRINTABLE_LIMIT_CHARS + 1])
    if len(shown) > PRINTABLE_LIMIT_CHARS:
        shown = shown[: PRINTABLE_LIMIT_CHARS - 1] + "…"
    return f"$'{shown}'" if "\\" in shown else f"'{shown}'"


def shell_word(text: str) -> str:
    """Return the text as one word that can be pasted into bash: plain, or whole in quotes."""
    if _PLAIN_WORD.fullmatch(text):
        return text
    shown = _between_quotes(text)
    return f"$'{shown}'" if "\\" in shown else f"'{shown}'"


def shell_path(path: "Path") -> str:
    """Return the path as such a word; one that begins with a dash would be an option."""
    text = str(path)
    return shell_word(f"./{text}" if text.startswith("-") else text)


def shell_line(words: Iterable[str]) -> str:
    """Return a command as it can be pasted into bash."""
    return " ".join(map(shell_word, words))


def command_about(lane: str, name: str, *words: str) -> str:
    """Return a command about a lane, to paste into a shell.

    Args:
        lane: empty for the default lane.
        name: of the command.
        words: that follow.
    """
    return shell_line(["pcapdj", name, *(["--lane", lane] if lane else []), *words])


def begins_command(text: str) -> bool:
    """Report whether a text begins with a command that is offered for pasting."""
    return _COMMAND.match(text) is not None


def printable_sentence(sentence: str, *, limit_chars: int = _SENTENCE_LIMIT_CHARS) -> str:
    """Return the sentence on one line, at most 4000 characters of it, or the limit.

    Quotes stay, what could act on a terminal is escaped. Of a sentence that is cut, the last command is left
    out: half of one would be another command.
    """
    if len(sentence) <= limit_chars:
        return without_effect(sentence)
    shown = sentence[:limit_chars]
    *_, command = [len(shown), *(found.start() for found in _OFFERED.finditer(shown))]
    return without_effect(shown[:command]) + "…"


def without_effect(text: str, kept: str = "") -> str:
    """Return the whole text with each character escaped that could act on a terminal.

    Args:
        text: with line ends escaped, too.
        kept: characters that stay.
    """
    if is_shown(text):
        return text
    return "".join(char if is_shown(char) or char in kept else printable(char) for char in text)


def shortened_message(message: str) -> str:
    """Return the start of another program's message: one line, at most 160 characters, no full stop."""
    return " ".join(message.split())[:_MESSAGE_LIMIT_CHARS].rstrip(".")


def without_urls(sentence: str) -> str:
    """Return the sentence up to the scheme of a URL in it: a word in the wrong place may have a password."""
    return _URL.sub(r"\1://…", sentence)


def unix_url(path: str) -> str:
    """Return the URL of a unix socket, as redis-py reads it.

    Source: urllib.parse.urlsplit, which removes line ends and tabs; `?` and `#` end the path of a URL.
    """
    return f"unix://{path.translate(_IN_URL)}"


def as_bytes(value: str | float | bytes) -> bytes:
    """Return a field's value as Redis keeps it."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def to_text(name: bytes) -> str:
    """Return the name as text for JSON; `to_name` gives the same bytes back."""
    return os.fsdecode(name)


def to_name(text: str) -> bytes:
    """Return the bytes of a name that was read from JSON or a command line."""
    return os.fsencode(text)


def _between_quotes(text: str) -> str:
    """Return what stands between single quotes; if it has a backslash, between those of $'..'."""
    if is_shown(text) and "'" not in text and "\\" not in text:
        return text
    return "".join(_escaped_for_shell(char) for char in text)


def _escaped_for_shell(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if is_shown(char) and char != "!":  # bash looks for its history inside $'..'
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _escaped(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8 (PEP 383)
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char if is_shown(char) else char.encode("unicode_escape").decode("ascii")
