"""Names from whoever can write the queue or the inbox: none runs anything, forges a line, or ends a role."""

import json
import os
import re
from typing import Final

import pytest
from support.cases import some_long
from support.forkserver import clean_environment, run
from support.roles_rig import Trio, places, places_in

# time, level, role, event, fields with values that are plain or in quotes, and perhaps a sentence
LINE: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR) +[a-z]+ [a-z_]+"
    r"( [a-z_]+=([\w./:%+@,-]*|'([^'\\]|\\.)*'))*(: .+)?"
)
FILES: Final = [  # names of files that are there and are fed
    b"plain",
    b"with blanks  in it ",
    b"quotes'\"`",
    b"$(touch PWNED)",
    b"`touch PWNED`",
    b";touch PWNED;",
    b"|touch PWNED",
    b"& touch PWNED &",
    b"> PWNED < PWNED",
    b"new\nline",
    b"2026-01-31T10:00:00Z ERROR   dispatcher forged\n2026-01-31T10:00:00Z INFO    dispatcher forged",
    b"carriage\rreturn",
    b"\x1b[2J\x1b]0;title\x07",
    b"tab\tbell\x07backspace\x08",
    b"\xff\xfe no UTF-8",
    b"\xed\xa0\x80 surrogate",
    "turned \u202e around".encode(),
    "joined \u200b\u2028\u2029 apart".encode(),
    "C1 \u0085\u009b31m".encode(),
    b"-rf",
    b"--help",
    b"*?[a-z]{x,y}~",
    b"%s%n%d {0} {name} ${HOME} %(here)s",
    b"back\\slash\\n\\x1b",
    b"a..b/../c".replace(b"/", b"\\"),
    b"#comment",
    b"x" * 255,
    b'{"json": null}',
    "\U0001f40d schlange äöü".encode(),
    b"{pipe} {logdir}",
]
NO_FILES: Final = [  # what may stand in the queue and cannot be fed
    b"",
    b"..",
    b"relative.pcap",
    b"/",
    b"/dev/zero",
    b"/dev/tty",
    b"/proc/self/mem",
    b"/proc/kmsg",
    b"nul\0byte",
    b"/" + b"y" * 4095,
    b"z" * 1_000_000,
    b"/no\nsuch\x1b[31mfile",
]


@pytest.fixture
def trio(trio: Trio) -> Trio:
    """Return a trio whose launcher prints nothing for people."""
    trio.environment["SUPERVISOR_ENABLED"] = "1"
    return trio


def all_lines(trio: Trio) -> list[bytes]:
    """Return every line that any role has logged."""
    return [line for role in trio.processes for line in trio.log_of(role).read_bytes().split(b"\n") if line]


def acts_on_a_terminal(text: str) -> bool:
    """Report whether a character could move the cursor, colour, hide or turn anything."""
    return any(not char.isprintable() for char in text)


def test_hostile_names_pass_through_every_role(trio: Trio) -> None:
    """Thirty files by way of the inbox, a dozen nonsense entries: all end in a list, every line is whole."""
    for number, name in enumerate(FILES):
        trio.capture("made", number, 3).rename(os.fsdecode(os.fsencode(trio.captures) + b"/" + name))
    for role in ("consumer", "dispatcher", "controller", "importer"):
        trio.start(role)
    trio.await_processed(len(FILES))

    trio.queue(*NO_FILES)
    trio.wait_logged("dispatcher", "file_failed", times=len(NO_FILES))

    assert len(trio.alive()) == 4
    lines = all_lines(trio)
    assert [line for line in lines if not LINE.fullmatch(line.decode())] == []
    assert [line for line in lines if acts_on_a_terminal(line.decode())] == []
    assert not [line for line in lines if b"forged" in line.split(b" name=")[0].split(b" first=")[0]]
    assert list(trio.folder.rglob("PWNED")) == []
    assert sorted(place for stream in trio.streams() for place in places_in(stream)) == sorted(
        place for number in range(len(FILES)) for place in places(number, 3)
    )


def test_what_is_too_long_for_a_name_is_kept_short(trio: Trio) -> None:
    """A megabyte in the queue is refused with its length, and stands nowhere whole."""
    trio.queue(b"z" * 1_000_000)
    trio.start_all()
    trio.wait_logged("dispatcher", "file_failed")

    entry = json.loads(trio.store.redis.lindex(trio.store.keys.failed, 0) or b"")
    assert "more than 4095" in entry["reason"]
    assert len(entry["name"]) == 8192


@pytest.mark.parametrize(
    "command",
    some_long(
        [("status",), ("failed",), ("status", "--json"), ("failed", "--json")],
        quick=(("status",), ("failed", "--json")),
    ),
)
def test_commands_show_hostile_names_escaped(trio: Trio, command: tuple[str, ...]) -> None:
    """What an operator sees of them acts on no terminal."""
    for name in [*NO_FILES[:9], b"/\x1b[2Jgone\n", "/\u202eturned".encode()]:
        trio.queue(name)
    trio.start_all()
    trio.wait_logged("dispatcher", "file_failed", times=11)

    shown = run("pcapdj", *command, env=clean_environment(**trio.environment)).stdout

    assert "gone" in shown or command[0] == "status"
    assert not [line for line in shown.splitlines() if acts_on_a_terminal(line)]


@pytest.mark.long
def test_files_outside_of_the_root_are_refused(trio: Trio) -> None:
    """By name, by `..`, by a link in the folder, by a folder that is a link: nothing of them is fed."""
    outside = trio.folder / "outside"
    outside.mkdir()
    secret = trio.capture("secret", 7, 3).rename(outside / "secret.pcap")
    (trio.captures / "link").symlink_to(secret)
    (trio.captures / "folder").symlink_to(outside)
    tries = [secret, trio.captures / "link", trio.captures / "folder" / "secret.pcap"]
    trio.queue(*tries, os.fsencode(trio.captures) + b"/../outside/secret.pcap", trio.capture("good", 1, 3))

    trio.start("dispatcher", "--root", str(trio.captures))
    trio.start("consumer")
    trio.start("controller")

    trio.await_processed(1)
    assert trio.store.redis.llen(trio.store.keys.failed) == 4
    assert [places_in(stream) for stream in trio.streams()] == [places(1, 3)]


@pytest.mark.long
def test_several_roots_may_be_given(trio: Trio) -> None:
    """By the option or the variable: what is below one of them is fed, and nothing else."""
    other = trio.folder / "other"
    other.mkdir()
    moved = trio.capture("2.pcap", 2, 3).rename(other / "2.pcap")
    beside = trio.capture("3.pcap", 3, 3).rename(trio.folder / "other.pcap")
    trio.environment["PCAPDJ_ROOT"] = f"{trio.captures}{os.pathsep}{other}"
    trio.queue(trio.capture("1.pcap", 1, 3), moved, beside, b"/etc/passwd")

    trio.start_all()

    trio.await_processed(2)
    trio.wait_logged("dispatcher", "file_failed", times=2)
    assert f"is outside of '{trio.captures}', '{other}'" in trio.logged("dispatcher")
    assert sorted(place for stream in trio.streams() for place in places_in(stream)) == sorted(
        places(1, 3) + places(2, 3)
    )


def test_without_roots_links_and_other_folders_are_fed(trio: Trio) -> None:
    """As with the original: its scripts, `import /elsewhere` and links in the inbox go on working."""
    elsewhere = trio.folder / "elsewhere"
    elsewhere.mkdir()
    moved = trio.capture("1.pcap", 1, 3).rename(elsewhere / "1.pcap")
    link = trio.captures / "link.pcap"
    link.symlink_to(trio.capture("2.pcap", 2, 3).rename(elsewhere / "2.pcap"))
    trio.queue(moved, link)

    trio.start_all()

    trio.await_processed(2)


def test_a_file_that_is_still_written_is_never_fed(trio: Trio) -> None:
    """It fails while its writer has it open; queued again afterwards it is fed whole."""
    path = trio.capture("1.pcap", 1, 20)
    trio.start_all()
    with path.open("ab"):
        os.utime(path)
        trio.queue(path)
        trio.wait_logged("dispatcher", "still being written")
    trio.queue(path)

    trio.await_processed(1)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, 20)]
