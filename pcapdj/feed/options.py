"""The dispatcher's options as typer types (the original's `-b -s -p -q -h` and ours), and its settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from pcapdj.capture import stream_options
from pcapdj.capture.stream_options import StreamOptions
from pcapdj.store.job_queue import JOURNAL, JournalLimits

Pipe = Annotated[Path, typer.Option("-b", "--pipe", envvar="PCAPDJ_PIPE", help="the named pipe to feed")]
Server = Annotated[str, typer.Option("-s", "--server", help="Redis's host")]
Port = Annotated[int, typer.Option("-p", "--port", min=0, max=65535, help="Redis's port", show_default=False)]
Queue = Annotated[str, typer.Option("-q", "--queue", envvar="PCAPDJ_QUEUE", help="the queue's key")]
LauncherSocket = Annotated[
    Path | None,
    typer.Option(
        "--launcher",
        envvar="PCAPDJ_LAUNCHER",
        help="the launcher's socket; without it, start the analyzer by hand",
    ),
]
OwnId = Annotated[
    str,
    typer.Option(
        "--id",
        envvar="PCAPDJ_ID",
        help="this dispatcher's name in Redis; default: the pipe's path",
    ),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow/--drain",
        envvar="PCAPDJ_FOLLOW",
        help="when the queue is empty, keep waiting (follow) or exit (drain)",
    ),
]
Take = Annotated[
    Literal["head", "tail"],
    typer.Option(
        "--take",
        envvar="PCAPDJ_TAKE",
        help="the end of the queue to take from; tail: for producers that use LPUSH",
    ),
]
Precision = Annotated[
    stream_options.Precision,
    typer.Option("--precision", envvar="PCAPDJ_PRECISION", help="the streams' timestamp precision"),
]
OnLinktype = Annotated[
    stream_options.OnLinktype,
    typer.Option(
        "--on-linktype",
        envvar="PCAPDJ_ON_LINKTYPE",
        help="a file of another link type than the stream's: fail it, begin a new stream, or rewrite raw IP,"
        " loopback and Linux cooked packets to Ethernet",
    ),
]
IdleEof = Annotated[
    str,
    typer.Option(
        "--idle-eof",
        envvar="PCAPDJ_IDLE_EOF",
        metavar="TIME",
        help="end the stream after this long without a file; 0 = never",
    ),
]
MaxGap = Annotated[
    str,
    typer.Option(
        "--max-gap",
        envvar="PCAPDJ_MAX_GAP",
        metavar="TIME",
        help="warn when a file starts this long after the previous one ended; 0 = never",
    ),
]


StorageTimeout = Annotated[
    str,
    typer.Option(
        "--storage-timeout",
        envvar="PCAPDJ_STORAGE_TIMEOUT",
        metavar="TIME",
        help="fail a file whose folder has been gone for this long; 0 = never. A file system that is not"
        " mounted is always waited for",
    ),
]


JournalEntries = Annotated[
    int,
    typer.Option(
        "--journal-entries",
        envvar="PCAPDJ_JOURNAL_ENTRIES",
        min=1,
        help="about how many entries the journal keeps; 'pcapdj check' shows the memory they take",
    ),
]
JournalDays = Annotated[
    int,
    typer.Option(
        "--journal-days",
        envvar="PCAPDJ_JOURNAL_DAYS",
        min=1,
        help="remove entries of the journal after this many days",
    ),
]


def url_of(server: str, port: int, url: str) -> str:
    """Return the URL that the options of the original name, one of which is enough; else the given one."""
    return f"redis://{server or '127.0.0.1'}:{port or 6379}/0" if server or port else url


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """The settings of one dispatcher.

    Args:
        launcher: the launcher's socket; None: analyzers are started by hand.
        follow: keep waiting when the queue is empty.
        idle_eof_s: end the stream after this long without a file; 0: never.
        roots: files must lie below one of them; none: anywhere.
        max_gap_ns: warn when a file starts this long after the previous one ended; 0: never.
        storage_timeout_s: fail a file whose folder has been gone for this long; 0: never.
        journal: how much of the journal is kept.
    """

    pipe: Path
    id: str
    launcher: Path | None
    follow: bool
    take: Literal["head", "tail"]
    streams: StreamOptions
    idle_eof_s: float
    roots: tuple[bytes, ...]
    max_gap_ns: int
    storage_timeout_s: float
    journal: JournalLimits = JOURNAL
