"""`pcapdj control --check`: what the running controller decides, or what one started here would decide."""

from collections.abc import Sequence

from pcapdj.console.disk_lines import disk_lines
from pcapdj.console.screen import print_fitted
from pcapdj.disk.gate import State
from pcapdj.disk.gate_report import check_lines
from pcapdj.disk.monitor import DiskMonitor
from pcapdj.disk.published_gate import PublishedGate, parse_gate, published_disks
from pcapdj.runtime.errors import ExitCode, PcapdjError, Unavailable
from pcapdj.store.grants import Grants
from pcapdj.store.snapshot import is_recent


def check_running(grants: Grants) -> ExitCode:
    """Print what the running controller has published.

    Args:
        grants: of its lane.

    Returns:
        OK if its gate is open, else HOLD.

    Raises:
        Unavailable: none runs.
        As `Grants.published`.
    """
    fields = grants.published()
    published = parse_gate(fields)
    if published.state is None or not is_recent(fields.get("heartbeat_s")):
        raise Unavailable(
            "No controller is running.",
            hint="'pcapdj control --check --as-started' shows what one with these options would decide.",
        )
    decision = f"gate: {published.state.word}: {fields.get('reason', '')}"
    _print([*disk_lines(published_disks(fields)), decision], fields.get("refused", ""))
    return _code(published.state)


def check_as_started(monitor: DiskMonitor, grants: Grants) -> ExitCode:
    """Print what a controller with this monitor would decide.

    Args:
        monitor: has measured the disks.
        grants: have the live limits and the last published gate; without Redis both are left out.

    Returns:
        As `check_running`.
    """
    published = PublishedGate()
    try:
        published = parse_gate(grants.published())
        monitor.apply(grants.control())
    except PcapdjError as exc:
        print_fitted(f"{exc} Live limits and the last published gate are left out.")
    decision = monitor.decision(monitor.next_gate(published.gate))
    _print(check_lines(monitor.samples, monitor.limits, decision), monitor.live.refused)
    return _code(decision.state)


def _code(state: State) -> ExitCode:
    return ExitCode.OK if state is State.OPEN else ExitCode.HOLD


def _print(lines: Sequence[str], refused: str) -> None:
    for line in [*lines, *([f"refused: {refused}"] if refused else [])]:
        print_fitted(line)
