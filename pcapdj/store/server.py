"""Which Redis answers, and whether its settings keep a queue: version, settings, and the risks they bring.

Source: redis.io "Redis persistence" and "Key eviction"; the losses were measured with `kill -9`. everysec may
lose two seconds (docs/operations.md); that is not a risk here, since no setting is better.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pcapdj.runtime.errors import PcapdjError, StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import as_bytes, to_text
from pcapdj.runtime.signals import Waits
from pcapdj.store.client import Store
from pcapdj.store.syncing import is_synced

_SETTINGS: Final = ("appendonly", "appendfsync", "save", "maxmemory-policy")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis that answers.

    Args:
        version: `Redis 7.0.15` or `Valkey 9.1.2`.
        settings: those that `risks` checks, by name; None where CONFIG GET is forbidden.
        is_synced: it is the embedded server, and its companion process runs.
    """

    version: str
    settings: dict[str, str] | None
    is_synced: bool


def read_server(store: Store) -> RedisServer:
    """Return which server answers; of its settings only those that are checked, never its password.

    Raises:
        As `Store.call`.
    """
    store.ping()
    settings = _settings(store)
    is_syncing_itself = settings is None or settings.get("appendfsync") != "no"
    return RedisServer(
        _version(store), settings, is_synced=not is_syncing_itself and is_synced(_data_folder(store))
    )


def risks(settings: Mapping[str, str], *, is_synced: bool) -> Iterator[str]:
    """Yield a sentence for each setting by which this Redis may lose names, or stop when its disk is full.

    Args:
        settings: of CONFIG GET, by name; missing ones are not checked.
        is_synced: a companion process brings the server's file to the disk every second.
    """
    yield from _loss_risks(settings)
    if settings.get("appendonly", "yes") == "yes":
        yield from _disk_risks(settings, is_synced=is_synced)


def warn_of_losses(store: Store, events: EventLog, waits: Waits) -> None:
    """Log the settings by which this Redis can lose the queue; nothing where they cannot be read.

    Raises:
        Stopped: a stop signal arrived. The role's next call might wait for Redis once more.
    """
    try:
        settings = _settings(store) or {}
    except StoreUnavailable:  # the role waits for it, and logs that
        settings = {}
    waits.wait(0)
    for risk in _loss_risks(settings):
        events.warning("redis_may_lose_queue", f"{risk}.")


def _loss_risks(settings: Mapping[str, str]) -> Iterator[str]:
    if settings.get("appendonly", "yes") != "yes":
        if settings.get("save"):
            yield "appendonly is no: a crash loses all names since the last snapshot; use appendonly yes"
        else:
            yield "appendonly is no and save is empty: a restart loses the queue; use appendonly yes"
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy.startswith("allkeys"):
        yield f"maxmemory-policy is {policy}: it may evict the queue when memory is full; use noeviction"


def _disk_risks(settings: Mapping[str, str], *, is_synced: bool) -> Iterator[str]:
    if settings.get("appendfsync") == "no" and not is_synced:
        yield "appendfsync is no: a power loss may lose the last half minute of names; use everysec"
    elif settings.get("appendfsync") == "always":
        yield "appendfsync is always: the server exits when its disk is full; everysec makes it wait instead"


def unwritten_changes(store: Store) -> str:
    """Return a sentence if the latest changes are only in the server's memory; empty: not, or not known.

    Redis answers in the same round of its loop in which its file gets no room, and takes no writes after it.
    When it ends, also in order, what it could not write is lost (measured: 20 of 20 names that it had just
    accepted). Source: redis.io, INFO, `aof_last_write_status`.
    """
    try:
        found: dict[str, Any] = store.call(lambda client: client.info("persistence"))
    except PcapdjError:
        return ""
    if found.get("aof_last_write_status") != "err":
        return ""
    return (
        "Redis cannot write to its disk: its latest changes are only in its memory, and are lost if it ends."
        " It writes them a second after there is room again."
    )


def sharing_risks(store: Store, *, has_roots: bool) -> Iterator[str]:
    """Yield a sentence for each thing that other users of this Redis can do to the lane.

    Args:
        store: the lane.
        has_roots: captures must lie below some folders.

    Raises:
        As `Store.call`.
    """
    if _is_private_socket(store.url):
        return
    if not has_roots:
        yield (
            "other programs may be able to write the queue, and no root is set: they choose which files of"
            " this user are fed; set PCAPDJ_ROOT"
        )
    if _user(store) == b"default":
        yield (
            "its default user is used: whoever can connect as that user can change queue, limits and gate;"
            " give each program a user of its own"
        )


def journal_size(store: Store) -> tuple[int, int | None]:
    """Return how many entries the journal has, and the memory that they take in bytes; None: not shown.

    Raises:
        As `Store.call`.
    """
    key = store.keys.journal
    entries = store.call(lambda client: client.xlen(key))
    try:
        memory = store.call(lambda client: client.memory_usage(key))
    except (StoreDenied, StoreFailed):  # an ACL may forbid it
        memory = None
    return int(entries), int(memory) if memory else None


def _is_private_socket(url: str) -> bool:
    """Report whether only this user and root can connect: to a socket, connecting is writing."""
    if not url.startswith("unix:"):
        return False
    path = Path(unquote(urlsplit(url).path))
    try:
        modes = (path.stat().st_mode & 0o022, path.parent.stat().st_mode & 0o011)
    except OSError:  # its folder is closed to us: it has answered, so it is ours by other means
        return True
    return not all(modes)


def _user(store: Store) -> bytes:
    try:
        return as_bytes(store.call(lambda client: client.acl_whoami()))
    except (StoreDenied, StoreFailed):  # an ACL that forbids it is an ACL
        return b""


def _version(store: Store) -> str:
    try:
        facts: dict[str, Any] = store.call(lambda client: client.info("server"))
    except (StoreDenied, StoreFailed):  # an ACL that forbids INFO: this Redis can be used all the same
        return "Redis of an unknown version"
    if valkey := facts.get("valkey_version"):
        return f"Valkey {valkey}"
    return f"Redis {facts.get('redis_version', '?')}"


def _settings(store: Store) -> dict[str, str] | None:
    try:
        answers = [_setting(store, name) for name in _SETTINGS]
    except (StoreDenied, StoreFailed):  # managed servers and strict ACLs forbid CONFIG
        return None
    return {
        to_text(as_bytes(name)): to_text(as_bytes(value)) for each in answers for name, value in each.items()
    }


def _data_folder(store: Store) -> Path:
    """Return the server's data folder; the path is meant on the server's machine."""
    return next((Path(os.fsdecode(as_bytes(value))) for value in _setting(store, "dir").values()), Path("/"))


def _setting(store: Store, name: str) -> dict[Any, Any]:
    return dict(store.call(lambda client: client.config_get(name)))
