"""The dispatcher's options: the original's `-b -s -p -q -h` and ours, as typer types, and what they make."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from pcapdj.capture import stream_options as wish
from pcapdj.capture.stream_options import StreamOptions

Pipe = Annotated[Path, typer.Option("-b", "--pipe", envvar="PCAPDJ_PIPE", help="the named pipe to feed")]
Server = Annotated[str, typer.Option("-s", "--server", help="Redis's host", show_default=False)]
Port = Annotated[int, typer.Option("-p", "--port", min=0, max=65535, help="Redis's port", show_default=False)]
Queue = Annotated[str, typer.Option("-q", "--queue", envvar="PCAPDJ_QUEUE", help="the queue's name")]
LauncherSocket = Annotated[
    Path | None,
    typer.Option(
        "--launcher", envvar="PCAPDJ_LAUNCHER", help="the launcher's socket; without it: started by hand"
    ),
]
OwnId = Annotated[
    str,
    typer.Option(
        "--id", envvar="PCAPDJ_ID", help="who it is in Redis; default: the pipe's path", show_default=False
    ),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow/--drain", envvar="PCAPDJ_FOLLOW", help="go on, or be done, when the queue is empty"
    ),
]
Take = Annotated[
    Literal["head", "tail"], typer.Option("--take", envvar="PCAPDJ_TAKE", help="tail: for LPUSH producers")
]
Precision = Annotated[
    wish.Precision,
    typer.Option("--precision", envvar="PCAPDJ_PRECISION", help="the streams' time resolution"),
]
OnLinktype = Annotated[
    wish.OnLinktype,
    typer.Option(
        "--on-linktype",
        envvar="PCAPDJ_ON_LINKTYPE",
        help="a file of another link type than the stream's: fail it, begin a new stream, or rewrite raw IP,"
        " loopback and Linux cooked packets to Ethernet",
    ),
]
IdleEof = Annotated[
    str,
    typer.Option("--idle-eof", envvar="PCAPDJ_IDLE_EOF", help="end the stream after so long without a file"),
]
MaxGap = Annotated[
    str,
    typer.Option(
        "--max-gap",
        envvar="PCAPDJ_MAX_GAP",
        help="report a file that begins so long after the end of the one before; 0: never",
    ),
]
Root = Annotated[
    Path | None, typer.Option("--root", envvar="PCAPDJ_ROOT", help="refuse files outside of this folder")
]


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """How a dispatcher was asked to work.

    Args:
        pipe: the named pipe.
        id: who it is in Redis.
        launcher: the launcher's socket; None: analyzers are started by hand.
        follow: go on when the queue is empty.
        take: the end of the queue to take from.
        streams: how they shall be.
        idle_eof_s: end the stream after so long without a file; 0: never.
        root: files must lie below it; None: anywhere.
        max_gap_ns: report a file that begins so long after the end of the one before; 0: never.
    """

    pipe: Path
    id: str
    launcher: Path | None
    follow: bool
    take: Literal["head", "tail"]
    streams: StreamOptions
    idle_eof_s: float
    root: bytes | None
    max_gap_ns: int
