"""The compiled form of the loops over records: `loops.c`, a shared library that ctypes loads.

The Python form (`walk`, `packet_blocks`) is the specification and always works. The library gives the same
results, ten times as fast. Loading takes about 3 ms; so it is loaded for the first large window of a capture,
and smaller captures are done before.

PCAPDJ_LOOPS chooses: `python` never loads the library, `compiled` refuses to work without it; without
the variable it is used where it is installed. It is loaded from the folder of this module only. It carries
the CRC-32 of the source that it was built from: a library that does not belong to the `loops.c` beside it (a
checkout after an update) is not used.
"""

import os
from binascii import crc32
from enum import Enum
from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from pcapdj.runtime.errors import ConfigError, Unavailable
from pcapdj.runtime.safe_text import quoted

if TYPE_CHECKING:
    import ctypes

VARIABLE: Final = "PCAPDJ_LOOPS"
# strings: `pcapdj cat` starts without pathlib
SOURCE: Final = __file__.removesuffix("compiled.py") + "loops.c"
LIBRARY: Final = __file__.removesuffix("compiled.py") + "_loops.so"
INTERFACE: Final = Struct(
    "=QqII"
)  # struct interface of loops.c: ticks per second, offset in s, link type, snaplen
_RECORDS: Final = Struct("=8Q")  # struct good_records
_BLOCKS: Final = Struct("=10Q")  # struct blocks
_WORTH_LOADING_BYTES: Final = 1 << 18
RecordNumbers = tuple[int, int, int, int, int, int, int, bool]  # the fields of `walk.GoodRecords`


class Form(Enum):
    """Which form of the loops is in use, and why."""

    COMPILED = "compiled loops"
    NOT_BUILT = "Python loops (no compiled library is installed)"
    STALE = "Python loops (the compiled library belongs to another version: build it again with 'make loops')"
    UNUSABLE = "Python loops (the compiled library cannot be loaded: build it again with 'make loops')"
    CHOSEN = f"Python loops ({VARIABLE}=python)"


class CompiledLoops:
    """The functions of the library; each returns what the Python function of its name returns, as a tuple.

    Offsets and sizes are in bytes.
    """

    def __init__(self, library: "ctypes.CDLL") -> None:
        from ctypes import byref, c_char, c_char_p, c_uint32, c_uint64, c_void_p

        # no type of an array is made in a call: it takes longer than the call
        self._byte_at, self._address = c_char.from_buffer, byref
        self._good_records = library.pcapdj_good_records
        self._swap_headers = library.pcapdj_swap_headers
        self._scale_to_microseconds = library.pcapdj_scale_to_microseconds
        self._enhanced_records = library.pcapdj_enhanced_records
        in_place = (c_char_p, c_void_p, c_uint64, c_uint32, c_uint32, c_void_p)
        self._swap_headers.argtypes = self._scale_to_microseconds.argtypes = in_place
        self._good_records.argtypes = (
            *(c_char_p, c_uint64, c_uint64, c_uint32, c_uint32, c_uint32, c_void_p),
        )
        self._enhanced_records.argtypes = (
            *(c_char_p, c_uint64, c_uint64, c_uint32, c_char_p, c_uint64, c_uint32, c_uint64),
            *(c_void_p, c_uint64, c_void_p),
        )

    def good_records(self, window: bytes, position: int, *numbers: int) -> RecordNumbers:
        """Return the good records from `position` on; numbers: snaplen, ns of a fraction, is big endian."""
        found = bytearray(_RECORDS.size)
        self._good_records(window, len(window), position, *numbers, self._start_of(found))
        return _record_numbers(found)

    def swap_headers(self, window: bytes, records: bytearray, *numbers: int) -> RecordNumbers:
        """Make the headers in `records`, a copy of the window, little endian; numbers: snaplen, fraction."""
        return self._in_place(self._swap_headers, window, records, *numbers)

    def scale_to_microseconds(self, window: bytes, records: bytearray, *numbers: int) -> RecordNumbers:
        """Make the nanoseconds in `records`, a copy of the window, microseconds, as `swap_headers`."""
        return self._in_place(self._scale_to_microseconds, window, records, *numbers)

    def enhanced_records(  # noqa: PLR0913 - as the C function
        self,
        window: bytes,
        position: int,
        interfaces: bytes,
        linktype: int,
        units_per_s: int,
        *,
        big_endian: bool,
    ) -> tuple[tuple[int, int, int, int, int], bytearray, tuple[int, int, int, bool]]:
        """Return the first five fields of `GoodBlocks`, the records of the good blocks, and the last four.

        Args:
            window: bytes of a section.
            position: of the first block.
            interfaces: the first ones of the section, packed as `INTERFACE`.
            linktype: of the blocks to take.
            units_per_s: timestamp units of the stream per second.
            big_endian: the section is.
        """
        found = bytearray(_BLOCKS.size)
        records = bytearray(max(len(window) - position, 0))  # a record is shorter than its block
        self._enhanced_records(
            *(window, len(window), position, big_endian),
            *(interfaces, len(interfaces) // INTERFACE.size, linktype, units_per_s),
            *(self._start_of(records), len(records), self._start_of(found)),
        )
        end, last, packets, cap_bytes, lengths_bytes, written_bytes, *others = _BLOCKS.unpack(found)
        del records[written_bytes:]
        beyond, steps, largest_ns, is_late = others
        times = beyond, steps, largest_ns, bool(is_late)
        return (end, last, packets, cap_bytes, lengths_bytes), records, times

    def _in_place(self, function: Any, window: bytes, records: bytearray, *numbers: int) -> RecordNumbers:
        found = bytearray(_RECORDS.size)
        size_bytes = min(len(window), len(records))
        function(window, self._start_of(records), size_bytes, *numbers, self._start_of(found))
        return _record_numbers(found)

    def _start_of(self, buffer: bytearray) -> Any:
        """Return a pointer to the first byte, if there is one; meanwhile the buffer keeps its size."""
        return self._address(self._byte_at(buffer)) if buffer else None


def _record_numbers(found: bytearray) -> RecordNumbers:
    end, last, packets, lengths_bytes, beyond, steps, largest_ns, is_late = _RECORDS.unpack(found)
    return end, last, packets, lengths_bytes, beyond, steps, largest_ns, bool(is_late)


def loops_for(window: bytes) -> CompiledLoops | None:
    """Return the compiled loops; None where the Python form is in use.

    Args:
        window: the bytes to walk; a small one is not worth loading the library.

    Raises:
        Unavailable: as `loaded`.
    """
    is_worth_loading = len(window) >= _WORTH_LOADING_BYTES or VARIABLE in os.environ
    return loaded()[1] if is_worth_loading or loaded.cache_info().currsize else None


@cache
def loaded() -> tuple[Form, CompiledLoops | None]:
    """Return the form in use, and the compiled loops where it is theirs.

    Raises:
        Unavailable: PCAPDJ_LOOPS=compiled, and there is no library that can be used.
    """
    choice = os.environ.get(VARIABLE, "")
    if choice not in ("", "python", "compiled"):
        raise ConfigError(f"{VARIABLE}: {quoted(choice)} is neither python nor compiled.")
    form, loops = (Form.CHOSEN, None) if choice == "python" else load(SOURCE, LIBRARY)
    if choice == "compiled" and loops is None:
        raise Unavailable(f"{VARIABLE}=compiled, but this pcapdj has only {form.value}.")
    return form, loops


def load(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> tuple[Form, CompiledLoops | None]:
    """Load a library, if it was built from this source.

    Args:
        source: the C file.
        path: the shared library.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - without pathlib
        return Form.NOT_BUILT, None
    from ctypes import CDLL, c_uint32

    try:
        library = CDLL(os.fspath(path))
        library.pcapdj_source_digest.restype = c_uint32
        with open(source, "rb") as file:  # noqa: PTH123 - without pathlib
            if library.pcapdj_source_digest() != crc32(file.read()):
                return Form.STALE, None
        return Form.COMPILED, CompiledLoops(library)
    except (OSError, AttributeError):  # for another machine, cut off, or without these functions
        return Form.UNUSABLE, None
