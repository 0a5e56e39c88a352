"""What an inbox skips is counted, and each name is logged once."""

from pcapdj.inbox.skipped import Skipped, SkipReason

LOGGED_AT_ONCE = (
    SkipReason.FOLDER,
    SkipReason.FOLDER_LINK,
    SkipReason.LINK_TO_NOTHING,
    SkipReason.SPECIAL,
)


def test_what_is_skipped_is_counted_by_reason() -> None:
    """What a look no longer finds is not counted any more."""
    skipped = Skipped()
    skipped.update({b"/d": SkipReason.FOLDER, b"/e": SkipReason.EMPTY, b"/f": SkipReason.EMPTY}, [])
    skipped.add(b"/text", SkipReason.NOT_A_CAPTURE)

    before = skipped.counts()
    skipped.update({b"/e": SkipReason.EMPTY}, [b"/text", b"/f"])

    assert before == {"folder without --recursive": 1, "empty": 2, "not a capture": 1}
    assert skipped.counts() == {"empty": 1, "not a capture": 1}


def test_a_name_that_is_queued_after_all_is_not_counted() -> None:
    """A file that was no capture was replaced by one."""
    skipped = Skipped()
    skipped.add(b"/x", SkipReason.NOT_A_CAPTURE)

    skipped.remove(b"/x")

    assert skipped.counts() == {}


def test_what_stays_as_it_is_is_logged_at_once_and_once() -> None:
    """Folders, links and special files: nobody writes them."""
    skipped = Skipped()
    found = {bytes([number]): reason for number, reason in enumerate(LOGGED_AT_ONCE)}

    looks = []
    for _ in range(3):
        skipped.update(found, [])
        looks.append(dict(skipped.take_unlogged()))

    assert looks == [found, {}, {}]


def test_what_may_still_be_written_is_logged_when_it_is_found_again() -> None:
    """A rotation hides a file while it writes it, and creates one before it writes it."""
    skipped = Skipped()
    found = {b"/.x": SkipReason.HIDDEN, b"/y": SkipReason.EMPTY}

    looks = []
    for _ in range(3):
        skipped.update(found, [])
        looks.append(dict(skipped.take_unlogged()))

    assert looks == [{}, found, {}]


def test_a_name_that_comes_again_is_logged_again() -> None:
    """It is another file."""
    skipped = Skipped()
    looks = []
    for found in ({b"/p": SkipReason.SPECIAL}, {}, {b"/p": SkipReason.SPECIAL}):
        skipped.update(found, [])
        looks.append(list(skipped.take_unlogged()))

    assert looks == [[(b"/p", SkipReason.SPECIAL)], [], [(b"/p", SkipReason.SPECIAL)]]


def test_what_was_read_is_logged_by_its_reader() -> None:
    """With the reason that was found in the file."""
    skipped = Skipped()
    skipped.add(b"/text", SkipReason.NOT_A_CAPTURE)
    skipped.add(b"/snoop", SkipReason.FAULTY)

    assert list(skipped.take_unlogged()) == []
