"""The names of all keys; `docs/redis-keys.md` explains each, and a test compares the two.

The first five are the original pcapdj's and keep their meaning. A lane is a prefix: several sensors share one
Redis without seeing each other's files.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pcapdj.runtime.errors import ConfigError

IN_QUEUE = "PCAPDJ_IN_QUEUE"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one lane.

    Args:
        lane: empty for the default lane, whose keys have no prefix.
        in_queue_name: the queue's key where `-q` renames it; it gets the lane's prefix too.
    """

    lane: str = ""
    in_queue_name: str = IN_QUEUE

    def __post_init__(self) -> None:
        if not self.lane.isprintable() or set(self.lane) & set("{} "):
            raise ConfigError(f"The lane {self.lane!r} has braces, blanks or control characters.")

    @property
    def prefix(self) -> str:
        """The prefix of every key of the lane."""
        return f"{{{self.lane}}}:" if self.lane else ""

    @property
    def in_queue(self) -> str:
        """List: files to feed, taken from the head."""
        return self.prefix + self.in_queue_name

    @property
    def next(self) -> str:
        """List: the files that dispatchers request authorizations for."""
        return self.prefix + "PCAPDJ_NEXT"

    @property
    def auth(self) -> str:
        """String or set: the authorized file."""
        return self.prefix + "PCAPDJ_AUTH"

    @property
    def processed(self) -> str:
        """List: files fed whole and drained from the pipe."""
        return self.prefix + "PCAPDJ_PROCESSED"

    @property
    def state(self) -> str:
        """String: DONE when a drained queue ended a dispatcher's work."""
        return self.prefix + "PCAPDJ_STATE"

    @property
    def current_prefix(self) -> str:
        """The name of a CURRENT hash without the dispatcher's id."""
        return self.prefix + "PCAPDJ_CURRENT:"

    def current(self, dispatcher_id: str) -> str:
        """Hash: the file that this dispatcher has taken."""
        return self.current_prefix + dispatcher_id

    @property
    def failed(self) -> str:
        """List of JSON: files that could not be fed whole, and why."""
        return self.prefix + "PCAPDJ_FAILED"

    @property
    def fed(self) -> str:
        """Hash: path to JSON about the file that was fed under it."""
        return self.prefix + "PCAPDJ_FED"

    @property
    def journal(self) -> str:
        """Stream: one entry per finished file."""
        return self.prefix + "PCAPDJ_JOURNAL"

    @property
    def dispatchers(self) -> str:
        """Set: the ids of the dispatchers."""
        return self.prefix + "PCAPDJ_DISPATCHERS"

    def stats(self, dispatcher_id: str) -> str:
        """Hash: counters, state and heartbeat of this dispatcher."""
        return self.prefix + "PCAPDJ_STATS:" + dispatcher_id

    @property
    def suspend(self) -> str:
        """Set: who suspends the feeding."""
        return self.prefix + "PCAPDJ_SUSPEND"

    @property
    def finish(self) -> str:
        """String: `now` or `empty`, when the operator wants the stream to end."""
        return self.prefix + "PCAPDJ_FINISH"

    @property
    def gate(self) -> str:
        """Hash: the gate's decision and the numbers behind it."""
        return self.prefix + "PCAPDJ_GATE"

    @property
    def control(self) -> str:
        """Hash: live limits and the gate's manual override."""
        return self.prefix + "PCAPDJ_CONTROL"

    @property
    def consumer(self) -> str:
        """Hash: the launcher's analyzer and its stream."""
        return self.prefix + "PCAPDJ_CONSUMER"

    def types(self, dispatcher_ids: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
        """Return the Redis types that each key may have, of the lane and of these dispatchers."""
        lists = (self.in_queue, self.next, self.processed, self.failed)
        hashes = (self.fed, self.gate, self.control, self.consumer)
        theirs = (name for each in dispatcher_ids for name in (self.current(each), self.stats(each)))
        return {
            **dict.fromkeys(lists, ("list",)),
            **dict.fromkeys((*hashes, *theirs), ("hash",)),
            **dict.fromkeys((self.dispatchers, self.suspend), ("set",)),
            **dict.fromkeys((self.state, self.finish), ("string",)),
            self.auth: ("string", "set"),
            self.journal: ("stream",),
        }

    @property
    def channel(self) -> str:
        """Channel: a message for each change that another process waits for; a lost one costs latency."""
        return self.prefix + "PCAPDJ_BELL"
