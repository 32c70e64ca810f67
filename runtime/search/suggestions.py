"""The variables of a program as Optuna's parameters: the values that a trial draws, and the combinations of a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna

from compiler.elaborate.models import TextSource
from compiler.search import Choose, Numbers, Options, Variable, choose_default, choose_values
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

Values = dict[str, Any]  # of variables by name: a number, or the label of an option


def labels_of(options: Options) -> list[str]:
    """The texts of the options; equal ones are numbered."""
    labels: list[str] = []
    for text in options.texts:
        label, number = text, 2
        while label in labels:
            label, number = f"{text} ({number})", number + 1
        labels.append(label)
    return labels


def draw_from(trial: optuna.Trial) -> Choose:
    """Chooses the values that a trial draws, or has drawn before."""

    def choose(variable: Variable) -> int | float:
        candidates, name = variable.candidates, variable.name
        if isinstance(candidates, Options):
            labels = labels_of(candidates)
            return labels.index(trial.suggest_categorical(name, labels))
        is_log = candidates.scale == "log"
        if candidates.is_whole:
            return trial.suggest_int(name, int(candidates.low), int(candidates.high), log=is_log)
        return trial.suggest_float(name, candidates.low, candidates.high, log=is_log)

    return choose


def replay(values: Mapping[str, Any]) -> Choose:
    """Chooses the values of an ended trial."""

    def choose(variable: Variable) -> int | float:
        value: Any = values[variable.name]
        if isinstance(variable.candidates, Options):
            return labels_of(variable.candidates).index(value)
        number: int | float = value
        return number

    return choose


def variables_of(source: TextSource) -> tuple[Variable, ...]:
    """The variables that are reached with default values; NablacError for errors of the program."""
    return choose_values(source, choose_default).variables


def all_variables(source: TextSource) -> list[Variable]:
    """The variables that are reached with default values, and then those inside the other options, each chosen once."""
    variables: dict[str, Variable] = {}
    waiting: list[dict[str, int]] = [{}]  # the options that are chosen instead of the first ones
    while waiting:
        indices = waiting.pop(0)

        def choose(variable: Variable, indices: dict[str, int] = indices) -> int | float:
            return indices.get(variable.name, choose_default(variable))

        try:
            reached = choose_values(source, choose).variables
        except NablacError:  # an option that does not fit the default values of the others
            continue
        for variable in reached:
            if variable.name not in variables:
                variables[variable.name] = variable
                if isinstance(variable.candidates, Options):
                    others = range(1, len(variable.candidates.texts))
                    waiting += [{**indices, variable.name: index} for index in others]
    return list(variables.values())


def default_values(source: TextSource) -> Values:
    """The values without a search: first options, middles of ranges."""
    return {variable.name: _default(variable) for variable in variables_of(source)}


def _default(variable: Variable) -> int | float | str:
    candidates = variable.candidates
    return labels_of(candidates)[0] if isinstance(candidates, Options) else candidates.default


def require_variables(source: TextSource) -> None:
    """NablacError for a program without search variables."""
    if not variables_of(source):
        hint = "write `16..128`, `log(1e-4..1e-1)` or `choice(LSTM, GRU)` instead of a value"
        location = source.program.source.name
        raise NablacError(
            Diagnostic(codes.E511, "there is nothing to search: no range, no choice", place=location, hint=hint)
        )


def describe_variable(variable: Variable) -> str:
    """The candidates of a variable, for people."""
    candidates = variable.candidates
    if isinstance(candidates, Options):
        return ", ".join(labels_of(candidates))
    whole = "" if candidates.is_whole else ", any number"
    scale = ", logarithmic" if candidates.scale == "log" else ""
    return f"{candidates.low} to {candidates.high}{whole}{scale}"


@dataclass
class _Axis:
    """A variable of the grid, its values, and the index of the current one."""

    name: str
    values: Sequence[Any]  # as parameters: numbers, or labels
    index: int = 0


def combinations(source: TextSource, points: int) -> Iterator[Values]:
    """The combinations of the grid, of which the variables that are met last change first.

    A range has `points` values from its low to its high end, or all its whole numbers if there are no more. Variables
    inside an option that is not chosen have no values.
    """
    path: list[_Axis] = []
    while True:
        reached = 0

        def choose(variable: Variable) -> int | float:
            nonlocal reached
            if reached == len(path):
                path.append(_Axis(variable.name, _values(variable, points)))
            axis = path[reached]
            reached += 1
            value: int | float = axis.values[axis.index]
            return axis.index if isinstance(variable.candidates, Options) else value

        with suppress(NablacError):  # the trial will fail with it
            choose_values(source, choose)
        del path[reached:]
        yield {axis.name: axis.values[axis.index] for axis in path}
        while path and path[-1].index + 1 == len(path[-1].values):
            path.pop()
        if not path:
            return
        path[-1].index += 1


def _values(variable: Variable, points: int) -> list[Any]:
    """The distinct values of a variable in the grid, in order."""
    candidates = variable.candidates
    if isinstance(candidates, Options):
        return labels_of(candidates)
    if candidates.is_whole and candidates.high - candidates.low < points:
        return list(range(int(candidates.low), int(candidates.high) + 1))
    fractions = [0.5] if points == 1 else [step / (points - 1) for step in range(points)]
    return list(dict.fromkeys(_between(candidates, fraction) for fraction in fractions))


def _between(numbers: Numbers, fraction: float) -> int | float:
    """The number at a fraction of the range, on its scale."""
    low, high = numbers.low, numbers.high
    if fraction in (0.0, 1.0):
        value: float = high if fraction else low
    elif fraction == 0.5:  # exactly the default value
        value = numbers.default
    elif numbers.scale == "log":
        value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
    else:
        value = low + fraction * (high - low)
    return round(value) if numbers.is_whole else value
