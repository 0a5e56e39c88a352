"""The disk options of `control` and `run`, as typer types, and the limits and watches that they stand for."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pcapdj.disk.limits import Watch, parse_watch
from pcapdj.runtime.command import lines_of


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


def _limit_option(name: str, metavar: str, explanation: str) -> Any:
    return typer.Option(
        f"--{name}", envvar=variable_of(name), metavar=metavar, help=explanation, show_default=False
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
        show_default=False,
    ),
]
MinFree = Annotated[
    str,
    _limit_option(
        "min-free",
        "SIZE|PCT",
        "authorize no new file below this much *free* space, as 20GiB or 10%; 0 = off [default: 10%]",
    ),
]
ResumeFree = Annotated[
    str,
    _limit_option(
        "resume-free", "SIZE|PCT", "authorize again when this much is free [default: 1.5 x min-free]"
    ),
]
ResumeAfter = Annotated[
    str,
    _limit_option("resume-after", "TIME", "how long that much must stay free before [default: 30s]"),
]
SuspendFree = Annotated[
    str,
    _limit_option(
        "suspend-free",
        "SIZE|PCT",
        "pause the running file below this much free space; 0 = off [default: 0.5 x min-free]",
    ),
]
MinFreeInodes = Annotated[
    str,
    _limit_option("min-free-inodes", "NUMBER|PCT", "as --min-free, for inodes; 0 = off [default: 5%]"),
]
MinAvailableMemory = Annotated[
    str,
    _limit_option("min-available-memory", "SIZE|PCT", "as --min-free, for available memory [default: off]"),
]
Force = Annotated[
    bool, typer.Option("--force", envvar="PCAPDJ_FORCE", help="accept a min-free of 50 % or more")
]


def limit_texts(  # noqa: PLR0913 - an option each
    *,
    min_free: str,
    resume_free: str,
    resume_after: str,
    suspend_free: str,
    min_free_inodes: str,
    min_available_memory: str,
) -> dict[str, str]:
    """Return the limits as typed, by the names of `limits.DEFAULTS`."""
    return {
        "min-free": min_free,
        "resume-free": resume_free,
        "resume-after": resume_after,
        "suspend-free": suspend_free,
        "min-free-inodes": min_free_inodes,
        "min-available-memory": min_available_memory,
    }


def watches_of(texts: Sequence[str], defaults: Sequence[str], *, force: bool = False) -> list[Watch]:
    """Return the watches: the named paths, else the defaults that are set.

    A named path must exist. A default path may appear later: until then, its parent is measured.

    Raises:
        ConfigError: a text is not PATH or PATH=MIN_FREE.
    """
    if texts:
        return [parse_watch(text, force=force) for text in texts]
    return [Watch(path, or_parent=True) for path in defaults if path]
