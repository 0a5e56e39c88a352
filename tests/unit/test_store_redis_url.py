"""Which Redis URLs are accepted, and what of one is shown: never its password."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.runtime.errors import ConfigError
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.options import default_url
from pcapdj.store.redis_url import refuse_secret, safe_url

SECRET = "s3cr3t"  # noqa: S105 - of a test


@each_row(
    ("url", "safe"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        (f"redis://:{SECRET}@host:6379/1", "redis://host:6379/1"),
        (f"rediss://user:{SECRET}@host/1?db=2", "rediss://host/1?db=2"),
        (f"redis://host?password={SECRET}&db=1", "redis://host?db=1"),
        (f"redis://host?Password={SECRET}", "redis://host"),
        (f"redis://host?pass%77ord={SECRET}", "redis://host"),
        (f"rediss://host?ssl_password={SECRET}&ssl_keyfile=/k", "rediss://host"),
        (f"redis://host?password=a&{SECRET}=b", "redis://host"),
        (f"redis://host?db={SECRET}", "redis://host"),
        (f"unix://user:{SECRET}@/run/redis.sock", "unix:///run/redis.sock"),
        ("unix:///run/a@b/redis.sock", "unix:///run/a@b/redis.sock"),
        (f"redis://host?password=a@{SECRET}", "redis://host"),
        (f"redis://host/0%3Fssl_password={SECRET}", "redis://host"),
        (f"unix:///run/redis.sock%3Fpassword={SECRET}", "unix://…"),
        (f"redis:host?ssl_password={SECRET}", "…"),
        (f"redis://host,password={SECRET}", "redis://…"),
        (f"redis://:{SECRET}@b@host", "redis://host"),
        (f"redis://user:12/{SECRET}@host:1/0", "redis://…"),
        (f"redis://user:12?{SECRET}@host:1/0", "redis://…"),
        (f"redis://user:12#{SECRET}@host", "redis://…"),
        (f"unix://:12/{SECRET}@/run/redis.sock", "unix://…"),
        (f"redis://:[{SECRET}@host", "redis://…"),
        (f"{SECRET}://host", "…"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, safe: str) -> None:
    """Of the parameters only the database; where part of a password may look like a host, only the scheme."""
    assert safe_url(url) == safe


@each_row(
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
        "rediss://host?ssl_cert_reqs=x",
        f"redis://user#{SECRET}@host",
        f"redis://host,password={SECRET}",
        f"redis:host?password={SECRET}",
        "unix://run/redis.sock",
        f"unix:///run/redis.sock%3Fpassword={SECRET}",
    ],
)
def test_a_url_that_is_not_one_of_redis_is_refused_without_its_password(url: str) -> None:
    """The message shows how to write one; the exit code is 2."""
    with pytest.raises(ConfigError, match="is not understood") as refused:
        Store(url, Keys())

    assert SECRET not in str(refused.value)


@each_row(
    ("url", "supported"),
    [
        ("redis://host?foo=1", "password"),
        ("redis://host/0?decode_responses=1", "password"),
        ("redis://host?decode%5Fresponses=1", "password"),
        ("redis://host?protocol=3", "password"),
        ("redis://host?retry_on_timeout=1", "password"),
        ("redis://host?ssl_ca_certs=/ca.pem", "password"),
        ("unix:///run/redis.sock?path=/other", "password"),
        ("rediss://host?ssl_ca_cert=/ca.pem", "ssl_ca_certs"),
        (f"redis://host?password=a&{SECRET}=b", "password"),
    ],
)
def test_a_parameter_that_pcapdj_does_not_support_is_refused(url: str, supported: str) -> None:
    """Redis-py would fail at the first call, or return text; the message lists the supported ones."""
    with pytest.raises(ConfigError, match="parameter that pcapdj does not support") as refused:
        Store(url, Keys())

    assert supported in refused.value.hint
    assert SECRET not in str(refused.value)


@each_row(
    "url", ["redis://host/zero", "redis://host/1/2", "redis://host?db=zero", "unix:///run/r.sock?db=-1"]
)
def test_a_database_that_is_not_a_number_is_refused(url: str) -> None:
    """Redis-py would use database 0, or another one, and the names would be queued there."""
    with pytest.raises(ConfigError, match="database that is not a number"):
        Store(url, Keys())


@each_row(
    ("url", "expected"),
    [
        ("redis://host", {"host": "host"}),
        ("redis://host:7/3", {"host": "host", "port": 7, "db": 3}),
        ("redis://host/3/", {"db": 3}),
        ("redis://host?db=3", {"db": 3}),
        ("redis://u:p%40%2F@host", {"username": "u", "password": "p@/"}),
        ("redis://host?password=a@b", {"password": "a@b"}),
        ("redis://host?client_name=me", {"client_name": "me"}),
        ("redis://host?socket_timeout=2", {"socket_timeout": 2.0}),
        ("unix:///run/a@b/r.sock?db=2", {"path": "/run/a@b/r.sock", "db": 2}),
        ("rediss://host?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem", {"ssl_ca_certs": "/ca.pem"}),
        ("rediss://host?ssl_cert_reqs=none&ssl_check_hostname=no", {"ssl_cert_reqs": "none"}),
        ("rediss://host?ssl_ca_path=/ca&ssl_password=p", {"ssl_ca_path": "/ca", "ssl_password": "p"}),
        (
            "rediss://host?ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            {"ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"},
        ),
        ("redis://host?username=u&socket_connect_timeout=2", {"socket_connect_timeout": 2.0}),
    ],
)
def test_what_a_url_names_is_used(url: str, expected: dict[str, object]) -> None:
    """Host, port, database, login and the supported parameters."""
    used = Store(url, Keys()).redis.connection_pool.connection_kwargs

    assert {name: used.get(name) for name in expected} == expected
    assert used["decode_responses"] is False


@given(
    password=st.text(st.sampled_from("pw%/?#@:&=[],;. "), max_size=12),
    before=st.sampled_from(["redis://:", "rediss://user:", "unix://:", "unix://u:"]),
    after=st.sampled_from(["@host:6379/2", "@/run/redis.sock", "@"]),
)
def test_no_part_of_a_password_is_shown_wherever_it_ends(password: str, before: str, after: str) -> None:
    """Whatever characters it has, unescaped: the letters of this password are in no host of the test."""
    assert not set("pw") & set(safe_url(before + password + after).replace("/run/redis.sock", ""))


@each_row(
    "url",
    [
        f"redis://:{SECRET}@host",
        f"unix://:{SECRET}@/run/redis.sock",
        f"redis://host?password={SECRET}",
        f"redis://host?pass%77ord={SECRET}",
        f"rediss://host?ssl%5Fpassword={SECRET}",
    ],
)
def test_a_password_on_a_command_line_is_refused(url: str) -> None:
    """The message names the option and the remedies, and shows nothing of it."""
    with pytest.raises(ConfigError, match="--redis-url has a password") as refused:
        refuse_secret(url, "--redis-url")

    assert "PCAPDJ_REDIS_PASSWORD_FILE" in refused.value.hint
    assert "PCAPDJ_REDIS_URL" in refused.value.hint
    assert SECRET not in str(refused.value)


@each_row("url", ["redis://user@host/0", "unix:///run/a@b/redis.sock", "", "redis://host?db=1"])
def test_a_url_without_a_password_may_be_on_a_command_line(url: str) -> None:
    """A user of an ACL is not a secret."""
    refuse_secret(url, "--redis-url")


def test_the_default_is_the_layouts_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment comes before the layout, the layout before Redis's own port."""
    monkeypatch.delenv("PCAPDJ_REDIS_URL", raising=False)
    assert default_url(tmp_path) == "redis://127.0.0.1:6379/0"

    (tmp_path / "supervisord.conf").touch()
    assert default_url(tmp_path) == f"unix://{tmp_path}/var/run/redis.sock"

    monkeypatch.setenv("PCAPDJ_REDIS_URL", "redis://named/0")
    assert default_url(tmp_path) == "redis://named/0"
