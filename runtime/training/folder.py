"""What a run leaves on the disk: `runs/<model>/<n>/` with its settings, history, curves, checkpoints and results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grammar.diagnostics import Diagnostic, NablacError
from runtime.files import unwritable, write_bytes
from runtime.text.places import place_metadata
from runtime.text.tokenizers import read_tokenizer
from runtime.training.checkpoints import Position
from runtime.training.curves import curves
from runtime.training.events import EventWriter
from runtime.training.session import Training, fingerprint

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.text.tokenizers import Tokenizer

TOKENS = "tokenizer.json"


class RunFolder:
    """A run's own folder; made by `fresh`, found again by `existing`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._events: EventWriter | None = None

    @staticmethod
    def fresh(path: Path | None, model: str) -> RunFolder:
        """A new folder: the one asked for, or the next number under `runs/<model>`."""
        if path is None:
            base = Path("runs") / model.lower()
            taken = [int(each.name) for each in base.glob("*") if each.name.isdigit()] if base.is_dir() else []
            path = base / str(max(taken, default=0) + 1)
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            hint = f"`--resume {path}` goes on with a run; another `-o` begins one"
            raise NablacError(Diagnostic("E843", f"{path} is there already, and not empty", place=str(path), hint=hint))
        folder = RunFolder(path)
        try:
            folder.checkpoints.mkdir(parents=True)
        except OSError as error:
            raise unwritable(path, error) from error
        return folder

    @staticmethod
    def existing(path: Path) -> tuple[RunFolder, dict[str, Any]]:
        """A run to go on with, and how it was begun."""
        try:
            record = json.loads((path / "run.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            hint = "name the folder that `nablac train` printed"
            raise NablacError(Diagnostic("E841", f"{path} is no run to resume", place=str(path), hint=hint)) from error
        return RunFolder(path), record

    def begin(self, training: Training, command: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Keep what the run is made of: the text of the model, and how it was asked for."""
        self._json("run.json", {"command": command, "text": fingerprint(training.program), **facts})
        write_bytes(self.path / "spec.model", training.program.source.text.encode())
        if training.data.tokenizer is not None:
            write_bytes(self.path / TOKENS, training.data.tokenizer.to_json().encode())

    def tokenizer(self) -> Tokenizer | None:
        """What the run began with, if it is a run on texts: learnt anew it could differ."""
        path = self.path / TOKENS
        return read_tokenizer(path) if path.is_file() else None

    def epoch(self, position: Position, row: Mapping[str, float]) -> None:
        """The history up to now, as a table, as JSON (Keras's keys), as a picture, and for TensorBoard."""
        history = position.history
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(history)
        writer.writerows([f"{value:.9g}" for value in values] for values in zip(*history.values(), strict=True))
        write_bytes(self.path / "history.csv", text.getvalue().encode())
        self._json("history.json", history)
        write_bytes(self.path / "curves.svg", curves(history, f"{self.path.parent.name} {self.path.name}").encode())
        if self._events is None:
            self._events = EventWriter(self.path)
        self._events.scalars(position.epoch, row)

    def finish(self, training: Training, weights: Mapping[str, Array]) -> Path | None:
        """The final weights, and the model compiled with them."""
        from compiler.onnx.exporter import export
        from runtime.onnx_file import save
        from runtime.weights import save_weights

        if self._events is not None:
            self._events.close()
        save_weights(self.path / "weights.safetensors", dict(weights))
        graph = training.model_graph()
        metadata = {"nablac.model": training.name, **training.metadata(), **place_metadata(training.inference.graph)}
        model = export(graph, weights=dict(weights), metadata=metadata)
        return save(model, self.path / "model.onnx", dict(weights))[0]

    def _json(self, name: str, value: Any) -> None:
        write_bytes(self.path / name, (json.dumps(value, indent=2) + "\n").encode())
