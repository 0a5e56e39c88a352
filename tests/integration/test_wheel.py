"""The wheel: with the compiled loops where a C compiler is, complete without one."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
from support.programs import require_program

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = ("pcapdj", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "supervisord.conf")
LOOPS: Final = "pcapdj/capture/_loops.so"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a copy of what a wheel is built from, without a library."""
    copy = tmp_path / "source"
    copy.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "_loops.so")
    for part in PARTS:
        place = ROOT / part
        shutil.copytree(place, copy / part, ignore=ignored) if place.is_dir() else shutil.copy(place, copy)
    return copy


def built(source: Path, path: str) -> zipfile.ZipFile:
    """Return the wheel that hatchling builds with these programs on PATH."""
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel")
    subprocess.run(command, cwd=source, env={"PATH": path}, check=True, capture_output=True, timeout=100)
    (wheel,) = (source / "dist").glob("*.whl")
    return zipfile.ZipFile(wheel)


def test_with_a_compiler_one_wheel_of_the_platform_has_the_library(source: Path) -> None:
    """It is for every Python: the library needs no Python headers."""
    require_program("cc")

    with built(source, os.environ["PATH"]) as wheel:
        assert LOOPS in wheel.namelist()
        assert re.search(r"-py3-none-(many)?linux_", str(wheel.filename))


@pytest.mark.long
def test_without_a_compiler_the_wheel_is_for_every_platform(source: Path, tmp_path: Path) -> None:
    """It has the same modules, and the Python form of the loops."""
    with built(source, str(tmp_path)) as wheel:
        assert LOOPS not in wheel.namelist()
        assert "pcapdj/capture/compiled.py" in wheel.namelist()
        assert "py3-none-any" in str(wheel.filename)
