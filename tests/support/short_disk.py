"""Captures of very many flows, and somebody who moves an analyzer's output away while it is written."""

import ctypes
import json
import os
import shutil
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.frames import header

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_LOOK_S: Final = 0.005
_libc: Final = ctypes.CDLL(None, use_errno=True)
_SOURCES: Final = 65_000  # addresses; then the next port
_STEP_US: Final = 5_000
_START_US: Final = 1_700_000_000_000_000
_PAYLOAD: Final = b"x" * 18


def flow_captures(folder: Path, files: int, packets: int) -> list[Path]:
    """Write captures whose packets are a flow each: UDP from another address or port, 5 ms apart."""
    folder.mkdir()
    template = bytearray(struct.pack("<IIII", 0, 0, 60, 60))
    template += b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0"
    template += struct.pack(">BBHHHBBHII", 0x45, 0, 46, 0, 0, 64, 17, 0, 0, 0xC0A80001)
    template += struct.pack(">HHHH", 0, 9999, 26, 0) + _PAYLOAD
    paths = [folder / f"{number:03}.pcap" for number in range(files)]
    for number, path in enumerate(paths):
        content = bytearray(header())
        for flow in range(number * packets, (number + 1) * packets):
            seconds, fraction = divmod(_START_US + flow * _STEP_US, 1_000_000)
            struct.pack_into("<II", template, 0, seconds, fraction)
            struct.pack_into(">I", template, 16 + 26, 0x0A000001 + flow % _SOURCES)
            struct.pack_into(">H", template, 16 + 34, 1024 + flow // _SOURCES)
            content += template
        path.write_bytes(content)
        os.utime(path, (_START_US // 1_000_000, _START_US // 1_000_000))
    return paths


class Shipper:
    """Copies what was written of all `eve.json` of a disk, and gives its blocks back, again and again.

    Args:
        disk: a mount point.
        shipped: where the records go.
        every_s: how long it waits between two rounds.
        below_bytes: it does so only if less is free.

    Attributes:
        lowest_free_bytes: that it has seen, about every 5 ms.
    """

    def __init__(self, disk: Path, shipped: Path, every_s: float, below_bytes: int) -> None:
        self.lowest_free_bytes = 1 << 62
        self._disk = disk
        self._every_s = every_s
        self._below_bytes = below_bytes
        self._done: dict[Path, int] = {}
        self._shipped = shipped.open("ab")
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._ship, self._look)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ship what is left, and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._ship_once()
        self._shipped.close()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self.lowest_free_bytes = min(self.lowest_free_bytes, self._free_bytes())

    def _free_bytes(self) -> int:
        found = os.statvfs(self._disk)
        return found.f_bavail * found.f_frsize

    def _ship(self) -> None:
        while not self._stop.wait(self._every_s):
            if self._free_bytes() < self._below_bytes:
                self._ship_once()

    def _ship_once(self) -> None:
        for path in self._disk.glob("**/eve.json"):
            begin = self._done.get(path, 0)
            with path.open("r+b") as file:
                file.seek(begin)
                shutil.copyfileobj(file, self._shipped, 1 << 20)
                end = self._done[path] = file.tell()
                if whole := end // 4096 * 4096:
                    mode, offset, length = _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(whole)
                    assert not _libc.fallocate(file.fileno(), mode, offset, length)


@contextmanager
def shipping(disk: Path, shipped: Path, every_s: float, below_bytes: int) -> Iterator[Shipper]:
    """Ship the disk's output for the block; the arguments are those of `Shipper`."""
    shipper = Shipper(disk, shipped, every_s, below_bytes)
    shipper.start()
    try:
        yield shipper
    finally:
        shipper.stop()


def missing_flows(shipped: Path, flows: int) -> set[tuple[str, int]]:
    """Return the addresses and ports of those of `flow_captures` without a record, or with two.

    A line that is torn, or joined with another one, is an error.
    """
    records = Counter[tuple[str, int]]()
    with shipped.open("rb") as lines:
        for line in lines:
            record = json.loads(line)
            if record["event_type"] == "flow":
                records[record["src_ip"], record["src_port"]] += 1
    wanted = Counter(map(_source, range(flows)))
    return {flow for flow in wanted.keys() | records.keys() if wanted[flow] != records[flow]}


def _source(flow: int) -> tuple[str, int]:
    number = 0x0A000001 + flow % _SOURCES
    return ".".join(map(str, number.to_bytes(4))), 1024 + flow // _SOURCES
