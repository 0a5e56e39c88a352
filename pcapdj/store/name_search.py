"""Finds the names that an operator means: whole names, last parts of names, patterns.

A whole name, or the absolute path of one, comes first. Another word stands for the one name whose last part
it is. A word with `*`, `?` or `[` is a pattern: for whole names if it has a slash, else for last parts.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final

from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import quoted

_PATTERN: Final = re.compile(rb"[*?\[]")
_MOST_NAMED: Final = 3


@dataclass(slots=True)
class FoundNames:
    """What words stand for.

    Args:
        names: whole names, in the order of the words.
        patterns: the other words.
    """

    names: list[bytes] = field(default_factory=list)
    patterns: list[bytes] = field(default_factory=list)


def find_names(
    words: Sequence[bytes],
    known: Callable[[Sequence[bytes]], Iterable[bytes]],
    pages: Callable[[], Iterable[Sequence[bytes]]],
    where: str,
    *,
    has_patterns: bool = False,
) -> FoundNames:
    """Return the names that words stand for.

    Args:
        words: as they were typed.
        known: returns those of some names that are there.
        pages: yields all names that are there; only called where a word is no whole name.
        where: as "in the queue", for messages.
        has_patterns: patterns are allowed; they are not looked for.

    Raises:
        PcapdjError: a word stands for no name, or for several.
    """
    paths = {word: [word, os.path.abspath(word)] for word in words}  # noqa: PTH100 - of bytes
    there = set(known(list(dict.fromkeys(path for both in paths.values() for path in both))))
    whole = {word: next((path for path in both if path in there), None) for word, both in paths.items()}
    others = [word for word in whole if whole[word] is None]
    patterns = [word for word in others if has_patterns and _PATTERN.search(word)]
    endings = {word: list[bytes]() for word in others if word not in patterns and b"/" not in word}
    if endings:
        _find_endings(endings, pages())
    for word, names in endings.items():
        if len(names) > 1:
            shown = ", ".join(map(quoted, names[:_MOST_NAMED]))
            raise PcapdjError(f"{quoted(word)} is not unique {where}.", hint=f"Name one of {shown}.")
        whole[word] = names[0] if names else None
    missing = [quoted(word) for word in others if whole[word] is None and word not in patterns]
    if missing:
        raise PcapdjError(f"Not {where}: {', '.join(missing)}.")
    return FoundNames([name for name in whole.values() if name is not None], patterns)


def matcher(patterns: Sequence[bytes]) -> Callable[[bytes], bool]:
    """Return whether a name fits one of the patterns."""
    whole = [_compiled(each) for each in patterns if b"/" in each]
    last = [_compiled(each) for each in patterns if b"/" not in each]

    def fits(name: bytes) -> bool:
        text = name.decode("latin-1")
        return any(each(text) for each in whole) or any(each(text.rpartition("/")[2]) for each in last)

    return fits


def _find_endings(endings: dict[bytes, list[bytes]], pages: Iterable[Sequence[bytes]]) -> None:
    for names in pages:
        for name in names:
            found = endings.get(name.rpartition(b"/")[2])
            if found is not None and len(found) <= _MOST_NAMED and name not in found:
                found.append(name)


def _compiled(pattern: bytes) -> Callable[[str], object]:
    return re.compile(translate(pattern.decode("latin-1"))).match
