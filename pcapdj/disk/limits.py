"""The gate's limits: from the texts that people type to bytes on one mount. Rules only.

All limits are about *free* space, not used space: what an unprivileged user may still write (f_bavail) of the
whole filesystem. `df` shows shares of what is writable, which may differ from ours by the root reserve.

Typed limits must be in the order suspend < min < resume. Limits that are not typed follow min-free and stay
within the size of the disk: to change one number, an operator need not set three. A path with a MIN_FREE of
its own derives its resume and suspend limits from that, since --resume-free and --suspend-free belong to
--min-free.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pcapdj.disk.output_ratio import ReserveFactor, parse_reserve
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.units import Amount, exact_size, human_size, parse_amount, parse_duration

DEFAULTS: Final[Mapping[str, str]] = {
    "min-free": "10%",
    "resume-free": "",  # see DERIVED
    "resume-after": "30s",
    "suspend-free": "",
    "min-free-inodes": "5%",
    "min-available-memory": "off",
    "reserve": "off",
}
DERIVED: Final[Mapping[str, str]] = {"resume-free": "1.5 x min-free", "suspend-free": "0.5 x min-free"}
_OFF = Amount(size_bytes=0)
_PROBE = 1 << 50  # a total large enough for small shares not to round to 0
_HALF_PERCENT = 50.0  # a min-free from here on is nearly always meant as *used*
_LONGEST_RESUME_AFTER_S = 86_400.0
LONGEST_TEXT = 64  # characters; a longer one is not a number and would flood the message


@dataclass(frozen=True, slots=True)
class Watch:
    """A path whose filesystem must have free space.

    Args:
        path: any file or folder on it.
        min_free: its own limit; None for --min-free.
        or_parent: until the path first exists, its nearest existing parent is measured in its place.
    """

    path: str
    min_free: Amount | None = None
    or_parent: bool = False


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits of one resource, in its own unit (bytes, inodes).

    Args:
        suspend: below it the running file is paused; 0 for never.
        minimum: below it no new file is authorized.
        resume: from here on files are authorized again.
    """

    suspend: int
    minimum: int
    resume: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits as typed; None is derived from min-free on each mount, 0 switches a limit off."""

    min_free: Amount
    resume_free: Amount | None
    resume_after_s: float
    suspend_free: Amount | None
    min_free_inodes: Amount
    min_available_memory: Amount
    reserve: ReserveFactor

    @property
    def suspends(self) -> bool:
        """Whether the running file may be paused at all."""
        return self.suspend_free is None or self.suspend_free.of(_PROBE) > 0

    def space_thresholds(self, watch: Watch, total_bytes: int) -> Thresholds:
        """Return the limits of free space on a filesystem of this size.

        Raises:
            ConfigError: typed limits are out of order on this filesystem; path and numbers are named.
        """
        if watch.min_free is not None:
            return self._derived(watch.min_free.of(total_bytes), total_bytes)
        derived = self._derived(self.min_free.of(total_bytes), total_bytes)
        thresholds = Thresholds(
            self.suspend_free.of(total_bytes) if self.suspend_free else derived.suspend,
            derived.minimum,
            self.resume_free.of(total_bytes) if self.resume_free else derived.resume,
        )
        self._check_order(thresholds, f"On {quoted(watch.path)} ({human_size(total_bytes)})")
        return thresholds

    def inode_thresholds(self, total_inodes: int) -> Thresholds:
        """Return the limits of free inodes; all 0 on a filesystem without a fixed number of inodes."""
        if not total_inodes:
            return Thresholds(0, 0, 0)
        return self._derived(self.min_free_inodes.of(total_inodes), total_inodes)

    def memory_thresholds(self, total_bytes: int) -> Thresholds:
        """Return the limits of available memory, which never suspend: a paused file frees no memory."""
        thresholds = self._derived(self.min_available_memory.of(total_bytes), total_bytes)
        return Thresholds(0, thresholds.minimum, thresholds.resume)

    def _derived(self, minimum: int, total: int) -> Thresholds:
        """Return 0.5, 1 and 1.5 times the minimum; the last one stays within the total."""
        resume = max(minimum, min(minimum * 3 // 2, (minimum + total) // 2))
        return Thresholds(minimum // 2 if self.suspends else 0, minimum, resume)

    def _check_order(self, thresholds: Thresholds, where: str) -> None:
        if self.suspend_free and self.suspends and thresholds.suspend >= thresholds.minimum:
            raise _disorder(where, "suspend-free", thresholds.suspend, "min-free", thresholds.minimum)
        if self.resume_free and thresholds.resume <= thresholds.minimum:
            raise _disorder(where, "min-free", thresholds.minimum, "resume-free", thresholds.resume)


def parse_watch(text: str, *, force: bool = False) -> Watch:
    """Return the watch of `PATH` or `PATH=MIN_FREE`.

    A path whose last part has a `=` of its own is written with a `/` at its end.

    Raises:
        ConfigError: the path is empty, or the text after `=` is not a limit.
    """
    path, equals, amount = text.rpartition("=")
    if not equals or "/" in amount:
        path, amount = text, ""
    if not path or "\0" in path:
        raise ConfigError(f"watch: {text!r} has no path.", hint="Write PATH or PATH=MIN_FREE.")
    if not equals or not amount:
        return Watch(path)
    return Watch(path, _min_free(amount, f"watch {quoted(path)}", force=force))


def parse_limits(texts: Mapping[str, str], *, force: bool = False) -> Limits:
    """Return the limits of these texts, by the names of `DEFAULTS`; missing and empty ones are the default.

    Args:
        texts: as typed, such as `10%` or `20GiB`; `0` and `off` switch a limit off.
        force: accept a min-free of 50 % or more.

    Raises:
        ConfigError: a name is unknown, a text is invalid, or the limits are out of order on any mount.
    """
    limits = _typed(texts, force=force)
    _check_same_units(limits, DEFAULTS)
    return limits


def check_without_defaults(texts: Mapping[str, str], *, force: bool = False) -> None:
    """Refuse texts that are invalid with any options: each text, and the order of those that are there.

    Raises:
        ConfigError: as `parse_limits`, but nothing is compared with a default.
    """
    _check_same_units(_typed(texts, force=force), [name for name, text in texts.items() if text.strip()])


def unknown_limit(name: str, known: Iterable[str] = DEFAULTS) -> ConfigError:
    """Return the error about a limit of that name, with the names that are known."""
    return ConfigError(f"Unknown limit {quoted(name)}.", hint=f"Known limits: {', '.join(known)}.")


def _typed(texts: Mapping[str, str], *, force: bool) -> Limits:
    if unknown := sorted(set(texts) - set(DEFAULTS)):
        raise unknown_limit(unknown[0])
    typed = {name: texts.get(name, "").strip() or default for name, default in DEFAULTS.items()}
    return Limits(
        min_free=_min_free(typed["min-free"], "min-free", force=force),
        resume_free=_amount(typed["resume-free"], "resume-free") if typed["resume-free"] else None,
        resume_after_s=_resume_after(typed["resume-after"]),
        suspend_free=_amount(typed["suspend-free"], "suspend-free") if typed["suspend-free"] else None,
        min_free_inodes=_amount(typed["min-free-inodes"], "min-free-inodes"),
        min_available_memory=_amount(typed["min-available-memory"], "min-available-memory"),
        reserve=parse_reserve(_short(typed["reserve"], "reserve")),
    )


def _min_free(text: str, what: str, *, force: bool) -> Amount:
    amount = _amount(text, what)
    percent = amount.percent
    if force or percent is None or percent < _HALF_PERCENT:
        return amount
    hint = f"To fill it up to {percent:g} % write {100 - percent:g}%; to keep that much free add --force."
    if percent == _HALF_PERCENT:  # 50 % used is the same as 50 % free
        hint = "Add --force if half of the disk is to stay free."
    raise ConfigError(f"{what}: {text!r} would keep {percent:g} % of the disk *free*, not used.", hint=hint)


def _amount(text: str, what: str) -> Amount:
    text = _short(text, what)
    return _OFF if text.lower() == "off" else parse_amount(text, what)


def _resume_after(text: str) -> float:
    seconds = parse_duration(_short(text, "resume-after"), "resume-after")
    if seconds > _LONGEST_RESUME_AFTER_S:
        raise ConfigError(f"resume-after: {text!r} is more than a day.")
    return seconds


def _short(text: str, what: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ConfigError(f"{what}: {text[:20]!r}.. has {len(text)} characters, which is not a limit.")
    return text


def _check_same_units(limits: Limits, names: Container[str]) -> None:
    """Refuse a wrong order among those of these limits that have the same unit; it needs no mount."""
    suspend = limits.suspend_free if limits.suspends else None
    pairs = (
        ("suspend-free", suspend, "min-free", limits.min_free),
        ("min-free", limits.min_free, "resume-free", limits.resume_free),
        ("suspend-free", suspend, "resume-free", limits.resume_free),
    )
    for low_name, low, high_name, high in pairs:
        if low_name not in names or high_name not in names or low is None or high is None:
            continue
        if (low.percent is None) != (high.percent is None):
            continue
        if low.of(_PROBE) >= high.of(_PROBE):
            raise ConfigError(f"{low_name} ({low}) must be below {high_name} ({high}).")


def _disorder(where: str, low_name: str, low: int, high_name: str, high: int) -> ConfigError:
    return ConfigError(
        f"{where} {low_name} is {exact_size(low)} and {high_name} is {exact_size(high)}.",
        hint="The order is suspend-free < min-free < resume-free.",
    )
