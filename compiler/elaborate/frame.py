"""The frame of a definition while it is applied: its names, dims, states, parameters and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.dims import Size
from compiler.elaborate.values import Argument, CompileTimeValue, Instance, Scope, Unknown
from compiler.graph import Value
from compiler.types import DType
from grammar.record import Record
from grammar.source import Span


class Binding(Record):
    """The size of a named dim, and the declaration that bound it."""

    size: Size
    span: Span


@dataclass(eq=False)
class State:
    """A state of a cell or optimizer: its value at the start of a step, its initial value, and its next value."""

    name: str
    current: Value
    initial: Value
    span: Span
    next: Value | Unknown | None = None  # UNKNOWN after an error, None before its equation


@dataclass(eq=False)
class ScanContext:
    """The step of a scan while its body is built."""

    length: Size
    step: Value  # i64 scalar: the number of the step, an input of the body
    states: list[State] = field(default_factory=list)


@dataclass(eq=False)
class Frame:
    """One application of a definition: its names, dims, parameters, outputs."""

    kind: str
    name: str
    scope: Scope
    path: str
    instance: Instance | None = None
    dims: dict[str, Binding] = field(default_factory=dict)
    ellipsis: tuple[Size, ...] | None = None
    ellipsis_span: Span | None = None
    float_type: DType | None = None
    arguments: list[Argument] = field(default_factory=list)
    named: dict[str, Argument] = field(default_factory=dict)
    outputs: list[tuple[str | None, CompileTimeValue, Span]] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    first_states: dict[str, Argument] = field(default_factory=dict)  # initial states passed to a scan
    buffers: dict[str, Value] = field(default_factory=dict)
    next_values: dict[str, CompileTimeValue] = field(default_factory=dict)
    declared: dict[str, Span] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)  # inputs of the model itself, or targets: fed by the caller
    loops: list[int] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)  # paths below this one, with the last suffix tried
    draws: int = 0
    equations: dict[str, Span] = field(default_factory=dict)  # where next values are assigned

    def claim(self, name: str) -> str:
        """A path below this frame's that no other instance has."""
        suffix = "".join(f".{index}" for index in self.loops)
        first = candidate = name + suffix
        while candidate in self.taken:
            self.taken[first] += 1
            candidate = f"{name}_{self.taken[first]}{suffix}"
        self.taken[candidate] = 0
        return f"{self.path}.{candidate}" if self.path else candidate


class CallSite(Record):
    """Where a definition was applied."""

    span: Span
    what: str  # its kind and its name
    default: bool = False  # whether a default of it is evaluated, rather than its body
