"""Operators: the small changes that can be made to a source text, each with its weight.

A mutant replaces one part of the text and leaves every other character as it is. Never changed: docstrings,
annotations (except the options of typer in them), decorators of dataclasses, `__all__`, and code that only
type checkers or `python -m` run. Changed less often, because there are so many of them: texts for people
(strings with a space), logging, keyword arguments, assignments to attributes.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_COMPARISONS: Final = {
    "==": "!=",
    "!=": "==",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "is": "is not",
    "is not": "is",
    "in": "not in",
    "not in": "in",
}
_ARITHMETIC: Final = {
    "+": "-", "-": "+", "*": "+", "/": "*", "//": "*", "%": "*", "|": "&", "&": "|", "<<": ">>", ">>": "<<"
}  # fmt: skip
_TEXT_WEIGHT: Final = 0.1
_RARE_WEIGHT: Final = 0.3
_LOG_LEVELS: Final = {"debug", "info", "warning", "error", "exception"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a source text.

    Args:
        line: counted from 1.
        start: in characters from the text's beginning.
        old: what stands there.
        new: what stands there instead.
        kind: what was changed, in one word.
        weight: how often it is drawn, compared with a comparison's 1.
    """

    line: int
    start: int
    old: str
    new: str
    kind: str
    weight: float

    def applied_to(self, text: str) -> str:
        """Return the changed text."""
        return text[: self.start] + self.new + text[self.start + len(self.old) :]


def mutants_of(text: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of the text; a few of them may be no valid Python."""
    source = _Source(text)
    return [mutant for node, weight in _walk(source.tree, 1.0) for mutant in _changes(source, node, weight)]


def is_python(text: str) -> bool:
    """Report whether the text compiles."""
    try:
        compile(text, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


class _Source:
    """A text and its tree; makes mutants from places in the tree."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._lines = text.splitlines(keepends=True)
        self._offsets = [0]
        for line in self._lines:
            self._offsets.append(self._offsets[-1] + len(line))

    def start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Return where the node begins, in characters."""
        return self._place(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Return where the node ends, in characters."""
        if node.end_lineno is None or node.end_col_offset is None:
            raise AssertionError("a parsed node has an end")
        return self._place(node.end_lineno, node.end_col_offset)

    def code(self, node: ast.expr | ast.stmt) -> str:
        """Return the node's text."""
        return self.text[self.start(node) : self.end(node)]

    def replaced(self, span: tuple[int, int], new: str, kind: str, weight: float) -> Mutant:
        """Return the mutant that has `new` in this place."""
        first, last = span
        return Mutant(self.text.count("\n", 0, first) + 1, first, self.text[first:last], new, kind, weight)

    def between(
        self, left: ast.expr, right: ast.expr, words: dict[str, str], weight: float
    ) -> Iterator[Mutant]:
        """Yield the mutant that has another operator between two operands."""
        first, last = self.end(left), self.start(right)
        operators = sorted(map(re.escape, words), key=len, reverse=True)
        found = re.search("|".join(operators).replace(r"\ ", r"\s+"), self.text[first:last])
        if found:
            new = words[" ".join(found.group().split())]
            yield self.replaced((first + found.start(), first + found.end()), new, "operator", weight)

    def _place(self, line: int, column_bytes: int) -> int:
        before = self._lines[line - 1].encode()[:column_bytes].decode()
        return self._offsets[line - 1] + len(before)


def _walk(node: ast.AST, weight: float) -> Iterator[tuple[ast.AST, float]]:
    """Yield the nodes that may be changed, with the weight of where they stand."""
    if isinstance(node, ast.Call) and _name_of(node.func) in _LOG_LEVELS:
        weight *= _RARE_WEIGHT
    yield node, weight
    for child in _children(node):
        yield from _walk(child, weight)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.JoinedStr):  # Python 3.11 does not say where its parts stand
        return
    skipped: set[int] = set()
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        skipped |= {id(each) for each in node.body if _is_docstring(each)}
    if isinstance(node, ast.ClassDef):
        skipped |= {id(each) for each in node.decorator_list if "dataclass" in ast.unparse(each)}
    if isinstance(node, ast.Call) and _name_of(node.func) in ("cast", "TypeVar"):
        skipped.add(id(node.args[0]))
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
        skipped.add(id(node.slice))
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        nodes = [each for each in children if isinstance(each, ast.AST)]
        if field in ("annotation", "returns"):  # nothing but the options of typer, which are calls
            nodes = [each for node in nodes for each in ast.walk(node) if isinstance(each, ast.Call)]
        yield from (each for each in nodes if not _is_left_alone(each, skipped))


def _is_left_alone(node: ast.AST, skipped: set[int]) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) in ("__all__", "__slots__")
    return id(node) in skipped


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _changes(source: _Source, node: ast.AST, weight: float) -> Iterator[Mutant]:
    """Yield the mutants of one node, its children's aside."""
    match node:
        case ast.Compare():
            yield from source.between(node.left, node.comparators[0], _COMPARISONS, weight)
        case ast.BinOp():
            yield from source.between(node.left, node.right, _ARITHMETIC, weight)
        case ast.BoolOp():
            words = {"and": "or", "or": "and"}
            yield from source.between(node.values[0], node.values[1], words, weight)
        case ast.UnaryOp(op=ast.Not()):
            span = source.start(node), source.start(node.operand)
            yield source.replaced(span, " " * source.text[slice(*span)].count("("), "not", weight)
        case ast.Constant() | ast.JoinedStr():
            yield from _changed_constant(source, node, weight)
        case ast.Call():
            yield from _without_keywords(source, node, weight)
        case ast.stmt():
            yield from _changed_statement(source, node, weight)


def _changed_constant(source: _Source, node: ast.Constant | ast.JoinedStr, weight: float) -> Iterator[Mutant]:
    span = source.start(node), source.end(node)
    match node:
        case ast.Constant(value=bool() as value):
            yield source.replaced(span, str(not value), "constant", weight)
        case ast.Constant(value=int() | float() as value):
            yield source.replaced(span, f"({value} + 1)", "number", weight / 2)
            yield source.replaced(span, f"({value} - 1)", "number", weight / 2)
        case ast.Constant(value=str() as text):
            yield source.replaced(span, _other_text(text), "string", weight * _text_weight(text))
        case ast.Constant(value=bytes() as raw):
            yield source.replaced(span, 'b""' if raw else 'b"mutant"', "string", weight)
        case ast.JoinedStr():
            yield source.replaced(span, '""', "string", weight * _text_weight(source.code(node)))


def _other_text(text: str) -> str:
    return '""' if text else '"mutant"'


def _text_weight(text: str) -> float:
    return _TEXT_WEIGHT if " " in text else 1.0


def _without_keywords(source: _Source, node: ast.Call, weight: float) -> Iterator[Mutant]:
    """Yield the call without one of its keyword arguments, if another argument stands before it."""
    arguments: list[ast.expr | ast.keyword] = sorted((*node.args, *node.keywords), key=source.start)
    for before, argument in pairwise(arguments):
        if isinstance(argument, ast.keyword) and argument.arg not in (None, "help", "metavar"):
            span = source.end(before), source.end(argument)
            yield source.replaced(span, "", "argument", weight * _RARE_WEIGHT)


def _changed_statement(source: _Source, node: ast.stmt, weight: float) -> Iterator[Mutant]:
    whole = source.start(node), source.end(node)
    match node:
        case ast.Expr(value=ast.Call() as call):
            is_logged = _name_of(call.func) in _LOG_LEVELS
            yield source.replaced(whole, "pass", "statement", weight * (_RARE_WEIGHT if is_logged else 1.0))
        case ast.AugAssign() | ast.Raise() | ast.Delete():
            yield source.replaced(whole, "pass", "statement", weight)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield source.replaced(whole, "pass", "statement", weight * _RARE_WEIGHT)
        case ast.Break() | ast.Continue():
            yield source.replaced(whole, "pass", "statement", weight)
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) not in ("None", "True", "False"):
            yield source.replaced(whole, "return None", "return", weight)
        case ast.If() | ast.While():
            test = source.code(node.test)
            span = source.start(node.test), source.end(node.test)
            if not isinstance(node.test, ast.Compare | ast.UnaryOp | ast.Constant):
                yield source.replaced(span, f"(not ({test}))", "condition", weight)


def _name_of(function: ast.expr) -> str:
    """Return the last word of what is called."""
    return (
        function.attr
        if isinstance(function, ast.Attribute)
        else function.id
        if isinstance(function, ast.Name)
        else ""
    )
