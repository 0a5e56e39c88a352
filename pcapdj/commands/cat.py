"""`pcapdj cat`: writes the stream that an analyzer would read to stdout, without Redis, pipe or roles.

Its options are read with getopt: the command is also used for single small files, and to import typer would
take 0.12 s, argparse 0.01 s.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from errno import EBADF
from fcntl import F_GETFL, fcntl
from getopt import GetoptError, gnu_getopt
from typing import Final

from pcapdj.capture.anomalies import Anomaly
from pcapdj.capture.concatenate import PRECISIONS, concatenate
from pcapdj.capture.pcap import Totals
from pcapdj.runtime.errors import CaptureError, ConfigError, ExitCode, PcapdjError
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable_sentence, quoted, to_name

_STDOUT: Final = 1
_PRECISION: Final = "PCAPDJ_PRECISION"
_ON_LINKTYPE: Final = "PCAPDJ_ON_LINKTYPE"
_FAIL, _ETHERNET, _NEW_STREAM = "fail", "ethernet", "new-stream"
_HELP_FLAGS: Final = {"-h", "--help"}
_SEE_HELP: Final = "See 'pcapdj cat --help'."
HELP: Final = f"""\
usage: pcapdj cat [-h] [--order {{name,time}}] [--precision {{us,ns}}]
                  [--on-linktype {{fail,ethernet}}] FILE [FILE ...]

Write the capture files to stdout as one classic capture, whole records only.

positional arguments:
  FILE                  capture files, or folders of them

options:
  -h, --help            show this help message and exit
  --order {{name,time}}   sort all files by their names, or by the time of their first packets;
                        default: only the files of each folder, by time
  --precision {{us,ns}}   timestamp precision; default: that of the first file [env: {_PRECISION}]
  --on-linktype {{fail,ethernet}}
                        a file of another link type than the first one: skip it, or rewrite its
                        raw IP, loopback and Linux cooked packets to Ethernet;
                        default: {_FAIL} [env: {_ON_LINKTYPE}]"""


def run(arguments: Sequence[str]) -> int:
    """Write the captures to stdout as one classic capture; return 0 only if every file was written whole.

    Raises:
        ConfigError: an option or the output is not valid.
        PcapdjError: the output cannot be written.
    """
    options, files = _options_and_files(arguments)
    if _HELP_FLAGS & options.keys():
        print(HELP)  # noqa: T201 - the answer
        return ExitCode.OK
    precision = PRECISIONS[_chosen(options, "--precision", ("us", "ns")) or _precision_of_environment()]
    rewrites = _rewrites(options.get("--on-linktype", os.environ.get(_ON_LINKTYPE) or _FAIL))
    order = _chosen(options, "--order", ("name", "time"))
    os.getcwd()  # noqa: PTH109 - without pathlib: one that is gone is one sentence
    names = _names([to_name(file) for file in files], order)
    _check_output(names)
    try:
        all_whole = concatenate(names, _STDOUT, precision=precision, report=_report, rewrites=rewrites)
    except OSError as exc:
        raise PcapdjError(f"The output cannot be written: {exc.strerror}.") from exc
    return ExitCode.OK if all_whole else ExitCode.ERROR


def _options_and_files(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options' values by their long names, and the files.

    Raises:
        ConfigError: an option is unknown, or there is no file.
    """
    try:
        options, files = gnu_getopt(list(arguments), "h", ["help", "order=", "precision=", "on-linktype="])
    except GetoptError as exc:
        raise ConfigError(f"{exc.msg[:1].upper()}{exc.msg[1:]}.", hint=_SEE_HELP) from exc
    found = dict(options)
    if not files and not _HELP_FLAGS & found.keys():
        raise ConfigError("There is no FILE.", hint=_SEE_HELP)
    return found, files


def _chosen(options: Mapping[str, str], name: str, choices: tuple[str, str]) -> str | None:
    """Return the option's value, which has to be one of two words; None without the option."""
    chosen = options.get(name)
    if chosen is not None and chosen not in choices:
        raise ConfigError(f"{name} is {quoted(chosen)}, not {' or '.join(choices)}.", hint=_SEE_HELP)
    return chosen


def _precision_of_environment() -> str:
    precision = os.environ.get(_PRECISION, "")
    if precision not in PRECISIONS:
        raise ConfigError(f"{_PRECISION} is {quoted(precision)}.", hint="Use us or ns.")
    return precision


def _rewrites(on_linktype: str) -> bool:
    """Return whether packets are rewritten to Ethernet."""
    if on_linktype == _NEW_STREAM:
        raise ConfigError("--on-linktype new-stream is for analyzers: a file has one link type.")
    if on_linktype not in {_FAIL, _ETHERNET}:
        raise ConfigError(f"--on-linktype is {quoted(on_linktype)}.", hint="Use fail or ethernet.")
    return on_linktype == _ETHERNET


def _names(names: list[bytes], order: str | None) -> list[bytes]:
    """Return the files in the order in which they are written; of folders, the captures in them."""
    if order is None and not any(map(os.path.isdir, names)):
        return names
    from pcapdj.inbox.listing import list_captures
    from pcapdj.inbox.order import Order
    from pcapdj.inbox.skipped import refusal_sentences

    listing = list_captures(names, recursive=False, order=Order(order) if order else None)
    for sentence in [*listing.notes, *refusal_sentences(listing.skipped)]:
        print(f"pcapdj cat: {printable_sentence(sentence)}", file=sys.stderr)  # noqa: T201 - cat goes on
    faults = [each.name for each in listing.faults]
    return [*(each.name for each in listing.files), *faults]  # the last ones are reported as damaged


def _check_output(names: Sequence[bytes]) -> None:
    """Refuse a terminal, and an output that is one of the inputs: it would grow for ever."""
    if os.isatty(_STDOUT):
        raise ConfigError(
            "The output is a capture, and stdout is a terminal.", hint="Add > FILE or | PROGRAM."
        )
    try:
        output = os.fstat(_STDOUT)
        is_missing = fcntl(_STDOUT, F_GETFL) & os.O_ACCMODE == os.O_RDONLY  # of `open_missing_streams`
    except OSError:
        is_missing = True
    if is_missing:
        raise PcapdjError(f"There is no stdout: {os.strerror(EBADF)}.")
    for name in names:
        if os.path.exists(name) and os.path.samestat(os.stat(name), output):  # noqa: PTH110, PTH116 - bytes
            raise ConfigError(f"{quoted(name)} is also the output.", hint="Write to another file.")


def _report(name: bytes, damage: CaptureError | None, totals: Totals, anomalies: Sequence[Anomaly]) -> None:
    """Print what is wrong with a file, and how much of it was written."""
    sentences = [each.sentence for each in anomalies] + ([str(damage)] if damage else [])
    for number, sentence in enumerate(sentences, 1):
        packets = counted(totals.packets, "packet")
        written = f"; {packets} written" if number == len(sentences) else ""
        text = f"{quoted(name)}: {printable_sentence(sentence)}{written}."
        print(f"pcapdj cat: {text}", file=sys.stderr)  # noqa: T201 - the next file follows
