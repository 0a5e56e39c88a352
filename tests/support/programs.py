"""Programs that a test needs beside pcapdj's own."""

import os
import shutil

import pytest


def missing(reason: str) -> None:
    """Skip with the reason on a person's machine; fail in CI, where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI must have it)")
    pytest.skip(reason)


def require_program(name: str) -> str:
    """Return the program's path, or skip (fail in CI) because it is not installed."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed")
    return str(path)
