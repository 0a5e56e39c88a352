"""What of an analyzer's log reports a full disk."""

import time
from pathlib import Path

import pytest
from support.waiting import scaled

from pcapdj.analyzer.output_loss import line_about_full_disk

LINE = "E: writer: [Errno 28] No space left on device"


@pytest.mark.parametrize("before", ["", "started\n", "\n\n"])
@pytest.mark.parametrize("after", ["", "\n", "\nended\n"])
def test_the_line_that_reports_a_full_disk_is_found(tmp_path: Path, before: str, after: str) -> None:
    """The whole of it, and nothing of the lines around it."""
    log = tmp_path / "analyzer.log"
    log.write_text(before + LINE + after)

    assert line_about_full_disk(log) == LINE


def test_a_long_line_is_searched_in_a_time_that_grows_with_its_length(tmp_path: Path) -> None:
    """An analyzer may print binary data; the launcher does nothing else meanwhile."""
    log = tmp_path / "analyzer.log"
    log.write_bytes(b"x" * 40_000)
    began_s = time.monotonic()

    assert line_about_full_disk(log) == ""

    assert time.monotonic() - began_s < scaled(2)
