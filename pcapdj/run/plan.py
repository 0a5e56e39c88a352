"""What one run is to do, decided before anything is started."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pcapdj.analyzer.presets import (
    DEFAULT_PRESET,
    PYTHON,
    Command,
    own_command,
    preset_command,
    split_command,
    substituted,
)
from pcapdj.analyzer.process import find_program
from pcapdj.disk.limits import Limits, Watch
from pcapdj.disk.measurements import check_reach
from pcapdj.disk.meters import DiskMeter
from pcapdj.inbox.listing import CaptureFile, Listing, natural_key
from pcapdj.run.record import FedFile, RunRecord
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted, to_text

_FALLBACK: Final = "summary"  # needs nothing installed
_NAMES_TRIED: Final = 1000
RESTART_PAUSE: Final = "20ms"  # doubled up to 1.2 s: a person waits, and nine deaths end the run
_DISK_WAIT_S: Final = 5.0  # once, at the start: a disk may have to spin up


@dataclass(frozen=True, slots=True)
class Choice:
    """The analyzer of a run.

    Args:
        shown: preset or command, for people.
        settings: the environment variables that choose it.
    """

    shown: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Args:
        files: to be fed, in order.
        settings: environment variables of the roles.
        analyzer: for people.
        record: where the run is written down.
        done: how many files an earlier run fed whole; they are not among `files`.
    """

    files: Sequence[CaptureFile]
    settings: Mapping[str, str]
    analyzer: str
    record: RunRecord
    done: int = 0

    @property
    def total_bytes(self) -> int:
        """The size of all files on disk."""
        return sum(each.identity.size_bytes for each in self.files)


def intent(plan: Plan) -> str:
    """Return what the run is going to do, in a sentence."""
    where = f"output in {quoted(str(plan.record.logdir))}."
    if not plan.files and plan.done:
        subject = "The file is" if plan.done == 1 else f"All {plan.done:,} files are"
        return f"{subject} done already, nothing is fed; {where}"
    wanted = "1 file" if len(plan.files) == 1 else f"{len(plan.files):,} files"
    before = f" after {plan.done:,} done already" if plan.done else ""
    return f"{wanted} into {plan.analyzer}{before}; {where}"


def chosen_analyzer(command: Sequence[str], preset: str) -> Choice:
    """Return the command if there is one, else the preset, else Suricata where it is installed, else ours.

    Raises:
        ConfigError: the command cannot read a stream, or there is no such preset.
        Unavailable: the program is not installed.
    """
    if not command and not preset:
        command = split_command(os.environ.get("PCAPDJ_CONSUMER_COMMAND", ""))
    if command:
        own = own_command(command)
        line = shlex.join([_program_of(own), *command[1:]])  # the launcher works in another folder
        return Choice(str(own), {"PCAPDJ_CONSUMER_COMMAND": line})
    name = preset or (DEFAULT_PRESET if shutil.which("suricata") else _FALLBACK)
    _program_of(preset_command(name))
    return Choice(name, {"PCAPDJ_PRESET": name, "PCAPDJ_CONSUMER_COMMAND": ""})


def _program_of(command: Command) -> str:
    """Return the path of the command's program, where the roles of this interpreter will look for it."""
    [name] = substituted(command.argv[:1], {PYTHON: sys.executable})
    return find_program(name, first=Path(sys.executable).parent)


def new_logdir(listing: Listing) -> Path:
    """Return a folder's name that is not taken: that of the first file, in the current folder.

    Raises:
        ConfigError: there is nothing to feed.
    """
    names = [each.name for each in listing.files] or [each.name for each in listing.refused]
    if not names:
        raise ConfigError("There are no captures in what was given.")
    stem = Path(to_text(names[0])).name.split(".")[0] or "run"
    tried = (Path(f"{stem}-pcapdj{number}") for number in ("", *(f"-{n}" for n in range(2, _NAMES_TRIED))))
    free = next((path for path in tried if not path.exists()), None)
    if free is None:
        raise ConfigError(
            f"There are {_NAMES_TRIED} runs of {stem!r} here.", hint="Choose one with --logdir."
        )
    return free


def check_disks(limits: Limits, watches: Sequence[Watch]) -> None:
    """Refuse limits with which nothing would ever be fed; a run's cannot be changed while it waits.

    Raises:
        ConfigError: they ask for more than a disk has in all, or one of the disks cannot be measured.
    """
    check_reach(DiskMeter(watches, _DISK_WAIT_S).measure(), limits)


def is_out_of_order(listing: Listing) -> bool:
    """Report whether files would be fed in another order than their natural one, as from a shell's `*`."""
    names = [each.name for each in listing.files]
    return names != sorted(names, key=natural_key)


def refused_files(listing: Listing) -> list[FedFile]:
    """Return the files that were named and cannot be fed."""
    return [
        FedFile(to_text(each.name), "failed", each.reason) for each in listing.refused if each.is_asked_for
    ]


def is_done(record: RunRecord, file: CaptureFile) -> bool:
    """Report whether an earlier run fed this version of the file whole."""
    return record.is_done(to_text(file.name), file.identity.size_bytes, file.identity.mtime_ns)
