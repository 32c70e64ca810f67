"""An operator is declared once: what is known of it is a fact on its class, and no other module lists operators."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.attribute_kinds import Kind, kinds_of
from compiler.graph import Operator, Value
from compiler.operators import OPERATORS, making
from compiler.operators.leaves import Input
from compiler.types import DType, TensorType

ROOT = Path(__file__).parents[3]
PASSES = ROOT / "compiler" / "passes"  # patterns are of operators: what is known of one is a fact there, too
FOREIGN = {"frameworks.py"}  # what other frameworks call our operators, for hints
MODULES = sorted(
    path
    for folder in ("compiler", "runtime", "nablac")
    for path in (ROOT / folder).rglob("*.py")
    if ROOT / "compiler" / "operators" not in path.parents and PASSES not in path.parents and path.name not in FOREIGN
)
MOST = 2  # operators side by side: `(Parameter, Buffer)` is a pair, three are a list


def _subclasses(base: type[Operator]) -> Iterator[type[Operator]]:
    for each in base.__subclasses__():
        yield each
        yield from _subclasses(each)


CLASSES = {each.__name__ for each in _subclasses(Operator)}


def listed(source: str) -> list[int]:
    """The lines of displays that hold more than `MOST` operators, as classes or as names, and of chains of `|`."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    operators = {
        alias.asname or alias.name
        for node in imports
        if (node.module or "").startswith("compiler.operators")
        for alias in node.names
        if alias.name in CLASSES
    }

    def names(node: ast.expr | None) -> bool:
        if isinstance(node, ast.Name):
            return node.id in operators
        return isinstance(node, ast.Constant) and node.value in OPERATORS

    literals = {
        id(node.slice)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"
    }  # a type of texts, that may have the names of operators
    lines: list[int] = []
    for node in ast.walk(tree):
        if id(node) in literals:
            continue
        match node:
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                held = items
            case ast.Dict(keys=keys, values=values):
                held = max(([*keys], [*values]), key=lambda side: sum(map(names, side)))
            case ast.MatchOr(patterns=patterns):
                held = [each.cls for each in patterns if isinstance(each, ast.MatchClass)]
            case _:
                continue
        if sum(map(names, held)) > MOST:
            lines.append(node.lineno)
    return lines


def test_no_module_lists_operators() -> None:
    lines = [f"{path.relative_to(ROOT)}, line {line}" for path in MODULES for line in listed(path.read_text("utf-8"))]
    assert not lines, "a fact of several operators belongs on their classes"


@pytest.mark.parametrize(
    "source",
    [
        "MOVERS = frozenset(('cast', 'concat', 'expand'))",
        "SIGNS = {'+': 'add', '-': 'sub', '*': 'mul'}",
        "from compiler.operators.arithmetic import Add, Mul, Sub\nisinstance(x, (Add, Sub, Mul))",
        "from compiler.operators.arithmetic import Add, Mul, Sub\nOTHER = {Add: 1, Sub: 2, Mul: 3}",
        "from compiler.operators.arithmetic import Add, Mul, Sub\nmatch x:\n    case Add() | Sub() | Mul(): pass",
    ],
)
def test_lists_are_found(source: str) -> None:
    assert listed(source)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_attribute_has_a_kind(name: str) -> None:
    operator = OPERATORS[name]
    kinds = kinds_of(operator)
    assert list(kinds) == list(operator.fields)
    assert all(isinstance(kind, Kind) for kind in kinds.values())


def _input(label: str, dtype: DType, *shape: int) -> Value:
    return Input(label, TensorType(dtype, shape))()


X, Y = _input("x", DType.F32, 2, 3), _input("y", DType.F32, 2, 3)
BOTH = _input("b", DType.BOOL, 2, 3)
I = _input("i", DType.I64, 2, 3)  # noqa: E741
MADE = [
    *((name, getattr(making, name)(X, Y)) for name in ("add", "sub", "mul", "div", "floor_div", "mod")),
    *((name, getattr(making, name)(X, Y)) for name in ("maximum", "minimum", "equal", "not_equal", "less")),
    *((name, getattr(making, name)(X, Y)) for name in ("greater", "greater_equal")),
    *((name, getattr(making, name)(X)) for name in ("neg", "sign", "exp", "log", "sqrt")),
    ("pow", making.pow_(X, 2)),
    ("matmul", making.matmul(X, making.swapped(Y))),
    ("logical_and", making.logical_and(BOTH, BOTH)),
    ("logical_or", making.logical_or(BOTH, BOTH)),
    ("where", making.where(BOTH, X, Y)),
    ("cast", making.cast(X, DType.F64)),
    ("reshape", making.reshape(X, (3, 2))),
    ("expand", making.expand(X, (4, 2, 3))),
    ("transpose", making.transpose(X, (1, 0))),
    ("squeeze", making.squeeze(making.unsqueeze(X, (0,)), (0,))),
    ("unsqueeze", making.unsqueeze(X, (1,))),
    ("concat", making.concat((X, Y), 1)),
    ("split", making.split(X, (1, 2), 1)[1]),
    ("flip", making.flip(X, (0,))),
    ("slice", making.slice_(X, (1,), (0,), (2,))),
    ("pad", making.pad(X, (0, 1), (0, 1))),
    ("sum", making.sum_(X, (0,))),
    ("iota", making.iota(3)),
    ("scatter_elements", making.scatter_elements(X, I, Y, 0, "add")),
]


@pytest.mark.parametrize(("name", "made"), MADE, ids=[name for name, _ in MADE])
def test_a_maker_makes_the_operator_of_its_name(name: str, made: Value) -> None:
    assert made.node.op.name == name
    assert type(made.node.op) is OPERATORS[name]


def test_makers_leave_out_what_changes_nothing() -> None:
    assert making.cast(X, DType.F32) is X
    assert making.expand(X, (2, 3)) is X
