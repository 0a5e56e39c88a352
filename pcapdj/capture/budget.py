"""The budget of a capture file: how much work it may cause without a packet. Pure.

A file of 4 KiB may have a hole of 8 TiB behind an empty archive, or a million empty archives in a megabyte.
So bytes, archive members and blocks between two packets are counted. Beyond a limit the file is given up: the
packets before are delivered, and the reason has the number. The limits are numbers, never times, so that
every machine decides alike. Each packet renews the budget, even one that the stream does not accept, because
skipped packets must be read and counted.

Blocks without packets are also counted over the whole file: an archive of 5 KB may have millions of them,
with a packet in between now and then. At most twice the limit is allowed, and one more for each byte of the
archive.

Packets are counted, too: an archive of a megabyte may have sixty million of a few bytes. A limit is allowed,
and four more for each byte of the archive: the most repetitive captures of traffic have two.

A file that ends within its budget without a packet is an empty capture, which is valid.
"""

from typing import Final

# Of the file, and of what it decompresses to: each.
MOST_BYTES: Final = 64 << 20
# Of an archive: gzip members, bzip2 and xz streams, zstd frames. Each costs about 20 us.
MOST_MEMBERS: Final = 1 << 16
# Of pcapng: sections, interfaces, and all other blocks that are no packets. Each costs about 3 us.
MOST_BLOCKS: Final = 1 << 18
# Of all formats, accepted or skipped. Each costs up to about 20 us.
MOST_PACKETS: Final = 1 << 20
PACKETS_PER_BYTE: Final = 4


class Budget:
    """What is left of a file's budget.

    Attributes:
        known_bytes: how much of the (uncompressed) file gave packets when it was read before.
    """

    def __init__(self) -> None:
        self.known_bytes = 0
        self._all_blocks = self._all_packets = 0
        self.restart()
        self.renew()

    def restart(self) -> None:
        """Begin an archive's data again: nothing is behind it."""
        self._behind_bytes = self._behind_members = 0

    def begin(self, known_bytes: int) -> None:
        """Begin a pass through the file: all data before this offset is known, and costs nothing."""
        self.known_bytes = known_bytes
        self._all_blocks = self._all_packets = 0
        self.renew()

    def renew(self) -> None:
        """Begin again: the file has given a packet. What an archive has behind all data stays counted."""
        self._read_bytes, self._members = self._behind_bytes, self._behind_members
        self._decompressed_bytes = self._blocks = 0

    def spend_chunk(self, *, read_bytes: int, decompressed_bytes: int, members: int) -> str | None:
        """Count what was done for the next data of an archive, or without any, as `spend`."""
        if decompressed_bytes:
            self._behind_bytes = self._behind_members = 0
        else:
            self._behind_bytes += read_bytes
            self._behind_members += members
        return self.spend(read_bytes=read_bytes, decompressed_bytes=decompressed_bytes, members=members)

    def spend(
        self, *, read_bytes: int = 0, decompressed_bytes: int = 0, members: int = 0, blocks: int = 0
    ) -> str | None:
        """Count what was done since the last call; return why the file is given up, if it is.

        Args:
            read_bytes: of the file on disk.
            decompressed_bytes: that came of them.
            members: of an archive that began.
            blocks: of pcapng that are no packets.
        """
        self._read_bytes += read_bytes
        self._decompressed_bytes += decompressed_bytes
        self._members += members
        self._blocks += blocks
        if self._read_bytes > MOST_BYTES:
            return f"has more than {MOST_BYTES} bytes without a packet"
        if self._decompressed_bytes > MOST_BYTES:
            return f"decompresses to more than {MOST_BYTES} bytes without a packet"
        if self._members > MOST_MEMBERS:
            return f"has more than {MOST_MEMBERS} compressed members without a packet"
        if self._blocks > MOST_BLOCKS:
            return f"has more than {MOST_BLOCKS} blocks without a packet"
        return None

    def spend_blocks(self, blocks: int, read_bytes: int, *, has_packet: bool) -> str | None:
        """Count the blocks of a window that are no packets; return why the file is given up, if it is.

        Args:
            blocks: of the window.
            read_bytes: of the file on disk, so far.
            has_packet: the window has a packet, which renews the budget.
        """
        self._all_blocks += blocks
        if has_packet:
            self.renew()
        elif fault := self.spend(blocks=blocks):
            return fault
        if self._all_blocks > 2 * MOST_BLOCKS + read_bytes:
            return f"has more than {2 * MOST_BLOCKS} blocks that are no packets, and fewer bytes than blocks"
        return None

    def spend_packets(self, packets: int, read_bytes: int) -> str | None:
        """Count the packets of a window; return why the file is given up behind them, if it is.

        Args:
            packets: of the window, also skipped ones.
            read_bytes: of the file on disk, so far.
        """
        self._all_packets += packets
        if self._all_packets > MOST_PACKETS + PACKETS_PER_BYTE * read_bytes:
            return (
                f"has more than {MOST_PACKETS} packets, and {PACKETS_PER_BYTE} more for each of its bytes:"
                " refused as a decompression bomb"
            )
        return None
