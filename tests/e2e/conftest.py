"""Fixtures of several modules; a module that needs more of one has its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.service_rig import Service


@pytest.fixture
def service(short_path: Path) -> Iterator[Service]:
    """Return a service that is laid out and not started; stopped afterwards, whatever happened."""
    rig = Service(short_path)
    yield rig
    rig.stop()
