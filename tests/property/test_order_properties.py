"""Natural order for any names."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.inbox.order import natural_key

NAMES = st.binary(max_size=12) | st.lists(st.sampled_from([b"a", b"/", b".", b"0", b"1", b"9", b".gz"])).map(
    b"".join
)
TEXTS = st.text("abcXYZ_-", max_size=5).map(str.encode)


@given(NAMES, NAMES)
def test_the_order_is_total(first: bytes, second: bytes) -> None:
    """Of two different names exactly one comes first; equal keys mean equal names."""
    one, other = natural_key(first), natural_key(second)

    assert (one < other) + (other < one) == (first != second)


SMALL = st.lists(
    st.sampled_from([b"\0", b"\1", b"\2", b"\3", b"a", b".", b"/", b"00", b"1", b"9" * 300])
).map(b"".join)


def in_chunks(text: bytes) -> list[bytes | tuple[int, bytes]]:
    """Return text and numbers in turn, text first."""
    pieces = enumerate(re.split(rb"([0-9]+)", text))
    return [(len(each.lstrip(b"0")), each.lstrip(b"0")) if place % 2 else each for place, each in pieces]


def rule(name: bytes) -> list[tuple[object, ...]]:
    """Return what decides the order of a name, as the rules have it."""
    key: list[tuple[object, ...]] = []
    for part in name.split(b"/"):
        stem, dot, extension = re.sub(rb"\.(gz|bz2|xz|zst)\Z", b"", part).rpartition(b".")
        stem, extension = (stem, extension) if dot else (extension, b"")
        key.append((in_chunks(stem), in_chunks(extension), part))
    return key


@given(NAMES | SMALL, NAMES | SMALL)
def test_the_key_has_the_order_of_the_rules(first: bytes, second: bytes) -> None:
    """Folders, then what is before the extension, then that, then the bytes; numbers by their value."""
    assert (natural_key(first) < natural_key(second)) == (rule(first) < rule(second))


@given(st.lists(NAMES, max_size=8), st.randoms(use_true_random=False))
def test_the_given_order_does_not_matter(names: list[bytes], random: object) -> None:
    """Sorting any shuffle of the names gives the same list."""
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's random.Random

    assert sorted(shuffled, key=natural_key) == sorted(names, key=natural_key)


@given(TEXTS, TEXTS, st.integers(min_value=0), st.integers(min_value=0))
def test_numbers_between_the_same_texts_decide(before: bytes, after: bytes, one: int, other: int) -> None:
    """Names that differ in one number sort as that number does."""
    names = [b"%s%d%s" % (before, number, after) for number in (one, other)]

    assert (natural_key(names[0]) < natural_key(names[1])) == (one < other)
