"""The spec of a model, which is compiled, trained, differentiated and drawn: its graph, and how it is trained.

A front end creates it: `compiler.elaborate` from a text, or Python code from another graph. It refers to the text only
by the spans of errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from compiler.graph import Graph, Value
from compiler.origins import Layer
from grammar.diagnostics import NablacError
from grammar.record import Record
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.comparisons import Form

Direction = Literal["max", "min"]
PARAMETER, GRADIENT = "param", "grad"  # the names in an optimizer's equations
# Inputs of a training step besides the batch: its number from 1, the random key, and the factor of the learning rate.
STEP, SEED, RATE = "step", "seed", "rate"
# Of a step shared out to workers: the index of the worker's first example in the whole batch, and the examples in that.
FIRST, WHOLE = "batch/first", "batch/whole"

PRECISIONS = ("f32", "bf16", "f16", "mixed")  # of training, by the names of options and settings

WEIGHTS = "weights"  # the stage of a data description that gives examples weights
EXAMPLE_WEIGHT = "sample_weight"  # and the input [batch] that it adds to a loss


def mask_name(target: str) -> str:
    """The input that is 1 where a target has an entry, and 0 where it is missing; no name of a text has a dot."""
    return f"{target}.mask"


def is_weight(name: str) -> bool:
    """Whether an input of a loss is a weight or a mask, which is never below 0."""
    return name == EXAMPLE_WEIGHT or name.endswith(".mask")


@dataclass(frozen=True)
class DataStage:
    """A source or stage of a data description with all its arguments by name, including defaults."""

    name: str
    arguments: Mapping[str, Any]
    span: Span


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a train block, with defaults for those that it does not set.

    None means that the setting is off, except for these defaults: `undecayed` are the parameters of fewer than two
    axes, `only` are all parameters, `monitor` is the loss on the validation data, and `mode` is the known direction of
    the metric.
    """

    epochs: int = 10
    batch: int = 32
    accumulate: int = 1  # batches for each update
    patience: int | None = None  # epochs
    seed: int = 0
    validation: float | str = 0.0  # a fraction of the examples, or another file
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
    average: float | None = None  # the fraction that a running average keeps at each step
    freeze: tuple[str, ...] = ()  # patterns of paths
    memory_budget: int | None = None  # bytes that a step may take
    only: tuple[str, ...] | None = None  # patterns of the paths that are trained
    rates: tuple[tuple[str, float], ...] = ()  # patterns of paths, and factors of the learning rate
    fresh: tuple[str, ...] = ()  # patterns of paths that start new, beside loaded weights
    precision: str | None = None  # one of PRECISIONS; None for that of the model


@dataclass(frozen=True, eq=False)
class UpdateEquations:
    """An optimizer's equations for parameters of one type, as a graph.

    The inputs of `graph` are `param`, `grad`, the states of the optimizer, and `step` and `seed` if they are used; its
    outputs are the next values of `param` and the states, by name. `first` are initial values of states, which may
    depend on the inputs `param` and `seed`; other states start at 0. `outside` are values that all parameters share,
    such as the learning rate of a schedule.
    """

    graph: Graph
    first: Mapping[str, Value] = field(default_factory=dict)
    outside: tuple[Value, ...] = ()
    path: str = ""  # the path in the origins of its nodes, which is replaced by the parameter's


class OptimizerSpec(Record):
    """An optimizer's equations for each trained parameter by path; parameters of one type share them.

    Where the equations do not fit the type of a parameter, there is an error instead, which is raised when a step is
    built. `learning_rate` is the optimizer's `lr`, a number or a tensor that changes from step to step.
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
    best: Mapping[str, Direction] = field(default_factory=dict)  # of metrics whose direction is known
    spreads: tuple[tuple[Value, Value, Form], ...] = ()  # declared by `spread`
    data: tuple[DataStage, ...] = ()
    settings: TrainingSettings = TrainingSettings()
    updates: Mapping[str, Value] = field(default_factory=dict)  # next values of buffers: the model's and the loss's
    layers: Mapping[str, Layer] = field(default_factory=dict)  # of the model and of the loss
    span: Span | None = None
    over_epoch: Mapping[str, Span | None] = field(
        default_factory=dict
    )  # the metrics of all examples at once, and where
    weights: Mapping[str, Value] = field(default_factory=dict)  # inputs that say how much examples and targets count
    weighted: Value | None = None  # the loss with them; None where all count alike

    @property
    def objective(self) -> Value:
        """What training minimises: the loss, with the weights of examples where they have some."""
        return self.loss if self.weighted is None else self.weighted

    def metric_of(self, monitor: str) -> str | None:
        """The metric that a `monitor` names, on training or validation data; None for the loss and unknown names."""
        return metric_of(monitor, self.metrics)


class Mode(StrEnum):
    """What a model computes: with dropout and the statistics of the batch, or as it is used afterwards."""

    TRAINING = "training"
    INFERENCE = "inference"


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """A model's graph, its hyperparameters by name, and how it is trained, if it is.

    `mode` is what the graph and the loss compute; None where that is the same in both modes, or not known.
    """

    graph: Graph
    hypers: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingSpec | None = None
    mode: Mode | None = None


class ModelSource(Protocol):
    """A source of a model's spec in both modes, such as a text."""

    def spec(self, *, training: bool) -> ModelSpec:
        """The spec for training or for inference; NablacError if the model has errors."""


class SpecSource(Record):
    """A source with existing specs; one is enough for a model that is the same in both modes."""

    inference: ModelSpec
    in_training: ModelSpec | None = None

    def spec(self, *, training: bool) -> ModelSpec:
        """The spec of the mode."""
        return self.in_training or self.inference if training else self.inference


def metric_of(monitor: str, metrics: Mapping[str, Value]) -> str | None:
    """The metric that a `monitor` names, possibly with the prefix `val_`; None if there is no such metric."""
    return next((name for name in metrics if monitor in (name, f"val_{name}")), None)
