"""How much work the HTTP of a stream may be: the fund of the stream and the budget of a connection."""

from pcapdj.summary.http_work import (
    ADVANCE_LIMIT_BYTES,
    BODY_BYTES,
    HEAD_BYTES,
    SEGMENT_BYTES,
    WorkBudget,
    WorkFund,
)


def test_usual_messages_are_paid_by_their_own_bytes() -> None:
    """The shortest request of a benchmark, and a short response, with nothing in the fund."""
    fund = WorkFund(left_bytes=0)
    budget = WorkBudget(fund)
    budget.earn(80)  # of the connection's first segment
    budget.earn(200)

    for _ in range(10_000):
        budget.earn(80)
        budget.earn(200)
        assert budget.spend(HEAD_BYTES)
        assert budget.spend(HEAD_BYTES + BODY_BYTES)

    assert fund.unread_connections == 0


def test_what_a_connection_cannot_pay_the_fund_pays_once() -> None:
    """It is one for all connections; the one that finds it empty is counted."""
    fund = WorkFund(left_bytes=SEGMENT_BYTES + 300)
    first, second = WorkBudget(fund), WorkBudget(fund)

    assert first.spend(300)  # and its first segment, which has not come yet
    assert fund.left_bytes == 0
    assert not second.spend(1)
    assert fund.unread_connections == 1


def test_a_payment_that_is_refused_takes_nothing() -> None:
    """Another connection may still spend it."""
    fund = WorkFund(left_bytes=10)
    first, second = WorkBudget(fund), WorkBudget(fund)
    for each in (first, second):
        each.earn(0)

    assert not first.spend(11)
    assert second.spend(10)
    assert (fund.left_bytes, fund.unread_connections) == (0, 1)


def test_a_connection_does_not_pay_for_hours_in_advance() -> None:
    """After a download of a gigabyte the many messages that were held after a gap are not free."""
    fund = WorkFund(left_bytes=0)
    budget = WorkBudget(fund)
    budget.earn(1 << 30)

    assert not budget.spend(ADVANCE_LIMIT_BYTES + 1)
    assert budget.spend(ADVANCE_LIMIT_BYTES)
