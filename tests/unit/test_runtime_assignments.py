"""Lines `NAME=value`: what systemd's EnvironmentFile= takes, and what is refused, with the line's number."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.runtime.assignments import assignment_line, parse_assignments
from pcapdj.runtime.errors import ConfigError


@each_row(
    ("text", "value"),
    [
        ("A=10%", "10%"),
        (" A = 10 %\t", "10 %"),
        ("A=", ""),
        ('A=""', ""),
        ("A=a # b", "a # b"),
        ("A='a # b'  ", "a # b"),
        ('A=say "a b"', 'say "a b"'),
        ("A=a\\\nb", "ab"),
        (r"A=a\ \\\'", r"a \'"),
        ("A=a\\  ", "a "),
        ("A=a\\", "a"),
        (r"A='a\b'", r"a\b"),
        (r'A="a\"\\\$\n"', r'a"\$\n'),
        ('A="/a\n/b=5%"', "/a\n/b=5%"),
        ("A='/a\r\n/b'\r\n", "/a\n/b"),
        ('A="a\\\nb"', "ab"),
        ("A=$HOME ~ `id`", "$HOME ~ `id`"),
    ],
)
def test_a_value_is_what_systemd_takes_it_for(text: str, value: str) -> None:
    """Quotes, escapes and joined lines as in systemd.exec(5); nothing is expanded."""
    assert [(each.name, each.text) for each in parse_assignments(text)] == [("A", value)]


def test_comments_and_empty_lines_are_left_out_and_lines_are_counted() -> None:
    """A value over several lines counts as those; the number is that of its first one."""
    text = "# A=1\n ; B=2\n\nC='1\n2'\nD=\\\n\n  # E=\n\tE=3"

    assert parse_assignments(text) == [("C", "1\n2", 4), ("D", "", 6), ("E", "3", 9)]


@each_row(
    ("text", "message"),
    [
        ("A=1\nB", "line 2: 'B' has no '='. Write NAME=value."),
        ("export A=1", "line 1: 'export A' is not the name of a variable. Leave 'export' out."),
        ("=1", "line 1: '' is not the name of a variable. Write NAME=value."),
        ("A='1\n2", "line 1: The quote ' is not closed."),
        ('A="1\\"', 'line 1: The quote " is not closed.'),
        (
            '\nA="1" # why',
            (
                "line 2: After the closing quote comes '# why'."
                " Put the whole value in one pair of quotes; a comment has its own line."
            ),
        ),
        ("A=1\nB=2\nA=3", "line 3: A is set in line 1 already."),
        ("A=1\0", "line 1: The value of A has a control character."),
        ("A='\x1b[2J'", "line 1: The value of A has a control character."),
        ("\ufeffA=1", "line 1: The file begins with a byte order mark. Save it as plain UTF-8."),
        ("<html>\n", "line 1: '<html>' has no '='. Write NAME=value."),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, message: str) -> None:
    """Also what systemd would leave out without a word, or take for something else than it looks like."""
    with pytest.raises(ConfigError) as refused:
        parse_assignments(text)

    assert str(refused.value) == message


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.just("\n") | st.sampled_from(" '\"\\$#;")))
def test_a_written_value_is_read_back(text: str) -> None:
    """Any text without control characters."""
    assert parse_assignments(assignment_line("A", text)) == [("A", text, 1)]


@given(st.text(st.sampled_from("AB= \t\n\r'\"\\#;$x\0\ufeff")))
def test_any_text_is_parsed_or_refused_with_a_line_that_it_has(text: str) -> None:
    """No text is a traceback."""
    lines = text.count("\n") + 1
    try:
        numbers = [each.line for each in parse_assignments(text)]
    except ConfigError as refused:
        numbers = [int(number) for number in re.findall(r"^line (\d+):", str(refused))]
        assert numbers
    assert all(1 <= number <= lines for number in numbers)


@pytest.mark.parametrize("text", ["A=" + " " * 65_000, "A=" + "\\" * 65_000, "A='" + '"=' * 32_000 + "'"])
def test_a_long_line_takes_no_long_time(text: str) -> None:
    """Each character is looked at a few times, not once for each other one: that would take minutes."""
    assert len(parse_assignments(text)) == 1
