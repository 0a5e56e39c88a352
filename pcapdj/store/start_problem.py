"""What is wrong with the embedded server of a folder: why it does not start, or that its disk hangs.

The sentence stands in a file beside the server's socket, `redis.problem`. The start of the server writes and
removes it, and so does the companion process while the server runs (`syncing`). Every command and role that
finds no server at the socket shows it as the reason; `status` and `check` show it also of one that answers.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pcapdj.runtime.foreign_files import own_text
from pcapdj.runtime.whole_file import write_whole

PROBLEM: Final = ".problem"  # its suffix
_MOST_BYTES: Final = 4000


def write_problem(socket: Path, sentence: str) -> None:
    """Leave the sentence beside the server's socket, if there is room for it."""
    with suppress(OSError):
        write_whole(
            _path(socket), sentence.encode("utf-8", "backslashreplace")[:_MOST_BYTES], is_synced=False
        )


def clear_problem(socket: Path) -> None:
    """Remove the sentence: the server is started now."""
    with suppress(OSError):
        _path(socket).unlink()


def problem_at(url: str) -> str:
    """Return what is wrong with the server of a unix URL; empty: nothing, as far as it is known."""
    if not url.startswith("unix:"):
        return ""
    with suppress(OSError, ValueError):
        return own_text(_path(Path(unquote(urlsplit(url).path))), _MOST_BYTES).strip()
    return ""


def _path(socket: Path) -> Path:
    return socket.with_suffix(PROBLEM)
