"""Converts values of options and arguments as they are: pydantic, which typer uses, takes 0.1 s to import.

Every other value is left to typer. Paths are converted here also because typer looks whether
there is something at each: a call to a file system that is gone hangs. The command knows which of its paths
it may touch, and when.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pcapdj.runtime.numbers import whole_number

if TYPE_CHECKING:
    from pathlib import Path


def convert_only_what_differs(parameter: Any) -> None:
    """Put a conversion of ours before that of typer, which imports pydantic even for a text that stays one.

    Args:
        parameter: an option or argument, as typer has it.
    """
    if by_typer := getattr(type(parameter), "get_runtime_param", None):
        conversion = _Conversion(partial(by_typer, parameter))
        parameter.get_runtime_param = lambda: conversion


@dataclass(frozen=True, slots=True)
class _Conversion:
    """Converts the value of an option: what is certain here, all else as typer does.

    Args:
        by_typer: returns what converts any value, with pydantic.
    """

    by_typer: Callable[[], Any]

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value for the command; typer calls this for each value, also for defaults."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        descriptor = param.type_descriptor
        if type(value) is descriptor.annotation:
            return value
        if isinstance(value, list | tuple) and (kind := _kinds_of_lists().get(descriptor.annotation)):
            return [*map(kind, value)]
        if isinstance(value, str) and (found := _number_or_path(value, descriptor)) is not None:
            return found
        return self.by_typer().coerce(value, param=param, ctx=ctx)


def _kinds_of_lists() -> "dict[Any, type[str | Path]]":
    """Return the types that a list of texts is converted to as it is; paths as in `_number_or_path`."""
    from pathlib import Path

    return {list[str]: str, list[Path]: Path}


def _number_or_path(text: str, descriptor: Any) -> "int | Path | None":
    """Return a valid value of an option that is a whole number or a path; None: look closer."""
    from pathlib import Path

    wanted, limits = descriptor.annotation, descriptor.parameter_info
    if wanted is Path:
        return Path(text)
    if wanted is int and (number := whole_number(text)) is not None:
        is_below = limits.min is not None and number < limits.min
        is_above = limits.max is not None and number > limits.max
        return None if is_below or is_above else number
    return None
