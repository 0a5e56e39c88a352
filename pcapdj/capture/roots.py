"""The folders below which captures must lie, for a lane whose queue other programs can write.

Without roots any file that this user can read may be fed: the original's scripts, links in the inbox and
`pcapdj import /elsewhere` need that. With roots no link is followed on the way below one of them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from pcapdj.runtime.errors import CaptureError, ConfigError
from pcapdj.runtime.safe_text import quoted

VARIABLE: Final = "PCAPDJ_ROOT"


def _checked(
    context: typer.Context, parameter: typer.CallbackParam, roots: list[Path] | None
) -> list[Path] | None:
    source = context.get_parameter_source(parameter.name or "")
    is_of_variable = source is not None and source.name == "ENVIRONMENT"
    if is_of_variable and "" in os.environ.get(VARIABLE, "").split(os.pathsep):
        raise ConfigError(
            f"{VARIABLE} has an empty folder before or after a '{os.pathsep}': it would be the current one.",
            hint="Write DIR:DIR.",
        )
    return roots


Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root",
        envvar=VARIABLE,
        callback=_checked,
        help="refuse files outside this folder; may be given several times (variable: DIR:DIR)",
    ),
]


def absolute_roots(roots: Sequence[Path] | None) -> tuple[bytes, ...]:
    """Return the option's folders as absolute paths without `..`, as names in the queue are; links stay."""
    return tuple(os.path.abspath(os.fsencode(root)) for root in roots or ())  # noqa: PTH100 - as for names


def joined_roots(roots: Sequence[str]) -> str:
    """Return the value of the variable for these roots.

    Raises:
        ConfigError: the name of one would be taken for two.
    """
    for root in roots:
        if os.pathsep in root:
            raise ConfigError(
                f"{quoted(root)} has a '{os.pathsep}', which is between two folders in {VARIABLE}.",
                hint="Use folders without it.",
            )
    return os.pathsep.join(roots)


def root_of(name: bytes, roots: Sequence[bytes]) -> bytes | None:
    """Return the root that a file has to be opened below; None: there are no roots.

    Raises:
        CaptureError: by its name the file lies below none of them.
    """
    if not roots:
        return None
    around = [root for root in roots if name.startswith(root.rstrip(b"/") + b"/")]
    if not around:
        raise CaptureError(f"is outside of {', '.join(map(quoted, roots))}")
    return max(around, key=len)
