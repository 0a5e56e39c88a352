"""The options that name a store: a password file and a lane."""

import os
import threading
from pathlib import Path

import pytest
from support.rows import each_row

from pcapdj.runtime.errors import ConfigError
from pcapdj.store.keys import Keys
from pcapdj.store.options import default_url, open_store

SECRET = "s3cr3t"  # noqa: S105 - of a test


def test_the_first_line_of_the_password_file_is_the_password(tmp_path: Path) -> None:
    """As written by `echo` or by hand; a second client of the lane has it too."""
    place = tmp_path / "password"
    place.write_text(f"{SECRET}\nnot this\n")

    store = open_store("redis://host/0", place, "")

    assert store.redis.connection_pool.connection_kwargs["password"] == SECRET
    assert store.another().redis.connection_pool.connection_kwargs["password"] == SECRET


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xff"])
def test_a_password_file_without_a_password_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, or not text: the message names it."""
    place = tmp_path / "password"
    if content is not None:
        place.write_bytes(content)

    with pytest.raises(ConfigError, match=str(place)):
        open_store("redis://host/0", place, "")


def test_a_pipe_that_nobody_writes_to_holds_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named pipe in the place of the file; nor does one whose writer writes no line."""
    monkeypatch.setattr("pcapdj.store.options._PIPE_LIMIT_S", 0.05)
    place = tmp_path / "password"
    os.mkfifo(place)

    with pytest.raises(ConfigError, match="no line came from it"):
        open_store("redis://host/0", place, "")
    writer = os.open(place, os.O_RDWR)
    os.write(writer, SECRET.encode())
    with pytest.raises(ConfigError, match="no line came from it") as refused:
        open_store("redis://host/0", place, "")
    os.close(writer)

    assert SECRET not in str(refused.value)


def test_a_pipe_of_the_shell_is_read_until_its_line_has_come(tmp_path: Path) -> None:
    """`<(command)`: in parts, and without its end."""
    place = tmp_path / "password"
    os.mkfifo(place)

    def write() -> None:
        writer = os.open(place, os.O_WRONLY)
        for part in (SECRET[:3], SECRET[3:], "\nnot this"):
            os.write(writer, part.encode())
        is_read.wait()
        os.close(writer)

    is_read, thread = threading.Event(), threading.Thread(target=write)
    thread.start()
    store = open_store("redis://host/0", place, "")
    is_read.set()
    thread.join()

    assert store.redis.connection_pool.connection_kwargs["password"] == SECRET


def test_a_command_waits_longer_for_an_answer_than_a_role() -> None:
    """A role repeats its calls and has to stop within a second; a person has one try."""
    command, role = (open_store("redis://host/0", None, "", is_role=is_role) for is_role in (False, True))

    assert open_store("redis://host/0", None, "").timeout_s == command.timeout_s == 3
    assert role.timeout_s < 1


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\rb", "a?db=1", "a#b", "50%", "a b", "\udcff", "ü"])
def test_the_redis_of_a_service_is_in_its_own_folder_whatever_the_name(name: str, short_path: Path) -> None:
    """A URL loses line ends and tabs: then the Redis of another folder, and user, would be asked."""
    folder = short_path / name
    folder.mkdir(mode=0o755)
    (folder / "supervisord.conf").touch()

    url = default_url(folder)

    connection = open_store(url, None, "").redis.connection_pool.make_connection()
    assert connection.path == str(folder / "var/run/redis.sock")  # type: ignore[attr-defined]  # of a socket


@pytest.mark.parametrize("url", ["unix:///a\nb/r.sock", "redis://ho\tst/0", "redis://host\r/0"])
def test_a_url_that_would_lose_a_character_is_refused(url: str) -> None:
    """It would name another place than the one that was written."""
    with pytest.raises(ConfigError, match="is not understood"):
        open_store(url, None, "")


@each_row("secret", [SECRET, f"{SECRET}/base64", f"/{SECRET}"])
def test_a_password_in_place_of_the_file_is_not_shown(secret: str) -> None:
    """What names no file, in no folder that is there, may be the password itself."""
    with pytest.raises(ConfigError, match="password file does not exist") as refused:
        open_store("redis://host/0", Path(secret), "")

    assert SECRET not in str(refused.value)


def test_a_password_file_that_is_missing_in_its_folder_is_named(tmp_path: Path) -> None:
    """Then it is a path."""
    with pytest.raises(ConfigError, match="none' cannot be read: No such file"):
        open_store("redis://host/0", tmp_path / "none", "")


@each_row("lane", ["a b", "a{b", "a\nb", "}"])
def test_a_lane_with_braces_blanks_or_control_characters_is_refused(lane: str) -> None:
    """Its name is in braces before every key."""
    with pytest.raises(ConfigError, match="lane"):
        Keys(lane)


def test_a_lane_is_a_prefix_of_every_key() -> None:
    """The queue's too, where it is renamed."""
    keys = Keys("north", "MY_QUEUE")

    assert keys.in_queue == "{north}:MY_QUEUE"
    assert keys.current("/run/pipe") == "{north}:PCAPDJ_CURRENT:/run/pipe"
    assert Keys().in_queue == "PCAPDJ_IN_QUEUE"
