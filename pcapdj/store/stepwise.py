"""Work on large keys that a role does step by step, between its other work: one call of Redis each."""

from collections.abc import Iterator
from typing import Final

_NO_MORE: Final = object()


class StepwiseWork:
    """The work that is being done now, if any."""

    def __init__(self) -> None:
        self._steps: Iterator[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether some of it is left."""
        return self._steps is not None

    def begin(self, steps: Iterator[None]) -> None:
        """Do this work from now on, in place of what is left."""
        self._steps = steps

    def step(self) -> bool:
        """Do the next step; report whether there may be more. An error ends the work.

        Raises:
            Whatever the step raises.
        """
        steps, self._steps = self._steps, None
        if steps is None or next(steps, _NO_MORE) is _NO_MORE:
            return False
        self._steps = steps
        return True
