"""Known bugs for `faults.seeded`: what somebody might write who has not read why it is done otherwise."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Change:
    """A replacement in one file; the old text has to be there exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A known bug.

    Args:
        name: what was done instead.
        test: the part of the campaign that has to catch it, from tests/faults on: `FILE` or `FILE -k WORDS`.
    """

    name: str
    test: str
    changes: tuple[Change, ...]


_POINTS: Final = "test_fault_points.py -k 'dispatcher_dies'"
_KILLS: Final = "test_fault_kills.py -k '{}'"
_REPLIES: Final = "test_fault_replies.py"
_CHANGES: Final = "test_fault_inputs.py -k changes"
_STOPS: Final = "../integration/test_orderly_stop.py -k '{}'"
_RELAY: Final = "test_fault_inputs.py -k passes_pages_on"

_KNOWN: Final = "../integration/test_known_captures.py -k '{}'"
_FINISH: Final = """\
        with self.registration.lock:
            is_finished = bool(self._store.run("finish", places, arguments))
"""

BUGS: Final = (
    Bug(
        "LPOP instead of TAKE's look at CURRENT",
        _POINTS,
        (
            Change(
                "store/scripts/take.lua",
                "if redis.call('HEXISTS', KEYS[2], 'name') == 0 then",
                "if true then",
            ),
        ),
    ),
    Bug(
        "a client that repeats by itself",
        _REPLIES,
        (Change("store/client.py", "Retry(NoBackoff(), 0)", "Retry(NoBackoff(), 10)"),),
    ),
    Bug(
        "the launcher holds the pipe O_RDWR",
        _KILLS.format("closes_the_pipe"),
        (Change("runtime/fifo.py", "os.O_WRONLY | os.O_NONBLOCK", "os.O_RDWR | os.O_NONBLOCK"),),
    ),
    Bug(
        "the old pipe is used again",
        _KILLS.format("killed_analyzers"),
        (
            Change(
                "runtime/fifo.py",
                "        fresh = self.path.with_name(",
                "        if self.path.exists():\n"
                "            old = self.path.lstat()\n"
                "            self._identity = (old.st_dev, old.st_ino)\n"
                "            return\n"
                "        fresh = self.path.with_name(",
            ),
        ),
    ),
    Bug(
        "MULTI instead of Lua in FINISH",
        _REPLIES,
        (
            Change(
                "store/job_queue.py",
                _FINISH,
                "        def move(client: Any) -> bool:\n"
                "            with client.pipeline(transaction=True) as batch:\n"
                "                batch.delete(places[0]).rpush(goal, result.entry)\n"
                "                batch.hset(keys.fed, entry.name, result.fed(entry.stream))\n"
                "                batch.xadd(keys.journal, journal)\n"
                "                batch.execute()\n"
                "            return True\n\n"
                f"        return self._store.call(move)\n{_FINISH}",
            ),
        ),
    ),
    Bug(
        "DEL of NEXT, as the original does",
        _REPLIES,
        (
            Change(
                "store/scripts/authorize.lua",
                "redis.call('LREM', KEYS[3], 1, current[3])",
                "redis.call('DEL', KEYS[3])",
            ),
        ),
    ),
    Bug(
        "decode_responses=True",
        "test_fault_inputs.py -k sixty",
        (Change("store/client.py", "decode_responses=False", "decode_responses=True"),),
    ),
    Bug(
        "no flock",
        "test_fault_points.py -k turned_away",
        (
            Change(
                "runtime/lock.py",
                "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
                "        pass\n",
            ),
        ),
    ),
    Bug(
        "mmap instead of pread",
        _CHANGES,
        (
            Change(
                "capture/reader.py",
                "        self._file = file\n        self._size_bytes = size_bytes\n",
                "        import mmap\n"
                "        self._map = mmap.mmap(file.descriptor, size_bytes, access=mmap.ACCESS_READ)\n"
                "        self._file = file\n        self._size_bytes = size_bytes\n",
            ),
            Change(
                "capture/reader.py",
                "            return self._file.read(length_bytes, offset)\n",
                "            return self._map[offset : offset + length_bytes]\n",
            ),
        ),
    ),
    Bug(
        "splice from the capture file instead of a batch",
        _CHANGES,
        (
            Change(
                "feed/feeder.py",
                "        stream.batches.send(stream.pipe, piece.data, note)\n",
                "        start = piece.after.offset - len(piece.data)\n"
                "        __import__('os').lseek(self._capture.fd, start, 0)\n"
                "        stream.pipe.splice(self._capture.fd, len(piece.data))\n",
            ),
        ),
    ),
    Bug(
        "a batch is noted before it is filled",
        _POINTS,
        (
            Change("feed/batches.py", "        self._fill(pipe, self._batches[batch], data)\n", ""),
            Change(
                "feed/batches.py",
                '        failpoints.reach("batch.note")\n',
                '        failpoints.reach("batch.note")\n'
                "        self._fill(pipe, self._batches[batch], data)\n",
            ),
        ),
    ),
    Bug(
        "what a dead dispatcher wrote into a batch and did not note stays there",
        _POINTS,
        (Change("feed/batches.py", "                _empty(batch)\n", "                pass\n"),),
    ),
    Bug(
        "a batch refers to memory that is used again, instead of having a copy",
        _RELAY,
        (
            Change(
                "feed/batches.py",
                "                rest = rest[os.write(batch, rest) :]\n",
                "                rest = rest[_refer(batch, rest) :]\n",
            ),
            Change(
                "feed/batches.py",
                "def _empty(batch: int) -> None:\n",
                "import ctypes\nimport mmap\n\n"
                "_memory = mmap.mmap(-1, PIECE_BYTES)\n\n\n"
                "def _refer(batch: int, data: memoryview) -> int:\n"
                "    _memory[: len(data)] = data\n"
                "    start = ctypes.addressof(ctypes.c_char.from_buffer(_memory))\n"
                "    vector = (ctypes.c_size_t * 2)(start, len(data))\n"
                "    return ctypes.CDLL(None).vmsplice(batch, vector, 1, 0)\n\n\n"
                "def _empty(batch: int) -> None:\n",
            ),
        ),
    ),
    Bug(
        "a batch is spliced before it is noted",
        _POINTS,
        (
            Change(
                "feed/batches.py",
                "        os.pwrite(self._note, *encode_note(note))\n"
                "        self.last = note\n"
                '        failpoints.reach("batch.note")\n'
                "        pipe.splice(self._batches[batch], len(data))\n",
                "        pipe.splice(self._batches[batch], len(data))\n"
                "        os.pwrite(self._note, *encode_note(note))\n"
                "        self.last = note\n"
                '        failpoints.reach("batch.note")\n',
            ),
        ),
    ),
    Bug(
        "the note has one record",
        _POINTS,
        (
            Change(
                "feed/batches.py",
                "        os.pwrite(self._note, *encode_note(note))\n",
                "        record, _ = encode_note(note)\n"
                "        half = len(record) // 2\n"
                "        os.pwrite(self._note, record[:half], 0)\n"
                '        failpoints.reach("batch.note")\n'
                "        os.pwrite(self._note, record[half:], half)\n",
            ),
        ),
    ),
    Bug(
        "there is one batch",
        _POINTS,
        (Change("feed/batches.py", "1 - last.batch) if last else (1, 0)", "0) if last else (1, 0)"),),
    ),
    Bug(
        "an analyzer that exits with 0 is believed to have read everything",
        _STOPS.format("does_not_read_all"),
        (Change("analyzer/session.py", "if left_bytes := end.unread_bytes():", "if left_bytes := 0:"),),
    ),
    Bug(
        "CURRENT gets the stream when the file's first bytes are sent already",
        _STOPS.format("exactly_one"),
        (
            Change(
                "feed/job.py",
                '        self.queue.mark(**{**job.identity, **place, "state": "feeding"})\n',
                "",
            ),
            Change(
                "feed/job.py",
                "            damage = feed.damage if feed else None\n",
                "            if feed:\n"
                '                self.queue.mark(state="feeding", stream=job.stream, **job.identity)\n'
                "            damage = feed.damage if feed else None\n",
            ),
        ),
    ),
    Bug(
        "the place after a stop is kept by the dispatcher instead of CURRENT",
        _STOPS.format("while_it_goes_on"),
        (Change("store/scripts/begin_pass.lua", "'stream', '', 'begin', ARGV[3])", "'stream', '')"),),
    ),
    Bug(
        "the batch that a stopped dispatcher was sending is not completed",
        _STOPS.format("exactly_one"),
        (
            Change(
                "analyzer/orderly_end.py",
                "left_bytes := unread_bytes(self._batch)",
                "left_bytes := 0",
            ),
        ),
    ),
    Bug(
        "PROCESSED before the pipe is drained",
        _KILLS.format("processed"),
        (Change("feed/feeder.py", "        self.stream.pipe.drain()\n", ""),),
    ),
    Bug(
        "an analyzer that outlives its launcher",
        _KILLS.format("launchers"),
        (Change("runtime/process.py", "        ask_for_death_signal()\n", ""),),
    ),
    Bug(
        "a Redis that syncs by itself",
        _KILLS.format("storms"),
        (
            Change(
                "store/embedded.py",
                'policy = "no" if is_synced else',
                'policy = "everysec" if is_synced else',
            ),
        ),
    ),
    Bug(
        "a capture is known by its name only",
        "../integration/test_every_capture_once.py",
        (
            Change("feed/known_captures.py", "if not capture.has_packets:", "if capture.has_packets:"),
            Change("inbox/queueing.py", "    if not captures or suspects", "    if captures or suspects"),
        ),
    ),
    Bug(
        "a capture is known by its beginning",
        _KNOWN.format("not_believed"),
        (Change("capture/fed_before.py", "if read.crc32s.get(each.length_bytes) == each.crc32]", "]"),),
    ),
    Bug(
        "a file that is known is only looked at when it is queued",
        _KNOWN.format("once_it_is_authorized"),
        (Change("feed/job.py", "if self._has_changed(job, capture):", "if False:"),),
    ),
    Bug(
        "where a file that grew begins is kept by the dispatcher instead of CURRENT",
        _KNOWN.format("survives_crashes"),
        (Change("feed/job.py", "            self.queue.mark(begin=begin)\n", ""),),
    ),
    Bug(
        "the checksum of a file begins anew with each dispatcher",
        _KNOWN.format("take_over"),
        (Change("capture/checksum.py", "place.crc32 if place.offset else 0", "0"),),
    ),
    Bug(
        "a file on a disk that is not mounted is missing",
        "../integration/test_storage_gone.py -k unmounted",
        (
            Change(
                "capture/storage.py",
                "if is_gone(error_number) or (recorded and not is_mounted(recorded, found)):",
                "if is_gone(error_number):",
            ),
        ),
    ),
    Bug(
        "FINISH without a look at CURRENT",
        _REPLIES,
        (
            Change(
                "store/scripts/finish.lua",
                "if current[1] ~= ARGV[1] then\n    return 0\nend",
                "if not current[2] then\n    current[2] = ARGV[2]\nend",
            ),
        ),
    ),
)
