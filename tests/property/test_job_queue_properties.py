"""Every accepted name is in exactly one place, whatever happens in which order, on a real Redis."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pcapdj.runtime.errors import CaptureError
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new
from pcapdj.store.failures import all_failures, requeue_failures
from pcapdj.store.grants import Granted, Grants
from pcapdj.store.job_queue import (
    Answer,
    EndStream,
    JobQueue,
    QueueEntry,
    Result,
    failure_entry,
)
from pcapdj.store.operate import requeue

NAMES = st.sampled_from([b"/in/1.pcap", b"/in/2.pcap", b"/in/\xff\n'"])
IDS = st.sampled_from(["a", "b"])


class Version:
    """A file's version."""

    size_bytes = mtime_ns = 1


class Lane(RuleBasedStateMachine):
    """Two dispatchers, a controller, an operator; every call may be repeated, every process may die."""

    store: Store

    @initialize(form=st.sampled_from(["string", "set"]), end=st.sampled_from(["head", "tail"]))
    def begin(self, form: Any, end: Any) -> None:
        """Start with an empty lane."""
        for key in self.store.redis.scan_iter(match=f"{self.store.keys.prefix}*"):
            self.store.redis.delete(key)
        self.end = end
        self.queues = {each: JobQueue(self.store, each, end) for each in "ab"}
        self.known: dict[str, QueueEntry] = {}  # what a living dispatcher remembers of its file
        self.past: list[tuple[str, QueueEntry, Result]] = []
        self.grants = Grants(self.store, form)
        self.accepted: Counter[bytes] = Counter()
        self.authorized: Counter[str] = Counter()
        self.failed: set[bytes] = set()  # each with one entry
        for queue in self.queues.values():
            queue.register()

    @rule(name=NAMES)
    def queue(self, name: bytes) -> None:
        """Anyone may queue a name, also one that is somewhere already."""
        self.store.redis.rpush(self.store.keys.in_queue, name)
        self.accepted[name] += 1

    @rule(each=IDS)
    def take(self, each: str) -> None:
        """A dispatcher looks for work; the reply may get lost and the call be repeated."""
        had_one = self._current(each) is not None
        answer = self.queues[each].take()
        assert self.queues[each].take() == answer
        if isinstance(answer, QueueEntry):
            assert each not in self.known or self.known[each].token == answer.token
            self.known[each] = answer
            if not had_one:  # another of the same name may have failed since it was taken
                self.failed.discard(answer.name)
        else:
            assert each not in self.known

    @rule(each=IDS)
    def announce(self, each: str) -> None:
        """Of a file that was taken."""
        if taken := self.known.get(each):
            self.queues[each].announce(taken)
            assert not self.queues[each].announce(taken)

    @rule(name=NAMES)
    def grant(self, name: bytes) -> None:
        """The controller grants what is asked for, and nothing else."""
        asked = name in self.store.redis.lrange(self.store.keys.next, 0, -1)
        assert (self.grants.grant(name) is Granted.NOT_REQUESTED) != asked

    @rule(name=NAMES, in_a_set=st.booleans())
    def grant_by_hand(self, name: bytes, *, in_a_set: bool) -> None:
        """Anybody's script writes an authorization, in either form."""
        key = self.store.keys.auth
        form = self.store.redis.type(key)
        if in_a_set and form in {b"none", b"set"}:
            self.store.redis.sadd(key, name)
        else:
            self.store.redis.set(key, name)

    @rule(each=IDS)
    def authorize(self, each: str) -> None:
        """The dispatcher looks whether it may; once granted it stays so."""
        if taken := self.known.get(each):
            answer, _ = self.queues[each].authorize(taken)
            assert answer is not Answer.NOT_OURS
            if answer is Answer.GRANTED:
                self.authorized[taken.token] = 1
                assert self.queues[each].authorize(taken)[0] is Answer.GRANTED

    @rule(each=IDS, is_whole=st.booleans())
    def finish(self, each: str, *, is_whole: bool) -> None:
        """One that was authorized is fed; any may fail."""
        taken = self.known.get(each)
        if taken is None or (is_whole and not self.authorized[taken.token]):
            return
        entry = failure_entry(taken.name, CaptureError("is cut off"), 1, taken.attempt)
        result = Result(taken.name, "processed") if is_whole else Result(entry, "failed")
        assert self.queues[each].finish(taken, result)
        self.failed.discard(taken.name)
        if not is_whole:
            self.failed.add(taken.name)
            self.accepted[taken.name] -= 1
        del self.known[each]
        self.past.append((each, taken, result))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def finish_late(self, data: st.DataObject) -> None:
        """A repetition of any earlier FINISH changes nothing."""
        each, taken, result = data.draw(st.sampled_from(self.past))
        assert not self.queues[each].finish(taken, result)
        assert not self.queues[each].announce(taken)
        assert self.queues[each].authorize(taken)[0] is Answer.NOT_OURS

    @rule(each=IDS)
    def crash(self, each: str) -> None:
        """A dispatcher dies; its successor has only what Redis has."""
        self.queues[each] = JobQueue(self.store, each, self.end)
        self.known.pop(each, None)

    @rule(name=NAMES)
    def requeue(self, name: bytes) -> None:
        """The operator feeds a file again: the one that failed, else the one that was processed."""
        was_moved = requeue(self.store, name)
        if name in self.failed:
            assert was_moved
            self.failed.discard(name)
            self.accepted[name] += 1

    @rule(name=NAMES)
    def import_file(self, name: bytes) -> None:
        """The importer queues a file, unless it is queued or current; a repeated call adds nothing."""
        places = Counter(self._names())
        outcomes = [enqueue_new(self.store, {name: Version()}, again=True)[name] for _ in range(2)]
        assert outcomes[1] is not Outcome.NEW
        if outcomes[0] is Outcome.NEW:
            self.accepted[name] += 1
            self.failed.discard(name)
            assert Counter(self._names())[name] == places[name] + 1

    @rule()
    def retry_failures(self) -> None:
        """The operator feeds all failed files again."""
        for failure in list(all_failures(self.store)):
            assert requeue_failures(self.store, [failure])
            assert not requeue_failures(self.store, [failure])
            self.accepted[failure.name or b""] += 1
        self.failed.clear()

    @rule(each=IDS, request=st.sampled_from(["now", "empty"]))
    def end_stream(self, each: str, request: str) -> None:
        """The operator wants the stream ended; that takes no file."""
        self.store.redis.set(self.store.keys.finish, request)
        if each in self.known:
            return
        had_one = self._current(each) is not None
        answer = self.queues[each].take()
        if isinstance(answer, EndStream):
            answer = self.queues[each].take(answer.request)
        if isinstance(answer, QueueEntry):
            self.known[each] = answer
            if not had_one:
                self.failed.discard(answer.name)
        else:
            assert answer is None
        self.store.redis.delete(self.store.keys.finish)

    @invariant()
    def each_name_is_in_exactly_one_place(self) -> None:
        """Promise G3, counted: a name queued twice is in two places, or twice in one.

        FAILED has one entry of a name, which leaves it when the name is queued, taken or fed again.
        """
        if hasattr(self, "accepted"):
            assert Counter(self._names()) == +self.accepted
            assert sorted(each.name or b"" for each in all_failures(self.store)) == sorted(self.failed)
            noted = set(self.store.redis.hkeys(self.store.keys.failed_names))
            assert noted == self.failed

    @invariant()
    def no_name_has_more_lines_than_places_in_the_queue(self) -> None:
        """Foreign names have none until they are compared; the counts are right at any time."""
        if hasattr(self, "accepted"):
            keys = self.store.keys
            lines: Any = self.store.redis.hgetall(keys.queued)
            counts = lines.pop(b"", b"0 0 0")
            queued = Counter(self.store.redis.lrange(keys.in_queue, 0, -1))
            found = Counter({name: len(value.split(b"\n")) for name, value in lines.items()})
            assert found <= queued
            assert found.total() == int(counts.split()[0])

    def _names(self) -> Iterator[bytes]:
        keys = self.store.keys
        for key in (keys.in_queue, keys.processed):
            yield from self.store.redis.lrange(key, 0, -1)  # type: ignore[misc]  # sync
        yield from (name for name in map(self._current, "ab") if name)

    def _current(self, each: str) -> bytes | None:
        """Return the name that a dispatcher has taken, also one that died since."""
        return self.store.redis.hget(self.store.keys.current(each), "name")  # type: ignore[return-value]  # sync


def test_every_name_is_in_exactly_one_place(store: Store) -> None:
    """Through takes, grants, ends, crashes, repetitions and requeueing in any order."""
    steps = settings(stateful_step_count=40)
    run_state_machine_as_test(type("LaneInRedis", (Lane,), {"store": store}), settings=steps)
