"""Root works for the user who called sudo, who exchanges a folder of theirs for a link at the worst moment.

An audit hook is called before each open and each making of a folder: there the folder becomes the link.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from support.mounts import memory_mount
from support.reclaiming import feed, make_room, names_in, selected, write_capture

from pcapdj.analyzer.launch import make_log_root
from pcapdj.analyzer.output_loss import mark_suspect
from pcapdj.run.private_service import PrivateService
from pcapdj.run.service_process import LOGS
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.places import make_folder
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import DEFAULT_URL
from pcapdj.summary.results import ResultFiles
from pcapdj.summary.sample import write_sample

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")

CALLER: Final = 65534
_USES: Final = ("open", "os.mkdir")
_left: list[Callable[[Path], None]] = []


def _before(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _USES and _left and isinstance(arguments[0], str | bytes | os.PathLike):
        _left[0](Path(os.fsdecode(arguments[0])))


sys.addaudithook(_before)


class Home:
    """A folder of the calling user, who exchanges `mine` in it for a link to a folder of root."""

    def __init__(self, folder: Path) -> None:
        self.mine, self.link, self.roots = folder / "home/mine", folder / "home/link", folder / "roots"
        self.mine.mkdir(parents=True)
        self.roots.mkdir(mode=0o755)
        self.link.symlink_to(self.roots)
        for each in (self.mine.parent, self.mine, self.link):
            os.chown(each, CALLER, CALLER, follow_symlinks=False)

    @contextmanager
    def exchanged_before(self, number: int) -> Iterator[None]:
        """Exchange them before the use of this number of something in or on the way to `mine`."""
        uses = 0

        def use(path: Path) -> None:
            nonlocal uses
            uses += {"home", "mine"} & {*path.parts} != set()
            if uses > number:
                _left.clear()
                self.mine.rename(self.mine.with_name("kept"))
                self.link.rename(self.mine)

        _left.append(use)
        try:
            yield
        finally:
            _left.clear()


@pytest.fixture
def home(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return the folders of a user who called sudo."""
    monkeypatch.setenv("SUDO_UID", str(CALLER))
    short_path.chmod(0o755)
    return Home(short_path)


def keep_logs(mine: Path) -> None:
    """Copy the logs of a private service."""
    private = mine.parents[1] / "private"
    (private / LOGS).mkdir(parents=True)
    (private / LOGS / "redis.log").write_text("a line")
    PrivateService(private, Store(DEFAULT_URL, Keys()), -1, -1).keep_logs(mine / "logs")


MAKERS: Final[dict[str, Callable[[Path], object]]] = {
    "output": lambda mine: make_folder(mine / "out", 0o755, caller=CALLER),
    "output in a new folder": lambda mine: make_folder(mine / "new/out", 0o755, caller=CALLER),
    "log root": lambda mine: make_log_root(mine / "out"),
    "sample": lambda mine: write_sample(mine / "out"),
    "results of summary": lambda mine: ResultFiles(mine / "out"),
    "logs of a run": keep_logs,
    "mark of a stream": lambda mine: mark_suspect(mine, "The disk is full."),
}


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("kind", MAKERS)
def test_root_makes_nothing_behind_a_link_that_takes_the_place_of_a_folder(
    kind: str, number: int, home: Home
) -> None:
    """Not even an empty folder: its owner would be root, and its name chosen by another user."""
    with home.exchanged_before(number), suppress(PcapdjError):
        MAKERS[kind](home.mine)

    assert names_in(home.roots) == []


@pytest.mark.parametrize("number", range(4))
def test_no_capture_is_moved_behind_a_link_that_takes_the_place_of_the_target(
    store: Store, root: Path, signals: Signals, number: int, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays where it is, or is in the folder of the user who called sudo."""
    monkeypatch.setenv("SUDO_UID", str(CALLER))
    short_path.chmod(0o755)
    with memory_mount(short_path, mounted=short_path / "disk") as disk:
        disk.folder.chmod(0o755)
        home = Home(disk.folder)
        (root / "sub").mkdir()
        feed(store, write_capture(root / "sub/1.pcap"))
        with home.exchanged_before(number):
            make_room(store, selected(root, "move", home.mine), signals, root)

        assert names_in(home.roots) == []
