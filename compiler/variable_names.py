"""Names for the ranges and choices of a program: the same in every trial, whatever is chosen.

A range is named after the hyperparameter or setting whose value it is (`units`, `batch`), or after the layer or
function and its parameter (`Dropout.rate`); equal names are numbered in the order of the text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from compiler.elaborate.data import SOURCES, STAGES
from compiler.elaborate.presets import presets_of, setting_expression
from compiler.elaborate.program import Program
from compiler.elaborate.program_texts import files_of
from compiler.elaborate.search_ranges import CHOICE
from compiler.elaborate.unknown_names import references
from compiler.elaborate.values import Defined, Scope
from grammar import syntax
from grammar.record import Record
from grammar.source import Span

_LAYER = "layer"  # a choice of callees, as in `x -> choice(LSTM, GRU)(32)`


class _Part(Record):
    """A part of the syntax, and the name of a range or choice that is the whole of it."""

    node: Any
    name: str
    call_name: str | None = None  # replaces the callee's name in the names of arguments
    is_piped: bool = False


def variable_names(
    program: Program, defined: Defined, preset: str | None, hypers: Mapping[str, Any]
) -> dict[Span, str]:
    """The names of all ranges and choices that an elaboration of a model may reach, by span."""
    named: list[tuple[Span, str]] = []
    possible: list[tuple[Span, str]] = []
    settings = {name: setting_expression(name, text) for name, text in hypers.items() if isinstance(text, str)}
    for name, expression in settings.items():
        named += _NameCollector(defined.scope).run(_Part(expression, name))
    in_preset = _preset_settings(defined, preset)
    for setting in in_preset:
        if setting.name.text not in hypers:
            named += _NameCollector(defined.scope).run(_Part(setting.value, setting.name.text))
    overridden = {*hypers, *(setting.name.text for setting in in_preset)}
    for file in files_of(program):
        for declaration in file.tree.declarations:
            is_main = declaration is defined.syntax
            if isinstance(declaration, syntax.Train) and declaration.model.text != defined.name:
                continue
            collector = _NameCollector(file.scope)
            parts = _parts(declaration, is_main, overridden if is_main else ())
            named += [entry for part in parts for entry in collector.run(part)]
            possible += collector.possible
    return _numbered(named + possible)


def _preset_settings(defined: Defined, preset: str | None) -> list[syntax.Setting]:
    presets = [declared for declared in presets_of(defined) if declared.name.text == preset]
    return [setting for declared in presets for setting in declared.settings]


def _parts(declaration: syntax.Declaration, is_main: bool, overridden: Collection[str]) -> list[_Part]:
    """The parts of a declaration, with names for ranges and choices that are the whole of a value in it."""
    match declaration:
        case syntax.Definition(name=name, hypers=hypers, body=body):
            prefix = "" if is_main else f"{name.text}."
            parts = [
                _Part(hyper.default, prefix + hyper.name.text)
                for hyper in hypers
                if hyper.default is not None and hyper.name.text not in overridden
            ]
            statements = [statement for statement in body if not isinstance(statement, syntax.Preset)]
            return [*parts, *(_Part(statement, prefix + "output") for statement in statements)]
        case syntax.Const(name=name, value=value):
            return [_Part(value, name.text)]
        case syntax.Train(body=body):
            return [_Part(statement, "") for statement in body]
    return []


class _NameCollector:
    """Collects the named ranges and choices of one declaration."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.possible: list[tuple[Span, str]] = []  # `log(r)`, which is a range if `r` is one
        self._named: list[tuple[Span, str]] = []
        self._waiting: list[_Part] = []
        self._callable_name = _LAYER
        self._in_data = False

    def run(self, first: _Part) -> list[tuple[Span, str]]:
        """The ranges and choices of a part, in the order of the text."""
        self._named, self._waiting = [], [first]
        self._callable_name, self._in_data = _LAYER, False
        while self._waiting:
            part = self._waiting.pop()
            match part.node:
                case syntax.Declare() | syntax.Assign() | syntax.Output() | syntax.Setting() | syntax.For():
                    self._statement(part)
                case syntax.Range(start=start, stop=stop, span=span):
                    self._named.append((span, part.name))
                    self._wait(part, start, stop)
                case syntax.Call():
                    self._call(part)
                case syntax.Pipe(value=value, stage=stage):
                    self._wait(part, value)
                    name = self._callable_name if _is_choice(stage) else part.name
                    self._waiting.append(_Part(stage, name, is_piped=True))
                case syntax.ListOf(items=items) | syntax.TupleOf(items=items):
                    self._wait(part, *items)
                case syntax.Identifier() | Span():
                    pass
                case tuple():
                    self._wait(part, *part.node)
                case Record():
                    self._wait(part, *vars(part.node).values())
        return sorted(self._named, key=lambda entry: (entry[0].start, -entry[0].end))

    def _wait(self, part: _Part, *nodes: Any) -> None:
        self._waiting += [_Part(node, part.name) for node in nodes]

    def _statement(self, part: _Part) -> None:
        statement, prefix = part.node, part.name.rpartition(".")[0]
        prefix = f"{prefix}." if prefix else ""
        match statement:
            case syntax.Setting(name=name, value=value):
                self._callable_name = name.text
                self._in_data = name.text == "data"
                call_name = name.text if name.text == "optimizer" else None
                self._waiting.append(_Part(value, name.text, call_name))
            case syntax.Assign(targets=targets, value=value):
                self._waiting.append(_Part(value, prefix + targets[0].text))
            case syntax.Declare(names=names):
                self._waiting.append(_Part((names, statement.initializer), prefix + names[0].name.text))
            case syntax.Output(name=syntax.Identifier(text=text), value=value):
                self._waiting.append(_Part(value, prefix + text))
            case syntax.For(iterable=iterable, body=body):
                items = iterable.items if isinstance(iterable, syntax.ListOf) else (iterable,)
                for item in items:
                    # a range that a loop iterates over is not searched, but its bounds may be
                    bounds = (item.start, item.stop) if isinstance(item, syntax.Range) else (item,)
                    self._waiting.append(_Part(bounds, prefix + statement.variable.text))
                self._wait(part, *body)
            case _:
                self._wait(part, statement.value)

    def _call(self, part: _Part) -> None:
        call = part.node
        callee, values = call.callee, [argument.value for argument in call.arguments]
        if _is_choice(call):
            self._named.append((call.span, part.name))
            self._waiting += [_Part(value, part.name, is_piped=part.is_piped) for value in values]
            return
        if isinstance(callee, syntax.Name) and callee.text == "log" and len(values) == 1:
            if isinstance(values[0], syntax.Range):
                self._named.append((call.span, part.name))
                self._wait(part, values[0].start, values[0].stop)
                return
            if isinstance(values[0], syntax.Name):
                self.possible.append((call.span, part.name))
        name, parameters = part.call_name or self._name_of(callee), self._parameters(call, part.is_piped)
        for index, argument in enumerate(call.arguments):
            parameter = argument.name.text if argument.name is not None else None
            if parameter is None and index < len(parameters):
                parameter = parameters[index]
            self._waiting.append(_Part(argument.value, f"{name}.{parameter}" if parameter else name))
        if not isinstance(callee, syntax.Name):
            self._waiting.append(_Part(callee, self._callable_name if _is_choice(callee) else part.name))

    def _name_of(self, callee: syntax.Expression) -> str:
        match callee:
            case syntax.Name(text=text):
                return text
            case syntax.Attribute(name=name):
                return name.text
            case syntax.Call() if not _is_choice(callee):
                return self._name_of(callee.callee)
        return self._callable_name

    def _parameters(self, call: syntax.Call, is_piped: bool) -> list[str]:
        """The parameters of a call's positional arguments; none if the callee is not known."""
        callee: syntax.Expression = call.callee
        while _is_choice(callee) and isinstance(callee, syntax.Call) and callee.arguments:
            callee = callee.arguments[0].value
        if not isinstance(callee, syntax.Name):
            return []
        if self._in_data:
            declared = (SOURCES | STAGES).get(callee.text)
            return list(declared.parameters) if declared is not None else []
        value = self.scope.find(callee.text) if callee.text in self.scope else None
        if not isinstance(value, Defined):
            return []
        names = [hyper.name.text for hyper in value.syntax.hypers]
        takes_piped = is_piped and value.kind == "fn" and all(name.text != "_" for name in references(call.arguments))
        return names[1:] if takes_piped else names


def _is_choice(node: Any) -> bool:
    return isinstance(node, syntax.Call) and isinstance(node.callee, syntax.Name) and node.callee.text == CHOICE


def _numbered(named: list[tuple[Span, str]]) -> dict[Span, str]:
    """The names by span, with numbers appended to those that appear before."""
    names: dict[Span, str] = {}
    taken: set[str] = set()
    for span, name in named:
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique)
        names[span] = unique
    return names
