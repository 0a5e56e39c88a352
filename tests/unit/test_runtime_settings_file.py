"""pcapdj.env: which values come into force, what is refused, and where an error about one of them points."""

import os
from pathlib import Path

import pytest
from support.mounts import listed_mounts
from support.programs import missing

from pcapdj.runtime import mount_list
from pcapdj.runtime.assignments import Assignment
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.settings_file import KNOWN, NAME, SettingsFile, read_settings

PRESET = Assignment("PCAPDJ_PRESET", "zeek", 3)
COMMAND = Assignment("PCAPDJ_CONSUMER_COMMAND", "cat {pipe}", 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a service's folder."""
    (tmp_path / "supervisord.conf").touch(0o644)
    tmp_path.chmod(0o755)
    return tmp_path


def file_with(*lines: Assignment) -> SettingsFile:
    """Return a file with these lines."""
    return SettingsFile(Path(NAME), {each.name: each for each in lines})


def refusal_of(folder: Path) -> str:
    """Return why the file of this folder is refused."""
    with pytest.raises(ConfigError) as refused:
        read_settings(folder)
    return str(refused.value)


def test_the_environment_overrides_the_file_also_with_an_empty_value() -> None:
    """An empty variable is the way to have a default for one command."""
    environ = {"PCAPDJ_LANE": "b", "PCAPDJ_MIN_FREE": "", "PATH": "/bin"}
    lines = [Assignment(name, "file", 1) for name in ("PCAPDJ_LANE", "PCAPDJ_MIN_FREE", "PCAPDJ_ID")]

    in_force = file_with(*lines).apply(environ)

    assert environ == {"PCAPDJ_LANE": "b", "PCAPDJ_MIN_FREE": "", "PATH": "/bin", "PCAPDJ_ID": "file"}
    assert list(in_force.lines) == ["PCAPDJ_ID"]


@pytest.mark.parametrize("name", ["PCAPDJ_PRESET", "PCAPDJ_CONSUMER_COMMAND"])
def test_an_analyzer_of_the_environment_overrides_both_lines_about_it(name: str) -> None:
    """Else a preset of the environment would lose against a command of the file."""
    environ = {name: "summary"}

    in_force = file_with(PRESET, COMMAND).apply(environ)

    assert (environ, in_force.lines) == ({name: "summary"}, {})


def test_without_one_in_the_environment_both_lines_about_the_analyzer_count() -> None:
    """The launcher chooses between them, as between two variables."""
    environ: dict[str, str] = {}

    file_with(PRESET, COMMAND).apply(environ)

    assert environ == {PRESET.name: "zeek", COMMAND.name: "cat {pipe}"}


def test_the_file_is_read_only_beside_a_supervisord_conf(folder: Path) -> None:
    """A folder of captures with a file of that name has no service."""
    (folder / NAME).write_text("PCAPDJ_LANE=a")
    beside = read_settings(folder)
    (folder / "supervisord.conf").unlink()

    assert beside.lines == {"PCAPDJ_LANE": Assignment("PCAPDJ_LANE", "a", 1)}
    assert read_settings(folder) == SettingsFile()


def test_a_service_without_the_file_has_no_settings(folder: Path) -> None:
    """As every folder that an older `init` made."""
    assert read_settings(folder) == SettingsFile()


def test_a_link_of_the_user_is_followed(folder: Path) -> None:
    """Configuration management puts links to files of root."""
    (folder / "elsewhere").write_text("PCAPDJ_LANE=a")
    (folder / NAME).symlink_to("elsewhere")

    assert read_settings(folder).lines["PCAPDJ_LANE"].text == "a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PCAPDJ_MIN_FRE=1G", "line 1: Unknown setting 'PCAPDJ_MIN_FRE'. Did you mean PCAPDJ_MIN_FREE?"),
        (b"\nMIN_FREE=1G", "line 2: Unknown setting 'MIN_FREE'. Did you mean PCAPDJ_MIN_FREE?"),
        (b"pcapdj_lane=a", "line 1: Unknown setting 'pcapdj_lane'. Did you mean PCAPDJ_LANE?"),
        (b"LD_PRELOAD=/tmp/x.so", "line 1: Unknown setting 'LD_PRELOAD'. docs/operations.md lists all."),
        (b"PCAPDJ_FAULT=a:1:kill", "line 1: Unknown setting 'PCAPDJ_FAULT'."),
        (b"\n\nPCAPDJ_LANE=\xff", "line 3: It is not UTF-8."),
        (b"PCAPDJ_LANE=\0", "line 1: The value of PCAPDJ_LANE has a control character."),
        (b"PCAPDJ_LANE", "line 1: 'PCAPDJ_LANE' has no '='. Write NAME=value."),
        (b"PCAPDJ_REDIS_URL=redis://:geheim@host", "line 1: The Redis URL has a password."),
        (b"PCAPDJ_REDIS_URL=unix:///s?Password=geheim", "line 1: The Redis URL has a password."),
        (b"PCAPDJ_REDIS_URL=redis://h?ssl_p%61ssword=geheim", "line 1: The Redis URL has a password."),
        (b"PCAPDJ_REDIS_URL=redis://h?p%61ssword=geheim", "line 1: The Redis URL has a password."),
    ],
)
def test_a_line_that_is_not_understood_is_refused(content: bytes, message: str, folder: Path) -> None:
    """Its number is named, and no part of a password."""
    (folder / NAME).write_bytes(content)

    refusal = refusal_of(folder)

    assert refusal.startswith(f"{NAME}, {message}")
    assert "geheim" not in refusal


def test_the_text_that_windows_writes_is_read(folder: Path) -> None:
    """Lines may end with CR LF; a byte order mark is refused, since systemd refuses it."""
    (folder / NAME).write_bytes(b"# from afar\r\nPCAPDJ_LANE=a\r\n\r\nPCAPDJ_ID='b'\r\n")
    texts = {name: each.text for name, each in read_settings(folder).lines.items()}
    (folder / NAME).write_bytes(b"\xef\xbb\xbfPCAPDJ_LANE=a")

    assert texts == {"PCAPDJ_LANE": "a", "PCAPDJ_ID": "b"}
    assert "byte order mark" in refusal_of(folder)


def test_what_is_no_file_of_a_sane_size_is_refused(folder: Path) -> None:
    """A pipe would be waited for, and a hole of gigabytes would fill the memory."""
    path = folder / NAME
    os.mkfifo(path)
    pipe = refusal_of(folder)
    path.unlink()
    path.mkdir()
    directory = refusal_of(folder)
    path.rmdir()
    path.symlink_to("nothing")
    loose = refusal_of(folder)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(3 << 30)

    assert "'pcapdj.env' is not a regular file" in pipe
    assert "'pcapdj.env' is not a regular file" in directory
    assert loose == "'pcapdj.env' cannot be read: No such file or directory."
    assert refusal_of(folder) == "pcapdj.env: It cannot be read: it has more than 65536 bytes."


def test_a_file_that_others_can_write_is_refused(folder: Path) -> None:
    """They could choose the program that gets the captures; so could who owns the file."""
    (folder / NAME).write_text("PCAPDJ_CONSUMER_COMMAND=rm -r {pipe}")
    (folder / NAME).chmod(0o666)
    writable = refusal_of(folder)
    (folder / NAME).chmod(0o644)
    try:
        os.chown(folder / NAME, 12345, 12345)
    except PermissionError:
        missing("only root can give a file to another user")

    assert writable.startswith(
        "'pcapdj.env' is writable for all users. Remove that permission with chmod o-w "
    )
    assert refusal_of(folder).startswith("'pcapdj.env' belongs to another user, uid 12345.")


def test_in_a_folder_of_another_user_the_file_is_not_read(folder: Path) -> None:
    """Nor in one where all users can put files; the reason is shown, and who names a Redis goes on."""
    (folder / NAME).write_text("PCAPDJ_LANE=a")
    folder.chmod(0o777)

    found = read_settings(folder)

    assert found.lines == {}
    assert found.refusal.startswith("pcapdj.env in this folder is not read. The service in ")
    assert "is writable for all users" in found.refusal


def test_on_a_file_system_without_owners_the_file_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a stick every file belongs to the user who mounted it, whoever wrote it."""
    (folder / NAME).write_text("PCAPDJ_CONSUMER_COMMAND=rm -r {pipe}")
    (folder / "mountinfo").write_text(listed_mounts({folder: "vfat"}))
    monkeypatch.setattr(mount_list, "_MOUNTINFO", str(folder / "mountinfo"))

    found = read_settings(folder)

    assert found.lines == {}
    assert found.refusal == "pcapdj.env in this folder is not read: its file system has no owners of files."


def test_an_error_about_a_value_names_its_line() -> None:
    """By the option, the variable, or the value itself."""
    settings = file_with(
        Assignment("PCAPDJ_MIN_FREE", "10%", 3),
        Assignment("PCAPDJ_REDIS_PASSWORD_FILE", "/etc/secret", 4),
        Assignment("PCAPDJ_LANE", "a", 5),
    )

    about_limit = settings.lines_about("min-free (10%) must be below resume-free (5%).")
    about_file = settings.lines_about("The password file '/etc/secret' cannot be read.")
    about_option = settings.lines_about("Invalid value for '--lane': it is a nuisance.")

    assert about_limit == "PCAPDJ_MIN_FREE is set in line 3 of pcapdj.env."
    assert about_file == "PCAPDJ_REDIS_PASSWORD_FILE is set in line 4 of pcapdj.env."
    assert about_option == "PCAPDJ_LANE is set in line 5 of pcapdj.env."
    assert settings.lines_about("Redis does not answer.") == ""


def test_only_variables_of_ours_are_known() -> None:
    """None that the loader, the shell or Python looks at."""
    assert {each for each in KNOWN if not each.startswith("PCAPDJ_")} == set()
