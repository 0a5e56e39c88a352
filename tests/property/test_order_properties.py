"""Natural order for any names."""

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
