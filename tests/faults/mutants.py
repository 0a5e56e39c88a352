"""Captures with random changes: what no person would think of."""

import random
import struct
from collections.abc import Iterator
from typing import Final

from faults.hostile import Hostile, content
from faults.packets import FORMS, RECORD, STREAM_HEADER, body_of, records_in

_INTERESTING: Final = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 262_144, 262_145, 0x0A0D0D0A)


def mutants(seed: int, count: int) -> Iterator[Hostile]:
    """Yield captures of all forms with one to four changes; in plain ones, what precedes them is good."""
    rng = random.Random(seed)  # noqa: S311 - the same seed has to give the same mutants
    bodies = [body_of(99, packets, 110) for packets in (1, 3, 20)]
    forms = list(FORMS.items())
    for number in range(count):
        form, make = forms[number % len(forms)]
        body = rng.choice(bodies)
        data, first = _mutated(make(body), rng)
        good = _whole_records(body, first - len(STREAM_HEADER)) if form == "plain.pcap" else b""
        yield Hostile(f"mutant {number} of {form}", content(data), good)


def _mutated(data: bytes, rng: random.Random) -> tuple[bytes, int]:
    """Return the changed bytes, and where the first change is."""
    changed, first = bytearray(data), len(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) or 1)
        kind = rng.randrange(6)
        if kind == 0:
            changed[at : at + 1] = bytes([changed[at] ^ 1 << rng.randrange(8)]) if changed else b""
        elif kind == 1:
            changed[at : at + 1] = rng.randbytes(1)
        elif kind == 2:
            changed[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(_INTERESTING))
        elif kind == 3:
            del changed[at : at + rng.choice([1, 4, 16, 100])]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.choice([1, 8, 64])]
        else:
            del changed[at:]
        first = min(first, at)
    return bytes(changed), first


def _whole_records(body: bytes, end: int) -> bytes:
    """Return the records that are whole before `end`."""
    position = 0
    for *_, data in records_in(body):
        after = position + RECORD.size + len(data)
        if after > end:
            break
        position = after
    return body[:position]
