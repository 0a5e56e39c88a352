"""The flow table and the analysis of a whole stream."""

import hashlib

import pytest
from support.analysis import Collected
from support.frames import ACK, FIN, RST, SYN, exchange, stream, tcp_frame

from pcapdj.summary.analysis import Analysis
from pcapdj.summary.flows import FlowLimits
from pcapdj.summary.results import Ended, FlowSummary, HttpObject, StreamSummary

GET = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\n"


def analyzed(
    data: bytes, limits: FlowLimits | None = None
) -> tuple[StreamSummary, list[FlowSummary], list[HttpObject]]:
    """Return all results of the analysis of a stream."""
    found = Collected()
    analysis = Analysis(found, limits)
    analysis.feed(data)
    return analysis.finish(Ended.CLEAN), found.flows, found.objects


def test_one_connection_is_one_flow_with_its_object() -> None:
    """Both directions are counted together; the object has client and server."""
    frames = exchange(GET, OK + b"abcdef")

    summary, (flow,), (found,) = analyzed(stream(*frames))

    assert (flow.source, flow.destination_port, flow.protocol, flow.packets) == ("192.0.2.1", 80, "tcp", 6)
    assert (flow.bytes, flow.end) == (sum(map(len, frames)), "closed")
    assert (flow.first_time, flow.last_time) == (
        "1970-01-01T00:00:01.000000000Z",
        "1970-01-01T00:00:06.000000000Z",
    )
    assert (found.client, found.client_port, found.server, found.server_port) == (
        "192.0.2.1",
        4000,
        "198.51.100.2",
        80,
    )
    assert (found.method, found.host, found.uri, found.status) == ("GET", "a.example", "/x", 200)
    assert (found.complete, found.size_bytes, found.content_type) == (True, 6, "text/plain")
    assert found.sha256 == hashlib.sha256(b"abcdef").hexdigest()
    assert (summary.packets, summary.flows, summary.objects, summary.complete_objects) == (6, 1, 1, 1)


def test_client_and_server_do_not_depend_on_the_first_packet() -> None:
    """A capture that begins with the server's packet gives the same ones."""
    frames = exchange(GET, OK + b"abcdef")[1:]

    _, _, (found,) = analyzed(stream(*frames))

    assert (found.client, found.server) == ("192.0.2.1", "198.51.100.2")


def test_a_reset_ends_the_object() -> None:
    """All before it is reported, with the reason."""
    frames = [*exchange(GET, OK + b"abc")[:4], tcp_frame(to_server=True, seq=500, flags=RST)]

    _, (flow,), (found,) = analyzed(stream(*frames))

    assert flow.end == "reset"
    assert found.reason == "connection reset; ended 3 bytes before its Content-Length of 6"


def test_the_end_of_the_stream_ends_all_flows() -> None:
    """A response cut by the end is reported as incomplete."""
    summary, (flow,), (found,) = analyzed(stream(*exchange(GET, OK + b"abc")[:4]))

    assert (flow.end, found.complete, summary.complete_objects) == ("end of stream", False, 0)
    assert found.reason.startswith("end of stream")


def test_a_reused_port_is_a_new_flow() -> None:
    """After the end, or with another sequence number, a SYN opens another connection."""
    frames = exchange(GET, OK + b"abcdef")
    again = tcp_frame(to_server=True, seq=77_000, flags=SYN)

    _, flows, objects = analyzed(stream(*frames, *frames, again))

    assert [flow.packets for flow in flows] == [6, 6, 1]
    assert len(objects) == 2


def test_a_repeated_syn_is_the_same_flow() -> None:
    """It opens no other connection."""
    syn = tcp_frame(to_server=True, seq=99, flags=SYN)

    _, flows, _ = analyzed(stream(syn, syn))

    assert [flow.packets for flow in flows] == [2]


def test_late_packets_of_a_closed_connection_stay_in_its_flow() -> None:
    """Acknowledgements and retransmissions after the FINs make no new flow."""
    frames = exchange(GET, OK + b"abcdef")

    _, flows, objects = analyzed(stream(*frames, frames[3], tcp_frame(to_server=False, seq=900)))

    assert [flow.packets for flow in flows] == [8]
    assert len(objects) == 1


def test_the_flow_without_a_packet_for_the_longest_time_is_evicted() -> None:
    """The number of flows stays within the limit; the evicted one is reported with its object."""
    cut = exchange(GET, OK + b"abc", port=1)[:4]
    others = [tcp_frame(to_server=True, seq=1, port=port) for port in (2, 3)]

    _, flows, (found,) = analyzed(stream(*cut, *others), FlowLimits(flows=2))

    assert [(flow.source_port, flow.end) for flow in flows] == [
        (1, "evicted"),
        (2, "end of stream"),
        (3, "end of stream"),
    ]
    assert found.reason.startswith("evicted")


def test_the_flow_with_the_oldest_held_bytes_gives_them_up_first() -> None:
    """The limit on all held bytes ends the oldest gap, not the newest."""
    frames = []
    for port in (1, 2):
        frames += exchange(GET, OK, port=port)[:4]
        frames.append(tcp_frame(to_server=False, seq=500 + len(OK) + 3, payload=b"def", port=port))
    frames += [tcp_frame(to_server=False, seq=500 + len(OK), payload=b"abc", port=port) for port in (1, 2)]

    _, _, objects = analyzed(stream(*frames), FlowLimits(held_bytes=200))

    assert [(each.client_port, each.complete) for each in objects] == [(1, False), (2, True)]


def test_the_order_of_segments_does_not_change_the_object() -> None:
    """Late, repeated and overlapping segments give the same one."""
    frames = exchange(GET, OK)
    base = 500 + len(OK)
    disorder = [
        tcp_frame(to_server=False, seq=base + 4, payload=b"ef"),
        tcp_frame(to_server=False, seq=base + 4, flags=ACK, payload=b"ef"),
        tcp_frame(to_server=False, seq=base + 6, flags=FIN | ACK),
        tcp_frame(to_server=False, seq=base + 1, payload=b"bcd"),
        tcp_frame(to_server=False, seq=base, payload=b"abc"),
    ]

    _, _, (found,) = analyzed(stream(*frames[:4], *disorder))

    assert found.sha256 == hashlib.sha256(b"abcdef").hexdigest()
    assert found.complete


def test_a_connection_with_too_many_small_messages_is_counted_and_disturbs_no_other() -> None:
    """Its packets are still counted; usual messages are read though nothing is left in the fund."""
    small = b"HTTP/1.1 200\nContent-Length:1\n\nA" * 100
    many = [tcp_frame(to_server=False, seq=number * len(small), payload=small) for number in range(5)]
    usual = exchange(GET, OK + b"abcdef", port=7)

    summary, flows, objects = analyzed(stream(*many, *usual), FlowLimits(fund_bytes=50_000))
    unlimited, _, _ = analyzed(stream(*many, *usual))

    assert (summary.unread_connections, unlimited.unread_connections) == (1, 0)
    assert [(flow.packets, flow.end) for flow in flows] == [(5, "end of stream"), (6, "closed")]
    assert [each.uri for each in objects if each.client_port == 7] == ["/x"]
    assert 100 < summary.objects < unlimited.objects == 501


def test_undecodable_and_other_packets_are_counted() -> None:
    """They never end the analysis."""
    arp = b"\xff" * 12 + b"\x08\x06" + bytes(28)
    fragment = bytearray(tcp_frame(to_server=True, seq=1))
    fragment[20] = 0x20

    summary, flows, _ = analyzed(stream(b"short", arp, bytes(fragment)))

    assert (summary.packets, summary.undecodable_packets, summary.other_packets, summary.fragments) == (
        3,
        1,
        1,
        1,
    )
    assert [(flow.source_port, flow.packets) for flow in flows] == [(0, 1)]


@pytest.mark.parametrize("cut_bytes", [1, 30])
def test_a_stream_that_ends_inside_a_record_is_torn(cut_bytes: int) -> None:
    """The summary reports it, with the results before."""
    summary, _, _ = analyzed(stream(*exchange(GET, OK))[:-cut_bytes])

    assert (summary.ended, summary.packets) == (Ended.TORN, 5)
    assert "into a record" in summary.error


def test_a_stream_without_packets_has_no_times() -> None:
    """An empty capture is a clean end with zeros."""
    summary, flows, objects = analyzed(stream())

    assert summary == StreamSummary(linktype=1)
    assert (flows, objects) == ([], [])
