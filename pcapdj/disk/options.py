"""The disk options, as typer types, and what they mean together; `control` and `run` take the same ones."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pcapdj.disk.limits import Watch, parse_watch
from pcapdj.runtime.command import lines_of


def _watch_option(default: str) -> Any:
    return typer.Option(
        "--watch",
        default_factory=lines_of("PCAPDJ_WATCH"),
        metavar="PATH[=MIN_FREE]",
        help="a path whose disk must have room; repeatable, or one per line in PCAPDJ_WATCH"
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
        show_default=False,
    ),
]
MinFree = Annotated[
    str,
    typer.Option(
        "--min-free",
        envvar="PCAPDJ_MIN_FREE",
        metavar="SIZE|PCT",
        help="nothing new is authorized below so much *free* space, as 20GiB or 10%; 0 = off [default: 10%]",
        show_default=False,
    ),
]
ResumeFree = Annotated[
    str,
    typer.Option(
        "--resume-free",
        envvar="PCAPDJ_RESUME_FREE",
        metavar="SIZE|PCT",
        help="authorized again from here .. [default: 1.5 x min-free]",
        show_default=False,
    ),
]
ResumeAfter = Annotated[
    str,
    typer.Option(
        "--resume-after",
        envvar="PCAPDJ_RESUME_AFTER",
        metavar="TIME",
        help=".. and for that long [default: 30s]",
        show_default=False,
    ),
]
SuspendFree = Annotated[
    str,
    typer.Option(
        "--suspend-free",
        envvar="PCAPDJ_SUSPEND_FREE",
        metavar="SIZE|PCT",
        help="the running file is paused below; 0 = off [default: 0.5 x min-free]",
        show_default=False,
    ),
]
MinFreeInodes = Annotated[
    str,
    typer.Option(
        "--min-free-inodes",
        envvar="PCAPDJ_MIN_FREE_INODES",
        metavar="NUMBER|PCT",
        help="as --min-free, for inodes; 0 = off [default: 5%]",
        show_default=False,
    ),
]
MinAvailableMemory = Annotated[
    str,
    typer.Option(
        "--min-available-memory",
        envvar="PCAPDJ_MIN_AVAILABLE_MEMORY",
        metavar="SIZE|PCT",
        help="as --min-free, for available memory [default: off]",
        show_default=False,
    ),
]
Force = Annotated[
    bool, typer.Option("--force", envvar="PCAPDJ_FORCE", help="take a min-free of 50 % and more")
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


def variable_of(name: str) -> str:
    """Return the environment variable of a limit."""
    return f"PCAPDJ_{name.upper().replace('-', '_')}"


def watches_of(texts: Sequence[str], defaults: Sequence[str], *, force: bool = False) -> list[Watch]:
    """Return what to watch: the paths named, else the defaults that are set.

    A default may not be there yet, so its parent will do until then; a path that was named has to be there.

    Raises:
        ConfigError: one of the texts is no watch.
    """
    if texts:
        return [parse_watch(text, force=force) for text in texts]
    return [Watch(path, or_parent=True) for path in defaults if path]
