"""The flow table: assigns packets to flows, within limits of memory and of work. Pure.

Rules
- A flow is a protocol, two addresses and two ports, in both directions; VLAN tags do not separate flows.
- The table has at most `FlowLimits.flows` flows; beyond that the one without a packet for the longest time is
  ended and reported.
- All bytes held for later (segments after a gap, incomplete heads) are counted. Beyond
  `FlowLimits.held_bytes` the flow that has held bytes for the longest time delivers its gaps.
- A result is reported when it ends, and not kept: held segments may have thousands of objects each.
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache, partial

from pcapdj.summary.http1 import ResponseBody
from pcapdj.summary.http_work import FUND_BYTES, WorkFund
from pcapdj.summary.packets import TCP, UDP, Packet
from pcapdj.summary.results import FlowSummary, HttpObject, Results, iso_time
from pcapdj.summary.tcp import TcpSession

PROTOCOL_NAMES = {1: "icmp", TCP: "tcp", UDP: "udp", 58: "icmp6", 132: "sctp"}
IPV4_BYTES = 4
Key = tuple[int, bytes, int, bytes, int]


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Limits of memory, with the defaults at most 80 MB for the process, and of work (`http_work`)."""

    flows: int = 6_144  # measured: 2 KB each when idle, 7 KB with two requests that have long URIs
    held_bytes: int = 8 << 20
    fund_bytes: int = FUND_BYTES


@dataclass(slots=True, eq=False)
class Flow:
    """One live flow; side 0 is the sender of its first packet."""

    first: Packet
    first_ns: int
    last_ns: int
    session: TcpSession | None
    packets: int = 0
    wire_bytes: int = 0
    held_bytes: int = 0


class FlowTable:
    """All live flows; the one without a packet for the longest time is first.

    Args:
        results: of the stream.
        limits: of memory and work.
    """

    def __init__(self, results: Results, limits: FlowLimits | None = None) -> None:
        self._results = results
        self._limits = limits or FlowLimits()
        self._live: OrderedDict[Key, Flow] = OrderedDict()
        self._waiting: dict[Flow, None] = {}  # flows with held bytes, oldest first
        self._held_bytes = 0
        self._fund = WorkFund(self._limits.fund_bytes)
        self.ended_flows = self.ended_objects = self.complete_objects = 0

    @property
    def unread_connections(self) -> int:
        """The number of connections that were not read to their end as HTTP."""
        return self._fund.unread_connections

    def add(self, packet: Packet, time_ns: int, wire_bytes: int) -> None:
        """Add the next packet of the stream."""
        key, flow = self._flow_of(packet, time_ns)
        flow.packets += 1
        flow.wire_bytes += wire_bytes
        flow.last_ns = time_ns
        self._live.move_to_end(key)
        if flow.session and not packet.is_fragment:
            flow.session.add(_side(flow, packet), packet, time_ns)
            self._limit_held_bytes(flow)

    def finish(self) -> None:
        """End all flows: the stream has ended."""
        while self._live:
            self._end(self._live.popitem(last=False)[1], "end of stream")

    def _flow_of(self, packet: Packet, time_ns: int) -> tuple[Key, Flow]:
        key = _key(packet)
        flow = self._live.get(key)
        if flow and flow.session and flow.session.is_reused_by(_side(flow, packet), packet):
            del self._live[key]
            self._end(flow, "port reused")
            flow = None
        if flow is None:
            first = packet._replace(payload=b"")
            session = TcpSession(partial(self._report, first), self._fund) if packet.protocol == TCP else None
            self._live[key] = flow = Flow(first, time_ns, time_ns, session)
            if len(self._live) > self._limits.flows:
                self._end(self._live.popitem(last=False)[1], "evicted")
        return key, flow

    def _limit_held_bytes(self, flow: Flow) -> None:
        """Update the number of held bytes, and keep it within the limit."""
        self._update(flow)
        while self._held_bytes > self._limits.held_bytes:
            oldest = next(iter(self._waiting))
            if oldest.session:
                oldest.session.release(oldest.last_ns)
            self._update(oldest)

    def _update(self, flow: Flow) -> None:
        session = flow.session
        if session is None:
            return
        held_bytes = session.held_bytes
        if held_bytes != flow.held_bytes:
            self._held_bytes += held_bytes - flow.held_bytes
            flow.held_bytes = held_bytes
            if held_bytes:
                self._waiting[flow] = None
            else:
                self._waiting.pop(flow, None)

    def _report(self, first: Packet, body: ResponseBody) -> None:
        self.ended_objects += 1
        self.complete_objects += not body.reason
        self._results.add_object(_http_object(first, body))

    def _end(self, flow: Flow, reason: str) -> None:
        if flow.session:
            flow.session.finish(reason, flow.last_ns)
            self._update(flow)
        self.ended_flows += 1
        self._results.add_flow(_summary(flow, reason))


def _key(packet: Packet) -> Key:
    """Return the same key for both directions."""
    protocol, source, destination, sport, dport = packet[:5]
    if (source, sport) <= (destination, dport):
        return protocol, source, sport, destination, dport
    return protocol, destination, dport, source, sport


def _side(flow: Flow, packet: Packet) -> int:
    """Return 0 for the sender of the flow's first packet, 1 for the other."""
    first = flow.first
    return int(packet.source_port != first.source_port or packet.source != first.source)


@lru_cache(maxsize=4_096)
def _address_text(address: bytes) -> str:
    return ".".join(map(str, address)) if len(address) == IPV4_BYTES else str(ipaddress.IPv6Address(address))


def _summary(flow: Flow, reason: str) -> FlowSummary:
    first = flow.first
    return FlowSummary(
        source=_address_text(first.source),
        source_port=first.source_port,
        destination=_address_text(first.destination),
        destination_port=first.destination_port,
        protocol=PROTOCOL_NAMES.get(first.protocol, str(first.protocol)),
        packets=flow.packets,
        bytes=flow.wire_bytes,
        first_time=iso_time(flow.first_ns),
        last_time=iso_time(flow.last_ns),
        end=flow.session.end_reason if flow.session else reason,
    )


def _http_object(first: Packet, body: ResponseBody) -> HttpObject:
    ends = ((first.source, first.source_port), (first.destination, first.destination_port))
    server, client = ends[body.server_side], ends[1 - body.server_side]
    request = body.request
    return HttpObject(
        method=request.method if request else None,
        host=request.host if request else None,
        uri=request.uri if request else None,
        status=body.status,
        content_type=body.content_type,
        content_encoding=body.content_encoding,
        size_bytes=body.size_bytes,
        sha256=body.digest.hexdigest(),
        complete=not body.reason,
        reason=body.reason,
        client=_address_text(client[0]),
        client_port=client[1],
        server=_address_text(server[0]),
        server_port=server[1],
        first_time=iso_time(body.first_ns),
        last_time=iso_time(body.last_ns),
    )
