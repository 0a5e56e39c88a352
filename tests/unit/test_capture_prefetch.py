"""Items made ahead of their use: the same ones, in order, with the same end."""

from collections.abc import Iterator
from threading import active_count

import pytest

from pcapdj.capture.prefetch import prefetched
from pcapdj.runtime.errors import CaptureError


def test_items_come_in_order() -> None:
    """All of them, however many are made ahead."""
    assert [list(prefetched(iter(range(50)), count)) for count in (1, 3, 99)] == [list(range(50))] * 3


def test_what_the_maker_raises_comes_behind_the_items_before_it() -> None:
    """Damage is found ahead, and told where it stands."""

    def items() -> Iterator[int]:
        yield from (1, 2)
        raise CaptureError("damaged", offset=7)

    taken: list[int] = []
    with pytest.raises(CaptureError, match="damaged"):
        taken.extend(prefetched(items(), 9))

    assert taken == [1, 2]


def test_who_takes_no_more_leaves_no_thread() -> None:
    """Even if the maker waits for room: nobody else touches the file once it is closed."""
    before = active_count()
    made = prefetched(iter(range(1000)), 2)

    first = next(made)
    made.close()

    assert (first, active_count()) == (0, before)
