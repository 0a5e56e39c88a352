"""Cases of one statement, of which `make test` has some and `make test-long` the others."""

from collections.abc import Container, Iterable
from typing import Any

import pytest


def some_long(cases: Iterable[Any], *, quick: Container[Any]) -> list[Any]:
    """Return the cases for `parametrize`; all but the quick ones are marked long.

    Args:
        cases: single parameters, not tuples of several.
        quick: those that `make test` runs.
    """
    return [case if case in quick else pytest.param(case, marks=pytest.mark.long) for case in cases]
