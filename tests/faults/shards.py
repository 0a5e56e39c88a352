"""The checker for damaged inputs, whose packets cannot be predicted. Rules only."""

from collections.abc import Sequence
from dataclasses import dataclass

from faults.checker import Findings, tags_of
from faults.packets import STREAM_HEADER


@dataclass(frozen=True, slots=True)
class Shard:
    """Which bytes of a stream came from one input, as the journal has it.

    Args:
        label: of the input.
        good: what has to be there, from its first byte on.
        is_exact: and nothing else.
    """

    label: str
    start: int
    end: int
    good: bytes
    is_exact: bool = False


def check_shards(data: bytes, shards: Sequence[Shard]) -> Findings:
    """Return what is wrong with a stream of damaged inputs: each gave whole records, the good ones first."""
    found = Findings()
    if not data.startswith(STREAM_HEADER):
        found.torn += 1
        found.add(f"does not begin with a file header: {data[:24].hex()}")
    position = len(STREAM_HEADER)
    for each in shards:
        if each.start != position:
            found.add(f"{each.label}: begins at byte {each.start} instead of {position}")
        position = each.end
        _check_shard(data[each.start : each.end], each, found)
    if position != len(data):
        found.add(f"the stream has {len(data)} bytes instead of {position}")
    return found


def _check_shard(content: bytes, each: Shard, found: Findings) -> None:
    tags, ends_at = tags_of(content)
    found.packets += len(tags)
    if ends_at != len(content):
        found.torn += 1
        found.add(f"{each.label}: torn after {len(tags)} packets")
    if not content.startswith(each.good) or (each.is_exact and content != each.good):
        found.lost += 1
        found.add(f"{each.label}: {len(each.good)} good bytes did not arrive as they are")
