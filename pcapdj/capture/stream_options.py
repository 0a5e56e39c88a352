"""What the operator wants of the streams: their time resolution, and what other link types come to."""

from typing import Literal, NamedTuple

from pcapdj.capture.ethernet import format_of_first
from pcapdj.capture.pcap import StreamFormat

Precision = Literal["first", "us", "ns"]
OnLinktype = Literal["fail", "new-stream", "ethernet"]


class StreamOptions(NamedTuple):
    """How streams shall be.

    Args:
        precision: us or ns forces the time resolution; first: as the first file has it.
        on_linktype: what is done with a file of another link type than the open stream's.
    """

    precision: Precision
    on_linktype: OnLinktype

    @property
    def rewrites(self) -> bool:
        """Whether packets of other link types are rewritten to Ethernet."""
        return self.on_linktype == "ethernet"

    def format_of_first(self, native: StreamFormat) -> StreamFormat:
        """Return the format of the stream that a capture of this format begins."""
        first = format_of_first(native, rewrites=self.rewrites)
        return first if self.precision == "first" else first._replace(nanosecond=self.precision == "ns")

    def parts(self, native: StreamFormat, stream: StreamFormat) -> bool:
        """Report whether a capture shall not go into this stream, but begin the next one."""
        return self.on_linktype == "new-stream" and native.linktype != stream.linktype
