"""What a training step keeps from step to step for itself, beside the parameters and buffers of its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compiler.graph import Graph, Value
from compiler.model_spec import SEED
from compiler.operators.shaping import Expand
from compiler.operators.source import Buffer, Input, constant
from compiler.types import TensorType


@dataclass(frozen=True)
class OwnState:
    """What a training step keeps beside parameters and buffers: a state of the optimizer, an average, a running sum."""

    kind: Literal["optimizer", "average", "accumulated"]
    of: str = ""  # the parameter that it belongs to; none for the sum of what batches weigh
    name: str = ""  # what the optimizer calls it

    @property
    def path(self) -> str:
        """Its key in checkpoints and in ONNX; paths of the model have no slash, so that none is like it."""
        return "/".join(part for part in (self.kind, self.name, self.of) if part)


def buffer_of(state: OwnState, type: TensorType, initial: Value | float) -> Value:
    """The value of a state at the beginning of a step; its first one, of a type that expands to `type`, may be drawn.

    Of what `initial` depends on, `seed` alone is fed.
    """
    first: Value = initial if isinstance(initial, Value) else constant(initial, type.dtype)
    if first.type != type:
        first = Expand(type.shape)(first)
    seeds = [node.result for node in Graph({}, {"initial": first}) if isinstance(node.op, Input)]
    buffer: Value = Buffer(state.path, type, Graph({SEED: seeds[0]} if seeds else {}, {"initial": first}))()
    return buffer
