"""The launcher's options as typer types, and which analyzer they choose."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pcapdj.analyzer.presets import (
    DEFAULT_PRESET,
    PRESETS,
    Command,
    own_command,
    preset_command,
    split_command,
)
from pcapdj.analyzer.session import Timeouts
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.places import PIPE_NAME, SOCKET_NAME, default_folder

COMMAND_VARIABLE = "PCAPDJ_CONSUMER_COMMAND"

CommandLine = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- COMMAND..]",
        help=f"any other analyzer; {{pipe}} and {{logdir}} are replaced (else {COMMAND_VARIABLE})",
        show_default=False,
    ),
]
PresetName = Annotated[
    str,
    typer.Option(
        "--preset",
        envvar="PCAPDJ_PRESET",
        help=f"a known analyzer: {', '.join(PRESETS)}; default {DEFAULT_PRESET}",
        show_default=False,
    ),
]
SocketPath = Annotated[
    Path | None,
    typer.Option("--socket", envvar="PCAPDJ_LAUNCHER", help="where dispatchers find it", show_default=False),
]
PipePath = Annotated[
    Path | None,
    typer.Option("-b", "--pipe", envvar="PCAPDJ_PIPE", help="the named pipe it makes", show_default=False),
]
LogRoot = Annotated[
    Path, typer.Option("--logdir", envvar="PCAPDJ_LOGDIR", help="each stream gets a folder in it")
]
FlushTimeout = Annotated[
    str,
    typer.Option(
        "--flush-timeout",
        envvar="PCAPDJ_FLUSH_TIMEOUT",
        help="how long an analyzer may take to end once its input ended",
    ),
]
RestartPause = Annotated[
    str,
    typer.Option(
        "--restart-pause",
        envvar="PCAPDJ_RESTART_PAUSE",
        help="before the next analyzer after one that died; doubled each time, up to 60 times as long",
    ),
]
StallTimeout = Annotated[
    str,
    typer.Option(
        "--stall-timeout",
        envvar="PCAPDJ_STALL_TIMEOUT",
        help="kill an analyzer that has taken no byte for so long, and start another; 0: never",
    ),
]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a launcher was asked to work.

    Args:
        command: the analyzer.
        socket: absolute, as are `pipe` and `log_root`.
        pipe: the named pipe to make.
        log_root: the folder of all log folders.
        timeouts: when patience with an analyzer ends, and when the next one begins.
    """

    command: Command
    socket: Path
    pipe: Path
    log_root: Path
    timeouts: Timeouts


def place(given: Path | None, name: str) -> Path:
    """Return the absolute path of the socket or pipe, in the default folder unless it is given."""
    return given.absolute() if given else default_folder(Path.cwd()).absolute() / name


def socket_place(given: Path | None) -> Path:
    """Return where the socket is."""
    return place(given, SOCKET_NAME)


def pipe_place(given: Path | None) -> Path:
    """Return where the pipe is."""
    return place(given, PIPE_NAME)


def chosen_command(
    arguments: Sequence[str], preset: str, *, preset_is_flag: bool, environ: Mapping[str, str] = os.environ
) -> Command:
    """Return the analyzer that the options choose: flag before environment, command before preset.

    Args:
        arguments: what stood after `--`.
        preset: its name, from flag or environment; empty for none.
        preset_is_flag: it stood on the command line.
        environ: where a command may be set too.

    Raises:
        ConfigError: two are named on the command line, or the one named makes no sense.
    """
    if arguments and preset_is_flag:
        raise ConfigError("Both a preset and a command are given.", hint="Give one of the two.")
    if arguments:
        return own_command(arguments)
    if not preset_is_flag and (line := environ.get(COMMAND_VARIABLE, "").strip()):
        return own_command(split_command(line))
    return preset_command(preset or DEFAULT_PRESET)
