"""How a store is named, refused and told about: never with its password."""

from pathlib import Path

import pytest
import redis

from pcapdj.runtime.errors import ConfigError, PcapdjError, StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.store.client import Store, default_url, shown_url
from pcapdj.store.keys import Keys
from pcapdj.store.options import open_store

SECRET = "s3cr3t"  # noqa: S105 - of a test


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        (f"redis://:{SECRET}@host:6379/1", "redis://host:6379/1"),
        (f"rediss://user:{SECRET}@host/1?db=2", "rediss://host/1?db=2"),
        (f"redis://host?password={SECRET}&db=1", "redis://host?db=1"),
        (f"redis://host?Password={SECRET}", "redis://host"),
        (f"unix://user:{SECRET}@/run/redis.sock", "unix:///run/redis.sock"),
        ("unix:///run/a@b/redis.sock", "unix:///run/a@b/redis.sock"),
        (f"redis://:{SECRET}/x@host:1/0", "redis://host:1/0"),
        (f"redis://:a#{SECRET}@host", "redis://host"),
        (f"redis://:a?{SECRET}@host/2", "redis://host/2"),
        (f"redis://:{SECRET}@b@host", "redis://host"),
        (f"redis://:[{SECRET}@host", "redis://host"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    """Also where the password has characters that it should have had encoded."""
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:6379",
        "http://host/",
        f"redis://:{SECRET}/x@host:1/0",
        f"redis://:[{SECRET}@host",
        f"redis://:{SECRET}@host:many/0",
        f"{SECRET}@host",
        "redis://[::1",
        "redis://host?socket_timeout=x",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_its_password(url: str) -> None:
    """The message says how to write one."""
    with pytest.raises(ConfigError) as refused:
        Store(url, Keys())

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.ConnectionError("Error 111 connecting to host:6379. Connection refused."), StoreUnavailable),
        (redis.TimeoutError("Timeout reading from socket"), StoreUnavailable),
        (redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable),
        (redis.ReadOnlyError("You can't write against a read only replica."), StoreUnavailable),
        (redis.OutOfMemoryError("command not allowed"), StoreUnavailable),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), StoreUnavailable),
        (redis.ResponseError("BUSY Redis is busy running a script."), StoreUnavailable),
        (redis.InvalidResponse("Protocol Error: b'garbage'"), StoreUnavailable),
        (redis.AuthenticationError("invalid username-password pair"), StoreDenied),
        (redis.ResponseError("NOAUTH Authentication required."), StoreDenied),
        (redis.exceptions.NoPermissionError("this user has no permissions"), StoreDenied),
        (redis.ResponseError("Protocol error: unauthenticated multibulk length"), StoreDenied),
        (
            redis.ResponseError("Command # 2 (HSET k v s3cret) of pipeline caused error: MISCONF Redis is"),
            StoreUnavailable,
        ),
        (redis.ResponseError("WRONGTYPE Operation against a key"), StoreFailed),
        (redis.ResponseError("ERR\nforged"), StoreFailed),
    ],
)
def test_each_failure_is_told_by_what_helps(error: redis.RedisError, kind: type[PcapdjError]) -> None:
    """Waiting, a password, or nothing; one sentence, with the server's name and without the password."""
    store = Store(f"redis://:{SECRET}@host:1/0", Keys())

    def fail(_: redis.Redis) -> None:
        raise error

    with pytest.raises(PcapdjError) as told:
        store.call(fail)

    assert type(told.value) is kind
    assert "redis://host:1/0" in str(told.value)
    assert SECRET not in str(told.value)
    assert "\n" not in str(told.value)


def test_the_password_file_is_its_first_line(tmp_path: Path) -> None:
    """As written by `echo` or by hand."""
    place = tmp_path / "password"
    place.write_text(f"{SECRET}\nnot this\n")

    store = open_store("redis://host/0", place, "")

    assert store.redis.connection_pool.connection_kwargs["password"] == SECRET
    assert store.another().redis.connection_pool.connection_kwargs["password"] == SECRET


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xff"])
def test_a_password_file_without_a_password_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, or no text: the message names it."""
    place = tmp_path / "password"
    if content is not None:
        place.write_bytes(content)

    with pytest.raises(ConfigError, match=str(place)):
        open_store("redis://host/0", place, "")


@pytest.mark.parametrize("lane", ["a b", "a{b", "a\nb", "}"])
def test_a_lane_that_could_be_mistaken_is_refused(lane: str) -> None:
    """Its name stands in braces before every key."""
    with pytest.raises(ConfigError, match="lane"):
        Keys(lane)


def test_a_lane_is_a_prefix_of_every_key() -> None:
    """The queue's too, where it is renamed."""
    keys = Keys("north", "MY_QUEUE")

    assert keys.in_queue == "{north}:MY_QUEUE"
    assert keys.current("/run/pipe") == "{north}:PCAPDJ_CURRENT:/run/pipe"
    assert Keys().in_queue == "PCAPDJ_IN_QUEUE"


def test_the_default_is_the_layouts_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment before layout before Redis's own port; never one instead of another that is named."""
    monkeypatch.delenv("PCAPDJ_REDIS_URL", raising=False)
    assert default_url(tmp_path) == "redis://127.0.0.1:6379/0"

    (tmp_path / "supervisord.conf").touch()
    assert default_url(tmp_path) == f"unix://{tmp_path}/var/run/redis.sock"

    monkeypatch.setenv("PCAPDJ_REDIS_URL", "redis://named/0")
    assert default_url(tmp_path) == "redis://named/0"
