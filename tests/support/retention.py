"""What removes old records of a lane, without a role around it."""

import os
import select
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pcapdj.capture.removed_files import RemovedFiles
from pcapdj.runtime.signals import HasFileno
from pcapdj.store.client import Store
from pcapdj.store.retention import Retention


class _Waits:
    """Waits without signals."""

    def wait(
        self,
        timeout_s: float,
        *readable: HasFileno | int,
        stops: int = 1,  # noqa: ARG002 - no signals
        waiting_for: str = "",  # noqa: ARG002 - shown nowhere
    ) -> None:
        """Wait, as `Waits`."""
        select.select(readable, [], [], max(0.0, timeout_s))


def retention_of(store: Store, *limits_s: float, roots: Sequence[Path] = ()) -> Retention:
    """Return what removes old records of the lane."""
    return Retention(store, partial(RemovedFiles, _Waits(), [*map(os.fsencode, roots)]), *limits_s)
