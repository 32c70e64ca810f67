"""Choosing a model of a program."""

from __future__ import annotations

from compiler.elaborate.program import Program
from compiler.elaborate.values import Defined
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean

_DECLARED = "a model is declared with `model Name(...) { input ...; output ... }`"


def check_declarations(program: Program) -> None:
    """NablacError for a file that is empty, or has only comments."""
    if not program.tree.declarations:
        message = "this file declares nothing"
        raise NablacError(Diagnostic(codes.E911, message, place=program.source.name, hint=_DECLARED))


def choose_model(program: Program, model: str | None) -> Defined:
    """The model of that name; without a name the only model, or the only one with a train block.

    NablacError if there is no such model.
    """
    models = {defined.name: defined for defined in program.models}
    if model is not None:
        if model not in models:
            raise NablacError(
                Diagnostic(
                    codes.E420,
                    f"there is no model `{model}` in {program.source.name}",
                    place=program.source.name,
                    hint=did_you_mean(model, models) or (f"the file has {', '.join(models)}" if models else None),
                )
            )
        return models[model]
    check_declarations(program)
    if not models:
        message = f"{program.source.name} contains no model"
        raise NablacError(Diagnostic(codes.E420, message, place=program.source.name, hint=_DECLARED))
    if len(models) > 1:
        trained = [train.model.text for train in program.trains if train.model.text in models]
        if len(set(trained)) == 1:
            return models[trained[0]]
        raise NablacError(
            Diagnostic(
                codes.E420,
                f"{program.source.name} contains {len(models)} models: {', '.join(models)}",
                place=program.source.name,
                hint=f"choose one: `--model {next(iter(models))}`",
            )
        )
    return next(iter(models.values()))
