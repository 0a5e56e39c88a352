"""Both forms of the loops over records: tests choose one, or compare the two."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pcapdj.capture import compiled
from support.programs import missing

Form = Literal["python", "compiled"]


@contextmanager
def loops(form: Form) -> Iterator[None]:
    """Use this form of the loops for the block; skip (fail in CI) where it is not built."""
    before = os.environ.get(compiled.VARIABLE)
    if form == "compiled" and not Path(compiled.LIBRARY).exists():
        missing("the compiled loops are not built: run 'make loops'")
    os.environ[compiled.VARIABLE] = form
    compiled.loaded.cache_clear()
    try:
        yield
    finally:
        compiled.loaded.cache_clear()
        del os.environ[compiled.VARIABLE]
        if before is not None:
            os.environ[compiled.VARIABLE] = before
