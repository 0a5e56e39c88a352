"""The rule by which a part of the journal is skipped: only if no entry of it can fit."""

from support.rows import each_row

from pcapdj.store.journal_index import IndexedPart

SECOND = 10**9
PART = IndexedPart(
    after=(1, 0),
    last=(9, 0),
    entries=400,
    streams=frozenset({"a", "b"}),
    verdicts=frozenset({"processed"}),
    earliest_ns=100 * SECOND,
    latest_ns=200 * SECOND,
)
ANYTHING = IndexedPart((1, 0), (9, 0), 400, None, None, None, None, has_times=False)
NO_PACKETS = IndexedPart((1, 0), (9, 0), 400, frozenset(), frozenset({"failed"}), None, None)


@each_row(
    ("part", "stream", "verdict", "since_s", "until_s", "may"),
    [
        (PART, "", "", None, None, True),
        (PART, "a", "processed", 150, 160, True),
        (PART, "c", "", None, None, False),
        (PART, "", "failed", None, None, False),
        (PART, "", "", 200, None, True),
        (PART, "", "", 201, None, False),
        (PART, "", "", None, 100, True),
        (PART, "", "", None, 99, False),
        (PART, "a", "", 201, None, False),
        (ANYTHING, "c", "failed", 201, 99, True),
        (NO_PACKETS, "", "failed", None, None, True),
        (NO_PACKETS, "", "", 0, None, False),
        (NO_PACKETS, "a", "", None, None, False),
    ],
)
def test_a_part_is_read_if_an_entry_of_it_may_fit_every_condition(
    part: IndexedPart, stream: str, verdict: str, since_s: int | None, until_s: int | None, *, may: bool
) -> None:
    """Times at its border count as inside."""
    since_ns, until_ns = (None if each is None else each * SECOND for each in (since_s, until_s))

    assert part.may_have(stream, verdict, since_ns, until_ns) is may


def test_times_that_redis_has_rounded_count_as_inside() -> None:
    """Its scripts have 53 bits for a number: some hundred nanoseconds of today's times are lost."""
    assert PART.may_have(since_ns=200 * SECOND + 1000)
    assert PART.may_have(until_ns=100 * SECOND - 1000)
