"""Text from outside as it is shown on a terminal and in a log."""

import subprocess
import unicodedata
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.runtime.safe_text import (
    PRINTABLE_LIMIT_CHARS,
    is_shown,
    printable,
    printable_sentence,
    quoted,
    shell_path,
    shell_word,
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
    ("/in/a\u3164.pcap".encode(), "/in/a\\u3164.pcap"),
    ("/in/a\ufe0f\u2800.pcap".encode(), "/in/a\\ufe0f\\u2800.pcap"),
]


@each_row(("name", "escaped"), HOSTILE)
def test_what_could_act_on_a_terminal_is_escaped(name: bytes, escaped: str) -> None:
    """Everything else is unchanged, so that a person recognises the file."""
    assert printable(name) == escaped


@each_row(
    ("name", "shown"),
    [
        (b"/in/1.pcap", "'/in/1.pcap'"),
        (b"/in/$(rm) `x` ;", "'/in/$(rm) `x` ;'"),
        (b"/in/it's!", "$'/in/it\\'s\\x21'"),
        (b"/in/a\nb", "$'/in/a\\x0ab'"),
        (b"/in/\xff", "$'/in/\\xff'"),
        ("/in/\u202egnp".encode(), "$'/in/\\xe2\\x80\\xaegnp'"),
        ("/in/a\U000e0101.pcap".encode(), "$'/in/a\\xf3\\xa0\\x84\\x81.pcap'"),
        (b"x" * 301, f"'{'x' * 299}…'"),
    ],
)
def test_a_name_is_shown_as_bash_reads_it(name: bytes, shown: str) -> None:
    """In quotes, and with escapes only where it needs them."""
    assert quoted(name) == shown


@each_row(
    "code",
    [
        0x034F,
        0x115F,
        0x1160,
        0x17B4,
        0x180B,
        0x180E,
        0x200B,
        0x2060,
        0x2800,
        0x3164,
        0xFE0F,
        0xFFA0,
        0xE0061,
        0xE01EF,
    ],
)
def test_no_form_of_a_text_has_a_character_that_is_not_seen(code: int) -> None:
    """Two names would look the same, and a text that is pasted would have more in it than is seen."""
    text = f"/in/a{chr(code)}b"

    for shown in (printable(text), printable_sentence(text), quoted(text), shell_word(text)):
        assert chr(code) not in shown


@given(st.lists(st.binary(max_size=60).filter(lambda name: b"\0" not in name), min_size=1, max_size=20))
@example(
    [b"it's", b"!!", b"$(touch PWNED)", b"-x", b"", b"a\\", b"\xe2\x80", b"`x`", b"~", b"*", b"#a", b"a=b"]
)
def test_bash_reads_what_is_shown_as_the_same_bytes(names: list[bytes]) -> None:
    """A command that is offered for pasting does what it shows, for names that are not UTF-8, too."""
    for form in (quoted, lambda name: shell_word(to_text(name))):
        words = " ".join(map(form, names))
        assert words.isprintable()
        done = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True)
        assert done.stdout.split(b"\0")[:-1] == names


@each_row(
    ("text", "word"), [("5ca1ab1e", "5ca1ab1e"), ("--stream", "--stream"), ("a b", "'a b'"), ("", "''")]
)
def test_a_plain_word_needs_no_quotes(text: str, word: str) -> None:
    """As ids, options and most paths."""
    assert shell_word(text) == word


def test_a_path_that_begins_with_a_dash_is_no_option() -> None:
    """A folder of the current one may have any name."""
    assert shell_path(Path("-R")) == "./-R"
    assert shell_path(Path("- x")) == "'./- x'"
    assert shell_path(Path("in/-x")) == "in/-x"


def test_of_a_sentence_that_is_cut_no_command_is_left() -> None:
    """Half of a path is another one, and an open quote takes what is pasted next."""
    path = shell_path(Path("/in/" + "\udcff" * 1600))
    hint = f"It is open to all. Remove that with chmod o-w {path}, or wait."

    assert printable_sentence(hint) == "It is open to all. Remove that with …"
    assert printable_sentence(hint, limit_chars=16_000) == hint


def test_a_sentence_of_megabytes_is_cut() -> None:
    """It would fill the screen and the log."""
    assert printable_sentence("x" * 2_000_000) == "x" * 4000 + "…"


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
def test_a_sentence_keeps_what_a_terminal_shows(sentence: str) -> None:
    """Only other characters are escaped."""
    escaped = printable_sentence(sentence)

    assert is_shown(escaped)
    if is_shown(sentence):
        assert escaped == sentence


@each_row(
    ("message", "shortened"),
    [("It is\n  full.", "It is full"), ("x" * 200, "x" * 160), ("", ""), ("wait...", "wait")],
)
def test_another_programs_message_is_one_short_line(message: str, shortened: str) -> None:
    """It stands inside a sentence of ours, so its full stop goes."""
    assert shortened_message(message) == shortened
