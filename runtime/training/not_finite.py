"""Detecting a loss or state that is not finite, and finding the operator that caused it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph, Node
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.training.checkpoints import Position

if TYPE_CHECKING:
    from compiler.types import Array

_HINT = "a smaller learning rate, or `clip_norm 1.0`, often helps"


class NotFinite(Exception):
    """The loss of a step, or the state after some step, is not finite; `position` is before the step."""

    def __init__(self, what: str, position: Position) -> None:
        super().__init__(what)
        self.what, self.position = what, position


@dataclass(frozen=True, eq=False)
class ReplayedStep:
    """A repeated step: its inputs, its loss and the state after it."""

    epoch: int  # from 1
    batch: int  # of the epoch, from 1
    read: Mapping[str, Array]  # weights by path and inputs by name
    loss: float
    state: Mapping[str, Array]


def non_finite_paths(state: Mapping[str, Array]) -> list[str]:
    """The paths of the arrays of a state that are not finite."""
    paths = []
    with np.errstate(over="ignore", invalid="ignore"):
        for path, array in state.items():
            # The sum is faster to check, without a temporary array; but it may overflow if no element has.
            if array.dtype.kind not in "iub" and not np.isfinite(array.sum()) and not np.isfinite(array).all():
                paths.append(path)
    return paths


def explain_not_finite(
    error: NotFinite, steps: Iterable[ReplayedStep], allowed: Collection[str], graph: Graph, name: str
) -> NablacError:
    """The error for the first of the repeated steps of the training of `name` whose loss or state is not finite.

    The loss may still be finite after the step that damaged the parameters, and they are not checked after every step.
    `allowed` are paths that were not finite from the start; `graph` is that of a step.
    """
    for step in steps:
        lost = [path for path in non_finite_paths(step.state) if path not in allowed]
        at = f"epoch {step.epoch}, batch {step.batch}"
        if not math.isfinite(step.loss):
            what = f"the loss is {step.loss} at {at}"
        elif lost:
            what = f"`{lost[0]}` is not finite (NaN or infinity) after {at}, whose loss is {step.loss:.4g}"
        else:
            continue
        node, kind = _first_to_lose(graph, step.read)
        if node is None:
            return NablacError(Diagnostic(codes.E842, what, place=name, hint=_HINT))
        message = f"{what}: `{node.op.name}` is the first operator whose result is {kind}"
        return NablacError(
            Diagnostic(codes.E842, message, node.origin.span, place=node.origin.path or None, hint=_HINT)
        )
    at = f"epoch {error.position.epoch + 1}, batch {error.position.batch + 1}"
    return NablacError(Diagnostic(codes.E842, f"{error.what} at {at}", place=name, hint=_HINT))


def _first_to_lose(graph: Graph, read: Mapping[str, Array]) -> tuple[Node | None, str]:
    """The first operator that makes NaN of operands without NaN, or infinity of finite ones.

    Only operators that lead to a result that is not finite count: elsewhere infinity may be intended, as in a mask.
    """
    from runtime.numpy_executor import NumpyRunner

    nodes = [node for node in graph if all(result.type.dtype.is_float for result in node.results)]
    watched = Graph(graph.inputs, {f"node {number}": node.results[0] for number, node in enumerate(nodes)})
    outputs = NumpyRunner(watched, read).run({name: read[name] for name in watched.inputs})
    results = dict(zip(nodes, outputs.values(), strict=True))
    lost = {node: bool(np.isnan(array).any()) for node, array in results.items() if not np.isfinite(array).all()}
    reached, waiting = set(), [end.node for end in graph.ends if end.node in lost]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += [operand.node for operand in node.operands if operand.node in lost]
    for node in nodes:
        if node in reached and node.operands:
            before = [operand.node for operand in node.operands if operand.node in lost]
            if not before or (lost[node] and not any(lost[earlier] for earlier in before)):
                return node, "NaN" if lost[node] else "infinite"
    return None, ""
