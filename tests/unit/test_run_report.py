"""The table at the end of a run."""

import pytest

from pcapdj.run.report import Summary, print_summary, rows


def summary(logdir: str = "/out", jumps: str = "") -> Summary:
    """Return a run without objects."""
    return Summary(
        fed=2,
        failed=0,
        packets=1234,
        fed_bytes=2048,
        elapsed_s=1.0,
        analyzer="zeek, exited 0",
        logdir=logdir,
        jumps=jumps,
    )


def test_timestamps_have_a_row_only_where_they_jump() -> None:
    """A run in order says nothing of them."""
    told = "1 jump, 'b.pcap' begins 12 s before the end of the previous file"

    assert ("timestamps", told) in rows(summary(jumps=told))
    assert "timestamps" not in dict(rows(summary()))


def test_where_no_terminal_is_nothing_is_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs find paths and sentences whole, however wide the terminal would be."""
    monkeypatch.setenv("COLUMNS", "80")
    path = "/out/" + "x" * 200

    print_summary(summary(path))

    assert path in capsys.readouterr().out
