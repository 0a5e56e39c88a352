"""The Redis client of a process: how it connects, how its scripts are called, which errors it raises.

Three rules, each measured: no retries inside the client (a retried LPOP loses a name, a retried RPUSH doubles
it); replies stay bytes (decoding fails on a name that is not UTF-8 *after* the script moved it); a call never
blocks longer than its timeout.
"""

import copy
import errno
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pcapdj.runtime.errors import KeyUnusable, PcapdjError, StoreDenied, StoreFailed
from pcapdj.runtime.foreign_files import open_foreign
from pcapdj.runtime.places import is_trusted_server, peer_of
from pcapdj.runtime.safe_text import quoted, to_text
from pcapdj.runtime.trust import owner_of
from pcapdj.runtime.units import human_size
from pcapdj.store.bounded_socket import ANSWER_LIMIT_BYTES, AnswerTooLong, BoundedConnection
from pcapdj.store.keys import Keys
from pcapdj.store.redis_errors import CommandWords, translated
from pcapdj.store.redis_url import check_url, safe_url, url_not_understood
from pcapdj.store.script_answers import COMMAND_FORMS, FORMS, checked

_MOST_KEY_BYTES = 1 << 16
RETRY_S = 0.25  # while Redis is away: a try costs 0.15 ms, and all has to work within 2 s of its recovery
ROLE_TIMEOUT_S = 0.7  # SIGTERM to exit within a second, also while Redis hangs
_USES = re.compile(r"^-- Uses (\w+)\.lua\n", re.MULTILINE)  # a part of several scripts stands there
# What redis-py raises where an answer has not the form of the protocol, or not the type of the command's.
NO_ANSWERS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_MOST_IDS = 20  # of dispatchers whose keys are looked at for one of another type
COMMAND_TIMEOUT_S = 3.0  # how long an operator's command waits before it reports that Redis does not answer

Reply = Any  # what redis-py returns: bytes, int, list or None, by command
T = TypeVar("T")


class _Client(redis.Redis):
    """Keeps the words of the last single command, as Redis does not name a key that its ACL forbids.

    Checks the answers of commands.
    """

    last_command: CommandWords = ()

    def execute_command(self, *words: Any, **options: Any) -> Any:
        self.last_command = words
        answer = super().execute_command(*words, **options)  # type: ignore[no-untyped-call]  # redis-py
        return checked(answer, form) if (form := COMMAND_FORMS.get(str(words[0]))) else answer


class _TcpConnection(BoundedConnection, redis.Connection):
    """Over TCP."""


class _TlsConnection(BoundedConnection, redis.SSLConnection):
    """Over TLS; the files that the URL names are looked at before OpenSSL opens them."""

    def _connect(self) -> Any:
        for name in filter(None, (self.ca_certs, self.certfile, self.keyfile)):
            content = _content_of(str(name))
            has_key = name == (self.keyfile or self.certfile)
            if has_key and b"ENCRYPTED" in content and not self.certificate_password:
                raise StoreDenied(  # OpenSSL would ask the terminal, and wait
                    f"The key {quoted(str(name))} of the Redis URL needs a password.",
                    hint="Give it with ssl_password=.. in PCAPDJ_REDIS_URL.",
                )
        return super()._connect()


def _content_of(name: str) -> bytes:
    """Return the begin of a file of the URL; OpenSSL waits at a named pipe for ever.

    Raises:
        StoreDenied: it is no regular file. OpenSSL says what else is wrong with it.
    """
    try:
        with open_foreign(Path(name), follows_link=True) as file:
            return file.read(_MOST_KEY_BYTES)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            return b""
        sentence = f"{quoted(name)}, which the Redis URL names, is not a regular file."
        raise StoreDenied(sentence, hint="Name another one in the URL.") from exc


class _UnixConnection(BoundedConnection, redis.UnixDomainSocketConnection):
    """Over a unix socket; talks only to a server of a user who could have put it there."""

    def _connect(self) -> Any:
        connected = super()._connect()
        if not is_trusted_server(peer := peer_of(connected), self.path):
            connected.close()
            who = f"{owner_of(peer.uid)}, pid {peer.pid}"
            raise StoreDenied(
                f"The Redis at {quoted(self.path)} belongs to another user, {who}.",
                hint="Name your own Redis with --redis-url.",
            )
        return connected


def _connection_class(url: str) -> type[redis.Connection | redis.UnixDomainSocketConnection]:
    """Return the class for a URL's scheme."""
    if url.startswith("unix:"):
        return _UnixConnection
    return _TlsConnection if url.startswith("rediss:") else _TcpConnection


class Store:
    """A connection to the Redis of one lane; for one thread.

    Args:
        url: redis://, rediss:// or unix://; may hold a password, which no message ever shows.
        keys: the names of the lane's keys.
        timeout_s: how long one call may take.
        password: the one of a password file; the URL's own comes first.
        has_messages: it is for a subscription to a channel.

    Raises:
        ConfigError: the URL is not one that pcapdj accepts.
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        timeout_s: float = ROLE_TIMEOUT_S,
        password: str | None = None,
        has_messages: bool = False,
    ) -> None:
        check_url(url)
        self.keys = keys
        self.url = url
        self.timeout_s = timeout_s
        self.redis = _connected(url, timeout_s, password, has_messages=has_messages)
        self._scripts: dict[str, redis.commands.core.Script] = {}

    @property
    def password(self) -> str | None:
        """The password, wherever it came from."""
        password: str | None = self.redis.connection_pool.connection_kwargs.get("password")
        return password

    def another(self, *, timeout_s: float = ROLE_TIMEOUT_S, has_messages: bool = False) -> "Store":
        """Return a second client of the same lane, for another thread."""
        return Store(
            self.url, self.keys, timeout_s=timeout_s, password=self.password, has_messages=has_messages
        )

    def in_lane(self, keys: Keys) -> "Store":
        """Return a store of another lane that uses this connection."""
        other = copy.copy(self)
        other.keys = keys
        return other

    def call(self, command: Callable[["redis.Redis"], T]) -> T:
        """Run a command.

        Raises:
            StoreUnavailable: Redis is away, loading, full or read-only: waiting helps.
            StoreDenied: it refuses the password, its ACL forbids the command, a key or the channel, or the
                server is another user's.
            KeyUnusable: a key has another type.
            StoreFailed: the command failed otherwise, or no Redis answers this command so.
        """
        try:
            return command(self.redis)
        except redis.RedisError as exc:
            raise self._translated(exc) from exc
        except AnswerTooLong as exc:
            self.redis.close()  # the rest of the answer is still to come
            limit = human_size(ANSWER_LIMIT_BYTES)
            raise StoreFailed(
                f"Redis at {safe_url(self.url)} sent an answer of more than {limit}.",
                hint="Look which program listens there, and which others write into its keys.",
            ) from exc
        except NO_ANSWERS as exc:
            self.redis.close()  # what follows on this connection is unknown, too
            raise StoreFailed(
                f"What listens at {safe_url(self.url)} does not answer as a Redis does.",
                hint="Look which program that is.",
            ) from exc

    def run(
        self,
        script: str,
        keys: list[str],
        arguments: Sequence[bytes | str],
        read: Callable[[Reply], Reply] = lambda answer: answer,
    ) -> Reply:
        """Run one of the Lua scripts beside this module, by name.

        Args:
            script: its name.
            keys: of the script.
            arguments: of the script.
            read: makes of the answer what is returned; where it raises, as for an answer that has not as many
                parts as there were names, the answer is not one of a Redis.

        Raises:
            As `call`.
        """
        found, form = self.script(script), FORMS[script]
        return self.call(lambda _: read(checked(found(keys=keys, args=arguments), form)))

    def field(self, key: str, name: str, longest_bytes: int) -> bytes:
        """Return a field of a hash; empty: it is missing, or too long to be ours. It is tried once.

        By no script: for one, a user of Redis needs the right to write the key.

        Raises:
            As `call`.
        """
        if Store.call(self, lambda client: client.hstrlen(key, name)) > longest_bytes:
            return b""
        value: Any = Store.call(self, lambda client: client.hget(key, name))
        return value or b""

    def script(self, name: str) -> "redis.commands.core.Script":
        """Return one of the Lua scripts, to add it to a pipeline."""
        if name not in self._scripts:
            text = _USES.sub(lambda uses: _script_text(uses[1]), _script_text(name))
            self._scripts[name] = self.redis.register_script(text)
        return self._scripts[name]

    def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            As `call`.
        """
        self.call(lambda client: client.ping())

    def notify(self, message: str) -> None:
        """Publish that something changed in this lane; roles that wait for a change look at once."""
        self.call(lambda client: client.publish(self.keys.channel, message))

    def check_stop(self) -> None:
        """Let a stop signal end what takes many calls; a plain store waits for none."""

    def close(self) -> None:
        """Close the connection."""
        self.redis.close()

    def _translated(self, error: redis.RedisError) -> PcapdjError:
        command = self.redis.last_command
        if "WRONGTYPE" in str(error) and (misused := self._keys_of_another_type()):
            return KeyUnusable(
                f"Redis at {safe_url(self.url)} answered WRONGTYPE: there is {misused}.",
                hint="Another program wrote it; rename or remove it.",
            )
        text = next((each.script for each in self._scripts.values() if each.sha in command[1:2]), "")
        return translated(error, self.url, self.keys, command, str(text))

    def _keys_of_another_type(self) -> str:
        """Return which of our keys have another type; Redis's own message names no key."""
        client, ids = cast("Any", self.redis), list[str]()
        try:
            if client.type(self.keys.dispatchers) == b"set":
                ids = [to_text(each) for each in client.srandmember(self.keys.dispatchers, _MOST_IDS)]
            wanted = self.keys.types(ids)
            found = {key: client.type(key).decode() for key in wanted}
        except (redis.RedisError, *NO_ANSWERS):
            self.redis.close()
            return ""
        return ", ".join(
            f"a {form} at {quoted(key)}, where a {' or '.join(wanted[key])} belongs"
            for key, form in found.items()
            if form not in ("none", *wanted[key])
        )


def _script_text(name: str) -> str:
    return (files("pcapdj.store") / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


def _connected(url: str, timeout_s: float, password: str | None, *, has_messages: bool) -> _Client:
    """Return a client that connects at its first call; refuse values that redis-py refuses only then."""
    options: dict[str, Any] = {"password": password} if password else {}
    try:
        client = _Client.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            decode_responses=False,
            encoding_errors="surrogateescape",  # an id is a path, and may not be UTF-8
            protocol=2,
            connection_class=_connection_class(url),
            has_messages=has_messages,
            **options,
        )
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except (ValueError, TypeError, redis.RedisError) as exc:  # its message may hold a part of the password
        raise url_not_understood(url) from exc
    return cast("_Client", client)
