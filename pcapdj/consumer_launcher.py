"""The consumer launcher: starts the analyzer, holds the stream, remembers what is in the pipe.

A stream is one analyzer process from its first byte to its end (`stream.life`). It starts when the dispatcher
asks (OPEN) and ends when the dispatcher says so (END), when the analyzer goes, or with this process.

It owns the launcher socket and the pipe with their locks, the log folders, and the analyzer's process group.
It reads no Redis key and writes one, PCAPDJ_CONSUMER, from a thread (`store.consumer`): Redis may be away for
as long as it likes.

    idle      no stream                              OPEN -> starting
    starting  the analyzer has not opened the pipe   opened -> reading, exit -> failing
    reading   the dispatcher may feed                END -> flushing, exit or a closed pipe -> failing
    flushing  the analyzer writes its results        exit -> idle
    failing   the last start or stream went wrong    OPEN, after 1, 2, 4 .. 60 s -> starting

An OPEN that comes while flushing or failing waits. A missing analyzer is looked for every minute.

SIGTERM, SIGINT: closes the pipe, lets the analyzer flush as END does, leaves; a second one kills it. SIGHUP
is passed on to the analyzer. Killed itself, the analyzer dies with it, the dispatcher replays the file in
flight into the next stream, and the next launcher replaces socket and pipe.
"""

import os
import shlex
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

import typer

from pcapdj.analyzer.launch import AnalyzerStarter
from pcapdj.analyzer.launcher import ConsumerLauncher
from pcapdj.analyzer.options import (
    CommandLine,
    FlushTimeout,
    LogRoot,
    PipePath,
    PresetName,
    RestartPause,
    Settings,
    SocketPath,
    StallTimeout,
    chosen_command,
    pipe_place,
    socket_place,
)
from pcapdj.analyzer.server import Server
from pcapdj.analyzer.session import Timeouts
from pcapdj.analyzer.status import ConsumerPublisher
from pcapdj.runtime import log
from pcapdj.runtime.command import new_app, run_app
from pcapdj.runtime.fifo import Fifo
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.places import make_log_root, private_folder
from pcapdj.runtime.process import Lock, die_with_supervisord
from pcapdj.runtime.signals import handled
from pcapdj.runtime.sockets import check_socket_path
from pcapdj.runtime.units import parse_duration
from pcapdj.store.client import Store
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

_UNUSED = (signal.SIGUSR1, signal.SIGUSR2)  # the dispatcher's; here they must not kill

app = new_app()
events: Final = EventLog("consumer")


@app.command()
def consume(  # noqa: PLR0913 - an option each
    context: typer.Context,
    command: CommandLine = None,
    preset: PresetName = "",
    socket: SocketPath = None,
    pipe: PipePath = None,
    logdir: LogRoot = Path("out"),
    flush_timeout: FlushTimeout = "120s",
    restart_pause: RestartPause = "1s",
    stall_timeout: StallTimeout = "0",
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Start the analyzer when a dispatcher has something for it, and hold the stream."""
    die_with_supervisord()
    source = context.get_parameter_source("preset")
    settings = Settings(
        command=chosen_command(
            command or (), preset, preset_is_flag=source is not None and source.name == "COMMANDLINE"
        ),
        socket=socket_place(socket),
        pipe=pipe_place(pipe),
        log_root=logdir.absolute(),
        timeouts=Timeouts(
            flush_s=parse_duration(flush_timeout, "--flush-timeout"),
            stall_s=parse_duration(stall_timeout, "--stall-timeout"),
            restart_pause_s=parse_duration(restart_pause, "--restart-pause"),
        ),
    )
    work(settings, open_store(redis_url, redis_password_file, lane))


def work(settings: Settings, store: Store) -> None:
    """Be the launcher of this socket until stopped.

    Raises:
        AlreadyRunning: another launcher has this socket or this pipe.
        CannotCreate: pipe, socket or log folder cannot be made, or are not ours.
    """
    check_socket_path(settings.socket)
    private_folder(settings.socket.parent)
    with ExitStack() as stack:
        lock = Lock(settings.socket.with_name(f".{settings.socket.name}.lock"), "launcher")
        stack.callback(lock.close)
        launcher = _launcher(settings, store, stack)
        events.info("started", pid=os.getpid(), socket=settings.socket, command=settings.command)
        if not os.environ.get("SUPERVISOR_ENABLED"):
            _say_dispatcher(settings)
        launcher.run()


def _launcher(settings: Settings, store: Store, stack: ExitStack) -> ConsumerLauncher:
    """Return the launcher with everything it needs; the stack takes it apart again."""
    fifo = Fifo(settings.pipe)
    stack.callback(Lock(settings.pipe.with_name(f".{settings.pipe.name}.launcher.lock"), "launcher").close)
    make_log_root(settings.log_root)
    signals = stack.enter_context(handled((signal.SIGCHLD, signal.SIGHUP, *_UNUSED)))
    publisher = ConsumerPublisher(store, events)
    stack.callback(publisher.close)
    launching = AnalyzerStarter(settings.command, fifo, settings.log_root, settings.timeouts)
    launcher = ConsumerLauncher(launching, Server(settings.socket), publisher.publish, signals)
    stack.callback(launcher.close)
    return launcher


def _say_dispatcher(settings: Settings) -> None:
    """Tell a person who started this by hand what goes with it."""
    command = [
        "python",
        "-m",
        "pcapdj.dispatcher",
        "-b",
        str(settings.pipe),
        "--launcher",
        str(settings.socket),
    ]
    log.flush()
    print(f"The dispatcher that goes with it: {shlex.join(command)}", file=sys.stderr)  # noqa: T201 - an answer


def main() -> NoReturn:
    """Run the launcher as a process."""
    run_app(app, "pcapdj consume")


if __name__ == "__main__":
    main()
