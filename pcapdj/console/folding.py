"""Where a long line is broken on a terminal: at blanks, never in a quoted name or an offered command.

A name or command that is copied from the screen shall be one line: a shell takes what follows a line end for
another command. So what cannot be broken is longer than the terminal, which wraps it without a line end.
Rules only.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pcapdj.runtime.safe_text import begins_command

_INDENT: Final = 4  # of what follows a broken line
_LEAST_COLUMNS: Final = 40  # on a narrower terminal there is no room to indent
# blanks and a word; a part in quotes, as `name='a b'`, belongs to its word
_WORD: Final = re.compile(r"\s*(?:[^\s']*'(?:[^'\\]|\\.)*'\S*|\S+)")


def folded(line: str, columns: int) -> Iterator[str]:
    """Yield the parts of a line; those behind the first one are indented.

    A terminal breaks a line anywhere, also inside a number.

    Args:
        line: without a line end.
        columns: that a part may have; what is not broken has more, and a narrow terminal changes nothing.
    """
    if columns < _LEAST_COLUMNS:
        yield line
        return
    indent = " " * (len(line) - len(line.lstrip()) + _INDENT)
    yield from broken(line, columns, indent)


def broken(line: str, columns: int, indent: str = "") -> Iterator[str]:
    """Yield the parts of a line.

    Args:
        line: without a line end.
        columns: that a part may have; what is not broken has more.
        indent: before each part but the first.
    """
    if len(line) <= columns:
        yield line
        return
    part = ""
    for word in _units_of(line):
        if part.strip() and len(part) + len(word) > columns:
            yield part
            part = indent + word.lstrip()
        else:
            part += word
    yield part


def _units_of(line: str) -> Sequence[str]:
    """Return what is not broken: words, and at the end all from where a command begins."""
    units: list[str] = _WORD.findall(line)
    following = (
        number for number in range(len(units)) if begins_command("".join(units[number : number + 2]).lstrip())
    )
    command = next(following, len(units))
    return [*units[:command], *(["".join(units[command:])] if units[command:] else [])]
