"""Reserved names: a declaration of one would never be found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from compiler.elaborate.definition_bodies import statements
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic

_TRAINING = {"training": "whether the model is compiled for training"}
_STEP = {"step": "the number of the step, from 1"}
_PREDEFINED = {  # names with a value before the first statement, by kind of block
    "optimizer": {"param": "the parameter", "grad": "the gradient of the parameter", **_STEP},
    "train": _STEP,
}


def reserved_names(tree: syntax.File) -> list[Diagnostic]:
    """A diagnostic for each declaration of a reserved name, in order."""
    diagnostics: list[Diagnostic] = []
    for declaration in tree.declarations:
        match declaration:
            case syntax.Definition():
                reserved = _TRAINING | _PREDEFINED.get(declaration.kind, {})
                diagnostics += _reserved_names([declaration.name], _TRAINING)
                diagnostics += _reserved_names([hyper.name for hyper in declaration.hypers], reserved)
                diagnostics += _reserved_names(_declared(declaration.body), reserved)
                diagnostics += _reserved_names(_bound(declaration.body), _TRAINING)
            case syntax.Train(body=body):
                diagnostics += _reserved_names(_declared(body), _TRAINING | _PREDEFINED["train"])
                diagnostics += _reserved_names(_bound(body), _TRAINING)
            case syntax.Const(name=name):
                diagnostics += _reserved_names([name], _TRAINING)
            case _:
                pass
    return sorted(diagnostics, key=lambda diagnostic: diagnostic.span.start if diagnostic.span is not None else 0)


def _reserved_names(names: Iterable[syntax.Identifier | syntax.Name], reserved: dict[str, str]) -> Iterator[Diagnostic]:
    for name in names:
        if name.text in reserved:
            message = f"`{name.text}` is a reserved name"
            yield Diagnostic(codes.E212, message, name.span, reserved[name.text], hint="choose another name")


def _declared(body: tuple[syntax.Statement, ...]) -> Iterator[syntax.Identifier | syntax.Name]:
    for statement in statements(body):
        if isinstance(statement, syntax.Declare):
            for declared in statement.names:
                yield declared.name
                if declared.type is not None:
                    yield from (dim for dim in declared.type.dims if isinstance(dim, syntax.Name))


def _bound(body: tuple[syntax.Statement, ...]) -> Iterator[syntax.Identifier | syntax.Name]:
    for statement in statements(body):
        match statement:
            case syntax.Assign(targets=targets):
                yield from targets
            case syntax.For(variable=variable):
                yield variable
            case syntax.Output(name=syntax.Identifier() as name):
                yield name
