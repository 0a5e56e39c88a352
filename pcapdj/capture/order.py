"""The order that people expect of rotated names: `cap2` before `cap10`. Rules only.

- Folders are compared part by part, so that what lies in one folder stays together.
- Runs of digits count as numbers, of any length; all other bytes as bytes, whatever their encoding.
- What stands before the extension is compared first, then the extension; an extension of compression counts
  for neither. So `x.pcap.gz` comes before `x.pcap1.gz` and that before `x.pcap10.gz`, as tcpdump rotates
  them.
- Names that are equal in this sense (`01` and `1`) are told apart by their bytes: the order is total.
"""

import re
from functools import lru_cache

_DIGITS = re.compile(rb"([0-9]+)")
_COMPRESSIONS = (b".gz", b".bz2", b".xz", b".zst")

Chunk = bytes | tuple[int, bytes]
PartKey = tuple[tuple[Chunk, ...], tuple[Chunk, ...], bytes]


def natural_key(name: bytes) -> tuple[PartKey, ...]:
    """Return what to sort a path by."""
    return tuple(_part_key(part) for part in name.split(b"/"))


@lru_cache(maxsize=1024)  # the folders of ten thousand names are the same few
def _part_key(part: bytes) -> PartKey:
    stem, extension = _stem_and_extension(_without_compression(part))
    return _chunks(stem), _chunks(extension), part


def _without_compression(part: bytes) -> bytes:
    for compression in _COMPRESSIONS:
        if part.endswith(compression):
            return part.removesuffix(compression)
    return part


def _stem_and_extension(part: bytes) -> tuple[bytes, bytes]:
    stem, dot, extension = part.rpartition(b".")
    return (stem, extension) if dot else (part, b"")


def _chunks(text: bytes) -> tuple[Chunk, ...]:
    """Return text and numbers in turn, text first; a number as length and digits: int() has a limit."""
    pieces: list[Chunk] = list(_DIGITS.split(text))
    for index in range(1, len(pieces), 2):
        digits = bytes(pieces[index]).lstrip(b"0")  # type: ignore[arg-type]  # still bytes here
        pieces[index] = (len(digits), digits)
    return tuple(pieces)
