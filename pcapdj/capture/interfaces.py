"""The interfaces of a pcapng section: what its interface blocks describe. Pure.

    body of an interface block:
    linktype (2) | reserved (2) | snaplen (4) | options: code (2), length (2), value, pad

A section may describe a million interfaces, and a file have a million sections. A section keeps each
different interface once, up to a limit, and forgets all of them at its end.

Source: draft-ietf-opsawg-pcapng, "Interface Description Block" and "Options".
"""

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from pcapdj.capture.compiled import INTERFACE
from pcapdj.capture.pcap import effective_snaplen
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.numbers import counted

# Each takes 8 bytes of memory until its section ends, each different one about 300.
MAX_INTERFACES: Final = 1 << 20
MAX_INTERFACE_KINDS: Final = 1 << 16
MICROSECONDS_PER_S: Final = 1_000_000
_FIXED_BYTES, _OPTION_BYTES, _OFFSET_BYTES = 8, 4, 8  # of an interface block
_END_OF_OPTIONS, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14
_USED_OPTIONS: Final = {_IF_TSRESOL, _IF_TSOFFSET}
_BINARY_RESOLUTION, _MAX_BINARY, _MAX_DECIMAL = 0x80, 63, 19  # finer ones: no second fits into 64 bits
_TABLE_INTERFACES: Final = 4096  # 96 KiB; nearly all sections have one


class Interface(NamedTuple):
    """The contents of an interface block: how its packets are captured."""

    linktype: int
    snaplen: int
    ticks_per_s: int = MICROSECONDS_PER_S
    offset_s: int = 0

    @property
    def as_numbers(self) -> tuple[int, int, int, int]:
        """Its fields in the order of `INTERFACE`."""
        return self.ticks_per_s, self.offset_s, self.linktype, self.snaplen

    @property
    def is_finer_than_us(self) -> bool:
        """Whether microseconds would lose a part of its timestamps."""
        return self.ticks_per_s > MICROSECONDS_PER_S

    def ts_ns(self, ticks: int) -> int:
        """Return a timestamp in ns since 1970, truncated."""
        return self.offset_s * 1_000_000_000 + ticks * 1_000_000_000 // self.ticks_per_s


class SectionInterfaces(list[Interface]):
    """The interfaces of a section; it only grows, and equal ones share one object: there may be a million."""

    def __init__(self, interfaces: Iterable[Interface] = ()) -> None:
        super().__init__(interfaces)
        self._kinds: dict[Interface, Interface] = {}
        self._packed, self._packed_count = b"", 0

    def add(self, interface: Interface) -> None:
        """Append an interface.

        Raises:
            CaptureError: there are too many, or too many different ones.
        """
        if len(self) >= MAX_INTERFACES:
            raise CaptureError(f"section has more than {MAX_INTERFACES} interfaces")
        if interface not in self._kinds and len(self._kinds) >= MAX_INTERFACE_KINDS:
            raise CaptureError(f"section has more than {MAX_INTERFACE_KINDS} different interfaces")
        self.append(self._kinds.setdefault(interface, interface))

    @property
    def table(self) -> bytes:
        """The first ones, packed as `INTERFACE`."""
        new = self[self._packed_count : _TABLE_INTERFACES]
        if new:
            self._packed += b"".join(INTERFACE.pack(*each.as_numbers) for each in new)
            self._packed_count += len(new)
        return self._packed


def parse_interface(body: bytes, order: str) -> Interface:
    """Return the interface that an interface block's body (between the two lengths) describes.

    Raises:
        CaptureError: it is too short, or a time option is invalid.
    """
    if len(body) < _FIXED_BYTES:
        raise CaptureError("interface block is too short for its own fields")
    linktype, snaplen = struct.unpack_from(order + "HxxI", body)
    options = _options(body, _FIXED_BYTES, order)
    ticks_per_s, offset_s = MICROSECONDS_PER_S, 0
    if _IF_TSRESOL in options:
        ticks_per_s = _ticks_per_s(options[_IF_TSRESOL])
    if _IF_TSOFFSET in options:
        offset_s = _seconds(options[_IF_TSOFFSET], order)
    return Interface(linktype, effective_snaplen(snaplen), ticks_per_s, offset_s)


def _options(body: bytes, position: int, order: str) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while position < len(body):
        if position + _OPTION_BYTES > len(body):
            raise CaptureError("interface block ends inside an option")
        code, length = struct.unpack_from(order + "HH", body, position)
        if code == _END_OF_OPTIONS:
            break
        if position + _OPTION_BYTES + length > len(body):
            raise CaptureError(f"interface block ends inside option {code}")
        if code in _USED_OPTIONS:
            found[code] = body[position + _OPTION_BYTES : position + _OPTION_BYTES + length]
        position += _OPTION_BYTES + -(-length // 4) * 4
    return found


def _ticks_per_s(value: bytes) -> int:
    if len(value) != 1:
        raise CaptureError(f"if_tsresol has {counted(len(value), 'byte')} instead of 1")
    exponent = value[0] & ~_BINARY_RESOLUTION
    base, most = (2, _MAX_BINARY) if value[0] & _BINARY_RESOLUTION else (10, _MAX_DECIMAL)
    if exponent > most:
        raise CaptureError(f"if_tsresol of {base}^-{exponent} is too fine")
    return int(base**exponent)


def _seconds(value: bytes, order: str) -> int:
    if len(value) != _OFFSET_BYTES:
        raise CaptureError(f"if_tsoffset has {counted(len(value), 'byte')} instead of 8")
    return int(struct.unpack(order + "q", value)[0])
