"""What a comparison of queue and lines decides, however the queue moves while it is walked."""

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.store import queue_comparison
from pcapdj.store.queue_comparison import NameFilter, QueueWalk, vanished

MOVES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)))


def part_of(queue: list[bytes], walk: QueueWalk) -> list[bytes]:
    """Return what Redis returns for the part of the walk, from its end on."""
    start, stop = walk.part
    stop = len(queue) + stop
    return queue[max(0, len(queue) + start) : stop + 1][::-1] if stop >= 0 else []


@given(st.integers(0, 4000), MOVES)
def test_no_name_that_stays_in_the_queue_is_missed(
    length: int, moves: list[tuple[int, int, int, int]]
) -> None:
    """While names are pushed at both ends, and removed at both ends, between the parts."""
    queue = [b"/in/%d" % number for number in range(length)]
    stay, walk, pushed = set(queue), QueueWalk(len(queue)), 0
    for at_head, at_tail, taken, removed in [*moves, *([(0, 0, 0, 0)] * 40)]:
        if walk.is_over:
            break
        walk.add(part_of(queue, walk), len(queue))
        new = [b"/new/%d" % number for number in range(pushed, pushed + at_head + at_tail)]
        pushed += len(new)
        stay -= {*queue[:taken], *queue[len(queue) - removed :]}
        queue = [*new[:at_head], *queue[taken : len(queue) - removed], *new[at_head:]]

    assert walk.is_over
    assert walk.is_complete
    assert vanished(walk, [(name, 1) for name in stay], begin_seq=1) == []


def test_a_walk_whose_place_is_lost_again_and_again_ends_without_a_result() -> None:
    """The queue was removed and filled with other names each time."""
    walk = QueueWalk(5000)
    for number in range(20):
        if walk.is_over:
            break
        walk.add([b"/%d/%d" % (number, each) for each in range(queue_comparison.PART_NAMES)], 5000)

    assert (walk.is_over, walk.is_complete) == (True, False)


def test_a_name_is_gone_if_it_is_not_in_the_queue_and_had_its_line_before() -> None:
    """A later line may have come behind the walk."""
    walk = QueueWalk(1)
    walk.add([b"/in/1"], 1)

    lines = [(b"/in/1", 3), (b"/gone", 3), (b"/new", 4)]
    assert vanished(walk, lines, begin_seq=3) == [(b"/gone", 3)]


@given(st.lists(st.binary(max_size=20), max_size=50))
def test_each_added_name_is_in_the_filter(names: list[bytes]) -> None:
    """Else a queued name would lose its lines."""
    seen = NameFilter(len(names))
    seen.add(names)

    assert all(name in seen for name in names)


def test_few_other_names_are_in_the_filter() -> None:
    """So that most names that have vanished are found by the first comparison."""
    seen = NameFilter(100_000)
    seen.add(b"/in/%d" % number for number in range(100_000))

    assert sum(b"/other/%d" % number in seen for number in range(10_000)) < 400
