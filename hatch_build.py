"""Builds the compiled loops with whatever C compiler there is; without one the package is complete, too.

hatchling runs the hook for a wheel and for an editable install; `make loops` runs this file. The library is a
plain shared library for ctypes: it needs no Python headers, and one wheel (py3-none-PLATFORM) serves every
Python.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from binascii import crc32
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER: Final = Path(__file__).parent / "pcapdj" / "capture"
SOURCE: Final = FOLDER / "loops.c"
LIBRARY: Final = FOLDER / "_loops.so"
# Portable code only: no -march=native, since a wheel is built on one machine and used on others.
FLAGS: Final = (
    "-O2",
    "-std=c11",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Werror",
)
_LIMIT_S: Final = 60


def build_loops() -> str:
    """Build the library beside its source; return why there is none, empty if there is one.

    The library appears at once and whole: a process that loads it meanwhile gets the old one or the new one.
    """
    compiler = shutil.which(os.environ.get("CC", "") or "cc") or shutil.which("gcc") or shutil.which("clang")
    LIBRARY.unlink(missing_ok=True)  # never one of another source
    if compiler is None:
        return "there is no C compiler"
    fresh = LIBRARY.with_name(f".{LIBRARY.name}.{os.getpid()}")
    digest = f"-DPCAPDJ_SOURCE_DIGEST={crc32(SOURCE.read_bytes())}u"
    try:
        ran = subprocess.run(
            [compiler, *FLAGS, digest, "-o", str(fresh), str(SOURCE)],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if ran.returncode:
            return f"{compiler} failed: {ran.stderr.strip()[-400:]}"
        fresh.replace(LIBRARY)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{compiler} failed: {exc}"
    finally:
        fresh.unlink(missing_ok=True)
    return ""


def _platform() -> str:
    """Return where the library works, in the words of PEP 600: with this machine's glibc or a later one."""
    name, version = platform.libc_ver()
    own = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    if name != "glibc" or not own.startswith("linux_"):
        return own
    return own.replace("linux_", f"manylinux_{version.replace('.', '_')}_", 1)


class LoopsHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's builder configuration is not used
    """Puts the library into a wheel, or beside its source for an editable install."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library; without a compiler leave a wheel for every platform."""
        if self.target_name != "wheel":
            return
        if build_loops():
            return
        if version != "editable":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{_platform()}"
            build_data["artifacts"].append("pcapdj/capture/_loops.so")


if __name__ == "__main__":
    reason = build_loops()
    print(f"No compiled loops: {reason}." if reason else f"Built {LIBRARY}.")  # noqa: T201 - the answer
    sys.exit(bool(reason))
