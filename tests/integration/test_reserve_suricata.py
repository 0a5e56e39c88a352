"""The reserve for the next file, learned from a real Suricata that writes more than it reads."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.captures import Record, classic
from support.mounts import MemoryMount
from support.programs import missing, require_program
from support.roles_rig import Trio, trio_in
from support.waiting import wait_until

from pcapdj.disk.output_ratio import GROUP_BYTES

RULE = 'alert udp any any -> any any (msg:"any"; content:"packet"; sid:1;)\n'
CONFIGURATION = """%YAML 1.1
---
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types:
        - alert:
            payload: yes
            payload-printable: yes
            packet: yes
"""
DATA_BYTES = 1000
MIB = 1 << 20


@pytest.fixture
def trio(short_path: Path) -> Iterator[Trio]:
    """Return roles whose output folder is a disk of 25 MiB with a min-free of 4 MiB."""
    require_program("suricata")
    if os.geteuid() != 0:
        missing("only root can mount a file system")
    (short_path / "disk").mkdir()
    with trio_in(short_path) as (_, trio):
        trio.out.mkdir()
        mount = MemoryMount(trio.out, short_path / "disk", "25m")
        try:
            trio.out.chmod(0o755)
            trio.environment |= {"PCAPDJ_WATCH": f"{trio.out}=4MiB", "PCAPDJ_LOGDIR": str(trio.out)}
            yield trio
        finally:
            trio.stop_all()
            mount.close()


def capture(trio: Trio, number: int) -> Path:
    """Write a capture of about 1.1 MiB of UDP packets."""
    packets = 1100 * GROUP_BYTES // MIB
    frames = [udp(number, each) for each in range(packets)]
    path = trio.captures / f"{number}.pcap"
    path.write_bytes(
        classic([Record(1_700_000_000 + number, each, data) for each, data in enumerate(frames)])
    )
    return path


def udp(number: int, packet: int) -> bytes:
    """Return a UDP packet of Ethernet, with text in it."""
    data = f"file {number} packet {packet} ".encode().ljust(DATA_BYTES, b"x")
    header = (2048 + number).to_bytes(2) + (9).to_bytes(2) + (8 + len(data)).to_bytes(2) + bytes(2)
    addresses = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    ip = bytes([0x45, 0]) + (28 + len(data)).to_bytes(2) + bytes([0, 0, 0, 0, 64, 17, 0, 0]) + addresses
    return bytes(12) + b"\x08\x00" + ip + header + data


def gate(trio: Trio) -> dict[str, str]:
    """Return the fields of PCAPDJ_GATE."""
    fields: Any = trio.store.redis.hgetall(trio.store.keys.gate)
    return {name.decode(): value.decode() for name, value in fields.items()}


def has_counted(trio: Trio, output_bytes: int) -> bool:
    """Report whether the controller has counted so much output."""
    return int(gate(trio).get("output_bytes", 0)) > output_bytes


def test_a_file_whose_output_does_not_fit_waits_until_there_is_room(trio: Trio) -> None:
    """Suricata writes four times what it reads: that is learned from three files. The fifth does not fit."""
    (trio.folder / "any.rules").write_text(RULE)
    (trio.folder / "alerts.yaml").write_text(CONFIGURATION)
    trio.start("controller", "--reserve", "auto")
    trio.start("dispatcher")
    loaded = ("--include", str(trio.folder / "alerts.yaml"), "-S", str(trio.folder / "any.rules"))
    options = (*loaded, "-k", "none", "--runmode", "single")
    trio.start("consumer", "--", "suricata", *options, "-r", "{pipe}", "-l", "{logdir}")
    for number in range(1, 5):
        trio.queue(capture(trio, number))
        trio.await_processed(number)
        wait_until(partial(has_counted, trio, 3 * number * MIB), "the output to be counted")

    trio.queue(capture(trio, 5))
    wait_until(lambda: gate(trio)["cause"] == "reserve", "the file that does not fit")

    held = json.loads(gate(trio)["reserve"])
    assert gate(trio)["state"] == "hold"
    assert 3 < held["factor"] < 5
    assert held["learned_from_files"] == 3
    assert held["needs_bytes"] == int(held["factor"] * held["input_bytes"]) > held["left_bytes"]
    assert "The next file '5.pcap' (1.1 MiB) needs about 4." in gate(trio)["reason"]

    os.truncate(trio.out / "latest" / "eve.json", 0)  # Suricata appends to it
    trio.await_processed(5)
    assert gate(trio)["state"] == "open"
