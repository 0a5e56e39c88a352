"""`pcapdj reclaim`: makes room by removing captures that were fed, or shows which would go.

The controller starts it, too, where it has `--reclaim`, as a process of its own: a copy or a checksum may
take minutes, and the disks have to be measured meanwhile.

What is done, and below which folders, comes from options, variables and the settings file only. How much
room a disk needs is what the running controller has published.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pcapdj.capture.roots import Roots, absolute_roots
from pcapdj.console.screen import print_json, print_lines
from pcapdj.console.slow_work import slow_work
from pcapdj.disk import options
from pcapdj.disk.limits import Limits, Watch, parse_limits
from pcapdj.disk.published_gate import published_disks, published_texts
from pcapdj.disk.reclaim_rule import NONE, RECLAIM_FIELD, ReclaimSetting, is_little, parse_reclaim
from pcapdj.reclaim.planning import Follow
from pcapdj.reclaim.rounds import Disk, Round, needs_of, previewed_round, run_round
from pcapdj.reclaim.selection import Candidate, Needs, Selected
from pcapdj.reclaim.target import open_target
from pcapdj.runtime.child_process import run_role
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import CannotCreate, ConfigError, PcapdjError, StoreDenied, Unavailable
from pcapdj.runtime.lock import Lock
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.places import private_folder, user_folder
from pcapdj.runtime.safe_text import quoted, to_text
from pcapdj.runtime.signals import Signals, handled
from pcapdj.runtime.units import Amount, human_size, parse_amount, parse_duration, utc_text
from pcapdj.store.client import Store
from pcapdj.store.event_recorder import recorded_log
from pcapdj.store.grants import Grants
from pcapdj.store.operate import change_control, processed_length
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.reclaims import unfinished_count
from pcapdj.store.redis_url import safe_url
from pcapdj.store.snapshot import is_recent

_PAUSES: Final[Mapping[str, tuple[Mapping[str, str], Sequence[str]]]] = {
    "pause": ({RECLAIM_FIELD: NONE}, ()),
    "resume": ({}, (RECLAIM_FIELD,)),
}
_PAUSED: Final = {
    "pause": "The controller starts no more rounds of --reclaim; 'pcapdj reclaim resume' ends that.",
    "resume": "The controller makes room again where a disk is short, if it was started with --reclaim.",
}
_NICE: Final = 10  # the analyzer comes first
_SETTLES_S, _LOOK_S = 5.0, 0.1
_WORDS: Final = {"delete": "removed", "move": "moved", "compress": "compressed"}

events = EventLog("reclaim")
app = new_app()


@app.command()
def reclaim(  # noqa: PLR0913 - typer makes options of arguments
    action: Annotated[
        str,
        typer.Argument(
            help="now: make room once; pause, resume: stop and continue what the controller does",
            metavar="now|pause|resume",
        ),
    ] = "",
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show which files would be removed, and why others stay")
    ] = False,
    setting: options.Reclaim = NONE,
    roots: Roots = None,
    keep_last: options.KeepLast = 10,
    keep_within: options.KeepWithin = "0",
    free: Annotated[
        str,
        typer.Option(
            "--free",
            metavar="SIZE|PCT",
            help="make room until this much is free [default: resume-free of each disk]",
        ),
    ] = "",
    if_short: Annotated[
        bool, typer.Option("--if-short", help="only on disks that are short, as the controller does")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Remove captures that were fed whole, the oldest first, until the disks have room."""
    if action not in ("", "now", *_PAUSES) or dry_run == bool(action):
        raise ConfigError("Write 'pcapdj reclaim --dry-run', or 'pcapdj reclaim now', pause or resume.")
    if action in _PAUSES:
        change_control(open_store(redis_url, redis_password_file, lane), *_PAUSES[action])
        print_lines(_PAUSED[action])
        return
    chosen = parse_reclaim(setting)
    below = options.reclaim_roots(absolute_roots(roots))
    keep_within_s = parse_duration(keep_within, "keep-within")
    amount = parse_amount(free, "free") if free else None
    store = open_store(redis_url, redis_password_file, lane, is_role=bool(action))
    target = _checked_target(store, chosen, is_controllers=bool(action) and if_short)
    if only_recovers := chosen.how == NONE and not dry_run:
        _check_unfinished(store)

    def work() -> None:
        gate = _published(store, is_needed=amount is None and not only_recovers)
        limits = parse_limits(published_texts(gate, "limits"), force=True)
        selected = Selected(
            chosen.how if chosen.how != NONE else "delete",
            target,
            below,
            keep_last,
            keep_within_s,
            dict(_kept_free(gate, limits, [*below, os.fsencode(target)])),
        )
        disks = () if only_recovers else _disks(gate, below, amount, if_short=if_short)
        follow: Follow = (
            iter if if_short else partial(with_progress, store)
        )  # the controller's stderr is a log
        if dry_run:
            _show(
                previewed_round(store, selected, disks, follow),
                chosen,
                disks,
                as_json=as_json,
            )
            if not as_json and (left := unfinished_count(store)):
                files = counted(left, "file")
                print_lines(f"{files} left by a process that died: 'pcapdj reclaim now' completes that.")
        else:
            _run(store, selected, disks, follow, as_json=as_json)

    if code := run_role("pcapdj reclaim", work, may_hang=True):
        raise typer.Exit(code)


def _disks(
    gate: Mapping[str, Any], roots: Sequence[bytes], amount: Amount | None, *, if_short: bool
) -> Sequence[Disk]:
    return _disks_of_roots(roots, amount) if amount else _disks_of(gate, if_short=if_short)


def with_progress(store: Store, pages: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    """Yield the parts of PROCESSED; show how far the look at them is."""
    try:
        length = processed_length(store)
    except StoreDenied:  # the user of a role that an earlier version needed no such right for
        length = 0
    with slow_work("processed files to look at", length) as work:
        for names in pages:
            yield names
            work.add(len(names))


def _checked_target(store: Store, setting: ReclaimSetting, *, is_controllers: bool) -> str:
    """Return the absolute path of the folder that captures are moved to; empty: they are not.

    Raises:
        CannotCreate: it cannot be opened, or another user can replace files in it; of a round of the
            controller screens and events get that.
    """
    if not setting.target:
        return ""
    target = os.path.abspath(setting.target)  # noqa: PTH100 - text, as typed
    try:
        os.close(open_target(target))
    except CannotCreate as exc:
        if is_controllers:
            about = {"how": setting.how, "time_s": round(time.time(), 3), "problem": str(exc)}
            store.call(lambda client: client.hset(store.keys.gate, "reclaim", json.dumps(about)))
            with recorded_log(store):
                events.warning("reclaim_round", str(exc))
        raise
    return target


def _check_unfinished(store: Store) -> None:
    """Refuse to remove nothing, unless an earlier process has left a removal to finish or undo.

    Raises:
        ConfigError: none has.
    """
    if not unfinished_count(store):
        raise ConfigError(
            "Nothing is removed with --reclaim none, which is the default.",
            hint="Name delete, move:DIR or compress with --reclaim, or in PCAPDJ_RECLAIM.",
        )


def _run(store: Store, selected: Selected, disks: Sequence[Disk], follow: Follow, *, as_json: bool) -> None:
    """Do one round, as the only process that does so in this lane."""
    with closing(Lock(lock_path(store), "reclaim of this lane")), recorded_log(store), handled() as signals:
        os.nice(_NICE)
        before = needs_of(disks)
        done = run_round(store, selected, disks, signals, follow)
        grown_bytes = _grown_bytes(before, disks, done.freed_bytes, signals)
        about = _as_json(done, selected.how, disks)
        problem = _problem(about["missing"], done.freed_bytes, grown_bytes)
        about |= {"problem": problem}
        store.call(lambda client: client.hset(store.keys.gate, "reclaim", json.dumps(about)))
        if problem:
            events.warning("reclaim_round", problem, files=len(done.removed), freed_bytes=done.freed_bytes)
        elif done.removed:
            events.info("reclaim_round", files=len(done.removed), freed_bytes=done.freed_bytes)
    _print_result(done, _WORDS[selected.how], about, as_json=as_json)
    if problem:
        raise PcapdjError(problem, hint="See 'pcapdj reclaim --dry-run'.")


def _problem(missing: Mapping[str, int], freed_bytes: int, grown_bytes: int) -> str:
    """Return what a person should look at after a round; empty: nothing."""
    if is_little(freed_bytes, grown_bytes):
        return (
            f"{human_size(freed_bytes)} were removed, but only {human_size(max(0, grown_bytes))} more"
            " are free: snapshots or open files keep them, or the disk fills meanwhile."
        )
    shown = ", ".join(f"{quoted(path)} lacks {human_size(size)}" for path, size in missing.items())
    return f"Not enough files may be removed: {shown}." if shown else ""


def _grown_bytes(before: Needs, disks: Sequence[Disk], freed_bytes: int, signals: Signals) -> int:
    """Return how much more is free than before; a disk gets a moment to free what was removed."""
    until_s = time.monotonic() + _SETTLES_S
    while True:
        after = needs_of(disks)
        grown_bytes = sum(
            before.left[device].size_bytes - need.size_bytes
            for device, need in after.left.items()
            if device in before.left
        )
        if not is_little(freed_bytes, grown_bytes) or time.monotonic() >= until_s:
            return grown_bytes
        signals.wait(_LOOK_S)


def lock_path(store: Store) -> Path:
    """Return the lock of the process that removes a lane's captures, on this machine."""
    folder = user_folder()
    private_folder(folder)
    lane = f"{safe_url(store.url)}\n{store.keys.processed}"
    return folder / f"reclaim-{sha256(lane.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.lock"


def _published(store: Store, *, is_needed: bool) -> Mapping[str, str]:
    """Return what the running controller has published; empty: none runs, and none is needed.

    Raises:
        Unavailable: none runs.
    """
    fields = Grants(store).published()
    if is_recent(fields.get("heartbeat_s")):
        return fields
    if is_needed:
        raise Unavailable(
            "No controller is running: its disks and limits are needed.",
            hint="--free SIZE names how much is to be free on the disks of the roots.",
        )
    return {}


def _disks_of(gate: Mapping[str, str], *, if_short: bool) -> list[Disk]:
    """Return the disks that the controller watches, each until resume-free."""
    goals, short = dict[str, dict[str, int]](), set[str]()
    for each in published_disks(gate):
        path = each["name"].removesuffix(" (inodes)")
        if each["free"] is not None and each["unit"] in ("bytes", "inodes"):
            goals.setdefault(path, {})[each["unit"]] = each["open_from"]
            short |= {path} if each["state"] != "open" else set()
    disks = []
    for path, goal in goals.items():
        with suppress(OSError):
            device = Path(path).stat().st_dev
            if path in short or not if_short:
                disks.append(Disk(path, device, goal.get("bytes", 0), goal.get("inodes", 0)))
    return disks


def _disks_of_roots(roots: Sequence[bytes], amount: Amount) -> list[Disk]:
    """Return the disks of the roots, until so much is free on each."""
    disks = dict[int, Disk]()
    for root in map(os.fsdecode, roots):
        with suppress(OSError):
            found, device = os.statvfs(root), Path(root).stat().st_dev
            disks.setdefault(device, Disk(root, device, amount.of(found.f_blocks * found.f_frsize), 0))
    return list(disks.values())


def _kept_free(gate: Mapping[str, str], limits: Limits, paths: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Yield how much a copy leaves free on each disk: suspend-free."""
    for path in filter(None, map(os.fsdecode, paths)):
        with suppress(OSError, ConfigError):
            found = os.statvfs(path)
            thresholds = limits.space_thresholds(Watch(path), found.f_blocks * found.f_frsize)
            yield Path(path).stat().st_dev, thresholds.suspend
    for each in published_disks(gate):
        with suppress(OSError):
            if each["unit"] == "bytes":
                yield Path(each["name"]).stat().st_dev, each["suspend_below"]


def _show(preview: Round, chosen: ReclaimSetting, disks: Sequence[Disk], *, as_json: bool) -> None:
    how = chosen.how if chosen.how != NONE else "delete"
    about = _as_json(preview, how, disks)
    if as_json:
        files = [_file_fields(each) for each in preview.chosen]
        print_json({**about, "dry_run": True, "files": files})
        return
    for file in preview.chosen:
        print_lines(_line_of(file))
    size = human_size(sum(each.present.disk_bytes for each in preview.chosen))
    exact = ", before compression" if how == "compress" else ""
    print_lines(f"{counted(len(preview.chosen), 'file')} would be {_WORDS[how]}: {size}{exact}.")
    if not disks:
        print_lines("No watched disk needs room.")
    for disk in disks:
        print_lines(_disk_sentence(disk, preview))
    _print_withheld(preview)
    if chosen.how == NONE:
        print_lines("--reclaim is none: the controller removes nothing.")


def _line_of(file: Candidate) -> str:
    return f"{quoted(file.name)}  {human_size(file.present.disk_bytes)}  fed {utc_text(file.fed.time_s)}"


def _disk_sentence(disk: Disk, preview: Round) -> str:
    need = preview.needs.left.get(disk.device)
    if need is None:
        return f"{quoted(disk.path)} cannot be measured."
    freed = sum(
        each.present.disk_bytes for each in preview.chosen if each.present.identity.dev == disk.device
    )
    free = disk.free_bytes - need.size_bytes
    enough = "" if need.size_bytes <= freed else ", which is not enough"
    return (
        f"{quoted(disk.path)} has {human_size(free)} free, and would have {human_size(free + freed)}:"
        f" {human_size(disk.free_bytes)} are needed{enough}."
    )


def _print_result(done: Round, word: str, about: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({**about, "files": [{**_file_fields(each.file), "to": each.to} for each in done.removed]})
        return
    for each in done.removed:
        to = f" -> {quoted(each.to)}" if each.to else ""
        print_lines(f"{_line_of(each.file)}{to}")
    print_lines(f"{counted(len(done.removed), 'file')} {word}: {human_size(done.freed_bytes)}.")
    _print_withheld(done)
    for note in done.notes:
        print_lines(note)


def _print_withheld(done: Round) -> None:
    if done.withheld:
        print_lines("These stay:")
    for reason, count in done.withheld.most_common():
        print_lines(f"  {count:>6,}  {reason}")


def _file_fields(file: Candidate) -> dict[str, Any]:
    return {
        "name": to_text(file.name),
        "disk_bytes": file.present.disk_bytes,
        "size_bytes": file.present.identity.size_bytes,
        "fed_s": file.fed.time_s,
    }


def _as_json(done: Round, how: str, disks: Sequence[Disk]) -> dict[str, Any]:
    """Return what PCAPDJ_GATE gets of a round."""
    missing = {
        disk.path: need.size_bytes
        for disk in disks
        if disk.device in done.plan.devices and (need := done.needs.left.get(disk.device))
    }
    return {
        "how": how,
        "time_s": round(time.time(), 3),
        "removed": len(done.removed),
        "freed_bytes": done.freed_bytes,
        "missing": {path: size for path, size in missing.items() if size > 0},
        "withheld": dict(done.withheld),
        "gone": done.plan.gone,
        "notes": done.notes,
    }
