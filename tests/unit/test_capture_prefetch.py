"""Items made in advance: the same ones, in order, with the same end."""

from collections.abc import Iterator
from threading import active_count

import pytest

from pcapdj.capture.prefetch import prefetched
from pcapdj.runtime.errors import CaptureError


def test_items_come_in_order() -> None:
    """All of them, however many are made in advance."""
    assert [list(prefetched(iter(range(50)), count)) for count in (1, 3, 99)] == [list(range(50))] * 3


def test_an_error_of_the_iterator_is_raised_after_the_items_before_it() -> None:
    """It is found in advance, and raised in its place."""

    def items() -> Iterator[int]:
        yield from (1, 2)
        raise CaptureError("damaged", offset=7)

    taken: list[int] = []
    with pytest.raises(CaptureError, match="damaged"):
        taken.extend(prefetched(items(), 9))

    assert taken == [1, 2]


def test_closing_early_ends_the_thread() -> None:
    """Also while it waits for room; after that no other code uses the file."""
    before = active_count()
    made = prefetched(iter(range(1000)), 2)

    first = next(made)
    made.close()

    assert (first, active_count()) == (0, before)
