"""The launcher's options as typer types, its settings, and which analyzer they choose."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pcapdj.analyzer.presets import (
    DEFAULT_PRESET,
    FALLBACK_PRESET,
    PRESETS,
    Command,
    own_command,
    preset_command,
    split_command,
)
from pcapdj.analyzer.session import Timeouts
from pcapdj.analyzer.user import AnalyzerUser
from pcapdj.runtime.environment import program_path
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.places import default_folder
from pcapdj.runtime.trust import declare_trust

COMMAND_VARIABLE = "PCAPDJ_CONSUMER_COMMAND"
PRESET_VARIABLE = "PCAPDJ_PRESET"

CommandLine = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- COMMAND..",
        help=f"any other analyzer; {{pipe}} and {{logdir}} are replaced (default: {COMMAND_VARIABLE})",
    ),
]
PresetOrDefault = Annotated[
    str,
    typer.Option(
        "--preset",
        envvar=PRESET_VARIABLE,
        help="the analyzer; default: suricata-extract where Suricata is installed, else summary",
    ),
]
PresetName = Annotated[
    str,
    typer.Option(
        "--preset",
        envvar=PRESET_VARIABLE,
        help=f"the analyzer: {', '.join(PRESETS)}; default {DEFAULT_PRESET}",
    ),
]
SocketPath = Annotated[
    Path | None,
    typer.Option(
        "--socket",
        envvar="PCAPDJ_LAUNCHER",
        help="the socket that the dispatcher connects to",
    ),
]
PipePath = Annotated[
    Path | None,
    typer.Option("-b", "--pipe", envvar="PCAPDJ_PIPE", help="the named pipe to make"),
]
TrustGroup = Annotated[
    bool,
    typer.Option(
        "--trust-group",
        envvar="PCAPDJ_TRUST_GROUP",
        callback=declare_trust,
        help="also use folders that members of their group, or owners of folders above, can write to",
    ),
]
LogRoot = Annotated[
    Path,
    typer.Option(
        "--logdir",
        envvar="PCAPDJ_LOGDIR",
        help="the folder of results; each stream gets its own folder in it",
    ),
]
AnalyzerUserName = Annotated[
    str,
    typer.Option(
        "--analyzer-user",
        envvar="PCAPDJ_ANALYZER_USER",
        help="run the analyzer as this user; only for root",
    ),
]
FlushTimeout = Annotated[
    str,
    typer.Option(
        "--flush-timeout",
        envvar="PCAPDJ_FLUSH_TIMEOUT",
        metavar="TIME",
        help="how long an analyzer may run after the end of its input",
    ),
]
RestartPause = Annotated[
    str,
    typer.Option(
        "--restart-pause",
        envvar="PCAPDJ_RESTART_PAUSE",
        metavar="TIME",
        help="wait this long before restarting an analyzer that died; doubled after each failure,"
        " up to 60 times this and 60 s",
    ),
]
StallTimeout = Annotated[
    str,
    typer.Option(
        "--stall-timeout",
        envvar="PCAPDJ_STALL_TIMEOUT",
        metavar="TIME",
        help="restart an analyzer that has read nothing for this long; 0 = never",
    ),
]


@dataclass(frozen=True, slots=True)
class LauncherSettings:
    """The values of the launcher's options; all paths are absolute."""

    command: Command
    socket: Path
    pipe: Path
    log_root: Path
    timeouts: Timeouts
    user: AnalyzerUser | None = None


def default_preset() -> str:
    """Return the preset where none is chosen: Suricata if it is installed, else our summary."""
    return DEFAULT_PRESET if shutil.which("suricata", path=program_path()) else FALLBACK_PRESET


def path_or_default(given: Path | None, name: str) -> Path:
    """Return the absolute path of socket or pipe, in the default folder if the option is not given."""
    return given.absolute() if given else default_folder(Path.cwd()).absolute() / name


def chosen_command(
    arguments: Sequence[str], preset: str, *, preset_is_flag: bool, environ: Mapping[str, str] = os.environ
) -> Command:
    """Return the analyzer that the options choose: flag before environment, command before preset.

    Args:
        arguments: the words after `--`.
        preset: its name, from flag or environment; empty for none.
        preset_is_flag: the preset is on the command line.
        environ: may contain a command, too.

    Raises:
        ConfigError: preset and command are both on the command line, the preset is unknown, or the command
            cannot read the pipe.
    """
    if arguments and preset_is_flag:
        raise ConfigError("Both a preset and a command are given.", hint="Give one of the two.")
    if arguments:
        return own_command(arguments)
    if not preset_is_flag and (line := environ.get(COMMAND_VARIABLE, "").strip()):
        return own_command(split_command(line))
    return preset_command(preset or DEFAULT_PRESET)


def overridden_variables(
    arguments: Sequence[str], preset: str, *, preset_is_flag: bool, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Return which variables name another analyzer than the command line, which overrides them.

    Args: as `chosen_command`.
    """
    if not arguments and not preset_is_flag:
        return []
    chosen = {PRESET_VARIABLE: "" if arguments else preset, COMMAND_VARIABLE: ""}
    return [name for name, value in chosen.items() if environ.get(name, "").strip() not in ("", value)]
