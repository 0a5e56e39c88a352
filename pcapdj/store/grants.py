"""The controller's side of Redis: the files to authorize, the operator's live limits, the gate's state.

Everything written here is an absolute value or an idempotent script, so that it may be repeated after a lost
reply, and a second controller does no harm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, cast

from pcapdj.runtime import failpoints
from pcapdj.runtime.safe_text import NAME_LIMIT_BYTES
from pcapdj.store.client import Store
from pcapdj.store.job_queue import as_bytes

REQUESTS_LIMIT: Final = 100  # names per look; a flood of announcements is answered in portions
_DISPATCHERS_LIMIT = 100  # of those who may be feeding; one that has a file is enough
_FIELDS_LIMIT = 50  # of PCAPDJ_CONTROL; eight have a meaning
_TEXT_LIMIT = 1000  # characters of a live value; longer ones are refused anyway
SUSPENDER: Final = "gate"  # our member of PCAPDJ_SUSPEND; that of others is never touched

Hash = dict[bytes, bytes]
Form = Literal["string", "set"]


class Granted(Enum):
    """The result of a grant."""

    YES = 1
    NOT_REQUESTED = 0  # no dispatcher requests it any more
    OCCUPIED = -1  # AUTH holds another name that is still requested: try again


@dataclass(frozen=True, slots=True)
class Pending:
    """What the controller reads in each round.

    Args:
        requested: names of the files to authorize, oldest first.
        invalid: entries among them that are not file names: empty, or longer than a path may be.
        control: the live fields as typed.
        is_busy: a file is requested, or a dispatcher has one.
    """

    requested: tuple[bytes, ...]
    invalid: tuple[bytes, ...]
    control: Mapping[str, str]
    is_busy: bool


class Grants:
    """Reads the requests, grants them, and publishes the gate.

    Args:
        form: how a new authorization is written.
    """

    def __init__(self, store: Store, form: Form = "string") -> None:
        self._store = store
        self._keys: Final = store.keys
        self._form = form

    def look(self) -> Pending:
        """Return the requested files and the operator's live fields."""
        names, fields, dispatchers = self._store.call(self._read)
        requested = tuple(name for name in names if 0 < len(name) <= NAME_LIMIT_BYTES)
        invalid = tuple(name for name in names if name not in requested)
        return Pending(requested, invalid, _control(fields), bool(names) or self._is_feeding(dispatchers))

    def grant(self, name: bytes) -> Granted:
        """Authorize a requested file; the script wakes its dispatcher."""
        keys = self._keys
        places = [keys.next, keys.auth, keys.dispatchers, keys.channel]
        failpoints.reach("grant.before")
        granted = Granted(self._store.run("grant", places, [name, self._form, keys.current_prefix]))
        failpoints.reach("grant.after")
        return granted

    def drop(self, invalid: bytes) -> None:
        """Remove an entry that is not a file name from the requests."""
        self._store.call(lambda client: client.lrem(self._keys.next, 0, invalid))  # type: ignore[arg-type]  # bytes

    def control(self) -> Mapping[str, str]:
        """Return the operator's live fields alone."""
        return _control(self._store.call(lambda client: cast("Hash", client.hgetall(self._keys.control))))

    def published(self) -> dict[str, str]:
        """Return the gate's fields as last published; empty if there are none."""
        fields = self._store.call(lambda client: cast("Hash", client.hgetall(self._keys.gate)))
        return {_text(name): value.decode("utf-8", "surrogateescape") for name, value in fields.items()}

    def publish(self, fields: Mapping[str, str | float], *, suspended: bool, message: str = "") -> None:
        """Write the gate's fields and our part of the suspension at once.

        Args:
            fields: all of the gate's, absolute values.
            suspended: whether `gate` belongs in PCAPDJ_SUSPEND; no other member is touched.
            message: what to publish on the lane's channel; empty if nothing changed.
        """
        self._store.call(lambda client: self._write(client, fields, suspended=suspended, message=message))

    def _read(self, client: Any) -> Any:
        with client.pipeline(transaction=False) as batch:
            batch.lrange(self._keys.next, 0, REQUESTS_LIMIT - 1)
            batch.hgetall(self._keys.control)
            batch.srandmember(self._keys.dispatchers, _DISPATCHERS_LIMIT)
            return batch.execute()

    def _is_feeding(self, dispatchers: list[bytes]) -> bool:
        places = [as_bytes(self._keys.current_prefix) + each for each in dispatchers]
        return bool(places) and bool(self._store.call(lambda client: client.exists(*places)))

    def _write(
        self, client: Any, fields: Mapping[str, str | float], *, suspended: bool, message: str
    ) -> None:
        with client.pipeline(transaction=True) as batch:
            batch.hset(self._keys.gate, mapping={name: as_bytes(value) for name, value in fields.items()})
            change = batch.sadd if suspended else batch.srem
            change(self._keys.suspend, SUSPENDER)
            if message:
                batch.publish(self._keys.channel, message)
            batch.execute()


def _control(fields: Hash) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in list(fields.items())[:_FIELDS_LIMIT]}


def _text(value: bytes) -> str:
    return value[:_TEXT_LIMIT].decode("utf-8", "backslashreplace")
