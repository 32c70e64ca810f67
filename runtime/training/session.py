"""A training run: from a program and its options to a folder with weights, curves and a compiled model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.build import Elaborated, Program, elaborate_model
from compiler.graph import Graph
from compiler.measures import Measure
from compiler.passes.pipeline import optimize
from compiler.training import TrainingStep, measured_loss, training_step
from compiler.types import DType
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.backends import check_backend
from runtime.data.batches import Batches
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.initialization import initialize
from runtime.training import training_data
from runtime.training.checkpoints import Position, best_state, newest_checkpoint
from runtime.training.loop import Loop, Settings
from runtime.training.means import Means
from runtime.training.steppers import WALKED, NumpyStepper, OnnxStepper, Stepper, averaged
from runtime.training.surroundings import threads

if TYPE_CHECKING:
    from compiler.elaborate.training import TrainingSpec
    from compiler.types import Array
    from runtime.data.fitted import Fitted

_BATCH, _EPOCHS = 32, 10  # where neither the train block nor the command says


@dataclass(frozen=True)
class Options:
    """What a command may say beside the train block; None leaves it to the block."""

    epochs: int | None = None
    batch: int | None = None
    validation: float | None = None
    patience: int | None = None
    seed: int | None = None
    data: str | None = None  # in the place of the path that the block names
    backend: str = "numpy"
    device: str = "cpu"
    limit_batches: int | None = None
    max_seconds: float | None = None
    overfit: int | None = None
    skip_broken: bool = False
    checkpoint_seconds: float = 30.0
    keep: int = 3  # of the last checkpoints

    def __post_init__(self) -> None:
        check_backend(self.backend, self.device)


@dataclass
class Training:
    """Everything that a run needs, made when it is first asked for."""

    program: Program
    model: str | None = None
    preset: str | None = None
    hypers: Mapping[str, Any] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    weights: Mapping[str, Array] | None = None  # to begin from
    examples: Examples | None = None  # in the place of the train block's data
    folder: Path | None = None  # where relative paths of data begin, where that is not beside the model's file
    fitted: Fitted | None = None  # what a run has kept of its data, that goes on or whose weights are evaluated
    dtype: DType = DType.F32  # the float type

    @cached_property
    def elaborated(self) -> Elaborated:
        return self._elaborate(training=True)

    @cached_property
    def inference(self) -> Elaborated:
        return self._elaborate(training=False)

    def _elaborate(self, training: bool) -> Elaborated:
        return elaborate_model(
            self.program, model=self.model, preset=self.preset, hypers=self.hypers, training=training, dtype=self.dtype
        )

    @property
    def spec(self) -> TrainingSpec:
        self.step  # noqa: B018 - raises where there is no train block
        assert self.elaborated.training is not None
        return self.elaborated.training

    @cached_property
    def step(self) -> TrainingStep:
        return training_step(self.elaborated)

    @cached_property
    def _measured_loss(self) -> tuple[Graph, dict[str, Measure]]:
        return measured_loss(self.inference)

    @cached_property
    def step_graph(self) -> Graph:
        """The step, with the parts of what it measures as outputs too."""
        return optimize(self.step.measured, walked=self._walked)

    @cached_property
    def loss_graph(self) -> Graph:
        """The model with its loss and metrics for inference, with their parts too."""
        return optimize(self._measured_loss[0], walked=self._walked)

    @property
    def _walked(self) -> tuple[str, ...]:
        return WALKED if self.options.backend == "ort" else ()

    @property
    def name(self) -> str:
        return self.elaborated.graph.name

    @property
    def seed(self) -> int:
        return self.options.seed if self.options.seed is not None else int(self.spec.settings.get("seed", 0))

    @property
    def batch(self) -> int:
        return self.options.batch if self.options.batch is not None else int(self.spec.settings.get("batch", _BATCH))

    @cached_property
    def context(self) -> Context:
        return training_data.context_of(self)

    @cached_property
    def data(self) -> Examples:
        """The examples, by the names of the model's inputs and targets."""
        return training_data.examples_of(self)

    @property
    def inputs(self) -> dict[str, Any]:
        return {name: value.type for name, value in self.elaborated.graph.inputs.items() if name != "seed"}

    def first_state(self) -> dict[str, Array]:
        """First values of everything that the step reads or changes."""
        state = initialize(self.step_graph, self.seed, self.weights)
        for path, array in initialize(self.loss_graph, self.seed, self.weights).items():
            state.setdefault(path, array)
        for path in self.step.trained if self.step.averaged else ():
            state[f"average.{path}"] = state[path]
        return state

    def stepper(self, state: Mapping[str, Array]) -> Stepper:
        if self.options.backend == "numpy":
            return NumpyStepper(self.step_graph, self.loss_graph, state)
        return OnnxStepper(self.step_graph, self.loss_graph, state, device=self.options.device, threads=threads())

    def batches(self, part: str) -> Batches:
        shuffle = part == "training" and self.spec.settings.get("shuffle", True)
        return Batches(self.data, part, self.batch, shuffle=shuffle, seed=self.seed)

    def settings(self) -> Settings:
        given, options = self.spec.settings, self.options
        monitor = given.get("monitor", "")
        mode = given.get("mode", "max" if monitor.removeprefix("val_") in self.spec.rising else "min")
        return Settings(
            epochs=options.epochs if options.epochs is not None else int(given.get("epochs", _EPOCHS)),
            patience=options.patience if options.patience is not None else given.get("patience"),
            plateau=given.get("plateau"),
            plateau_factor=given.get("plateau_factor", 0.5),
            min_change=given.get("min_change", 0.0),
            accumulate=given.get("accumulate", 1),
            monitor=monitor,
            largest=mode == "max",
            seed=self.seed,
            limit_batches=options.limit_batches,
            max_seconds=options.max_seconds,
            checkpoint_seconds=options.checkpoint_seconds,
            keep=options.keep,
        )

    def loop(self, folder: Path | None = None, resume: bool = False) -> Loop:
        """The loop, at its start or where the newest checkpoint in `folder` left it."""
        damaged: list[NablacError] = []
        found = newest_checkpoint(folder, damaged) if resume and folder is not None else None
        if resume and found is None:
            hint = "its checkpoints are gone, or broken: train anew, without `--resume`"
            raise NablacError(Diagnostic("E841", f"{folder} holds no checkpoint to resume from", hint=hint))
        state, position = found if found is not None else (self.first_state(), Position())
        validation = self.batches("validation") if len(self.data.parts["validation"]) else None
        self._check_monitor(validation is not None)
        loop = Loop(
            self.stepper(state),
            self.batches("training"),
            validation,
            self.settings(),
            {
                name: value.type.dtype.numpy
                for graph in (self.step_graph, self.loss_graph)
                for name, value in graph.inputs.items()
            },
            Means(self.step.measures),
            Means(self._measured_loss[1]),
            folder,
            position,
        )
        loop.damaged = damaged
        if folder is not None and position.best is not None:
            loop.best = best_state(folder)
        return loop

    def _check_monitor(self, validated: bool) -> None:
        """What decides which epoch is best has to be measured."""
        asked = self.spec.settings.get("monitor")
        measured = list(self.step.graph.outputs)
        names = [*measured, *(f"val_{name}" for name in measured if validated)]
        if asked is not None and asked not in names:
            hint = did_you_mean(asked, names) or f"there are {', '.join(names)}"
            raise NablacError(Diagnostic("E615", f"nothing measures the `monitor` {asked}", self.spec.span, hint=hint))

    def model_weights(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """What of a state belongs to the model itself, averages in the place of what they average."""
        from runtime.initialization import stored

        current = averaged(state)
        return {op.path: current[op.path] for op in stored(self.inference.graph)}

    def model_graph(self) -> Graph:
        """The model for inference, taking and giving raw units where the data was scaled."""
        return optimize(training_data.graph_in_raw_units(self))

    def metadata(self) -> dict[str, str]:
        """What the compiled model's file says of its data: a text model's tokenizer, the names of classes."""
        return training_data.metadata_of(self.data)


def describe(training: Training) -> dict[str, Any]:
    """What is about to run, for a person and for `run.json`."""
    data = training.data
    return {
        "model": training.name,
        "parameters": sum(int(np.prod(value.type.shape or (1,))) for value in _trained(training)),
        "backend": training.options.backend,
        "device": training.options.device,
        "batch": training.batch,
        "epochs": training.settings().epochs,
        "seed": training.seed,
        "examples": {part: len(places) for part, places in data.parts.items()},
        "skipped": len(training.context.skipped),
    }


def _trained(training: Training) -> list[Any]:
    return [training.step.graph.updates[path] for path in training.step.trained]
