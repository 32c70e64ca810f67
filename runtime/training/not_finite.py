"""Training that has left the finite numbers: how that is seen, and the operator that it began at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph, Node
from grammar.diagnostics import Diagnostic, NablacError
from runtime.training.checkpoints import Position

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.training.loop import Loop
    from runtime.training.training_run import Training


class NotFinite(Exception):
    """The loss of a step, or what some step made of the state, is no finite number; `position` is before the step."""

    def __init__(self, what: str, position: Position) -> None:
        super().__init__(what)
        self.what, self.position = what, position


def broken(state: Mapping[str, Array]) -> list[str]:
    """The paths of a state whose arrays hold anything but finite numbers."""
    found = []
    with np.errstate(over="ignore", invalid="ignore"):
        for path, array in state.items():
            # A sum is one pass without a temporary; it may overflow where no element has.
            if array.dtype.kind not in "iub" and not np.isfinite(array.sum()) and not np.isfinite(array).all():
                found.append(path)
    return found


def explain_not_finite(training: Training, loop: Loop, error: NotFinite) -> NablacError:
    """Where the numbers were lost: the steps since the last sound state are made again, each looked at.

    The loss may still be finite after the step that spoilt the parameters, and steps may pass before one is looked at.
    """
    hint = "a smaller learning rate, or `clip_norm 1.0`, often helps"
    before = loop.stepper.before()
    if before and not broken(before):
        state, position = before, error.position
    else:
        state, position = loop.sound() or (training.first_state(), Position())
    stepper, allowed = training.stepper(state), set(broken(state))
    step, batch_number = position.step, position.batch
    for batch in loop.training.epoch(position.epoch, batch_number):
        step = loop.following(step, batch_number)
        feeds = {**batch, **loop.feeds(step, position.rate)}
        state, outputs = stepper.state(), stepper.step(feeds)
        lost = [path for path in broken(stepper.state()) if path not in allowed]
        batch_number += 1
        at = f"epoch {position.epoch + 1}, batch {batch_number}"
        if not math.isfinite(outputs["loss"]):
            what = f"the loss is {outputs['loss']} at {at}"
        elif lost:
            what = f"`{lost[0]}` is no finite number after {at}, whose loss is {outputs['loss']:.4g}"
        else:
            continue
        node, kind = _culprit(training.step.graph, {**state, **feeds})
        if node is None:
            return NablacError(Diagnostic("E842", what, place=training.name, hint=hint))
        message = f"{what}: `{node.op.name}` is the first whose result is {kind}"
        return NablacError(Diagnostic("E842", message, node.origin.span, place=node.origin.path or None, hint=hint))
    at = f"epoch {error.position.epoch + 1}, batch {error.position.batch + 1}"
    return NablacError(Diagnostic("E842", f"{error.what} at {at}", place=training.name, hint=hint))


def _culprit(graph: Graph, given: Mapping[str, Array]) -> tuple[Node | None, str]:
    """The first operator on the way to the step's results that makes a NaN of none, or infinity of finite numbers.

    Infinity may be meant, as in a mask: what leads to no broken result is not to blame.
    """
    from runtime.numpy_executor import NumpyRunner

    nodes = [node for node in graph if all(each.type.dtype.is_float for each in node.results)]
    every = Graph(graph.inputs, {f"node {place}": node.results[0] for place, node in enumerate(nodes)})
    made = NumpyRunner(every, given).run({name: given[name] for name in every.inputs})
    results = dict(zip(nodes, made.values(), strict=True))
    lost = {node: bool(np.isnan(array).any()) for node, array in results.items() if not np.isfinite(array).all()}
    reached, waiting = set(), [end.node for end in graph.ends if end.node in lost]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += [each.node for each in node.operands if each.node in lost]
    for node in nodes:
        if node in reached and node.operands:
            before = [each.node for each in node.operands if each.node in lost]
            if not before or (lost[node] and not any(lost[each] for each in before)):
                return node, "no number" if lost[node] else "infinite"
    return None, ""
