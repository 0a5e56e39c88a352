"""`pcapdj check`: what this machine has, and what is wrong, in one screen. Changes nothing."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import typer

from pcapdj.commands.machine import analyzer_lines, pipe_line, socket_line, software_lines
from pcapdj.console.screen import show
from pcapdj.console.status_lines import Line, Tone
from pcapdj.disk.limits import DEFAULTS, Limits, Watch, parse_limits, parse_watch
from pcapdj.disk.readings import Failure, Mount, mounts
from pcapdj.disk.room import Room
from pcapdj.runtime.amounts import human_size
from pcapdj.runtime.command import lines_of, new_app
from pcapdj.runtime.errors import ConfigError, ExitCode, PcapdjError, StoreUnavailable, Unavailable
from pcapdj.runtime.names import printable, quoted
from pcapdj.service import CONF
from pcapdj.store.client import shown_url
from pcapdj.store.durability import risks
from pcapdj.store.embedded import find_server, version_of
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.server import read_server

app = new_app()


@app.command()
def check(redis_url: RedisUrl = "", redis_password_file: PasswordFile = None, lane: Lane = "") -> int:
    """Tell what this machine has and what is wrong; exit 0 if pcapdj can work here, else 1."""
    lines = [
        *redis_lines(redis_url, redis_password_file, lane),
        *analyzer_lines(),
        pipe_line(),
        socket_line(Path.cwd()),
        *disk_lines(),
        *software_lines(),
    ]
    wrong = sum(line.tone is Tone.BAD for line in lines)
    show("What this machine has", [_marked(line) for line in lines])
    typer.echo(f"{wrong} wrong: see above." if wrong else "Nothing is wrong.")
    return ExitCode.ERROR if wrong else ExitCode.OK


def redis_lines(url: str, password_file: Path | None, lane: str) -> Iterator[Line]:
    """Yield whether a Redis answers and keeps a queue, and which one of our own could be started."""
    embedded = embedded_line()
    try:
        store = open_store(url, password_file, lane, patient=False)
        server = read_server(store)
    except StoreUnavailable as exc:
        yield Line("Redis", *_absent(exc, is_named=bool(url), has_embedded=embedded.tone is Tone.GOOD))
    except PcapdjError as exc:
        yield Line("Redis", str(exc), Tone.BAD)
    else:
        yield Line("Redis", f"{printable(server.version)} at {shown_url(store.url)}", Tone.GOOD)
        if server.settings is None:
            yield Line("", "it does not tell its settings: see that appendonly is yes", Tone.ATTENTION)
        for risk in risks(server.settings or {}):
            yield Line("", risk, Tone.ATTENTION)
    yield embedded


def embedded_line() -> Line:
    """Return which server `pcapdj run` and supervisord.conf would start."""
    try:
        program = find_server()
        return Line("Embedded", f"{version_of(program)} at {printable(str(program))}", Tone.GOOD)
    except Unavailable as exc:
        return Line("Embedded", str(exc), Tone.ATTENTION)


def _absent(error: StoreUnavailable, *, is_named: bool, has_embedded: bool) -> tuple[str, Tone]:
    """Return what it means that no Redis answers: wrong only where one was named or none can be started."""
    if is_named or not has_embedded:
        return str(error), Tone.BAD
    if Path(CONF).is_file():
        return f"the one of this folder is not running: supervisord -c {CONF} starts it", Tone.ATTENTION
    return (
        "none answers at the default address; the embedded one serves 'pcapdj run' and the service",
        Tone.PLAIN,
    )


def disk_lines() -> Iterator[Line]:
    """Yield the limits in bytes for what the controller would watch here, from the environment's options."""
    try:
        watches = [parse_watch(text) for text in lines_of("PCAPDJ_WATCH")()]
        typed = {name: os.environ.get(_variable(name), "") for name in DEFAULTS}
        limits = parse_limits(typed, force=bool(os.environ.get("PCAPDJ_FORCE")))
    except ConfigError as exc:
        yield Line("Disk", str(exc), Tone.BAD)
        return
    watches = watches or [Watch(os.environ.get("PCAPDJ_LOGDIR") or "out", or_parent=True)]
    measured = Room(watches).measure()
    for mount in mounts(measured):
        yield _mount_line(mount, limits)
    for watch, failure in measured.paths:
        if isinstance(failure, Failure):
            yield Line("Disk", f"{quoted(watch.path)} {failure.reason}: the gate would hold", Tone.ATTENTION)


def _mount_line(mount: Mount, limits: Limits) -> Line:
    try:
        band = mount.band(limits)
    except ConfigError as exc:
        return Line("Disk", str(exc), Tone.BAD)
    free = mount.sample.free_bytes
    text = (
        f"{quoted(mount.path)}: {human_size(free)} free; holds below {human_size(band.minimum)}"
        f" ({band.minimum} bytes), opens from {human_size(band.resume)},"
        f" suspends below {human_size(band.suspend)}"
    )
    return Line("Disk", text, Tone.GOOD if free >= band.minimum else Tone.ATTENTION)


def _variable(name: str) -> str:
    return f"PCAPDJ_{name.upper().replace('-', '_')}"


def _marked(line: Line) -> Line:
    """Return the line with its tone in words: colours do not reach files and everybody's eyes."""
    mark = {Tone.ATTENTION: "note: ", Tone.BAD: "wrong: "}.get(line.tone, "")
    return replace(line, text=mark + line.text)
