"""Each error of redis-py becomes the class of its remedy, in one sentence without the password."""

import pytest
import redis
from support.rows import each_row

from pcapdj.runtime.errors import KeyUnusable, PcapdjError, StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys

SECRET = "s3cr3t"  # noqa: S105 - of a test


@each_row(
    ("error", "kind"),
    [
        (redis.ConnectionError("Error 111 connecting to host:6379. Connection refused."), StoreUnavailable),
        (redis.TimeoutError("Timeout reading from socket"), StoreUnavailable),
        (redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable),
        (redis.ReadOnlyError("You can't write against a read only replica."), StoreUnavailable),
        (redis.OutOfMemoryError("command not allowed"), StoreUnavailable),
        (redis.exceptions.MasterDownError("Link with MASTER is down"), StoreUnavailable),
        (redis.exceptions.ClusterDownError("The cluster is down"), StoreUnavailable),
        (redis.exceptions.TryAgainError("Multiple keys request during rehashing"), StoreUnavailable),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), StoreUnavailable),
        (redis.ResponseError("BUSY Redis is busy running a script."), StoreUnavailable),
        (redis.InvalidResponse("Protocol Error: b'garbage'"), StoreUnavailable),
        (redis.AuthenticationError("invalid username-password pair"), StoreDenied),
        (redis.ResponseError("NOAUTH Authentication required."), StoreDenied),
        (redis.exceptions.NoPermissionError("this user has no permissions"), StoreDenied),
        (redis.ResponseError("Protocol error: unauthenticated multibulk length"), StoreDenied),
        (
            redis.ResponseError("Command # 2 (HSET k v s3cr3t) of pipeline caused error: MISCONF Redis is"),
            StoreUnavailable,
        ),
        (redis.ResponseError("WRONGTYPE Operation against a key"), KeyUnusable),
        (redis.ResponseError("ERR\nforged"), StoreFailed),
    ],
)
def test_an_error_is_raised_as_the_class_of_its_remedy(
    error: redis.RedisError, kind: type[PcapdjError]
) -> None:
    """Waiting, a password or an ACL rule, or neither; with the server's URL and without the password."""
    store = Store(f"redis://:{SECRET}@host:1/0", Keys())

    def fail(_: redis.Redis) -> None:
        raise error

    with pytest.raises(PcapdjError) as raised:
        store.call(fail)

    assert type(raised.value) is kind
    assert "redis://host:1/0" in str(raised.value)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)


@each_row(
    "message",
    [
        "this user has no permissions to access one of the keys used as arguments",
        "The user executing the script can't run this command script: 0ddba11, on @user_script:7.",
        "The user executing the script can't run this command",
        "NOPERM",
    ],
)
def test_an_acl_message_that_names_nothing_is_shown_as_it_is(message: str) -> None:
    """Where neither the message nor the command names the missing right, as with another version of Redis."""
    store = Store("redis://host", Keys())

    def fail(_: redis.Redis) -> None:
        raise redis.exceptions.NoPermissionError(message)

    with pytest.raises(StoreDenied) as refused:
        store.call(fail)

    assert f"a command or key ({message.rstrip('.')})." in str(refused.value)
    assert "docs/operations.md" in refused.value.hint
