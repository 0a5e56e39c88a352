"""Swaps what stands inside a packet in the byte order of the host that captured it.

Four link types put a header of the capturing kernel in front of the packet and never changed its byte order.
A stream is little endian, so packets of a big-endian file must be changed, as libpcap does on reading.
Source: the pages of these link types at https://www.tcpdump.org/linktypes/.
"""

from collections.abc import Iterator

LINUX_SLL, USB_LINUX, USB_LINUX_MMAPPED, NFLOG = 113, 189, 220, 239

_SLL_HEADER_BYTES, _SLL_PROTOCOL = 16, slice(14, 16)
_CAN_PROTOCOLS = {b"\x00\x0c", b"\x00\x0d"}  # CAN and CAN FD: the id behind the header is in host order

# Offset and size of each field of the USB header that is a number of more than one byte.
_USB_FIELDS = ((0, 8), (12, 2), (16, 8), (24, 4), (28, 4), (32, 4), (36, 4))
_USB_TRANSFER_TYPE, _USB_ISOCHRONOUS = 9, 0
_USB_ISOCHRONOUS_FIELDS = ((40, 4), (44, 4))  # elsewhere the device's own setup packet
_USB_MMAPPED_FIELDS = ((48, 4), (52, 4), (56, 4), (60, 4))
_USB_DESCRIPTORS, _USB_DESCRIPTOR_BYTES = 64, 16
_USB_DESCRIPTOR_COUNT = slice(60, 64)

_NFLOG_HEADER_BYTES, _NFLOG_TLV_BYTES = 4, 4


def has_host_order(linktype: int) -> bool:
    """Report whether packets of this link type depend on the byte order of the capturing host."""
    return linktype in {LINUX_SLL, USB_LINUX, USB_LINUX_MMAPPED, NFLOG}


def to_little_endian(linktype: int, packet: bytes) -> bytes:
    """Return a packet from a big-endian capture as a little-endian host would have captured it."""
    if not has_host_order(linktype):
        return packet
    swapped = bytearray(packet)
    for start, size in _fields(linktype, packet):
        if start + size <= len(packet):
            swapped[start : start + size] = packet[start : start + size][::-1]
    return bytes(swapped)


def _fields(linktype: int, packet: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and size of the fields to swap; they may lie beyond a cut packet."""
    if linktype == LINUX_SLL:
        if packet[_SLL_PROTOCOL] in _CAN_PROTOCOLS:
            yield _SLL_HEADER_BYTES, 4
    elif linktype == NFLOG:
        yield from _nflog_fields(packet)
    else:
        yield from _usb_fields(packet, mmapped=linktype == USB_LINUX_MMAPPED)


def _nflog_fields(packet: bytes) -> Iterator[tuple[int, int]]:
    """Yield type and length of every attribute; version 0 is the only one there is."""
    position = _NFLOG_HEADER_BYTES
    while packet[1:2] == b"\0" and position + _NFLOG_TLV_BYTES <= len(packet):
        yield position, 2
        yield position + 2, 2
        padded = -(-int.from_bytes(packet[position + 2 : position + 4], "big") // 4) * 4
        if padded < _NFLOG_TLV_BYTES:
            return
        position += padded


def _usb_fields(packet: bytes, *, mmapped: bool) -> Iterator[tuple[int, int]]:
    yield from _USB_FIELDS
    isochronous = packet[_USB_TRANSFER_TYPE : _USB_TRANSFER_TYPE + 1] == bytes([_USB_ISOCHRONOUS])
    if isochronous:
        yield from _USB_ISOCHRONOUS_FIELDS
    if not mmapped:
        return
    yield from _USB_MMAPPED_FIELDS
    if isochronous:
        announced = int.from_bytes(packet[_USB_DESCRIPTOR_COUNT], "big")
        captured = max(len(packet) - _USB_DESCRIPTORS, 0) // _USB_DESCRIPTOR_BYTES + 1
        for index in range(min(announced, captured)):
            start = _USB_DESCRIPTORS + index * _USB_DESCRIPTOR_BYTES
            yield from ((start, 4), (start + 4, 4), (start + 8, 4))
