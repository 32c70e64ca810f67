"""A record of what differentiation derives, for those who want to read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from compiler.graph import Node, Value
from grammar.record import Record


class BackwardStep(Record):
    """The gradient of one step of a recurrence, which is the body of the Scan `node`.

    `inputs` are the inputs of the forward step as the backward step computes it again, in the order of the operands of
    the forward Scan `forward`, and `ends` its outputs. `from_next` are the gradients of the states that arrive from the
    step after, with those that arrive after the last step, and `from_outside` those of the stacked outputs, with the
    sequence of all steps; by the index of the forward result. The results of `node` are the gradients of the states,
    the whole values and the sequences of `forward`, of those that are floats.
    """

    node: Node
    forward: Node
    inputs: tuple[Value, ...]
    ends: tuple[Value, ...]
    from_next: Mapping[int, tuple[Value, Value]]
    from_outside: Mapping[int, tuple[Value, Value]]
    keeps: tuple[Value, ...]  # 0 where a segment of truncated back-propagation begins, else 1
    to_before: Mapping[int, Value]  # the gradients of the states, which go to the step before


@dataclass
class Derivation:
    """The gradient of each value that was differentiated, and the backward step of each recurrence.

    `pulled` says of each contribution to a gradient which node's gradient it is part of, and of which operand.
    """

    gradients: dict[Value, Value] = field(default_factory=dict)
    pulled: dict[Value, tuple[Node, int, Value]] = field(default_factory=dict)  # with the gradient of the node's result
    steps: list[BackwardStep] = field(default_factory=list)


_current: ContextVar[Derivation | None] = ContextVar("derivation", default=None)
current_derivation = _current.get  # the record that is being made, if one is


@contextmanager
def recorded() -> Iterator[Derivation]:
    """A context in which everything that is differentiated is recorded."""
    derivation = Derivation()
    token = _current.set(derivation)
    try:
        yield derivation
    finally:
        _current.reset(token)
