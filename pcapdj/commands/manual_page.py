"""The manual page pcapdj(1), from the commands: `python -m pcapdj.commands.manual_page` writes it to stdout.

Sources: man-pages(7) for its sections, man(7) for the macros.
"""

import re
from collections.abc import Iterator
from typing import Final

from pcapdj import __version__
from pcapdj.commands.described import Option, Subcommand, described_commands
from pcapdj.runtime.errors import ExitCode

EXIT_STATUS: Final = {
    ExitCode.OK: "Everything was done; run and cat: every file was fed whole, with all of its packets.",
    ExitCode.ERROR: "A file was not fed whole, a role does not run, or pcapdj itself has an error.",
    ExitCode.USAGE: "An option, a variable or a limit is not valid.",
    ExitCode.HOLD: "control --check: the gate holds.",
    ExitCode.UNAVAILABLE: "Redis does not answer, or a program is missing.",
    ExitCode.CANNOT_CREATE: "A pipe, socket or folder cannot be made, or another user can replace it.",
    ExitCode.BUSY: "Another process has this role.",
    ExitCode.DENIED: "Redis refuses the login or a command.",
    ExitCode.INTERRUPTED: "Ctrl-C.",
}

_DESCRIPTION: Final = """\
pcapdj feeds rotated capture files through a named pipe into an analyzer that keeps state, such as Suricata or
Zeek, and the analyzer reads them as one capture. It authorizes one file at a time, and only while the disk
with the analyzer's output has room.

Every option that names a variable can be set by that variable, too; a flag overrides it."""
_FILES: Final = {
    "supervisord.conf": "The five programs of the service in this folder; pcapdj init writes it.",
    "inbox/": "Captures that are moved here are fed in the order of their packets.",
    "out/latest": "The analyzer's results of the newest stream.",
    "var/log/": "The logs of the roles.",
    "pcapdj.json": "What pcapdj run has fed, beside its results.",
}


def manual_page() -> str:
    """Return the page in the macros of man(7)."""
    return "\n".join(_lines(described_commands())) + "\n"


def _lines(commands: list[Subcommand]) -> Iterator[str]:
    yield f'.TH PCAPDJ 1 "" "pcapdj {__version__}" "User Commands"'
    yield from (".SH NAME", r"pcapdj \- feed rotated capture files into an analyzer as one stream")
    yield ".SH SYNOPSIS"
    for each in commands:
        yield from (".br", _usage(each)) if each is not commands[0] else (_usage(each),)
    yield ".SH DESCRIPTION"
    yield from _paragraphs(_DESCRIPTION)
    group = ""
    for each in commands:
        if each.group != group:
            group = each.group
            yield f".SH {_escaped(group.upper())}"
        yield from _command(each)
    yield ".SH EXIT STATUS"
    for code, text in EXIT_STATUS.items():
        yield from (".TP", f".B {code.value}", _escaped(text))
    yield ".SH FILES"
    for name, text in _FILES.items():
        yield from (".TP", f".I {_escaped(name)}", _escaped(text))
    yield from (".SH SEE ALSO", ".BR suricata (1),", ".BR tcpdump (1),", ".BR mergecap (1)")


def _usage(command: Subcommand) -> str:
    arguments = " ".join(rf"\fI{_escaped(each.name)}\fR" for each in command.arguments)
    return rf"\fBpcapdj {command.name}\fR [options] {arguments}".rstrip()


def _command(command: Subcommand) -> Iterator[str]:
    yield f".SS pcapdj {command.name}"
    yield from _paragraphs(command.text)
    for argument in command.arguments:
        yield from (".TP", rf"\fI{_escaped(argument.name)}\fR", _escaped(argument.text))
    for option in command.options:
        yield from (".TP", _names(option), _escaped(option.text) + _variable(option))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        yield from (".PP", _escaped(" ".join(paragraph.split())))


def _names(option: Option) -> str:
    value = rf" \fI{_escaped(option.value)}\fR" if option.value else ""
    return ", ".join(rf"\fB{_escaped(name)}\fR" for name in option.names) + value


def _variable(option: Option) -> str:
    return rf" (\fB{option.variable}\fR)" if option.variable else ""


def _escaped(text: str) -> str:
    """Return the text for troff: hyphens stay hyphens, and no line begins a macro."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    print(manual_page(), end="")  # noqa: T201 - the answer
