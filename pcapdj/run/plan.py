"""The plan of one run: analyzer, files, settings and output folder, checked before anything starts.

A run has no operator who could change a limit or an analyzer while it waits. So whatever would make it wait
for ever is refused here: a limit larger than the disk, a program that is not installed, a missing path.
"""

import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pcapdj.analyzer.options import default_preset
from pcapdj.analyzer.presets import PYTHON, Command, own_command, preset_command, split_command, substituted
from pcapdj.analyzer.process import find_program
from pcapdj.capture.identity import FedCapture
from pcapdj.disk.limits import parse_limits
from pcapdj.disk.measurements import check_reach
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.options import variable_of, watches_of
from pcapdj.inbox.listing import CaptureFile, Listing
from pcapdj.inbox.overlaps import Overlap
from pcapdj.inbox.skipped import refusal_sentences
from pcapdj.run.record import FileResult, RunRecord
from pcapdj.runtime.environment import program_path
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.foreign_files import is_there, open_foreign
from pcapdj.runtime.full_disks import SUSPECT_MARK
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import quoted, to_text
from pcapdj.runtime.units import human_duration

_MOST_FOLDERS: Final = 1000
_MOST_REASON_BYTES: Final = 1000
_MOST_REASONS: Final = 10_000
_OF_CAPTURE: Final = ("length_bytes", "crc32", "section", "interfaces_end")
_RESTART_PAUSE: Final = "20ms"  # doubled up to 1.2 s: a person waits, and nine deaths end the run
_MEASURE_TIMEOUT_S: Final = 5.0  # once, at the start: a disk may have to spin up


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run.

    Args:
        files: what to feed, in order.
        refused: files that cannot be fed: named by the user, or captures of a folder.
        processed_before: how many files an earlier run delivered whole; they are not among `files`.
        notes: what is unusual about their order, and what is skipped in folders, in sentences.
        analyzer: preset or command, for people.
        settings: environment variables of the roles.
        continued: the file that an earlier run was stopped in; None: in none of `files`.
        overlap: two files that overlap in time; None: none do.
    """

    files: Sequence[CaptureFile]
    refused: Sequence[FileResult]
    processed_before: int
    notes: Sequence[str]
    analyzer: str
    settings: Mapping[str, str]
    continued: FileResult | None = None
    overlap: Overlap | None = None

    @property
    def total_bytes(self) -> int:
        """The size of all files on disk."""
        return sum(each.identity.size_bytes for each in self.files)


def plan_run(listing: Listing, record: RunRecord, analyzer: str, settings: Mapping[str, str]) -> RunPlan:
    """Return the plan for the listed files, without those that the record has as processed.

    Args:
        listing: in order.
        record: of this run; it has the results of the runs that it resumes.
        analyzer: preset or command, for people.
        settings: environment variables for analyzer, disks and streams.
    """
    files = [each for each in listing.files if not _was_processed(record, each)]
    stopped = (record.results.get(to_text(each.name)) for each in files)
    return RunPlan(
        continued=next((each for each in stopped if each and each.begin), None),
        files=files,
        refused=refused_results(listing),
        processed_before=len(listing.files) - len(files),
        overlap=listing.overlap,
        notes=[*listing.notes, *refusal_sentences(listing.skipped)],
        analyzer=analyzer,
        settings={
            "PCAPDJ_RESTART_PAUSE": os.environ.get("PCAPDJ_RESTART_PAUSE") or _RESTART_PAUSE,
            "PCAPDJ_LOGDIR": str(record.logdir),
            **settings,
        },
    )


def refused_results(listing: Listing) -> list[FileResult]:
    """Return the results of the files that cannot be fed: named by the user, or captures of a folder."""
    return [FileResult(to_text(each.name), "failed", each.reason) for each in listing.faults]


def known_result(file: CaptureFile, capture: FedCapture) -> FileResult:
    """Return the result of a file whose capture an earlier run has fed under another name or time."""
    numbers = {"size_bytes": file.identity.size_bytes, "mtime_ns": file.identity.mtime_ns}
    return FileResult(to_text(file.name), "processed", numbers=numbers, known_as=capture.name)


def fed_captures_of(results: Iterable[FileResult]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the captures that were fed, and the digests that each is kept under, as Redis had them."""
    for each in results:
        if each.first and not each.suspect:
            of_capture = {name: each.numbers.get(name) for name in _OF_CAPTURE}
            identity = [0, 0, each.size_bytes, each.numbers.get("mtime_ns")]  # of any inode
            fields = {"name": each.name, "is_whole": each.is_processed, "identity": identity, "time_s": 0}
            if capture := FedCapture.from_fields(fields | of_capture):
                yield each.first, capture.as_fields()


def marked_streams(logdir: Path) -> dict[str, str]:
    """Return the streams of a run whose folders have the launcher's mark, and why each is suspect.

    On a full disk the mark may have no reason, and pcapdj.json nothing about it. What the analyzer left
    in the place of its folder, such as a link, is not looked behind, and a folder that it covered has no
    mark.
    """
    found: dict[str, str] = {}
    with suppress(FileNotFoundError), os.scandir(logdir) as entries:
        for entry in entries:
            folder = logdir / entry.name
            mark, is_link = folder / SUSPECT_MARK, os.path.islink(folder)  # noqa: PTH114 - raises no error
            if "-" in entry.name and not is_link and os.path.lexists(mark):
                reason = _reason_in(mark) if len(found) < _MOST_REASONS else ""
                found[entry.name.rpartition("-")[2]] = reason or "The disk was full."
    return found


def _reason_in(mark: Path) -> str:
    """Return what a mark has; an analyzer may have put a link to a secret of this user in its place."""
    with suppress(OSError), open_foreign(mark) as file:
        return file.read(_MOST_REASON_BYTES).decode("utf-8", "replace").strip()
    return ""


def plan_sentence(plan: RunPlan, logdir: Path) -> str:
    """Return what the run is going to do, in one sentence."""
    output = f"output in {quoted(str(logdir))}."
    before = plan.processed_before
    if not plan.files and before:
        subject = "The file was" if before == 1 else f"All {before:,} files were"
        return f"{subject} fed by an earlier run, nothing to feed; {output}"
    skipped = f", {before:,} fed by an earlier run" if before else ""
    if each := plan.continued:
        skipped += f", {quoted(each.name)} from packet {each.packets + 1:,} on"
    if plan.overlap:
        skipped += f", overlapping in time by {human_duration(plan.overlap.duration_ns)}"
    return f"{counted(len(plan.files), 'file')} into {plan.analyzer}{skipped}; {output}"


def disk_settings(
    limits: Mapping[str, str], watched: Sequence[str], logdir: Path, *, force: bool
) -> dict[str, str]:
    """Return the environment variables that give the controller these options, once they are checked.

    Args:
        limits: as typed, by the names of `disk.limits.DEFAULTS`.
        watched: paths as typed, each with its limit if it has one; empty: the defaults.
        logdir: the output folder, watched by default.
        force: accept a min-free of 50 % and more.

    Raises:
        ConfigError: a limit is not valid or larger than the whole disk, or a disk cannot be measured.
    """
    parsed = parse_limits(limits, force=force)
    watches = watches_of(watched, (str(logdir), tempfile.gettempdir()), force=force)
    check_reach(DiskMeter(watches, _MEASURE_TIMEOUT_S).measure(), parsed)
    settings = {variable_of(name): text for name, text in limits.items()}
    return {**settings, "PCAPDJ_WATCH": "\n".join(watched), "PCAPDJ_FORCE": "1" if force else ""}


def places_of(watched: Sequence[str], settings: Mapping[str, str]) -> list[bytes]:
    """Return what a run looks at beside captures and its output folder.

    Args:
        watched: paths as typed.
        settings: environment variables that select the analyzer.

    Raises:
        ConfigError: a limit behind a path is not valid.
    """
    watches = [each.path for each in watches_of(watched, ())]
    temporary = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")]
    program = shlex.split(settings["PCAPDJ_CONSUMER_COMMAND"])[:1]
    searched = program_path().split(os.pathsep)
    return [os.fsencode(each) for each in (*watches, *temporary, *program, *searched) if each]


def choose_analyzer(command: Sequence[str], preset: str) -> tuple[str, dict[str, str]]:
    """Return the analyzer as it is shown, and the environment variables that select it.

    It is the command if there is one, else the preset, else Suricata if installed, else our summary.

    Raises:
        ConfigError: the command cannot read a stream, or the preset is unknown.
        Unavailable: the program is not installed.
    """
    if not command and not preset:
        command = split_command(os.environ.get("PCAPDJ_CONSUMER_COMMAND", ""))
    if command:
        own = own_command(command)
        line = shlex.join([_program_of(own), *command[1:]])  # the launcher works in another folder
        return str(own), {"PCAPDJ_CONSUMER_COMMAND": line}
    name = preset or default_preset()
    _program_of(preset_command(name))
    return name, {"PCAPDJ_PRESET": name, "PCAPDJ_CONSUMER_COMMAND": ""}


def new_logdir(listing: Listing) -> Path:
    """Return an unused folder name in the current folder, made from the first file's name.

    Raises:
        ConfigError: there is nothing to feed.
    """
    names = [each.name for each in listing.files] or [each.name for each in listing.refused]
    if not names:
        raise ConfigError(
            "The given paths contain no capture files.", hint="--recursive includes folders inside folders."
        )
    stem = Path(to_text(names[0])).name.split(".")[0] or "run"
    for suffix in ("", *(f"-{number}" for number in range(2, _MOST_FOLDERS))):
        if not is_there(path := Path(f"{stem}-pcapdj{suffix}")):
            return path
    raise ConfigError(
        f"There are {_MOST_FOLDERS} runs of {stem!r} here.", hint="Name a folder with --logdir."
    )


def _program_of(command: Command) -> str:
    """Return the path of the command's program, found as the roles of this interpreter find it."""
    [name] = substituted(command.argv[:1], {PYTHON: sys.executable})
    return find_program(name, first=Path(sys.executable).parent)


def _was_processed(record: RunRecord, file: CaptureFile) -> bool:
    return record.was_processed(to_text(file.name), file.identity.size_bytes, file.identity.mtime_ns)
