"""The settings of a service, as its roles declare them, and the settings file that `init` writes.

A setting is an option of a role that has an environment variable. Text and default are those of the option's
help, so that the file shows what the code does.
"""

import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from importlib import import_module
from typing import Any, Final

from typer.main import get_command

from pcapdj.analyzer.options import COMMAND_VARIABLE
from pcapdj.capture.compiled import VARIABLE as LOOPS_VARIABLE
from pcapdj.runtime.assignments import assignment_line
from pcapdj.runtime.command import LinesOf, variable_of_parameter
from pcapdj.service import CONF, configuration_parser, shipped

# role -> its module, in the order of their start
ROLES: Final[Mapping[str, str]] = {
    "consumer": "pcapdj.consumer_launcher",
    "dispatcher": "pcapdj.dispatcher",
    "controller": "pcapdj.controller",
    "importer": "pcapdj.importer",
}
_ALL: Final = "all roles"
_WIDTH: Final = 100
_DEFAULT_IN_HELP: Final = re.compile(r"\s*\[default: ([^]]+)\]")
_HEAD: Final = f"""\
# Settings of this service. Its roles read them when they start; pcapdj's commands in this folder do, too.
# A command-line option overrides an environment variable, which overrides this file, which overrides the
# default. 'pcapdj check --settings' shows what is in force, and where it comes from.
#
# After a change: pcapdj restart ROLE; or: supervisorctl -c {CONF} restart ROLE
#
# Write NAME=value, as in systemd's EnvironmentFile=. A comment has its own line. Put a value with quotes,
# backslashes or several lines into "..". Other users may be able to read this file: put a password into a
# separate file, which PCAPDJ_REDIS_PASSWORD_FILE names.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable that roles read.

    Args:
        variable: its name.
        roles: that read it.
        default: as it is typed; empty: none, or `meaning` has it.
        meaning: one or two phrases.
        default_words: the default in words, where it depends on others; empty: it is `default`.
        is_list: it takes one value per line.
        is_fixed: a command line in supervisord.conf gives the option.
    """

    variable: str
    roles: tuple[str, ...]
    default: str
    meaning: str
    default_words: str = ""
    is_list: bool = False
    is_fixed: bool = False


# Variables without an option.
WITHOUT_OPTION: Final = (
    Setting(
        COMMAND_VARIABLE,
        ("consumer",),
        "",
        "any other analyzer's command line, instead of a preset; {pipe} and {logdir} are replaced",
    ),
    Setting(
        LOOPS_VARIABLE,
        ("dispatcher",),
        "",
        "python: never use the compiled loops over records; compiled: refuse to work without them",
    ),
)


def service_settings() -> list[Setting]:
    """Return the settings of all roles, those of one role together; the analyzer comes first."""
    found: dict[str, Setting] = {}
    for role in ROLES:
        for each in [*settings_of(role), *(each for each in WITHOUT_OPTION if role in each.roles)]:
            before = found.get(each.variable)
            found[each.variable] = (
                replace(before, roles=(*before.roles, role), is_fixed=before.is_fixed or each.is_fixed)
                if before
                else each
            )
    return sorted(found.values(), key=lambda each: _place(each.roles))


def settings_of(role: str) -> Iterator[Setting]:
    """Yield the settings of a role's options."""
    fixed = _fixed_words(role)
    for parameter in get_command(import_module(ROLES[role]).app).params:
        if variable := variable_of_parameter(parameter):
            flags = {each for each in parameter.opts if each.startswith("-")}
            default, meaning = _default_and_meaning(parameter)
            words = found[1] if (found := _DEFAULT_IN_HELP.search(meaning)) else ""
            is_fixed = bool(fixed & flags) or (not flags and "inbox" in fixed)
            is_list = isinstance(parameter.default, LinesOf)
            yield Setting(variable, (role,), default, meaning, words, is_list, is_fixed)


def settings_text(chosen: Mapping[str, str]) -> str:
    """Return the settings file: each variable commented out, with its default and its meaning.

    Args:
        chosen: variables that are set; no control characters.
    """
    settings = service_settings()
    parts = [_HEAD]
    for roles in dict.fromkeys(each.roles for each in settings):
        parts.append(f"\n## {_heading(roles)}\n")
        parts += [_entry(each, chosen) for each in settings if each.roles == roles]
    return "\n".join(parts)


def _entry(setting: Setting, chosen: Mapping[str, str]) -> str:
    notes = [setting.meaning]
    if setting.is_list:
        notes.append('several: one per line, all in one pair of ".."')
    if setting.is_fixed:
        notes.append(f"a command= line in {CONF} sets this option and overrides a value here")
    comment = textwrap.fill("; ".join(notes), _WIDTH, initial_indent="# ", subsequent_indent="# ")
    is_chosen = setting.variable in chosen
    line = assignment_line(setting.variable, chosen.get(setting.variable, setting.default))
    return f"{comment}\n{'' if is_chosen else '#'}{line}\n"


def _heading(roles: Sequence[str]) -> str:
    return _ALL if len(roles) == len(ROLES) else ", ".join(roles)


def _place(roles: tuple[str, ...]) -> tuple[int, list[int]]:
    """Sort by the first role; what it has alone comes before what it shares, and what all share last."""
    places = [list(ROLES).index(each) for each in roles]
    return (len(roles) == len(ROLES), places)


def _default_and_meaning(parameter: Any) -> tuple[str, str]:
    meaning = " ".join((parameter.help or "").split())
    if found := _DEFAULT_IN_HELP.search(meaning):
        typed = found[1] if re.fullmatch(r"[\w.%]+", found[1]) else ""
        words = meaning if not typed else _DEFAULT_IN_HELP.sub("", meaning)
        return typed, words
    default = parameter.default
    if default is False:
        return "0", f"{meaning}; 1 = yes"
    if callable(default) or default is None:
        return "", meaning
    return str(default.value if isinstance(default, Enum) else default), meaning


def _fixed_words(role: str) -> set[str]:
    """Return the options and arguments that the shipped command line of a role has."""
    conf = configuration_parser()
    conf.read_string(shipped())
    return set(shlex.split(conf.get(f"program:{role}", "command")))
