"""When the next analyzer may start."""

from pcapdj.analyzer.restarts import RestartPolicy


def test_the_first_start_is_not_delayed() -> None:
    """Nothing has gone wrong yet."""
    assert RestartPolicy().wait_s(now_s=5.0) == 0


def test_pauses_double_up_to_a_minute() -> None:
    """An analyzer that dies at once is not restarted in a busy loop."""
    policy = RestartPolicy()

    pauses = [policy.record_failure("It died.", now_s=0.0, reading_s=0.0) for _ in range(8)]

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert policy.restarts == 8


def test_the_pause_is_over_when_its_time_is_up() -> None:
    """The wait counts from the failure."""
    policy = RestartPolicy()
    policy.record_failure("It died.", now_s=100.0, reading_s=0.0)

    assert policy.wait_s(now_s=100.25) == 0.75
    assert policy.wait_s(now_s=101.0) == 0


def test_a_long_read_starts_the_count_again() -> None:
    """An analyzer that read for a minute did not die of its start."""
    policy = RestartPolicy()
    for _ in range(5):
        policy.record_failure("It died.", now_s=0.0, reading_s=0.0)

    assert policy.record_failure("It died.", now_s=0.0, reading_s=60.0) == 1


def test_a_stream_that_ended_in_order_starts_the_count_again() -> None:
    """Earlier crashes do not delay later restarts."""
    policy = RestartPolicy()
    policy.record_failure("It died.", now_s=0.0, reading_s=0.0)
    policy.record_end()

    assert policy.reason == ""
    assert policy.record_failure("It died.", now_s=0.0, reading_s=0.0) == 1


def test_opening_the_pipe_clears_the_reason_but_not_the_count() -> None:
    """An analyzer that opens the pipe and dies again and again is still in a loop."""
    policy = RestartPolicy()
    policy.record_failure("It died.", now_s=0.0, reading_s=0.0)
    policy.record_opened()

    assert policy.reason == ""
    assert policy.record_failure("It died.", now_s=0.0, reading_s=0.1) == 2


def test_an_analyzer_that_is_not_installed_is_checked_every_minute() -> None:
    """The launcher need not be restarted after its installation."""
    policy = RestartPolicy()

    policy.record_unavailable("It is missing.", now_s=0.0, is_wanted=False)

    assert not policy.is_check_due(now_s=59.0)
    assert policy.is_check_due(now_s=60.0)
    policy.record_available()
    assert policy.reason == ""
    assert not policy.is_check_due(now_s=120.0)


def test_a_check_without_a_waiting_dispatcher_does_not_delay_the_next_stream() -> None:
    """The first OPEN is tried at once."""
    policy = RestartPolicy()

    policy.record_unavailable("It is missing.", now_s=0.0, is_wanted=False)

    assert policy.wait_s(now_s=0.0) == 0


def test_storage_that_may_be_back_at_any_moment_is_tried_again_soon() -> None:
    """However often it was tried: with room for its log folder the analyzer starts soon."""
    policy = RestartPolicy()
    for now_s in range(10):
        policy.record_unavailable("No room.", now_s=now_s, is_wanted=True, passes_by_itself=True)

    assert policy.wait_s(now_s=9.0) == 0.25
    assert policy.record_failure("It died.", now_s=9.0, reading_s=0.0) == 1
