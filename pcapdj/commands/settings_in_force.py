"""`pcapdj check --settings`: each setting in force and where it comes from, for the roles as they run.

A running role has left a record of its settings (`runtime.settings_record`). It is compared with the settings
file as it is now: a line that was changed since then counts at the next start of the role. For a role that
does not run, the settings are shown that it would have if it were started from this shell. A limit that was
changed while the controller runs stands in Redis.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import Error as NoConfiguration
from importlib import import_module
from pathlib import Path
from typing import Final

import typer
from typer.main import get_command

from pcapdj.analyzer.options import COMMAND_VARIABLE, PRESET_VARIABLE
from pcapdj.commands.settings import ROLES, WITHOUT_OPTION, settings_of
from pcapdj.console.screen import Line, Tone, show
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.foreign_files import foreign_text
from pcapdj.runtime.safe_text import printable, quoted
from pcapdj.runtime.settings_file import NAME, SettingsFile, read_settings
from pcapdj.runtime.settings_record import (
    SettingInForce,
    SettingSource,
    SettingsRecord,
    read_record,
    record_of,
    without_secret,
)
from pcapdj.runtime.trust import has_service
from pcapdj.service import CONF, configuration_parser
from pcapdj.store.client import Store
from pcapdj.store.operate import read_control
from pcapdj.store.options import open_store
from pcapdj.store.redis_url import safe_url

_MOST_BYTES: Final = 1 << 18
_LONGEST: Final = 24  # characters of a value that are aligned


def show_settings(context: typer.Context, url: str, password_file: Path | None, lane: str) -> None:
    """Print the settings of each role of the service in the current folder.

    Args:
        context: of this command; its `obj` are the lines of the settings file that are in force here.
        url: of the Redis that may have limits which were changed live.
        password_file: its password.
        lane: the lane.

    Raises:
        ConfigError: no service is here, or its settings file is not valid.
    """
    folder = Path()
    if not has_service(folder):
        raise ConfigError(f"{quoted(str(Path.cwd()))} has no {CONF}.", hint="Change to the service's folder.")
    file = context.obj if isinstance(context.obj, SettingsFile) else SettingsFile()
    show(
        "The settings in force",
        list(_lines(folder, file, lambda: open_store(url, password_file, lane))),
    )


def _lines(folder: Path, file: SettingsFile, opened: Callable[[], Store]) -> Iterator[Line]:
    now = read_settings(folder)
    records = {role: read_record(folder, role) or _if_started(folder, role, file) for role in ROLES}
    try:
        live = read_control(opened())  # only now: a URL with a password leaves the environment
    except PcapdjError as exc:
        live = {}
        yield Line("Redis", f"limits that were set live are not shown: {exc}", Tone.ATTENTION)
    for role, record in records.items():
        if isinstance(record, Line):
            yield record
            continue
        if record.pid:
            yield Line(role, f"runs as pid {record.pid} with", Tone.GOOD)
        else:
            yield Line(role, "does not run; started from here it would have", Tone.ATTENTION)
        yield from _role_lines(record, now, live if role == "controller" else {})


def _if_started(folder: Path, role: str, file: SettingsFile) -> SettingsRecord | Line:
    try:
        return record_if_started(role, command_words(folder, role), file)
    except typer.TyperException as exc:
        reason = exc.format_message()
    except PcapdjError as exc:
        reason = str(exc)
    return Line(role, f"does not run, and would not start: {reason}", Tone.BAD)


def record_if_started(role: str, words: Sequence[str], file: SettingsFile) -> SettingsRecord:
    """Return the settings that a role would have if it were started with this environment.

    Raises:
        typer.TyperException, PcapdjError: an option is not valid.
    """
    command = get_command(import_module(ROLES[role]).app)
    with command.make_context(role, list(words), obj=file) as context:
        variables = [each.variable for each in WITHOUT_OPTION if role in each.roles]
        url = str(context.params.get("redis_url") or "")
        return record_of(role, context, variables, redis_url=safe_url(url) if url else "")


def command_words(folder: Path, role: str) -> list[str]:
    """Return the options that the service's supervisord.conf gives a role; none, if it is not there."""
    conf = configuration_parser()
    try:
        conf.read_string(foreign_text(folder / CONF, _MOST_BYTES, follows_link=True))
        words = shlex.split(conf.get(f"program:{role}", "command").replace("%%", "%"))
        return words[words.index(ROLES[role]) + 1 :]
    except (OSError, ValueError, NoConfiguration):  # another program, or no such one
        return []


def _role_lines(record: SettingsRecord, now: SettingsFile, live: Mapping[str, str]) -> Iterator[Line]:
    is_command = any(each.variable == COMMAND_VARIABLE and each.text for each in record.settings)
    defaults = {each.variable: each.default or each.default_words for each in settings_of(record.role)}
    for setting in record.settings:
        if not setting.variable and setting.source is SettingSource.DEFAULT:  # the mode of one call
            continue
        text = setting.text or defaults.get(setting.variable, "")
        source, tone = setting.place, Tone.PLAIN
        if live.get(setting.name):
            text, source = (
                live[setting.name],
                f"live (Redis), instead of {text or 'none'} ({source})",
            )
        elif setting.variable == PRESET_VARIABLE and is_command and setting.source is not SettingSource.FLAG:
            source += f"; not used, {COMMAND_VARIABLE} has the analyzer"
        if change := _change(setting, now, record):
            source, tone = f"{source}; {change}", Tone.ATTENTION
        shown = printable(text) or "-"
        yield Line(f"  {setting.name or setting.variable}", f"{shown:<{_LONGEST}}  {source}", tone)


def _change(setting: SettingInForce, now: SettingsFile, record: SettingsRecord) -> str:
    """Return what the file has now, where that is another value than the one in force."""
    line = now.lines.get(setting.variable)
    after = without_secret(line.name, line.text) if line else ""
    if setting.source in (SettingSource.FLAG, SettingSource.ENVIRONMENT):
        return f"it overrides {NAME}:{line.line} ({printable(after)})" if line else ""
    before = setting.text if setting.source is SettingSource.FILE else ""
    if before == after or (not record.pid):
        return ""
    place = (
        f"{NAME}:{line.line} has {printable(after) or 'nothing'} now" if line else f"{NAME} has it no more"
    )
    return f"{place}: 'pcapdj restart {record.role}' takes it"
