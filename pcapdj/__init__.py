"""pcapdj: rotated capture files, one authorization at a time, as one stream into an analyzer.

`python -m` searches the current folder before all others, and that may be a folder of captures from anywhere:
a `redis.py` there would be executed. So the first lines of the package remove that folder from `sys.path`.
They import only what is built into the interpreter. Python itself has imported a few modules before
(SECURITY.md); the `pcapdj` command and `python -P -m` do not search the current folder at all.
"""

import sys
from posix import environ, getcwd

__version__ = "0.2.0"


def _forget_current_folder() -> None:
    try:
        here = ("", ".", getcwd())
    except OSError:  # it was removed: nothing can be imported from it
        return
    is_searched = sys.argv[:1] in (["-m"], ["-c"]) and not sys.flags.safe_path
    if is_searched and sys.path[:1] in ([here[0]], [here[-1]]):
        del sys.path[0]
    if any(map(_is_current_folder, (environ.get(b"PYTHONPATH") or b"/").split(b":"))):  # mostly by accident
        sys.path[:] = [each for each in sys.path if each not in here]


def _is_current_folder(path: bytes) -> bool:
    """Report whether it is empty, or `.` in one of its forms."""
    return not path.startswith(b"/") and set(path.split(b"/")) <= {b"", b"."}


_forget_current_folder()
