"""What `pcapdj.json` keeps of a run, and what it gives back to the next."""

from pathlib import Path

from pcapdj.run.record import FedFile, RunRecord, fed_file

ENTRY = {
    b"name": b"/in/\xff.pcap",
    b"verdict": b"processed",
    b"stream": b"s1",
    b"packets": b"3",
    b"stream_start": b"",
    b"step_ns": b"-5",
    b"jump": b"begins 5 ns before the end of the previous file",
}
FED = FedFile(
    "/in/\udcff.pcap",
    "processed",
    stream="s1",
    numbers={"packets": 3, "step_ns": -5},
    jump="begins 5 ns before the end of the previous file",
)


def test_an_entry_of_the_journal_is_a_file_with_the_numbers_that_it_has() -> None:
    """A step may be below 0; what is empty is not known."""
    assert fed_file(ENTRY) == FED


def test_a_resumed_run_knows_what_the_one_before_has_written(tmp_path: Path) -> None:
    """Files with a jump and without, and those of a record that has no such field."""
    plain = FedFile("/in/1.pcap", "processed", numbers={"packets": 1})
    record = RunRecord(tmp_path, resume=False)
    record.add([plain, FED])
    record.write({})

    assert RunRecord(tmp_path, resume=True).files == {plain.name: plain, FED.name: FED}
