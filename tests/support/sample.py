"""The sample captures of `pcapdj sample`, built once in each test process: that takes a third of a second."""

import functools
import tempfile
from pathlib import Path

from pcapdj.summary.sample import write_sample


def sample_in(folder: Path) -> list[Path]:
    """Write the sample's files into a new folder, as `write_sample` does; return its captures in order."""
    names, files = _built()
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in names]


@functools.cache
def _built() -> tuple[list[str], dict[str, bytes]]:
    """Return the captures' names, and the content of every file."""
    with tempfile.TemporaryDirectory() as folder:
        captures = write_sample(Path(folder) / "sample")
        files = {path.name: path.read_bytes() for path in captures[0].parent.iterdir()}
        return [path.name for path in captures], files
