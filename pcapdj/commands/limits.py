"""`pcapdj limits`: the disk limits, changed while the controller runs.

What is set here (PCAPDJ_CONTROL) beats the controller's options until it is unset. What makes no sense by
itself is refused before it is written. Whether it fits the controller's options and disks only the controller
knows: if one is alive its verdict is waited for, and what it refuses is taken back.
"""

import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from pcapdj.disk.limits import DEFAULTS, DERIVED, check_without_defaults
from pcapdj.disk.live_limits import FORCE_FIELD, FORCED, KEPT, LIMIT_FIELDS, is_forced, live_limits_json
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import printable, quoted
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.grants import Grants
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import STALE_AFTER_S

_MIN_FREE = "min-free"  # what --force is about
_VERDICT_S = 2.0  # the controller answers the bell within milliseconds, and looks by itself every second
_LOOK_S = 0.02

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
            help=f"NAME=VALUE to set, NAME to unset; names: {', '.join(DEFAULTS)}", metavar="NAME[=VALUE]"
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
    store = open_store(redis_url, redis_password_file, lane, is_role=False)
    if action is Action.SET:
        _set(store, changes, force=force)
    elif action is Action.UNSET:
        _unset(store, words)
    _show(operate.read_control(store), in_force(Grants(store).published()))


def assignments(words: Sequence[str]) -> dict[str, str]:
    """Return the limits of `NAME=VALUE` words.

    Raises:
        ConfigError: there is none, a word is no assignment, or the name is unknown.
    """
    pairs = {name: value for name, _, value in (word.partition("=") for word in words)}
    for word in words:
        if not word.partition("=")[2].strip():
            raise ConfigError(f"{quoted(word)} sets nothing.", hint="Write NAME=VALUE, as min-free=8%.")
    _check_names(pairs, DEFAULTS)
    return pairs


def in_force(gate: Mapping[str, str]) -> Mapping[str, str]:
    """Return the limits that a controller works with, as PCAPDJ_GATE tells them; empty if none is alive."""
    try:
        limits = json.loads(gate.get("limits", "{}")) if _is_fresh(gate) else {}
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(text) for name, text in limits.items()} if isinstance(limits, dict) else {}


def _set(store: Store, changes: Mapping[str, str], *, force: bool) -> None:
    control = operate.read_control(store)
    live = {name: text for name, text in control.items() if name in DEFAULTS}
    is_unforced = not force and _MIN_FREE in changes
    check_without_defaults({**live, **changes}, force=force or (is_forced(control) and not is_unforced))
    marks = {FORCE_FIELD: FORCED} if force else {}
    _change(store, {**changes, **marks}, [FORCE_FIELD] if is_unforced else [])


def _unset(store: Store, names: Sequence[str]) -> None:
    _check_names(names, LIMIT_FIELDS)
    _change(store, {}, [*names, FORCE_FIELD] if _MIN_FREE in names else names)


def _change(store: Store, values: Mapping[str, str], removed: Sequence[str]) -> None:
    """Write and remove live limits; put them back as they were if a controller refuses what is there now.

    Raises:
        ConfigError: it does; the sentence is the controller's.
    """
    before = operate.read_control(store)
    operate.change_control(store, values, removed)
    if objection := _objection(store):
        kept = {name: before[name] for name in LIMIT_FIELDS if name in before}
        operate.change_control(store, kept, [name for name in LIMIT_FIELDS if name not in before])
        raise ConfigError(objection)


def _objection(store: Store) -> str:
    """Return why the controller refuses the live limits; empty if it takes them, or none says anything."""
    wanted, desk = live_limits_json(operate.read_control(store)), Grants(store)
    deadline_s = time.monotonic() + _VERDICT_S
    while time.monotonic() < deadline_s:
        gate = desk.published()
        if not _is_fresh(gate):
            _note("No controller is running; the next one takes it if it fits its options.")
            return ""
        if gate.get("live") == wanted:
            return gate["refused"] if KEPT in gate.get("refused", "") else ""
        time.sleep(_LOOK_S)
    _note("The controller has not answered yet: see 'pcapdj status'.")
    return ""


def _is_fresh(gate: Mapping[str, str]) -> bool:
    try:
        return abs(time.time() - float(gate.get("heartbeat_s", math.inf))) < STALE_AFTER_S
    except ValueError:
        return False


def _note(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _check_names(names: Collection[str], known: Collection[str]) -> None:
    if not names:
        raise ConfigError("No limit is named.", hint=f"There are {', '.join(known)}.")
    for name in names:
        if name not in known:
            raise ConfigError(f"There is no limit {quoted(name)}.", hint=f"There are {', '.join(known)}.")


def _show(control: Mapping[str, str], valid: Mapping[str, str]) -> None:
    for name in DEFAULTS:
        text = valid.get(name)
        shown = DERIVED.get(name) if text == "" else text
        typer.echo(f"{name:<22}{printable(_told(control.get(name), shown))}")
    if FORCE_FIELD in control:
        typer.echo(f"{FORCE_FIELD:<22}{printable(control[FORCE_FIELD])}")


def _told(live: str | None, valid: str | None) -> str:
    """Return what a line says of a limit.

    Args:
        live: what is set; None: nothing.
        valid: what the controller works with; None: that is not known.
    """
    if live is None:
        return "  ".join(part for part in (valid, "(as the controller was started)") if part)
    return live if valid in (live.strip(), None) else f"{valid}  (set to {live}, which is not in force)"
