"""Which Redis URLs are accepted, and what of a URL may be shown.

redis-py takes every query parameter as an argument of its own: `decode_responses=1` turns file names into
text, a misspelled parameter is a TypeError at the first call, and a database that is not a number is database
0. So only the parameters listed here are accepted.

Messages show only scheme, host, port, a unix socket's path and the database. If a password has characters
that should be %XX, or a parameter stands in the wrong place, a part of the password may look like one of
these. Of such an unclear URL only the scheme is shown.
"""

import re
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pcapdj.runtime.errors import ConfigError

URL_VARIABLE: Final = "PCAPDJ_REDIS_URL"
DEFAULT_URL: Final = "redis://127.0.0.1:6379/0"
SOCKET_IN_LAYOUT: Final = Path("var/run/redis.sock")

_SCHEMES: Final = ("redis", "rediss", "unix")
_PARAMETERS: Final = ("db", "username", "password", "client_name", "socket_timeout", "socket_connect_timeout")
_TLS_PARAMETERS: Final = (
    *("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path"),
    *("ssl_certfile", "ssl_keyfile", "ssl_password"),
)
_SECRETS: Final = frozenset({"password", "ssl_password"})
_DATABASE: Final = re.compile(r"/?\d*/?")
_ADDRESS: Final = re.compile(r"(?:\[[\w:.%]+\]|[\w.-]*)(?::\d*)?")
_PARAMETER: Final = re.compile(r"(?:pass|user|key)\w*=", re.IGNORECASE)


def check_url(url: str) -> None:
    """Refuse a URL that redis-py would misread.

    Raises:
        ConfigError: another scheme, an unsupported parameter, a database that is not a number. The message
            never holds a part of a password.
    """
    parts = _split(url)
    is_changed = any(each in url for each in "\t\r\n")  # urlsplit removes them: it would be another place
    if is_changed or parts is None or parts.fragment or not _has_clear_place(parts):
        raise url_not_understood(url)
    values = parse_qsl(parts.query, keep_blank_values=True)
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
    """Return what of a URL may be shown: scheme, host, port, path of a unix socket, database."""
    scheme, mark, _ = url.partition("://")
    if not mark or scheme not in _SCHEMES:
        return "…"
    parts = _split(url)
    values = parse_qsl(parts.query, keep_blank_values=True) if parts else []
    known = _PARAMETERS + _TLS_PARAMETERS
    if (
        parts is None
        or parts.fragment
        or any("@" in f"{name}{text}" for name, text in values if name not in known)
    ):
        return f"{scheme}://…"
    if not _has_clear_place(parts):
        return f"{scheme}://…"
    database = next((f"?db={text}" for name, text in values if name == "db" and text.isdecimal()), "")
    path = parts.path if scheme == "unix" or _DATABASE.fullmatch(parts.path) else ""
    return f"{scheme}://{_address(parts)}{path}{database}"


def has_secret(url: str) -> bool:
    """Report whether a URL has a password; one that `check_url` refuses has none here."""
    parts = _split(url)
    if parts is None:
        return False
    return parts.password is not None or bool(_SECRETS & {name for name, _ in parse_qsl(parts.query)})


def refuse_secret(url: str, option: str) -> None:
    """Refuse a URL of a command line that has a password: other users see it in the list of processes.

    Raises:
        ConfigError: it has one; the message shows no part of it.
    """
    if has_secret(url):
        raise ConfigError(
            f"The Redis URL of {option} has a password: on a command line all users of this machine see it.",
            hint="Change the password, and give it in the file that PCAPDJ_REDIS_PASSWORD_FILE names, or the"
            " URL in PCAPDJ_REDIS_URL.",
        )


def _split(url: str) -> SplitResult | None:
    """Return the parts; None if they are not those of a Redis URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # of a port or an IPv6 address; often a password with characters that need %XX
        return None
    is_known = parts.scheme in _SCHEMES and url.startswith(f"{parts.scheme}://")
    return parts if is_known else None


def _address(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _has_clear_place(parts: SplitResult) -> bool:
    """Report whether address and path are no parts of a password, and are what redis-py takes them for.

    In a unix URL it ignores an address, and takes `%3Fpassword=..` as a part of the path.
    """
    if parts.scheme == "unix":
        is_path = not _address(parts) and not _PARAMETER.search(unquote(parts.path))
        return is_path and not (parts.netloc and "@" in parts.path)
    return bool(_ADDRESS.fullmatch(_address(parts))) and "@" not in parts.path
