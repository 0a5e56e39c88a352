"""The fixture that most tests with several roles use; a module that needs more of it extends it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.roles_rig import Trio, trio_in


@pytest.fixture
def trio(short_path: Path) -> Iterator[Trio]:
    """Return dispatcher, controller and launcher, which do not run yet, with a Redis of their own."""
    with trio_in(short_path) as (_, trio):
        yield trio
