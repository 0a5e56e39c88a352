"""Which names are not queued, why, and what is shown about them. Rules only.

What a watched inbox skips is logged once. Hidden and empty files may still be written: they are logged when a
later look at the folder finds them again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import quoted


class SkipReason(Enum):
    """Why a name in a folder is not queued: in a few words beside a count, and as the end of a sentence."""

    FOLDER = ("folder without --recursive", "is a folder, and --recursive is off")
    FOLDER_LINK = ("link to a folder", "is a link to a folder, which is not followed")
    LINK = ("link below a root", "is a link, and with --root links are not followed")
    OUTSIDE = ("folder outside of the roots", "is a folder outside of the roots")
    LINK_TO_NOTHING = ("link to nothing", "is a link that leads to nothing")
    SPECIAL = ("not a regular file", "is not a regular file")
    HIDDEN = ("hidden", "is hidden")
    EMPTY = ("empty", "is empty: 0 bytes")
    NOT_A_CAPTURE = ("not a capture", "is not a supported capture format")
    FAULTY = ("faulty", "cannot be imported")

    def __init__(self, label: str, sentence: str) -> None:
        self.label = label
        self.sentence = sentence


_MOST_NAMED: Final = 5  # refused files of folders that are named in one message; the others are counted
_MAY_BE_WRITTEN: Final = {SkipReason.HIDDEN, SkipReason.EMPTY}
_LOGGED_BY_OTHERS: Final = {SkipReason.NOT_A_CAPTURE, SkipReason.FAULTY}  # with what was found in the file


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that is not a supported capture, or a folder that cannot be read.

    Args:
        name: its absolute path.
        reason: the rest of a sentence that begins with the name.
        is_fault: the user named this path, or it is a capture or may have been one; else it is skipped in its
            folder.
    """

    name: bytes
    reason: str
    is_fault: bool


def refusal_sentences(refused: Sequence[Refusal]) -> list[str]:
    """Return a sentence for each fault, for a few of the others, and how many more there are."""
    faults = [refusal for refusal in refused if refusal.is_fault]
    skipped = [refusal for refusal in refused if not refusal.is_fault]
    sentences = [f"{quoted(each.name)} {each.reason}." for each in faults]
    sentences += [f"Skipped: {quoted(each.name)} {each.reason}." for each in skipped[:_MOST_NAMED]]
    if (more := len(skipped) - _MOST_NAMED) > 0:
        sentences.append(f"{counted(more, 'more was', 'more were')} skipped.")
    return sentences


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
        """Stop skipping a name."""
        self._reasons.pop(name, None)

    def update(self, found: Mapping[bytes, SkipReason], present: Iterable[bytes]) -> None:
        """Keep what a look at the whole folder found.

        Args:
            found: what it skips.
            present: all other names; those that are skipped because of their content stay skipped.
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
