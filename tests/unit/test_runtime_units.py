"""Sizes, percentages and times as people write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.numbers import counted, signed_number, whole_number
from pcapdj.runtime.units import (
    Amount,
    exact_size,
    human_duration,
    human_size,
    parse_amount,
    parse_duration,
    parse_size,
    rough_duration,
)


@each_row(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("500M", 500 << 20),
        ("20GiB", 20 << 30),
        ("20 gb", 20 << 30),
        (" 1.5k ", 1536),
        (".5T", 1 << 39),
        ("12B", 12),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size_bytes: int) -> None:
    """With and without a unit, which are powers of 1024, in any case."""
    assert parse_size(text) == size_bytes


@each_row("text", ["", "-1", "1e9", "ten", "5 X", "1,5G", "nan", "inf", "1K2", "\u0665\n%", "9P9"])
def test_a_text_that_is_not_a_size_is_refused_and_named(text: str) -> None:
    """The message has the option and the text as typed."""
    with pytest.raises(ConfigError, match="--min-free") as refused:
        parse_size(text, "--min-free")

    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["2000P", "9" * 400])
def test_a_size_above_an_exbibyte_is_refused(text: str) -> None:
    """No disk is that large; the number may have any length."""
    with pytest.raises(ConfigError, match="exbibyte"):
        parse_size(text)


@each_row(("text", "percent"), [("10%", 10.0), (" 0.5 % ", 0.5), ("100%", 100.0), ("0%", 0.0)])
def test_a_percentage_is_a_part_of_the_whole(text: str, percent: float) -> None:
    """Of a disk, of inodes, of memory."""
    amount = parse_amount(text)

    assert amount == Amount(percent=percent)
    assert amount.of(1000) == percent * 10


@each_row("text", ["101%", "%", "-5%", "5%%", "five%", "\u0663%", "\u0663", "5\u212a"])
def test_an_invalid_percentage_is_refused(text: str) -> None:
    """So is one above 100."""
    with pytest.raises(ConfigError):
        parse_amount(text)


def test_what_is_no_amount_is_refused_with_all_that_may_be_written() -> None:
    """A percentage, too."""
    with pytest.raises(ConfigError, match=r"x: 'lots' is neither a percentage nor a number\.") as refused:
        parse_amount("lots", "x")

    assert "10%" in (refused.value.hint or "")


@each_row(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("30s", 30.0),
        ("5m", 300.0),
        ("250ms", 0.25),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("0", 0.0),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    """Seconds without a unit."""
    assert parse_duration(text) == seconds


@each_row("text", ["", "soon", "-1s", "1w", "1 m 5", "inf", "5\u017f", "5m\u017f", "\u0663", "\uff15s"])
def test_a_text_that_is_not_a_duration_is_refused(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ConfigError, match="seconds"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["40000d", "9" * 400])
def test_a_duration_above_a_century_is_refused(text: str) -> None:
    """poll(2) would fail on infinity, later, in a wait."""
    with pytest.raises(ConfigError, match="century"):
        parse_duration(text)


@each_row(
    ("seconds", "text"),
    [(0.4, "0 s"), (-5, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_a_rough_duration_has_one_unit(seconds: float, text: str) -> None:
    """Seconds up to two minutes, then the largest unit that it holds at least twice."""
    assert rough_duration(seconds) == text


@each_row(
    ("span_ns", "text"),
    [
        (0, "0 s"),
        (1, "1 ns"),
        (1_500, "1 us 500 ns"),
        (250_000_000, "250 ms"),
        (1_250_000_000, "1 s 250 ms"),
        (12_000_000_999, "12 s"),
        (3600 * 10**9, "1 h"),
        ((3 * 3600 + 2 * 60 + 59) * 10**9, "3 h 2 min"),
        ((3 * 3600 + 59) * 10**9, "3 h"),
        (20_000 * 86_400 * 10**9, "20,000 d"),
    ],
)
def test_a_duration_has_its_two_largest_units(span_ns: int, text: str) -> None:
    """The second one only if it is not 0; smaller units are left out."""
    assert human_duration(span_ns) == text


@given(st.integers(0, 1 << 60))
def test_a_size_in_a_message_is_read_back_as_about_the_same_size(size_bytes: int) -> None:
    """A person may type the size of a message; only its rounding to one decimal is lost."""
    assert parse_size(human_size(size_bytes)) == pytest.approx(size_bytes, rel=0.06)


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No other error is raised, whatever an operator typed or Redis holds."""
    for parse in (parse_amount, parse_duration):
        with suppress(ConfigError):
            assert parse(text) is not None


@given(st.integers(1, 1 << 80))
def test_a_duration_in_words_loses_less_than_a_tenth(span_ns: int) -> None:
    """It has one or two units, and is never 0 for a span above 0."""
    sizes = {"d": 86_400 * 10**9, "h": 3600 * 10**9, "min": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000}
    words = human_duration(span_ns).replace(",", "").split()

    in_words_ns = sum(
        int(count) * sizes.get(unit, 1) for count, unit in zip(words[::2], words[1::2], strict=True)
    )

    assert len(words) in {2, 4}
    assert 0 < in_words_ns <= span_ns
    assert span_ns - in_words_ns < span_ns / 10


@each_row("text", ["", "-1", "+1", "1_0", " 1", "1.0", "\u00b2", "\u0663", "9" * 21, "9" * 5000])
def test_what_is_no_number_of_ours_is_none(text: str) -> None:
    """Python's own conversion takes some of these, and raises an error for others that look like numbers."""
    assert whole_number(text) is None
    assert text == "-1" or signed_number(text) is None


@given(st.integers(0, 2**64 - 1))
def test_a_whole_number_of_64_bits_is_read_back(number: int) -> None:
    """From text and from bytes; with a sign it has 63."""
    assert whole_number(str(number)) == whole_number(b"%d" % number) == number
    assert signed_number(f"-{number}") == (-number if number < 2**63 else None)
    assert signed_number(f"--{number}") is None


@each_row(
    ("number", "noun", "nouns", "text"),
    [
        (0, "packet", "", "0 packets"),
        (1, "packet", "", "1 packet"),
        (1200, "packet", "", "1,200 packets"),
        (1, "entry", "entries", "1 entry"),
        (2, "entry", "entries", "2 entries"),
        (2, "packet is", "packets are", "2 packets are"),
    ],
)
def test_a_number_has_its_noun(number: int, noun: str, nouns: str, text: str) -> None:
    """In the singular for one of them; thousands are set apart."""
    assert counted(number, noun, nouns) == text


@each_row(
    ("size_bytes", "text"),
    [(1, "1 B (1 byte)"), (0, "0 B (0 bytes)"), (1 << 30, "1.0 GiB (1,073,741,824 bytes)")],
)
def test_an_exact_size_has_both_forms(size_bytes: int, text: str) -> None:
    """For people, and for whoever compares it with a number in a log."""
    assert exact_size(size_bytes) == text
