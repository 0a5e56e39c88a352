"""What a wait for storage shows, and what is recorded of where a file was."""

import json

from support.rows import each_row

from pcapdj.capture.files import Identity
from pcapdj.capture.identity import QueuedFile
from pcapdj.capture.storage import FileMount
from pcapdj.feed.storage import line_about, others_text, recorded_in

QUEUED = QueuedFile(Identity(51, 7, 100, 10**18), 100, "ab", "/mnt/\udcff", "boot")
PLACE = FileMount(b"/mnt/\xff", 51, "boot")


def test_where_a_queued_file_was_is_read_from_its_line() -> None:
    """Also where it is fed whatever is known of it."""
    fields = QUEUED.as_fields()

    assert recorded_in(json.dumps(fields)) == PLACE
    assert recorded_in(json.dumps({"again": True, **fields})) == PLACE


@each_row("line", ["", '{"again":true}', "nonsense", "[]", '{"identity":[1]}'])
def test_a_line_without_a_file_records_nothing(line: str) -> None:
    """A name that another program pushed, or one that is fed again."""
    assert recorded_in(line) is None


def test_the_line_of_a_pushed_file_says_where_it_was_opened_and_that_it_is_fed_whole() -> None:
    """For the next dispatcher."""
    line = line_about(QUEUED.identity, PLACE)

    assert recorded_in(line) == PLACE
    assert json.loads(line)["again"] is True


@each_row(
    ("names", "is_complete", "text"),
    [
        (0, True, ""),
        (1, True, " 1 queued file waits for it, too."),
        (1234, True, " 1,234 queued files wait for it, too."),
        (9000, False, " At least 9,000 queued files wait for it, too."),
    ],
)
def test_the_number_of_queued_files_that_wait_too_is_a_sentence(
    names: int, text: str, *, is_complete: bool
) -> None:
    """Behind the one about the wait."""
    assert others_text(names, is_complete=is_complete) == text
