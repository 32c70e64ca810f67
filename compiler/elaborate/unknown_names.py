"""Unknown names in every declaration of a file, including those that are never applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from compiler.elaborate.frameworks import name_hint
from compiler.elaborate.program import Program
from compiler.elaborate.values import Scope
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic
from grammar.foreign_syntax import comment_hint
from grammar.record import Record

_IMPLICIT = {
    "optimizer": {"param", "grad", "step"},
    "train": {"step"},
}
_EVERYWHERE = {"training", "_"}


def unknown_names(program: Program) -> Iterator[Diagnostic]:
    """A diagnostic for each name that no scope can have; generated lazily, as similar names are slow to find."""
    for declaration in program.tree.declarations:
        match declaration:
            case syntax.Definition():
                names = names_of(declaration)
                parts: list[Any] = [hyper.default for hyper in declaration.hypers if hyper.default is not None]
                yield from _check([*parts, *declaration.body], names, program.scope)
            case syntax.Const():
                yield from _check([declaration.value], set(), program.scope)
            case _:
                pass  # a train block uses names of its model; they are checked when it is elaborated


def names_of(declaration: syntax.Definition | syntax.Const) -> set[str]:
    """The local names of a declaration: its hyperparameters, and the names that its body binds."""
    if isinstance(declaration, syntax.Const):
        return set()
    names = {hyper.name.text for hyper in declaration.hypers} | _bound(declaration.body)
    return names | _IMPLICIT.get(declaration.kind, set())


def _check(parts: Iterable[Any], names: set[str], scope: Scope) -> Iterator[Diagnostic]:
    for name in references(parts):
        if name.text in names or name.text in _EVERYWHERE or name.text in scope:
            continue
        hint = name_hint(name.text, [*names, *scope.known()]) or comment_hint(name.span)
        yield Diagnostic(codes.E201, f"unknown name `{name.text}`", name.span, hint=hint)


def _bound(statements: Iterable[syntax.Statement]) -> set[str]:
    """Every name that a body may bind: declarations, assignments, loop variables, dims of inputs and states."""
    names: set[str] = set()
    for statement in statements:
        match statement:
            case syntax.Declare(names=declared):
                for declaration in declared:
                    names.add(declaration.name.text)
                    if declaration.type is not None and statement.kind in ("input", "target"):
                        names |= {name.text for name in references(declaration.type.dims)}
            case syntax.Assign(targets=targets):
                names |= {target.text for target in targets}  # also that of `c'`, where `c` is reported
            case syntax.Output(name=syntax.Identifier(text=text)):
                names.add(text)
            case syntax.For(variable=variable, body=body):
                names |= {variable.text} | _bound(body)
            case syntax.If(then=then, otherwise=otherwise):
                names |= _bound(then) | _bound(otherwise)
            case _:
                pass
    return names


def references(parts: Iterable[Any]) -> list[syntax.Name]:
    """Every name that the parts read, in order."""
    names: list[syntax.Name] = []
    waiting: list[Any] = list(parts)
    while waiting:
        part = waiting.pop()
        if isinstance(part, syntax.Name):
            names.append(part)
        elif isinstance(part, syntax.Assign):
            waiting.append(part.value)
        elif isinstance(part, tuple):
            waiting.extend(part)
        elif isinstance(part, syntax.Preset):
            waiting.extend(setting.value for setting in part.settings)
        elif isinstance(part, Record) and not isinstance(part, syntax.Identifier):
            waiting.extend(vars(part).values())
    return sorted(names, key=lambda name: name.span.start)
