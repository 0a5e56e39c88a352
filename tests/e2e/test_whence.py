"""From an alert of real Suricata 7 and 8 to its capture, its packet and its session: `pcapdj whence`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import forkserver
from support.captures import Record, records_of
from support.service_rig import environment
from support.traced import RULES, records, write_captures

from pcapdj.commands import whence
from pcapdj.runtime.command import exit_code_of

Ask = Callable[..., tuple[int, list[dict[str, Any]], list[Record]]]
ROOM = ("--min-free", "1MiB", "--resume-after", "0", "--suspend-free", "0", "--min-free-inodes", "0")
# by source address: pkt_src, the rule, the packet's number in the stream, the session's packets, from 0 on
ALERTS: dict[str, tuple[str, str, int | None, list[int]]] = {
    "10.0.0.1": ("wire/pcap", "pcap_cnt", 1, [0]),
    "10.0.0.3": ("wire/pcap", "pcap_cnt", 2, [1]),
    "10.0.0.5": ("defrag", "tunnel.pcap_cnt", 4, [2, 3]),
    "192.168.1.5": ("gre tunnel", "tunnel.pcap_cnt", 6, [5]),
    "10.0.1.1": ("stream (flow timeout)", "flow_id, flow.start and flow.end", None, [6, 7, 8, 9]),
    "": ("wire/pcap", "pcap_cnt", 12, [11]),
}
SECOND_TUNNEL: dict[str, tuple[str, str, int | None, list[int]]] = {
    "192.168.1.1": ("ipv4 tunnel", "tunnel.pcap_cnt", 5, [4]),  # Suricata 7 does not look into IP in IP
}


@pytest.fixture
def logs(suricata: str, short_path: Path) -> Path:
    """Return the log folder of a run over the captures."""
    captures, rules = write_captures(short_path / "in"), short_path / "r.rules"
    rules.write_text(RULES)
    (short_path / "tmp").mkdir()
    command = (
        suricata,
        "-S",
        str(rules),
        "-k",
        "none",
        "--runmode",
        "single",
        "-r",
        "{pipe}",
        "-l",
        "{logdir}",
    )
    done = forkserver.run(
        *("pcapdj", "run", *map(str, captures), "--logdir", "out", *ROOM, "--", *command),
        cwd=short_path,
        env=environment(TMPDIR=str(short_path / "tmp")),
    )
    assert done.returncode == 0, done.stderr
    return short_path / "out/latest"


@pytest.fixture
def ask(logs: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """Return a runner of the command: exit code, JSON lines, the packets that were cut out."""

    def run(*arguments: str) -> tuple[int, list[dict[str, Any]], list[Record]]:
        out = tmp_path / "session.pcap"
        out.unlink(missing_ok=True)
        words = ["--log", str(logs), "--json", "-w", str(out), *arguments]
        code = exit_code_of(whence.app, "pcapdj whence", words)
        printed = capfd.readouterr()
        assert printed.err == ""
        lines = [json.loads(line) for line in printed.out.splitlines()]
        return code, lines, records_of(out.read_bytes()[24:]) if out.exists() else []

    return run


def test_an_alert_leads_to_its_capture_its_packet_and_its_session(
    logs: Path, ask: Ask, tmp_path: Path, suricata: str
) -> None:
    """By one command, whatever it is to Suricata: VLAN, fragments in two files, tunnels, time-outs, flows."""
    alerts = [
        event
        for line in (logs / "eve.json").read_text().splitlines()
        if (event := json.loads(line))["event_type"] == "alert"
    ]
    wanted = ALERTS | (SECOND_TUNNEL if suricata.endswith("suricata8/suricata") else {})
    assert {each.get("src_ip", ""): each["pkt_src"] for each in alerts} == {
        source: source_kind for source, (source_kind, *_) in wanted.items()
    }
    packets, line = records(), tmp_path / "event.json"
    for alert in alerts:
        _, rule, number, session = wanted[alert.get("src_ip", "")]
        line.write_text(json.dumps(alert))

        code, (answer, cut), found = ask(str(line))

        assert (code, answer["rule"], cut["packets"]) == (0, rule, len(session))
        assert [each.data for each in found] == [packets[place].data for place in session]
        if number:
            [file] = answer["files"]
            assert (Path(file["name"]).name, file["packet"], file["stream_packet"], file["state"]) == (
                f"{(number - 1) // 3}.pcap",
                (number - 1) % 3 + 1,
                number,
                "same",
            )
        else:
            assert [Path(file["name"]).name for file in answer["files"]] == ["2.pcap", "3.pcap"]

    flow = next(
        event
        for line in (logs / "eve.json").read_text().splitlines()
        if (event := json.loads(line))["event_type"] == "flow" and event["src_ip"] == "10.0.1.1"
    )
    assert flow["timestamp"] > flow["flow"]["end"], "it is written hours of packet time later"
    line.write_text(json.dumps(flow))
    code, (answer, cut), found = ask(str(line))
    assert (code, answer["rule"], cut["packets"]) == (0, "flow.start and flow.end", 4)
    assert [each.data for each in found] == [packets[place].data for place in range(6, 10)]
