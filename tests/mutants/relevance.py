"""Which tests belong to a module: those that import it, then the others of its room."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

ROLES: Final = {
    "dispatcher": "feed",
    "controller": "disk",
    "consumer_launcher": "analyzer",
    "importer": "inbox",
}

# room -> words in the names of the files of tests/integration and tests/e2e that run it
_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "feed": (
        "feed", "dispatch", "torn", "jump", "linktype", "fault", "exclusiv", "signal",
        "outage", "hostile", "suricata",
    ),
    "analyzer": ("analyzer", "consumer", "launcher", "exclusiv", "signal", "suricata", "secret"),
    "disk": ("disk", "controller", "gate", "limit", "outage", "operator"),
    "inbox": ("inbox", "importer", "import"),
    "run": ("run", "sample"),
    "commands": ("command", "cat", "limit", "check", "secret"),
    "console": ("command", "console", "status", "cat"),
    "capture": ("capture", "cat", "ethernet", "feed", "torn", "linktype", "wheel"),
    "store": ("store", "redis", "outage", "operator", "exclusiv"),
    "runtime": ("runtime", "signal", "exclusiv", "secret", "hostile", "outage", "command"),
    "summary": ("summary", "sample"),
    "cli": ("command", "cat"),
    "service": ("service", "supervis"),
    "launcher_protocol": ("launcher", "analyzer"),
}  # fmt: skip


def room_of(module: Path) -> str:
    """Return the room of a module (its path inside the package); a role's is the role's own room."""
    part = module.parts[0].removesuffix(".py")
    return ROLES.get(part, part)


def files_for(module: Path, tests: Path) -> tuple[list[Path], list[Path]]:
    """Return the test files that import the module, and the other ones that belong to its room.

    Both lists begin with the tests that should find a bug soonest: unit and property tests first, then those
    that have the module's name in their own or mention it most often.

    Args:
        module: its path inside the package.
        tests: the folder of the tests.
    """
    dotted = ".".join(("pcapdj", *module.with_suffix("").parts))
    files = sorted(path for path in tests.rglob("test_*.py") if "faults" not in path.parts)
    direct = [path for path in files if dotted in _imports_of(path)]
    words = _WORDS[room_of(module)]
    of_room = [
        path
        for path in files
        if path not in direct
        and any(re.search(rf"(^|_){word}", path.stem.removeprefix("test_")) for word in words)
    ]
    return _soonest_first(direct, module), _soonest_first(of_room, module)


def _soonest_first(files: list[Path], module: Path) -> list[Path]:
    def order(path: Path) -> tuple[bool, bool, int]:
        is_process = path.parent.name not in ("unit", "property")
        return is_process, module.stem not in path.stem, -_words_of(path)[module.stem]

    return sorted(files, key=order)


@cache
def _words_of(path: Path) -> Counter[str]:
    return Counter(re.findall(r"\w+", path.read_text("utf-8")))


@cache
def _imports_of(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)
