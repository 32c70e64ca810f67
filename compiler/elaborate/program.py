"""Loading a file and its imports; the names of the standard library are known everywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from compiler.elaborate.builtins.language_names import builtin_names
from compiler.elaborate.placement import hypers_declared_twice
from compiler.elaborate.reserved import reserved_names
from compiler.elaborate.values import CompileTimeValue, Defined, Lazy, Scope
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, Diagnostics, Label, NablacError, did_you_mean, did_you_mean_file
from grammar.parser import parse, parse_part, read_source
from grammar.reading import models_beside
from grammar.source import Source, Span
from specs import FOLDER as LIBRARY

_DECLARED = re.compile(r"^(?:layer|cell|model|optimizer|fn|const)\s+(\w+)", re.MULTILINE)
MOST_FILES = 256


class Library:
    """The standard library: a scan of its files finds where each name is declared.

    A declaration is parsed when its name is first used: most models use few of them.
    """

    def __init__(self) -> None:
        self.files: dict[str, _LibraryFile] = {}  # by the names that they declare
        for path in sorted((LIBRARY / "std").glob("*.model")):
            file = _LibraryFile(Source(f"std/{path.name}", path.read_text("utf-8"), library=True))
            self.files |= dict.fromkeys(file.parts, file)

    def find(self, name: str) -> CompileTimeValue:
        """The value of a name of the library; KeyError if it has no such name."""
        file = self.files[name]
        if name not in file.names:
            declaration = file.declaration(name)
            if isinstance(declaration, syntax.Const):
                file.names[name] = Lazy(declaration, file)
            else:
                file.names[name] = Defined(declaration, file)
        return file.names[name]

    def names_listed(self, name: str) -> list[str]:
        """The names in a constant that is a list of names, without evaluating them."""
        declaration = self.files[name].declaration(name)
        assert isinstance(declaration, syntax.Const) and isinstance(declaration.value, syntax.ListOf)
        return [item.text for item in declaration.value.items if isinstance(item, syntax.Name)]


class _LibraryFile(Scope):
    """The scope of one file of the library, with the names used so far; `_Names` finds the others."""

    def __init__(self, source: Source) -> None:
        super().__init__(_Names())
        self.source = source
        starts = list(_DECLARED.finditer(source.text))
        ends = [*(following.start() for following in starts[1:]), len(source.text)]
        self.parts = {start[1]: Span(source, start.start(), end) for start, end in zip(starts, ends, strict=True)}

    def declaration(self, name: str) -> syntax.Definition | syntax.Const:
        """Parse the declaration of a name."""
        (declaration,) = parse_part(self.parts[name]).declarations
        assert isinstance(declaration, syntax.Definition | syntax.Const), "the library has no other declarations"
        return declaration

    def declares(self, name: str) -> bool:
        """Whether the file declares the name, parsed or not."""
        return name in self.parts


@cache
def library() -> Library:
    """The standard library, read once for all programs."""
    return Library()


@cache
def _builtins() -> dict[str, CompileTimeValue]:
    return builtin_names()


class _Names(Scope):
    """The outermost names: the library's, then the language's own."""

    def missing(self, name: str) -> CompileTimeValue:
        """The value of a name of the library or the language; KeyError if neither has it."""
        return library().find(name) if name in library().files else _builtins()[name]

    def known(self) -> Iterator[str]:
        """Every name of the library, then the language's own."""
        yield from library().files
        yield from _builtins()


@dataclass(eq=False)
class Program:
    """A file with everything that it imports."""

    source: Source
    tree: syntax.File
    scope: Scope
    definitions: dict[str, Defined] = field(default_factory=dict)
    trains: list[syntax.Train] = field(default_factory=list)
    imports: dict[Span, Program] = field(default_factory=dict)  # by the spans of their paths

    @property
    def models(self) -> list[Defined]:
        """The models that the file itself declares, in order."""
        return [defined for defined in self.definitions.values() if defined.kind == "model"]


def load(path: str | Path) -> Program:
    """Read a file and its imports; NablacError holds every error in them."""
    return program_of(read_source(Path(path)))


def program_of(source: Source) -> Program:
    """The program of a text; its imports are relative to the source's name."""
    return _Loader().load(source, None)


class _Loader:
    def __init__(self) -> None:
        self.loaded: dict[Path, Program] = {}
        self.loading: list[Path] = []

    def load(self, source: Source, path: Path | None) -> Program:
        diagnostics = Diagnostics()
        try:
            tree = parse(source)
        except NablacError as error:
            raise error from None
        program = Program(source, tree, Scope(_Names()))
        seen: dict[str, Span] = {}
        diagnostics.extend(reserved_names(tree))
        diagnostics.extend(hypers_declared_twice(tree))
        for declaration in tree.declarations:
            if diagnostics.full:
                break
            try:
                self._declare(program, declaration, seen, path)
            except NablacError as error:
                diagnostics.extend(error.diagnostics)
        diagnostics.raise_if_any()
        return program

    def _declare(
        self, program: Program, declaration: syntax.Declaration, seen: dict[str, Span], path: Path | None
    ) -> None:
        match declaration:
            case syntax.Train(model=model):
                first = next((train for train in program.trains if train.model.text == model.text), None)
                if first is not None:
                    label = Label(first.model.span, "first here")
                    message = f"`{model.text}` has two train blocks"
                    hint = "a model has one train block in a file; put another one in another file"
                    raise NablacError(Diagnostic(codes.E202, message, model.span, labels=(label,), hint=hint))
                program.trains.append(declaration)
                return
            case syntax.Import():
                self._import(program, declaration, seen, path)
                return
        name = declaration.name
        _new_name(name, seen)
        if isinstance(declaration, syntax.Definition):
            program.definitions[name.text] = Defined(declaration, program.scope)
            program.scope.names[name.text] = program.definitions[name.text]
        else:
            program.scope.names[name.text] = Lazy(declaration, program.scope)

    def _import(self, program: Program, declaration: syntax.Import, seen: dict[str, Span], path: Path | None) -> None:
        written, span = declaration.path.value, declaration.path.span
        here = Path(program.source.name).parent
        target = here / written
        if not written.endswith(".model"):
            raise _error(
                codes.E203,
                f'"{written}" is not a .model file',
                span,
                'an import is written `from "layers.model" import Name`',
            )
        resolved = Path(os.path.realpath(target))  # which accepts loops of links, and names that are too long
        if resolved in self.loading or resolved == Path(os.path.realpath(program.source.name)):
            chain = " -> ".join(path.name for path in [*self.loading, resolved])
            raise _error(codes.E205, f"circular import: {chain}", span, "move what both need to a third file")
        if not os.path.exists(target):
            near = did_you_mean_file(target.name, [Path(file).name for file in models_beside(target)])
            raise _error(codes.E203, f'there is no file "{written}"', span, near or f"it is expected at {target}")
        if len(self.loaded) >= MOST_FILES:
            raise _error(codes.E203, f"more than {MOST_FILES} files are imported", span, None)
        if resolved not in self.loaded:
            self.loading.append(resolved)
            try:
                self.loaded[resolved] = self.load(read_source(target), resolved)
            finally:
                self.loading.pop()
        other = program.imports[span] = self.loaded[resolved]
        for name in declaration.names:
            if name.text not in other.scope.names:
                hint = did_you_mean(name.text, other.scope.names)
                raise _error(codes.E204, f'"{written}" has no `{name.text}`', name.span, hint)
            _new_name(name, seen)
            program.scope.names[name.text] = other.scope.names[name.text]


def _new_name(name: syntax.Identifier, seen: dict[str, Span]) -> None:
    if name.text in seen:
        label = Label(seen[name.text], "first here")
        raise NablacError(Diagnostic(codes.E202, f"`{name.text}` is declared twice", name.span, labels=(label,)))
    seen[name.text] = name.span


def _error(code: codes.Code, message: str, span: Span, hint: str | None) -> NablacError:
    return NablacError(Diagnostic(code, message, span, hint=hint))
