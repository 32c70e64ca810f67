"""The common setup of all trials of a study: the program with its ranges, options, and data."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.elaborate.model_choice import choose_model
from compiler.elaborate.models import TextSource
from compiler.elaborate.presets import parse_settings
from compiler.elaborate.program import Program, load, program_of
from compiler.elaborate.program_texts import SPEC
from compiler.training.losses import whole_graph
from compiler.types import DType
from grammar.source import Source
from runtime.search.shared_data import SharedData
from runtime.search.study_record import TrialOptions
from runtime.training.run_options import Options
from runtime.training.trained import load_trained
from runtime.training.training_run import Training

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class TrialSetup:
    """Creates the training of each trial, as `nablac train` would for its program. `say` is called with notes."""

    file: Path
    options: TrialOptions
    folder: Path | None = None  # where relative paths of data begin; by default the file's folder
    shared: SharedData = field(default_factory=SharedData)
    say: Callable[[str], object] = lambda text: None

    @cached_property
    def source(self) -> TextSource:
        """The program with its ranges; NablacError for its errors."""
        chosen = self.options
        return TextSource(load(self.file), chosen.model, chosen.preset, parse_settings(chosen.set), DType(chosen.dtype))

    @cached_property
    def name(self) -> str:
        """The model's name."""
        return choose_model(self.source.program, self.options.model).name

    @property
    def data_folder(self) -> Path:
        """Where relative paths of data begin."""
        return self.folder or Path(os.path.realpath(self.file)).parent

    def training(self, source: TextSource) -> Training:
        """The training of a program: that of the study, or of a trial."""
        chosen = self.options
        options = Options(
            epochs=chosen.epochs,
            patience=chosen.patience,
            validation=chosen.validation,
            data=chosen.data,
            backend=chosen.backend,
            device=chosen.device,
            skip_broken=chosen.skip_broken,
            threads=chosen.threads,
            keep=1,  # a study has many runs
        )
        training = Training(source, options, folder=self.data_folder, load=self.shared)
        if chosen.weights is not None:
            training.start = load_trained(
                chosen.weights,
                training.inference,
                in_training=lambda: whole_graph(training.elaborated),
                fresh=training.spec.settings.fresh,
                say=self.say,
            )
        return training

    def of_texts(self, texts: Mapping[str, str]) -> TextSource:
        """The program of a trial's texts, named like the file of the study; its hyperparameters are written in."""
        if len(texts) == 1:
            return self._trial(program_of(Source(str(self.file), texts[SPEC])))
        with tempfile.TemporaryDirectory(prefix="nablac-") as folder:
            for path, text in texts.items():
                file = Path(folder, self.file.name if path == SPEC else path)
                file.parent.mkdir(exist_ok=True)
                file.write_text(text, "utf-8", newline="")
            return self._trial(load(Path(folder, self.file.name)))

    def _trial(self, program: Program) -> TextSource:
        return TextSource(program, self.options.model, dtype=DType(self.options.dtype))
