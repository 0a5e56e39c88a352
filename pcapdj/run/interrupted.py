"""The file that a run was feeding when it was stopped, and where `--resume` continues with it.

The private service and its Redis end with the run. So pcapdj.json keeps what a service would find in its
Redis at the next start: `begin`, as PCAPDJ_CURRENT has it (`feed.start_point`). The next run gives its
dispatcher this file first, as one that it has taken before.
"""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pcapdj.feed.start_point import start_point_after, start_point_from
from pcapdj.launcher_protocol import read_ended_stream
from pcapdj.run.record import FileResult
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store
from pcapdj.store.job_queue import entry_of

STOPPED: Final = "stopped"  # the verdict of such a file


def interrupted_file(store: Store, dispatcher_id: str, launcher_socket: Path) -> FileResult | None:
    """Return the file that goes on in the next run; None: none was in flight, or it is fed from its start.

    Args:
        store: the run's lane, after its roles have ended.
        dispatcher_id: whose file it is.
        launcher_socket: beside it is the launcher's file about the stream that ended in order.

    Raises:
        As `Store.call`.
    """
    key = store.keys.current(dispatcher_id)
    fields = read_hash(store, key)
    if b"token" not in fields:
        return None
    entry, ended = entry_of(fields), read_ended_stream(launcher_socket)
    is_in_order = ended is not None and (ended.stream, ended.token) == (entry.stream, entry.token)
    start = start_point_after(ended) if ended and is_in_order else start_point_from(entry.begin)
    if start is None or start.identity is None or not start.streams:
        return None
    totals, identity, streams = start.totals, start.identity, list(start.streams)
    numbers = {
        "size_bytes": identity.size_bytes,
        "mtime_ns": identity.mtime_ns,
        "packets": totals.packets,
        "cap_lengths": totals.cap_lengths_bytes,
        "lengths": totals.lengths_bytes,
    }
    stream = streams.pop()
    *parts, (first_packet, _) = start.parts or [(0, 0)]
    numbers |= {"first_packet": first_packet} if first_packet else {}
    return FileResult(
        *(to_text(entry.name), STOPPED, "", stream, numbers),
        earlier_streams=streams,
        earlier_parts=parts,
        begin=start.as_fields(),
    )


def continue_file(store: Store, dispatcher_id: str, name: bytes, begin: Mapping[str, Any]) -> None:
    """Give a dispatcher the file before it takes any other.

    Raises:
        As `Store.call`.
    """
    fields: dict[Any, Any] = {
        "name": name,
        "state": "asked",
        "attempt": 1,
        "deaths": 0,
        "token": secrets.token_hex(8),
        "begin": json.dumps(begin, separators=(",", ":")),
    }
    store.call(lambda client: client.hset(store.keys.current(dispatcher_id), mapping=fields))
