"""An event as a line for people and as an object for programs."""

import json

from pcapdj.console.event_lines import event_line, event_object
from pcapdj.store.bounded import StreamEntry
from pcapdj.store.events import Event
from pcapdj.store.history import event_of_journal

NOON_S = 1_795_694_400.25
GATE = Event(
    "gate",
    "Too little is free.",
    "controller",
    NOON_S,
    {"level": "WARNING", "event": "gate_hold", "path": "/out", "free_bytes": "5", "empty": ""},
)


def test_a_line_has_time_level_role_event_sentence_and_fields() -> None:
    """As the log of the role has it."""
    assert event_line(GATE) == (
        "2026-11-26T12:00:00Z WARNING controller gate_hold: Too little is free."
        " path=/out free_bytes=5 empty=''"
    )


def test_six_fields_are_shown_the_most_telling_first() -> None:
    """What identifies a file on its disk is for programs; without a level an event is no warning."""
    first = ("name", "stream", "exit", "path", "free_bytes", "needed_bytes", "pause_s", "logdir")
    hidden = ("dev", "ino", "mtime_ns", "first", "crc32", "length_bytes")
    head = "2026-11-26T12:00:00Z INFO    " + f"{'r':<10} k"

    def shown(*names: str) -> str:
        return event_line(Event("k", "", "r", NOON_S, dict.fromkeys(names, "1"))).removeprefix(head)

    assert shown("x", *reversed(first[:5])) == " name='1' stream=1 exit=1 path=1 free_bytes=1 x=1"
    assert shown("x", *reversed(first[5:]), "y") == " needed_bytes=1 pause_s=1 logdir=1 x=1 y=1"
    assert shown(*first) == " name='1' stream=1 exit=1 path=1 free_bytes=1 needed_bytes=1"
    assert shown("x", *hidden, "name", "stream") == " name='1' stream=1 x=1"
    assert shown("x", "verdict", "stream", "exit") == " stream=1"
    assert shown("x", "packets", "name") == " name='1'"
    assert event_object(Event("k", "", "r", NOON_S, {}))["level"] == "INFO"


def test_a_value_is_cut_behind_120_characters() -> None:
    """The sign of it stands only where something is missing."""
    lines = [event_line(Event("k", "", "r", 0.0, {"x": "v" * length})) for length in (120, 121)]

    assert [line.partition("x=")[2] for line in lines] == ["v" * 120, f"'{'v' * 120}…'"]


def test_no_text_acts_on_a_terminal() -> None:
    """Another program may have written the event."""
    hostile = Event("k\x1b[2J", "s\nt", "r\x07", 0.0, {"na\nme": "v\n", "name": "/in/\x1b"})

    assert event_line(hostile).isprintable()


def test_a_long_value_is_cut() -> None:
    """A line can be read on a screen."""
    assert len(event_line(Event("k", "", "r", 0.0, {"logdir": "x" * 5000}))) < 250


def test_an_object_has_all_fields() -> None:
    """Programs choose by `kind`."""
    assert json.loads(json.dumps(event_object(GATE))) == {
        "time_s": NOON_S,
        "time": "2026-11-26T12:00:00.250Z",
        "kind": "gate",
        "role": "controller",
        "level": "WARNING",
        "sentence": "Too little is free.",
        "fields": {"event": "gate_hold", "path": "/out", "free_bytes": "5", "empty": ""},
    }


def in_journal(**fields: str) -> Event:
    """Return the event of a file that finished at noon."""
    entry = {name.encode(): value.encode() for name, value in fields.items()}
    return event_of_journal(StreamEntry("1795694400000-0", entry))


def test_a_file_that_was_fed_is_an_event() -> None:
    """With how much of it, and the stream."""
    event = in_journal(name="/in/1", verdict="processed", packets="2968", size_bytes="1048576", stream="ab12")

    assert event.kind == "file_processed"
    assert event_line(event) == (
        "2026-11-26T12:00:00Z INFO    dispatcher file_processed:"
        " Fed: 2,968 packets, 1.0 MiB. name='/in/1' stream=ab12"
    )


def test_a_file_that_failed_has_its_reason_and_what_was_delivered() -> None:
    """The packets before the damage were fed."""
    event = in_journal(name="/in/1", verdict="failed", reason="it is torn", packets="7")

    assert event.kind == "file_failed"
    assert "WARNING dispatcher file_failed: it is torn (7 packets delivered) name='/in/1'" in event_line(
        event
    )


def test_a_known_capture_names_the_one_that_was_fed() -> None:
    """It was not fed again."""
    assert (
        "the capture that was fed as /in/0."
        in in_journal(name="/in/1", verdict="processed", known_as="/in/0").sentence
    )


def test_a_journal_entry_of_another_program_is_an_event_too() -> None:
    """Numbers may be no numbers, and all fields may be missing."""
    assert in_journal(packets="many", size_bytes="-1").sentence == ""
