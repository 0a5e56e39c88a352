"""The objects that an analyzer extracted, read from its output: our summary's, or Suricata's file store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.foreign_files import foreign_lines, foreign_text
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import quoted
from pcapdj.summary.results import read_objects

_SHA256_DIGITS: Final = 64
_MOST_SUMS_BYTES: Final = 64 << 20  # about half a million objects


@dataclass(frozen=True, slots=True)
class ExtractedObject:
    """A file that the analyzer extracted from the traffic.

    Args:
        name: host and path of its URI.
        size_bytes: of the extracted bytes.
        sha256: of the extracted bytes, in hexadecimal.
        is_whole: the analyzer reports no missing bytes.
    """

    name: str
    size_bytes: int
    sha256: str
    is_whole: bool


def extracted_from(logdir: Path) -> list[ExtractedObject]:
    """Return the objects in a stream's output folder; empty where the analyzer extracts none."""
    ours = [
        ExtractedObject(
            f"{each.host or each.server}{each.uri or ''}", each.size_bytes, each.sha256, each.complete
        )
        for each in read_objects(logdir)
    ]
    return ours + list(_suricata_objects(logdir / "eve.json"))


def read_expected(path: Path) -> dict[str, str]:
    """Return sha256 to name, from a file in the format of sha256sum(1).

    Raises:
        ConfigError: it cannot be read, or a line has another format.
    """
    try:
        lines = foreign_text(path, _MOST_SUMS_BYTES).splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(f"{quoted(str(path))} cannot be read: {reason}.") from exc
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    if any(len(pair) < 2 or len(pair[0]) != _SHA256_DIGITS for pair in pairs):  # noqa: PLR2004 - a pair
        raise ConfigError(
            f"{quoted(str(path))} is not a sha256sum file: each line has 64 hexadecimal digits and a name."
        )
    return {digits.lower(): name.lstrip("*") for digits, name in pairs}


def _suricata_objects(eve: Path) -> Iterator[ExtractedObject]:
    """Yield the stored files of EVE's fileinfo events; other events and incomplete lines are skipped."""
    for line in foreign_lines(eve):
        if '"fileinfo"' in line and (stored := _stored_object(line)):
            yield stored


def _stored_object(line: str) -> ExtractedObject | None:
    try:
        event = decode_object(line)
        file = event["fileinfo"]
        if not file["stored"]:
            return None
        host = event.get("http", {}).get("hostname", "")
        is_cut = "flow timeout" in event.get("pkt_src", "")  # Suricata reports a cut file as CLOSED, too
        is_whole = file["state"] == "CLOSED" and not file.get("gaps") and not is_cut
        return ExtractedObject(f"{host}{file['filename']}", int(file["size"]), str(file["sha256"]), is_whole)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
