"""What is compiled, trained, differentiated and drawn: a model's graph, and how it is trained.

A front end makes it: `elaborate` of a text, or Python of a graph from elsewhere. Nothing here knows of a text but by
the spans that errors point to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from compiler.graph import Graph, Layer, Value
from grammar.diagnostics import NablacError
from grammar.record import Record
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.comparisons import Form

Direction = Literal["max", "min"]
PARAMETER, GRADIENT = "param", "grad"  # what an optimizer's equations call what they update, and by what
# Inputs of a training step beside the batch: its number from 1, the key of its draws, and the factor of its rate.
STEP, SEED, RATE = "step", "seed", "rate"


@dataclass(frozen=True)
class DataStage:
    """One call of a data description, a source or a stage: every parameter by name, absent ones with their defaults."""

    name: str
    arguments: Mapping[str, Any]
    span: Span


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a train block; a default stands for what the block leaves out.

    None says that the setting does nothing, or that something else decides: `undecayed` then are the parameters of
    fewer than two axes, `monitor` is the loss of the validation data, and `mode` is what the metric is known for.
    """

    epochs: int = 10
    batch: int = 32
    accumulate: int = 1  # batches for each update
    patience: int | None = None  # epochs
    seed: int = 0
    validation: float | str = 0.0  # a share of the examples, or another file
    test: float | str = 0.0
    shuffle: bool = True
    clip_norm: float | None = None
    clip_value: float | None = None
    weight_decay: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    undecayed: tuple[str, ...] | None = None  # patterns of paths
    plateau: int | None = None  # epochs
    plateau_factor: float = 0.5
    min_change: float = 0.0
    monitor: str | None = None
    mode: Direction | None = None
    average: float | None = None  # the share that a running average keeps at each step
    freeze: tuple[str, ...] = ()  # patterns of paths


@dataclass(frozen=True, eq=False)
class UpdateEquations:
    """An optimizer's equations for parameters of one type, as a graph.

    `graph` takes `param`, `grad`, the states of the optimizer and, where it reads them, `step` and `seed`; its outputs
    are the next values of `param` and of the states, by their names. `first` are the states' first values, made of the
    inputs `param` and `seed` of `graph`; a state without one begins at 0. Nodes that `outside` reaches are none of the
    equations: they are a schedule's, which all parameters share.
    """

    graph: Graph
    first: Mapping[str, Value] = field(default_factory=dict)
    outside: tuple[Value, ...] = ()
    path: str = ""  # that the origins of its nodes have; it stands for the parameter's own


class OptimizerSpec(Record):
    """An optimizer's equations for each trained parameter by path; those of one type share theirs.

    A parameter whose type the equations do not fit has the error that says so: it is raised when a step is made.
    `learning_rate` is what the optimizer calls its `lr`, a number or a tensor that changes from step to step.
    """

    equations: Mapping[str, UpdateEquations | NablacError]
    learning_rate: float | Value | None = None


@dataclass(frozen=True, eq=False)
class TrainingSpec:
    """How a model is trained: loss, metrics and targets as values of the model's graph, the rest as settings."""

    loss: Value
    optimizer: OptimizerSpec
    step: Value  # an input: the step's number from 1, as schedules see it
    targets: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, Value] = field(default_factory=dict)
    best: Mapping[str, Direction] = field(default_factory=dict)  # of the metrics of which it is known
    spreads: tuple[tuple[Value, Value, Form], ...] = ()  # what a loss says of its operands beside data (see `spread`)
    data: tuple[DataStage, ...] = ()
    settings: TrainingSettings = TrainingSettings()
    updates: Mapping[str, Value] = field(default_factory=dict)  # next values of buffers: the model's and the loss's
    layers: Mapping[str, Layer] = field(default_factory=dict)  # of the model and of the loss
    span: Span | None = None
    over_epoch: Mapping[str, Span | None] = field(
        default_factory=dict
    )  # the metrics of all examples at once, and where

    def metric_of(self, monitor: str) -> str | None:
        """The metric that a `monitor` names, on training or validation data; None where it is the loss, or nothing."""
        return metric_of(monitor, self.metrics)


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """A model's graph, its hyperparameters by name, and how it is trained where that is known."""

    graph: Graph
    hypers: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingSpec | None = None


class ModelSource(Protocol):
    """What has a model's spec in both modes, as a text does."""

    def spec(self, *, training: bool) -> ModelSpec:
        """The model for training, or for inference; NablacError where it cannot be made."""


class SpecSource(Record):
    """A model whose specs are there already; one that is the same in both modes needs no second one."""

    inference: ModelSpec
    in_training: ModelSpec | None = None

    def spec(self, *, training: bool) -> ModelSpec:
        """The spec of the mode."""
        return self.in_training or self.inference if training else self.inference


def metric_of(monitor: str, metrics: Mapping[str, Value]) -> str | None:
    """The metric that a `monitor` names: itself, or `val_` and its name; None where there is no such metric."""
    return next((name for name in metrics if monitor in (name, f"val_{name}")), None)
