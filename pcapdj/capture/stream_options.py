"""Stream options: timestamp precision, and the handling of other link types.

A stream has one link type and one timestamp resolution. Both are decided by the first capture file with a
packet, or forced by these options. All functions are pure.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pcapdj.capture.linktypes import ETHERNET, REWRITABLE, linktype_name
from pcapdj.capture.pcap import StreamFormat, most_of

Precision = Literal["first", "us", "ns"]
OnLinktype = Literal["fail", "new-stream", "ethernet"]


class StreamOptions(NamedTuple):
    """The operator's options for streams.

    Args:
        precision: us or ns forces the timestamp resolution; first: that of the first file.
        on_linktype: how a file is handled whose link type is not that of the open stream.
    """

    precision: Precision
    on_linktype: OnLinktype

    @property
    def rewrites(self) -> bool:
        """Whether packets of other link types are rewritten to Ethernet."""
        return self.on_linktype == "ethernet"

    def format_of_first(self, native: StreamFormat) -> StreamFormat:
        """Return the format of a stream whose first capture file has this format."""
        linktype = ETHERNET if self.rewrites and native.linktype in REWRITABLE else native.linktype
        nanosecond = native.nanosecond if self.precision == "first" else self.precision == "ns"
        return with_rewriting(StreamFormat(linktype, nanosecond), rewrites=self.rewrites)

    def needs_new_stream(self, native: StreamFormat, stream: StreamFormat) -> bool:
        """Report whether a capture file of this format ends the open stream and starts the next one."""
        return self.on_linktype == "new-stream" and native.linktype != stream.linktype


def with_rewriting(stream: StreamFormat, *, rewrites: bool) -> StreamFormat:
    """Return the format with rewriting to Ethernet on or off; always off if the stream is not Ethernet."""
    return stream._replace(rewrites=rewrites and stream.linktype == ETHERNET)


def accepts(stream: StreamFormat, linktype: int) -> bool:
    """Report whether packets of this link type can go into the stream, unchanged or rewritten."""
    return linktype == stream.linktype or (stream.rewrites and linktype in REWRITABLE)


def linktype_mismatch(linktype: int, stream_linktype: int) -> str:
    """Return why a capture file of one link type cannot go into a stream of another."""
    return f"is {linktype_name(linktype)}, but the stream is {linktype_name(stream_linktype)}"


def skipped_packets(skipped: Mapping[int, int], *, rewrites: bool) -> str:
    """Return which packets of a file, counted by link type, were skipped, and why."""
    shown, rest = most_of(skipped)
    counts = [f"{count} of {linktype_name(linktype)}" for linktype, count in sorted(shown.items())]
    why = "they cannot be rewritten to Ethernet" if rewrites else "of their link type"
    return f"packets skipped because {why}: {', '.join(counts + [f'{rest} of others'] * bool(rest))}"
