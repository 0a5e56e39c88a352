"""Makes items a little before they are asked for, in a thread.

Reading, unpacking and writing let other threads of Python run; so while one item is written, the next is
made on another processor.
"""

from collections.abc import Generator, Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")


class _Ended:
    """Stands behind the last item: why there is no more, None if that was all."""

    def __init__(self, reason: BaseException | None) -> None:
        self.reason = reason


def prefetched(items: Iterator[Item], count: int) -> Generator[Item, None, None]:
    """Yield the items, with up to `count` of them made in advance; close it if you do not take them all.

    While it is open, nobody else may use the iterator or what it works on. What the iterator raises is raised
    behind the items before it.
    """
    made: Queue[Item | _Ended] = Queue(count)
    is_closed = Event()
    maker = Thread(target=_make, args=(items, made, is_closed), name="ahead", daemon=True)
    maker.start()
    try:
        while not isinstance(item := made.get(), _Ended):
            yield item
        if item.reason is not None:
            raise item.reason
    finally:
        is_closed.set()
        while maker.is_alive():  # it may wait for room
            _empty(made)
            maker.join(0.01)


def _make(items: Iterator[Item], made: "Queue[Item | _Ended]", is_closed: Event) -> None:
    reason: BaseException | None = None
    try:
        for item in items:
            made.put(item)
            if is_closed.is_set():
                break
    except BaseException as exc:  # noqa: BLE001 - it belongs to the one who takes the items
        reason = exc
    made.put(_Ended(reason))


def _empty(made: "Queue[Item | _Ended]") -> None:
    while not made.empty():
        made.get_nowait()
