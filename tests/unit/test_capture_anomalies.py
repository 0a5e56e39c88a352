"""What is unusual about a capture file, and how it is reported."""

from dataclasses import dataclass, field

from support.rows import each_row

from pcapdj.capture.anomalies import Anomaly, anomalies_of
from pcapdj.capture.pcap import Totals

WRAPPED = "from before 1970 or after 2106, which a pcap record cannot hold: the times wrapped"


@dataclass
class Capture:
    """A capture whose pieces were read."""

    skipped: dict[int, int] = field(default_factory=dict)
    snaplen: int | None = 68
    rewrites: bool = False


def test_a_usual_file_has_none() -> None:
    """Whatever its size."""
    assert anomalies_of(Totals(5, 500, 600, 1, 2), Capture()) == []


def test_packets_left_out_are_a_loss() -> None:
    """Counted by link type."""
    sentence = "packets skipped because of their link type: 2 of Linux cooked (113)"

    assert anomalies_of(Totals(), Capture({113: 2})) == [Anomaly("packets_skipped", sentence, is_loss=True)]


@each_row(
    ("totals", "event", "sentence", "is_loss"),
    [
        (Totals(wrapped_times=1), "times_wrapped", f"1 packet is {WRAPPED}", True),
        (Totals(wrapped_times=2), "times_wrapped", f"2 packets are {WRAPPED}", True),
        (
            Totals(steps_back=1, largest_step_back_ns=86_397 * 10**9),
            "times_step_back",
            "1 step back in time, 86,397 s",
            False,
        ),
        (
            Totals(steps_back=1200, largest_step_back_ns=1_000_500),
            "times_step_back",
            "1,200 steps back in time, the largest 0.0010005 s",
            False,
        ),
        (
            Totals(has_times_after_2038=True),
            "times_after_2038",
            "has times after 2038-01-19, which programs built on libpcap read as negative",
            False,
        ),
        (Totals(beyond_snaplen=1), "snaplen_wrong", "snaplen 68 is wrong: 1 packet is longer", False),
        (Totals(beyond_snaplen=4), "snaplen_wrong", "snaplen 68 is wrong: 4 packets are longer", False),
    ],
)
def test_each_kind_has_its_event_and_its_numbers(
    totals: Totals, event: str, sentence: str, *, is_loss: bool
) -> None:
    """Only what the stream lacks is a loss."""
    assert anomalies_of(totals, Capture()) == [Anomaly(event, sentence, is_loss)]


def test_a_pcapng_file_has_a_snaplen_per_interface() -> None:
    """So no number is named."""
    [anomaly] = anomalies_of(Totals(beyond_snaplen=4), Capture(snaplen=None))

    assert anomaly.sentence == "the snaplen of an interface is wrong: 4 packets are longer"
