"""A library that makes the reads of one file fail, or kill the process: `failing_reads.c`."""

import subprocess
from pathlib import Path

from support.programs import require_program

SOURCE = Path(__file__).with_name("failing_reads.c")


def failing_reads_in(folder: Path) -> Path:
    """Build the library."""
    require_program("cc")
    path = folder / "failing_reads.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", str(path), str(SOURCE), "-ldl"], check=True)
    return path


def failing(library: Path, **variables: int) -> dict[str, str]:
    """Return the environment of a process whose reads of `bad` fail."""
    return {"LD_PRELOAD": str(library), "BAD_NAME": "/bad"} | {k: str(v) for k, v in variables.items()}
