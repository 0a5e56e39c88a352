"""`pcapdj limits`: the disk limits, changed while the controller runs, and the disks that they are about.

A limit that is set here (PCAPDJ_CONTROL) takes precedence over the controller's option until it is unset. A
value that is invalid with any options is refused before it is written. Whether it fits the options and disks
of the controller, only the controller can decide: the command waits for the answer of a running one, and
undoes the change if that is a refusal.
"""

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from pcapdj.console.disk_lines import disk_lines
from pcapdj.console.screen import print_lines, show, shows_blocks
from pcapdj.console.status_lines import gate_lines
from pcapdj.console.trend_lines import SPAN_S, trend_lines
from pcapdj.disk.limit_changes import change_lines
from pcapdj.disk.limits import DEFAULTS, DERIVED, check_without_defaults, unknown_limit
from pcapdj.disk.live_limits import FORCE_FIELD, FORCED, KEPT, LIMIT_FIELDS, is_forced, live_limits_json
from pcapdj.disk.published_gate import published_disks, published_texts
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable, quoted
from pcapdj.store.client import Store
from pcapdj.store.grants import Grants
from pcapdj.store.operate import change_control, read_control
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.samples import least_values
from pcapdj.store.snapshot import is_recent, read_snapshot

_MIN_FREE: Final = "min-free"  # the limit that --force is about
_ANSWER_S: Final = 2.0  # the controller answers a message within milliseconds, and looks every second anyway
_LOOK_S: Final = 0.02

app = new_app()


@app.command()
def limits(  # noqa: PLR0913 - typer makes options of arguments
    action: Annotated[str, typer.Argument(help="what to do", metavar="show|set|unset")] = "show",
    values: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"NAME=VALUE to set, NAME to unset; names: {', '.join(DEFAULTS)}", metavar="NAME[=VALUE]"
        ),
    ] = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="accept a min-free of 50 % or more: that much is kept *free*")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show what would change on the disks, and change nothing")
    ] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Show or change the disk limits; the controller applies a change within a second."""
    if action not in ("show", "set", "unset"):
        hint = "Write show, set NAME=VALUE or unset NAME."
        raise ConfigError(f"Unknown action {quoted(action[:80])}.", hint=hint)
    words = values or []
    changes = assignments(words) if action == "set" else {}
    if dry_run and action != "set":
        raise ConfigError("--dry-run belongs to 'limits set'.")
    store = open_store(redis_url, redis_password_file, lane)
    if action == "set":
        _check_texts(store, changes, force=force)
        if dry_run:
            print_lines(*_preview(store, changes) or ["Nothing would change."])
            return
        with suppress(ConfigError):  # the controller refuses it, with its reason
            print_lines(*_preview(store, changes), "")
        _set(store, changes, force=force)
    elif action == "unset":
        _check_names(words, LIMIT_FIELDS)
        _change(store, {}, [*words, FORCE_FIELD] if _MIN_FREE in words else words)
    _show_all(store)


def _show_all(store: Store) -> None:
    """Print the gate, the disks of the running controller, and the limits."""
    shown = read_snapshot(store, time.time())["gate"]
    show("", gate_lines(shown, time.time()))
    gate = Grants(store).published()
    if not is_recent(gate.get("heartbeat_s")):
        gate = {}
    disks = published_disks(gate)
    sys.stdout.flush()  # a day of samples takes a moment
    if lines := disk_lines(disks, _trends(store, disks)):
        print_lines("", *lines)
    print_lines("")
    _show(read_control(store), gate)
    if learned := _learned(shown.get("reserve") if gate else None):
        print_lines(f"{'':<22}{learned}")


def _trends(store: Store, disks: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the lines about the last day by the disk's name; none where samples cannot be read."""
    now_s, has_blocks = time.time(), shows_blocks()
    try:
        least = least_values(store, store.keys.samples, SPAN_S, now_s) if disks else {}
    except PcapdjError:  # an ACL, or a key of another type: the disks are shown all the same
        return {}
    units = {disk["name"]: disk["unit"] for disk in disks}
    return {
        name: trend_lines(spans, units[name], now_s, has_blocks=has_blocks)
        for name, spans in least.items()
        if name in units
    }


def assignments(words: Sequence[str]) -> dict[str, str]:
    """Return the limits of `NAME=VALUE` words.

    Raises:
        ConfigError: there is no word, a word is not an assignment, or a name is unknown.
    """
    for word in words:
        if not word.partition("=")[2].strip():
            raise ConfigError(f"{quoted(word)} has no value.", hint="Write NAME=VALUE, as min-free=8%.")
    pairs = {name: value for name, _, value in (word.partition("=") for word in words)}
    _check_names(pairs, DEFAULTS)
    return pairs


def _check_names(names: Collection[str], known: Collection[str]) -> None:
    if not names:
        raise ConfigError("No limit is named.", hint=f"Known limits: {', '.join(known)}.")
    for name in names:
        if name not in known:
            raise unknown_limit(name, known)


def _check_texts(store: Store, changes: Mapping[str, str], *, force: bool) -> None:
    """Refuse limits that are invalid with any options.

    Raises:
        ConfigError: they are.
    """
    control = read_control(store)
    live = {name: text for name, text in control.items() if name in DEFAULTS}
    is_allowed = force or (is_forced(control) and _MIN_FREE not in changes)
    check_without_defaults({**live, **changes}, force=is_allowed)


def _preview(store: Store, changes: Mapping[str, str]) -> list[str]:
    """Return lines about what the change means on the disks of the running controller.

    Raises:
        ConfigError: no controller runs, or the limits would be out of order on one of its disks.
    """
    gate = Grants(store).published()
    if not is_recent(gate.get("heartbeat_s")):
        raise ConfigError("No controller is running: its disks are needed for a preview.")
    in_force = published_texts(gate, "limits")
    return change_lines(published_disks(gate), in_force, {**in_force, **changes})


def _set(store: Store, changes: Mapping[str, str], *, force: bool) -> None:
    loses_force = not force and _MIN_FREE in changes  # a force is only for the min-free that it came with
    forced = {FORCE_FIELD: FORCED} if force else {}
    _change(store, {**changes, **forced}, [FORCE_FIELD] if loses_force else [])


def _change(store: Store, values: Mapping[str, str], removed: Sequence[str]) -> None:
    """Write and remove live limits; undo that if the running controller refuses the result."""
    before = read_control(store)
    change_control(store, values, removed)
    if refusal := _await_refusal(store):
        restored = {name: before[name] for name in LIMIT_FIELDS if name in before}
        change_control(store, restored, [name for name in LIMIT_FIELDS if name not in before])
        raise ConfigError(refusal)


def _await_refusal(store: Store) -> str | None:
    """Wait for the running controller; return why it refuses the live limits, None if it does not."""
    written, grants = live_limits_json(read_control(store)), Grants(store)
    deadline_s = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline_s:
        gate = grants.published()
        if not is_recent(gate.get("heartbeat_s")):
            sentence = "No controller is running; the next one applies this if it fits its options."
            print_lines(sentence, to_stderr=True)
            return None
        if gate.get("live") == written:  # its answer is about these limits, not about those before
            refused = gate.get("refused", "")
            return refused if KEPT in refused else None
        time.sleep(_LOOK_S)
    print_lines("The controller has not answered yet: see 'pcapdj status'.", to_stderr=True)
    return None


def _show(control: Mapping[str, str], gate: Mapping[str, str]) -> None:
    """Print each limit in force and where it comes from.

    Args:
        control: the live values.
        gate: PCAPDJ_GATE of the running controller; empty without one.
    """
    in_force, options, sources = (published_texts(gate, field) for field in ("limits", "options", "sources"))
    for name in DEFAULTS:
        text, option = (_shown(name, texts.get(name)) for texts in (in_force, options))
        source = sources.get(name, "")
        print_lines(printable(f"{name:<22}{_limit_text(control.get(name), text, option, source)}").rstrip())
    if FORCE_FIELD in control:
        print_lines(f"{FORCE_FIELD:<22}{printable(control[FORCE_FIELD])}")


def _learned(reserve: object) -> str:
    """Return which factor the reserve has learned, where PCAPDJ_GATE has it; empty: it has none."""
    if not isinstance(reserve, Mapping) or not isinstance(files := reserve.get("learned_from_files"), int):
        return ""
    factor = reserve.get("factor")
    if files and isinstance(factor, float):
        return f"learned from {counted(files, 'file')}: the output is {factor:.3g} x the size of a file"
    return "nothing is learned yet: files are authorized without a reserve" if factor is None else ""


def _shown(name: str, text: str | None) -> str:
    """Return a limit's text, or what it is derived from; empty: unknown."""
    return DERIVED.get(name, "off") if text == "" else text or ""


def _limit_text(live: str | None, in_force: str, option: str, source: str) -> str:
    """Return the value of a limit that is in force, and where it comes from.

    Args:
        live: the live value; None if there is none.
        in_force: the running controller's value; empty without one.
        option: the value without a live one; empty if unknown.
        source: where that comes from; empty if unknown.
    """
    if not in_force:
        return f"{live:<18}live" if live is not None else "unknown: no controller is running"
    if live is None:
        return f"{in_force:<18}{'derived' if in_force in DERIVED.values() else source}"
    if live.strip() != in_force:
        return f"{in_force:<18}{source}; live {live} is refused"
    return f"{in_force:<18}live, instead of {option or 'unknown'} ({source})"
