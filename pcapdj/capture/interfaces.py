"""Interfaces of a pcapng section: link type, and how their timestamps count.

Source: draft-ietf-opsawg-pcapng, "Interface Description Block" and "Options".

    body of the block:  linktype (2) | reserved (2) | snaplen (4) | options: code (2), length (2), value, pad
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from pcapdj.capture.pcap import StreamFormat, effective_snaplen
from pcapdj.runtime.errors import CaptureError

MICROSECONDS_PER_S = 1_000_000
SECONDS_RANGE = 1 << 32  # a classic record's seconds
_FIXED_BYTES, _OPTION_BYTES, _OFFSET_BYTES = 8, 4, 8
_END_OF_OPTIONS, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14
_BINARY_RESOLUTION, _MAX_BINARY, _MAX_DECIMAL = 0x80, 63, 19  # beyond these 64 bits hold no second


class Interface(NamedTuple):
    """What an interface block says about its packets."""

    linktype: int
    snaplen: int
    ticks_per_s: int = MICROSECONDS_PER_S
    offset_s: int = 0

    @property
    def native(self) -> StreamFormat:
        """Return the stream format that carries its packets without loss, down to nanoseconds."""
        return StreamFormat(self.linktype, self.ticks_per_s > MICROSECONDS_PER_S)

    def ts_ns(self, ticks: int) -> int:
        """Return a timestamp in ns since 1970, truncated."""
        return self.offset_s * 1_000_000_000 + ticks * 1_000_000_000 // self.ticks_per_s


class Seconds:
    """Tells which second a block's time lies in, for as long as the loop stays in it.

    Args:
        interfaces: of the section so far.
        stream: interfaces with another link type have no second.

    Attributes:
        units_per_s: of the stream.
    """

    def __init__(self, interfaces: Sequence[Interface], stream: StreamFormat) -> None:
        self._interfaces = interfaces
        self._linktype = stream.linktype
        self.units_per_s = 1_000_000_000 if stream.nanosecond else 1_000_000

    def of(self, number: int, high: int, low: int) -> tuple[bytes, int, int] | None:
        """Return the second as it stands in a record, `low` at its start, and the ticks it has.

        None if there is no such interface, it has another link type, or the second does not fit.
        """
        if number >= len(self._interfaces) or self._interfaces[number].linktype != self._linktype:
            return None
        interface = self._interfaces[number]
        seconds, ticks = divmod(high << 32 | low, interface.ticks_per_s)
        if not 0 <= seconds + interface.offset_s < SECONDS_RANGE:
            return None
        return (seconds + interface.offset_s).to_bytes(4, "little"), low - ticks, interface.ticks_per_s


def parse_interface(body: bytes, order: str) -> Interface:
    """Return what an interface block's body (between the two lengths) says.

    Raises:
        CaptureError: it is too short, or a time option cannot be understood.
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
        found[code] = body[position + _OPTION_BYTES : position + _OPTION_BYTES + length]
        position += _OPTION_BYTES + -(-length // 4) * 4
    return found


def _ticks_per_s(value: bytes) -> int:
    if len(value) != 1:
        raise CaptureError(f"if_tsresol of {len(value)} bytes instead of 1")
    exponent = value[0] & ~_BINARY_RESOLUTION
    base, most = (2, _MAX_BINARY) if value[0] & _BINARY_RESOLUTION else (10, _MAX_DECIMAL)
    if exponent > most:
        raise CaptureError(f"if_tsresol of {base}^-{exponent} is too fine")
    return int(base**exponent)


def _seconds(value: bytes, order: str) -> int:
    if len(value) != _OFFSET_BYTES:
        raise CaptureError(f"if_tsoffset of {len(value)} bytes instead of 8")
    return int(struct.unpack(order + "q", value)[0])
