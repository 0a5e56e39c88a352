"""Text from outside as it is shown on a terminal and in a log."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.runtime.safe_text import (
    PRINTABLE_LIMIT_CHARS,
    printable,
    printable_sentence,
    quoted,
    shortened_message,
    to_name,
    to_text,
)

HOSTILE = [
    (b"/in/1.pcap", "/in/1.pcap"),
    (b"/in/a\nb", "/in/a\\nb"),
    (b"/in/\x1b[31mred", "/in/\\x1b[31mred"),
    (b"/in/\xff\xfe", "/in/\\xff\\xfe"),
    (b"/in/it's", "/in/it\\'s"),
    (b"/in/back\\slash", "/in/back\\\\slash"),
    ("/in/\u202egnp".encode(), "/in/\\u202egnp"),
    ("/in/\u2028line".encode(), "/in/\\u2028line"),
    ("/in/größe $(rm) `x` ;".encode(), "/in/größe $(rm) `x` ;"),
    (b"-rf", "-rf"),
    (b"%s {0} \x00", "%s {0} \\x00"),
]


@pytest.mark.parametrize(("name", "escaped"), HOSTILE)
def test_what_could_act_on_a_terminal_is_escaped(name: bytes, escaped: str) -> None:
    """Everything else is unchanged, so that a person recognises the file."""
    assert printable(name) == escaped
    assert quoted(name) == f"'{escaped}'"


@given(st.binary(max_size=5000))
def test_any_bytes_become_one_harmless_line(name: bytes) -> None:
    """No control, format, surrogate or separator character is left, and its length is limited."""
    escaped = printable(name)

    assert len(escaped) <= PRINTABLE_LIMIT_CHARS
    assert not [char for char in escaped if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_two_short_names_never_look_the_same(one: bytes, other: bytes) -> None:
    """Escapes are unambiguous: a log line identifies its file."""
    if max(len(printable(one)), len(printable(other))) < PRINTABLE_LIMIT_CHARS:
        assert (printable(one) == printable(other)) == (one == other)


@given(st.binary())
def test_a_name_survives_json(name: bytes) -> None:
    """Text and back gives the same bytes."""
    assert to_name(to_text(name)) == name


@given(st.text(max_size=100))
def test_a_sentence_keeps_what_can_be_printed(sentence: str) -> None:
    """Only other characters are escaped."""
    escaped = printable_sentence(sentence)

    assert escaped.isprintable()
    if sentence.isprintable():
        assert escaped == sentence


@pytest.mark.parametrize(
    ("message", "shortened"),
    [("It is\n  full.", "It is full"), ("x" * 200, "x" * 160), ("", ""), ("wait...", "wait")],
)
def test_another_programs_message_is_one_short_line(message: str, shortened: str) -> None:
    """It stands inside a sentence of ours, so its full stop goes."""
    assert shortened_message(message) == shortened
