"""What one of several workers reduces in a step, and the memory that it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from compiler.dims import evaluate
from compiler.liveness import Liveness
from compiler.operators.leaves import Input
from compiler.training.data_parallel import OverWorkers, batch_dims
from compiler.training.gradients import gradient_name
from compiler.training.segments import cut
from compiler.training.step import training_step
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.initialization import stored_operators
from runtime.memory import stored_bytes
from runtime.training.loop_settings import check_shared

if TYPE_CHECKING:
    from compiler.graph import Value
    from runtime.training.training_run import Training

_AGREEMENT = 16  # bytes that the loop reduces after each step: whether a worker ends, or saves


@dataclass(frozen=True)
class WorkerMemory:
    """The bytes that a worker needs, by what they are for."""

    weights: int  # with buffers
    gradients: int
    optimizer: int  # the states of the update
    activations: int  # the most that is alive at once of what the step computes, without the gradients of weights
    batch: int
    reduction: int  # the copy of the largest message that is reduced

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, field.name) for field in fields(self))


def messages_of_step(training: Training, sizes: Mapping[str, int], workers: int) -> list[int]:
    """The bytes of each reduction of a step of several workers.

    NablacError where the training cannot be shared by so many.
    """
    model, options = training.elaborated, training.options
    if options.device != "cpu":
        message = f"what several workers cost on `{options.device}` is not predicted"
        hint = "plan with `--device cpu`: the state of workers is in its memory on any device"
        raise NablacError(Diagnostic(codes.E890, message, place="--device", hint=hint))
    step = training_step(model, None, None, OverWorkers(options.sync_batch_norm))
    check_shared(step, training.memory_budget, workers)
    assert step.split is not None, "check_shared refuses it"
    messages: list[int] = []
    for segment in cut(step.split.measured, batch_dims(model)).segments:
        groups: dict[tuple[str, str], int] = {}  # what is reduced alike is reduced at once
        for part in segment.reductions:
            size = math.prod(evaluate(size, sizes) for size in part.type.shape) * part.type.dtype.bytes
            kind = (part.by, str(part.type.dtype))
            groups[kind] = groups.get(kind, 0) + size
        messages += groups.values()
    return [*messages, _AGREEMENT]


def memory_of_worker(training: Training, sizes: Mapping[str, int], largest: int) -> WorkerMemory:
    """The memory of a worker at these sizes of the named dims; `largest` are the bytes of its largest message."""
    split = training.split_graphs
    graph = split.gradient if split is not None else training.step_graph
    alive = Liveness(graph, sizes)
    step = training.step
    names = {gradient_name(path) for path in step.trained} if split is not None else set()
    ends = [value for name, value in graph.outputs.items() if name in names]
    stored = {op.path: stored_bytes(op) for op in stored_operators(step.measured)}
    optimizer = sum(size for path, size in stored.items() if path in step.states)
    return WorkerMemory(
        weights=sum(stored.values()) - optimizer,
        gradients=sum(stored[path] for path in step.trained),
        optimizer=optimizer,
        activations=max(alive.alive, default=0) - _alive_at_peak(ends, alive),
        batch=sum(alive.bytes(node.result) for node in graph if isinstance(node.op, Input)),
        reduction=largest,
    )


def _alive_at_peak(ends: list[Value], alive: Liveness) -> int:
    """The bytes of those values that are computed when the most is alive; they stay alive."""
    owners = {alive.owner.get(value, value) for value in ends}
    return sum(alive.bytes(value) for value in owners if alive.index.get(value.node, alive.peak + 1) <= alive.peak)
