"""The options of every command: their names, variables and defaults, which scripts and services rely on."""

from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer.main
from support.rows import each_row
from typer.core import TyperArgument

from pcapdj import cli
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode

Options = dict[str, tuple[str | None, Any]]

REDIS: Options = {
    "--redis-url": ("PCAPDJ_REDIS_URL", ""),
    "--redis-password-file": ("PCAPDJ_REDIS_PASSWORD_FILE", None),
    "--lane": ("PCAPDJ_LANE", ""),
}
LIMITS: Options = {
    "--min-free": ("PCAPDJ_MIN_FREE", ""),
    "--resume-free": ("PCAPDJ_RESUME_FREE", ""),
    "--resume-after": ("PCAPDJ_RESUME_AFTER", ""),
    "--suspend-free": ("PCAPDJ_SUSPEND_FREE", ""),
    "--min-free-inodes": ("PCAPDJ_MIN_FREE_INODES", ""),
    "--min-available-memory": ("PCAPDJ_MIN_AVAILABLE_MEMORY", ""),
    "--reserve": ("PCAPDJ_RESERVE", ""),
    "--force": ("PCAPDJ_FORCE", False),
}
RECLAIM: Options = {
    "--reclaim": ("PCAPDJ_RECLAIM", "none"),
    "--root": ("PCAPDJ_ROOT", None),
    "--keep-last": ("PCAPDJ_KEEP_LAST", 10),
    "--keep-within": ("PCAPDJ_KEEP_WITHIN", "0"),
}
TRUST: Options = {"--trust-group": ("PCAPDJ_TRUST_GROUP", False)}
PRESET: Options = {"--preset": ("PCAPDJ_PRESET", "")}
STREAMS: Options = {
    "--max-gap": ("PCAPDJ_MAX_GAP", "1h"),
    "--on-linktype": ("PCAPDJ_ON_LINKTYPE", "fail"),
    "--precision": ("PCAPDJ_PRECISION", "first"),
}

# command -> its option -> variable, default
OPTIONS: dict[str, Options] = {
    "run": PRESET | LIMITS | STREAMS | TRUST | {
        "--logdir": (None, None),
        "--resume": (None, False),
        "--recursive": (None, False),
        "--order": (None, None),
        "--expect": (None, None),
        "--watch": (None, []),
    },
    "sample": {},
    "completion": {},
    "report": REDIS | {
        "--recursive": (None, False),
        "--order": (None, None),
        "--quick": (None, False),
        "--gap": (None, "10s"),
        "--since": (None, ""),
        "--until": (None, ""),
        "--times": (None, "fed"),
        "--stream": (None, ""),
        "--svg": (None, None),
        "--all": (None, False),
        "--json": (None, False),
    },
    "journal": REDIS | {
        "--root": ("PCAPDJ_ROOT", None),
        "--since": (None, ""),
        "--until": (None, ""),
        "--times": (None, "fed"),
        "--stream": (None, ""),
        "--verdict": (None, None),
        "--last": (None, 0),
        "--json": (None, False),
        "--csv": (None, False),
        "--print0": (None, False),
    },
    "queue": REDIS | {
        "--from": (None, 1),
        "--most": (None, 50),
        "--dry-run": (None, False),
        "--json": (None, False),
    },
    "whence": REDIS | {
        "--root": ("PCAPDJ_ROOT", None),
        "--log": (None, None),
        "--stream": (None, ""),
        "--sid": (None, None),
        "--flow-id": (None, None),
        "--all": (None, False),
        "--at": (None, ""),
        "--until": (None, ""),
        "--host": (None, None),
        "--port": (None, None),
        "--protocol": (None, ""),
        "--write -w": (None, ""),
        "--json": (None, False),
    },
    "up": {"--foreground": (None, False)},
    "down": {},
    "restart": {},
    "check": REDIS | {"--settings": (None, False), "--monitor": (None, False), "--expect": (None, None)},
    "init": PRESET | TRUST | {"--root": (None, None), "--force": (None, False)},
    "import": REDIS | {
        "--watch": ("PCAPDJ_IMPORT_WATCH", False),
        "--order": ("PCAPDJ_ORDER", None),
        "--recursive -r": ("PCAPDJ_RECURSIVE", False),
        "--again": (None, False),
        "-q --queue": ("PCAPDJ_QUEUE", "PCAPDJ_IN_QUEUE"),
        "--root": ("PCAPDJ_ROOT", None),
        "--fed-days": ("PCAPDJ_FED_DAYS", 30),
        "--captures-days": ("PCAPDJ_CAPTURES_DAYS", 365),
    },
    "status": REDIS | {"--watch": (None, False), "--json": (None, False)},
    "limits": REDIS | {"--force": (None, False), "--dry-run": (None, False)},
    "reclaim": REDIS | RECLAIM | {
        "--dry-run": (None, False),
        "--free": (None, ""),
        "--if-short": (None, False),
        "--json": (None, False),
    },
    "gate": REDIS,
    "suspend": REDIS,
    "resume": REDIS,
    "finish": REDIS | {"--now": (None, False)},
    "failed": REDIS | {"--retry": (None, False),
        "--forget": (None, False), "--json": (None, False)},
    "requeue": REDIS | {
        "--stream": (None, ""),
        "--since": (None, ""),
        "--until": (None, ""),
        "--times": (None, "packets"),
        "--yes": (None, False),
        "--into-open-stream": (None, False),
        "--root": ("PCAPDJ_ROOT", None),
    },
    "skip": REDIS,
    "forget": REDIS | {"--requeue": (None, False)},
    "events": REDIS | {
        "--since": (None, ""),
        "--file": (None, ""),
        "--kind": (None, None),
        "--follow -f": (None, False),
        "--json": (None, False),
    },
    "metrics": REDIS | {"--listen": (None, ""), "--textfile": (None, None), "--lane": (None, [])},
    "dispatch": REDIS | STREAMS | {
        "-b --pipe": ("PCAPDJ_PIPE", None),
        "-s --server": (None, ""),
        "-p --port": (None, 0),
        "-q --queue": ("PCAPDJ_QUEUE", "PCAPDJ_IN_QUEUE"),
        "--launcher": ("PCAPDJ_LAUNCHER", None),
        "--id": ("PCAPDJ_ID", ""),
        "--follow": ("PCAPDJ_FOLLOW", False),
        "--take": ("PCAPDJ_TAKE", "head"),
        "--idle-eof": ("PCAPDJ_IDLE_EOF", "0"),
        "--storage-timeout": ("PCAPDJ_STORAGE_TIMEOUT", "10m"),
        "--journal-entries": ("PCAPDJ_JOURNAL_ENTRIES", 100_000),
        "--journal-days": ("PCAPDJ_JOURNAL_DAYS", 400),
        "--root": ("PCAPDJ_ROOT", None),
    },
    "control": REDIS | LIMITS | RECLAIM | {
        "--watch": (None, []),
        "--logdir": ("PCAPDJ_LOGDIR", "out"),
        "--redis-data": ("PCAPDJ_REDIS_DATA", ""),
        "--between": ("PCAPDJ_BETWEEN", ""),
        "--on-event": ("PCAPDJ_ON_EVENT", ""),
        "--between-timeout": ("PCAPDJ_BETWEEN_TIMEOUT", "5m"),
        "--auth-type": ("PCAPDJ_AUTH_TYPE", "string"),
        "--check": (None, False),
        "--as-started": (None, False),
    },
    "consume": REDIS | PRESET | TRUST | {
        "--socket": ("PCAPDJ_LAUNCHER", None),
        "-b --pipe": ("PCAPDJ_PIPE", None),
        "--logdir": ("PCAPDJ_LOGDIR", "out"),
        "--analyzer-user": ("PCAPDJ_ANALYZER_USER", ""),
        "--on-event": ("PCAPDJ_ON_EVENT", ""),
        "--flush-timeout": ("PCAPDJ_FLUSH_TIMEOUT", "120s"),
        "--restart-pause": ("PCAPDJ_RESTART_PAUSE", "1s"),
        "--stall-timeout": ("PCAPDJ_STALL_TIMEOUT", "0"),
    },
}  # fmt: skip

# command -> what it takes beside options, as its help names it, and whether that is required
ARGUMENTS: dict[str, list[tuple[str, bool, Any]]] = {
    "run": [("FILES", True, None)],
    "sample": [("DIR", True, None)],
    "completion": [("bash|zsh|fish", True, None)],
    "up": [("ROLE..", False, None)],
    "down": [("ROLE..", False, None)],
    "restart": [("ROLE..", False, None)],
    "init": [("DIR", True, None)],
    "import": [("PATH", False, [])],
    "limits": [("show|set|unset", False, "show"), ("NAME[=VALUE]", False, None)],
    "reclaim": [("now|pause|resume", False, "")],
    "gate": [("open|hold|auto|accept", False, None)],
    "skip": [("NAME", False, "")],
    "forget": [("DISPATCHER", True, None)],
    "failed": [("NAME", False, None)],
    "whence": [("EVENTS", False, "")],
    "journal": [("NAME", False, "")],
    "report": [("PATH", False, None)],
    "queue": [("list|remove|first|last", False, "list"), ("NAME", False, None)],
    "requeue": [("NAME", False, None)],
    "consume": [("-- COMMAND..", False, None)],
}


def parameters(command: str) -> list[Any]:
    """Return the command's parameters, as typer has them."""
    return list(typer.main.get_command(import_module(cli.MODULES[command]).app).params)


def default(parameter: Any) -> Any:
    """Return a default as it would be typed."""
    found = parameter.default() if callable(parameter.default) else parameter.default
    found = found.value if isinstance(found, Enum) else found
    return str(found) if isinstance(found, Path) else found


@each_row("command", OPTIONS)
def test_options_have_the_promised_names_variables_and_defaults(command: str) -> None:
    """A renamed option or another default would break scripts and services."""
    options = {
        " ".join(each.opts): (each.envvar, default(each))
        for each in parameters(command)
        if not isinstance(each, TyperArgument)
    }

    assert options == OPTIONS[command]


def test_options_show_what_their_values_are() -> None:
    """Sizes, times and paths need a form; a word or a number is shown by its type."""
    shown = {
        option: each.metavar
        for command in OPTIONS
        for each in parameters(command)
        for option in each.opts
        if each.metavar and not isinstance(each, TyperArgument)
    }

    sizes = ("--min-free", "--resume-free", "--suspend-free", "--min-available-memory")
    times = (
        *("--at", "--since", "--until", "--gap"),
        "--resume-after",
        "--keep-within",
        "--max-gap",
        "--storage-timeout",
        "--idle-eof",
        "--flush-timeout",
        "--restart-pause",
        "--stall-timeout",
        "--between-timeout",
    )
    assert shown == {
        "--watch": "PATH[=MIN_FREE]",
        "--logdir": "PATH",
        "--expect": "ROLE",
        "--on-event": "CMD",
        "--reclaim": "none|delete|move:DIR|compress",
        "--free": "SIZE|PCT",
        "--min-free-inodes": "NUMBER|PCT",
        "--reserve": "FACTOR|auto",
        **dict.fromkeys(("--write", "-w", "--svg"), "FILE"),
        **dict.fromkeys(("--between", "--on-event"), "CMD"),
        "--listen": "[HOST:]PORT",
        **dict.fromkeys(sizes, "SIZE|PCT"),
        **dict.fromkeys(times, "TIME"),
    }


@pytest.mark.parametrize(
    ("role", "options", "time"),
    [
        *(("dispatch", ["-b", "p"], time) for time in ("--idle-eof", "--max-gap", "--storage-timeout")),
        *(
            ("consume", ["--preset", "summary"], time)
            for time in ("--flush-timeout", "--restart-pause", "--stall-timeout")
        ),
    ],
)
def test_a_time_that_is_none_is_refused_with_its_option(
    role: str, options: list[str], time: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is made."""
    code = exit_code_of(import_module(cli.MODULES[role]).app, "pcapdj role", [*options, time, "soon"])

    assert code == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"pcapdj role: {time}: 'soon' is not a time. ")


@each_row("command", OPTIONS)
def test_arguments_have_the_promised_names(command: str) -> None:
    """The usage line names what to type."""
    arguments = [
        (each.metavar, each.required, default(each))
        for each in parameters(command)
        if isinstance(each, TyperArgument)
    ]

    assert arguments == ARGUMENTS.get(command, [])


@each_row("command", OPTIONS)
def test_a_default_that_means_nothing_is_not_shown(command: str) -> None:
    """The port 0, say, or lines of a variable: the help of the option names what is used then."""
    numbers = [each for each in parameters(command) if type(default(each)) is int and not default(each)]

    read_later = [each for each in parameters(command) if callable(each.default)]
    assert [each.name for each in [*numbers, *read_later] if each.show_default] == []


@each_row("command", OPTIONS)
def test_every_option_has_its_help(command: str) -> None:
    """No option is left to be guessed."""
    assert [each.name for each in parameters(command) if not each.help] == []


def test_every_command_is_in_the_table() -> None:
    """`cat` reads its options without typer; tests/integration/test_cat_command.py has them."""
    assert set(OPTIONS) == set(cli.MODULES) - {"cat"}
