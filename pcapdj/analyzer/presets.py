"""The presets, analyzers with a name, and how a command line becomes an argv. Rules only.

A command is split into an argv once, when it is configured, and never given to a shell. `{pipe}` and
`{logdir}` are replaced inside its elements by paths that the launcher made; file names from a queue are never
part of it.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted, shell_word

PIPE: Final = "{pipe}"
LOGDIR: Final = "{logdir}"
PYTHON: Final = "{python}"  # the interpreter that runs pcapdj
START: Final = "{start}"  # the file by which it runs a module of this package, see runtime.interpreter
EXTRACT: Final = "{extract}"  # the shipped suricata-extract.yaml
DEFAULT_PRESET: Final = "suricata-extract"
FALLBACK_PRESET: Final = "summary"  # where Suricata is not installed: it is part of pcapdj

_NEVER_PAUSES = frozenset({"zeek", "tshark", "tcpdump", "tcpflow"})
_SURICATA_VERSION = re.compile(r"Suricata version (\d+)\.(\d+)\.(\d+)")
_LOSES_AFTER_HEADER = ((8, 0, 0), (8, 0, 5))  # the first and the last version that do
_PLAIN = re.compile(r"[\w@%+=:,./{}-]+")  # shown without quotes: placeholders, too
_PLACEHOLDER = re.compile(r"\{(?:pipe|logdir|python|start|extract)\}")
_INSTALL: Final[Mapping[str, str]] = {
    "suricata": "Install the package suricata (Debian 12 has a newer one in bookworm-backports)",
    "zeek": "Install Zeek from zeek.org's own packages (Debian itself has none)",
    "tshark": "Install the package tshark",
    "tcpdump": "Install the package tcpdump",
    "tcpflow": "Install the package tcpflow",
}


@dataclass(frozen=True, slots=True)
class Command:
    """The analyzer to start for every stream.

    Args:
        argv: its command line, with placeholders.
        is_ours: it is part of pcapdj and needs its modules.
        preset: its name; empty for an operator's own command.

    As text it is the preset's name, else the command as typed.
    """

    argv: tuple[str, ...]
    is_ours: bool = False
    preset: str = ""

    def __str__(self) -> str:
        return self.preset or " ".join(
            word if _PLAIN.fullmatch(word) else shell_word(word) for word in self.argv
        )


PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    "suricata": ("suricata", "-r", PIPE, "-l", LOGDIR),
    # stores every transferred file whole; no rules are loaded, so it starts in 0.2 s instead of a minute
    "suricata-extract": (
        *("suricata", "--include", EXTRACT, "--disable-detection", "-k", "none", "-r", PIPE, "-l", LOGDIR),
    ),
    "zeek": ("zeek", "-C", "-r", PIPE),
    "tshark": ("tshark", "-n", "-q", "-r", PIPE, "-z", "io,phs", "-z", "conv,tcp"),
    "tcpdump": ("tcpdump", "-n", "-r", PIPE, "-w", LOGDIR + "/stream.pcap"),
    "tcpflow": ("tcpflow", "-a", "-o", LOGDIR + "/flows", "-r", PIPE),
    "summary": (PYTHON, "-P", START, "pcapdj.summary", PIPE, LOGDIR),
}


def preset_command(name: str) -> Command:
    """Return the command of a preset.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"Unknown preset {quoted(name)}.", hint=f"Known presets: {', '.join(PRESETS)}; or give a command."
        )
    argv = PRESETS[name]
    return Command(argv, is_ours=argv[0] == PYTHON, preset=name)


def split_command(text: str) -> list[str]:
    """Return the words of a command line, split as a shell does; nothing is expanded.

    Raises:
        ConfigError: a quote is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as exc:
        raise ConfigError(
            f"The analyzer's command {quoted(text)} cannot be split into words: {exc}."
        ) from exc


def own_command(argv: Sequence[str]) -> Command:
    """Return the command of an operator's own argv; refuse one that could never read the stream.

    Raises:
        ConfigError: it is empty, or does not contain `{pipe}`.
    """
    if not argv or not argv[0]:
        raise ConfigError("The analyzer's command is empty.")
    if not any(PIPE in element for element in argv[1:]):
        raise ConfigError(
            f"The analyzer's command {quoted(shlex.join(argv))} does not mention {PIPE}.",
            hint=f"Write {PIPE} where the analyzer takes the capture file.",
        )
    return Command(tuple(argv))


def substituted(argv: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return the argv with its placeholders replaced, in each element and only once.

    Args:
        argv: the template.
        values: placeholder to value; other placeholders stay as they are.
    """
    return [_PLACEHOLDER.sub(lambda match: values.get(match[0], match[0]), element) for element in argv]


def is_suricata(program: str) -> bool:
    """Report whether `needs_pause` depends on the version that this program prints."""
    return program.rpartition("/")[2] == "suricata"


def needs_pause(command: Command, version: str) -> bool:
    """Report whether the stream has to pause after its header.

    Suricata 8.0.0 to 8.0.5 give libpcap's file a new buffer once it has read the header, and lose what it had
    read with it. A program of another name may start one of these.

    Args:
        command: the analyzer.
        version: what `suricata -V` prints; empty if it does not.
    """
    name = command.argv[0].rpartition("/")[2]
    if command.is_ours or name in _NEVER_PAUSES:
        return False
    if not is_suricata(name) or not (found := _SURICATA_VERSION.search(version)):
        return True
    first, last = _LOSES_AFTER_HEADER
    return first <= tuple(map(int, found.groups())) <= last


def install_hint(program: str) -> str:
    """Return what to do if the program is not installed."""
    name = program.rpartition("/")[2]
    return _INSTALL.get(name, "Install it, or give its path") + ", or choose another --preset."
