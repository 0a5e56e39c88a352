"""supervisord.conf as shipped and as adapted, and the folder that `init` creates."""

import configparser
import os
import shlex
import stat
from pathlib import Path

import pytest
from support.programs import missing
from support.rows import each_row

from pcapdj.capture.roots import absolute_roots
from pcapdj.runtime.errors import CannotCreate, ConfigError
from pcapdj.runtime.settings_file import NAME as SETTINGS
from pcapdj.service import CONF, check_path, configuration, longest_socket_bytes, shipped, write_layout

ROLES = ["consumer", "dispatcher", "controller", "importer"]


def parsed(text: str) -> configparser.RawConfigParser:
    """Return the configuration as supervisord's parser sees it."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=True)
    parser.read_string(text)
    return parser


def programs(text: str) -> list[str]:
    """Return the programs of a configuration, in the file's order."""
    return [name.partition(":")[2] for name in parsed(text).sections() if name.startswith("program:")]


def adapted(interpreter: Path | None = None) -> str:
    """Return an adapted configuration."""
    return configuration(interpreter=interpreter)


def test_the_shipped_file_runs_redis_first_and_the_importer_last() -> None:
    """A role starts after those it needs, although each waits by itself."""
    conf = parsed(shipped())

    priorities = [conf.getint(f"program:{name}", "priority") for name in programs(shipped())]

    assert programs(shipped()) == ["redis", *ROLES]
    assert priorities == sorted(priorities)


def test_without_adaptations_it_is_the_shipped_file() -> None:
    """Without changes not a byte differs."""
    assert adapted() == shipped()


def test_supervisord_listens_on_a_private_unix_socket_only() -> None:
    """A process that reaches supervisord's socket runs commands as this user: no network, mode 0700."""
    conf = parsed(shipped())

    assert "inet_http_server" not in conf.sections()
    assert conf.get("unix_http_server", "chmod") == "0700"
    assert conf.has_section("rpcinterface:supervisor")


@each_row("role", ROLES)
def test_each_role_ignores_early_signals_and_is_private(role: str) -> None:
    """USR1 and USR2 cannot kill a role before it handles them; its files are readable by the owner only."""
    section = parsed(shipped())[f"program:{role}"]

    assert section["command"].startswith("/usr/bin/env --ignore-signal=USR1 --ignore-signal=USR2 python3 -m ")
    assert section["umask"] == "077"
    assert section["directory"] == "%(here)s"
    assert section["stdout_logfile_maxbytes"] != "0"


def test_the_shipped_commands_fix_only_the_layout() -> None:
    """Presets and limits can be set by variables, which a flag would override."""
    commands = " ".join(parsed(shipped()).get(f"program:{role}", "command") for role in ROLES)

    options = {word for word in commands.split() if word.startswith("-")}

    allowed = {"--socket", "--launcher", "-b", "--follow", "--watch", "-m"}
    assert options - {"--ignore-signal=USR1", "--ignore-signal=USR2"} == allowed


def test_nothing_but_path_goes_through_supervisords_environment() -> None:
    """It cuts `8%` to `8`; and what [supervisord] has would be another text at the next reread."""
    conf = parsed(shipped())

    environments = {conf.get(section, "environment", fallback="") for section in conf.sections()}

    assert environments == {"", 'PATH="%(here)s/.venv/bin:%(ENV_PATH)s"'}
    assert not conf.has_option("supervisord", "environment")


def test_the_consumer_may_flush_before_supervisord_kills_it() -> None:
    """The analyzer has 120 s to end; supervisord waits longer than that."""
    assert parsed(shipped()).getint("program:consumer", "stopwaitsecs") == 150


def test_an_interpreter_is_used_instead_of_the_first_on_path() -> None:
    """Every program is run by it, quoted for a blank, and its folder comes first on PATH."""
    text = adapted(Path("/opt/my py/bin/python3"))

    conf = parsed(text)
    for name in programs(text):
        assert " '/opt/my py/bin/python3' -P -m pcapdj." in conf.get(f"program:{name}", "command")
        assert conf.get(f"program:{name}", "environment") == 'PATH="/opt/my py/bin:%(ENV_PATH)s"'


def test_a_percent_sign_in_the_interpreter_survives_expansion() -> None:
    """Supervisord expands `%` in commands; it is doubled."""
    text = adapted(Path("/opt/100%/python"))

    command = parsed(text).get("program:controller", "command")

    assert "/opt/100%%/python" in command
    assert command % {} == command.replace("%%", "%")


def test_a_root_has_no_dots_since_no_queued_name_has_any() -> None:
    """`init ../sensor --root ../captures` would refuse every file."""
    assert absolute_roots([Path("/data/x/../captures")]) == (b"/data/captures",)


@pytest.mark.parametrize(
    "name", ["x\ncommand=touch PWNED ;", "x\r", "x\x85", "x\u2028y", "a ;b", "a #b", "\udcff", "\x1b"]
)
def test_a_root_that_supervisord_would_read_as_something_else_is_refused(name: str) -> None:
    """Whoever may make a folder there would choose the command that is run."""
    with pytest.raises(ConfigError, match=r"cannot stand in supervisord\.conf\. Use a path without control"):
        configuration(interpreter=None, roots=[Path("/in", name)])


@pytest.mark.parametrize("name", ["a;b", "a b", "it's", "$HOME", "50%", "#x", "[program:x]", "ü"])
def test_any_other_root_is_the_one_that_supervisord_passes_on(name: str) -> None:
    """As supervisord reads the file: comments, expansions, and the words of a shell."""
    text = configuration(interpreter=None, roots=[Path("/in", name)])

    command = parsed(text).get("program:dispatcher", "command").replace("%%", "%")

    assert shlex.split(command)[-2:] == ["--root", f"/in/{name}"]


def test_roots_go_into_the_commands_of_dispatcher_importer_and_controller() -> None:
    """The words are those that were given, whatever characters they have; supervisord expands `%`."""
    roots = [Path("/data/a b"), Path("/100%/c'd")]
    text = configuration(interpreter=None, roots=roots)

    for name in programs(text):
        words = shlex.split(parsed(text).get(f"program:{name}", "command").replace("%%", "%"))
        expected = (
            ["--root", "/data/a b", "--root", "/100%/c'd"]
            if name in ("dispatcher", "importer", "controller")
            else []
        )
        assert words[-4:] == expected or (not expected and "--root" not in words)


def test_the_layout_has_folders_and_a_private_var(short_path: Path) -> None:
    """All folders that supervisord and the roles need; the queue, sockets and logs are private."""
    write_layout(short_path / "sensor", "text")

    modes = {
        str(path.relative_to(short_path / "sensor")): stat.S_IMODE(path.stat().st_mode)
        for path in (short_path / "sensor").rglob("*")
        if path.is_dir()
    }
    private = {"var", "var/run", "var/log", "var/redis"}
    assert set(modes) == private | {"inbox", "out"}
    assert {modes[name] for name in private} == {0o700}
    assert (short_path / "sensor" / CONF).read_text() == "text"


def test_an_existing_configuration_is_not_replaced(short_path: Path) -> None:
    """An operator's changes are not lost to a second `init`."""
    (short_path / CONF).write_text("mine")

    with pytest.raises(CannotCreate, match=r"exists already\. Use --force to replace it"):
        write_layout(short_path, "new")

    assert (short_path / CONF).read_text() == "mine"


def test_force_replaces_it_and_keeps_captures_and_settings(short_path: Path) -> None:
    """`--force` replaces the configuration; the files in the inbox and the operator's settings stay."""
    is_new = write_layout(short_path, "old", "mine")
    (short_path / "inbox" / "1.pcap").write_text("capture")

    is_new_again = write_layout(short_path, "new", "theirs", force=True)

    assert (is_new, is_new_again) == (True, False)
    assert (short_path / CONF).read_text() == "new"
    assert (short_path / SETTINGS).read_text() == "mine"
    assert (short_path / "inbox" / "1.pcap").read_text() == "capture"


@pytest.mark.parametrize("excess", [0, 1])
def test_sockets_have_107_bytes_with_supervisords_temporary_name(excess: int) -> None:
    """Supervisord binds its socket by a longer name first; that path counts, too."""
    folder = Path("/" + "x" * (107 - longest_socket_bytes(Path("/")) + excess - 1))

    if excess:
        with pytest.raises(CannotCreate, match="1 byte too long"):
            check_path(folder)
    else:
        check_path(folder)


def test_nothing_is_created_in_a_refused_folder(short_path: Path) -> None:
    """Supervisord would expand the percent sign; the refusal comes before any folder is made."""
    with pytest.raises(CannotCreate, match="supervisord would expand"):
        write_layout(short_path / "100%", "text")

    assert list(short_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_named(short_path: Path) -> None:
    """The error has the path that cannot be created, and the reason."""
    (short_path / "inbox").write_text("a file")

    with pytest.raises(CannotCreate, match="inbox' cannot be created: File exists"):
        write_layout(short_path, "text")


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_folder_of_another_user_is_refused(short_path: Path, mode: int) -> None:
    """Its owner could replace supervisord.conf, and run commands as this user."""
    folder = short_path / "theirs"
    folder.mkdir()
    folder.chmod(mode)
    try:
        os.chown(folder, 12345, 12345)
    except PermissionError:
        missing("only root can give a folder to another user")

    with pytest.raises(CannotCreate, match=r"theirs' belongs to another user, uid 12345"):
        write_layout(folder, "text", force=True)

    assert list(folder.iterdir()) == []
