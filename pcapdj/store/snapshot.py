"""A lane as it is now: one consistent snapshot of its keys, in the form that `status --json` prints.

It only reads. A field that is missing is left out, and one that is not a number where a number belongs stays
text: `status` has to work when a role has died or another program wrote the keys. What is JSON in Redis is
decoded, so that there is no JSON inside JSON.
"""

import time
from typing import Any, Final

from pcapdj.runtime.foreign_json import decode_json
from pcapdj.runtime.numbers import finite_number, whole_number
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import read_at_once, read_list, read_set
from pcapdj.store.client import Store
from pcapdj.store.redis_errors import write_refusal
from pcapdj.store.start_problem import problem_at

STALE_AFTER_S: Final = 5.0  # heartbeats come every second; after five missed ones the role is not working
_COUNTED_PAGES: Final = 10  # of a thousand names
_VALUE_LIMIT_BYTES: Final = 16 << 10
_STATE_LIMIT_BYTES: Final = 101
_INTEGERS: Final = frozenset({
    *("attempt", "deaths", "size_bytes", "mtime_ns", "dev", "ino", "pid", "launcher_pid", "restarts"),
    *("first_packet", "input_bytes", "output_bytes", "starts", "crashes"),
    *("suspensions", "files", "failed", "jumps", "packets", "cap_lengths", "lengths"),
    *("known", "read_bytes", "storage_queued", "waiting", "written", "restored", "lost_names"),
    *("left_out", "wrapped_times", "steps_back", "largest_step_back_ns", "beyond_snaplen"),
    *("done_bytes", "total_bytes", "stream_bytes", "stalled_s", "free_bytes", "needed_bytes"),
})  # fmt: skip
_INTERNAL: Final = ("token", "finished", "forgotten", "queued")
_SECONDS: Final = frozenset(
    {"started_s", "heartbeat_s", "since_s", "paused_s", "storage_since_s", "last_event_s", "lost_s"}
)
# fields that are JSON in Redis, and its type; what is not of that type is empty
_JSON: Final[dict[str, type]] = {
    **dict.fromkeys(("folders", "overlaps", "disks", "full"), list),
    **dict.fromkeys(("skipped", "begin", "live", "limits", "short", "fill_rates", "file_systems"), dict),
    **dict.fromkeys(("reserve", "between", "reclaim", "options", "sources"), dict),
}
_CONTROL: Final = 3  # its place among the hashes: as typed, also where it looks like a number

Snapshot = dict[str, Any]


def read_snapshot(store: Store, now_s: float) -> Snapshot:
    """Return the snapshot of a lane.

    Args:
        store: the lane.
        now_s: seconds since the epoch, for the age of heartbeats.

    Raises:
        As `Store.call`.
    """
    ids = sorted(map(to_text, read_set(store, store.keys.dispatchers)))
    keys = store.keys
    places = [keys.in_queue, keys.processed, keys.failed, keys.state, keys.finish, keys.suspend]
    roles = [keys.gate, keys.consumer, keys.importer, keys.control]
    of_dispatchers = [*map(keys.current, ids), *map(keys.stats, ids)]
    (queued, processed, failed, state, finish, suspended), hashes, refusal = read_at_once(
        store, places, [*roles, *of_dispatchers, keys.suspect], _STATE_LIMIT_BYTES, _VALUE_LIMIT_BYTES
    )
    suspects = hashes.pop()
    control = {to_text(name): to_text(value) for name, value in hashes.pop(_CONTROL).items()}
    gate, consumer, importer, *of_ids = [_typed(fields) for fields in hashes]
    taken = zip(ids, of_ids[: len(ids)], strict=True)
    statistics = zip(ids, of_ids[len(ids) :], strict=True)
    return {
        "lane": store.keys.lane,
        "queued": queued,
        "current": [{"dispatcher": each, **fields} for each, fields in taken if "name" in fields],
        "processed": processed,
        "failed": failed,
        "gate": _aged(gate, now_s) if gate else None,
        "dispatchers": [{"id": each, **_aged(fields, now_s)} for each, fields in statistics],
        "consumer": _aged(consumer, now_s) if consumer else None,
        "importer": _aged(importer, now_s) if importer else None,
        "suspended": sorted(map(to_text, suspended)),
        "suspects": {to_text(stream): to_text(reason) for stream, reason in suspects.items()},
        "control": control,
        "state": to_text(state),
        "finish": to_text(finish),
        "redis_problem": problem_at(store.url) or (write_refusal(refusal) if refusal else ""),
    }


def is_recent(heartbeat_s: str | bytes | None) -> bool:
    """Report whether the role that published this heartbeat still runs.

    Args:
        heartbeat_s: seconds since the epoch, as Redis has it; None without one.
    """
    try:
        return abs(time.time() - float(heartbeat_s or "nan")) <= STALE_AFTER_S
    except ValueError:
        return False


def queued_below(store: Store, folder: bytes) -> tuple[int, bool]:
    """Return how many of the queue's first 10,000 names are below a folder, and whether it has no more.

    Raises:
        As `Store.call`.
    """
    found, prefix = 0, folder.rstrip(b"/") + b"/"
    for page, names in enumerate(read_list(store, store.keys.in_queue)):
        if page == _COUNTED_PAGES:
            return found, False
        found += sum(name.startswith(prefix) for name in names)
    return found, True


def _typed(fields: dict[bytes, bytes]) -> dict[str, Any]:
    """Return a hash with numbers and JSON decoded, without the fields that only our processes use."""
    named = {to_text(name): to_text(value) for name, value in fields.items()}
    return {name: _value(name, text) for name, text in named.items() if name not in _INTERNAL}


def _value(name: str, text: str) -> Any:
    if name in _JSON:
        return _decoded(text, _JSON[name])
    number = whole_number(text) if name in _INTEGERS else finite_number(text) if name in _SECONDS else None
    return text if number is None else number  # half written, or of another program: it stays text


def _decoded(text: str, kind: type) -> Any:
    """Return the value of a JSON text; empty, where it is not what belongs there."""
    try:
        value = decode_json(text)
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()


def _aged(fields: dict[str, Any], now_s: float) -> dict[str, Any]:
    """Return the fields with the heartbeat's age; without a heartbeat they are stale."""
    beat = fields.get("heartbeat_s")
    age_s = max(0.0, round(now_s - beat, 1)) if isinstance(beat, float) else None
    return {**fields, "heartbeat_age_s": age_s, "stale": age_s is None or age_s > STALE_AFTER_S}
