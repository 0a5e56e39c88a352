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
        test: the part of the campaign that has to catch it: `FILE` or `FILE -k WORDS`.
    """

    name: str
    test: str
    changes: tuple[Change, ...]


_POINTS: Final = "test_fault_points.py -k 'dispatcher_dies'"
_KILLS: Final = "test_fault_kills.py -k '{}'"
_REPLIES: Final = "test_fault_replies.py"
_SHRINKS: Final = "test_fault_inputs.py -k shrinks"

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
        "splice with offset_src",
        _POINTS,
        (
            Change(
                "feed/pipe.py",
                "os.splice(source, self.fd, left,",
                "os.splice(source, self.fd, left, offset_src=os.lseek(source, 0, os.SEEK_CUR),",
            ),
            Change(
                "feed/pipe.py",
                '            failpoints.reach("splice.within")\n',
                '            failpoints.reach("splice.within")\n'
                "            os.lseek(source, moved, os.SEEK_CUR)\n",
            ),
        ),
    ),
    Bug(
        "a journal of what was sent instead of the keeper's shared positions",
        _KILLS.format("mid_record"),
        (
            Change(
                "analyzer/descriptor_store.py",
                "        self._entries[key] = (descriptor, note)\n",
                "        position = os.lseek(descriptor, 0, os.SEEK_CUR)\n"
                '        descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)\n'
                "        os.lseek(descriptor, position, os.SEEK_SET)\n"
                "        self._entries[key] = (descriptor, note)\n",
            ),
            Change(
                "feed/batches.py",
                "offset=offset + delivered) from exc\n",
                "offset=offset + delivered) from exc\n"
                '        self._store.put("file", self._source, self._note)\n',
            ),
        ),
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
                '        return bool(self._store.run("finish", places, arguments))\n',
                "        def move(client: Any) -> bool:\n"
                "            with client.pipeline(transaction=True) as batch:\n"
                "                batch.delete(places[0]).rpush(goal, result.entry)\n"
                "                batch.hset(keys.fed, taken.name, fed).xadd(keys.journal, journal)\n"
                "                batch.execute()\n"
                "            return True\n\n"
                "        return self._store.call(move)\n",
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
                "runtime/process.py",
                "            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
                "            pass\n",
            ),
        ),
    ),
    Bug(
        "mmap instead of pread",
        _SHRINKS,
        (
            Change(
                "capture/reader.py",
                "        self._fd = fd\n        self._size_bytes = size_bytes\n        self._stops",
                "        import mmap\n"
                "        self._map = mmap.mmap(fd, size_bytes, access=mmap.ACCESS_READ)\n"
                "        self._size_bytes = size_bytes\n        self._stops",
            ),
            Change(
                "capture/reader.py",
                "data = read_at(self._fd, min(WINDOW_BYTES, rest_bytes), offset)",
                "data = self._map[offset : offset + min(WINDOW_BYTES, rest_bytes)]",
            ),
        ),
    ),
    Bug(
        "no padding of a file that shrank",
        _SHRINKS,
        (
            Change(
                "feed/batches.py",
                "            self._pipe.splice(zeros, missing_bytes)\n",
                "            pass\n",
            ),
        ),
    ),
    Bug(
        "a batch is spliced before it is kept",
        _KILLS.format("mid_record"),
        (
            Change(
                "feed/batches.py",
                '            self._store.put("batch", batch, {**self._note, "number": number})\n'
                "            self._pipe.splice(batch, len(data))\n",
                "            self._pipe.splice(batch, len(data))\n"
                '            self._store.put("batch", batch, {**self._note, "number": number})\n',
            ),
        ),
    ),
    Bug(
        "PROCESSED before the pipe is drained",
        _KILLS.format("processed"),
        (Change("feed/feeder.py", "        pipe.drain()\n", ""),),
    ),
    Bug(
        "an analyzer that outlives its launcher",
        _KILLS.format("launchers"),
        (Change("analyzer/process.py", "        ask_for_death_signal()\n", ""),),
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
