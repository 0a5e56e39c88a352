"""Numbers as text: those that another program may have written, and those that people read. Pure.

Others write them into Redis, into files, and into an analyzer's output. pcapdj writes short numbers in ASCII
digits. Python's own conversions accept other texts, too: blanks, underscores, digits of other scripts, NaN.
They raise errors for texts that look like numbers: thousands of digits, superscripts. And some results raise
an error later: infinity as an integer, NaN in JSON.
"""

import math
from typing import Final

_MOST_DIGITS: Final = 20  # of 64 bits
_LIMIT: Final = 1 << 64  # an inode may have a number just below
_SIGNED_LIMIT: Final = 1 << 63
_MOST_CHARS: Final = 40  # of a number with a fraction


def whole_number(text: str | bytes) -> int | None:
    """Return a number that is written in digits alone, and has at most 64 bits; None: it is not one."""
    number = int(text) if len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit() else None
    return None if number is None or number >= _LIMIT else number


def signed_number(text: str) -> int | None:
    """Return a whole number that may have a minus sign, and has 64 bits with it; None as above."""
    number = whole_number(text.removeprefix("-"))
    if number is None or number >= _SIGNED_LIMIT:
        return None
    return -number if text.startswith("-") else number


def finite_number(text: str) -> float | None:
    """Return a number that may have a fraction; None: it is none, or has no finite value."""
    try:
        number = float(text) if len(text) <= _MOST_CHARS and text.isascii() else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun: `1 packet`, `1,200 packets`.

    Args:
        number: how many there are.
        noun: for one of them, also with a verb: `packet is`.
        nouns: for any other number; empty: the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"
