"""Which Redis URLs are accepted, which one is the default, and what of a URL may be shown.

redis-py takes every query parameter as an argument of its own: `decode_responses=1` turns file names into
text, a misspelled parameter is a TypeError at the first call, and a database that is not a number is database
0. So only the parameters listed here are accepted.
"""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pcapdj.runtime.errors import ConfigError

DEFAULT_URL: Final = "redis://127.0.0.1:6379/0"
SOCKET_IN_LAYOUT: Final = Path("var/run/redis.sock")

_SCHEMES: Final = ("redis", "rediss", "unix")
_PARAMETERS: Final = ("db", "username", "password", "client_name", "socket_timeout", "socket_connect_timeout")
_TLS_PARAMETERS: Final = (
    *("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path"),
    *("ssl_certfile", "ssl_keyfile", "ssl_password"),
)
_DATABASE: Final = re.compile(r"/?\d*/?")


def check_url(url: str) -> None:
    """Refuse a URL that redis-py would misread.

    Raises:
        ConfigError: another scheme, an unsupported parameter, a database that is not a number. The message
            never holds a part of a password.
    """
    try:
        parts = urlsplit(url)
        values = parse_qsl(parts.query, keep_blank_values=True)
        _ = parts.port
    except ValueError as exc:  # of a port or an IPv6 address; often a password with characters that need %XX
        raise url_not_understood(url) from exc
    if parts.scheme not in _SCHEMES:
        raise url_not_understood(url)
    supported = _PARAMETERS + (_TLS_PARAMETERS if parts.scheme == "rediss" else ())
    if not {name for name, _ in values} <= set(supported):
        raise ConfigError(
            f"The Redis URL {safe_url(url)!r} has a parameter that pcapdj does not support.",
            hint=f"Supported after the ? are {', '.join(supported)}.",
        )
    databases = [value for name, value in values if name == "db"]
    if parts.scheme != "unix":
        databases.append(parts.path)
    if not all(_DATABASE.fullmatch(each) for each in databases):
        raise ConfigError(
            f"The Redis URL {safe_url(url)!r} names a database that is not a number.",
            hint="Write redis://HOST:PORT/0 or unix:///PATH?db=0.",
        )


def url_not_understood(url: str) -> ConfigError:
    """Return the error for a URL that is not one of Redis's."""
    return ConfigError(
        f"The Redis URL {safe_url(url)!r} is not understood.",
        hint="Write redis://HOST:PORT/DB, rediss://.. or unix:///PATH; a password with %XX for / ? # and @.",
    )


def safe_url(url: str) -> str:
    """Return the URL without user, password and parameters, the number of the database aside.

    Everything up to the last @ is removed, since a password may hold characters that should be %XX; but not
    in a unix URL that begins with its path, where @ is part of the path.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url.rpartition("@")[2]
    if not rest.startswith("/"):
        rest = rest.rpartition("@")[2]
    place, _, query = rest.partition("?")
    database = next((f"?{part}" for part in query.split("&") if re.fullmatch(r"db=\d+", part)), "")
    return f"{scheme}://{place}{database}"


def default_url(folder: Path) -> str:
    """Return the URL to use where no option gives one.

    PCAPDJ_REDIS_URL, else the socket of the service in this folder (a supervisord.conf is there), else
    Redis's own default. Where the server of a layout does not answer, no other server is used in its place.
    """
    if url := os.environ.get("PCAPDJ_REDIS_URL"):
        return url
    if (folder / "supervisord.conf").is_file():
        return f"unix://{(folder / SOCKET_IN_LAYOUT).absolute()}"
    return DEFAULT_URL
