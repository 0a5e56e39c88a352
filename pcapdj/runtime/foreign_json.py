"""Decodes JSON that another program may have written. Pure.

Redis, files and messages between the roles contain JSON. Its author may be hostile, or a program with a bug.
Invalid text only means that this one value cannot be used: the caller catches `ValueError`.

Source: RFC 8259, "Parsers": an implementation may set limits on the size of texts and the depth of nesting.
Python's decoder has none: it raises RecursionError for a thousand levels, and a value with fewer levels may
raise it later, when it is encoded again.
"""

import json
import math
import re
from typing import Any, Final

from pcapdj.runtime.numbers import counted

MOST_BYTES: Final = 1 << 20  # what is longer is no value of ours
MOST_LEVELS: Final = 32  # ours have four
MOST_VALUES: Final = 32_768  # 10 MB; a file in ten thousand streams has fewer
_BETWEEN_VALUES: Final = (b"[", b"{", b",")
_TEXTS: Final = re.compile(
    rb'(?s)"(?:[^"\\]|\\.)*+"?'
)  # one without an end, too: each byte is looked at once
_MOST_DIGITS: Final = 100  # of a whole number; a time of pcapng in nanoseconds may have 29
_NOT_PLAIN: Final = re.compile(rb"[^\x01-\x7f]|\\u[dD]")  # what every text with half a surrogate pair has


def decode_json(text: str | bytes | None, *, most_bytes: int = MOST_BYTES) -> Any:
    """Return the value of a JSON text.

    Args:
        text: None, as of a missing Redis field, is not valid.
        most_bytes: of the text, in bytes or characters.

    Raises:
        ValueError: it is not valid, too long, or too deep, or has a text that is not Unicode. A byte of a
            name that is not UTF-8 is valid, as `safe_text.to_text` returns it.
    """
    if text is None:
        raise ValueError("there is no JSON text")
    if len(text) > most_bytes:
        raise ValueError(f"a JSON text of {counted(len(text), 'byte')}, more than {most_bytes}")
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    opened = data.count(b"[") + data.count(b"{")
    if opened + data.count(b",") > MOST_VALUES:
        _refuse_values(data)
    try:
        value = json.loads(text, parse_constant=_refuse_number, parse_float=_finite, parse_int=_short)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    if opened >= MOST_LEVELS:  # with fewer it is not too deep
        _refuse_depth(value)
    if _NOT_PLAIN.search(data):  # half a surrogate pair cannot be shown, logged, or be in a name
        json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return value


def decode_object(text: str | bytes | None, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the object of a JSON text.

    Raises:
        ValueError: as `decode_json`, or it is no object.
    """
    value = decode_json(text, most_bytes=most_bytes)
    if not isinstance(value, dict):
        raise ValueError("the JSON text is not an object")  # noqa: TRY004 - as every text that is not valid
    return value


def _refuse_values(text: bytes) -> None:
    """Raise if a text has too many values outside of its texts, such as a payload.

    An empty list has two bytes, and takes 60 in memory.
    """
    rest = _TEXTS.sub(b"", text)
    if sum(map(rest.count, _BETWEEN_VALUES)) > MOST_VALUES:
        raise ValueError(f"a JSON text of more than {MOST_VALUES} values")


def _refuse_number(text: str) -> float:
    """Raise: NaN and Infinity are not JSON, and no program could read what we print of them."""
    raise ValueError(f"{text[:20]!r} in a JSON text")


def _finite(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _refuse_number(text)


def _short(text: str) -> int:
    """Return a whole number; raise if it has so many digits that no float could take it."""
    if len(text) > _MOST_DIGITS:
        _refuse_number(text)
    return int(text)


def _refuse_depth(value: object) -> None:
    """Raise if the value is too deep; level by level, without the recursion that it refuses."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(_too_deep())


def _too_deep() -> str:
    return f"a JSON text of more than {MOST_LEVELS} levels"
