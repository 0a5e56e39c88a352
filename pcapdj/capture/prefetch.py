"""Makes the next items of an iterator in a thread while the current one is used.

Decompressing lets other threads of Python run, so while one item is checked and written, the next is made on
another processor. Imported only for compressed captures: `threading` takes time to load, and where items are
only read, handing them over costs more than it gains.
"""

from collections.abc import Generator, Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")


class _End:
    """Marks the end of the items: the error that ended them, or None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetched(items: Iterator[Item], count: int) -> Generator[Item, None, None]:
    """Yield the items, with up to `count` of them made in advance.

    An error of the iterator is raised after the items before it. Close the generator if you do not use all
    items: then the thread ends.

    Args:
        items: no other code may use it, or what it works on, until the generator is closed.
        count: maximum number of items that wait.
    """
    made: Queue[Item | _End] = Queue(count)
    is_closed = Event()
    maker = Thread(target=_make, args=(items, made, is_closed), name="prefetch", daemon=True)
    maker.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        is_closed.set()
        while maker.is_alive():  # it may wait for room in the queue
            _empty(made)
            maker.join(0.01)


def _make(items: Iterator[Item], made: "Queue[Item | _End]", is_closed: Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            made.put(item)
            if is_closed.is_set():
                break
    except BaseException as exc:  # noqa: BLE001 - raised where the items are used
        error = exc
    made.put(_End(error))


def _empty(made: "Queue[Item | _End]") -> None:
    while not made.empty():
        made.get_nowait()
