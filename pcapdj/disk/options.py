"""The disk options of `control` and `run`, as typer types, and the limits and watches that they stand for."""

import inspect
import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pcapdj.disk.between_process import BetweenCommand
from pcapdj.disk.limits import Watch, parse_watch
from pcapdj.disk.reclaim_rule import NONE, parse_reclaim
from pcapdj.runtime.command import lines_of
from pcapdj.runtime.environment import operator_environment, program_path
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import has_service
from pcapdj.runtime.units import parse_duration


def variable_of(name: str) -> str:
    """Return the environment variable of a limit."""
    return f"PCAPDJ_{name.upper().replace('-', '_')}"


def _watch_option(default: str) -> Any:
    return typer.Option(
        "--watch",
        default_factory=lines_of("PCAPDJ_WATCH"),
        metavar="PATH[=MIN_FREE]",
        help="watch the disk of this path; repeatable, or one path per line in PCAPDJ_WATCH"
        f" [default: {default}]",
        show_default=False,
    )


Watches = Annotated[list[str], _watch_option("--logdir and --redis-data")]
RunWatches = Annotated[list[str], _watch_option("--logdir, and the folder for temporary files")]
LogDir = Annotated[
    str,
    typer.Option("--logdir", envvar="PCAPDJ_LOGDIR", help="the analyzer's log folder"),
]
RedisData = Annotated[
    str,
    typer.Option(
        "--redis-data",
        envvar="PCAPDJ_REDIS_DATA",
        help="the embedded Redis's data folder [default: var/redis beside a supervisord.conf, without a URL]",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", envvar="PCAPDJ_FORCE", help="accept a min-free of 50 % or more")
]
Between = Annotated[
    str,
    typer.Option(
        "--between",
        envvar="PCAPDJ_BETWEEN",
        metavar="CMD",
        help="run this command before each file; the gate holds while it fails",
    ),
]
BetweenTimeout = Annotated[
    str,
    typer.Option(
        "--between-timeout",
        envvar="PCAPDJ_BETWEEN_TIMEOUT",
        metavar="TIME",
        help="kill the command of --between after this long",
    ),
]

Reclaim = Annotated[
    str,
    typer.Option(
        "--reclaim",
        envvar="PCAPDJ_RECLAIM",
        metavar="none|delete|move:DIR|compress",
        help="what to do with captures that were fed, the oldest first, when their disk is short",
    ),
]
KeepLast = Annotated[
    int,
    typer.Option(
        "--keep-last",
        envvar="PCAPDJ_KEEP_LAST",
        min=0,
        help="never reclaim this many of the newest files of the lane, and of each open stream",
    ),
]
KeepWithin = Annotated[
    str,
    typer.Option(
        "--keep-within",
        envvar="PCAPDJ_KEEP_WITHIN",
        metavar="TIME",
        help="never reclaim files that were fed less than this long ago, such as 7d; 0 = no such limit",
    ),
]


# limit -> metavar and help of its option
_LIMITS: Final = {
    "min-free": (
        "SIZE|PCT",
        "authorize no new file below this much *free* space, such as 20GiB or 10%; 0 = off [default: 10%]",
    ),
    "resume-free": ("SIZE|PCT", "authorize again when this much is free [default: 1.5 x min-free]"),
    "resume-after": ("TIME", "wait until that much was free for this long [default: 30s]"),
    "suspend-free": (
        "SIZE|PCT",
        "pause the running file below this much free space; 0 = off [default: 0.5 x min-free]",
    ),
    "min-free-inodes": ("NUMBER|PCT", "like --min-free, but for inodes; 0 = off [default: 5%]"),
    "min-available-memory": ("SIZE|PCT", "like --min-free, but for available memory [default: off]"),
    "reserve": (
        "FACTOR|auto",
        "authorize only a file whose output, FACTOR times its size, fits above min-free [default: off]",
    ),
}


def _limit_option(limit: str) -> inspect.Parameter:
    metavar, explanation = _LIMITS[limit]
    option = typer.Option(f"--{limit}", envvar=variable_of(limit), metavar=metavar, help=explanation)
    name = limit.replace("-", "_")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=Annotated[str, option]
    )


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `limits` by an option for each limit, whose texts it then receives.

    Args:
        command: its `limits` are the texts as typed, by the names of `limits.DEFAULTS`.
    """
    signature = inspect.signature(command)
    limit_options = {each.name: each for each in map(_limit_option, _LIMITS)}

    @wraps(command)
    def with_texts(**given: Any) -> None:
        command(limits={name.replace("_", "-"): given.pop(name) for name in limit_options}, **given)

    parameters: list[inspect.Parameter] = []
    for each in signature.parameters.values():
        parameters += limit_options.values() if each.name == "limits" else [each]
    with_texts.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    return with_texts


def between_command(text: str, timeout: str) -> BetweenCommand | None:
    """Return the command of --between; None: there is none.

    Args:
        text: as typed; it is split into an argv as a shell does, and never given to one.
        timeout: as typed.

    Raises:
        ConfigError: it is no command, its program is not installed, or the time is not one.
    """
    timeout_s = parse_duration(timeout, "between-timeout")
    try:
        argv = shlex.split(text)
    except ValueError as exc:
        raise ConfigError(f"between: {quoted(text)} is no command: {exc}.") from None
    if not argv:
        return None
    if not timeout_s:
        raise ConfigError(
            "between-timeout: 0 would kill the command at once.", hint="Write a time such as 5m."
        )
    folders = program_path()
    if not (program := shutil.which(argv[0], path=folders)):
        is_there = shutil.which(argv[0], mode=os.F_OK, path=folders)
        what = "may not be executed by this user" if is_there else "is not there"
        raise ConfigError(
            f"between: the program {quoted(argv[0])} {what}.", hint="Write the path of a program."
        )
    variables = operator_environment()
    return BetweenCommand([str(Path(program).absolute()), *argv[1:]], timeout_s, variables)


def reclaim_arguments(
    setting: str, roots: Sequence[bytes], keep_last: int, keep_within: str, lane: str
) -> list[str]:
    """Return the arguments of `pcapdj reclaim` for the controller's rounds; none: nothing is removed.

    Raises:
        ConfigError: the setting is not valid, or there are no roots.
    """
    parse_duration(keep_within, "keep-within")
    if parse_reclaim(setting).how == NONE:
        return []
    words = ["--reclaim", setting, "--keep-last", str(keep_last), "--keep-within", keep_within]
    words += [word for root in reclaim_roots(roots) for word in ("--root", os.fsdecode(root))]
    return ["now", "--if-short", *words, "--lane", lane]


def reclaim_roots(roots: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the folders below which captures may be removed; refuse that there are none.

    Raises:
        ConfigError: there are none.
    """
    if not roots:
        raise ConfigError(
            "No folder is named below which captures may be removed.",
            hint="Name it with --root, or in PCAPDJ_ROOT.",
        )
    return tuple(roots)


def own_redis_data(redis_url: str) -> str:
    """Return the embedded Redis's data folder; empty with a URL, or without a supervisord.conf here."""
    return "var/redis" if not redis_url and has_service(Path()) else ""


def watches_of(texts: Sequence[str], defaults: Sequence[str], *, force: bool = False) -> list[Watch]:
    """Return the watches: the named paths, else the defaults that are set.

    A named path must exist. A default path may appear later: until then, its parent is measured.

    Raises:
        ConfigError: a text is not PATH or PATH=MIN_FREE.
    """
    if texts:
        return [parse_watch(text, force=force) for text in texts]
    return [Watch(path, or_parent=True) for path in defaults if path]
