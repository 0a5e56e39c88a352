"""File names as people may safely see them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.runtime.safe_text import PRINTABLE_LIMIT_CHARS, printable, quoted, to_name, to_text

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


@pytest.mark.parametrize(("name", "shown"), HOSTILE)
def test_what_could_act_on_a_terminal_is_escaped(name: bytes, shown: str) -> None:
    """Everything else stays as it is, so that a person recognises the file."""
    assert printable(name) == shown
    assert quoted(name) == f"'{shown}'"


@given(st.binary(max_size=5000))
def test_any_bytes_become_one_harmless_line(name: bytes) -> None:
    """No control, format, surrogate or separator character is left, and a name never floods a log."""
    shown = printable(name)

    assert len(shown) <= PRINTABLE_LIMIT_CHARS
    assert not [char for char in shown if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_two_short_names_never_look_the_same(one: bytes, other: bytes) -> None:
    """Escapes are unambiguous: what is shown tells which file it was."""
    if max(len(printable(one)), len(printable(other))) < PRINTABLE_LIMIT_CHARS:
        assert (printable(one) == printable(other)) == (one == other)


@given(st.binary())
def test_a_name_survives_json(name: bytes) -> None:
    """Text and back gives the same bytes."""
    assert to_name(to_text(name)) == name
