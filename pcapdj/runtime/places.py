"""Where the launcher's socket, the pipe and the logs are, and that nobody else can put theirs there."""

import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.safe_text import quoted

SOCKET_NAME = "launcher.sock"
PIPE_NAME = "stream.pcap"
_LAYOUT = Path("var/run")  # beside a supervisord.conf
_PRIVATE_MODE = 0o700
_LOG_FOLDER_MODE = 0o750  # a group may read the results


def default_folder(here: Path) -> Path:
    """Return the folder of socket and pipe where none is named.

    The layout's `var/run` if a supervisord.conf stands here, else the user's runtime folder, else in /tmp.
    """
    return here / _LAYOUT if (here / "supervisord.conf").is_file() else user_folder()


def user_folder() -> Path:
    """Return this user's own folder for what does not outlive the machine's uptime."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "pcapdj"
    return Path(f"/tmp/pcapdj-{os.geteuid()}")  # noqa: S108 - checked by `private_folder` before use


def private_folder(path: Path) -> None:
    """Make the folder, 0700, if it is missing; refuse one in which another user could replace our files.

    Raises:
        CannotCreate: it cannot be made, is no folder, or is another user's or open to all.
    """
    try:
        path.mkdir(mode=_PRIVATE_MODE, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as exc:
        raise CannotCreate(f"The folder {quoted(str(path))} cannot be made: {exc.strerror}.") from exc
    if found.st_uid not in (0, os.geteuid()):
        raise CannotCreate(f"The folder {quoted(str(path))} belongs to another user ({found.st_uid}).")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise CannotCreate(
            f"Everybody may replace files in the folder {quoted(str(path))}.", hint="Use one with mode 0700."
        )


def make_log_root(path: Path) -> None:
    """Make the folder under which each stream gets its log folder.

    Raises:
        CannotCreate: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise CannotCreate(f"The log folder {quoted(str(path))} cannot be made: {exc.strerror}.") from exc


def new_log_folder(root: Path, stream: str, now_s: float) -> Path:
    """Make the stream's own log folder, `TIME-STREAM`, and point `latest` at it.

    Some analyzers truncate their logs when they start: two of them must never share a folder.

    Args:
        root: the folder of all log folders; made if missing.
        stream: its id.
        now_s: seconds since the epoch.

    Raises:
        CannotCreate: it cannot be made.
    """
    make_log_root(root)
    folder = root / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_s))}-{stream}"
    try:
        folder.mkdir()
        folder.chmod(_LOG_FOLDER_MODE)
    except OSError as exc:
        raise CannotCreate(f"The log folder {quoted(str(folder))} cannot be made: {exc.strerror}.") from exc
    _point_latest(root, folder.name)
    return folder


def _point_latest(root: Path, name: str) -> None:
    """Replace the symlink at once, never by nothing; something else of that name is left alone."""
    latest, fresh = root / "latest", root / f".latest.{os.getpid()}"
    if latest.exists() and not latest.is_symlink():
        return
    with suppress(OSError):  # a convenience: no stream fails for it
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name)
        fresh.replace(latest)
