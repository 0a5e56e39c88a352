"""Tables of a rule: each row is looked at, and each that fails is named."""

import inspect

import pytest
from support.rows import each_row


def test_every_row_is_looked_at_and_those_that_fail_are_named() -> None:
    """Also behind a row that failed, and where an expected exception was not raised."""
    seen = []

    @each_row("number, is_even", [(2, True), (3, True), pytest.param(4, True, id="four"), (0, False)])
    def rule(number: int, *, is_even: bool) -> None:
        seen.append(number)
        if number == 0:
            with pytest.raises(ValueError, match="none"):
                int("0")
        assert (number % 2 == 0) is is_even

    with pytest.raises(ExceptionGroup, match="2 of 4 rows fail") as raised:
        rule()

    assert seen == [2, 3, 4, 0]
    assert [type(error) for error in raised.value.exceptions] == [AssertionError, AssertionError]
    assert [error.__notes__ for error in raised.value.exceptions] == [
        ["Row: number=3, is_even=True"],
        ["Row: number=0, is_even=False"],
    ]


def test_a_row_has_the_name_that_the_table_gives_it() -> None:
    """Instead of its values; two tables of one test give each combination."""
    seen = []

    @each_row("left", [1, 2], ids=["one", "two"])
    @each_row("right", "ab")
    def rule(left: int, right: str) -> None:
        seen.append((left, right))
        assert left == 1

    assert not inspect.signature(rule).parameters, "pytest would look for fixtures of these names"
    with pytest.raises(ExceptionGroup, match="1 of 2 rows fail") as raised:
        rule()
    assert seen == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    assert raised.value.exceptions[0].__notes__ == ["Row: two"]


def test_a_table_without_rows_is_an_error() -> None:
    """It would show nothing."""
    with pytest.raises(AssertionError, match="without rows"):
        each_row("number", [])
