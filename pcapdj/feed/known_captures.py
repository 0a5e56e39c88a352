"""Before a file is requested: is it the file that was queued, and was its capture fed already?

Importer and `run` queue a name together with which file it is. Names that other programs push, or that a
person queues again, come without, and are fed whole. A file that changes until it is authorized, which may
take days, is looked at once more.

    what the name has now                             then
    another file than the queued one                  FAILED: the capture that was queued is lost
    a capture that was fed whole                      PROCESSED, without a packet
    a capture that was fed, and more behind it        only what is behind it is fed
    anything else                                     it is fed whole

What was fed stands in CAPTURES; `capture.fed_before` proves it.
"""

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from pcapdj.capture.anomalies import Anomaly
from pcapdj.capture.capture import Capture
from pcapdj.capture.fed_before import (
    Found,
    GrownCapture,
    SameCapture,
    ShorterCapture,
    find_fed_capture,
    first_bytes_of,
)
from pcapdj.capture.files import Identity
from pcapdj.capture.identity import FedCapture, QueuedFile, kept_under, looked_up_under
from pcapdj.capture.pcap import Place
from pcapdj.feed.skips import SKIPPED
from pcapdj.feed.start_point import FIRST_PACKET, StartPoint
from pcapdj.feed.storage import CaptureStorage
from pcapdj.runtime.errors import CaptureError, CutOff, Overwritten
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import HasFileno, Waits
from pcapdj.runtime.units import human_size, utc_text
from pcapdj.store.captures import candidates
from pcapdj.store.client import Store
from pcapdj.store.job_queue import Fields, QueueEntry

events = EventLog("dispatcher")

_OVERWRITTEN: Final = "overwritten before it was fed"
_SLOW_S: Final = 2.0  # a comparison that takes longer is shown


@dataclass(frozen=True, slots=True)
class KnownCaptures:
    """The captures of a lane that were fed.

    Args:
        storage: opens files.
        waits: a stop signal, or a request to skip the file, ends each comparison.
    """

    store: Store
    storage: CaptureStorage
    waits: Waits

    def find(self, entry: QueueEntry, capture: Capture) -> Found:
        """Return which capture that was fed the open file is, or begins with.

        Raises:
            Overwritten: it is another file than the queued one.
            Stopped: a stop signal arrived.
        """
        queued = QueuedFile.from_line(entry.queued)
        if queued is None:
            return None
        if not _is_same(queued, capture.identity) and not queued.is_beginning_of(capture.first):
            raise Overwritten(_OVERWRITTEN)
        if not capture.has_packets:
            return None
        kept = candidates(self.store, looked_up_under(capture.first))
        fed = [each for fields in kept if (each := FedCapture.from_fields(fields))]
        found = find_fed_capture(capture.file, fed, _Comparing(self.waits, capture.identity.size_bytes))
        _log(entry, found)
        return found

    def cause_of(self, entry: QueueEntry, error: CaptureError) -> CaptureError:
        """Return why an entry fails whose file cannot be opened: another file may have its name by now.

        Args:
            entry: whose file the storage has.
            error: of opening it, such as of a file that is empty, or still written, or is skipped.

        Raises:
            Stopped: a stop signal arrived.
        """
        queued = QueuedFile.from_line(entry.queued)
        if queued is None or error.reason == SKIPPED:
            return error
        try:
            file = self.storage.open(refuse_written=False)
        except CaptureError:
            return error
        with closing(file):
            try:
                if _is_same(queued, file.identity()):
                    return error
                first = first_bytes_of(file, self.waits)
            except CaptureError:
                first = b""
        return error if queued.is_beginning_of(first) else Overwritten(_OVERWRITTEN)


class _Comparing:
    """Waits that show a comparison that takes long."""

    def __init__(self, waits: Waits, size_bytes: int) -> None:
        self._waits = waits
        self._sentence = f"Comparing {human_size(size_bytes)} with captures that were fed and begin alike."
        self._shown_from_s = time.monotonic() + _SLOW_S

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Wait, and show why, as `Waits`."""
        is_slow = time.monotonic() >= self._shown_from_s
        sentence = waiting_for or (self._sentence if is_slow else "")
        self._waits.wait(timeout_s, *readable, stops=stops, waiting_for=sentence)


def start_behind(found: Found, capture: Capture) -> StartPoint:
    """Return where the passes of a file begin: behind what was fed of it before it grew."""
    if not isinstance(found, GrownCapture):
        return FIRST_PACKET
    fed = found.capture
    place = Place(fed.length_bytes, fed.section, fed.interfaces_end, crc32=fed.crc32)
    digest, begin_bytes = capture.digest(), fed.length_bytes
    return StartPoint(place, identity=capture.identity, digest=digest, begin_bytes=begin_bytes)


def fed_capture(
    name: str, capture: Capture, damage: CaptureError | None, now_s: float
) -> tuple[str, FedCapture] | None:
    """Return a capture that was fed, and the digests that it is kept under; None: it does not become known.

    Args:
        name: of the file.
        capture: of which all pieces that it has were delivered.
        damage: why it was not read to its end; None: it was.
        now_s: seconds since the epoch.
    """
    place = capture.place
    may_go_on = damage is None or isinstance(damage, CutOff)
    if not capture.has_packets or place.crc32 is None or not may_go_on:
        return None
    of_place = place.offset, place.crc32, damage is None, place.section, place.interfaces_end
    digests = kept_under(capture.first, place.offset)
    return digests, FedCapture(name, *of_place, capture.identity, now_s)


def anomalies_of_found(found: Found) -> list[Anomaly]:
    """Return what is unusual about a file by what was found of its capture."""
    if not isinstance(found, ShorterCapture):
        return []
    sentence = f"begins like {quoted(found.capture.name)}, which was fed, and is shorter: it is fed whole"
    return [Anomaly("capture_shorter", sentence)]


def fed_before(name: str, capture: Capture, start: StartPoint, now_s: float) -> tuple[str, FedCapture] | None:
    """Return what earlier streams have of a file that changed since; as `fed_capture`."""
    place = start.place
    if place.crc32 is None or start.identity is None:
        return None
    of_place = place.offset, place.crc32, False, place.section, place.interfaces_end
    return kept_under(capture.first, place.offset), FedCapture(name, *of_place, start.identity, now_s)


def _is_same(queued: QueuedFile, now: Identity) -> bool:
    """Report whether it is the queued file, unchanged; its device may have another number by now."""
    return queued.identity[1:] == now[1:]


def _log(entry: QueueEntry, found: Found) -> None:
    """Log a capture that is known, or grew; a shorter one is an anomaly."""
    if not isinstance(found, SameCapture | GrownCapture):
        return
    earlier, length = found.capture, found.capture.length_bytes
    fields = {"name": entry.name, "fed_as": earlier.name, "fed_bytes": length}
    fed = f"{quoted(earlier.name)}, which was fed at {utc_text(earlier.time_s)}"
    if isinstance(found, SameCapture):
        events.info("capture_known", f"It is the same capture as {fed}: it is not fed again.", **fields)
    else:
        events.info("capture_grew", f"It begins with {fed}: only what follows is fed.", **fields)


def about_capture(found: Found, fed: tuple[str, FedCapture] | None) -> Fields:
    """Return the journal's fields about which capture a file is.

    Args:
        found: the capture fed before that it is, begins with, or begins like.
        fed: the digests that its own capture becomes known under, and that capture; None: it does not.
    """
    fields: Fields = {}
    if fed:
        digests, capture = fed
        fields |= {"crc32": capture.crc32, "length_bytes": capture.length_bytes, "first": digests}
        fields |= {"section": capture.section, "interfaces_end": capture.interfaces_end}
    if isinstance(found, SameCapture | ShorterCapture):
        field_name = "known_as" if isinstance(found, SameCapture) else "begins_as"
        fields |= {field_name: found.capture.name, "known_since_s": f"{found.capture.time_s:.3f}"}
    return fields
