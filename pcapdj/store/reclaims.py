"""Claims on fed files that are about to be removed, and what became of them.

Before a file loses its name, its record in FED is marked, in each lane that has one: a script checks in the
same step that the name is neither queued, current nor failed there. While the mark stands, ENQUEUE and
REQUEUE refuse the name. Other programs push names into the list without a check. So the claim is confirmed
just before the file is unlinked, and the list itself is searched again.

    PCAPDJ_RECLAIMING  name -> the claims, and what is being done; kept until that is done
    PCAPDJ_RECLAIMED   name -> what became of the file
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import to_name, to_text
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.lanes import LaneKeys
from pcapdj.store.registration import run_with_currents

_MARK: Final = "reclaiming"  # of a record in FED, as the scripts look for it
KEPT_S: Final = 400 * 86_400.0  # as the journal
_SLICE: Final = 100
_LONGEST_BYTES: Final = 64 << 10
_REASONS: Final = {
    0: "fed again, or looked at by an importer, meanwhile",
    -1: "queued again",
    -2: "being fed again",
    -3: "among the failed files",
}


class Claim(NamedTuple):
    """A mark in the FED of one lane, for one of its queues.

    Args:
        lane, queue: which.
        name: of the file, as the lane knows it.
        before: its record; empty: the lane has none, and nothing is marked.
        during: the record while it is claimed.
    """

    lane: str
    queue: str
    name: str
    before: str
    during: str

    def keys(self) -> Keys:
        """Return the keys of the lane and queue."""
        return Keys(self.lane, self.queue)


class Refused(PcapdjError):
    """A claim is not given: the message is the reason, as `queued again`."""


def claim_each(
    store: Store, lanes: Sequence[LaneKeys], claims: Mapping[str, Claim], given: list[Claim]
) -> None:
    """Claim a file in all queues of all lanes.

    Args:
        store: any lane.
        lanes: all of them.
        claims: by the lane's name; its queue is not looked at.
        given: gets each claim that was given, for `release`.

    Raises:
        Refused: in one of them it is wanted.
        As `Store.call`.
    """
    for lane in lanes:
        claim = claims[lane.name]
        for number, queue in enumerate(lane.queues):
            known, value = (claim.during, "") if number else (claim.before, claim.during)
            _run(store, claim._replace(queue=queue), known or claim.before, value)
            given.append(claim._replace(queue=queue))


def confirm(store: Store, claims: Sequence[Claim]) -> None:
    """Check that all claims still stand.

    Raises:
        Refused: a name was queued or fed meanwhile, or another program changed the record.
        As `Store.call`.
    """
    for claim in claims:
        _run(store, claim, claim.during or claim.before, "")


def release(store: Store, claims: Sequence[Claim]) -> None:
    """Give the records back as they were; one that was changed meanwhile stays.

    Raises:
        As `Store.call`.
    """
    for claim in claims:
        if claim.during:
            of_lane = store.in_lane(claim.keys())
            arguments = [to_name(each) for each in (claim.name, claim.during, claim.before)]
            of_lane.run("replace_field", [of_lane.keys.fed], arguments)


def begin(store: Store, name: bytes, fields: Mapping[str, Any]) -> None:
    """Write down that a file is being removed, before anything is done; again with each step.

    Raises:
        As `Store.call`.
    """
    entry = dict[Any, Any]({name: json.dumps(fields)})
    store.call(lambda client: client.hset(store.keys.reclaiming, mapping=entry))


def end(store: Store, name: bytes, outcome: Mapping[str, Any] | None) -> None:
    """Write down what became of a file, and that nothing is left to do.

    Args:
        store: the lane.
        name: of the file.
        outcome: for PCAPDJ_RECLAIMED; None: the file is where it was.

    Raises:
        As `Store.call`.
    """
    with store.redis.pipeline(transaction=True) as batch:
        if outcome is not None:
            batch.hset(store.keys.reclaimed, mapping=dict[Any, Any]({name: json.dumps(outcome)}))
        batch.hdel(store.keys.reclaiming, to_text(name))
        store.call(lambda _: batch.execute())


def unfinished(store: Store) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the removals that a process has begun and not ended; an entry that is not valid has no fields.

    Raises:
        As `Store.call`.
    """
    for name, value in list(_scan(store, store.keys.reclaiming)):
        try:
            yield name, decode_object(value)
        except ValueError:
            yield name, {}


def is_unfinished(store: Store, name: bytes, fields: Mapping[str, Any]) -> bool:
    """Report whether a removal is still as `unfinished` has yielded it.

    Raises:
        As `Store.call`.
    """
    value = read_hash(store, store.keys.reclaiming, [name]).get(name)
    try:
        return value is not None and decode_object(value) == fields
    except ValueError:
        return not fields


def unfinished_count(store: Store) -> int:
    """Return how many removals were begun and not ended: by a process that works now, or has died.

    Raises:
        As `Store.call`.
    """
    return int(store.call(lambda client: client.hlen(store.keys.reclaiming)))


def claims_of(fields: Mapping[str, Any]) -> list[Claim]:
    """Return the claims of an unfinished removal; those that are not valid are left out.

    Any program may have written them: a claim gives a record back without its mark, and changes nothing else.
    """
    found = fields.get("claims")
    lists = [each for each in found if isinstance(each, list)] if isinstance(found, list) else []
    valid = [each for each in lists if len(each) == len(Claim._fields)]
    claims = [Claim(*each) for each in valid if all(isinstance(part, str) for part in each)]
    return [claim for claim in claims if _is_valid(claim)]


def _is_valid(claim: Claim) -> bool:
    try:
        claim.keys()
        if not claim.during:
            return True
        during = decode_object(claim.during)
        return bool(during.pop(_MARK, "")) and during == decode_object(claim.before)
    except (ConfigError, ValueError):
        return False


def forget_old(store: Store, now_s: float) -> None:
    """Remove what became of files 400 days ago.

    Raises:
        As `Store.call`.
    """
    for name, value in _scan(store, store.keys.reclaimed):
        try:
            time_s = float(decode_object(value).get("time_s", 0))
        except (ValueError, TypeError):
            time_s = 0.0
        if time_s < now_s - KEPT_S:
            store.run("forget_fields", [store.keys.reclaimed], [name, value])


def reclaimed(store: Store, name: bytes) -> dict[str, Any] | None:
    """Return what became of a file: `how`, `to`, `time_s` and more; None: it was not reclaimed.

    Raises:
        As `Store.call`.
    """
    try:
        return decode_object(read_hash(store, store.keys.reclaimed, [name]).get(name))
    except ValueError:
        return None


def write_fed(store: Store, name: bytes, record: str) -> None:
    """Write down that a file is a capture that was fed, before it has its name.

    Raises:
        As `Store.call`.
    """
    store.call(lambda client: client.hset(store.keys.fed, mapping=dict[Any, Any]({name: record})))


def copies(store: Store) -> Iterator[str]:
    """Yield the paths of the compressed copies that replaced captures.

    Raises:
        As `Store.call`.
    """
    for _, value in _scan(store, store.keys.reclaimed):
        try:
            fields = decode_object(value)
        except ValueError:
            continue
        if fields.get("how") == "compressed" and isinstance(fields.get("to"), str):
            yield fields["to"]


def new_token() -> str:
    """Return a text that marks a claim, with the time in it for people."""
    return f"{time.time():.6f}"


def _run(store: Store, claim: Claim, known: str, value: str) -> None:
    of_lane = store.in_lane(claim.keys())
    keys = of_lane.keys
    places = [keys.in_queue, keys.fed, keys.failed_names, keys.dispatchers]
    arguments = [to_name(each) for each in (claim.name, known, value)]
    if (answer := int(run_with_currents(of_lane, "claim", places, arguments))) != 1:
        lane = f" in lane {claim.lane!r}" if claim.lane != store.keys.lane else ""
        raise Refused(f"{_REASONS[answer]}{lane}")


def _scan(store: Store, key: str) -> Iterator[tuple[bytes, bytes]]:
    cursor = b"0"
    while True:
        cursor, *parts = store.run("scan_hash", [key], [cursor, str(_SLICE), str(_LONGEST_BYTES)])
        yield from zip(parts[::2], parts[1::2], strict=True)
        store.check_stop()
        if cursor == b"0":
            return
