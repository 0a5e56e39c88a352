"""The form of each answer of Redis that is used: what has another form does not come from a Redis.

Redis runs a Lua script and sends what it returns: an integer, bytes, none (`false`), or a list of these.
Another program at that port, or a proxy that mixes up connections, can send a well-formed answer of another
type. It is refused where it arrives, in `Store`, so that the code behind it needs no check of its own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Form = Callable[[Any], bool]

_DIGITS: Final = re.compile(rb"-?[0-9]{1,300}")
_ID: Final = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")
_OF_CURRENT: Final = frozenset(
    (b"name", b"state", b"attempt", b"deaths", b"token", b"stream", b"begin", b"queued")
)


def _is_number(answer: Any) -> bool:
    return isinstance(answer, int)


def _is_text(answer: Any) -> bool:
    return isinstance(answer, bytes)


def _is_whole(answer: Any) -> bool:
    return _is_number(answer) or (_is_text(answer) and _DIGITS.fullmatch(answer) is not None)


def _is_id(answer: Any) -> bool:
    return _is_text(answer) and _ID.fullmatch(answer) is not None


def _is_last_id(answer: Any) -> bool:
    """Report whether it is the id of the last entry that was looked at; empty: there is none."""
    return answer == b"" or _is_id(answer)


def _is_taken(answer: Any) -> bool:
    if not _TEXTS(answer) or not answer:
        return False
    what, *rest = answer
    if what == b"taken":
        return _PAIRS(rest) and {b"name", b"token"} <= {*rest[::2]} <= _OF_CURRENT
    return answer == [b"empty"] or (what == b"finish" and rest in ([b"now"], [b"empty"]))


def _maybe(form: Form) -> Form:
    return lambda answer: answer is None or form(answer)


def _one_of(*numbers: int) -> Form:
    return lambda answer: _is_number(answer) and answer in numbers


def _list(*first: Form, rest: tuple[Form, ...] = ()) -> Form:
    """Return the form of a list: these elements, and then `rest` as often as it takes."""

    def has_form(answer: Any) -> bool:
        if not isinstance(answer, list) or len(answer) < len(first):
            return False
        left = len(answer) - len(first)
        if left and (not rest or left % len(rest)):
            return False
        forms = (*first, *rest * (left // len(rest) if rest else 0))
        return all(form(each) for form, each in zip(forms, answer, strict=True))

    return has_form


_TEXTS: Final = _list(rest=(_is_text,))
_NUMBERS: Final = _list(rest=(_is_number,))
_PAIRS: Final = _list(rest=(_is_text, _is_text))
_HASHES: Final = _list(_PAIRS, rest=(_PAIRS,))

FORMS: Final[Mapping[str, Form]] = {
    "announce": _is_number,
    "authorize": _list(_one_of(-1, 0, 1), rest=(_is_text,)),
    "begin_pass": _is_number,
    "claim": _maybe(_is_number),
    "edit_queue": _maybe(_NUMBERS),
    "end_check": _is_number,
    "enqueue": _maybe(_list(rest=(_one_of(*range(-6, 2)),))),
    "finish": _is_number,
    "forget_dispatcher": _list(_is_text, rest=(_is_text,)),
    "forget_entry": _is_number,
    "forget_fields": _is_number,
    "forget_lines": _TEXTS,
    "grant": _maybe(_one_of(-1, 0, 1)),
    "index_failures": _is_number,
    "index_journal": _is_number,
    "index_names": _list(*[_is_number] * 5, _TEXTS),
    "last_lines": _list(rest=(_maybe(_is_text),)),
    "least_samples": _list(_is_last_id, rest=(_list(_is_text, _is_text, _is_whole, _is_whole),)),
    "newest_reasons": _TEXTS,
    "queue_size": _list(_is_number, _is_whole, _is_text),
    "read_hashes": _HASHES,
    "read_list": _TEXTS,
    "read_set": _TEXTS,
    "read_stream": _list(_is_last_id, rest=(_list(_is_id, _PAIRS),)),
    "replace_field": _is_number,
    "requests": _list(_TEXTS, _NUMBERS, _list(rest=(_PAIRS,))),
    "requeue": _NUMBERS,
    "restore": _list(_is_number, _is_number, _is_number, _is_text),
    "scan_hash": _list(_is_text, rest=(_is_text, _is_text)),
    "scan_journal": _list(_is_last_id, _is_number, rest=(_is_id, _PAIRS)),
    "scan_lines": _list(_is_text, rest=(_is_text, _is_whole)),
    "snapshot": _list(*[_is_number] * 3, _is_text, _is_text, _TEXTS, _HASHES, _is_text),
    "take": _is_taken,
}


# of commands whose answers are used; redis-py has made of SCAN's what is here
COMMAND_FORMS: Final[Mapping[str, Form]] = {
    **dict.fromkeys(("LLEN", "HLEN", "XLEN", "HSTRLEN"), _is_number),
    **dict.fromkeys(("EXISTS", "HEXISTS", "SISMEMBER", "SREM"), _is_number),
    "HGET": _maybe(_is_text),
    "MEMORY USAGE": _maybe(_is_number),
    "SCAN": lambda answer: isinstance(answer, tuple) and _list(_is_number, _TEXTS)([*answer]),
}


def checked(answer: Any, form: Form) -> Any:
    """Return the answer of a script or command.

    Raises:
        TypeError: it has another form.
    """
    if not form(answer):
        raise TypeError("Redis does not answer so")
    return answer
