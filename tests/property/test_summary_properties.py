"""Properties of the summary analyzer, for any network and any bytes."""

import contextlib
import hashlib
import random

from hypothesis import given
from hypothesis import strategies as st
from support.analysis import Collected
from support.frames import FIN, exchange, header, record, stream, tcp_frame

from pcapdj.runtime.errors import CaptureError
from pcapdj.summary.analysis import Analysis
from pcapdj.summary.flows import FlowLimits
from pcapdj.summary.http1 import Conversation, ResponseBody
from pcapdj.summary.http_work import SEGMENT_BYTES, WorkBudget, WorkFund
from pcapdj.summary.packets import UndecodableError, decode, decode_with_dpkt
from pcapdj.summary.results import Ended, HttpObject, StreamSummary
from pcapdj.summary.stream import RecordCutter
from pcapdj.summary.tcp import SEQUENCE_SPACE, TcpDirection

LINKTYPES = st.sampled_from([0, 1, 9, 101, 108, 113, 147, 228, 229, 276])
GET = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabcdefg"
SOUND = stream(*exchange(GET + GET, CHUNKED + LENGTH), *exchange(GET, LENGTH, port=5))


def analyzed(data: bytes, limits: FlowLimits | None = None) -> tuple[StreamSummary, list[HttpObject]]:
    """Return totals and objects of a stream, damaged or not."""
    found = Collected()
    analysis = Analysis(found, limits)
    error = ""
    try:
        analysis.feed(data)
    except CaptureError as exc:
        error = str(exc)
    summary = analysis.finish(Ended.TORN if error else Ended.CLEAN, error)
    return summary, found.objects


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_records_do_not_depend_on_where_the_stream_is_cut(frames: list[bytes], data: st.DataObject) -> None:
    """Any way of cutting the bytes into pieces gives the same records."""
    whole = stream(*frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    cutter = RecordCutter()

    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    records = [each for piece in pieces for each in cutter.feed(piece)]

    cutter.close()
    assert [each.frame for each in records] == frames


@given(st.binary(min_size=1, max_size=300), st.integers(0, SEQUENCE_SPACE - 1), st.data())
def test_any_disorder_of_segments_gives_the_stream(body: bytes, isn: int, data: st.DataObject) -> None:
    """Shuffled, repeated and overlapping segments that cover the stream give exactly the stream."""
    size = data.draw(st.integers(1, 50))
    segments = [(at, body[at : at + size]) for at in range(0, len(body), size)]
    extra = data.draw(st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 80)), max_size=8))
    segments += [(at, body[at : at + length]) for at, length in extra]
    direction = TcpDirection()
    direction.open(isn)

    out: list[object] = []
    for at, payload in data.draw(st.permutations(segments)):
        fin = at + len(payload) == len(body)
        out += direction.add((isn + 1 + at) % SEQUENCE_SPACE, payload, fin=fin)

    assert b"".join(piece for piece in out if isinstance(piece, bytes)) == body
    assert direction.is_finished
    assert direction.held_bytes == 0


@given(st.lists(st.tuples(st.integers(0, SEQUENCE_SPACE - 1), st.binary(max_size=100)), max_size=60))
def test_held_bytes_stay_within_the_limit(segments: list[tuple[int, bytes]]) -> None:
    """For any segments in any order."""
    direction = TcpDirection(limit_bytes=1000)

    for seq, payload in segments:
        direction.add(seq, payload)
        assert 0 <= direction.held_bytes <= 1000

    direction.give_up()
    assert direction.held_bytes == 0


@given(LINKTYPES, st.binary(max_size=200))
def test_random_bytes_are_a_packet_or_undecodable(linktype: int, frame: bytes) -> None:
    """The decoder raises no other error."""
    with contextlib.suppress(UndecodableError):
        decode(linktype, frame)


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(12, 60), st.integers(0, 255)), max_size=4))
def test_the_fast_decoder_agrees_with_dpkt(payload: bytes, changes: list[tuple[int, int]]) -> None:
    """Both give the same packet, or both fail."""
    frame = bytearray(tcp_frame(to_server=True, seq=7, payload=payload))
    for at, value in changes:
        if at < len(frame):
            frame[at] = value

    assert _outcome(decode, bytes(frame)) == _outcome(decode_with_dpkt, bytes(frame))


def _outcome(function: object, frame: bytes) -> object:
    try:
        return function(1, frame)  # type: ignore[operator]  # one of the two decoders
    except UndecodableError:
        return "undecodable"


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=60)), max_size=20))
def test_no_conversation_fails(pieces: list[tuple[int, bytes]]) -> None:
    """Random bytes in both directions, with gaps in between, never raise."""
    conversation = Conversation(lambda _: None)

    for side, piece in pieces:
        conversation.data(side, piece, 1)
        if len(piece) % 7 == 3:
            conversation.gap(side, len(piece))
    conversation.end(0, "")
    conversation.end(1, "reset")


@given(st.integers(0, 900), st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 500))))
def test_no_more_work_is_done_than_is_paid(fund_bytes: int, steps: list[tuple[int, bool, int]]) -> None:
    """Whatever the connections spend in any order: by the bytes of all segments and the fund."""
    fund, spent_bytes, earned_bytes = WorkFund(fund_bytes), 0, 0
    budgets = [WorkBudget(fund) for _ in range(3)]

    for which, is_segment, size in steps:
        if is_segment:
            budgets[which].earn(size)
            earned_bytes += size + SEGMENT_BYTES
        elif budgets[which].spend(size):
            spent_bytes += size

    assert spent_bytes <= fund_bytes + earned_bytes
    assert fund.left_bytes >= 0


@given(st.data())
def test_messages_do_not_depend_on_where_segments_cut_them(data: st.DataObject) -> None:
    """Any segmentation of two responses gives the same two objects."""
    answers = CHUNKED + LENGTH
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answers)), max_size=8)))
    finished: list[ResponseBody] = []
    conversation = Conversation(finished.append)
    conversation.data(0, GET + GET, 1)

    for start, end in zip([0, *cuts], [*cuts, len(answers)], strict=True):
        conversation.data(1, answers[start:end], 2)

    expected = hashlib.sha256(b"abcdefg").hexdigest()
    assert [(each.digest.hexdigest(), each.reason) for each in finished] == [(expected, "")] * 2


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=12), st.data())
def test_a_damaged_stream_gives_results(changes: list[tuple[int, int]], data: st.DataObject) -> None:
    """After changed and missing bytes the totals still add up."""
    damaged = bytearray(SOUND)
    for at, value in changes:
        damaged[at] = value
    limits = FlowLimits(flows=data.draw(st.integers(1, 4)), held_bytes=data.draw(st.integers(0, 400)))

    summary, objects = analyzed(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]), limits)

    assert summary.objects == len(objects)
    assert summary.undecodable_packets + summary.other_packets <= summary.packets
    assert all(each.complete == (not each.reason) for each in objects)


@given(st.binary(max_size=400), LINKTYPES)
def test_random_streams_give_results(data: bytes, linktype: int) -> None:
    """For random bytes and random records."""
    analyzed(data)
    summary, _ = analyzed(header(linktype) + record(data))

    assert summary.packets == 1


@given(st.randoms(use_true_random=True), st.binary(min_size=1, max_size=2000), st.integers(1, 300))
def test_a_shuffled_download_is_complete(rng: random.Random, body: bytes, size: int) -> None:
    """The order of the server's packets does not matter if none is missing."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = head + body
    frames = [
        tcp_frame(to_server=False, seq=500 + at, payload=answer[at : at + size])
        for at in range(0, len(answer), size)
    ]
    frames.append(tcp_frame(to_server=False, seq=500 + len(answer), flags=FIN))
    rng.shuffle(frames)

    summary, (found,) = analyzed(stream(*exchange(GET, b"")[:3], *frames))

    assert found.complete
    assert found.sha256 == hashlib.sha256(body).hexdigest()
    assert summary.flows == 1
