"""`pcapdj limits`: the disk limits, changed while the controller runs.

What is set here (PCAPDJ_CONTROL) beats the controller's options until it is unset. It is checked by the
controller's own rules before it is written, and again by the controller, which knows the disks.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from pcapdj.disk.limits import DEFAULTS, parse_limits
from pcapdj.disk.live import FORCE_FIELD, FORCED, is_forced
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.names import printable, quoted
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

_MIN_FREE = "min-free"  # what --force is about

app = new_app()


class Action(StrEnum):
    """What to do with the live limits."""

    SHOW = "show"
    SET = "set"
    UNSET = "unset"


@app.command()
def limits(  # noqa: PLR0913 - typer makes options of arguments
    action: Annotated[Action, typer.Argument(help="what to do", metavar="show|set|unset")] = Action.SHOW,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"NAME=VALUE to set, NAME to unset; names: {', '.join(DEFAULTS)}", metavar="NAME.."
        ),
    ] = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="take a min-free of 50 % and more: that much is kept *free*")
    ] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Show or change the disk limits; in force at the controller's next check, within seconds."""
    words = values or []
    changes = assignments(words) if action is Action.SET else {}
    store = open_store(redis_url, redis_password_file, lane, patient=False)
    if action is Action.SET:
        _set(store, changes, force=force)
    elif action is Action.UNSET:
        _unset(store, words)
    _show(operate.read_control(store))


def assignments(words: Sequence[str]) -> dict[str, str]:
    """Return the limits of `NAME=VALUE` words.

    Raises:
        ConfigError: there is none, a word is no assignment, or the name is unknown.
    """
    pairs = {name: value for name, _, value in (word.partition("=") for word in words)}
    for word in words:
        if not word.partition("=")[2].strip():
            raise ConfigError(f"{quoted(word)} sets nothing.", hint="Write NAME=VALUE, as min-free=8%.")
    _check_names(pairs)
    return pairs


def _set(store: Store, changes: Mapping[str, str], *, force: bool) -> None:
    control = operate.read_control(store)
    live = {name: text for name, text in control.items() if name in DEFAULTS}
    is_unforced = not force and _MIN_FREE in changes
    parse_limits({**live, **changes}, force=force or (is_forced(control) and not is_unforced))
    marks = {FORCE_FIELD: FORCED} if force else {}
    operate.change_control(store, {**changes, **marks}, [FORCE_FIELD] if is_unforced else [])


def _unset(store: Store, names: Sequence[str]) -> None:
    _check_names(names)
    operate.change_control(store, {}, [*names, FORCE_FIELD] if _MIN_FREE in names else names)


def _check_names(names: Sequence[str] | Mapping[str, str]) -> None:
    if not names:
        raise ConfigError("No limit is named.", hint=f"There are {', '.join(DEFAULTS)}.")
    for name in names:
        if name not in DEFAULTS:
            raise ConfigError(f"There is no limit {quoted(name)}.", hint=f"There are {', '.join(DEFAULTS)}.")


def _show(control: Mapping[str, str]) -> None:
    for name in DEFAULTS:
        shown = printable(control[name]) if name in control else "(as the controller was started)"
        typer.echo(f"{name:<22}{shown}")
    if FORCE_FIELD in control:
        typer.echo(f"{FORCE_FIELD:<22}{printable(control[FORCE_FIELD])}")
