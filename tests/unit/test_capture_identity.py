"""What a capture is known by: the digests of its beginning, and the records about it in JSON."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.capture.files import Identity
from pcapdj.capture.identity import (
    FIRST_BYTES,
    LEVELS_BYTES,
    FedCapture,
    QueuedFile,
    digest_of,
    kept_under,
    looked_up_under,
)

_IDENTITY = Identity(dev=1, ino=2, size_bytes=3, mtime_ns=4)
_FED = FedCapture("/a", 100, 7, True, 0, 0, _IDENTITY, 1.5)
_QUEUED = QueuedFile(_IDENTITY, 5, digest_of(b"abcde"), "/", "boot")


@given(st.binary(min_size=LEVELS_BYTES[0], max_size=FIRST_BYTES + 100), st.data())
def test_a_capture_that_grew_is_looked_up_under_what_it_was_kept_under(
    content: bytes, data: st.DataObject
) -> None:
    """However long it was when it was fed, and however much was added."""
    fed_bytes = data.draw(st.integers(LEVELS_BYTES[0], len(content)))
    kept = kept_under(content[:fed_bytes][:FIRST_BYTES], fed_bytes).split()
    assert kept[0] in looked_up_under(content[:FIRST_BYTES])


@given(st.binary(min_size=LEVELS_BYTES[0], max_size=FIRST_BYTES))
def test_a_copy_is_looked_up_first_under_all_that_was_fed(content: bytes) -> None:
    """Up to 64 KiB this digest is about each byte; what was fed begins with many others alike."""
    kept = kept_under(content, len(content)).split()
    assert set(kept) <= set(looked_up_under(content))
    assert kept[-1] == looked_up_under(content)[0] == f"{len(content)}:{digest_of(content)}"


@given(st.integers(0, FIRST_BYTES - 1))
def test_another_first_byte_is_another_capture(place: int) -> None:
    """A capture of 64 KiB is looked up under its longest digest, which is about each of its bytes."""
    one = bytes(FIRST_BYTES)
    other = one[:place] + b"x" + one[place + 1 :]
    assert kept_under(other, len(other)) not in looked_up_under(one)


def test_a_capture_without_a_packet_is_kept_under_nothing() -> None:
    """A file header alone is the beginning of every capture."""
    assert kept_under(bytes(24), 24) == ""
    assert kept_under(bytes(100), 24) == ""
    assert looked_up_under(bytes(24)) == []


def test_only_fed_bytes_are_digested() -> None:
    """A damaged file is kept under the digest of what was good."""
    assert kept_under(b"a" * 5000, 300) == kept_under(b"a" * 300, 300) != kept_under(b"a" * 5000, 5000)


def test_records_come_back_from_json() -> None:
    """As they were, and nothing else does."""
    wrongs: list[Any] = [None, [], {}, -1.5]
    for record, kind in ((_FED, FedCapture), (_QUEUED, QueuedFile)):
        fields = json.loads(json.dumps(record.as_fields()))
        assert kind.from_fields(fields) == record
        for name in fields:
            for wrong in wrongs:
                assert kind.from_fields({**fields, name: wrong}) is None, (name, wrong)
            assert kind.from_fields({key: fields[key] for key in fields if key != name}) is None
        assert kind.from_fields({**fields, "more": 1}) is None


def test_numbers_that_no_capture_can_have_are_not_accepted() -> None:
    """Other programs write into Redis; none of these would fit into a note."""
    for name, wrong in (("length_bytes", 1 << 64), ("crc32", 1 << 32), ("section", 1 << 63)):
        assert FedCapture.from_fields({**_FED.as_fields(), name: wrong}) is None


def test_a_queued_file_is_recognized_when_it_grew_and_not_when_it_is_another() -> None:
    """Its first bytes decide."""
    assert _QUEUED.is_beginning_of(b"abcde")
    assert _QUEUED.is_beginning_of(b"abcdef")
    assert not _QUEUED.is_beginning_of(b"abcd")
    assert not _QUEUED.is_beginning_of(b"abcdX")
