"""Blocks: which parts of a module run together, so that a test which ran one may notice a mutant in it.

A block is a row of statements of a function that ends with a branch, a loop, a `with` or a `try`. Its name is
its place, `feed/pipe.py:42`. What stands outside of functions runs at import and shows itself later: a
constant where its name is used, an option of a command where the function runs.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_COMPOUND: Final = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.FunctionDef, ast.ClassDef)
_HIT: Final = "_mutants_hit"
SIGNATURES: Final = "signatures"  # the block of tests that read the options of commands without calling them
CONSTANTS: Final = "constants"  # the block of tests that compare values which are set at import
SOURCE: Final = "source"  # the block of tests that read all modules as text: a word may be missing there


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a module.

    Args:
        first, last: its first line and its last one, counted from 1.
        blocks: the names of the blocks that run with it.
        names: the names that it binds at import, if it is outside of functions.
        is_attribute: they are a class and its attributes, which modules may use that do not import it.
    """

    first: int
    last: int
    blocks: frozenset[str]
    names: frozenset[str] = frozenset()
    is_attribute: bool = False


class Package:
    """All modules of the package.

    Args:
        texts: module (its path inside the package) -> its source.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def blocks_at(self, module: str, line: int) -> frozenset[str]:
        """Return the blocks one of which a test has to run to notice a change of this line."""
        around = [part for part in self._parts[module] if part.first <= line <= part.last]
        if not around:
            return self._all_of(module)
        part = min(around, key=lambda part: part.last - part.first)
        return part.blocks or frozenset({CONSTANTS}) | (self._users_of(module, part) or self._all_of(module))

    @cached_property
    def _parts(self) -> dict[str, list[Block]]:
        return {module: list(_parts_of(module, ast.parse(text))) for module, text in self._texts.items()}

    @cached_property
    def _users(self) -> dict[str, list[tuple[str, Block]]]:
        """Which parts of which modules mention a name."""
        found = defaultdict(list)
        for module, parts in self._parts.items():
            lines = self._texts[module].splitlines()
            for part in parts:
                for word in set(re.findall(r"\w+", "\n".join(lines[part.first - 1 : part.last]))):
                    found[word].append((module, part))
        return found

    def _all_of(self, module: str) -> frozenset[str]:
        return frozenset().union(*(part.blocks for part in self._parts[module]))

    def _users_of(self, module: str, part: Block) -> frozenset[str]:
        """Return the blocks that use the names of a part, or others made of them at import."""
        found: set[str] = set()
        seen: set[tuple[str, str]] = set()
        waiting = [(module, part)]
        while waiting:
            module, part = waiting.pop()
            for name in part.names:
                if (module, name) in seen:
                    continue
                seen.add((module, name))
                for other, user in self._users[name]:
                    if part.is_attribute or self._can_use(other, name, module):
                        found |= user.blocks
                        waiting += [] if user.is_attribute else [(other, user)]
        return frozenset(found)

    @cached_property
    def _imported(self) -> dict[str, set[tuple[str | None, str]]]:
        """Which names each module imports, with the module that they come from."""
        return {
            module: {
                (node.module, alias.name)
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            for module, text in self._texts.items()
        }

    def _can_use(self, module: str, name: str, owner: str) -> bool:
        """Report whether the module imports this name from its owner, or the owner itself."""
        dotted = f"pcapdj.{owner.removesuffix('.py').replace('/', '.')}"
        room, _, stem = dotted.rpartition(".")
        return module == owner or not {(dotted, name), (room, stem)}.isdisjoint(self._imported[module])


def instrumented(module: str, text: str) -> str:
    """Return the module's source with a call in each block that records that it ran."""
    tree = ast.parse(text)
    for function in _functions(tree):
        for body in list(_bodies(function)):
            docstring = body[: _has_docstring(body)]
            rows = list(_rows(body))
            body[:] = docstring + [each for row in rows for each in (_call(_name(module, row)), *row)]
    tree.body.insert(_has_docstring(tree.body), ast.parse(f"from pcapdj._hits import hit as {_HIT}").body[0])
    return ast.unparse(ast.fix_missing_locations(tree))


def _parts_of(module: str, tree: ast.Module) -> Iterator[Block]:
    for function in _functions(tree):
        rows = [row for body in _bodies(function) for row in _rows(body)]
        signature = {SIGNATURES, *(_name(module, row) for row in rows[:1])}
        yield Block(_first(function), max(function.lineno, function.body[0].lineno - 1), frozenset(signature))
        for row in rows:
            yield Block(_first(row[0]), _last(row[-1]), frozenset([_name(module, row)]))
    yield from _at_import(tree.body, frozenset())


def _at_import(body: Sequence[ast.stmt], around: frozenset[str]) -> Iterator[Block]:
    """Yield what runs at import; functions are left out, since their blocks are theirs."""
    for node in body:
        names = frozenset(
            each.id for target in _targets(node) for each in ast.walk(target) if isinstance(each, ast.Name)
        )
        if isinstance(node, ast.ClassDef):
            head = max(node.lineno, node.body[0].lineno - 1)
            yield Block(_first(node), head, frozenset(), around | {node.name}, is_attribute=True)
            yield from _at_import(node.body, around | {node.name})
        elif not isinstance(node, ast.FunctionDef) and names:
            yield Block(_first(node), _last(node), frozenset(), around | names, is_attribute=bool(around))


def _targets(node: ast.stmt) -> list[ast.expr]:
    match node:
        case ast.Assign(targets=targets):
            return targets
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return [target]
    return []


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the lists of statements in a function; nested functions are functions of their own."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        inside = getattr(node, field, [])
        if not isinstance(inside, list):
            continue
        if inside and isinstance(inside[0], ast.stmt):
            yield inside
        for child in inside:
            if not isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield from _bodies(child)


def _rows(body: Sequence[ast.stmt]) -> Iterator[list[ast.stmt]]:
    row: list[ast.stmt] = []
    for node in body[_has_docstring(body) :]:
        row.append(node)
        if isinstance(node, _COMPOUND):
            yield row
            row = []
    if row:
        yield row


def _has_docstring(body: Sequence[ast.stmt]) -> bool:
    match body[:1]:
        case [ast.Expr(value=ast.Constant(value=str()))]:
            return True
    return False


def _name(module: str, row: Sequence[ast.stmt]) -> str:
    return f"{module}:{row[0].lineno}"


def _call(name: str) -> ast.stmt:
    return ast.parse(f"{_HIT}({name!r})").body[0]


def _first(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return min([node.lineno, *(each.lineno for each in decorators)])


def _last(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
