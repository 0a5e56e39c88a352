"""`pcapdj gate`: override the disk gate, or leave it to the disks again."""

import time
from typing import Annotated, Final

import typer

from pcapdj.console.screen import print_lines
from pcapdj.disk.gate import Override
from pcapdj.disk.live_limits import ACCEPT_FIELD, OVERRIDE_FIELD
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted
from pcapdj.store import operate
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

_RESULTS: Final[dict[str, str]] = {
    Override.OPEN: "The gate is open, even if the disks are full; 'pcapdj gate auto' ends that.",
    Override.HOLD: (
        "The gate holds: the current file goes on, no other file starts. 'pcapdj gate auto' ends that."
    ),
    Override.AUTO: "The gate follows the disks.",
}
_ACCEPT: Final = "accept"

app = new_app()


@app.command()
def gate(
    override: Annotated[
        str | None,
        typer.Argument(help="without it: show the current setting", metavar="open|hold|auto|accept"),
    ] = None,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Hold the gate open or closed, or leave it to the disks (auto).

    After a disk was exchanged, `accept` takes the file systems as they are now.
    """
    if override is not None and override not in {*_RESULTS, _ACCEPT}:
        hint = "Write open, hold (which closes it), auto or accept."
        raise ConfigError(f"Unknown gate setting {quoted(override[:80])}.", hint=hint)
    store = open_store(redis_url, redis_password_file, lane)
    if override is None:
        word = operate.read_control(store).get(OVERRIDE_FIELD, Override.AUTO)
        refused = (
            f"The controller refuses the gate setting {quoted(word[:80])}; 'pcapdj gate auto' ends that."
        )
        print_lines(_RESULTS.get(word, refused))
        return
    if override == _ACCEPT:
        operate.change_control(store, {ACCEPT_FIELD: f"{time.time():.6f}"})
        print_lines("The watched paths are accepted on the file systems where they are now.")
        return
    operate.change_control(store, {OVERRIDE_FIELD: override})
    print_lines(_RESULTS[override])
