"""What an operator may change in a lane: limits, the gate's override, suspension, end of stream, requeueing.

Each call writes absolute values or runs an idempotent script, then publishes a message on the lane's channel.
No role needs to run: the keys hold the change until a role reads them.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, cast

from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.client import Store
from pcapdj.store.job_queue import as_bytes
from pcapdj.store.snapshot import Failure, read_failures

OPERATOR: Final = "operator"  # the operator's member of PCAPDJ_SUSPEND
_LAST_FILES: Final = 10
_CHUNK: Final = 1000  # names in one HMGET


def read_control(store: Store) -> dict[str, str]:
    """Return PCAPDJ_CONTROL: the live limits as typed, and the gate's override.

    Raises:
        As `Store.call`; so do all functions here.
    """
    fields = store.call(lambda client: client.hgetall(store.keys.control))
    return {to_text(as_bytes(name)): to_text(as_bytes(value)) for name, value in fields.items()}


def change_control(store: Store, values: Mapping[str, str], removed: Collection[str] = ()) -> None:
    """Write some live limits or the gate's override, and remove others, in one transaction."""
    pairs = dict[Any, Any]({name: as_bytes(text) for name, text in values.items()})
    with store.redis.pipeline(transaction=True) as batch:
        if pairs:
            batch.hset(store.keys.control, mapping=pairs)
        if removed:
            batch.hdel(store.keys.control, *removed)
        store.call(lambda _: batch.execute())
    store.notify("control")


def suspend(store: Store) -> None:
    """Pause feeding until the operator resumes it; the suspension survives restarts."""
    store.call(lambda client: client.sadd(store.keys.suspend, OPERATOR))
    store.notify("suspend")


def is_suspended(store: Store) -> bool:
    """Report whether the operator has suspended feeding."""
    return bool(store.call(lambda client: client.sismember(store.keys.suspend, OPERATOR)))


def poison_in_a_row(store: Store, poison: str) -> int:
    """Return how many of the newest journal entries in a row, at most ten, have a reason that begins so."""
    entries = cast(
        "list[tuple[bytes, dict[bytes, bytes]]]",
        store.call(lambda client: client.xrevrange(store.keys.journal, count=_LAST_FILES)),
    )
    reasons = [fields.get(b"reason", b"").startswith(poison.encode()) for _, fields in entries]
    return [*reasons, False].index(False)


def resume(store: Store) -> tuple[bool, list[str]]:
    """Remove the operator's suspension; return whether there was one, and the other members that suspend."""
    key = store.keys.suspend
    removed = store.call(lambda client: client.srem(key, OPERATOR))
    others = store.call(lambda client: client.smembers(key))
    store.notify("suspend")
    return bool(removed), sorted(to_text(as_bytes(member)) for member in others)


def finish(store: Store, when: Literal["now", "empty"]) -> None:
    """Request the end of the stream: after the current file, or when no file is queued or current."""
    store.call(lambda client: client.set(store.keys.finish, when))
    store.notify("finish")


def requeue_failure(store: Store, failure: Failure) -> bool:
    """Move a failed file to the queue's end; False if the entry is gone or has no name."""
    if failure.name is None:
        return False
    return _requeue(store, store.keys.failed, failure.entry, failure.name)


def requeue(store: Store, name: bytes) -> bool:
    """Move a processed or failed file to the queue's end; False if it is in neither list."""
    if _requeue(store, store.keys.processed, name, name):
        return True
    same = [failure for failure in read_failures(store) if failure.name == name]
    return any(requeue_failure(store, failure) for failure in same)


def processed_in(store: Store, stream: str) -> list[bytes]:
    """Return the processed files that this stream has a part of, in the order in which they were fed.

    Of streams that broke off in a file it is not found: the file was fed again.
    """
    names = store.call(lambda client: client.lrange(store.keys.processed, 0, -1))
    found: list[bytes] = []
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        streams = [_streams_of(note) for note in _notes(store, chunk)]
        found += [as_bytes(name) for name, fed_in in zip(chunk, streams, strict=True) if stream in fed_in]
    return found


def _notes(store: Store, names: list[Any]) -> list[Any]:
    return store.call(lambda client: client.hmget(store.keys.fed, names))


def _requeue(store: Store, source: str, entry: bytes, name: bytes) -> bool:
    keys = [source, store.keys.in_queue, store.keys.channel]
    return bool(store.run("requeue", keys, [entry, name]))


def _streams_of(note: bytes | None) -> list[object]:
    """Return the stream of the file's last pass, and those before that ended in order inside it."""
    try:
        fields = decode_object(note)
        return [fields["stream"], *fields.get("earlier_streams", ())]
    except (ValueError, TypeError, KeyError):
        return []
