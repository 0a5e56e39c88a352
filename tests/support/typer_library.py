"""What typer does more often than the tests need."""

import inspect
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import typer
from typer import main


def keep_commands(modules: Iterable[ModuleType]) -> None:
    """Build the command of each module's `app` once for all forks of this process: half of a role's start.

    A fork that runs such a module anew makes another app of the same code, and gets the command that was
    built for the first. The commands of other modules are built as ever.
    """
    build = main.get_command
    kept = {}
    for module in modules:
        if isinstance(app := getattr(module, "app", None), typer.Typer):
            assert _code_of(app) not in kept, module
            command = kept[_code_of(app)] = build(app)
            for parameter in command.params:
                if hasattr(parameter, "get_runtime_param"):  # what checks the option's values
                    parameter.get_runtime_param()
    main.get_command = lambda typer_instance: kept.get(_code_of(typer_instance)) or build(typer_instance)


def _code_of(app: typer.Typer) -> tuple[Any, ...]:
    """Return what tells two apps apart, and is the same for those of one module."""
    callbacks = [each.callback for each in app.registered_commands if each.callback]
    codes = [inspect.unwrap(each).__code__ for each in callbacks]  # behind decorators, which share theirs
    return tuple((code.co_filename, code) for code in codes)
