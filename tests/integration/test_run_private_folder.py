"""The temporary folder of a run, and what the next run removes."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support.descriptors import open_descriptors
from support.folders import deep_tree

from pcapdj.run.private_folder import private_folder
from pcapdj.run.private_service import PrivateService, check_private_service
from pcapdj.run.service_process import LOGS
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.lock import Lock
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import DEFAULT_URL


@pytest.fixture
def temporary(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the folder for temporary files."""
    monkeypatch.setenv("TMPDIR", str(short_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield short_path
    tempfile.tempdir = None


def killed(temporary: Path, name: str) -> Path:
    """Return a folder as a killed run leaves it."""
    folder = temporary / name
    folder.mkdir()
    (folder / "run.lock").touch()
    return folder


def test_it_is_private_and_gone_at_the_end(temporary: Path) -> None:
    """Also if the block raises."""
    with suppress(ZeroDivisionError), private_folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        raise ZeroDivisionError

    assert not list(temporary.iterdir())


@pytest.mark.long
@pytest.mark.parametrize("is_own", [True, False])
def test_a_folder_with_thousands_of_levels_is_removed(*, is_own: bool, temporary: Path) -> None:
    """The run's own, or one of a killed run. An analyzer may make them; what its links lead to stays."""
    (temporary / "kept").mkdir()
    (temporary / "kept/x").touch()
    old = None if is_own else killed(temporary, "pcapdj-0")
    with ExitStack() as trees:
        if old:
            trees.enter_context(deep_tree(old / "deep", 3000, every=1000, is_removed=True))
            (old / "link").symlink_to(temporary / "kept")
        with private_folder() as folder:
            if is_own:
                trees.enter_context(deep_tree(folder / "deep", 3000, every=1000, is_removed=True))
                (folder / "deep/link").symlink_to(temporary / "kept")

        assert list(temporary.iterdir()) == [temporary / "kept"]
    assert list((temporary / "kept").iterdir()) == [temporary / "kept/x"]


@pytest.mark.long
def test_the_logs_of_a_failed_run_are_copied_whatever_an_analyzer_put_in_their_place(
    temporary: Path, tmp_path: Path
) -> None:
    """Only regular files with the names of the roles' logs; not what a link leads to, nor other files."""
    (temporary / "secret").write_text("secret")
    logs = temporary / LOGS
    logs.mkdir()
    (logs / "dispatcher.log").write_text("why\n\n")
    os.mkfifo(logs / "redis.log")
    (logs / "consumer.log").symlink_to(temporary / "secret")
    with deep_tree(logs / "deep", 3000):
        service = PrivateService(temporary, Store(DEFAULT_URL, Keys()), -1, -1)

        with pytest.raises(CannotCreate, match="cannot be copied"):
            service.keep_logs(tmp_path / "logs")

        assert service.last_log_line("dispatcher") == "why"
        assert [service.last_log_line(name) for name in ("redis", "consumer")] == ["", ""]
    copied = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert copied == {"dispatcher.log": "why\n\n"}


@pytest.mark.parametrize("trap", ["folder", "file"])
def test_the_logs_of_a_failed_run_are_not_written_through_a_link(
    temporary: Path, tmp_path: Path, trap: str
) -> None:
    """An output folder from elsewhere may have `logs -> /var/log`: a log with that name would be cut."""
    (temporary / LOGS).mkdir()
    (temporary / LOGS / "redis.log").write_text("new")
    (tmp_path / "others").mkdir()
    (tmp_path / "others/redis.log").write_text("old")
    logs = tmp_path / "logs"
    if trap == "folder":
        logs.symlink_to("others")
    else:
        logs.mkdir()
        (logs / "redis.log").symlink_to("../others/redis.log")

    with pytest.raises(CannotCreate, match="cannot be copied"):
        PrivateService(temporary, Store(DEFAULT_URL, Keys()), -1, -1).keep_logs(logs)

    assert (tmp_path / "others/redis.log").read_text() == "old"


def test_a_hole_in_a_log_is_not_copied(temporary: Path, tmp_path: Path) -> None:
    """An analyzer of the same user can make it as long as the disk's numbers go."""
    log = temporary / LOGS / "consumer.log"
    log.parent.mkdir()
    log.write_text("why\n")
    os.truncate(log, 1 << 40)

    PrivateService(temporary, Store(DEFAULT_URL, Keys()), -1, -1).keep_logs(tmp_path / "logs")

    copy = tmp_path / "logs" / "consumer.log"
    assert copy.stat().st_size <= 2 << 20
    assert copy.read_bytes().strip(b"\0") == b"why\n"


def test_a_log_with_a_byte_now_and_then_in_a_hole_is_copied_up_to_a_limit(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them costs its author a page of disk, and would cost the output folder a megabyte."""
    monkeypatch.setattr("pcapdj.run.private_service._MOST_COPIED_BYTES", 3 << 20)
    log = temporary / LOGS / "consumer.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        for number in range(10):
            file.seek(number << 21)
            file.write(b"why\n")

    PrivateService(temporary, Store(DEFAULT_URL, Keys()), -1, -1).keep_logs(tmp_path / "logs")

    copy = (tmp_path / "logs" / "consumer.log").read_bytes()
    assert (len(copy), copy.replace(b"\0", b"")) == (3 << 20, b"why\n" * 3)


def test_folders_of_killed_runs_are_removed(temporary: Path) -> None:
    """And no descriptor stays open."""
    for number in range(3):
        killed(temporary, f"pcapdj-{number}")
    before = len(open_descriptors())

    with private_folder() as folder:
        assert list(temporary.iterdir()) == [folder]

    assert len(open_descriptors()) == before


def test_it_is_removed_when_the_last_process_in_it_is_gone(temporary: Path) -> None:
    """Roles outlive a killed service for a moment, and write into it until they end."""
    with private_folder() as folder:
        if (child := os.fork()) == 0:
            with suppress(OSError):
                for number in range(20):
                    (folder / f"{number}.log").write_text("a line")
                    time.sleep(0.02)
                os._exit(0)
            os._exit(1)

    assert not list(temporary.iterdir())
    assert os.waitpid(child, 0)[1] == 0, "a line could not be written"


def test_a_folder_in_use_stays(temporary: Path) -> None:
    """Until the run and every process that it has forked are gone."""
    in_use = killed(temporary, "pcapdj-running")
    lock = Lock(in_use / "run.lock", "run")
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    lock.close()

    with private_folder():
        assert in_use.exists()
    os.close(theirs)
    os.close(ours)
    os.waitpid(child, 0)

    with private_folder() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_other_folders_stay(temporary: Path) -> None:
    """A service of the user, a link to a folder of a run, and a file, all named like a run's folder."""
    service = temporary / "pcapdj-site"
    service.mkdir()
    (service / "supervisord.conf").touch()
    elsewhere = killed(temporary, "elsewhere")
    link, file = temporary / "pcapdj-link", temporary / "pcapdj-file"
    link.symlink_to(elsewhere)
    file.touch()

    with private_folder():
        pass

    assert sorted(temporary.iterdir()) == sorted([service, elsewhere, link, file])
    assert (elsewhere / "run.lock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_stays(temporary: Path) -> None:
    """Root removes only its own."""
    folder = killed(temporary, "pcapdj-other")
    os.chown(folder, 12345, 12345)

    with private_folder():
        assert folder.exists()


def test_a_machine_without_a_writable_temporary_folder_gets_a_sentence(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python looks into TMPDIR, /tmp and others, and into the folder of the call."""
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(temporary / "missing")])

    with pytest.raises(CannotCreate, match="Set TMPDIR to one that can"):
        check_private_service()
