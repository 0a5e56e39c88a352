"""An analyzer that measures the gaps between files: `python bench/gap_reader.py PIPE RESULT FILE_BYTES`.

All captures have FILE_BYTES of records. A gap is the time from the read of the last byte of one file to the
read of the first byte of the next.
"""

import json
import os
import sys
import time
from pathlib import Path

_HEADER_BYTES = 24


def gaps_ms(pipe: str, file_bytes: int) -> list[float]:
    """Read the stream to its end; return the gap after each file except the last."""
    found, seen_bytes, drained_s = [], 0, None
    stream = os.open(pipe, os.O_RDONLY)
    while data := os.read(stream, 1 << 20):
        now_s = time.monotonic()
        if drained_s is not None:
            found.append((now_s - drained_s) * 1000)
        seen_bytes += len(data)
        is_border = seen_bytes > _HEADER_BYTES and (seen_bytes - _HEADER_BYTES) % file_bytes == 0
        drained_s = now_s if is_border else None
    return found


if __name__ == "__main__":
    result = gaps_ms(sys.argv[1], int(sys.argv[3]))
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")
