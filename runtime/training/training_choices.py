"""The choices of a run: its model, its options, and what follows from them before its data is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.elaborate.models import TextSource
from compiler.model_spec import ModelSource, ModelSpec
from compiler.targets import NUMPY, Target
from compiler.training.losses import training_of
from compiler.training.mixed_precision import short_type
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.backends import device_named
from runtime.data.examples import Examples
from runtime.data.loading import load_examples
from runtime.training.run_options import Options
from runtime.training.trained import Trained, in_raw_data
from runtime.training.training_data import LoadExamples

if TYPE_CHECKING:
    from runtime.data.fitted import Fitted
    from runtime.workers.collective import Collective


@dataclass
class TrainingChoices:
    """The model of a run and its choices, before its data is read; what they leave open is left to the train block."""

    source: ModelSource
    options: Options = field(default_factory=Options)
    start: Trained | None = None  # the initial weights, with the fitted state of their data
    examples: Examples | None = None  # instead of the train block's data
    folder: Path | None = None  # where relative paths of data begin; by default the folder of the model's file
    fitted: Fitted | None = None  # the fitted state of a run that is resumed or evaluated
    load: LoadExamples = load_examples  # reads the train block's data
    keeps_raw: bool = False  # whether the examples keep their numbers before scaling too
    sizes: Mapping[str, int] | None = None  # of the named dims in a batch; by default those of the data
    without_budget: bool = False  # whether its steps take any amount of memory
    collective: Collective | None = None  # of the workers that share each batch; None where there is one
    target: Target | None = None  # of the file that its step is written to; by default that of its backend
    raw: bool = False  # whether batches are in raw units, which the graphs scale by the `known` state

    @cached_property
    def elaborated(self) -> ModelSpec:
        """The model in training mode, with its train block."""
        return self._spec_of_mode(training=True)

    @cached_property
    def inference(self) -> ModelSpec:
        """The model in inference mode, with its train block."""
        return self._spec_of_mode(training=False)

    def _spec_of_mode(self, training: bool) -> ModelSpec:
        spec = self.source.spec(training=training)
        return in_raw_data(spec, self.known) if self.raw else spec

    @property
    def text(self) -> TextSource:
        """The text of the model; NablacError for a model that has none."""
        if not isinstance(self.source, TextSource):
            raise NablacError(Diagnostic(codes.E612, f"{self.name} was not compiled from a text", place=self.name))
        return self.source

    @cached_property
    def data_folder(self) -> Path:
        """The folder where relative paths of data begin."""
        if self.folder is not None or not isinstance(self.source, TextSource):
            return self.folder or Path.cwd()
        return Path(os.path.realpath(self.source.program.source.name)).parent

    @property
    def known(self) -> Fitted | None:
        """The fitted state that is known before the data is read: of a resumed run, or of the initial weights."""
        return self.fitted or (self.start.fitted if self.start is not None else None)

    @property
    def memory_budget(self) -> int | None:
        """The bytes that a step may take: of the command, else of the block; None for any number."""
        budget = self.options.memory_budget
        if self.without_budget:
            return None
        return budget if budget is not None else training_of(self.elaborated).settings.memory_budget

    @property
    def precision(self) -> str:
        """The precision of the step's products: of the command, else of the block, else f32."""
        settings = training_of(self.elaborated).settings
        return self.options.precision or settings.precision or "f32"

    @property
    def short(self) -> DType | None:
        """The 16-bit floats of the step's products; None where they are in the model's own type."""
        return short_type(self.precision, self.target or self._target)

    @property
    def _target(self) -> Target:
        return device_named(self.options.device).target if self.options.backend == "ort" else NUMPY

    @property
    def name(self) -> str:
        """The model's name."""
        return self.elaborated.graph.name
