"""With which settings a role of this folder runs: it leaves a file, which `pcapdj check --settings` shows.

No other place has them: a shell has another environment than supervisord had, and the settings file may have
changed since. The file is `var/run/ROLE.settings`. It is JSON with the text and the source of each setting,
and with pid and start time of the process, so that a reader sees whether it still runs. A role writes it once
it has its locks, and continues if that fails.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pcapdj.runtime.command import variable_of_parameter
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.foreign_files import foreign_text, is_folder, is_there, own_text
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.mounts import mount_that_may_hang
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.settings_file import NAME, SettingsFile
from pcapdj.runtime.trust import has_service
from pcapdj.runtime.whole_file import write_whole

if TYPE_CHECKING:
    from typer._click.core import Context

FILE_OF_PASSWORD: Final = "PCAPDJ_REDIS_PASSWORD_FILE"  # noqa: S105 - the name of a variable
_NO_PATH: Final = "(no file has this name)"
_FOLDER: Final = Path("var/run")
_MOST_BYTES: Final = 1 << 18
_START: Final = 22  # starttime of proc_pid_stat(5)


class SettingSource(StrEnum):
    """Where a setting comes from."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """One setting of a role.

    Args:
        name: the option without dashes, or the argument's.
        variable: its environment variable; empty: none.
        text: as it was typed; empty: none.
        source: where it comes from.
        line: of the settings file, also one that a flag overrides; 0: none.
    """

    name: str
    variable: str
    text: str
    source: SettingSource
    line: int = 0

    @property
    def place(self) -> str:
        """Where it comes from, as screens show it: `flag`, `environment`, `pcapdj.env:3`, `default`."""
        return f"{NAME}:{self.line}" if self.source is SettingSource.FILE else self.source.value


@dataclass(frozen=True, slots=True)
class SettingsRecord:
    """The settings of one role.

    Args:
        role: such as `controller`.
        settings: in the order of the role's help.
        pid: of the process that runs with them; 0: none does.
        start_ticks: when it started, in clock ticks since the boot.
    """

    role: str
    settings: tuple[SettingInForce, ...]
    pid: int = 0
    start_ticks: int = 0

    def write(self) -> None:
        """Leave the record for others, as of this process, if a service is in the current folder.

        Lines of the settings file that the command line overrides are logged.
        """
        events = EventLog(self.role)
        for each in self.settings:
            if each.source is SettingSource.FLAG and each.line:
                sentence = f"Line {each.line} of {NAME} is not used: the command line has that option."
                events.warning("setting_overridden", sentence, variable=each.variable)
        with suppress(OSError, PcapdjError):
            if has_service(Path()):
                pid = os.getpid()
                record = replace(self, pid=pid, start_ticks=_start_ticks(pid))
                write_whole(_path(Path(), self.role), json.dumps(asdict(record)).encode(), is_synced=False)


def record_of(role: str, context: "Context", variables: Sequence[str] = (), **shown: str) -> SettingsRecord:
    """Return the settings that a role was started with.

    Args:
        role: its name.
        context: of its command; its `obj` is the settings file, if one was read.
        variables: those that it reads without having an option for them.
        shown: texts by the name of the parameter, where not what was typed is to be shown.
    """
    file = context.obj if isinstance(context.obj, SettingsFile) else SettingsFile()
    return SettingsRecord(role, (*_options(context, file, shown), *_without_option(variables, file)))


def read_record(folder: Path, role: str) -> SettingsRecord | None:
    """Return the record of a role of this folder that runs; None: there is none."""
    try:
        fields = decode_object(own_text(_path(folder, role), _MOST_BYTES))
        settings = tuple(map(_setting_of, fields["settings"]))
        record = SettingsRecord(role, settings, whole_number(str(fields["pid"])) or 0, fields["start_ticks"])
        is_running = _start_ticks(record.pid) == record.start_ticks
    except (OSError, ValueError, TypeError, KeyError):  # none, or of another version
        return None
    return record if is_running else None


def _setting_of(fields: Mapping[str, Any]) -> SettingInForce:
    """Return a setting of the record, which another program may have written.

    Raises:
        ValueError, TypeError, KeyError: it has no valid form.
    """
    found = SettingInForce(**{**fields, "source": SettingSource(fields["source"])})
    if not all(isinstance(text, str) for text in (found.name, found.variable, found.text)):
        raise TypeError("a text belongs there")
    return replace(found, line=whole_number(str(found.line)) or 0)


def _options(context: "Context", file: SettingsFile, shown: Mapping[str, str]) -> Iterator[SettingInForce]:
    for parameter in context.command.params:
        variable, name = variable_of_parameter(parameter), parameter.name or ""
        options = [each for each in parameter.opts if each.startswith("--")]
        option = options[0].removeprefix("--") if options else name
        found = context.get_parameter_source(name)
        if found is not None and found.name == "COMMANDLINE":
            text, source = _typed(context.params.get(name)), SettingSource.FLAG
            line = file.lines[variable].line if variable in file.lines else 0
        else:
            text, source, line = _of_variable(variable, file)
        if source is SettingSource.DEFAULT:
            text = _typed(context.params.get(name))
        text = shown.get(name) or without_secret(variable, text)
        yield SettingInForce(option, variable, text, source, line)


def without_secret(variable: str, text: str) -> str:
    """Return the value of a variable as it is shown: not what may be a password in the place of its file."""
    if not text or variable != FILE_OF_PASSWORD or may_be_path(text):
        return text
    return _NO_PATH


def may_be_path(text: str) -> bool:
    """Report whether a text can be the path of a file, and is no secret that somebody wrote in its place.

    A password may have a slash; then no folder of that name is there, or it is the root.
    """
    if "/" in text and mount_that_may_hang(os.fsencode(text)):
        return True
    path = Path(text)
    return is_there(path) or (path.parent not in (Path(), Path("/")) and is_folder(path.parent))


def _without_option(variables: Sequence[str], file: SettingsFile) -> Iterator[SettingInForce]:
    for variable in variables:
        text, source, line = _of_variable(variable, file)
        yield SettingInForce("", variable, text, source, line)


def _of_variable(variable: str, file: SettingsFile) -> tuple[str, SettingSource, int]:
    text = os.environ.get(variable, "")
    if not text:
        return "", SettingSource.DEFAULT, 0
    line = file.lines[variable].line if variable in file.lines else 0
    return text, SettingSource.FILE if line else SettingSource.ENVIRONMENT, line


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return "" if value is None else str(getattr(value, "value", value))


def _path(folder: Path, role: str) -> Path:
    return folder / _FOLDER / f"{role}.settings"


def _start_ticks(pid: int) -> int:
    fields = foreign_text(Path(f"/proc/{pid}/stat"), _MOST_BYTES).rpartition(")")[2].split()
    return int(fields[_START - 3])
