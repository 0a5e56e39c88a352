"""Tables of a rule: one test looks at all rows, where a test for each costs more than the rule.

pytest and four workers take about 7 ms for a test; a rule without I/O takes microseconds for a row.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

Test = Callable[..., None]


def each_row(
    names: str | Sequence[str],
    rows: Iterable[Any],
    *,
    ids: Iterable[str] | Callable[[Any], object] | None = None,
) -> Callable[[Test], Test]:
    """Run the test with each row, and show all rows that fail; the arguments are those of `parametrize`.

    For tests without fixtures: all rows would share what a fixture makes.
    """
    arguments = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
    table = [_values(row, len(arguments)) for row in rows]
    labels = [_label(arguments, row) for row in table] if ids is None or callable(ids) else list(ids)
    assert table, "a table without rows shows nothing"
    assert len(labels) == len(table), "each row has a name"

    def decorated(test: Test) -> Test:
        @functools.wraps(test)
        def all_rows(**others: object) -> None:
            failures: list[Exception] = []
            for label, row in zip(labels, table, strict=True):
                try:
                    test(**dict(zip(arguments, row, strict=True)), **others)
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - raised below, with the row
                    failures.append(_named(error, label))
            if failures:
                raise ExceptionGroup(f"{len(failures)} of {len(table)} rows fail", failures)

        signature = inspect.signature(test)
        left = [each for name, each in signature.parameters.items() if name not in arguments]
        all_rows.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return all_rows

    return decorated


def _values(row: Any, count: int) -> tuple[Any, ...]:
    if isinstance(row, type(pytest.param())):
        return tuple(row.values)
    return (row,) if count == 1 else tuple(row)


def _label(arguments: Sequence[str], row: Sequence[Any]) -> str:
    return ", ".join(f"{name}={value!r:.200}" for name, value in zip(arguments, row, strict=True))


def _named(error: BaseException, label: str) -> Exception:
    if not isinstance(error, Exception):  # of pytest.raises and pytest.fail
        error = AssertionError(str(error)).with_traceback(error.__traceback__)
    error.add_note(f"Row: {label}")
    return error
