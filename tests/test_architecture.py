"""The picture of docs/design.md, executed: who imports whom, and who owns which outside thing."""

import ast
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parent.parent / "pcapdj"
ROOMS: Final = {"capture", "store", "stream", "disk", "console", "summary"}
ROLES: Final = {"dispatcher", "controller", "consumer_launcher", "importer"}

# Top-level modules, each set above those it may import. Rooms stand below all of them, `runtime` below these.
LEVELS: Final[list[set[str]]] = [
    {
        "service",
        "extracted",
        "attention",
        "passage",
        "dispatcher_options",
        "consumer_options",
        "consumer_state",
    },
    {"alone", "blame", "run_record", "one_shot", "feeding", "importing", "consumer_words"},
    {"run_plan", "running", "taking", "consuming"},
    {"run_report"},
    ROLES,
    {"commands"},
    {"cli"},
    {"__main__"},
]

OWNERS: Final[dict[str, set[str]]] = {
    "redis": {"store"},
    "dpkt": {"capture", "summary"},
    "isal": {"capture"},
    "backports": {"capture"},
    "watchdog": {"capture"},
    "psutil": {"disk"},
    "supervisor": {"one_shot"},
    "subprocess": {"stream", "one_shot", "store", "commands"},
    "rich": {"console", "summary"},
}

# Rules: no I/O, no clock, no logging, no processes.
RULES: Final = [
    "runtime/errors",
    "runtime/amounts",
    "runtime/names",
    "store/keys",
    "capture/formats",
    "capture/pcap",
    "capture/walk",
    "capture/totals",
    "capture/convert",
    "capture/ethernet",
    "capture/packet_block",
    "capture/order",
    "capture/continuity",
    "capture/settling",
    "capture/wish",
    "stream/protocol",
    "stream/presets",
    "stream/attempts",
    "stream/stall",
    "disk/limits",
    "disk/gate",
    "disk/live",
    "summary/tcp",
    "summary/http1",
    "summary/body",
]
EFFECTS: Final = {"time", "logging", "socket", "subprocess", "select", "threading", "redis", "psutil"}

MODULES: Final = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imports_of(module: Path) -> set[str]:
    """Return the dotted names a module imports at run time, wherever the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(module: Path) -> str:
    """Return the room, or the top-level module's name."""
    return module.parts[0].removesuffix(".py")


def parts_imported(module: Path) -> set[str]:
    """Return the rooms and top-level modules of ours that a module imports."""
    names = {name.split(".")[1] for name in imports_of(module) if name.startswith("pcapdj.")}
    return names - {"__version__"}


def level_of(part: str) -> int:
    """Return how high a top-level module stands; rooms are at -1, runtime at -2."""
    if part in ROOMS:
        return -1
    return -2 if part == "runtime" else next(n for n, level in enumerate(LEVELS) if part in level)


def test_every_top_level_module_has_its_place_in_the_picture() -> None:
    """A new module is put into a room, or on a level of this picture."""
    placed = ROOMS | {"runtime", "__init__"} | set().union(*LEVELS)

    assert {part_of(module) for module in MODULES} - placed == set()


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) in ROOMS], ids=str)
def test_a_room_imports_runtime_and_itself_only(module: Path) -> None:
    """Rooms know nothing of each other; roles bring them together."""
    assert parts_imported(module) - {part_of(module), "runtime"} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) == "runtime"], ids=str)
def test_runtime_imports_nothing_of_ours(module: Path) -> None:
    """What every process needs stands on the standard library and typer alone."""
    assert parts_imported(module) - {"runtime"} == set()


@pytest.mark.parametrize(
    "module", [m for m in MODULES if part_of(m) not in ROOMS | {"runtime", "__init__"}], ids=str
)
def test_imports_point_down(module: Path) -> None:
    """A top-level module imports from lower levels only; hence no role imports another."""
    part = part_of(module)

    above = {name for name in parts_imported(module) - {part} if level_of(name) >= level_of(part)}

    assert above == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_each_outside_thing_has_its_owner(module: Path) -> None:
    """A library with effects of its own is imported where it belongs, and nowhere else."""
    roots = {name.split(".")[0] for name in imports_of(module)}

    strayed = {library for library in roots & OWNERS.keys() if part_of(module) not in OWNERS[library]}

    assert strayed == set()


@pytest.mark.parametrize("rule", RULES)
def test_rules_have_no_effects(rule: str) -> None:
    """What decides can be tested on values: it opens nothing, waits for nothing, asks no clock."""
    roots = {name.split(".")[0] for name in imports_of(Path(f"{rule}.py"))}

    assert roots & EFFECTS == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_stay_small(module: Path) -> None:
    """A module of more than 250 lines is two modules."""
    assert len((PACKAGE / module).read_text(encoding="utf-8").splitlines()) <= 250
