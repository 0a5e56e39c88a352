"""Cuts the packets of sessions out of capture files, with tcpdump's own filter.

The records of the files go through one tcpdump, as one stream. What it lets pass is compared with the same
records, read again: so each packet has its number in its file, though tcpdump does not number what it lets
pass. Equal records have one outcome, so the order decides which is which.

    files --> records --> tcpdump FILTER --> records that pass --.
      '-----> records, numbered ---------------------------------+--> (file, number, record)
"""

import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from shutil import which
from typing import Final, NamedTuple

from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import (
    BEGINNING,
    FILE_HEADER_BYTES,
    RECORD,
    RECORD_HEADER_BYTES,
    Bytes,
    Place,
    StreamFormat,
)
from pcapdj.capture.stream_options import StreamOptions, with_rewriting
from pcapdj.runtime.environment import ROOT_FOLDER, program_path
from pcapdj.runtime.errors import CannotCreate, CaptureError, PcapdjError, Unavailable
from pcapdj.runtime.process import foreign_child_setup
from pcapdj.runtime.safe_text import shortened_message

_MESSAGE_BYTES: Final = 4096
_ETHERNET_BYTES, _VLAN_BYTES = 14, 4
_TYPES_OF_VLANS: Final = (0x8100, 0x88A8, 0x9100)
_IPV4, _IPV6, _FRAGMENT_HEADER = 0x0800, 0x86DD, 44
_IP_BYTES: Final = 20
_NOT_WHOLE: Final = 0x3FFF  # more fragments, and the offset


class CutPacket(NamedTuple):
    """One packet of a session.

    Args:
        file: the place of its file among those that were given.
        number: among the packets of the file that the stream has, from 1.
        ts_ns: its time.
        record: with its header, in the format of the stream.
        is_by_number: it was wanted by its number, whether the filter lets it pass or not.
    """

    file: int
    number: int
    ts_ns: int
    record: bytes
    is_by_number: bool


class SourceFile(NamedTuple):
    """A capture file, and which of its packets are wanted.

    Args:
        path: where it is.
        numbers: of packets that are wanted in any case.
        start: where in the file numbering begins.
        root: the folder below which it has to be opened; None: there are no roots.
    """

    path: bytes
    numbers: frozenset[int] = frozenset()
    start: Place = BEGINNING
    root: bytes | None = None


def stream_format_of(
    path: bytes, linktype: int | None, *, rewrites: bool, root: bytes | None = None
) -> StreamFormat | None:
    """Return the format of the stream that has a file; None: the file has no packets.

    Args:
        path: where it is.
        linktype: of the stream; None: unknown, then that of the file.
        rewrites: packets of other link types are rewritten to it.
        root: the folder below which it has to be opened; None: there are no roots.

    Raises:
        CaptureError: it cannot be opened.
    """
    with open_capture(path, root=root, refuse_written=False) as capture:
        if capture.native is None:
            return None
        native = StreamOptions("first", "fail").format_of_first(capture.native)
        chosen = native if linktype is None else native._replace(linktype=linktype)
        return with_rewriting(chosen, rewrites=rewrites)


def cut(files: Sequence[SourceFile], stream: StreamFormat, expression: str) -> Iterator[CutPacket]:
    """Yield the packets that the filter lets pass, and those that are wanted by number, in order.

    Args:
        files: in order; of a damaged one all good packets.
        stream: the format of all.
        expression: for tcpdump; empty: only the packets that are wanted by number.

    Raises:
        Unavailable: tcpdump is not installed.
        CannotCreate: no temporary file can be made.
        PcapdjError: it failed, or a file cannot be read.
    """
    passed = _Filter(files, stream, expression) if expression else None
    try:
        wanted = next(passed.records, None) if passed else None
        for place, file in enumerate(files):
            for number, record in _records_of(file, stream):
                is_by_filter = record == wanted
                if is_by_filter and passed:
                    wanted = next(passed.records, None)
                is_by_number = number in file.numbers
                if is_by_filter or is_by_number:
                    yield CutPacket(place, number, _time_of(record, stream), record, is_by_number)
        if passed:
            passed.check()
    finally:
        if passed:
            passed.close()


class _Filter:
    """A tcpdump that gets the records of some files; a thread writes them."""

    def __init__(self, files: Sequence[SourceFile], stream: StreamFormat, expression: str) -> None:
        program = which("tcpdump", path=program_path())
        if program is None:
            raise Unavailable("tcpdump is not installed.", hint="Install the package tcpdump.")
        precision = "nano" if stream.nanosecond else "micro"
        argv = [program, "-n", f"--time-stamp-precision={precision}", "-r", "-", "-w", "-", expression]
        try:
            self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        except OSError as exc:
            raise CannotCreate(f"A temporary file cannot be made: {exc.strerror}.") from exc
        self._process = subprocess.Popen(
            argv,
            cwd=ROOT_FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env={"PATH": program_path(), "LC_ALL": "C"},
            preexec_fn=foreign_child_setup(),  # noqa: PLW1509 - only system calls: it takes no lock of a thread
        )
        self._writer = threading.Thread(target=self._write, args=(files, stream), daemon=True)
        self._writer.start()
        self.records = self._read()

    def _write(self, files: Sequence[SourceFile], stream: StreamFormat) -> None:
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError, ValueError, CaptureError), pipe:
            pipe.write(stream.header())
            for file in files:
                for data in _data_of(file, stream):
                    pipe.write(data)

    def _read(self) -> Iterator[bytes]:
        """Yield the records that pass; one that ends in the middle is the end: `check` has the reason."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - it is a pipe
        pipe.read(FILE_HEADER_BYTES)
        while len(header := pipe.read(RECORD_HEADER_BYTES)) == RECORD_HEADER_BYTES:
            length_bytes = RECORD.unpack(header)[2]
            if len(data := pipe.read(length_bytes)) < length_bytes:
                return
            yield header + data

    def check(self) -> None:
        """Raise an error if tcpdump failed."""
        self._writer.join()
        if (status := self._process.wait()) < 0:
            raise PcapdjError(f"tcpdump was killed by signal {-status}: not all packets were cut out.")
        if status:
            self._messages.seek(0)
            message = shortened_message(self._messages.read(_MESSAGE_BYTES).decode("utf-8", "replace"))
            raise PcapdjError(f"tcpdump exited {status}: {message}.")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        for pipe in (self._process.stdout, self._messages):
            if pipe:
                pipe.close()
        self._writer.join()
        self._process.wait()


def is_fragment(record: bytes, linktype: int) -> bool:
    """Report whether a packet is a part of an IP packet; only Ethernet is looked into."""
    if linktype != 1:
        return False
    place = RECORD_HEADER_BYTES + _ETHERNET_BYTES
    ethertype = int.from_bytes(record[place - 2 : place], "big")
    while ethertype in _TYPES_OF_VLANS:
        place += _VLAN_BYTES
        ethertype = int.from_bytes(record[place - 2 : place], "big")
    if len(record) < place + _IP_BYTES:
        return False
    if ethertype == _IPV4:
        return bool(int.from_bytes(record[place + 6 : place + 8], "big") & _NOT_WHOLE)
    return ethertype == _IPV6 and record[place + 6] == _FRAGMENT_HEADER


def _data_of(file: SourceFile, stream: StreamFormat) -> Iterator[Bytes]:
    """Yield the good records of a file, in pieces; damage ends it, as it does where it is fed."""
    with suppress(CaptureError), open_capture(file.path, root=file.root, refuse_written=False) as capture:
        for piece in capture.pieces(stream, file.start):
            yield piece.data


def _records_of(file: SourceFile, stream: StreamFormat) -> Iterator[tuple[int, bytes]]:
    """Yield the good records of a file, numbered from 1."""
    number, lengths = 0, struct.Struct("<I")
    for data in _data_of(file, stream):
        place, records = 0, bytes(data)
        while place < len(records):
            end = place + RECORD_HEADER_BYTES + lengths.unpack_from(records, place + 8)[0]
            number += 1
            yield number, records[place:end]
            place = end


def _time_of(record: bytes, stream: StreamFormat) -> int:
    seconds, fraction, *_ = RECORD.unpack_from(record)
    return int(seconds * 10**9 + fraction * (1 if stream.nanosecond else 1000))
