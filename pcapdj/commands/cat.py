"""`pcapdj cat`: the stream that an analyzer would see, to stdout; without Redis, pipe or roles."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

import typer

from pcapdj.capture.concatenate import concatenate
from pcapdj.capture.totals import Totals
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import CaptureError, ConfigError, ExitCode, PcapdjError
from pcapdj.runtime.log import printable_sentence
from pcapdj.runtime.names import quoted, to_name

_STDOUT: Final = 1

app = new_app()


@app.command()
def cat(
    files: Annotated[
        list[str], typer.Argument(metavar="FILES..", help="captures in this order, and folders of them")
    ],
    *,
    precision: Annotated[
        Literal["", "us", "ns"],
        typer.Option(envvar="PCAPDJ_PRECISION", help="the time resolution; default: the first file's"),
    ] = "",
) -> int:
    """Write the captures to stdout as one classic capture; exit 0 only if every file went whole."""
    names = list(_names(files))
    _check_output(names)
    try:
        all_whole = concatenate(names, _STDOUT, precision=precision or None, report=_report)
    except OSError as exc:
        raise PcapdjError(f"The output cannot be written: {exc.strerror}.") from exc
    return ExitCode.OK if all_whole else ExitCode.ERROR


def _names(files: Sequence[str]) -> Iterator[bytes]:
    """Yield the files, for a folder the captures in it in natural order."""
    for name in map(to_name, files):
        if not os.path.isdir(name):  # noqa: PTH112 - bytes
            yield name
            continue
        from pcapdj.capture.listing import capture_files

        yield from (each.name for each in capture_files([name], recursive=False).files)


def _check_output(names: Sequence[bytes]) -> None:
    """Refuse a terminal, and an output that is one of the inputs: it would grow for ever.

    Raises:
        ConfigError: it is one of these.
        PcapdjError: there is no stdout.
    """
    if os.isatty(_STDOUT):
        raise ConfigError(
            "The output is a capture, and stdout is a terminal.", hint="Write > FILE or | PROGRAM."
        )
    try:
        output = os.fstat(_STDOUT)
    except OSError as exc:
        raise PcapdjError(f"There is no stdout: {exc.strerror}.") from exc
    for name in names:
        if os.path.exists(name) and os.path.samestat(os.stat(name), output):  # noqa: PTH110, PTH116 - bytes
            raise ConfigError(f"{quoted(name)} is the output as well.", hint="Write to another file.")


def _report(name: bytes, damage: CaptureError | None, totals: Totals) -> None:
    """Say what was wrong with a file, and how much of it was written."""
    if damage is not None:
        sentence = f"{quoted(name)}: {printable_sentence(str(damage))}; {totals.packets} packets written."
        print(f"pcapdj cat: {sentence}", file=sys.stderr)  # noqa: T201 - it goes on with the next file
