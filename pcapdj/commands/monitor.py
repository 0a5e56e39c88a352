"""`pcapdj check --monitor`: one line and an exit code, as monitoring plugins have them.

Which roles should run is in the supervisord.conf beside the Redis that is asked; without one, each role that
has reported once should, and dispatcher and controller in any case.
"""

import configparser
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pcapdj.console.monitor_rules import (
    Finding,
    Level,
    expected_without_layout,
    findings_of,
    monitor_line,
)
from pcapdj.console.screen import print_lines
from pcapdj.console.snapshot_fields import ROLES
from pcapdj.runtime.command import sentence_about
from pcapdj.runtime.errors import ConfigError, KeyUnusable, StoreUnavailable
from pcapdj.runtime.foreign_files import foreign_text, is_file
from pcapdj.service import CONF, configuration_parser
from pcapdj.store.client import Store
from pcapdj.store.options import open_store
from pcapdj.store.redis_url import SOCKET_IN_LAYOUT
from pcapdj.store.snapshot import read_snapshot

_MOST_BYTES: Final = 1 << 20


def print_judgement(url: str, password_file: Path | None, lane: str, expected: Sequence[str]) -> Level:
    """Print the plugin's line; return the level, which is the exit code.

    Args:
        url: of Redis, as the other options.
        password_file: with Redis's password.
        lane: the lane.
        expected: the roles that should run; empty: see above.
    """
    line, level = _judged(open_store(url, password_file, lane), expected)
    print_lines(line)
    return level


def answer_failure(arguments: Sequence[str], error: Exception) -> Level:
    """Print the plugin's line for an error, after its traceback if it is one in pcapdj itself.

    A monitor takes 1 for a warning, and 2 for a critical state: no other exit codes of a command fit.

    Args:
        arguments: of the command line, which may be wrong.
        error: what ended the command; raised again, unless a monitor asks.

    Source: monitoring-plugins, development guidelines, "Plugin Return Codes": an error of the plugin, such as
    a wrong option, is UNKNOWN.
    """
    if "--monitor" not in arguments:
        raise error
    if not (sentence := sentence_about(error)):
        traceback.print_exception(error)
        sentence = f"pcapdj check failed ({type(error).__name__}); its traceback is on stderr"
    line, level = monitor_line([Finding(Level.UNKNOWN, sentence)], {})
    print_lines(line)
    return level


def _judged(store: Store, expected: Sequence[str]) -> tuple[str, Level]:
    if unknown := set(expected) - set(ROLES):
        raise ConfigError(
            f"--expect: {', '.join(sorted(unknown))} is no role.", hint=f"Roles: {', '.join(ROLES)}."
        )
    layout = layout_of(store.url)
    try:
        snapshot = read_snapshot(store, time.time())
    except StoreUnavailable as exc:
        return monitor_line([Finding(Level.CRITICAL if layout else Level.UNKNOWN, str(exc))], {})
    except KeyUnusable as exc:
        return monitor_line([Finding(Level.CRITICAL, str(exc))], {})
    roles = expected or expected_roles(store.url, snapshot)
    return monitor_line(findings_of(snapshot, roles, time.time()), snapshot)


def expected_roles(url: str, snapshot: Mapping[str, Any]) -> Collection[str]:
    """Return the roles that should run in a lane of this Redis."""
    layout = layout_of(url)
    return _roles_in(layout) if layout else expected_without_layout(snapshot)


def layout_of(url: str) -> Path | None:
    """Return the supervisord.conf of the service whose own Redis has this URL; None: it is no such Redis."""
    parts = urlsplit(url)
    path, end = unquote(parts.path), f"/{SOCKET_IN_LAYOUT}"
    if parts.scheme != "unix" or not path.endswith(end):
        return None
    conf = Path(path.removesuffix(end) or "/") / CONF
    return conf if is_file(conf) else None


def _roles_in(conf: Path) -> set[str]:
    """Return the roles that supervisord starts by itself here; all, if the file cannot be read."""
    parser = configuration_parser()
    try:
        parser.read_string(foreign_text(conf, _MOST_BYTES, follows_link=True))
    except (OSError, ValueError, configparser.Error):
        return set(ROLES)
    sections = {role: f"program:{role}" for role in ROLES}
    return {
        role
        for role, section in sections.items()
        if parser.has_section(section)
        and parser.get(section, "autostart", fallback="true").lower() != "false"
    }
