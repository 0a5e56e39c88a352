"""What the importer prints and logs: rules with numbers and times that the test sets."""

import os
import time
from collections import Counter
from pathlib import Path

import pytest
from support.logs import logged

from pcapdj.inbox.problem_log import ProblemLog
from pcapdj.inbox.queueing import summary
from pcapdj.inbox.watcher import Inbox
from pcapdj.store.enqueue import Outcome


def test_a_file_that_was_fed_while_it_was_looked_at_counts_as_fed() -> None:
    """The sentence is the same as for files that were fed long ago."""
    outcomes = Counter(
        {
            Outcome.NEW: 5,
            Outcome.QUEUED: 10,
            Outcome.CURRENT: 20,
            Outcome.FED_MEANWHILE: 40,
            Outcome.FED: 80,
        }
    )

    assert summary(outcomes, 7) == (
        "5 queued, 150 already queued or fed (120 fed before: --again feeds them again), 7 not imported."
    )
    assert summary(Counter({Outcome.NEW: 1}), 0) == "1 queued, 0 already queued or fed, 0 not imported."


def test_a_look_that_lasts_is_logged_after_ten_seconds_and_each_minute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its end is logged, too; an ordinary look is not."""
    log = ProblemLog(Inbox(os.fsencode(tmp_path), recursive=False))
    begun_s = time.monotonic()
    log.log_slow_look(begun_s + 100)
    with log.look():
        for after_s in (9.5, 10.5, 70, 71):
            log.log_slow_look(begun_s + after_s)
    log.log_slow_look(begun_s + 200)
    for _ in range(2):
        log.update(begun_s + 72)

    lines = logged(capsys, "inbox_watched").splitlines()
    assert [line.partition("importer ")[2] for line in lines] == [
        *(
            f"inbox_problem: A look into the inbox '{tmp_path}' has lasted {lasted_s} s: its file system is"
            " slow, or does not answer. What arrives there is queued afterwards."
            for lasted_s in (10, 71)
        ),
        f"inbox_watched folder={tmp_path}",
    ]
