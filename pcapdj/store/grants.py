"""The controller's side of Redis: the files to authorize, the operator's live limits, the gate's state.

Everything written here is an absolute value or an idempotent script, so that it may be repeated after a lost
reply, and a second controller does no harm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from pcapdj.runtime import failpoints
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.safe_text import NAME_LIMIT_BYTES, as_bytes
from pcapdj.store.bounded import LIVE_VALUE_LIMIT_BYTES, read_hash
from pcapdj.store.client import Store
from pcapdj.store.registration import registered, run_with_currents
from pcapdj.store.samples import Sampler, disk_values

REQUESTS_LIMIT: Final = 100  # names per look; a flood of announcements is answered in portions
_CURRENT_FIELDS: Final = ("name", "state", "input_bytes", "compression")
_STREAM_LIMIT_CHARS: Final = 100
_VALUE_LIMIT_BYTES: Final = 2048  # of a stream's id, and of the groups of OUTPUT
SUSPENDER: Final = "gate"  # our member of PCAPDJ_SUSPEND; that of others is never touched

Form = Literal["string", "set"]


class Granted(Enum):
    """The result of a grant."""

    YES = 1
    NOT_REQUESTED = 0  # no dispatcher requests it any more
    OCCUPIED = -1  # AUTH holds another name that is still requested: try again


@dataclass(frozen=True, slots=True)
class CurrentFile:
    """A file that a dispatcher has, as its CURRENT shows it.

    Args:
        state: asked, authorized or feeding; empty where another program wrote the key.
        input_bytes: that are still to be read of it, as it is on the disk; None: unknown.
    """

    name: bytes
    state: str = ""
    input_bytes: int | None = None
    is_compressed: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """What the controller reads in each round.

    Args:
        requested: names of the files to authorize, oldest first.
        invalid_bytes: lengths of the entries among them that were no file names, empty or longer than a path
            may be; they are removed.
        control: the live fields as typed.
        is_busy: a file is requested, or a dispatcher has one.
        current: the files that dispatchers have.
    """

    requested: tuple[bytes, ...]
    invalid_bytes: tuple[int, ...]
    control: Mapping[str, str]
    is_busy: bool
    current: tuple[CurrentFile, ...] = ()


class Grants:
    """Reads the requests, grants them, and publishes the gate.

    Args:
        form: how a new authorization is written.
    """

    def __init__(self, store: Store, form: Form = "string") -> None:
        self._store = store
        self._keys: Final = store.keys
        self._form = form
        self._sampler = Sampler(store.keys.samples)

    def look(self) -> Pending:
        """Return the requested files and the operator's live fields."""
        keys = self._keys
        currents = map(keys.current, registered(self._store))
        limits = [str(each) for each in (REQUESTS_LIMIT, NAME_LIMIT_BYTES)]
        arguments = [*limits, *_CURRENT_FIELDS]
        names, invalid_bytes, files = self._store.run("requests", [keys.next, *currents], arguments)
        is_busy = bool(names or invalid_bytes or files)
        current = tuple(map(_current_file, files))
        return Pending(tuple(names), tuple(invalid_bytes), self.control(), is_busy, current)

    def grant(self, name: bytes) -> Granted:
        """Authorize a requested file; the script wakes its dispatcher."""
        keys = self._keys
        places = [keys.next, keys.auth, keys.dispatchers, keys.channel]
        failpoints.reach("grant.before")
        granted = Granted(run_with_currents(self._store, "grant", places, [name, self._form]))
        failpoints.reach("grant.after")
        return granted

    def output_groups(self) -> tuple[bytes, bytes]:
        """Return what FINISH has recorded of the input and output of plain files, and of compressed ones.

        It makes only one try, even if the store retries, because the caller has to measure the disks.

        Raises:
            As `Store.call`.
        """
        key = self._keys.output
        plain, compressed = (
            self._store.field(key, each, _VALUE_LIMIT_BYTES) for each in ("plain", "compressed")
        )
        return plain, compressed

    @property
    def lane(self) -> str:
        """The lane's name; empty: the default one."""
        return self._keys.lane

    def stream(self) -> str:
        """Return the id of the stream that the analyzer reads; empty: none. One try, as `output_groups`.

        Raises:
            As `Store.call`.
        """
        stream = self._store.field(self._keys.consumer, "stream", _VALUE_LIMIT_BYTES)
        return _text(stream)[:_STREAM_LIMIT_CHARS]

    def control(self) -> Mapping[str, str]:
        """Return the operator's live fields alone."""
        fields = read_hash(self._store, self._keys.control, longest_bytes=LIVE_VALUE_LIMIT_BYTES)
        return {_text(name): _text(value) for name, value in fields.items()}

    def published(self) -> dict[str, str]:
        """Return the gate's fields as last published; empty if there are none."""
        fields = read_hash(self._store, self._keys.gate)
        return {_text(name): value.decode("utf-8", "surrogateescape") for name, value in fields.items()}

    def publish(self, fields: Mapping[str, str | float], *, suspended: bool, message: str = "") -> None:
        """Write the gate's fields and our part of the suspension at once.

        Args:
            fields: all of the gate's, absolute values.
            suspended: whether `gate` belongs in PCAPDJ_SUSPEND; no other member is touched.
            message: what to publish on the lane's channel; empty if nothing changed.
        """
        self._store.call(lambda client: self._write(client, fields, suspended=suspended, message=message))

    def _write(
        self, client: Any, fields: Mapping[str, str | float], *, suspended: bool, message: str
    ) -> None:
        with client.pipeline(transaction=True) as batch:
            batch.hset(self._keys.gate, mapping={name: as_bytes(value) for name, value in fields.items()})
            change = batch.sadd if suspended else batch.srem
            change(self._keys.suspend, SUSPENDER)
            if self._sampler.is_due():
                self._sampler.add(batch, disk_values(fields.get("disks", "")))
            if message:
                batch.publish(self._keys.channel, message)
            batch.execute()


def _current_file(parts: Sequence[bytes]) -> CurrentFile:
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    return CurrentFile(
        name=fields.get(b"name", b""),
        state=_text(fields.get(b"state", b"")),
        input_bytes=whole_number(fields.get(b"input_bytes", b"")),
        is_compressed=bool(fields.get(b"compression")),
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
