"""An inbox whose captures are renamed, linked, touched, compressed, appended to, overwritten and removed.

Around a real importer, dispatcher and Redis, with kills between; the inbox itself goes away and comes back,
with its file system or without. Afterwards every packet that was ever in a complete file has arrived once, or
the journal has why it has not.
"""

import json
import os
import random
from collections import Counter
from contextlib import suppress
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
from pcapdj.store import operate

_SETTLE_LIMIT_S: Final = 60.0
_NOTICED_LIMIT_S: Final = 2.0  # reached where nothing is to be noticed
_NEW_SHARE: Final = 0.5  # of the absences begin with another dispatcher
_BACK_SHARE: Final = 0.3  # of the actions that find the inbox away bring it back
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

_OFTEN: Final = (*["create"] * 4, *["await_queued"] * 3)
_ROUND_ACTIONS: Final = 40
ACTIONS: Final = (
    *("create", "rename", "link", "touch", "compress", "append", "overwrite", "remove", "restore"),
    *("move_away", "unmount", "bring_back", "kill_importer", "kill_dispatcher"),
    *("await_queued", "await_all_fed", "suspend", "hold", "go_on"),
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


class NothingToDo(Exception):
    """There is no file, or no inbox, for this action."""


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

    # What happens to files

    def create(self) -> None:
        """Put a new capture into the inbox."""
        self._require_inbox()
        number = max(self._longest, default=0) + 1
        self._put(self._new_name(number), Content(number, self._rng.randint(1, _MOST_PACKETS)))

    def rename(self) -> None:
        """Give a capture another name."""
        self._require_inbox()
        name, content = self._chosen()
        fresh = self._new_name(content.number)
        (self.folder / name).rename(self.folder / fresh)
        self._note(fresh, self.files.pop(name))

    def link(self) -> None:
        """Give a capture a second name."""
        self._require_inbox()
        name, content = self._chosen()
        fresh = self._new_name(content.number)
        (self.folder / fresh).hardlink_to(self.folder / name)
        self._note(fresh, content)

    def touch(self) -> None:
        """Change a capture's time."""
        self._require_inbox()
        name, _ = self._chosen()
        os.utime(self.folder / name, self._next_time())

    def compress(self) -> None:
        """Replace a capture by its compressed form, as gzip does."""
        self._require_inbox()
        name, content = self._chosen()
        if not content.is_compressed:
            self._put(f"{name}.gz", Content(content.number, content.packets, is_compressed=True))
            (self.folder / name).unlink()
            del self.files[name]

    def append(self) -> None:
        """Let a capture grow in place, with its other names.

        Only where it has no other copy: that would be a shorter cut from then on, which is fed whole.
        """
        self._require_inbox()
        name, content = self._chosen()
        names = [each for each, other in self.files.items() if other.number == content.number]
        if content.is_compressed or len({(self.folder / each).stat().st_ino for each in names}) > 1:
            return
        grown = Content(content.number, content.packets + self._rng.randint(1, 50))
        with (self.folder / name).open("ab", buffering=0) as file:
            file.write(grown.data()[len(content.data()) :])
            os.utime(file.fileno(), self._next_time())
        for each in names:
            self._note(each, grown)

    def overwrite(self) -> None:
        """Put a new capture in the place of another one, as a ring of files does."""
        self._require_inbox()
        name, content = self._chosen()
        self._destroy(name, content)
        number = max(self._longest) + 1
        self._put(name, Content(number, self._rng.randint(1, _MOST_PACKETS), content.is_compressed))

    def remove(self) -> None:
        """Remove a capture."""
        self._require_inbox()
        name, content = self._chosen()
        self._destroy(name, content)
        (self.folder / name).unlink()
        self._removed.append(content)

    def restore(self) -> None:
        """Bring a removed capture back, under another name."""
        self._require_inbox()
        if self._removed:
            content = self._removed.pop(self._rng.randrange(len(self._removed)))
            whole = Content(content.number, self._longest[content.number], content.is_compressed)
            self._put(self._new_name(content.number), whole)

    # What happens around them

    def move_away(self) -> None:
        """Move the inbox away; nothing happens to its files until it is back."""
        self._require_inbox()
        self.folder.rename(self._away)
        self._state = "moved"
        self._await_outage()

    def unmount(self) -> None:
        """Unmount the inbox's file system."""
        self._require_inbox()
        if self._disk:
            self._disk.unmount()
            self._state = "unmounted"
            self._await_outage()

    def bring_back(self) -> None:
        """Bring the inbox back, if it is away."""
        if self._state == "moved":
            self._away.rename(self.folder)
        elif self._state == "unmounted" and self._disk:
            self._disk.mount()
        self._state = "there"

    def suspend(self) -> None:
        """Suspend feeding, so that the next actions meet a file that is being fed."""
        operate.suspend(self.scenario.store)

    def hold(self) -> None:
        """Hold the gate, so that the next actions meet queued files."""
        operate.change_control(self.scenario.store, {"gate": "hold"})

    def go_on(self) -> None:
        """End both."""
        operate.change_control(self.scenario.store, {}, ["gate"])
        operate.resume(self.scenario.store)

    def await_queued(self) -> None:
        """Wait a moment until every file of the inbox is at least queued."""
        if self._state == "there":
            is_met(lambda: all(map(self._is_noticed, self.files)), _NOTICED_LIMIT_S)

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
        self.go_on()
        self.kill_importer()
        if not is_met(self._is_settled, _SETTLE_LIMIT_S):
            raise AssertionError(f"not all is fed after a minute: {self._unsettled()}")

    def act(self, name: str) -> None:
        """Do one of `ACTIONS`."""
        with suppress(NothingToDo):
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

    def _is_noticed(self, name: str) -> bool:
        """Report whether a file is queued, current or handled."""
        keys, client, path = self.scenario.store.keys, self.scenario.store.redis, str(self.folder / name)
        is_current = client.hget(keys.current(str(self.scenario.pipe)), "name") == path.encode()
        return bool(client.hexists(keys.queued, path)) or is_current or self._is_handled(name)

    def _await_outage(self) -> None:
        """Give the dispatcher a moment to meet the inbox's absence, if it has a file of it.

        One that is new has to open its file by name.
        """
        if self._rng.random() < _NEW_SHARE:
            self.kill_dispatcher()
        key = self.scenario.store.keys.stats(str(self.scenario.pipe))
        is_met(lambda: self.scenario.store.redis.hget(key, "storage"), _NOTICED_LIMIT_S)

    # How it is done

    def _require_inbox(self) -> None:
        """Do nothing while the inbox is away; sometimes bring it back.

        Raises:
            NothingToDo: it stays away.
        """
        if self._state != "there" and self._rng.random() < _BACK_SHARE:
            self.bring_back()
        if self._state != "there":
            raise NothingToDo

    def _chosen(self) -> tuple[str, Content]:
        """Return a file of the inbox.

        Raises:
            NothingToDo: it has none.
        """
        if not self.files:
            raise NothingToDo
        name = self._rng.choice(sorted(self.files))
        return name, self.files[name]

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
        if not self._is_noticed(name):
            self._unseen.add(content.number)
        del self.files[name]

    def _new_name(self, number: int) -> str:
        self._clock += 1
        return f"{number:04d}-{self._clock}.pcap"

    def _next_time(self) -> tuple[int, int]:
        self._clock += 1
        return _OLD_S + self._clock, _OLD_S + self._clock


def _folders(scenario: Scenario) -> tuple[Path, Path]:
    folders = scenario.captures / "mounted", scenario.captures / "elsewhere"
    for folder in folders:
        folder.mkdir()
    return folders


def _base(name: bytes) -> str:
    return os.fsdecode(name).rpartition("/")[2]


def run(figures: Figures, seed: str, count: int) -> None:
    """Let so many things happen, in rounds; after each round all packets are counted."""
    rng = random.Random(seed)  # noqa: S311 - a schedule that can be repeated
    while count > 0:
        scenario = Scenario(SLOW_COPY)
        inbox = RearrangedInbox(scenario, rng, can_mount=os.geteuid() == 0)
        done = list[str]()
        try:
            for _ in range(min(count, _ROUND_ACTIONS)):
                name = rng.choice((*_OFTEN, *ACTIONS))
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
        count -= _ROUND_ACTIONS
