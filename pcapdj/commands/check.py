"""`pcapdj check`: what this machine has, and what is wrong, in one screen. Changes nothing."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import typer

from pcapdj.commands.machine import analyzer_lines, pipe_line, socket_line, software_lines
from pcapdj.console.screen import Line, Tone, show
from pcapdj.disk.limits import DEFAULTS, Limits, parse_limits
from pcapdj.disk.measurements import FailedMeasurement, Memory, Mount, mounts
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.options import variable_of, watches_of
from pcapdj.runtime.command import lines_of, new_app
from pcapdj.runtime.errors import ConfigError, ExitCode, PcapdjError, StoreUnavailable, Unavailable
from pcapdj.runtime.safe_text import printable, quoted
from pcapdj.runtime.units import human_size
from pcapdj.service import CONF
from pcapdj.store.client import Store
from pcapdj.store.embedded import find_server, version_of
from pcapdj.store.operate import read_control
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.redis_url import safe_url
from pcapdj.store.server import read_server, risks

_KEEPING = ("appendonly", "appendfsync", "maxmemory-policy")

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
        store = open_store(url, password_file, lane, is_role=False)
        server = read_server(store)
    except StoreUnavailable as exc:
        yield Line("Redis", *_absent(exc, is_named=bool(url), has_embedded=embedded.tone is Tone.GOOD))
    except PcapdjError as exc:
        yield Line("Redis", str(exc), Tone.BAD)
    else:
        yield Line("Redis", f"{printable(server.version)} at {safe_url(store.url)}", Tone.GOOD)
        if server.settings is None:
            yield Line("", "it does not tell its settings: see that appendonly is yes", Tone.ATTENTION)
        else:
            yield from _keeping_lines(server.settings, is_synced=server.is_synced)
        yield from _live_lines(store)
    yield embedded


def _keeping_lines(settings: Mapping[str, str], *, is_synced: bool) -> Iterator[Line]:
    """Yield whether persistence and eviction policy keep a queue."""
    dangers = list(risks(settings, is_synced=is_synced))
    for risk in dangers:
        yield Line("", risk, Tone.ATTENTION)
    if not dangers:
        told = ", ".join(f"{name} {settings[name]}" for name in _KEEPING if settings.get(name))
        beside = "; a process beside it syncs every second" if is_synced else ""
        yield Line("", f"it keeps a queue: {printable(told)}{beside}", Tone.GOOD)


def _live_lines(store: Store) -> Iterator[Line]:
    """Yield the limits that were changed while it runs: they beat those of the environment."""
    try:
        control = read_control(store)
    except PcapdjError as exc:
        yield Line("", str(exc), Tone.BAD)
        return
    if live := ", ".join(f"{name}={printable(text)}" for name, text in control.items()):
        yield Line("", f"live values beat the limits below: {live}", Tone.ATTENTION)


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
        force = bool(os.environ.get("PCAPDJ_FORCE"))
        watches = watches_of(lines_of("PCAPDJ_WATCH")(), _default_watches(), force=force)
        typed = {name: os.environ.get(variable_of(name), "") for name in DEFAULTS}
        limits = parse_limits(typed, force=force)
    except ConfigError as exc:
        yield Line("Disk", str(exc), Tone.BAD)
        return
    measured = DiskMeter(watches).measure()
    for mount in mounts(measured):
        yield from _mount_lines(mount, limits)
    yield from _memory_lines(measured.memory, limits)
    for watch, failure in measured.paths:
        if isinstance(failure, FailedMeasurement):
            yield Line("Disk", f"{quoted(watch.path)} {failure.reason}: the gate would hold", Tone.ATTENTION)


def _default_watches() -> list[str]:
    """Return the analyzer's output folder, and where the embedded Redis of this folder writes."""
    has_own_redis = Path(CONF).is_file() and not os.environ.get("PCAPDJ_REDIS_URL")
    own = "var/redis" if has_own_redis else ""
    return [os.environ.get("PCAPDJ_LOGDIR") or "out", os.environ.get("PCAPDJ_REDIS_DATA") or own]


def _mount_lines(mount: Mount, limits: Limits) -> Iterator[Line]:
    try:
        thresholds = mount.thresholds(limits)
    except ConfigError as exc:
        yield Line("Disk", str(exc), Tone.BAD)
        return
    sample = mount.sample
    tone = Tone.GOOD if sample.free_bytes >= thresholds.minimum else Tone.ATTENTION
    paths = ", ".join(quoted(watch.path) for watch in mount.watches)
    yield Line("Disk", f"{paths}: {human_size(sample.free_bytes)} free", tone)
    yield Line("", f"holds below {_bytes(thresholds.minimum)}")
    yield Line("", f"opens again from {_bytes(thresholds.resume)}, after {limits.resume_after_s:g} s")
    yield Line("", f"suspends below {_bytes(thresholds.suspend)}" if thresholds.suspend else "never suspends")
    inodes = limits.inode_thresholds(sample.total_inodes)
    if inodes.minimum:
        tone = Tone.PLAIN if sample.free_inodes >= inodes.minimum else Tone.ATTENTION
        yield Line("", f"{sample.free_inodes:,} inodes free; holds below {inodes.minimum:,}", tone)


def _memory_lines(memory: Memory, limits: Limits) -> Iterator[Line]:
    thresholds = limits.memory_thresholds(memory.total_bytes)
    if thresholds.minimum:
        tone = Tone.GOOD if memory.available_bytes >= thresholds.minimum else Tone.ATTENTION
        text = f"{human_size(memory.available_bytes)} available; holds below {_bytes(thresholds.minimum)}"
        yield Line("Memory", text, tone)


def _bytes(size_bytes: int) -> str:
    return f"{human_size(size_bytes)} ({size_bytes:,} bytes)"


def _marked(line: Line) -> Line:
    """Return the line with its tone in words: colours do not reach files and everybody's eyes."""
    mark = {Tone.ATTENTION: "note: ", Tone.BAD: "wrong: "}.get(line.tone, "")
    return replace(line, text=mark + line.text)
