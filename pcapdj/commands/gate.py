"""`pcapdj gate`: override the disk gate by hand, or leave it to the disks again."""

from enum import StrEnum
from typing import Annotated

import typer

from pcapdj.runtime.command import new_app
from pcapdj.runtime.safe_text import printable
from pcapdj.store import operate
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

app = new_app()


class Override(StrEnum):
    """What the operator wants of the gate."""

    OPEN = "open"
    HOLD = "hold"
    AUTO = "auto"


_SAID = {
    Override.OPEN: "The gate is held open whatever the disks say; 'pcapdj gate auto' ends that.",
    Override.HOLD: "The gate holds: the current file goes on, no other begins. 'pcapdj gate auto' ends that.",
    Override.AUTO: "The gate follows the disks.",
}


@app.command()
def gate(
    override: Annotated[
        Override | None, typer.Argument(help="none tells what is set", metavar="open|hold|auto")
    ] = None,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Hold the gate open or closed by hand, or leave it to the disks (auto)."""
    store = open_store(redis_url, redis_password_file, lane, is_role=False)
    if override is None:
        typer.echo(printable(operate.read_control(store).get(operate.GATE_FIELD, Override.AUTO)))
        return
    operate.change_control(store, {operate.GATE_FIELD: override})
    typer.echo(_SAID[override])
