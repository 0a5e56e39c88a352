"""The rules of a release: which version, and what becomes of the list of changes."""

from support.rows import each_row

from release import dated, refusal, versioned

CHANGES = "# Changes\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 0.1.0 - 2026-01-01\n\n- The first.\n"
EMPTY = CHANGES.replace("- A thing.\n", "")


@each_row(
    ("version", "changes", "reason"),
    [
        ("0.2.0", CHANGES, ""),
        ("0.2", CHANGES, "VERSION is '0.2', not three numbers such as 0.2.0."),
        ("", CHANGES, "VERSION is '', not three numbers such as 0.2.0."),
        ("0.1.1", CHANGES, "0.1.1 is not above the current version, 0.1.9."),
        ("0.1.10", CHANGES, ""),
        ("0.2.0", EMPTY, "CHANGELOG.md has nothing under Unreleased."),
        ("0.1.0", CHANGES, ""),
    ],
)
def test_a_release_needs_a_higher_version_and_changes(version: str, changes: str, reason: str) -> None:
    """A version that CHANGELOG.md has already is an earlier try of the same release."""
    assert refusal(version, "0.1.9", changes) == reason


def test_the_changes_get_version_and_date_once() -> None:
    """The next changes go under a new heading above; a second try changes nothing."""
    once = dated(CHANGES, "0.2.0", "2026-11-26")

    assert once == CHANGES.replace("## Unreleased\n", "## Unreleased\n\n## 0.2.0 - 2026-11-26\n")
    assert dated(once, "0.2.0", "2026-11-27") == once


def test_only_the_projects_own_version_is_replaced() -> None:
    """The versions of what it depends on stay."""
    text = 'name = "pcapdj"\nversion = "0.1.0"\npython_version = "3.11"\n'

    assert versioned(text, "0.2.0") == text.replace("0.1.0", "0.2.0")
    assert versioned('__version__ = "0.1.0"\n', "0.2.0") == '__version__ = "0.2.0"\n'
