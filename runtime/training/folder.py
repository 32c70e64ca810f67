"""The folder of a run, `runs/<model>/<n>/`: its settings, history, curves, checkpoints and results."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from compiler.elaborate.program_texts import IMPORTED, SPEC, collect_texts
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.visible import shell_word
from runtime.atomic_files import Unwritable, move_folder, scratch, write_bytes
from runtime.data.fitted import DATA, TOKENS
from runtime.data.recipe import write_recipe
from runtime.new_folders import FolderKind, make_parent, new_folder
from runtime.training.checkpoints import Position, save_checkpoint
from runtime.training.curves import curves
from runtime.training.events import EventWriter
from runtime.training.option_wording import COMMAND_LINE, OptionWording
from runtime.training.run_record import describe, read_record, read_record_and_facts, record_of, write_record
from runtime.training.run_sessions import begun_session, ended_session, with_session
from runtime.training.trained import RECORD, Trained, save_trained
from runtime.training.training_run import Training

if TYPE_CHECKING:
    from runtime.training.loop import Loop

WEIGHTS, _LOCK = "weights.safetensors", "lock"
RUN = FolderKind("run", RECORD, codes.E843)
_OWN = frozenset((RECORD, WEIGHTS, _LOCK, DATA, TOKENS, SPEC, IMPORTED, "checkpoints", "skipped.txt")) | {
    *("history.csv", "history.json", "curves.svg", "model.onnx")
}


def is_own(path: Path) -> bool:
    """Whether a path, relative to a run's folder, is of a file that the run writes."""
    name = path.parts[0]
    return name in _OWN or name.startswith(("events.out.tfevents.", "model.onnx."))


def weights_of(run: Path) -> Path:
    """The file of the best weights of a run; NablacError if it is not finished."""
    weights = run / WEIGHTS
    if not weights.is_file():
        hint = f"`nablac train --resume {shell_word(run)}` finishes it"
        raise NablacError(
            Diagnostic(codes.E853, f"{run} is not finished: it has no weights", place=str(run), hint=hint)
        )
    return weights


class RunFolder:
    """A run's folder, created by `begin` or opened by `resume`, to be used in a `with` block.

    It is locked for other processes until the end of the block.
    """

    def __init__(self, path: Path, higher_is_better: Collection[str] = ()) -> None:
        self.path, self.higher_is_better = path, higher_is_better
        self.checkpoints = self.checkpoints_of(path)
        self._events: EventWriter | None = None
        self._lock = FileLock(path / _LOCK, thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            message = f"another process is training in {path}"
            hint = "two would overwrite each other: wait for it, or stop it"
            raise NablacError(Diagnostic(codes.E841, message, place=str(path), hint=hint)) from None
        except OSError as error:
            raise Unwritable(path, error) from error

    @staticmethod
    def checkpoints_of(path: Path) -> Path:
        """The folder of the checkpoints of a run."""
        return path / "checkpoints"

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._events is not None:
            self._events.close()
        self._lock.release()

    @staticmethod
    def begin(path: Path | None, training: Training, loop: Loop, kind: FolderKind = RUN) -> RunFolder:
        """Create a folder with everything that defines the run: `path`, or the next number under `runs/<model>`.

        It is created atomically and contains a first checkpoint, so that a killed run can always be resumed.
        """
        target = new_folder(path, Path("runs") / training.name.lower(), kind)
        make_parent(target)
        with scratch(target) as draft:
            (draft / "checkpoints").mkdir()
            for name, text in collect_texts(training.text.program).items():
                (draft / name).parent.mkdir(exist_ok=True)
                write_bytes(draft / name, text.encode())
            write_recipe(draft, training.recipe)
            if training.context.skipped:
                write_bytes(draft / "skipped.txt", ("\n".join(training.context.skipped) + "\n").encode())
            save_checkpoint(draft / "checkpoints", loop.stepper.state(), loop.position, 1)
            write_record(draft, record_of(training, target), with_session(describe(training), begun_session()))
            move_folder(draft, target)
        folder = RunFolder(target, training.higher_is_better)
        loop.folder = folder.checkpoints
        return folder

    @staticmethod
    def resume(path: Path, training: Training, wording: OptionWording = COMMAND_LINE) -> RunFolder:
        """Open the folder of a run to continue; NablacError if `training` differs, or the folder is not writable."""
        read_record(path)  # no lock is created in a folder that is not a run's
        with ExitStack() as stack:
            folder = stack.enter_context(RunFolder(path, training.higher_is_better))
            (before, facts), now = read_record_and_facts(path), record_of(training, path)
            before.check(now, path, wording)
            for draft in [*path.glob(".*.part"), *path.glob("checkpoints/.*.part")]:  # of a killed run
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)
            facts = with_session({**facts, **describe(training)}, begun_session())
            write_record(path, replace(now, model_file=before.model_file), facts)
            stack.pop_all()  # the caller closes it
        return folder

    def write_epoch(self, position: Position, row: Mapping[str, float]) -> None:
        """Write the history so far as CSV, as JSON (with Keras's keys), as curves, and for TensorBoard."""
        history = position.history
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(history)
        writer.writerows([f"{value:.9g}" for value in values] for values in zip(*history.values(), strict=True))
        write_bytes(self.path / "history.csv", text.getvalue().encode())
        known = {name: [mean if math.isfinite(mean) else None for mean in values] for name, values in history.items()}
        write_bytes(self.path / "history.json", (json.dumps(known, indent=2) + "\n").encode())
        picture = curves(history, f"{self.path.parent.name} {self.path.name}", self.higher_is_better)
        write_bytes(self.path / "curves.svg", picture.encode())
        if self._events is None:
            self._events = EventWriter(self.path)
        self._events.write_scalars(position.epoch, row)

    def finish(self, training: Training, trained: Trained) -> Path | None:
        """Write the final weights, and the model compiled with them; returns the path of the model."""
        from compiler.onnx.exporter import export
        from compiler.passes.known_weights import with_known_weights
        from runtime.onnx_file import save

        save_trained(self.path / WEIGHTS, trained)
        known = with_known_weights(training.model_graph(), trained.weights)
        model = export(known.graph, weights=known.weights, metadata=training.metadata(), largest=0)
        written = save(model, self.path / "model.onnx", known.weights)[0]
        record, facts = read_record_and_facts(self.path)
        write_record(self.path, record, ended_session(facts))
        return written
