"""What an operator may change in a lane: limits, the gate's override, suspension, end of stream, requeueing.

Each call writes absolute values or runs an idempotent script, then publishes a message on the lane's channel.
No role needs to run: the keys hold the change until a role reads them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import as_bytes, to_text
from pcapdj.store.bounded import LIVE_VALUE_LIMIT_BYTES, Track, read_hash, read_list, read_set
from pcapdj.store.client import Store
from pcapdj.store.failures import failures_of, requeue_entries, requeue_failures
from pcapdj.store.journal import Conditions, read_journal
from pcapdj.store.keys import SIGUSR1_MEMBER, Keys

OPERATOR: Final = "operator"  # the operator's member of PCAPDJ_SUSPEND
_LAST_FILES: Final = 10


def read_control(store: Store) -> dict[str, str]:
    """Return PCAPDJ_CONTROL: the live limits as typed, and the gate's override.

    Raises:
        As `Store.call`; so do all functions here.
    """
    fields = read_hash(store, store.keys.control, longest_bytes=LIVE_VALUE_LIMIT_BYTES)
    return {to_text(name): to_text(value) for name, value in fields.items()}


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
    wanted = poison.encode()
    reasons = store.run("newest_reasons", [store.keys.journal], [str(_LAST_FILES), str(len(wanted))])
    return [*(reason == wanted for reason in reasons), False].index(False)


def resume(store: Store) -> tuple[bool, list[str]]:
    """Remove the operator's suspension; return whether there was one, and the other members that suspend."""
    key = store.keys.suspend
    removed = store.call(lambda client: client.srem(key, OPERATOR))
    others = read_set(store, key)
    store.notify("suspend")
    return bool(removed), sorted(map(to_text, others))


def finish(store: Store, when: Literal["now", "empty"]) -> None:
    """Request the end of the lane's streams: after the current file, or when no file is queued or current."""
    with store.redis.pipeline(transaction=True) as batch:
        batch.unlink(store.keys.finished)  # DEL of a million members keeps Redis from all others for 0.4 s
        batch.set(store.keys.finish, when)
        store.call(lambda _: batch.execute())
    store.notify("finish")


def requeue(store: Store, name: bytes) -> bool:
    """Move a processed or failed file to the queue's end; False if it is in neither list."""
    if failures := failures_of(store, [name]):
        return requeue_failures(store, failures) == 1
    return requeue_entries(store, store.keys.processed, [(name, name)]) == [True]


def requeue_all(store: Store, names: Sequence[bytes]) -> int:
    """Move processed or failed files to the queue's end, in this order; return how many were there.

    Those that were fed one after the other are moved together, which costs little more than one of them.
    """
    if failures_of(store, names):
        return sum(requeue(store, name) for name in names)
    return sum(requeue_entries(store, store.keys.processed, [(name, name) for name in names]))


def processed_in(store: Store, stream: str, track: Track = lambda _: None) -> Iterator[list[bytes]]:
    """Yield the processed files that a stream has a part of, many at once, as they were fed.

    A file in which the stream broke off is not among them: it was fed again. The journal has the files, if it
    still has the one that begins the stream; some of them may be queued again by now. Else all that are in
    PROCESSED are looked at first.

    Args:
        store: the lane.
        stream: its id.
        track: is called with how many entries were looked at, again and again.
    """
    has_begin = False
    for part in read_journal(store, Conditions(stream=stream)):
        begins = (each[:2] == (stream, 1) for file in part.files for each in file.all_parts)
        has_begin = has_begin or any(begins)
        if part.files and not has_begin:
            break
        names = dict.fromkeys(file.name for file in part.files if file.verdict == "processed")
        yield _fed_into(store, stream, [*names])
        track(part.looked_at)
    if not has_begin:
        yield _listed_in(store, stream, track)


def _listed_in(store: Store, stream: str, track: Track) -> list[bytes]:
    """Return the files of a stream that are in PROCESSED."""
    found: list[bytes] = []
    for names in read_list(store, store.keys.processed):
        found += _fed_into(store, stream, names)
        track(len(names))
    return found


def processed_length(store: Store) -> int:
    """Return how many processed files there are."""
    return int(store.call(lambda client: client.llen(store.keys.processed)))


def _fed_into(store: Store, stream: str, names: Sequence[bytes]) -> list[bytes]:
    """Return which of these files were last fed into this stream."""
    notes = read_hash(store, store.keys.fed, names) if names else {}
    return [name for name in names if stream in _streams_of(notes.get(name))]


def forget_suspect(store: Store, stream: str) -> None:
    """Remove a stream from PCAPDJ_SUSPECT, since its files are queued again."""
    store.call(lambda client: client.hdel(store.keys.suspect, stream))


def request_skip(store: Store, dispatcher_id: str, token: bytes) -> None:
    """Request that a dispatcher gives up the file that it has taken with this token."""
    store.call(lambda client: client.hset(store.keys.skip, dispatcher_id, token))


def forget_dispatcher(
    store: Store, dispatcher_id: str, queue: str, heartbeat: str, *, requeue: bool
) -> list[bytes]:
    """Remove a dispatcher that has not reported since; return the script's answer.

    Args:
        store: the lane.
        dispatcher_id: of the dispatcher.
        queue: which it takes files from, as `-q` has it.
        heartbeat: its last one, as Redis has it; empty: none.
        requeue: put the file that it has taken back to the head of the queue.
    """
    keys = Keys(store.keys.lane, queue)
    places = [keys.dispatchers, keys.current(dispatcher_id), keys.stats(dispatcher_id)]
    places += [keys.samples_of(dispatcher_id), keys.suspend, keys.skip, keys.finished, keys.next, keys.auth]
    places += [keys.in_queue, keys.queued, keys.channel]
    arguments = [dispatcher_id, f"{SIGUSR1_MEMBER}{dispatcher_id}", heartbeat, "1" if requeue else ""]
    answer: Any = store.run("forget_dispatcher", places, arguments)
    return list(answer)


def _streams_of(note: bytes | None) -> list[object]:
    """Return the stream of the file's last pass, and those before that ended in order inside it."""
    try:
        fields = decode_object(note)
        return [fields["stream"], *fields.get("earlier_streams", ())]
    except (ValueError, TypeError, KeyError):
        return []
