"""What inotify tells of a folder: files closed by their writer or moved in, and files that only began.

Measured with watchdog 7.1: a file moved in from elsewhere is a `FileMovedEvent` without a source if full
events are asked for (else it looks like one that was just created); files of a folder that was moved in, or
written before its watch stood, are `created` without a `closed`. Source: inotify(7).
"""

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

_EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileMovedEvent,
    FileCreatedEvent,
    DirMovedEvent,
    DirCreatedEvent,
]


@dataclass(frozen=True, slots=True)
class Arrived:
    """Names since the last question, in the folder's own spelling.

    Args:
        complete: closed by a writer, or moved in.
        begun: created; they may be hard links, or still be written.
        is_overflown: events were lost: look at the folder itself.
    """

    complete: frozenset[bytes]
    begun: frozenset[bytes]
    is_overflown: bool


class Arrivals(FileSystemEventHandler):
    """Listens to a folder in threads of its own; its descriptor is readable when something arrived.

    Args:
        folder: absolute; may be a link.
        recursive: listen to folders within it, too, those that come later included.

    Raises:
        OSError: the folder is gone, or the system's inotify limits are reached.
    """

    def __init__(self, folder: bytes, *, recursive: bool) -> None:
        self._folder = folder
        self._real = os.path.realpath(folder)  # watchdog does not follow a link
        self._lock = threading.Lock()
        self._complete: set[bytes] = set()
        self._begun: set[bytes] = set()
        self._is_overflown = False
        self._alarm = _Alarm(self)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._observer = InotifyObserver(generate_full_events=True)
            self._observer.schedule(self, os.fsdecode(self._real), recursive=recursive, event_filter=_EVENTS)
            self._observer.start()
        except OSError:
            os.close(self._event)
            raise
        logging.getLogger("watchdog").addHandler(self._alarm)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._event

    @property
    def is_listening(self) -> bool:
        """False once the folder was removed, even if another one of its name has got its inode."""
        return all(emitter.is_alive() for emitter in self._observer.emitters)

    def take(self) -> Arrived:
        """Return what arrived since the last call."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        with self._lock:
            arrived = Arrived(frozenset(self._complete), frozenset(self._begun), self._is_overflown)
            self._complete.clear()
            self._begun.clear()
            self._is_overflown = False
        return arrived

    def close(self) -> None:
        """Stop listening."""
        logging.getLogger("watchdog").removeHandler(self._alarm)
        self._observer.stop()
        self._observer.join(1.0)
        if not self._observer.is_alive():  # else its thread may still write to the descriptor
            os.close(self._event)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Note one event; called in watchdog's thread."""
        with self._lock:
            self._note(event)
        os.eventfd_write(self._event, 1)

    def lose(self) -> None:
        """Note that events may be missing; called in watchdog's thread."""
        with self._lock:
            self._is_overflown = True
        os.eventfd_write(self._event, 1)

    def _note(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileMovedEvent):
            if event.dest_path:  # else it was moved out
                self._complete.add(self._spelled(event.dest_path))
        elif isinstance(event, FileClosedEvent):
            self._complete.add(self._spelled(event.src_path))
        elif isinstance(event, FileCreatedEvent):
            self._begun.add(self._spelled(event.src_path))

    def _spelled(self, path: bytes | str) -> bytes:
        return self._folder + os.fsencode(path).removeprefix(self._real)


class _Alarm(logging.Handler):
    """Hears what watchdog tells its logger only: that the kernel's queue of events overflowed."""

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__(logging.WARNING)
        self._arrivals = arrivals

    def emit(self, _record: logging.LogRecord) -> None:
        self._arrivals.lose()
