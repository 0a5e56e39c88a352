"""`pcapdj sample`: writes captures to try pcapdj with."""

from pathlib import Path
from typing import Annotated

import typer

from pcapdj.console.screen import print_lines
from pcapdj.runtime.command import new_app
from pcapdj.runtime.safe_text import quoted, shell_path
from pcapdj.summary.sample import write_sample

app = new_app()


@app.command()
def sample(folder: Annotated[Path, typer.Argument(help="created if missing", metavar="DIR")]) -> None:
    """Write five rotated captures that contain one HTTP download in parts, and its sha256."""
    captures = write_sample(folder)
    print_lines(f"Wrote {len(captures)} captures to {quoted(str(folder))}.")
    print_lines(f"Next: pcapdj run {shell_path(folder)}")
