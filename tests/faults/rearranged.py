"""An inbox whose captures are renamed, linked, touched, compressed, appended to, overwritten and removed.

Around a real importer, dispatcher and Redis, with kills between; the inbox itself goes away and comes back,
with its file system or without. Afterwards every packet that was ever in a complete file has arrived once, or
the journal has why it has not.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.mounts import MemoryMount
from support.waiting import is_met

from faults.checker import tags_of
from faults.evidence import streams_of
from faults.figures import Figures
from faults.packets import STREAM_HEADER, body_of, gzipped, plain
from faults.scenario import SLOW_COPY, Scenario

_SETTLE_LIMIT_S: Final = 60.0
_OLD_S: Final = 1_600_000_000  # files are complete at once: they have not been written to for long
_SIZE_BYTES: Final = 1000
_MOST_PACKETS: Final = 4000
# What may have happened to a name that was queued, or to the file that is being read.
_REASONS: Final = (
    "does not exist",
    "overwritten before it was fed",
    "changed while it was read",
    "is still being written",
)

ACTIONS: Final = (
    *("create", "rename", "link", "touch", "compress", "append", "overwrite", "remove", "restore"),
    *("move_away", "unmount", "bring_back", "kill_importer", "kill_dispatcher", "await_all_fed"),
)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file has: the first packets of a numbered capture."""

    number: int
    packets: int
    is_compressed: bool = False

    def data(self) -> bytes:
        """Return the file's bytes."""
        body = body_of(self.number, self.packets, _SIZE_BYTES)
        return gzipped(body) if self.is_compressed else plain(body)


class RearrangedInbox:
    """An inbox, the roles that feed it, and what each of its files has.

    Args:
        scenario: nothing of it runs yet.
        rng: chooses files and sizes.
        can_mount: the inbox is on a file system of its own.
    """

    def __init__(self, scenario: Scenario, rng: random.Random, *, can_mount: bool) -> None:
        self.scenario = scenario
        self._rng = rng
        self._disk = MemoryMount(*_folders(scenario), size="512m") if can_mount else None
        self.folder = (self._disk.folder if self._disk else scenario.captures) / "inbox"
        self._away = self.folder.with_name("away")
        self.folder.mkdir()
        self.files: dict[str, Content] = {}
        self._removed: list[Content] = []
        self._longest = Counter[int]()  # packets that were ever in a file, by number of the capture
        self._names: dict[int, set[str]] = {}  # that a capture ever had
        self._unseen: set[int] = set()  # captures that were destroyed before the importer had queued them
        self._arrived = Counter[tuple[int, int]]()
        self._state = "there"
        self._clock = 0
        scenario.start_all()
        self.start_importer()

    def start_importer(self) -> None:
        """Start the role that watches the inbox."""
        self.scenario.start("importer", "--watch", str(self.folder))

    def close(self) -> None:
        """Unmount the inbox; the scenario is closed by its owner."""
        if self._disk:
            self._disk.close()

    # What happens to files; each of these does nothing where there is no file for it

    def create(self) -> None:
        """Put a new capture into the inbox."""
        with self._there():
            number = max(self._longest, default=0) + 1
            self._put(self._new_name(number), Content(number, self._rng.randint(1, _MOST_PACKETS)))

    def rename(self) -> None:
        """Give a capture another name."""
        with self._there(), self._chosen() as (name, content):
            fresh = self._new_name(content.number)
            (self.folder / name).rename(self.folder / fresh)
            self._note(fresh, self.files.pop(name))

    def link(self) -> None:
        """Give a capture a second name."""
        with self._there(), self._chosen() as (name, content):
            fresh = self._new_name(content.number)
            (self.folder / fresh).hardlink_to(self.folder / name)
            self._note(fresh, content)

    def touch(self) -> None:
        """Change a capture's time."""
        with self._there(), self._chosen() as (name, _):
            os.utime(self.folder / name, self._next_time())

    def compress(self) -> None:
        """Replace a capture by its compressed form, as gzip does."""
        with self._there(), self._chosen() as (name, content):
            if not content.is_compressed:
                self._put(f"{name}.gz", Content(content.number, content.packets, is_compressed=True))
                (self.folder / name).unlink()
                del self.files[name]

    def append(self) -> None:
        """Let a capture grow in place; its other names grow, too."""
        with self._there(), self._chosen() as (name, content):
            if content.is_compressed or content.packets < self._longest[content.number]:
                return
            grown = Content(content.number, content.packets + self._rng.randint(1, 50))
            with (self.folder / name).open("ab", buffering=0) as file:
                file.write(grown.data()[len(content.data()) :])
                os.utime(file.fileno(), self._next_time())
            inode = (self.folder / name).stat().st_ino
            for each in [each for each in self.files if (self.folder / each).stat().st_ino == inode]:
                self._note(each, grown)

    def overwrite(self) -> None:
        """Put a new capture in the place of another one, as a ring of files does."""
        with self._there(), self._chosen() as (name, content):
            self._destroy(name, content)
            number = max(self._longest) + 1
            self._put(name, Content(number, self._rng.randint(1, _MOST_PACKETS), content.is_compressed))

    def remove(self) -> None:
        """Remove a capture."""
        with self._there(), self._chosen() as (name, content):
            self._destroy(name, content)
            (self.folder / name).unlink()
            self._removed.append(content)

    def restore(self) -> None:
        """Bring a removed capture back, under another name."""
        with self._there():
            if self._removed:
                content = self._removed.pop(self._rng.randrange(len(self._removed)))
                self._put(self._new_name(content.number), content)

    # What happens around them

    def move_away(self) -> None:
        """Move the inbox away; nothing happens to its files until it is back."""
        with self._there():
            self.folder.rename(self._away)
            self._state = "moved"

    def unmount(self) -> None:
        """Unmount the inbox's file system."""
        with self._there():
            if self._disk:
                self._disk.unmount()
                self._state = "unmounted"

    def bring_back(self) -> None:
        """Bring the inbox back, if it is away."""
        if self._state == "moved":
            self._away.rename(self.folder)
        elif self._state == "unmounted" and self._disk:
            self._disk.mount()
        self._state = "there"

    def kill_importer(self) -> None:
        """Kill the importer, and start another one."""
        self.scenario.roles["importer"].kill()
        self.start_importer()

    def kill_dispatcher(self) -> None:
        """Kill the dispatcher, and start another one."""
        self.scenario.roles["dispatcher"].kill()
        self.scenario.start("dispatcher")

    def await_all_fed(self) -> None:
        """Wait until every file of the inbox is fed or known; if that takes too long, fail.

        By another importer: this one looks only once a minute for files that were only touched.
        """
        self.bring_back()
        self.kill_importer()
        if not is_met(self._is_settled, _SETTLE_LIMIT_S):
            raise AssertionError(f"not all is fed after a minute: {self._unsettled()}")

    def act(self, name: str) -> None:
        """Do one of `ACTIONS`."""
        getattr(self, name)()

    # What must be true

    def findings(self) -> list[str]:
        """Return what is wrong, once all is fed and the stream has ended; in sentences."""
        arrived = self._arrived = Counter[tuple[int, int]]()
        for stream in streams_of(self.scenario):
            tags, end = tags_of(stream.data[len(STREAM_HEADER) :])
            arrived.update(tags)
            if end + len(STREAM_HEADER) != len(stream.data):
                return [f"{stream.id}: torn"]
        doubled = Counter(number for (number, _), count in arrived.items() if count > 1)
        found = [
            f"capture {number}, {sorted(self._names.get(number, ()))}: {count} packets doubled"
            for number, count in doubled.items()
        ]
        failed, last = self._failures(), {content.number: content for content in self.files.values()}
        for number, packets in self._longest.items():
            wanted = last[number].packets if number in last else packets
            missing = sum((number, each) not in arrived for each in range(wanted))
            is_explained = number not in last and (
                number in self._unseen or any(name in failed for name in self._names[number])
            )
            if missing and not is_explained:
                found.append(f"capture {number}, {sorted(self._names[number])}: {missing} of {wanted} lost")
        found += [
            f"{name} failed: {reason}"
            for name, reasons in failed.items()
            for reason in reasons
            if not reason.startswith(_REASONS)
        ]
        return found + self._stale_failures()

    @property
    def packets(self) -> int:
        """How many packets have arrived."""
        return self._arrived.total()

    def _failures(self) -> dict[str, list[str]]:
        """Return the reasons in the journal, by name of the file."""
        failed = dict[str, list[str]]()
        for fields in self._journal():
            if fields[b"verdict"] == b"failed":
                failed.setdefault(_base(fields[b"name"]), []).append(fields[b"reason"].decode())
        return failed

    def _stale_failures(self) -> list[str]:
        """Return the names in FAILED whose last result is another; entries about lost captures aside."""
        last = {_base(fields[b"name"]): fields[b"verdict"] for fields in self._journal()}
        entries: Any = self.scenario.store.redis.lrange(self.scenario.store.keys.failed, 0, -1)
        names = [
            _base(os.fsencode(found["name"])) for found in map(json.loads, entries) if not found.get("lost")
        ]
        return [f"{name} is in FAILED and was processed since" for name in names if last[name] != b"failed"]

    def _journal(self) -> list[dict[bytes, bytes]]:
        entries: Any = self.scenario.store.redis.xrange(self.scenario.store.keys.journal)
        return [fields for _, fields in entries]

    def _is_settled(self) -> bool:
        return not self._unsettled()

    def _unsettled(self) -> list[str]:
        """Return what is still to be done."""
        keys, client = self.scenario.store.keys, self.scenario.store.redis
        current = keys.current(str(self.scenario.pipe))
        if client.llen(keys.in_queue) or client.exists(current):
            return [f"{client.llen(keys.in_queue)} queued, current {client.hgetall(current)!r}"]
        return [name for name in self.files if not self._is_handled(name)]

    def _is_handled(self, name: str) -> bool:
        """Report whether FED has this very file."""
        found = (self.folder / name).stat()
        entry: Any = self.scenario.store.redis.hget(self.scenario.store.keys.fed, str(self.folder / name))
        fed = json.loads(entry or "{}")
        return (fed.get("size_bytes"), fed.get("mtime_ns")) == (found.st_size, found.st_mtime_ns)

    # How it is done

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Do the block only while the inbox is there."""
        with suppress(_Nothing):
            if self._state != "there":
                self.bring_back()
            yield

    @contextmanager
    def _chosen(self) -> Iterator[tuple[str, Content]]:
        """Yield a file of the inbox."""
        if not self.files:
            raise _Nothing
        name = self._rng.choice(sorted(self.files))
        yield name, self.files[name]

    def _put(self, name: str, content: Content) -> None:
        """Write a file elsewhere, and move it into the inbox."""
        part = self.folder.with_name("part")
        part.write_bytes(content.data())
        os.utime(part, self._next_time())
        part.rename(self.folder / name)
        self._note(name, content)

    def _note(self, name: str, content: Content) -> None:
        self.files[name] = content
        self._longest[content.number] = max(self._longest[content.number], content.packets)
        self._names.setdefault(content.number, set()).add(name)

    def _destroy(self, name: str, content: Content) -> None:
        """Forget a file; if the importer has not queued it, nobody has ever known of it."""
        keys, client = self.scenario.store.keys, self.scenario.store.redis
        path = str(self.folder / name)
        is_queued = client.hexists(keys.queued, path)
        is_current = client.hget(keys.current(str(self.scenario.pipe)), "name") == path.encode()
        if not is_queued and not is_current and not self._is_handled(name):
            self._unseen.add(content.number)
        del self.files[name]

    def _new_name(self, number: int) -> str:
        self._clock += 1
        return f"{number:04d}-{self._clock}.pcap"

    def _next_time(self) -> tuple[int, int]:
        self._clock += 1
        return _OLD_S + self._clock, _OLD_S + self._clock


class _Nothing(Exception):
    """There is no file for this action."""


def _folders(scenario: Scenario) -> tuple[Path, Path]:
    folders = scenario.captures / "mounted", scenario.captures / "elsewhere"
    for folder in folders:
        folder.mkdir()
    return folders


def _base(name: bytes) -> str:
    return os.fsdecode(name).rpartition("/")[2]


def run(figures: Figures, seed: str, count: int) -> None:
    """Let so many things happen, in rounds of thirty; after each round all packets are counted."""
    rng = random.Random(seed)  # noqa: S311 - a schedule that can be repeated
    while count > 0:
        scenario = Scenario(SLOW_COPY)
        inbox = RearrangedInbox(scenario, rng, can_mount=os.geteuid() == 0)
        done = list[str]()
        try:
            for _ in range(min(count, 30)):
                name = rng.choice(("create", *ACTIONS))
                inbox.act(name)
                done.append(name)
                figures.counts[f"inbox: {name}"] += 1
                if name.startswith("kill_"):
                    figures.kills[name.removeprefix("kill_")] += 1
            inbox.await_all_fed()
            scenario.end_stream()
            found = inbox.findings()
            figures.packets += inbox.packets
            figures.streams += 1
        except AssertionError as exc:
            found = [str(exc)]
        finally:
            inbox.close()
            scenario.close()
        for sentence in found:
            figures.violated(f"{sentence}; after {', '.join(done)}")
        count -= 30
