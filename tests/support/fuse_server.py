"""The process behind the mount of `fuse`: it reads the kernel's requests from a descriptor, and answers them.

`python fuse_server.py DESCRIPTOR FOLDER` passes the folder's regular files on, read only. While a file `hang`
is in the folder, no READ behind the place that it names is answered, with a file `hang-all` nothing at all.
The file `hung` is there while a request waits.
Source: linux/fuse.h, version 7.31.
"""

import errno
import os
import struct
import sys
import time
from pathlib import Path
from typing import Final

_READ, _INIT = 15, 26
_UNANSWERED: Final = {2, 36, 42}  # FORGET, INTERRUPT, BATCH_FORGET
_IN: Final = struct.Struct("<IIQQIIIHH")  # length, opcode, unique, node, uid, gid, pid, extensions, padding
_OUT: Final = struct.Struct("<IiQ")  # length, error, unique
_ATTR: Final = struct.Struct("<QQQQQQIIIIIIIIII")  # inode, size, blocks, three times, their ns, mode, ..
_FIXED_ANSWERS: Final = {
    # INIT: version 7.31, 128 KiB read ahead
    26: struct.pack("<IIIIHHIIHHI", 7, 31, 1 << 17, 0, 12, 9, 4096, 1, 0, 0, 0) + bytes(28),
    # STATFS: 4 GiB, all free
    17: struct.pack("<5Q4I", *([1 << 20] * 5), 4096, 255, 4096, 0) + bytes(24),
    **dict.fromkeys((14, 27), bytes(16)),  # OPEN, OPENDIR: no handle, no flags
    **dict.fromkeys((18, 25, 29), b""),  # RELEASE, FLUSH, RELEASEDIR
}
_RANGE: Final = struct.Struct("<8xQI")  # of READ: offset, length
_REQUEST_BYTES: Final = 1 << 18


class Server:
    """Answers one request after another."""

    def __init__(self, device: int, source: Path) -> None:
        self._device = device
        self._source = source
        self._names = [""]  # its place is the node id minus one

    def run(self) -> None:
        """Answer requests until the file system is unmounted."""
        while True:
            try:
                request = os.read(self._device, _REQUEST_BYTES)
            except OSError:
                return
            _, opcode, unique, node, *_ = _IN.unpack_from(request)
            if opcode in _UNANSWERED:
                continue
            self._wait_while_hanging(opcode, request[_IN.size :])
            try:
                error, answer = 0, self._answer(opcode, node, request[_IN.size :])
            except OSError as exc:
                error, answer = -(exc.errno or errno.EIO), b""
            try:
                os.write(self._device, _OUT.pack(_OUT.size + len(answer), error, unique) + answer)
            except OSError:
                continue  # its caller was killed

    def _wait_while_hanging(self, opcode: int, body: bytes) -> None:
        hung = self._source / "hung"
        while self._hangs(opcode, body):
            hung.touch()
            time.sleep(0.005)
        hung.unlink(missing_ok=True)

    def _hangs(self, opcode: int, body: bytes) -> bool:
        if opcode == _INIT:
            return False
        if (self._source / "hang-all").exists():
            return True
        if opcode != _READ:
            return False
        try:
            behind_bytes = int((self._source / "hang").read_text() or 0)
        except FileNotFoundError:  # it may be removed at any time
            return False
        end_bytes: int = sum(_RANGE.unpack_from(body))
        return end_bytes > behind_bytes

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:
        if opcode in _FIXED_ANSWERS:
            return _FIXED_ANSWERS[opcode]
        match opcode:
            case 1:  # LOOKUP
                answer = self._entry(body.rstrip(b"\0").decode())
            case 3:  # GETATTR
                answer = bytes(16) + self._attributes(node)
            case 15:  # READ
                answer = self._data(node, *_RANGE.unpack_from(body))
            case 28:  # READDIR
                answer = self._listing(*struct.unpack_from("<8xQ", body))
            case _:
                raise OSError(errno.ENOSYS, "")
        return answer

    def _entry(self, name: str) -> bytes:
        if not (self._source / name).is_file() or name.startswith("h"):
            raise FileNotFoundError(errno.ENOENT, name)
        if name not in self._names:
            self._names.append(name)
        node = self._names.index(name) + 1
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attributes(node)

    def _attributes(self, node: int) -> bytes:
        found = (self._source / self._names[node - 1]).stat()
        times = [int(each) for each in (found.st_atime, found.st_mtime, found.st_ctime)]
        return _ATTR.pack(
            *(node, found.st_size, found.st_blocks, *times, 0, found.st_mtime_ns % 10**9, 0),
            *(found.st_mode, 1, found.st_uid, found.st_gid, 0, 4096, 0),
        )

    def _data(self, node: int, offset: int, size_bytes: int) -> bytes:
        with (self._source / self._names[node - 1]).open("rb", 0) as file:
            return os.pread(file.fileno(), size_bytes, offset)

    def _listing(self, offset: int) -> bytes:
        names = sorted(each.name for each in self._source.iterdir() if not each.name.startswith("h"))
        entries = b""
        for place, name in enumerate(names[offset:], offset + 1):
            raw = name.encode()
            entry = struct.pack("<QQII", place + 1, place, len(raw), 8) + raw
            entries += entry.ljust(-(-len(entry) // 8) * 8, b"\0")
        return entries


if __name__ == "__main__":
    Server(int(sys.argv[1]), Path(sys.argv[2])).run()
