"""Which packet or session a line of Suricata or Zeek is about: `pcapdj.trace.events`."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.trace.events import Addresses, AnalyzerEvent, Rule, ZeekHead, addresses_of, event_of, time_of

START, END = "2023-11-14T22:13:27.000001+0000", "2023-11-14T22:13:30.000000+0000"
START_NS = 1_700_000_007_000_001_000
ENDS = {"src_ip": "10.0.0.5", "src_port": 1113, "dest_ip": "10.0.0.6", "dest_port": 2222, "proto": "UDP"}
SESSION = Addresses(("10.0.0.5", "10.0.0.6"), (1113, 2222), "udp")
ZEEK = """\
#separator \\x09
#path\tconn
#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration
#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval
1700000007.000001\tCx\t10.0.0.5\t1113\t10.0.0.6\t2222\tudp\t-\t2.500000
"""


def event(**fields: Any) -> AnalyzerEvent:
    """Return the event of an EVE line with these fields."""
    found = event_of(json.dumps({"timestamp": END, "event_type": "alert", **ENDS, **fields}), ZeekHead())
    assert found is not None
    return found


def test_a_packet_of_the_wire_is_named_by_its_number() -> None:
    """Its time is that of the packet."""
    found = event(pcap_cnt=7, pkt_src="wire/pcap", flow_id=5, flow={"start": START})

    assert (found.rule, found.packet, found.flow_id) == (Rule.NUMBER, 7, 5)
    assert (found.start_ns, found.end_ns, found.addresses) == (START_NS, None, SESSION)
    assert found.time_ns == time_of(END)
    assert event(pcap_cnt=7).rule is Rule.NUMBER, "events that are no alerts have no pkt_src"


@pytest.mark.parametrize("source", ["defrag", "ipv4 tunnel", "gre tunnel"])
def test_a_packet_inside_another_one_is_named_by_the_number_around_it(source: str) -> None:
    """Of a packet in fragments that is the last one."""
    outer = {"src_ip": "192.0.2.1", "dest_ip": "192.0.2.2", "proto": "GRE", "pcap_cnt": 4}

    found = event(pkt_src=source, tunnel={**outer, "pkt_src": "wire/pcap"}, flow={"start": START})

    assert (found.rule, found.packet) == (Rule.OUTER_NUMBER, 4)
    assert found.outer == Addresses(("192.0.2.1", "192.0.2.2"), (), "gre")


def test_an_event_without_a_packet_of_its_own_has_the_times_of_its_flow() -> None:
    """Its timestamp may be hours later, and counts for nothing."""
    alert = event(pkt_src="stream (flow timeout)", flow_id=5, flow={"start": START})
    flow = event(event_type="flow", flow_id=5, flow={"start": START, "end": END})
    http = event(event_type="http", flow_id=5)
    decoder = event(flow=1)

    assert [each.rule for each in (alert, flow, http, decoder)] == [
        Rule.JOINED_FLOW,
        Rule.FLOW,
        Rule.JOINED_FLOW,
        Rule.NONE,
    ]
    assert [each.packet for each in (alert, flow, http, decoder)] == [None] * 4
    assert [each.time_ns for each in (alert, flow, http, decoder)] == [None] * 4
    assert (flow.start_ns, flow.end_ns) == (START_NS, time_of(END))


@pytest.mark.parametrize("form", ["its own", "JSON"])
def test_a_line_of_conn_log_has_times_and_addresses(form: str) -> None:
    """In Zeek's own format, whose head names the columns, and in JSON."""
    head = ZeekHead()
    fields = {"ts": 1700000007.000001, "uid": "Cx", "proto": "udp", "duration": 2.5}
    fields |= {"id.orig_h": "10.0.0.5", "id.orig_p": 1113, "id.resp_h": "10.0.0.6", "id.resp_p": 2222}
    lines = [json.dumps(fields)] if form == "JSON" else ZEEK.splitlines(keepends=True)

    *rest, found = [event_of(line, head) for line in lines]

    assert rest == [None] * (len(lines) - 1)
    assert found is not None
    assert (found.rule, found.addresses, found.label) == (Rule.TIME_AND_ADDRESSES, SESSION, "conn Cx")
    assert (found.start_ns, found.end_ns) == (START_NS, START_NS + 2_500_000_000)


@each_row(
    ("text", "time_ns"),
    [
        ("2023-11-14T22:13:27.000001+0000", START_NS),
        ("2023-11-14T23:13:27.000001+0100", START_NS),
        ("2023-11-14T22:13:27.000001Z", START_NS),
        ("2023-11-14 22:13:27.000001", START_NS),
        ("1700000007.000001", START_NS),
        (1700000007, START_NS - 1000),
        ("yesterday", None),
        ("-", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_a_time_is_iso_with_or_without_zone_or_seconds(text: object, time_ns: int | None) -> None:
    """Without a zone it is UTC."""
    assert time_of(text) == time_ns


@each_row(
    "hosts", [("10.0.0.1", "::1"), ("10.0.0.1 or ip", None), ("fe80::1%eth0", None), (None, None), ("", 5)]
)
def test_what_is_no_pair_of_addresses_is_none(hosts: tuple[object, ...]) -> None:
    """Nothing of a hostile line reaches a filter: addresses are those that Python's own module writes."""
    assert addresses_of(hosts, (), "tcp") is None


def test_ports_are_numbers_of_16_bits_or_none_at_all() -> None:
    """An address with a zero port is one of a protocol without ports."""
    pair = ("::0001", "2001:DB8::2")
    assert addresses_of(pair, (80, "443"), "TCP") == Addresses(("::1", "2001:db8::2"), (80, 443), "tcp")
    for ports in ((80,), (80, 65_536), (0, 0), ("a", 1), (None, None)):
        assert addresses_of(pair, ports, "tcp") == Addresses(("::1", "2001:db8::2"), (), "tcp")
    assert str(Addresses(("::1", "::2"), (1, 2), "tcp")) == "[::1]:1 - [::2]:2 tcp"
    assert str(Addresses(("10.0.0.1",))) == "10.0.0.1"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["pcap_cnt", "pkt_src", "flow", "tunnel", "alert", "flow_id", "src_ip", "timestamp"])


@given(st.dictionaries(names, json_values), st.text(max_size=30))
def test_no_line_raises(fields: dict[str, Any], text: str) -> None:
    """Whatever another program wrote: it is an event, or none."""
    head = ZeekHead()
    event_of("#fields\tts\tid.orig_h\n", head)

    for line in (json.dumps({"event_type": "alert", **fields}), text, text.replace(" ", "\t"), "[1]", "{"):
        found = event_of(line, head)
        assert found is None or isinstance(found.label, str)


@each_row("separator", ["", "\\x", "\\xzz", "\\N{no}", "\\u12", "\\x0920", "\\", "\x00"])
def test_a_separator_as_zeek_never_writes_it_is_not_used(separator: str) -> None:
    """The columns are separated by tabs then."""
    head = ZeekHead()

    lines = ZEEK.replace("\\x09", separator).splitlines(keepends=True)
    *_, found = [event_of(line, head) for line in lines]

    assert found is not None
    assert found.addresses == SESSION


@each_row("name", ["payload", "alert", "timestamp", "event_type", "pkt_src", "proto"])
def test_an_event_keeps_little_of_a_long_line(name: str) -> None:
    """Hundreds are looked for at once: each of a megabyte would fill the memory."""
    long: Any = {"signature": "x" * 100_000, "signature_id": "y" * 100_000, "metadata": [[]] * 15_000}

    found = event(**{name: long if name == "alert" else "z" * 100_000})

    assert len(repr(found)) < 2000


def test_a_wide_line_of_zeek_keeps_little() -> None:
    """Columns that the head does not name are not kept."""
    head = ZeekHead()
    *_, found = [event_of(line, head) for line in (ZEEK.rstrip("\n") + "\tx" * 100_000).splitlines()]

    assert found is not None
    assert len(repr(found)) < 2000
