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
        answer = self.queues[each].take()
        assert self.queues[each].take() == answer
        if isinstance(answer, QueueEntry):
            assert each not in self.known or self.known[each].token == answer.token
            self.known[each] = answer
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
        """The operator feeds a file again."""
        requeue(self.store, name)

    @rule()
    def retry_failures(self) -> None:
        """The operator feeds all failed files again."""
        for failure in all_failures(self.store):
            assert requeue_failures(self.store, [failure])
            assert not requeue_failures(self.store, [failure])

    @rule(each=IDS, request=st.sampled_from(["now", "empty"]))
    def end_stream(self, each: str, request: str) -> None:
        """The operator wants the stream ended; that takes no file."""
        self.store.redis.set(self.store.keys.finish, request)
        if each in self.known:
            return
        answer = self.queues[each].take()
        if isinstance(answer, EndStream):
            answer = self.queues[each].take(answer.request)
        if isinstance(answer, QueueEntry):
            self.known[each] = answer
        else:
            assert answer is None
        self.store.redis.delete(self.store.keys.finish)

    @invariant()
    def each_name_is_in_exactly_one_place(self) -> None:
        """Promise G3, counted: a name queued twice is in two places, or twice in one."""
        if hasattr(self, "accepted"):
            assert Counter(self._names()) == +self.accepted

    def _names(self) -> Iterator[bytes]:
        keys = self.store.keys
        for key in (keys.in_queue, keys.processed):
            yield from self.store.redis.lrange(key, 0, -1)  # type: ignore[misc]  # sync
        yield from (failure.name or b"" for failure in all_failures(self.store))
        currents = (self.store.redis.hget(keys.current(each), "name") for each in "ab")
        yield from (name for name in currents if name)  # type: ignore[misc]  # sync


def test_every_name_is_in_exactly_one_place(store: Store) -> None:
    """Through takes, grants, ends, crashes, repetitions and requeueing in any order."""
    steps = settings(stateful_step_count=40)
    run_state_machine_as_test(type("LaneInRedis", (Lane,), {"store": store}), settings=steps)
