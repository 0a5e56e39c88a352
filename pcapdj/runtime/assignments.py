r"""Lines `NAME=value` as systemd's EnvironmentFile= takes them. Rules only.

    # a comment, also with ;            only where a line begins with it
    NAME=20GiB                          a backslash takes the next character as it is; at the end it joins
                                        this line and the next
    NAME='a b'                          as it is, over several lines too
    NAME="a \"b\""                      a backslash before " \ ` $ takes that character; at the end as above

Nothing is expanded. Every text that is accepted here means the same to systemd. Refused here, and not there:
a line without `=`, text after a closing quote, a name that is set twice, control characters.
Source: systemd.exec(5), EnvironmentFile=, of systemd 254 or later.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted

_BLANKS: Final = " \t"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SINGLE: Final = re.compile(r"'([^']*)'")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN: Final = re.compile(r"((?:[^\\\n]|\\.|\\\Z)*)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.|\Z)", re.DOTALL)
_ESCAPED_IN_QUOTES: Final = re.compile(r"\\([\"\\`$\n])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NEEDS_NO_QUOTES: Final = re.compile(r"[^\s'\"\\#;](?:[^\n'\"\\]*[^\s'\"\\])?")


class Assignment(NamedTuple):
    """One variable, its value, and the number of the line where it begins, from 1."""

    name: str
    text: str
    line: int


def parse_assignments(text: str) -> list[Assignment]:
    """Return the assignments of a text, in its order.

    Raises:
        ConfigError: a line is not understood; the message begins with its number.
    """
    if text.startswith("\ufeff"):
        raise ConfigError("line 1: The file begins with a byte order mark.", hint="Save it as plain UTF-8.")
    found: dict[str, Assignment] = {}
    for each in _assignments(text.replace("\r\n", "\n")):
        if before := found.get(each.name):
            raise _refused(each.line, f"{each.name} is set in line {before.line} already.")
        found[each.name] = each
    return list(found.values())


def assignment_line(name: str, text: str) -> str:
    """Return the line that sets a variable to this text, without control characters."""
    if not text or _NEEDS_NO_QUOTES.fullmatch(text):
        return f"{name}={text}"
    escaped = re.sub(r'(["\\`$])', r"\\\1", text)
    return f'{name}="{escaped}"'


def _assignments(text: str) -> Iterator[Assignment]:
    place, line = 0, 1
    while place < len(text):
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        content = text[place:end].strip()
        if content and content[0] not in "#;":
            name, value, end = _assignment(text, place, end, line)
            yield Assignment(name, value, line)
        line += text.count("\n", place, end + 1)
        place = end + 1


def _assignment(text: str, place: int, end: int, line: int) -> tuple[str, str, int]:
    """Return name and value of the assignment that begins here, and the place of the newline after it."""
    name, equals, _ = text[place:end].partition("=")
    if not equals:
        raise _refused(line, f"{quoted(name.strip())} has no '='.", "Write NAME=value.")
    start = place + len(name) + 1
    if not _NAME.fullmatch(name := name.strip()):
        hint = "Leave 'export' out." if name.startswith("export ") else "Write NAME=value."
        raise _refused(line, f"{quoted(name)} is not the name of a variable.", hint)
    while start < len(text) and text[start] in _BLANKS:
        start += 1
    value, stop = _value(text, start, line)
    if _CONTROL.search(value):
        raise _refused(line, f"The value of {name} has a control character.")
    return name, value, stop


def _value(text: str, start: int, line: int) -> tuple[str, int]:
    quote = text[start : start + 1]
    if quote not in ("'", '"'):
        match = _PLAIN.match(text, start)
        raw = match[1] if match else ""
        return _unescaped(raw), start + len(raw)
    match = (_SINGLE if quote == "'" else _DOUBLE).match(text, start)
    if not match:
        raise _refused(line, f"The quote {quote} is not closed.")
    end = text.find("\n", match.end())
    end = len(text) if end < 0 else end
    if rest := text[match.end() : end].strip():
        hint = "Put the whole value in one pair of quotes; a comment has its own line."
        raise _refused(line, f"After the closing quote comes {quoted(rest)}.", hint)
    value = match[1]
    if quote == '"':
        value = _ESCAPED_IN_QUOTES.sub(lambda each: each[1].replace("\n", ""), value)
    return value, end


def _unescaped(raw: str) -> str:
    """Return an unquoted value without the blanks at its end and the backslashes of its escapes."""
    stripped = raw.rstrip(_BLANKS)
    is_escaped = (len(stripped) - len(stripped.rstrip("\\"))) % 2
    kept = raw[: len(stripped) + is_escaped]
    return _ESCAPED.sub(lambda each: each[1].replace("\n", ""), kept)


def _refused(line: int, reason: str, hint: str = "") -> ConfigError:
    return ConfigError(f"line {line}: {reason}", hint=hint)
