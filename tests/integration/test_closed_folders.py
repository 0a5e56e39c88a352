"""A folder is closed to this user, is gone, or is a circle of links: one sentence, and no traceback.

Somebody who becomes another user with sudo or su stays in the folder of the first one.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from support.roles_rig import Trio
from support.waiting import wait_until

from pcapdj.commands.check import folder_lines
from pcapdj.commands.monitor import layout_of
from pcapdj.inbox.listing import Listing
from pcapdj.inbox.skipped import Refusal
from pcapdj.run.plan import new_logdir
from pcapdj.run.record import RunRecord
from pcapdj.runtime.errors import CannotCreate, ConfigError, ExitCode, PcapdjError, StoreUnavailable
from pcapdj.runtime.places import private_folder
from pcapdj.runtime.safe_text import unix_url
from pcapdj.runtime.settings_file import NAME as SETTINGS
from pcapdj.runtime.settings_file import SettingsFile, read_settings
from pcapdj.runtime.trust import has_service
from pcapdj.service import CONF
from pcapdj.store.client import Store
from pcapdj.store.failures import all_failures
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import SOCKET_IN_LAYOUT

OTHER: Final = 65_534
REFUSED: Final = Refusal(b"/in/1.pcap", "is no capture", is_fault=True)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a while")


@pytest.fixture
def closed(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that only root can enter, below one that all may enter."""
    short_path.chmod(0o755)
    folder = short_path / "closed"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(short_path)
    return folder


def as_other(work: Callable[[], object]) -> object:
    """Return the result of the work as another user, or its error: root may enter every folder."""
    os.seteuid(OTHER)
    try:
        return work()
    except PcapdjError as exc:
        return str(exc)
    finally:
        os.seteuid(0)


@needs_root
def test_a_current_folder_that_is_closed_has_no_service(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if there is one: commands and roles use their defaults, as anywhere else."""
    (closed / CONF).touch()
    monkeypatch.chdir(closed)

    assert as_other(lambda: has_service(Path())) is False
    assert as_other(lambda: read_settings(Path())) == SettingsFile()
    assert as_other(lambda: list(folder_lines(Path()))) == []
    assert as_other(lambda: layout_of(f"unix://{closed}/var/run/redis.sock")) is None
    assert as_other(lambda: new_logdir(Listing((), (REFUSED,)))) == Path("1-pcapdj")


@needs_root
def test_a_run_names_a_folder_of_output_that_is_closed(closed: Path) -> None:
    """It ends before it does anything: there may be a record of an earlier run."""
    assert as_other(lambda: RunRecord(closed, resume=False)) == (
        f"'{closed}/pcapdj.json' cannot be read: Permission denied."
    )


def test_links_that_lead_in_a_circle_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """As a folder of output, for temporary files, or as the settings of a service."""
    circle = tmp_path / SETTINGS
    circle.symlink_to(circle)
    (tmp_path / CONF).touch()

    with pytest.raises(CannotCreate, match="Too many levels of symbolic links"):
        RunRecord(circle, resume=False)
    with pytest.raises(CannotCreate, match="Too many levels of symbolic links"):
        private_folder(circle / "pcapdj")
    with pytest.raises(ConfigError, match="Too many levels of symbolic links"):
        read_settings(tmp_path)


@pytest.fixture
def in_gone_folder(tmp_path: Path) -> Callable[[], None]:
    """Return what a child does to work in a folder that is gone."""

    def leave() -> None:
        folder = tmp_path / "gone"
        folder.mkdir()
        os.chdir(folder)
        folder.rmdir()

    return leave


@pytest.mark.parametrize("command", [("status",), ("cat", "1.pcap")], ids=" ".join)
def test_a_current_folder_that_is_gone_is_one_sentence(
    command: tuple[str, ...], in_gone_folder: Callable[[], None]
) -> None:
    """Such as that of captures which somebody has removed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pcapdj", *command],
        preexec_fn=in_gone_folder,
        capture_output=True,
        text=True,
        check=False,
    )

    sentence = "The current folder does not exist any more. Change to another one."
    assert (done.returncode, done.stderr) == (ExitCode.ERROR, f"pcapdj {command[0]}: {sentence}\n")


def test_roles_do_not_mind_that_the_folder_is_removed_in_which_they_were_started(trio: Trio) -> None:
    """It may be another user's; a relative name that some program pushed fails, and the next file is fed."""
    here = trio.folder / "here"
    here.mkdir()
    trio.start("consumer")
    for role in ("controller", "dispatcher", "importer"):
        trio.start(role, cwd=here)
    trio.wait_logged("importer", "inbox_watched")
    trio.wait_logged("dispatcher", "started")
    trio.wait_logged("controller", "gate_open")
    here.rmdir()

    trio.queue(b"relative.pcap")
    wait_until(lambda: [*all_failures(trio.store)], "the relative name to fail")
    trio.capture("1.pcap", 1)

    trio.await_processed(1)
    assert len(trio.alive()) == 4
    assert [failure.reason for failure in all_failures(trio.store)] == ["does not exist"]


def test_an_error_of_redis_says_how_it_is_started_where_the_current_folder_is_gone(
    tmp_path: Path, in_gone_folder: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role says it while it waits for the Redis of a service."""
    monkeypatch.chdir(tmp_path)
    service = tmp_path / "service"
    service.mkdir()
    (service / CONF).touch()
    store = Store(unix_url(str(service / SOCKET_IN_LAYOUT)), Keys())
    in_gone_folder()

    with pytest.raises(StoreUnavailable, match=f"'pcapdj up' in '{service}' starts the service"):
        store.call(lambda client: client.ping())
