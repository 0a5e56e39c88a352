"""Log lines: one per event, and nothing that comes from outside can forge one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.runtime import log
from pcapdj.runtime.log import EventLog, Reminder, format_line
from pcapdj.runtime.safe_text import printable_sentence

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    dispatcher ")
HEAD = "INFO    dispatcher file_finished"
anything = st.one_of(st.binary(max_size=60), st.text(max_size=60))


def test_a_line_has_time_level_role_event_and_fields() -> None:
    """As the module promises; a field without a value is left out."""
    line = format_line(0, HEAD, "", {"name": b"/in/1.pcap", "packets": 7, "age_s": 0.25, "offset": None})

    assert (
        line == "1970-01-01T00:00:00Z INFO    dispatcher file_finished name=/in/1.pcap packets=7 age_s=0.25\n"
    )


def test_a_value_with_blanks_or_quotes_is_quoted() -> None:
    """So that fields can be taken apart again."""
    line = format_line(0, HEAD, "It's done.", {"name": b"/in/a b='x'", "reason": ""})

    assert line.endswith(" name='/in/a b=\\'x\\'' reason='': It's done.\n")


@given(anything, anything, st.text(max_size=60))
def test_no_field_and_no_sentence_can_forge_a_line(
    name: bytes | str, reason: bytes | str, words: str
) -> None:
    """Whatever they hold: one line, and nothing on it that could act on a terminal."""
    line = format_line(0, HEAD, words, {"name": name, "reason": reason})

    assert LINE.match(line)
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@given(st.text(max_size=100))
def test_a_sentence_keeps_what_can_be_printed(words: str) -> None:
    """Only the rest is escaped."""
    shown = printable_sentence(words)

    assert shown.isprintable()
    if words.isprintable():
        assert shown == words


def test_lines_come_out_in_order_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Written by a thread; `flush` waits for it."""
    events = EventLog("dispatcher")
    for number in range(50):
        events.info("counted", number=number)
    events.warning("degraded", "Waiting.")
    events.error("stopping")
    log.flush()

    *counted, degraded, stopping = capsys.readouterr().err.splitlines()
    assert [line.rpartition("=")[2] for line in counted] == [str(number) for number in range(50)]
    assert degraded.endswith("WARNING dispatcher degraded: Waiting.")
    assert stopping.endswith("ERROR   dispatcher stopping")


def test_a_reminder_speaks_at_once_then_once_a_minute_and_for_every_new_subject() -> None:
    """Waiting is not worth a line a poll."""
    reminder = Reminder(60)

    spoke = [reminder.is_due("redis", now_s) for now_s in (0, 1, 59, 60, 61)]

    assert spoke == [True, False, False, True, False]
    assert reminder.is_due("the launcher", 62)
    reminder.reset()
    assert reminder.is_due("the launcher", 63)
