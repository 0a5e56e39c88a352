"""An analyzer that waits half-way: `half_reader.py PIPE FOLDER BYTES`.

It writes how many bytes it has read into FOLDER/half, and reads on when FOLDER/go is there. It ends half a
second after its input, so that what the other processes have used until then can be measured.
"""

import sys
import time
from pathlib import Path


def main() -> None:
    """Read all of the pipe."""
    pipe, folder, half_bytes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    total_bytes = 0
    with open(pipe, "rb", buffering=0) as stream:  # noqa: PTH123 - unbuffered, as an analyzer reads
        while data := stream.read(1 << 16):
            total_bytes += len(data)
            if total_bytes >= half_bytes and not (folder / "half").exists():
                (folder / "new").write_text(str(total_bytes), encoding="ascii")
                (folder / "new").rename(folder / "half")
                while not (folder / "go").exists():
                    time.sleep(0.01)
    time.sleep(0.5)


if __name__ == "__main__":
    main()
