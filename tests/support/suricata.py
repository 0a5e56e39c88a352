"""The Suricatas that the tests use: the one on PATH, and Suricata 8 where PCAPDJ_TEST_SURICATA8 names it.

Debian 12 has Suricata 7 only. `.ci/run` unpacks Suricata 8 into a folder of its own, and names it there.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.cases import some_long
from support.programs import missing, require_program

VARIABLE: Final = "PCAPDJ_TEST_SURICATA8"


@pytest.fixture(params=some_long(["on PATH", "Suricata 8"], quick=("on PATH",)))
def suricata(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Return the path of each Suricata, and put it first on PATH."""
    if request.param == "on PATH":
        yield require_program("suricata")
        return
    program = os.environ.get(VARIABLE, "")
    if not program:
        missing(f"there is no Suricata 8: {VARIABLE} does not name one")
    folder = tmp_path / "suricata8"
    folder.mkdir()
    (folder / "suricata").symlink_to(program)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    yield str(folder / "suricata")
