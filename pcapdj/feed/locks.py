"""One dispatcher per pipe, and one per id: locks that the kernel releases however their holder dies.

The pipe's lock lies beside it. An id is a name in Redis, and with `--id` two dispatchers of different pipes
could have the same one: each would work on the other's file. Redis cannot tell which of them is alive without
guessing by age, so that lock is a file too, in the user's private runtime folder. It holds on one machine.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pcapdj.runtime.places import private_folder, user_folder
from pcapdj.runtime.process import Lock
from pcapdj.store.client import Store
from pcapdj.store.redis_url import safe_url


@contextmanager
def exclusive(pipe: Path, own_id: str, store: Store) -> Iterator[None]:
    """Be the only dispatcher of this pipe and id for the block.

    Args:
        pipe: absolute; its lock is enough where it is the id, too.
        own_id: who the dispatcher is in Redis.
        store: the lane.

    Raises:
        AlreadyRunning: another dispatcher has one of the two; its pid is named.
        CannotCreate: a lock cannot be made.
    """
    with ExitStack() as held:
        held.callback(Lock(pipe.with_name(f".{pipe.name}.dispatcher.lock"), "dispatcher").close)
        if own_id != str(pipe):
            held.callback(Lock(_place_of(own_id, store), "dispatcher of this id").close)
        yield


def _place_of(own_id: str, store: Store) -> Path:
    folder = user_folder()
    private_folder(folder)
    who = f"{safe_url(store.url)}\n{store.keys.current(own_id)}"
    return folder / f"id-{hashlib.sha256(who.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.lock"
