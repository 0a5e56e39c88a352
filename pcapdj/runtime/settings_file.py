"""The settings file of a service: `pcapdj.env` beside supervisord.conf, with the start values of its roles.

Every role and every command that works on the service in the current folder reads it, so that a colleague,
cron and a reboot get the same values as the person who started the service. supervisord does not read it: a
role that is started again takes what the file has then.

    flag > environment > file > default

A variable of the environment counts also if it is empty: `PCAPDJ_MIN_FREE= pcapdj control` uses the default.
The file's values are put into the environment of the process, where the options find them.

The file can name a server to log in to, and the program that gets the captures. So it is read only in a
folder whose files no other user can replace, and if no other user can write to it; `run`, `cat` and `init`
never read it. It has no password, since other users may read it: PCAPDJ_REDIS_PASSWORD_FILE names a file.
"""

import os
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pcapdj.runtime.assignments import Assignment, parse_assignments
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.foreign_files import foreign_text, is_file
from pcapdj.runtime.mounts import has_owners
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import check_file, has_service

NAME: Final = "pcapdj.env"
# Every variable that may stand in the file; a test compares it with the options of the roles.
KNOWN: Final = frozenset(
    {
        *("PCAPDJ_BETWEEN", "PCAPDJ_BETWEEN_TIMEOUT", "PCAPDJ_RESERVE"),
        *("PCAPDJ_ANALYZER_USER", "PCAPDJ_AUTH_TYPE", "PCAPDJ_CAPTURES_DAYS", "PCAPDJ_CONSUMER_COMMAND"),
        *("PCAPDJ_FED_DAYS", "PCAPDJ_FLUSH_TIMEOUT", "PCAPDJ_FOLLOW", "PCAPDJ_FORCE", "PCAPDJ_ID"),
        *("PCAPDJ_IDLE_EOF", "PCAPDJ_IMPORT_WATCH", "PCAPDJ_INBOX", "PCAPDJ_JOURNAL_DAYS"),
        *(
            "PCAPDJ_JOURNAL_ENTRIES",
            "PCAPDJ_KEEP_LAST",
            "PCAPDJ_KEEP_WITHIN",
            "PCAPDJ_LANE",
            "PCAPDJ_LAUNCHER",
            "PCAPDJ_LOGDIR",
            "PCAPDJ_LOOPS",
        ),
        *("PCAPDJ_MAX_GAP", "PCAPDJ_MIN_AVAILABLE_MEMORY", "PCAPDJ_MIN_FREE", "PCAPDJ_MIN_FREE_INODES"),
        *(
            "PCAPDJ_ON_EVENT",
            "PCAPDJ_ON_LINKTYPE",
            "PCAPDJ_ORDER",
            "PCAPDJ_PIPE",
            "PCAPDJ_PRECISION",
            "PCAPDJ_PRESET",
        ),
        *(
            "PCAPDJ_QUEUE",
            "PCAPDJ_RECLAIM",
            "PCAPDJ_RECURSIVE",
            "PCAPDJ_REDIS_DATA",
            "PCAPDJ_REDIS_PASSWORD_FILE",
        ),
        *("PCAPDJ_REDIS_URL", "PCAPDJ_RESTART_PAUSE", "PCAPDJ_RESUME_AFTER", "PCAPDJ_RESUME_FREE"),
        *("PCAPDJ_ROOT", "PCAPDJ_STALL_TIMEOUT", "PCAPDJ_STORAGE_TIMEOUT", "PCAPDJ_SUSPEND_FREE"),
        *("PCAPDJ_TAKE", "PCAPDJ_TRUST_GROUP", "PCAPDJ_WATCH"),
    }
)
# One of these in the environment overrides the other one in the file: both choose the analyzer.
_ALTERNATIVES: Final = (frozenset({"PCAPDJ_PRESET", "PCAPDJ_CONSUMER_COMMAND"}),)
_CONF: Final = "supervisord.conf"
_MOST_BYTES: Final = 1 << 16
_SHORTEST_VALUE: Final = 4  # characters by which a sentence is found to be about a value


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The assignments of a settings file that are in force in this process.

    Args:
        path: of the file; None: there is none.
        lines: by the name of the variable.
        refusal: why a file that is there is not read; empty: it is.
    """

    path: Path | None = None
    lines: Mapping[str, Assignment] = field(default_factory=dict)
    refusal: str = ""

    def apply(self, environ: MutableMapping[str, str] = os.environ) -> "SettingsFile":
        """Put into the environment what it does not have already; return the lines that were put there."""
        applied = {name: each for name, each in self.lines.items() if not _is_overridden(name, environ)}
        environ.update({name: each.text for name, each in applied.items()})
        return SettingsFile(self.path, applied, self.refusal)

    def lines_about(self, sentence: str) -> str:
        """Return where the values are set that an error is about, as a sentence; empty: not in this file."""
        named = [each for each in self.lines.values() if _is_about(sentence, each)]
        return " ".join(f"{each.name} is set in line {each.line} of {NAME}." for each in named)


def read_settings(folder: Path) -> SettingsFile:
    """Return the settings of the service in this folder; without one, or without a file, there are none.

    In a folder where another user could replace it, or on a file system without owners, as sticks have one,
    the file is not read, and the reason is returned: a command may name its Redis all the same.

    Raises:
        ConfigError: the file is no regular file, another user can write to it, it cannot be read, or a line
            is not understood; file and line are named.
    """
    path = folder / NAME
    if not (is_file(folder / _CONF) and os.path.lexists(path)):
        return SettingsFile()
    if not has_owners(os.fsencode(path)):
        return SettingsFile(
            refusal=f"{NAME} in this folder is not read: its file system has no owners of files."
        )
    try:
        has_service(folder)
    except ConfigError as exc:
        return SettingsFile(refusal=f"{NAME} in this folder is not read. {exc}")
    check_file(path)
    try:
        lines = parse_assignments(foreign_text(path, _MOST_BYTES, follows_link=True))
        _check(lines)
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise _refused(f"line {line}: It is not UTF-8.") from exc
    except OSError as exc:
        raise _refused(f"It cannot be read: {exc.strerror}.") from exc
    except ConfigError as exc:
        raise _refused(str(exc)) from exc
    return SettingsFile(path, {each.name: each for each in lines})


def nearest(name: str, known: Collection[str] = KNOWN) -> str:
    """Return the known variable that this name resembles most, as a hint; empty: it resembles none."""
    from difflib import get_close_matches

    found = get_close_matches(name.upper(), sorted(known), n=1)
    return f"Did you mean {found[0]}?" if found else ""


def _check(lines: Collection[Assignment]) -> None:
    for name, text, line in lines:
        if name not in KNOWN:
            hint = nearest(name) or "docs/operations.md lists all."
            raise ConfigError(f"line {line}: Unknown setting {quoted(name)}.", hint=hint)
        if name == "PCAPDJ_REDIS_URL" and _has_password(text):
            hint = "Change the password, and give it in the file that PCAPDJ_REDIS_PASSWORD_FILE names."
            raise ConfigError(f"line {line}: The Redis URL has a password.", hint=hint)


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        names = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        return parts.password is not None or any("password" in name for name in names)
    except ValueError:  # refused by who uses it
        return False


def _is_overridden(name: str, environ: Mapping[str, str]) -> bool:
    if name in environ:
        return True
    others = {other for group in _ALTERNATIVES if name in group for other in group - {name}}
    return any(environ.get(other, "").strip() for other in others)


def _is_about(sentence: str, setting: Assignment) -> bool:
    option = setting.name.removeprefix("PCAPDJ_").lower().replace("_", "-")
    words = {word.strip("'\"():,;.").removeprefix("--") for word in sentence.split()}
    is_value = len(setting.text) >= _SHORTEST_VALUE and setting.text in sentence
    return setting.name in words or option in words or is_value


def _refused(reason: str) -> ConfigError:
    return ConfigError(f"{NAME}: {reason}" if reason.startswith("It ") else f"{NAME}, {reason}")
