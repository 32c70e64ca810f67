"""The possible changes of a source: one operator, one number, one `not`, two arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A part of a source, by offsets of its characters, and its replacement."""

    line: int
    start: int
    end: int
    before: str
    after: str

    def apply(self, text: str) -> str:
        """The source with the change made."""
        return text[: self.start] + self.after + text[self.end :]

    def __str__(self) -> str:
        return f"line {self.line}: `{self.before}` -> `{self.after}`"


def changes(text: str) -> list[Change]:
    """Every change of a source, in its order; annotations, docstrings, decorators and f-strings are left alone."""
    tree = ast.parse(text)
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    content = text.encode()

    def offset(line: int, column: int) -> int:
        return len(content[: starts[line - 1] + column].decode())

    found_changes = []
    for node in _code(tree):
        for changed in _variants(node):
            start, end = offset(node.lineno, node.col_offset), offset(node.end_lineno or 0, node.end_col_offset or 0)
            before, after = text[start:end], ast.unparse(changed)
            if "\n" not in before:
                found_changes.append(Change(node.lineno, start, end, before, f"({after})"))
    return found_changes


def _code(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that are computed."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(
                child, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)
            ):
                continue  # messages of errors are not computed results
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.expr):
                yield child
            yield from _code(child)


def _variants(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.BinOp(op=operator) if type(operator) in SWAPPED:
            yield _with(node, op=SWAPPED[type(operator)]())
        case ast.BoolOp(op=operator):
            yield _with(node, op=SWAPPED[type(operator)]())
        case ast.Compare(ops=[operator]) if type(operator) in SWAPPED:
            yield _with(node, ops=[SWAPPED[type(operator)]()])
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
        case ast.Call(args=[first, second, *others]) if ast.unparse(first) != ast.unparse(second):
            if not any(isinstance(argument, ast.Starred) for argument in (first, second)):
                yield _with(node, args=[second, first, *others])


def _with(node: ast.expr, **fields: object) -> ast.expr:
    changed = deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
