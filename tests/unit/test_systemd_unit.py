"""The systemd unit of the wheel, checked by systemd itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.forkserver import ROOT
from support.programs import require_program

UNIT = ROOT / "share/pcapdj/pcapdj@.service"
MOST_EXPOSED = "25"  # tenths of systemd's level, from 0 (safe) to 100


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """Return the unit for one folder, with a user and a command that this machine has."""
    text = UNIT.read_text()
    text = re.sub(r"(?m)^User=.*$", "User=daemon", text)
    text = re.sub(r"(?m)^ExecStart=pcapdj", f"ExecStart={Path(sys.executable).parent / 'pcapdj'}", text)
    (tmp_path / "pcapdj@srv-sensor1.service").write_text(text)
    return tmp_path / "pcapdj@srv-sensor1.service"


def test_systemd_accepts_the_unit_and_finds_it_well_confined(instance: Path) -> None:
    """No warning, and an exposure that is OK; what it leaves open has its reason in the unit."""
    require_program("systemd-analyze")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(instance)], capture_output=True, text=True, check=False
    )
    confined = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(instance)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    assert confined.returncode == 0, confined.stdout[-200:]
