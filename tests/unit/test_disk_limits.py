"""From typed limits to bytes on a mount: `pcapdj.disk.limits`."""

import pytest
from support.rows import each_row

from pcapdj.disk.limits import DEFAULTS, Thresholds, Watch, check_without_defaults, parse_limits, parse_watch
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.units import Amount

GIB = 1 << 30
HERE = Watch("/out")


def test_without_any_option_ten_per_cent_stay_free() -> None:
    """The defaults are 10 % to hold, half of it to suspend, one and a half to open again after 30 s."""
    limits = parse_limits({})

    thresholds = limits.space_thresholds(HERE, 1000)

    assert thresholds == Thresholds(suspend=50, minimum=100, resume=150)
    assert limits.resume_after_s == 30


def test_derived_limits_follow_a_size_too() -> None:
    """They are half and one and a half of min-free in bytes on the mount."""
    assert parse_limits({"min-free": "20GiB"}).space_thresholds(HERE, 100 * GIB) == Thresholds(
        10 * GIB, 20 * GIB, 30 * GIB
    )


def test_a_path_with_its_own_min_free_derives_from_that() -> None:
    """Typed resume and suspend limits belong to --min-free, not to a path's own."""
    limits = parse_limits({"resume-free": "50%", "suspend-free": "9%"})

    assert limits.space_thresholds(parse_watch("/small=40"), 1000) == Thresholds(20, 40, 60)


def test_a_derived_resume_limit_stays_within_the_disk() -> None:
    """min-free 80 % taken by force opens again at 90 %, not at an impossible 120 %."""
    limits = parse_limits({"min-free": "80%"}, force=True)

    assert limits.space_thresholds(HERE, 1000) == Thresholds(400, 800, 900)


def test_a_disk_smaller_than_min_free_is_no_error() -> None:
    """An absolute limit above a small disk's size just holds there."""
    assert parse_limits({"min-free": "20GiB"}).space_thresholds(HERE, GIB).minimum == 20 * GIB


@each_row("word", ["0", "off", "OFF", "0%"])
def test_zero_and_off_switch_suspension_off(word: str) -> None:
    """Without suspension neither space nor inodes pause the running file."""
    limits = parse_limits({"suspend-free": word})

    assert not limits.suspends
    assert limits.space_thresholds(HERE, 1000).suspend == 0
    assert limits.inode_thresholds(1000).suspend == 0


def test_min_free_zero_never_holds() -> None:
    """`--min-free 0` is how a nearly full disk is used anyway."""
    assert parse_limits({"min-free": "0"}).space_thresholds(HERE, 1000) == Thresholds(0, 0, 0)


def test_memory_never_suspends() -> None:
    """Pausing a file frees no memory."""
    assert parse_limits({"min-available-memory": "10%"}).memory_thresholds(1000) == Thresholds(0, 100, 150)


def test_a_filesystem_without_inodes_has_no_inode_limit() -> None:
    """Btrfs reports 0 inodes."""
    assert parse_limits({}).inode_thresholds(0) == Thresholds(0, 0, 0)


@each_row(
    ("texts", "named"),
    [
        (
            {"min-free": "98%"},
            "*free*, not used. To fill it up to 98 % write 2%; to keep that much free add --force.",
        ),
        ({"min-free": "50%"}, "*free*, not used. Add --force if half of the disk is to stay free."),
        ({"min-free": "ten"}, "min-free"),
        ({"min-free": "-1"}, "min-free"),
        ({"min-free": "101%"}, "100"),
        ({"min-free": "9" * 1000}, "1000 characters"),
        ({"resume-free": "much"}, "resume-free"),
        ({"resume-after": "soon"}, "resume-after"),
        ({"resume-after": "2d"}, "day"),
        ({"min-free": "10%", "resume-free": "10%"}, "resume-free (10%)"),
        ({"min-free": "10%", "suspend-free": "10%"}, "suspend-free (10%)"),
        ({"min-free": "2G", "suspend-free": "3G"}, "3.0 GiB"),
        ({"min-fre": "10%"}, "'min-fre'"),
    ],
)
def test_an_invalid_limit_is_refused_by_name(texts: dict[str, str], named: str) -> None:
    """The message names the option or the number."""
    with pytest.raises(ConfigError) as raised:
        parse_limits(texts)

    assert named in str(raised.value)


@pytest.mark.parametrize(
    "texts", [{"min-free": "10%", "resume-free": "50"}, {"min-free": "10%", "suspend-free": "200"}]
)
def test_mixed_units_are_compared_on_the_mount(texts: dict[str, str]) -> None:
    """Bytes against per cent only have an order once the size is known; then the numbers are named."""
    limits = parse_limits(texts)

    with pytest.raises(ConfigError, match=r"'/out'.*100 bytes"):
        limits.space_thresholds(HERE, 1000)


def test_half_the_disk_may_be_kept_free_by_force() -> None:
    """Only per cent are refused: a size is seldom confused with used space."""
    assert parse_limits({"min-free": "60%"}, force=True).min_free == Amount(percent=60)
    assert parse_limits({"min-free": "900GiB"}).space_thresholds(HERE, 1000 * GIB).minimum == 900 * GIB


def test_empty_texts_are_the_default() -> None:
    """An environment variable that is set to nothing changes nothing."""
    assert parse_limits(dict.fromkeys(DEFAULTS, "")) == parse_limits({})


@each_row(
    ("text", "watch"),
    [
        ("/out", Watch("/out")),
        ("/out=20GiB", Watch("/out", Amount(size_bytes=20 * GIB))),
        ("/out=5%", Watch("/out", Amount(percent=5))),
        ("/a=b/out", Watch("/a=b/out")),
        ("/a=b/", Watch("/a=b/")),
        ("/out=", Watch("/out")),
    ],
)
def test_a_watch_is_a_path_and_perhaps_a_limit(text: str, watch: Watch) -> None:
    """A slash after the last = makes it part of the path."""
    assert parse_watch(text) == watch


@each_row("text", ["", "=5%", "/out=lots", "/out=60%", "/o\0ut"])
def test_a_watch_that_makes_no_sense_is_refused(text: str) -> None:
    """An empty path, and a text that is not a limit."""
    with pytest.raises(ConfigError, match="watch"):
        parse_watch(text)


@each_row(
    "texts",
    [{"resume-free": "8%"}, {"suspend-free": "12%"}, {"suspend-free": "5GiB", "resume-free": "8%"}, {}],
)
def test_texts_alone_are_not_compared_with_defaults(texts: dict[str, str]) -> None:
    """The controller may have been started with other limits than the default ones."""
    check_without_defaults(texts)


@each_row(
    "texts",
    [
        {"resume-free": "8parsecs"},
        {"min-free": "98%"},
        {"min-free": "9%", "resume-free": "8%"},
        {"suspend-free": "9%", "resume-free": "8%"},
        {"gate": "open"},
    ],
)
def test_texts_that_are_invalid_with_any_options_are_refused(texts: dict[str, str]) -> None:
    """Invalid texts, and limits that are out of order whatever min-free is."""
    with pytest.raises(ConfigError):
        check_without_defaults(texts)


@pytest.mark.parametrize("texts", [{"suspend-free": "100"}, {"resume-free": "100"}])
def test_equal_limits_on_a_mount_are_out_of_order(texts: dict[str, str]) -> None:
    """Between two states there has to be a difference: 10 % of 1000 bytes are 100 bytes."""
    with pytest.raises(ConfigError, match="is 100 B"):
        parse_limits({"min-free": "10%", **texts}).space_thresholds(HERE, 1000)
