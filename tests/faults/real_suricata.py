"""A real Suricata as the analyzer: it counts what it decoded, and what of that was invalid."""

import re
from typing import Final

from faults.checker import Findings, check_names
from faults.evidence import lists_of
from faults.scenario import Scenario

COMMAND: Final = (
    *("suricata", "-r", "{pipe}", "-l", "{logdir}"),
    *("--runmode", "single", "-S", "/dev/null", "-k", "none"),
)
_COUNTER: Final = r"^{} *\| Total *\| (\d+)"


def check(scenario: Scenario) -> list[Findings]:
    """Return what is wrong with its counts: in one stream, every packet that it was fed, and no other."""
    return _check(scenario, has_one_stream=True)


def check_stopped(scenario: Scenario) -> list[Findings]:
    """Return what is wrong with its counts in all streams together: a stop begins another one."""
    return _check(scenario, has_one_stream=False)


def _check(scenario: Scenario, *, has_one_stream: bool) -> list[Findings]:
    lists, found = lists_of(scenario), Findings()
    fed = sum(
        scenario.files[number].packets for number, _, verdict in lists.journal if verdict == "processed"
    )
    logs = [path.read_text() for path in scenario.out.glob("*/stats.log") if not path.parent.is_symlink()]
    found.packets = sum(_count(log, "decoder.pkts") for log in logs)
    invalid = sum(_count(log, "decoder.invalid") for log in logs)
    found.lost, found.doubled = max(0, fed - found.packets), max(0, found.packets - fed)
    if (has_one_stream and len(logs) != 1) or found.packets != fed or invalid:
        found.add(
            f"Suricata decoded {found.packets} of {fed} packets in {len(logs)} streams, {invalid} invalid"
        )
    return [found, check_names(lists, scenario.accepted)]


def _count(log: str, counter: str) -> int:
    found = re.findall(_COUNTER.format(re.escape(counter)), log, re.MULTILINE)
    return int(found[-1]) if found else 0
