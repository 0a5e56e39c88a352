"""What an inbox skips: which names, why, and when each is logged. Rules only.

A name is logged once. Hidden and empty files may still be written: they are logged when a later look at the
folder finds them again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final


class SkipReason(Enum):
    """Why a name in a folder is not queued: in a few words beside a count, and as the end of a sentence."""

    FOLDER = ("folder without --recursive", "is a folder, and --recursive is off")
    FOLDER_LINK = ("link to a folder", "is a link to a folder, which is not followed")
    LINK_TO_NOTHING = ("link to nothing", "is a link that leads to nothing")
    SPECIAL = ("not a regular file", "is not a regular file")
    HIDDEN = ("hidden", "is hidden")
    EMPTY = ("empty", "is empty: 0 bytes")
    NOT_A_CAPTURE = ("not a capture", "is not a supported capture format")
    FAULTY = ("faulty", "cannot be imported")

    def __init__(self, label: str, sentence: str) -> None:
        self.label = label
        self.sentence = sentence


_MAY_BE_WRITTEN: Final = {SkipReason.HIDDEN, SkipReason.EMPTY}
_LOGGED_BY_OTHERS: Final = {SkipReason.NOT_A_CAPTURE, SkipReason.FAULTY}  # with what was found in the file


class Skipped:
    """The names that an inbox skips now."""

    def __init__(self) -> None:
        self._reasons: dict[bytes, SkipReason] = {}
        self._found_again: set[bytes] = set()
        self._logged: set[bytes] = set()

    def counts(self) -> dict[str, int]:
        """Return how many names are skipped, by the label of the reason."""
        return dict(Counter(reason.label for reason in self._reasons.values()))

    def add(self, name: bytes, reason: SkipReason) -> None:
        """Skip a name from now on."""
        if self._reasons.get(name) is not reason:
            self._reasons[name] = reason
            self._found_again.discard(name)
            self._logged.discard(name)

    def remove(self, name: bytes) -> None:
        """Skip a name no longer."""
        self._reasons.pop(name, None)

    def update(self, found: Mapping[bytes, SkipReason], present: Iterable[bytes]) -> None:
        """Keep what a look at the whole folder found.

        Args:
            found: what it skips.
            present: all other names; of those that are skipped already it is as before.
        """
        self._found_again = {name for name, reason in found.items() if self._reasons.get(name) is reason}
        others = {name: reason for name in present if (reason := self._reasons.get(name))}
        read = {name: reason for name, reason in others.items() if reason in _LOGGED_BY_OTHERS}
        self._reasons = {**read, **found}
        self._logged &= self._reasons.keys()

    def take_unlogged(self) -> Iterator[tuple[bytes, SkipReason]]:
        """Yield each name that is to be logged now, and its reason."""
        for name, reason in self._reasons.items():
            is_due = reason not in _MAY_BE_WRITTEN or name in self._found_again
            if is_due and reason not in _LOGGED_BY_OTHERS and name not in self._logged:
                self._logged.add(name)
                yield name, reason
