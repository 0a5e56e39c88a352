"""What redis-py does more often than the tests need."""

import functools

import redis.utils


def keep_version() -> None:
    """Let redis-py look up its own version once in this process, not for each connection: that takes 2 ms."""
    redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)
