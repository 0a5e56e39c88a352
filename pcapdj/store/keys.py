"""The names of all keys; `docs/redis-keys.md` explains each, and a test compares the two.

The first five are the original pcapdj's and keep their meaning. A lane is a prefix: several sensors share one
Redis without seeing each other's files.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pcapdj.runtime.errors import ConfigError

IN_QUEUE = "PCAPDJ_IN_QUEUE"
SIGUSR1_MEMBER = "usr1:"  # of PCAPDJ_SUSPEND, before the id of the dispatcher that got the signal
AGAIN = '{"again":true}'  # in `queued`: the file is fed whole, whatever is known of it


class _Key:
    """A key of a lane: its name behind the lane's prefix."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, keys: "Keys", owner: object = None) -> str:
        return keys.prefix + self._name


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
    def queued(self) -> str:
        """Hash: name to a line for each of its occurrences in the queue; each queue has its own."""
        of_queue = "" if self.in_queue_name == IN_QUEUE else f":{self.in_queue_name}"
        return f"{self.prefix}PCAPDJ_QUEUED{of_queue}"

    next = _Key("PCAPDJ_NEXT")  # list: the files that dispatchers request authorizations for
    auth = _Key("PCAPDJ_AUTH")  # string or set: the authorized file
    processed = _Key("PCAPDJ_PROCESSED")  # list: files fed whole and drained from the pipe
    state = _Key("PCAPDJ_STATE")  # string: DONE when a drained queue ended a dispatcher's work
    current_prefix = _Key("PCAPDJ_CURRENT:")  # the name of a CURRENT hash without the dispatcher's id
    failed = _Key("PCAPDJ_FAILED")  # list of JSON: files that could not be fed whole, and why
    failed_names = _Key("PCAPDJ_FAILED_NAMES")  # hash: name to its entry in `failed`
    fed = _Key("PCAPDJ_FED")  # hash: path to JSON about the file that was fed under it
    captures = _Key("PCAPDJ_CAPTURES")  # hash: digest to the fed captures that begin so
    journal = _Key("PCAPDJ_JOURNAL")  # stream: one entry per finished file
    journal_index = _Key("PCAPDJ_JOURNAL_INDEX")  # stream: what each part of the journal has in common
    counts = _Key("PCAPDJ_COUNTS")  # hash: sums over all finished files of the lane
    output = _Key("PCAPDJ_OUTPUT")  # hash: input and output of the last files that were fed whole
    samples = _Key("PCAPDJ_SAMPLES")  # stream: how much of each watched disk was free, for a day
    events = _Key("PCAPDJ_EVENTS")  # stream: what happened in the lane, by all roles
    dispatchers = _Key("PCAPDJ_DISPATCHERS")  # set: the ids of the dispatchers
    suspend = _Key("PCAPDJ_SUSPEND")  # set: who suspends feeding
    finish = _Key("PCAPDJ_FINISH")  # string: `now` or `empty`, when the operator wants the streams to end
    finished = _Key("PCAPDJ_FINISHED")  # set: the dispatchers that have ended theirs for that request
    gate = _Key("PCAPDJ_GATE")  # hash: the gate's decision and the numbers behind it
    control = _Key("PCAPDJ_CONTROL")  # hash: live limits and the gate's manual override
    consumer = _Key("PCAPDJ_CONSUMER")  # hash: the launcher's analyzer and its stream
    suspect = _Key("PCAPDJ_SUSPECT")  # hash: stream that may have lost output to why, in a sentence
    skip = _Key("PCAPDJ_SKIP")  # hash: dispatcher's id to the token of the entry that it is to give up
    importer = _Key("PCAPDJ_IMPORTER")  # hash: what the watching importer does and has left
    reclaiming = _Key("PCAPDJ_RECLAIMING")  # hash: name to the removal of its file that has begun
    reclaimed = _Key("PCAPDJ_RECLAIMED")  # hash: name to what became of its file after it was fed
    channel = _Key("PCAPDJ_BELL")  # a message for each change that others wait for; a lost one costs latency

    def current(self, dispatcher_id: str) -> str:
        """Hash: the file that this dispatcher has taken."""
        return self.current_prefix + dispatcher_id

    def stats(self, dispatcher_id: str) -> str:
        """Hash: counters, state and heartbeat of this dispatcher."""
        return self.prefix + "PCAPDJ_STATS:" + dispatcher_id

    def samples_of(self, dispatcher_id: str) -> str:
        """Stream: how much this dispatcher had read, for a day."""
        return f"{self.samples}:{dispatcher_id}"

    def types(self, dispatcher_ids: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
        """Return the Redis types that each key may have, of the lane and of these dispatchers."""
        lists = (self.in_queue, self.next, self.processed, self.failed)
        files = (self.queued, self.failed_names, self.fed, self.captures, self.counts, self.output)
        removals = (self.reclaiming, self.reclaimed)
        states = (self.gate, self.control, self.consumer, self.suspect, self.skip, self.importer)
        theirs = (name for each in dispatcher_ids for name in (self.current(each), self.stats(each)))
        return {
            **dict.fromkeys(lists, ("list",)),
            **dict.fromkeys((*files, *removals, *states, *theirs), ("hash",)),
            **dict.fromkeys((self.dispatchers, self.suspend, self.finished), ("set",)),
            **dict.fromkeys((self.state, self.finish), ("string",)),
            self.auth: ("string", "set"),
            **dict.fromkeys((self.journal, self.journal_index, self.events, self.samples), ("stream",)),
        }
