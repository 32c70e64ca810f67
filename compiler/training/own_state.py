"""The state that a training step keeps from step to step in addition to the model's parameters and buffers."""

from __future__ import annotations

from typing import Literal

from compiler.graph import Graph, Value
from compiler.model_spec import SEED
from compiler.operators.leaves import Buffer, Input, constant
from compiler.operators.shaping import Expand
from compiler.types import TensorType
from grammar.record import ValueRecord


class OwnState(ValueRecord):
    """One such state: of the optimizer, a running average of a parameter, a running sum, or of the loss scale.

    Running sums are those of gradients and of the batches' weights.
    """

    kind: Literal["optimizer", "average", "accumulated", "loss_scale"]
    of: str = ""  # the path of its parameter; empty where it belongs to none
    name: str = ""  # its name in the optimizer's equations, or among the states of the loss scale

    @property
    def path(self) -> str:
        """Its key in checkpoints and in ONNX, which differs from the model's paths by its slashes."""
        return "/".join(part for part in (self.kind, self.name, self.of) if part)


def buffer_of(state: OwnState, type: TensorType, initial: Value | float) -> Value:
    """The value of a state at the beginning of a step, of this type; `initial` is its first value, expanded to it.

    The only input that `initial` may depend on is `seed`, for random draws.
    """
    first = initial if isinstance(initial, Value) else constant(initial, type.dtype)
    if first.type != type:
        first = Expand(type.shape)(first)
    seeds = [node.result for node in Graph({}, {"initial": first}) if isinstance(node.op, Input)]
    return Buffer(state.path, type, Graph({SEED: seeds[0]} if seeds else {}, {"initial": first}))()
