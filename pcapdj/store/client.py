"""The one Redis client of a process: how it connects, how its errors are told, how its scripts are called.

Three rules, each measured: no retries inside the client (a retried LPOP loses a name, a retried RPUSH doubles
it); replies stay bytes (decoding raises on a name that is no UTF-8 *after* the script moved it); a call never
blocks longer than its timeout.
"""

import os
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from pcapdj.runtime.errors import ConfigError, PcapdjError, StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.runtime.safe_text import quoted, shortened_message, to_text
from pcapdj.store.keys import Keys

ROLE_TIMEOUT_S = 0.7  # SIGTERM to exit within a second, a hung Redis included
COMMAND_TIMEOUT_S = 3.0  # how long an operator's command waits before it says that Redis is not there
DEFAULT_URL = "redis://127.0.0.1:6379/0"
_NONE_NAMED = "Is it running? Else work in the service's folder, or name its Redis with --redis-url."
SOCKET_IN_LAYOUT = Path("var/run/redis.sock")
_SCHEMES = ("redis", "rediss", "unix")
_DENIALS = ("NOAUTH", "WRONGPASS", "NOPERM", "Protocol error: unauthenticated")
_WAITABLE = ("LOADING", "READONLY", "OOM", "MISCONF", "MASTERDOWN", "BUSY", "TRYAGAIN", "CLUSTERDOWN")

_OF_PIPELINE = " of pipeline caused error: "  # redis-py puts the command and its values before it

Reply = Any  # what redis-py hands back: bytes, int, list or None, by command
T = TypeVar("T")


class Store:
    """A connection to the Redis of one lane.

    Args:
        url: redis://, rediss:// or unix://; may hold a password, which no message ever shows.
        keys: the names of the lane's keys.
        timeout_s: how long any one call may take.
        password: where it came from a file rather than in the URL.

    Raises:
        ConfigError: the URL is none that Redis understands.
    """

    def __init__(
        self, url: str, keys: Keys, *, timeout_s: float = ROLE_TIMEOUT_S, password: str | None = None
    ) -> None:
        if url.partition("://")[0] not in _SCHEMES:
            raise _not_understood(url)
        self.keys = keys
        self.url = url
        options: dict[str, Any] = {"password": password} if password else {}
        try:
            self.redis = redis.Redis.from_url(
                url,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                decode_responses=False,
                encoding_errors="surrogateescape",  # an id is a path, and may be no UTF-8
                protocol=2,
                **options,
            )
        except (ValueError, TypeError) as exc:
            raise _not_understood(url) from exc  # what it says may hold a part of the password
        self._scripts: dict[str, redis.commands.core.Script] = {}

    def another(self, *, timeout_s: float = ROLE_TIMEOUT_S) -> "Store":
        """Return a second client of the same lane, for another thread."""
        password = self.redis.connection_pool.connection_kwargs.get("password")
        return Store(self.url, self.keys, timeout_s=timeout_s, password=password)

    def call(self, command: Callable[["redis.Redis"], T]) -> T:
        """Run a command and tell its failure in our words.

        Raises:
            StoreUnavailable: Redis is away, loading, full or read-only: waiting helps.
            StoreDenied: it asks for a password, refuses it, or forbids the command.
            StoreFailed: a key holds something of another type, or the command failed otherwise.
        """
        try:
            return command(self.redis)
        except redis.RedisError as exc:
            raise self._told(exc) from exc

    def run(self, script: str, keys: list[str], arguments: Sequence[bytes | str]) -> Reply:
        """Run one of the Lua scripts beside this module, by name.

        Raises:
            As `call`.
        """
        if script not in self._scripts:
            text = (files("pcapdj.store") / "scripts" / f"{script}.lua").read_text(encoding="utf-8")
            self._scripts[script] = self.redis.register_script(text)
        return self.call(lambda _: cast("Reply", self._scripts[script](keys=keys, args=arguments)))

    def ping(self) -> None:
        """Ask Redis whether it is there.

        Raises:
            As `call`.
        """
        self.call(lambda client: client.ping())

    def notify(self, message: str) -> None:
        """Publish that something changed in this lane; roles that wait for a change look at once."""
        self.call(lambda client: client.publish(self.keys.channel, message))

    def close(self) -> None:
        """Close the connection."""
        self.redis.close()

    def _told(self, error: redis.RedisError) -> PcapdjError:
        where, why = f"Redis at {shown_url(self.url)}", str(error).rpartition(_OF_PIPELINE)[2]
        if isinstance(error, redis.AuthenticationError | NoPermissionError) or why.startswith(_DENIALS):
            return StoreDenied(
                f"{where} refuses us ({shortened_message(why)}).",
                hint="Check the password in the URL or its file.",
            )
        if isinstance(error, redis.exceptions.BusyLoadingError):
            return StoreUnavailable(f"{where} is loading its data.")
        if isinstance(error, redis.ConnectionError | redis.TimeoutError | redis.InvalidResponse):
            hint = _NONE_NAMED if self.url == DEFAULT_URL else "Is it running?"
            return StoreUnavailable(f"{where} does not answer ({shortened_message(why)}).", hint=hint)
        if isinstance(error, redis.ReadOnlyError | redis.OutOfMemoryError) or why.startswith(_WAITABLE):
            return StoreUnavailable(f"{where} takes no writes now ({shortened_message(why)}).")
        if "WRONGTYPE" in why and (misused := self._misused()):
            told = f"{where} answered WRONGTYPE: there is {misused}."
            return StoreFailed(told, hint="Another program wrote it; rename or remove it.")
        return StoreFailed(f"{where} answered: {shortened_message(why)}.")

    def _misused(self) -> str:
        """Return which of our keys hold something else; Redis's own message names none."""
        client, ids = cast("Any", self.redis), list[str]()
        try:
            if client.type(self.keys.dispatchers) == b"set":
                ids = [to_text(each) for each in client.smembers(self.keys.dispatchers)]
            wanted = self.keys.types(ids)
            found = {key: client.type(key).decode() for key in wanted}
        except redis.RedisError:
            return ""
        return ", ".join(
            f"a {form} at {quoted(key)}, where a {' or '.join(wanted[key])} belongs"
            for key, form in found.items()
            if form not in ("none", *wanted[key])
        )


def _not_understood(url: str) -> ConfigError:
    return ConfigError(
        f"The Redis URL {shown_url(url)!r} is not understood.",
        hint="Write redis://HOST:PORT/DB, rediss://.. or unix:///PATH; a password with %XX for / ? # and @.",
    )


def shown_url(url: str) -> str:
    """Return the URL without its password: what messages may show.

    Everything up to the last @ goes, since a password may hold what should have been encoded; but not where
    the URL has no place for one.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url.rpartition("@")[2]
    if not rest.startswith("/"):
        rest = rest.rpartition("@")[2]
    place, _, query = rest.partition("?")
    kept = "&".join(part for part in query.split("&") if part and not part.lower().startswith("password="))
    return f"{scheme}://{place}?{kept}" if kept else f"{scheme}://{place}"


def default_url(folder: Path) -> str:
    """Return the URL that holds where none is given.

    PCAPDJ_REDIS_URL, else the socket of the layout in this folder (a supervisord.conf stands there), else
    Redis's own default. A layout whose server does not answer is never replaced by another server silently.
    """
    if url := os.environ.get("PCAPDJ_REDIS_URL"):
        return url
    if (folder / "supervisord.conf").is_file():
        return f"unix://{(folder / SOCKET_IN_LAYOUT).absolute()}"
    return DEFAULT_URL
