"""What inotify reports about a folder: files closed by their writer or moved in, and files just created.

Measured with watchdog 7.1: a file moved in from elsewhere is a `FileMovedEvent` without a source with full
events, else it looks like one that was just created. Files of a folder that was moved in, or written before
the folder was watched, are `created` without a `closed`. Source: inotify(7).
"""

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class FolderEvents:
    """Paths since the last call, below the folder's path as it was given.

    Args:
        complete: closed by a writer, or moved in.
        created: they may be hard links, or still be written.
        are_incomplete: the kernel's queue overflowed: scan the folder.
    """

    complete: set[bytes] = field(default_factory=set)
    created: set[bytes] = field(default_factory=set)
    are_incomplete: bool = False


class FolderListener(FileSystemEventHandler):
    """Listens to a folder in threads of its own; its descriptor is readable when there are events.

    Args:
        folder: absolute; may be a link.
        recursive: include folders inside it, also those created later.

    Raises:
        OSError: the folder is gone, or a limit of inotify or of descriptors is reached.
    """

    def __init__(self, folder: bytes, *, recursive: bool) -> None:
        self._folder = folder
        self._real_folder = os.path.realpath(folder)  # watchdog does not follow a link
        self._lock = threading.Lock()
        self._events = FolderEvents()
        self._overflow_handler = _OverflowHandler(self)
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._observer = InotifyObserver(generate_full_events=True)
            self._observer.schedule(
                self, os.fsdecode(self._real_folder), recursive=recursive, event_filter=_EVENTS
            )
            self._observer.start()
        except OSError:
            os.close(self._eventfd)
            raise
        logging.getLogger("watchdog").addHandler(self._overflow_handler)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._eventfd

    @property
    def is_listening(self) -> bool:
        """False once the folder was removed, even if a new one of its name has the same inode."""
        return all(emitter.is_alive() for emitter in self._observer.emitters)

    def take_events(self) -> FolderEvents:
        """Return the events since the last call."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._eventfd)
        with self._lock:
            events, self._events = self._events, FolderEvents()
        return events

    def close(self) -> None:
        """Stop the threads and close the descriptor."""
        logging.getLogger("watchdog").removeHandler(self._overflow_handler)
        self._observer.stop()
        self._observer.join(1.0)
        if not self._observer.is_alive():  # if alive, its thread may still write to the descriptor
            os.close(self._eventfd)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Keep one event; called in watchdog's thread."""
        with self._lock:
            if isinstance(event, FileMovedEvent):
                if event.dest_path:  # empty: it was moved out
                    self._events.complete.add(self._as_given(event.dest_path))
            elif isinstance(event, FileClosedEvent):
                self._events.complete.add(self._as_given(event.src_path))
            elif isinstance(event, FileCreatedEvent):
                self._events.created.add(self._as_given(event.src_path))
        os.eventfd_write(self._eventfd, 1)

    def mark_incomplete(self) -> None:
        """Remember that events may be missing; called in watchdog's thread."""
        with self._lock:
            self._events.are_incomplete = True
        os.eventfd_write(self._eventfd, 1)

    def _as_given(self, path: bytes | str) -> bytes:
        return self._folder + os.fsencode(path).removeprefix(self._real_folder)


class _OverflowHandler(logging.Handler):
    """Handles the only sign that watchdog gives of an overflow of the kernel's queue: a log record."""

    def __init__(self, listener: FolderListener) -> None:
        super().__init__(logging.WARNING)
        self._listener = listener

    def emit(self, _record: logging.LogRecord) -> None:
        self._listener.mark_incomplete()
