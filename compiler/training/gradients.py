"""The gradients of a model's loss as a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from compiler.dims import DimError
from compiler.gradient import gradients
from compiler.graph import Graph, NotDifferentiable, Value
from compiler.model_spec import ModelSpec
from compiler.operators.leaves import Input, constant
from compiler.operators.making import filled
from compiler.operators.reductions import Sum
from compiler.passes.pipeline import Stage, run_stage
from compiler.training.losses import inputs_of, training_of
from compiler.training.parameters import parameters_of
from compiler.types import TypeMismatch
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


def gradient_name(name: str) -> str:
    """The output of `gradient_graph` for a parameter or input of this name."""
    return f"grad.{name}"


def gradient_graph(model: ModelSpec, wrt: Iterable[str] = ("*",), *, second: bool = False, cut: bool = True) -> Graph:
    """The loss and its gradients as outputs, `grad.<name>` for each parameter and float input whose name matches.

    With `second`, also `hvp.<name>`: the Hessian times a vector, the input `along.<name>` (Pearlmutter 1994). With
    `cut` False, `stop_gradient` and truncation are ignored, as by finite differences. NablacError where no name
    matches, or an operator has no gradient.
    """
    spec, graph = training_of(model), model.graph
    alone = Graph({}, {"loss": spec.objective})
    loss = run_stage(alone if cut else run_stage(alone, Stage.GRADIENT_CHECK), Stage.BEFORE_GRADIENT).outputs["loss"]
    chosen = chosen_sources(model, loss, wrt)
    grads = _or_zeros(chosen, gradient_of(loss, list(chosen.values())))
    outputs = {"loss": loss, **{gradient_name(name): grad for name, grad in grads.items()}}
    if second:
        along = {name: Input(f"along.{name}", value.type)() for name, value in chosen.items()}
        products = [Sum(None)(grads[name] * vector) for name, vector in along.items()]
        total = products[0]
        for product in products[1:]:
            total = total + product
        seconds = _or_zeros(chosen, gradient_of(total, list(chosen.values())))
        outputs |= {f"hvp.{name}": value for name, value in seconds.items()}
    mode = f" in {model.mode} mode" if model.mode is not None else ""
    doc = "\n\n".join(filter(None, (f"The gradient of the loss of {graph.name}{mode}.", graph.doc)))
    return Graph(inputs_of(model, outputs.values()), outputs, {}, f"{graph.name}.gradient", doc, graph.layers)


def chosen_sources(model: ModelSpec, loss: Value, wrt: Iterable[str]) -> dict[str, Value]:
    """The parameters of a loss and the float inputs of its model that match the patterns; NablacError if none does."""
    sources = {name: value for name, value in model.graph.inputs.items() if value.type.dtype.is_float}
    sources |= parameters_of(loss)
    patterns = list(wrt)
    chosen = {name: value for name, value in sources.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    if not chosen:
        raise NablacError(
            Diagnostic(
                codes.E614,
                f"no parameter or float input matches {' or '.join(f'`{pattern}`' for pattern in patterns)}",
                place="wrt",
                hint=f"the choices are {', '.join(list(sources)[:8])}{', ...' if len(sources) > 8 else ''}",
            )
        )
    return chosen


def _or_zeros(chosen: Mapping[str, Value], grads: Iterable[Value | None]) -> dict[str, Value]:
    """Gradients by name, with zeros in place of None."""
    return {
        name: grad if grad is not None else filled(0, value.type)
        for (name, value), grad in zip(chosen.items(), grads, strict=True)
    }


def gradient_of(loss: Value, wrt: list[Value]) -> list[Value | None]:
    """The gradients of a scalar; NablacError with the span of an operator without a gradient."""
    try:
        return gradients([loss], [constant(1.0, loss.type.dtype)], wrt)
    except NotDifferentiable as error:
        node = error.node
        raise NablacError(
            Diagnostic(
                codes.E611,
                f"no gradient flows through `{error}`",
                node.origin.span if node is not None else None,
                note="on the path from the loss to a parameter",
                hint="if none is meant to flow, write `stop_gradient(...)` around it",
            )
        ) from error
    except (TypeMismatch, DimError) as error:
        message = f"the gradient of the loss cannot be built: {error}"
        raise NablacError(Diagnostic(codes.E611, message, loss.node.origin.span)) from error
