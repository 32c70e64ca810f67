"""Which parameters are trained, and to which of them weight decay applies."""

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
    """The parameters that a loss depends on, except those whose path matches a pattern of `freeze`."""
    parameters = parameters_of(loss)
    return {path: value for path, value in parameters.items() if not _matches(path, settings.freeze)}


def check_patterns(loss: Value, settings: TrainingSettings) -> None:
    """NablacError for a pattern of `freeze` or `undecayed` that matches no parameter of the loss."""
    paths = list(parameters_of(loss))
    for setting, patterns in (("freeze", settings.freeze), ("undecayed", settings.undecayed or ())):
        for pattern in patterns:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise NablacError(
                    Diagnostic(
                        codes.E613,
                        f"`{pattern}` in `{setting}` matches no parameter",
                        hint=f"the parameters are {', '.join(paths[:8])}{', ...' if len(paths) > 8 else ''}",
                    )
                )


def is_decayed(path: str, parameter: Value, settings: TrainingSettings) -> bool:
    """Whether decay and penalties apply to a parameter: by default to those of two axes or more (see `undecayed`)."""
    if settings.undecayed is None:
        return parameter.type.rank >= 2
    return not _matches(path, settings.undecayed)


def is_exempt(path: str, parameter: Value, settings: TrainingSettings) -> bool:
    """Whether `undecayed` names a parameter, so that an optimizer's own decay does not apply to it either."""
    return settings.undecayed is not None and not is_decayed(path, parameter, settings)


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
