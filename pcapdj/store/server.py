"""What the Redis behind a lane is: its program, version and settings, as it tells them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcapdj.runtime.errors import PcapdjError, StoreUnavailable
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.client import Store
from pcapdj.store.durability import JUDGED
from pcapdj.store.job_queue import as_bytes
from pcapdj.store.syncing import is_synced


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis that answers.

    Args:
        version: `Redis 7.0.15` or `Valkey 9.1.2`.
        settings: of CONFIG GET; None where that is forbidden.
        is_synced: it is an embedded one, and its companion runs.
    """

    version: str
    settings: dict[str, str] | None
    is_synced: bool


def read_server(store: Store) -> Server:
    """Ask the server what it is; of its settings only those that are judged, never its password.

    Raises:
        As `Store.call`.
    """
    store.ping()
    settings = _settings(store)
    leaves_it = settings is not None and settings.get("appendfsync") == "no"
    return Server(_version(store), settings, leaves_it and is_synced(_folder(store)))


def _version(store: Store) -> str:
    try:
        facts: dict[str, Any] = store.call(lambda client: client.info("server"))
    except StoreUnavailable:
        raise
    except PcapdjError:  # an ACL without INFO: it can be used all the same
        return "Redis of a version it does not tell"
    if valkey := facts.get("valkey_version"):
        return f"Valkey {valkey}"
    return f"Redis {facts.get('redis_version', '?')}"


def _settings(store: Store) -> dict[str, str] | None:
    try:
        answers = [_setting(store, name) for name in JUDGED]
    except StoreUnavailable:
        raise
    except PcapdjError:  # managed servers and strict ACLs forbid CONFIG
        return None
    return {
        to_text(as_bytes(name)): to_text(as_bytes(value)) for each in answers for name, value in each.items()
    }


def _folder(store: Store) -> Path:
    """Return the server's data folder as it names it, on whichever machine that is."""
    return next((Path(os.fsdecode(as_bytes(value))) for value in _setting(store, "dir").values()), Path("/"))


def _setting(store: Store, name: str) -> dict[Any, Any]:
    return dict(store.call(lambda client: client.config_get(name)))
