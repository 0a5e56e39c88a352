"""`pcapdj.json`: which files a run fed, beside the analyzer's output; a resumed run skips those fed whole.

A result costs the same however many there are: it is appended to `pcapdj.jsonl`, one line each. `pcapdj.json`
is written again, and the lines removed, at the start, at the end, and at most once a second when a quarter
more results came. So it has at least four fifths of them while the run works, and all of them afterwards.

After a `kill -9` the next run reads both files. A result may stand in both, and the last line may be cut: a
line that is not whole is left out, and its file is fed again. `pcapdj.json` is written under another name,
synced and renamed before the lines go, so that no crash loses a result.

While the disk is full, or the folder read-only, the record stays in memory, and writing is tried again.
"""

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pcapdj import __version__
from pcapdj.run.record_lines import RecordSize, files_of
from pcapdj.runtime.errors import AlreadyRunning, ConfigError
from pcapdj.runtime.foreign_files import is_there, lines_of, open_foreign
from pcapdj.runtime.foreign_json import decode_json, decode_object
from pcapdj.runtime.lock import held_by_another_user, holder_of, locked
from pcapdj.runtime.numbers import signed_number
from pcapdj.runtime.places import make_folder
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import calling_user
from pcapdj.runtime.whole_file import open_inside, unlink_inside, write_whole

T = TypeVar("T")

RECORD: Final = "pcapdj.json"
NEWER: Final = "pcapdj.jsonl"  # the results that pcapdj.json does not have yet
_INTERVAL_S: Final = 1.0
_FOLDER_MODE: Final = 0o755
_APPENDING: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
_GROWTH: Final = 4  # pcapdj.json is written again when a quarter more results came
_FAILED_WHOLE: Final = 10  # intervals until it is tried again: a full disk must not cost more than a free one
_TEXT_FIELDS: Final = ("name", "verdict", "reason", "stream")
_NUMBER_FIELDS: Final = (
    *("size_bytes", "mtime_ns", "packets", "cap_lengths", "lengths", "stream_start", "stream_end"),
    *("first_packet", "linktype", "rewrites", "first_ts_ns", "last_ts_ns", "dev", "ino", "step_ns"),
    *("wrapped_times", "steps_back", "largest_step_back_ns", "beyond_snaplen", "after_2038", "begin_bytes"),
    *("crc32", "length_bytes", "section", "interfaces_end", "attempt"),
)
_TEXTS_OF_SOME: Final = ("jump", "known_as", "begins_as", "first")
_OTHER_FIELDS: Final = (  # only where a file has them
    *_TEXTS_OF_SOME,
    *("suspect", "left_out", "earlier_streams", "earlier_parts", "begin", "begin_before"),
)
_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys((*_TEXT_FIELDS, *_TEXTS_OF_SOME, "suspect"), str),
    **dict.fromkeys(_NUMBER_FIELDS, int),
    **dict.fromkeys(("left_out", "begin", "begin_before"), dict),
    **dict.fromkeys(("earlier_streams", "earlier_parts"), list),
}
_LISTS: Final = ("left_out", "earlier_streams", "earlier_parts")
_LIMIT: Final = 1 << 64  # of a number


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result for one file.

    Args:
        name: absolute path as text (PEP 383).
        verdict: processed, failed, refused, or stopped: the run was stopped in the middle of the file.
        reason: why it was not processed; empty otherwise.
        stream: the id of the stream that it was sent to; empty if none.
        numbers: the fields of `_NUMBER_FIELDS` that the journal has.
        jump: how its timestamps jump relative to the previous file; empty: they do not.
        left_out: packets that are not in the stream, by link type as text.
        earlier_streams: that have the file's first packets.
        earlier_parts: for each of them the number of the file's first packet there, and how many it has.
        begin: where a stopped file goes on, as PCAPDJ_CURRENT has it.
        begin_before: where the run went on with it that has this result; empty: at its first packet.
        known_as: the name under which its capture was fed before; it was not fed again.
        begins_as: the name of a longer capture that was fed, and begins like this one.
        first: the digests that its capture is kept under, if it was fed.
        suspect: why what the analyzer wrote of it may be incomplete; empty: nothing shows that.
    """

    name: str
    verdict: str
    reason: str = ""
    stream: str = ""
    numbers: Mapping[str, int] = field(default_factory=dict)
    jump: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    earlier_streams: Sequence[str] = ()
    earlier_parts: Sequence[Sequence[int]] = ()
    begin: Mapping[str, Any] = field(default_factory=dict)
    begin_before: Mapping[str, Any] = field(default_factory=dict)
    known_as: str = ""
    begins_as: str = ""
    first: str = ""
    suspect: str = ""

    @property
    def packets(self) -> int:
        """How many records were delivered."""
        return self.numbers.get("packets", 0)

    @property
    def size_bytes(self) -> int:
        """The size of the file on disk; 0 if the journal does not have it."""
        return self.numbers.get("size_bytes", 0)

    @property
    def is_processed(self) -> bool:
        """Report whether the file was delivered whole."""
        return self.verdict == "processed"


def _is_number(value: object) -> bool:
    return type(value) is int and abs(value) < _LIMIT


def _lists_in(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are lists or mappings, without the members that another program wrote."""
    left_out, streams, parts = (fields.get(name) or () for name in _LISTS)
    return {
        "left_out": {name: number for name, number in dict(left_out).items() if _is_number(number)},
        "earlier_streams": [each for each in streams if isinstance(each, str)],
        "earlier_parts": [
            part for part in parts if isinstance(part, list) and [*map(_is_number, part)] == [True, True]
        ],
    }


def result_from_journal(entry: Mapping[bytes, bytes]) -> FileResult:
    """Return the result that an entry of the journal describes."""
    texts = {key.decode(): os.fsdecode(value) for key, value in entry.items()}
    numbers = {name: signed_number(texts.get(name, "")) for name in _NUMBER_FIELDS}
    some: dict[str, Any] = {name: texts.get(name, "") for name in (*_TEXT_FIELDS, *_TEXTS_OF_SOME)}
    return FileResult(
        **some,
        numbers={name: number for name, number in numbers.items() if number is not None},
        **_lists_in({name: _decoded(texts.get(name), _TYPES[name]) for name in _LISTS}),
    )


def _decoded(text: str | None, kind: type[T]) -> T:
    """Return a value of the journal; an empty one if it is absent, or not of this kind."""
    try:
        value = decode_json(text)
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()


@contextmanager
def only_run_in(logdir: Path, *, resume: bool) -> Iterator[None]:
    """Hold the folder for one run: two at a time feed the same files, and each replaces the other's record.

    The folder itself is locked, since a lock file would stay there. The processes that the run forks hold it,
    too: after a `kill -9` of the run they complete the analyzer's output.

    Args:
        logdir: created if missing, unless it has to be that of an earlier run.
        resume: it has to be.

    Raises:
        AlreadyRunning: another run has it.
        CannotCreate: it cannot be created.
    """
    if not resume:
        _make_folder(logdir)
    descriptor = -1
    try:
        with suppress(OSError):  # it is missing, or its file system has no locks: then the user has to look
            descriptor = os.open(logdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not locked(descriptor):
                raise held_by_another_user(logdir, holder_of(descriptor)) or AlreadyRunning(
                    f"Another run writes to {quoted(str(logdir))}.",
                    hint="Wait for its end, or use another --logdir.",
                )
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


class RunRecord:
    """The record of one run and of the earlier runs that it resumes.

    Args:
        logdir: the folder of `pcapdj.json`; created if missing.
        resume: continue the record of an earlier run.
        interval_s: the least time between two writes of `pcapdj.json`, and until a failed write is repeated.

    Raises:
        ConfigError: `resume` is off and there is a record, or on and there is none, or it cannot be read.
        CannotCreate: the folder cannot be created.
    """

    def __init__(self, logdir: Path, *, resume: bool, interval_s: float = _INTERVAL_S) -> None:
        self.logdir: Final = logdir
        self.results: dict[str, FileResult] = {}
        self.write_error = ""  # why the newest record is not on the disk; empty: it is
        self._path, self._newer_path, self._interval_s = logdir / RECORD, logdir / NEWER, interval_s
        self.unwritten: list[FileResult] = []  # what a later run does not know
        self._whole = 0  # results in pcapdj.json
        self._newer = 1  # results since then; not 0: the first save writes it
        self._next_whole_s = self._next_try_s = 0.0
        if is_there(logdir):
            _make_folder(logdir)  # of another user it is refused before anything in it is read
        if _is_there(self._path) or _is_there(self._newer_path) or resume:
            self.results = _read_results(self._path, self._newer_path, resume=resume)
        _make_folder(logdir)

    def was_processed(self, name: str, size_bytes: int, mtime_ns: int) -> bool:
        """Report whether an earlier run delivered this version of the file whole, into a stream in order."""
        earlier = self.results.get(name)
        if earlier is None or not earlier.is_processed or earlier.suspect:
            return False
        return (earlier.size_bytes, earlier.numbers.get("mtime_ns")) == (size_bytes, mtime_ns)

    def add(self, results: Iterable[FileResult]) -> None:
        """Add results to the record in memory; `save` writes them."""
        new = {result.name: self._with_earlier(result) for result in results}
        self.unwritten += new.values()
        self._newer += len(new)
        self.results |= new

    def mark_suspects(self, suspects: Mapping[str, str]) -> None:
        """Mark the files of these streams, with the reasons: a resumed run feeds what is in them again."""
        for name, result in self.results.items():
            if bad := [each for each in (result.stream, *result.earlier_streams) if each in suspects]:
                before = result.begin_before
                begin = {} if any(each in bad for each in _streams_of(before)) else before
                self.results[name] = replace(result, suspect=suspects[bad[0]], begin=begin)

    def _with_earlier(self, result: FileResult) -> FileResult:
        """Return the result of a file, with that of an earlier run if it is about the same capture."""
        earlier = self.results.get(result.name)
        if earlier and result.known_as == result.name:  # only its time changed
            version = {name: result.numbers[name] for name in ("size_bytes", "mtime_ns")}
            return replace(earlier, numbers={**earlier.numbers, **version})
        if earlier and earlier.begin and _streams_of(earlier.begin) == [*result.earlier_streams]:
            return replace(result, begin_before=earlier.begin)
        if earlier and result.numbers.get("begin_bytes"):
            streams = (*earlier.earlier_streams, earlier.stream, *result.earlier_streams)
            return replace(result, earlier_streams=[stream for stream in streams if stream])
        return result

    def save(self) -> None:
        """Write what was added since the last save; `write_error` has why it failed."""
        now_s = time.monotonic()
        if now_s < self._next_try_s:
            return
        if self._newer > self._whole // _GROWTH and now_s >= self._next_whole_s:
            self.write({})
        elif self.unwritten:
            self._append()
        if self.write_error:
            self._next_try_s = now_s + self._interval_s

    def write(self, end_fields: Mapping[str, Any]) -> None:
        """Write the whole record now; `write_error` has the reason if that fails.

        Args:
            end_fields: fields of the run's end: complete, analyzer, analyzer_end, folders; empty before.
        """
        head = json.dumps({"pcapdj": __version__, "complete": False, **end_fields}, indent=1)
        listed = ",\n".join(f"  {_as_json(result)}" for result in self.results.values())
        text = f'{head.removesuffix("}").rstrip()},\n "files": [\n{listed}\n ]\n}}\n'
        try:
            write_whole(self._path, text.encode(), is_synced=bool(self.results))  # else nothing to lose
            unlink_inside(self._newer_path)
        except OSError as exc:
            if self.unwritten:
                self._append()
            self.write_error = exc.strerror or str(exc)
            pause_s = _FAILED_WHOLE * self._interval_s
        else:
            self.write_error = ""
            self.unwritten.clear()
            self._whole, self._newer = len(self.results), 0
            pause_s = self._interval_s
        self._next_whole_s = time.monotonic() + pause_s

    def _append(self) -> None:
        """Append the unwritten results as lines."""
        try:
            _append_lines(self._newer_path, [_as_json(result) for result in self.unwritten])
        except OSError as exc:
            self.write_error = exc.strerror or str(exc)
        else:
            self.write_error = ""
            self.unwritten.clear()


def _streams_of(begin: Mapping[str, Any]) -> list[Any]:
    return streams if isinstance(streams := begin.get("streams"), list) else []


def _is_there(path: Path) -> bool:
    """Report whether there is a part of a record; one that cannot be looked at may not be written over."""
    try:
        return path.exists()
    except OSError as exc:
        raise ConfigError(f"{quoted(str(path))} cannot be read: {exc.strerror}.") from exc


def _make_folder(path: Path) -> None:
    make_folder(path, _FOLDER_MODE, "name a folder of your own with --logdir", caller=calling_user())


def _append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append lines; the next call ends a line that a full disk or a crash cut."""
    descriptor = open_inside(path, _APPENDING)
    try:
        size_bytes = os.fstat(descriptor).st_size
        is_cut = size_bytes and os.pread(descriptor, 1, size_bytes - 1) != b"\n"
        data = ("\n" * bool(is_cut) + "".join(f"{line}\n" for line in lines)).encode()
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _as_json(result: FileResult) -> str:
    texts = {name: getattr(result, name) for name in _TEXT_FIELDS}
    others = {name: value for name in _OTHER_FIELDS if (value := getattr(result, name))}
    return json.dumps(texts | others | dict(result.numbers))


def _from_json(fields: Mapping[str, Any]) -> FileResult:
    """Return a result; `TypeError` if a field is of another type: it would end the run at its report."""
    for name, kind in _TYPES.items():
        value = fields.get(name, kind())
        if not isinstance(value, kind) or (kind is int and not _is_number(value)):
            raise TypeError(f"{name!r} is of another type")
    if any(len(fields.get(name, ())) != len(found) for name, found in _lists_in(fields).items()):
        raise TypeError("a member of a list is of another type")
    return FileResult(
        **{name: fields[name] for name in _TEXT_FIELDS},
        numbers={name: fields[name] for name in _NUMBER_FIELDS if name in fields},
        **{name: fields[name] for name in _OTHER_FIELDS if name in fields},
    )


def results_in(logdir: Path) -> Iterable[FileResult]:
    """Return the results of the run that wrote to this folder, in the order of its record.

    Raises:
        ConfigError: it has no record, or one that cannot be read.
    """
    return _read_results(logdir / RECORD, logdir / NEWER, resume=True).values()


def _read_results(path: Path, newer_path: Path, *, resume: bool) -> dict[str, FileResult]:
    if not resume:
        raise ConfigError(
            f"{quoted(str(path.parent))} has the output of an earlier run.",
            hint="Use --resume to continue it, or another --logdir.",
        )
    if not _is_there(path) and not _is_there(newer_path):
        sentence = f"There is no {RECORD} of an earlier run in {quoted(str(path.parent))}."
        raise ConfigError(sentence, hint="Name the folder of that run with --logdir.")
    results, size = dict[str, FileResult](), RecordSize()
    try:
        if path.exists():
            size.begin(path)
            _add_to(results, map(_from_json, files_of(path)), size)
    except OSError as exc:
        raise ConfigError(f"{quoted(str(path))} cannot be read: {exc.strerror}.") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigError(
            f"{quoted(str(path))} is not a whole record of a run.", hint="Repair it, or use another --logdir."
        ) from exc
    try:
        if newer_path.exists():
            size.begin(newer_path)
            with open_foreign(newer_path) as file:
                _add_to(results, _whole_lines(lines_of(file)), size)
    except OSError as exc:
        raise ConfigError(f"{quoted(str(newer_path))} cannot be read: {exc.strerror}.") from exc
    return results


def _add_to(results: dict[str, FileResult], more: Iterable[FileResult], size: RecordSize) -> None:
    """Add the results of a file, in order; the last one of a name counts."""
    for result in more:
        results[result.name] = result
        size.add([getattr(result, name) for name in (*_TEXT_FIELDS, *_OTHER_FIELDS)])


def _whole_lines(lines: Iterable[str]) -> Iterator[FileResult]:
    """Yield the result of each line that is whole."""
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            yield _from_json(decode_object(line))
