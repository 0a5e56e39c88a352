"""The settings of a service, as its roles declare them, and the file that `init` writes."""

import re
from importlib import import_module

from typer.main import get_command

from pcapdj.commands.settings import ROLES, service_settings, settings_text
from pcapdj.runtime.assignments import parse_assignments
from pcapdj.runtime.settings_file import KNOWN

ENTRY = re.compile(r"((?:^# .*\n)+)^(#?)(PCAPDJ_\w+)=(.*)$", re.MULTILINE)


def entries(text: str) -> dict[str, tuple[str, str, str]]:
    """Return the comment, the mark and the value of each variable."""
    found = ENTRY.findall(text)
    return {
        name: (" ".join(comment.replace("# ", "").split()), mark, value)
        for comment, mark, name, value in found
    }


def test_the_file_may_have_exactly_what_the_roles_declare() -> None:
    """A new option's variable is added to KNOWN, or pcapdj.env would refuse it."""
    assert {each.variable for each in service_settings()} == KNOWN


def test_every_variable_of_an_option_is_a_setting() -> None:
    """Those of all four roles."""
    declared = {
        parameter.envvar
        for module in ROLES.values()
        for parameter in get_command(import_module(module).app).params
        if parameter.envvar
    }

    assert declared - {each.variable for each in service_settings()} == set()


def test_init_writes_every_variable_once_commented_out_with_its_meaning() -> None:
    """Nothing counts but what was chosen; comments are the help of the options."""
    written = settings_text({"PCAPDJ_PRESET": "zeek"})

    found = entries(written)
    assert written.count("PCAPDJ_MIN_FREE=") == 1
    assert found.keys() == KNOWN
    assert [(each.name, each.text) for each in parse_assignments(written)] == [("PCAPDJ_PRESET", "zeek")]
    for setting in service_settings():
        comment, mark, _ = found[setting.variable]
        assert setting.meaning in comment
        assert mark == ("" if setting.variable == "PCAPDJ_PRESET" else "#")


def test_the_shown_defaults_are_those_in_force() -> None:
    """Every line taken as it stands changes nothing: the roles accept it, and it is their default."""
    shown = {name: value for name, (_, _, value) in entries(settings_text({})).items() if value}

    for module in ROLES.values():
        command = get_command(import_module(module).app)
        required = ["-b", "p"] if module == "pcapdj.dispatcher" else []
        bare = command.make_context("role", [*required], resilient_parsing=True).params
        options = {each.envvar: each for each in command.params if each.envvar in shown}
        words = [word for name, each in options.items() for word in word_for(each, shown[name])]
        assert_same(command.make_context("role", [*required, *words]).params, bare)


def word_for(option: object, value: str) -> list[str]:
    """Return the words that give an option this value."""
    if getattr(option, "is_flag", False):
        assert value == "0"
        return []
    return [getattr(option, "opts")[-1], value]  # noqa: B009 - typer's class is not public


def assert_same(given: dict[str, object], bare: dict[str, object]) -> None:
    """Compare the values of options; a limit that is not typed is one with its default."""
    different = {name: (given[name], bare[name]) for name in bare if given[name] != bare[name]}
    assert {name for name, (_, default) in different.items() if default != ""} == set()


def test_what_the_layout_fixes_is_shown_as_such() -> None:
    """An option in a command= line would override the file, which nobody would expect of a line in it."""
    fixed = {each.variable for each in service_settings() if each.is_fixed}

    assert fixed == {
        *("PCAPDJ_LAUNCHER", "PCAPDJ_PIPE", "PCAPDJ_FOLLOW", "PCAPDJ_INBOX", "PCAPDJ_IMPORT_WATCH"),
    }
    comment = entries(settings_text({}))["PCAPDJ_INBOX"][0]
    assert comment.endswith("a command= line in supervisord.conf sets this option and overrides a value here")
