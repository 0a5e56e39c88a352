"""The plan of docs/design.md, executed: which room imports which, who owns each library, module sizes."""

import ast
import re
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent.parent / "pcapdj"

# The files at the top of the package; everything else is in a room.
TOP: Final = {
    "__init__",
    "__main__",
    "dispatcher",
    "controller",
    "consumer_launcher",
    "importer",
    "cli",
    "service",
    "launcher_protocol",
}

# role -> the room that is its inside
ROOM_OF_ROLE: Final = {
    "dispatcher": "feed",
    "controller": "disk",
    "consumer_launcher": "analyzer",
    "importer": "inbox",
}
SHARED: Final = {"capture", "store", "console", "runtime", "summary"}
ABOVE: Final = {"commands", "run", "trace", "cli", "__main__"}  # these may import whatever they need

# What a room may import beside itself and `runtime`.
IMPORTS: Final[dict[str, set[str]]] = {
    "feed": {"capture", "store", "launcher_protocol"},
    "analyzer": {"store", "launcher_protocol"},
    "disk": {"console", "store"},
    "inbox": {"capture", "store"},
    "reclaim": {"capture", "store"},
    "capture": set(),
    "store": set(),
    "console": set(),
    "summary": set(),
    "runtime": set(),
    "launcher_protocol": set(),
    "service": set(),
}

OWNERS: Final[dict[str, set[str]]] = {
    "redis": {"store"},
    "dpkt": {"summary"},
    "isal": {"capture"},
    "backports": {"capture"},
    "psutil": {"disk"},
    "prometheus_client": {"commands"},
    "supervisor": {"commands"},
    "subprocess": {"analyzer", "disk", "store", "commands", "trace"},
    "rich": {"console", "summary", "run"},
}

# Rules: no I/O, no clock, no logging, no processes.
RULES: Final = [
    "runtime/errors",
    "runtime/foreign_json",
    "runtime/full_disks",
    "runtime/nfs4_acl",
    "runtime/numbers",
    "runtime/units",
    "runtime/safe_text",
    "runtime/backoff",
    "runtime/ownership",
    "runtime/assignments",
    "store/keys",
    "store/failure_kinds",
    "store/queue_comparison",
    "capture/budget",
    "capture/first_records",
    "capture/formats",
    "capture/no_magic",
    "capture/pcap",
    "capture/walk",
    "capture/convert",
    "capture/linktypes",
    "capture/identity",
    "capture/interfaces",
    "capture/packet_blocks",
    "capture/storage",
    "capture/timestamps",
    "capture/anomalies",
    "capture/stream_options",
    "inbox/order",
    "inbox/overlaps",
    "inbox/settle",
    "inbox/skipped",
    "analyzer/presets",
    "analyzer/exit_cause",
    "analyzer/restarts",
    "feed/note",
    "disk/between",
    "disk/limit_changes",
    "disk/limits",
    "disk/next_files",
    "disk/output_ratio",
    "disk/reserve",
    "disk/fill_rate",
    "disk/gate",
    "console/disk_lines",
    "console/event_lines",
    "console/folding",
    "console/metrics",
    "console/monitor_rules",
    "console/dispatcher_lines",
    "console/snapshot_fields",
    "console/status_lines",
    "console/trend_lines",
    "console/waiting_lines",
    "disk/live_limits",
    "disk/measurements",
    "disk/same_disk",
    "disk/published_gate",
    "disk/reclaim_rule",
    "disk/schedule",
    "feed/progress",
    "feed/statistics",
    "reclaim/selection",
    "summary/analysis",
    "summary/flows",
    "summary/packets",
    "summary/tcp",
    "summary/http1",
    "summary/http_message",
    "summary/http_work",
    "trace/events",
    "trace/filters",
    "trace/timeline",
    "trace/drawing",
]
EFFECTS: Final = {
    *("fcntl", "logging", "mmap", "os", "random", "select", "shutil", "signal", "socket", "subprocess"),
    *("tempfile", "threading", "time", "psutil", "redis", "rich", "typer", "prometheus_client"),
}

# rule -> what it imports that has effects, and why it is a rule all the same
RULES_WITH_EFFECTS: Final[dict[str, dict[str, str]]] = {
    "capture/identity": {"capture/files": "the type of an identity"},
    "runtime/safe_text": {"os": "decodes names"},
    "runtime/backoff": {"random": "varies a pause"},
    "runtime/ownership": {"os": "the type of a status"},
    "capture/walk": {"capture/compiled": "the same loops in C"},
    "capture/interfaces": {"capture/compiled": "the form of an interface for C"},
    "capture/packet_blocks": {"capture/compiled": "the same loops in C"},
    "console/dispatcher_lines": {"console/screen": "the line's type"},
    "console/status_lines": {"console/screen": "the line's type"},
    "console/waiting_lines": {"console/screen": "the line's type"},
    "feed/note": {"launcher_protocol": "the beginning of a record, which the launcher reads, too"},
    "feed/statistics": {"time": "formats the start in local time"},
    "reclaim/selection": {
        "capture/files": "the type of an identity",
        "os": "the type of a status; decodes names",
    },
    "summary/analysis": {"summary/results": "its types", "summary/stream": "cuts bytes into records"},
    "summary/flows": {"summary/results": "the types of its results"},
}

SMALLEST_LINES: Final = 60
LARGEST_LINES: Final = 400
LONGEST_CHAIN: Final = 10

# module -> why it is smaller than a module should be
SMALL: Final[dict[str, str]] = {
    "runtime/numbers.py": "imports nothing, so that every module can use it",
    "__init__.py": "the version",
    "__main__.py": "python -m pcapdj",
    "disk/schedule.py": "the timing of the controller, one rule that is tested by itself",
    "store/lane_totals.py": "two numbers that the metrics and the screen show, each at a constant cost",
    "console/snapshot_fields.py": "how three screens read a field",
    "store/failure_kinds.py": "one rule, which the metrics and the journal show",
    "store/stepwise.py": "how the two long works on keys are done between others",
    "runtime/storage_faults.py": "one rule about errors, and the wait that follows from it",
    "feed/output_space.py": "what the end of a stream waits for, and nothing else does",
    "commands/suspend.py": "a command is as long as what it does",
    "commands/sample.py": "a command is as long as what it does",
    "commands/finish.py": "a command is as long as what it does",
    "commands/resume.py": "a command is as long as what it does",
    "commands/gate.py": "a command is as long as what it does",
    "commands/down.py": "a command is as long as what it does",
    "commands/restart.py": "a command is as long as what it does",
    "runtime/backoff.py": "one rule that two rooms need",
    "runtime/interpreter.py": "one command line that three rooms need",
    "reclaim/proof.py": "what decides that a file is the fed one, apart from what is done with it",
    "capture/compressing.py": "the counterpart of decompress, which is as long as its library",
}

# Words for which this field has better ones: no module, class or function is named so.
AVOIDED_NAMES: Final = {
    *("ahead", "alone", "amounts", "arrivals", "asking", "attempts", "attend", "attention", "bell", "blame"),
    *("board", "continuity", "deaf", "desk", "ending", "guard", "insist", "intake", "keeper", "lay", "life"),
    *("lifeline", "lossy", "mind", "news", "nonsense", "nursery", "observe", "oracle", "outlet", "passage"),
    *("patience", "rarities", "room", "settling", "site", "slices", "spot", "standing", "streamwish"),
    *("outlived", "story", "taking", "told", "transfer", "unpacked", "wish"),
}

# class names that two modules have, and why
TWICE: Final[dict[str, str]] = {}

# constructors in the rooms of roles that keep a callable, and why
CALLBACKS: Final[dict[str, str]] = {}

# module and attribute of another module's object that it sets, and why
FOREIGN_STATE: Final[dict[str, str]] = {
    "capture/compiled.py argtypes": "ctypes: how a function is declared",
    "capture/compiled.py restype": "ctypes: how a function is declared",
    "disk/options.py __signature__": "inspect: how typer learns a function's options",
    "run/command.py obj": "typer: how a command hands something to the next",
    "runtime/command.py excepthook": "threading: how a process learns that one of its threads died",
    "runtime/option_values.py get_runtime_param": "typer: what converts the value of an option",
    "runtime/streams.py stdout": "a closed output is replaced for the rest of the process",
    "runtime/streams.py stderr": "a closed output is replaced for the rest of the process",
    "summary/sample.py an": "dpkt: how a message is built",
    "summary/sample.py rdata": "dpkt: how a message is built",
    "summary/analysis.py summary": "the record that it fills and returns",
}

MODULES: Final = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
IN_ROOMS: Final = [module for module in MODULES if len(module.parts) > 1]


@cache
def tree_of(module: Path) -> ast.Module:
    """Return the parsed module."""
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


@cache
def nodes_of(module: Path) -> tuple[ast.AST, ...]:
    """Return every node of the parsed module; many rules look at them."""
    return tuple(ast.walk(tree_of(module)))


def lines_of(module: Path) -> int:
    """Return how many lines the module has."""
    return len((PACKAGE / module).read_text(encoding="utf-8").splitlines())


@cache
def imports_of(module: Path) -> set[str]:
    """Return the dotted names a module imports, wherever the import stands."""
    found: set[str] = set()
    for node in nodes_of(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots_imported(module: Path) -> set[str]:
    """Return the packages that a module imports."""
    return {name.split(".")[0] for name in imports_of(module)}


def part_of(module: Path) -> str:
    """Return the room, or the top-level module's name."""
    return module.parts[0].removesuffix(".py")


def parts_imported(module: Path) -> set[str]:
    """Return the rooms and top-level modules of ours that a module imports, itself aside."""
    names = {name.split(".")[1] for name in imports_of(module) if name.startswith("pcapdj.")}
    return names - {"__version__", part_of(module)}


def modules_imported(module: Path) -> set[Path]:
    """Return the modules of ours that a module imports when it is imported itself."""
    found: set[Path] = set()
    for node in tree_of(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pcapdj"):
            base = "/".join(node.module.split(".")[1:])
            found |= {Path(f"{base}.py"), *(Path(base, f"{alias.name}.py") for alias in node.names)}
    return found & set(MODULES)


@cache
def chain_of(module: Path) -> tuple[Path, ...]:
    """Return the longest chain of imports that begins with this module."""
    longest = max((chain_of(each) for each in modules_imported(module)), key=len, default=())
    return (module, *longest)


def test_the_top_of_the_package_has_the_roles_and_little_else() -> None:
    """Four roles, the command, the service's layout, the contract between dispatcher and launcher."""
    assert {part_of(module) for module in MODULES if len(module.parts) == 1} == TOP


def test_every_folder_is_a_room_of_the_plan() -> None:
    """A new room is put into the plan first."""
    assert {part_of(module) for module in IN_ROOMS} == set(ROOM_OF_ROLE.values()) | SHARED | {
        "commands",
        "run",
        "trace",
        "reclaim",
    }


def test_a_module_imports_only_what_its_room_may_import() -> None:
    """A role imports its own room and the shared ones; a room those that the table names for it."""
    modules = [module for module in MODULES if part_of(module) not in ABOVE | {"__init__"}]

    wrong = {str(module): parts_imported(module) - parts_allowed(part_of(module)) for module in modules}

    assert {module: parts for module, parts in wrong.items() if parts} == {}


def parts_allowed(part: str) -> set[str]:
    """Return the rooms and top-level modules that this one may import."""
    if part in ROOM_OF_ROLE:
        return {ROOM_OF_ROLE[part], "launcher_protocol", *SHARED} - {"summary"}
    return IMPORTS[part] | {"runtime"}


def test_each_library_has_the_rooms_that_use_it() -> None:
    """A library with effects of its own is imported where it belongs, and nowhere else."""
    wrong = {
        f"{module} imports {library}"
        for module in MODULES
        for library in roots_imported(module) & OWNERS.keys()
        if part_of(module) not in OWNERS[library]
    }

    assert wrong == set()


def test_the_tables_allow_nothing_that_is_not_used() -> None:
    """A permission that no module needs any more is removed."""
    imported: dict[str, set[str]] = defaultdict(set)
    libraries: dict[str, set[str]] = defaultdict(set)
    for module in MODULES:
        imported[part_of(module)] |= parts_imported(module)
        for library in roots_imported(module) & OWNERS.keys():
            libraries[library].add(part_of(module))

    assert {
        part: allowed - imported[part] for part, allowed in IMPORTS.items() if allowed - imported[part]
    } == {}
    assert {each: rooms - libraries[each] for each, rooms in OWNERS.items() if rooms - libraries[each]} == {}


def test_rules_have_no_effects() -> None:
    """What decides can be tested on values: it opens nothing, waits for nothing, asks no clock."""
    found = {rule: effects_of(Path(f"{rule}.py")) for rule in RULES}

    assert {rule: effects for rule, effects in found.items() if effects} == {
        rule: set(reasons) for rule, reasons in RULES_WITH_EFFECTS.items()
    }


def test_a_module_that_calls_itself_a_rule_is_one() -> None:
    """The head of a module is checked like its imports."""
    declared = {
        str(module.with_suffix(""))
        for module in IN_ROOMS
        if "Rules only" in (head := ast.get_docstring(tree_of(module)) or "") or "Pure." in head
    }

    assert declared - set(RULES) == set()


def effects_of(rule: Path) -> set[str]:
    """Return the libraries with effects that it imports, and the modules of ours that are not rules."""
    modules = {str(module.with_suffix("")) for module in modules_imported(rule)}
    return (roots_imported(rule) & EFFECTS) | (modules - set(RULES))


def test_a_module_is_one_idea_in_60_to_400_lines() -> None:
    """Below it is a slice of another module, above it is two modules; each exception has its reason."""
    lines = {str(module): lines_of(module) for module in MODULES}
    markers = {str(module) for module in IN_ROOMS if module.name == "__init__.py"}

    assert {module: count for module, count in lines.items() if count > LARGEST_LINES} == {}
    assert {module for module, count in lines.items() if count < SMALLEST_LINES} - markers == SMALL.keys()


def test_no_class_name_means_two_things() -> None:
    """A class name in a log, a test or an issue stands for one class."""
    homes = defaultdict(list)
    for module in MODULES:
        for node in tree_of(module).body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(module))

    assert {name for name, modules in homes.items() if len(modules) > 1} == TWICE.keys()


def test_names_are_of_this_field() -> None:
    """A name is a noun of this field, or a verb for what happens; no metaphor."""
    found = {
        f"{module} {name}"
        for module in MODULES
        for name in (module.stem, *names_defined_in(module))
        if name.strip("_").lower() in AVOIDED_NAMES
    }

    assert found == set()


def names_defined_in(module: Path) -> list[str]:
    """Return the names of its classes and functions."""
    return [node.name for node in nodes_of(module) if isinstance(node, ast.ClassDef | ast.FunctionDef)]


def test_no_role_keeps_a_callback() -> None:
    """An object calls what it owns; who calls back is found by reading, not by running. Clocks aside."""
    keeping = {
        f"{module} {node.name}"
        for module in MODULES
        if part_of(module) in {*ROOM_OF_ROLE, *ROOM_OF_ROLE.values()}
        for node in tree_of(module).body
        if isinstance(node, ast.ClassDef) and keeps_callable(node, aliases_in(module))
    }

    assert keeping == CALLBACKS.keys()


def keeps_callable(node: ast.ClassDef, aliases: set[str]) -> bool:
    """Report whether the constructor, or a dataclass's field, has the type of a callable."""
    types = [each.annotation for each in node.body if isinstance(each, ast.AnnAssign)]
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            arguments = (*method.args.args, *method.args.kwonlyargs)
            types += [each.annotation for each in arguments if each.annotation]
    names = {each.id for kind in types for each in ast.walk(kind) if isinstance(each, ast.Name)}
    return bool(names & {"Callable", *aliases})


def aliases_in(module: Path) -> set[str]:
    """Return the names that stand for a callable's type in the module, its own and imported ones."""
    own = {
        target.id
        for node in tree_of(module).body
        if isinstance(node, ast.Assign) and "Callable[" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return own | {"Track", "Report", "Mover"}  # those that other modules may import


def test_no_object_writes_the_state_of_another() -> None:
    """An attribute is set where its class is: who wants it changed calls a method."""
    writing = {
        f"{module} {name}"
        for module in MODULES
        for node in nodes_of(module)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        for name in [foreign_attribute(node, attributes_of(module))]
        if name
    }

    assert writing == FOREIGN_STATE.keys()


def foreign_attribute(node: ast.Attribute, own: set[str]) -> str:
    """Return the attribute that is set in an object of another module; empty: it is one of this module's."""
    if node.attr in own or (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
        return ""
    is_summary = isinstance(node.value, ast.Name) and node.value.id == "summary"
    return "summary" if is_summary else node.attr


@cache
def attributes_of(module: Path) -> set[str]:
    """Return the names of all attributes of the module's classes."""
    found: set[str] = set()
    for class_ in (node for node in nodes_of(module) if isinstance(node, ast.ClassDef)):
        found |= {
            each.target.id
            for each in class_.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        }
        found |= {
            each.attr
            for each in ast.walk(class_)
            if isinstance(each, ast.Attribute)
            and isinstance(each.ctx, ast.Store)
            and isinstance(each.value, ast.Name)
            and each.value.id == "self"
        }
    return found


def test_json_of_other_programs_is_decoded_in_one_place() -> None:
    """A value that is too deep raises RecursionError everywhere else."""
    decoders = {"loads", "load", "JSONDecoder", "raw_decode"}
    found = {
        str(module)
        for module in MODULES
        for node in nodes_of(module)
        if isinstance(node, ast.Attribute) and node.attr in decoders and ast.unparse(node.value) != "pickle"
    }
    imported = {
        str(module) for module in MODULES if {f"json.{each}" for each in decoders} & imports_of(module)
    }

    assert found | imported == {"runtime/foreign_json.py"}


def test_words_that_are_shown_are_quoted_for_bash_in_one_place() -> None:
    """With shlex a line end stays as it is; the screen then escapes it, and bash reads another name."""
    read_by_programs = {
        "service.py": "supervisord splits the line with shlex",
        "run/plan.py": "the launcher does",
        "analyzer/presets.py": "a whole command is quoted again, for a sentence",
    }
    quoting = {"quote", "join"}

    found = {
        str(module)
        for module in MODULES
        for node in nodes_of(module)
        if isinstance(node, ast.Attribute) and node.attr in quoting and ast.unparse(node.value) == "shlex"
    }

    assert found == read_by_programs.keys()


def test_whole_files_are_read_where_their_size_is_known() -> None:
    """All others are read by `foreign_files`: what another user left there may be a pipe, or endless."""
    readers = {"read_text", "read_bytes", "readlines", "copytree", "copyfileobj"}
    of_the_kernel = {
        *("runtime/lock.py", "commands/check.py"),
        *("analyzer/process.py", "runtime/process_tree.py"),
    }
    of_the_package = {"service.py", "store/client.py"}

    found = {
        str(module)
        for module in MODULES
        for node in nodes_of(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in readers
    }

    assert found == of_the_kernel | of_the_package


def test_what_is_there_is_asked_in_one_place() -> None:
    """`Path.exists` and its like raise an error in a closed folder, `Path.resolve` in a circle of links."""
    askers = {"exists", "is_file", "is_dir", "resolve"}
    others = ("os.path", "client")  # the latter asks Redis
    where_the_error_is_handled = {
        *("disk/meters.py", "run/record.py", "run/private_folder.py"),
        *("store/data_check.py", "store/embedded.py"),
    }
    of_our_own = {"service.py", "commands/init.py", "run/service_process.py"}
    of_a_listing = {"inbox/folder.py", "inbox/inotify.py", "capture/folder_state.py"}

    found = {
        str(module)
        for module in MODULES
        for node in nodes_of(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in askers and ast.unparse(node.func.value) not in others
    }

    assert found == where_the_error_is_handled | of_our_own | of_a_listing


def test_the_longest_chain_of_imports_is_short() -> None:
    """What a newcomer has to open, one after the other, to reach the ground."""
    longest = max((chain_of(module) for module in MODULES), key=len)

    assert len(longest) <= LONGEST_CHAIN, " -> ".join(map(str, longest))


# module -> why it looks for digits by itself; all others call `numbers.whole_number`, since int() raises an
# error for thousands of digits, and what str.isdigit accepts is not always a number for it
OWN_DIGITS: Final = {
    "runtime/numbers.py": "the place",
    "runtime/failpoints.py": "a variable of tests",
    "store/redis_url.py": "the text is shown, and not converted",
    "store/registration.py": "two numbers of ours in one field, with a limit of their length",
    "summary/http_message.py": "the length of a message, with a limit",
    "feed/manual_link.py": "the names of /proc",
}


def test_numbers_that_others_may_have_written_are_converted_in_one_place() -> None:
    """A journal entry with 5000 digits, or with two minus signs, ended a command with a traceback."""
    found = {
        str(module)
        for module in MODULES
        if any(f".{each}()" in (PACKAGE / module).read_text("utf-8") for each in ("isdigit", "isdecimal"))
    }

    assert found == OWN_DIGITS.keys()


# module -> why it writes to stdout or stderr by itself; all others print with `console.screen`, which escapes
# what acts on a terminal
OWN_OUTPUT: Final = {
    "analyzer/as_user.py": "one line into the analyzer's log, escaped",
    "cli.py": "help, the version, and a word that it quotes: it starts without the libraries of the screen",
    "commands/cat.py": "packets on stdout; its sentences are escaped without the import of a screen",
    "commands/completion.py": "a script for a shell, of the package",
    "commands/journal.py": "the lines of a file, byte for byte where stdout is no terminal",
    "commands/manual_page.py": "a page for man, of the package",
    "commands/metrics.py": "metrics for Prometheus, on many lines",
    "console/screen.py": "the place",
    "console/slow_work.py": "a line that replaces the one before, of numbers and words of the package",
    "feed/interrupts.py": "the [STATS] lines, which scripts read",
    "run/answering.py": "a sequence that shows the cursor again",
    "run/view.py": "escaped; its reader may be gone while the run goes on",
    "runtime/command.py": "why a command ends, escaped; all rooms import it, and it imports none",
    "runtime/log.py": "the log, escaped",
    "summary/__main__.py": "an analyzer, which imports no screen; its sentences and names are escaped",
    "summary/table.py": "tables of escaped cells",
}
PRINTERS: Final = {"print", "echo", "secho", "write"}
OUTPUTS: Final = {"sys.stdout", "sys.stderr", "sys.stdout.buffer", "sys.stderr.buffer", "typer", "click"}


def prints(node: ast.AST) -> bool:
    """Report whether it is a call that prints: of print, typer, sys.stdout, or a console of rich."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id in PRINTERS - {"write"}
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in PRINTERS:
        return False
    output = ast.unparse(node.func.value)
    return output in OUTPUTS or output.endswith("console")


def test_text_for_people_is_printed_in_one_place() -> None:
    """A name, or a text of Redis, has characters that act on a terminal until somebody escapes them."""
    found = {str(module) for module in MODULES if any(map(prints, nodes_of(module)))}

    assert found == OWN_OUTPUT.keys()


NOUNS: Final = (
    "bytes|captures|descriptors|dispatchers|entries|events|files|folders|inodes|jumps|lanes|lines|names|objects"
    "|packets|problems|processes|records|restarts|sessions|steps|streams|variables"
)
AMOUNT: Final = re.compile(rf" (?:more |queued |failed |other )?(?:{NOUNS})\b")
# module -> why the number before a plural is never 1; all others call `numbers.counted`
OWN_PLURALS: Final = {
    "capture/files.py": "a name that is too long",
    "capture/pcapng.py": "a block has 12 bytes at least",
    "capture/walk.py": "the length of a header",
    "commands/metrics.py": "more than the limit",
    "commands/sample.py": "always five",
    "console/dispatcher_lines.py": "another sentence for one jump",
    "feed/poison.py": "three deaths at least",
    "launcher_protocol.py": "a message above the limit; `names` is a verb",
    "run/plan.py": "another sentence for one file",
    "runtime/foreign_files.py": "a limit",
    "runtime/places.py": "a path that is too long",
    "runtime/units.py": "another sentence for one step",
    "store/data_check.py": "the size of a log that was damaged",
    "store/redis_url.py": "`names` is a verb",
    "trace/sessions.py": "more than the limit",
}


def amounts_in(node: ast.AST) -> list[str]:
    """Return the numbers in an f-string before a plural; constants are limits, and never 1."""
    if not isinstance(node, ast.JoinedStr):
        return []
    return [
        ast.unparse(value.value)
        for value, text in pairwise(node.values)
        if isinstance(value, ast.FormattedValue)
        and isinstance(text, ast.Constant)
        and AMOUNT.match(str(text.value))
        and not ast.unparse(value.value).isupper()
    ]


def test_one_of_a_kind_has_its_noun_in_the_singular() -> None:
    """`1 packets` makes a reader look twice; what has the noun beside the number has it from one place."""
    found = {str(module) for module in MODULES if any(map(amounts_in, nodes_of(module)))}

    assert found == OWN_PLURALS.keys()
