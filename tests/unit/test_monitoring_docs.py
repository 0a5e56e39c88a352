"""docs/monitoring: its rules pass their tests, and everything there is about metrics that exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from support.cases import some_long

from pcapdj.console.metrics import FAMILIES

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
NAMES = {*FAMILIES, "pcapdj_build_info"}


@pytest.mark.parametrize(
    "words",
    some_long(["check rules alerts.yml", "test rules alerts_test.yml"], quick=("check rules alerts.yml",)),
)
def test_promtool_accepts_the_alert_rules(words: str) -> None:
    """Their form, and their unit tests."""
    answer = subprocess.run(
        ["promtool", *words.split()], cwd=FOLDER, capture_output=True, text=True, check=False
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_rule_has_a_test() -> None:
    """An alert that was never seen firing may never fire."""
    alerts = set(re.findall(r"- alert: (\w+)", (FOLDER / "alerts.yml").read_text()))
    tests = (FOLDER / "alerts_test.yml").read_text()
    # the number of firing alerts has these
    in_sum = {"PcapdjGateSetByHand", "PcapdjFailedFiles", "PcapdjPoison", "PcapdjAnalyzerCrashes"}
    in_sum |= {
        "PcapdjPacketsLeftOut",
        "PcapdjQueueOld",
        "PcapdjSuspectStream",
    }

    firing = set(re.findall(r"alertname: (\w+)\n +exp_alerts", tests))

    assert alerts - firing - in_sum == set()


@pytest.mark.parametrize("name", ["alerts.yml", "alerts_test.yml", "dashboard.json"])
def test_rules_and_dashboard_use_metrics_that_exist(name: str) -> None:
    """A renamed metric would make an alert silent."""
    used = set(re.findall(r"\bpcapdj_\w+", (FOLDER / name).read_text()))

    assert used
    assert used - NAMES == set()


def test_every_metric_is_documented() -> None:
    """With the same words as its help."""
    rows = [
        line.strip("| ").split(" | ")
        for line in (FOLDER / "README.md").read_text().splitlines()
        if "| `pcapdj_" in line
    ]

    documented = {row[0].strip("`"): row[1] for row in rows}

    assert documented.pop("pcapdj_build_info")
    assert documented == FAMILIES


def test_the_dashboard_has_no_overlapping_panels() -> None:
    """It is valid JSON, and each panel has a place of its own and a query."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
