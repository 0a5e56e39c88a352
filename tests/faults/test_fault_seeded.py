"""The known bugs can still be put into the source; `make seeded-bugs` shows whether they are caught."""

from support.forkserver import ROOT
from support.rows import each_row

from faults.bugs import BUGS, Bug


@each_row("bug", BUGS, ids=lambda bug: bug.name)
def test_a_known_bug_still_has_its_place(bug: Bug) -> None:
    """Where the source has changed, the bug has to be written anew."""
    for change in bug.changes:
        text = (ROOT / "pcapdj" / change.path).read_text(encoding="utf-8")
        assert text.count(change.old) == 1, change.path


def test_there_are_enough_of_them() -> None:
    """And no two have one name."""
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12
