"""Which parameters are trained, at which factor of the learning rate, and to which of them weight decay applies."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from compiler.graph import Graph, Value
from compiler.model_spec import TrainingSettings
from compiler.operators.leaves import Parameter
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


def parameters_of(loss: Value) -> dict[str, Value]:
    """The parameters that a loss depends on, by path."""
    return {node.op.path: node.result for node in Graph({}, {"loss": loss}) if isinstance(node.op, Parameter)}


def trained_parameters(loss: Value, settings: TrainingSettings) -> dict[str, Value]:
    """The parameters that a loss depends on and whose path `only` matches, if it is set, and `freeze` does not."""
    return {path: value for path, value in parameters_of(loss).items() if _is_trained(path, settings)}


def _is_trained(path: str, settings: TrainingSettings) -> bool:
    return (settings.only is None or matches(path, settings.only)) and not matches(path, settings.freeze)


def rate_of(path: str, settings: TrainingSettings) -> float:
    """The factor of the learning rate for a parameter: that of the first of `rates` whose pattern matches, else 1."""
    return next((factor for pattern, factor in settings.rates if matches(path, (pattern,))), 1.0)


def check_patterns(loss: Value, settings: TrainingSettings) -> None:
    """NablacError for a pattern of a setting that matches no parameter of the loss."""
    paths = list(parameters_of(loss))
    check_matches("freeze", settings.freeze, paths)
    check_matches("only", settings.only or (), paths)
    check_matches("rates", [pattern for pattern, _ in settings.rates], paths)
    check_matches("undecayed", settings.undecayed or (), paths)


def check_matches(setting: str, patterns: Iterable[str], paths: Iterable[str]) -> None:
    """NablacError for the first pattern of a setting that matches none of the paths."""
    paths = list(paths)
    for pattern in patterns:
        if not any(matches(path, (pattern,)) for path in paths):
            message = f"`{pattern}` in `{setting}` matches no parameter"
            hint = f"the parameters are {', '.join(paths[:8])}{', ...' if len(paths) > 8 else ''}"
            raise NablacError(Diagnostic(codes.E613, message, hint=hint))


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path matches one of the patterns of a setting: `*` is any text, `?` any character."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def is_decayed(path: str, parameter: Value, settings: TrainingSettings) -> bool:
    """Whether decay and penalties apply to a parameter: by default to those of two axes or more (see `undecayed`)."""
    if settings.undecayed is None:
        return parameter.type.rank >= 2
    return not matches(path, settings.undecayed)


def is_exempt(path: str, parameter: Value, settings: TrainingSettings) -> bool:
    """Whether `undecayed` names a parameter, so that an optimizer's own decay does not apply to it either."""
    return settings.undecayed is not None and not is_decayed(path, parameter, settings)
