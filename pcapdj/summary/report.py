"""The analyzer's files in its log folder: written as results come, read back by `pcapdj run`."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TextIO

from pcapdj.runtime.errors import CannotCreate
from pcapdj.summary.results import Ended, FlowSummary, HttpObject, Totals

FLOWS_NAME = "flows.jsonl"
OBJECTS_NAME = "objects.jsonl"
SUMMARY_NAME = "summary.json"


class Report:
    """The three files of one run; use as a context manager.

    Raises:
        CannotCreate: the folder or a file in it cannot be made.
    """

    def __init__(self, logdir: Path) -> None:
        self._logdir = logdir
        self._stack = ExitStack()
        try:
            logdir.mkdir(parents=True, exist_ok=True)
            self._flows = self._open(FLOWS_NAME)
            self._objects = self._open(OBJECTS_NAME)
        except OSError as exc:
            self._stack.close()
            raise CannotCreate(f"cannot write into {str(logdir)!r}: {exc.strerror}.") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, flows: Iterable[FlowSummary], objects: Iterable[HttpObject]) -> None:
        """Append results.

        Raises:
            OSError: the disk is full.
        """
        self._flows.writelines(_lines(flows))
        self._objects.writelines(_lines(objects))

    def close(self, totals: Totals) -> None:
        """Write out everything; `summary.json` appears last and whole.

        Raises:
            OSError: the disk is full.
        """
        self._stack.close()
        hidden = self._logdir / f".{SUMMARY_NAME}"
        hidden.write_text(json.dumps(dataclasses.asdict(totals), indent=2) + "\n", encoding="ascii")
        hidden.replace(self._logdir / SUMMARY_NAME)

    def _open(self, name: str) -> TextIO:
        return self._stack.enter_context((self._logdir / name).open("w", encoding="ascii"))


def read_objects(logdir: Path) -> list[HttpObject]:
    """Return the HTTP objects that an analyzer wrote into this folder, in the order they ended.

    Returns:
        An empty list if there is no such file; a last line that is not whole yet is left out.
    """
    names = {field.name for field in dataclasses.fields(HttpObject)}
    return [HttpObject(**{name: line[name] for name in names}) for line in _read_lines(logdir / OBJECTS_NAME)]


def read_totals(logdir: Path) -> Totals | None:
    """Return what `summary.json` in this folder says; None while there is none."""
    try:
        values = json.loads((logdir / SUMMARY_NAME).read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    return Totals(**{**values, "ended": Ended(values["ended"])})


def _lines(values: Iterable[FlowSummary | HttpObject]) -> Iterator[str]:
    for value in values:
        yield json.dumps(dataclasses.asdict(value)) + "\n"


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="ascii") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)
    except FileNotFoundError:
        return
