"""Which statements a body may contain, checked when it runs and for definitions that are never applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from compiler.elaborate.definition_bodies import statements
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, Label
from grammar.mistakes import article
from grammar.source import Span

_ALLOWED = {  # the declarations that each kind of body may contain
    "layer": {"input", "param", "buffer"},
    "model": {"input", "param", "buffer"},
    "cell": {"input", "param", "state"},
    "fn": set(),
    "optimizer": {"state"},
    "train": {"target"},
}
_HINTS = {
    "state": "states belong to a `cell`; a layer keeps a `buffer`",
    "param": "parameters belong to a `layer`, `cell` or `model`",
    "buffer": "buffers belong to a `layer` or `model`; a cell keeps a `state`",
}


def misplaced(statement: syntax.Statement, block: str) -> Diagnostic | None:
    """The diagnostic for a statement that a block of this kind may not contain; None if it may."""
    hint = None
    match statement:
        case syntax.Declare(kind=kind) if kind not in _ALLOWED[block]:
            message, hint = f"`{kind}` is not allowed in a {block}", _HINTS.get(kind)
        case syntax.Output() if block in ("optimizer", "train"):
            message = f"a {block} block has no outputs"
        case syntax.Preset() if block != "model":
            message = f"a preset belongs to a model, not to a {block}"
        case syntax.Setting():
            message = "a setting belongs to a `train` block"
        case _:
            return None
    return Diagnostic(codes.E414, message, statement.span, hint=hint)


def misplaced_statements(tree: syntax.File) -> Iterator[Diagnostic]:
    """A diagnostic for each misplaced statement, and for presets that share a name."""
    for declaration in tree.declarations:
        if isinstance(declaration, syntax.Definition):
            presets: dict[str, Span] = {}
            for statement in statements(declaration.body):
                wrong = misplaced(statement, declaration.kind)
                if wrong is not None:
                    yield wrong
                elif isinstance(statement, syntax.Preset):
                    name = statement.name
                    if name.text in presets:
                        message = f"preset `{name.text}` is declared twice in model {declaration.name.text}"
                        labels = (Label(presets[name.text], "first here"),)
                        yield Diagnostic(codes.E202, message, name.span, labels=labels)
                    presets.setdefault(name.text, name.span)


def hypers_declared_twice(tree: syntax.File) -> Iterator[Diagnostic]:
    """Names declared twice: hyperparameters, also as declarations of the body, and values of a preset."""
    for declaration in tree.declarations:
        if not isinstance(declaration, syntax.Definition):
            continue
        of = f"{declaration.kind} {declaration.name.text}"
        yield from _twice([hyper.name for hyper in declaration.hypers], f"hyperparameter of {of}")
        for statement in statements(declaration.body):
            if isinstance(statement, syntax.Preset):
                yield from _twice(
                    [setting.name for setting in statement.settings], f"value of preset {statement.name.text}"
                )
            elif isinstance(statement, syntax.Declare):
                yield from _hiding(statement, {hyper.name.text: hyper.name.span for hyper in declaration.hypers}, of)


def _hiding(statement: syntax.Declare, hypers: dict[str, Span], of: str) -> Iterator[Diagnostic]:
    """A diagnostic for each declaration that would hide a hyperparameter."""
    for declared in statement.names:
        name = declared.name.text
        if name in hypers:
            labels = (Label(hypers[name], "the hyperparameter"),)
            message = f"`{name}` is both a hyperparameter and {article(statement.kind)} {statement.kind} of {of}"
            yield Diagnostic(codes.E202, message, declared.name.span, labels=labels, hint="rename one of them")


def _twice(names: Iterable[syntax.Identifier | syntax.Name], what: str) -> Iterator[Diagnostic]:
    first: dict[str, Span] = {}
    for name in names:
        if name.text in first:
            labels = (Label(first[name.text], "first here"),)
            yield Diagnostic(codes.E202, f"`{name.text}` is declared twice as a {what}", name.span, labels=labels)
        first.setdefault(name.text, name.span)
