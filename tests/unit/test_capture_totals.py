"""Totals of records add up."""

from pcapdj.capture.totals import Tally, Totals


def test_totals_of_pieces_add_up_in_order() -> None:
    """Counts are summed, the first timestamp is the first one's, the last the last one's."""
    first = Totals(1, 60, 100, first_ts_ns=9, last_ts_ns=10)
    second = Totals(2, 120, 120, first_ts_ns=5, last_ts_ns=7)

    assert first + second == Totals(3, 180, 220, first_ts_ns=9, last_ts_ns=7)


def test_nothing_added_changes_nothing() -> None:
    """Totals without records are neutral on both sides."""
    some = Totals(1, 60, 100, first_ts_ns=0, last_ts_ns=0)

    assert some + Totals() == Totals() + some == some


def test_a_tally_counts_what_adding_one_by_one_gives() -> None:
    """Only faster; of nothing, it is nothing."""
    tally, added = Tally(), Totals()
    assert tally.totals == added
    for captured, length, ts_ns in ((60, 100, 9), (0, 7, 5), (60, 60, 0)):
        tally.add(captured, length, ts_ns)
        added += Totals(1, captured, length, ts_ns, ts_ns)

    assert tally.totals == added
