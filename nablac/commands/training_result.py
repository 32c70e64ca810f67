"""What `nablac train` prints when a run has ended: its result, and the commands that go on from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypedDict

import click

from compiler.elaborate.data import TABLES
from grammar.visible import shell_word
from nablac.commands.output import note, print_json

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.training.folder import RunFolder
    from runtime.training.loop import Loop
    from runtime.training.training_run import Training

_PREDICTABLE = (*TABLES, "images", "digits", "pairs")  # sources of data whose form `nablac predict` reads


class TrainJson(TypedDict):
    """A run that has ended; of one that was interrupted nothing is printed, and the exit status is 130 or 143."""

    run: Annotated[str, "its folder"]
    best_epoch: Annotated[int, "from 1: that of the weights; 0 if there is none"]
    best: Annotated[float | None, "the monitored quantity in it"]
    reason: Annotated[str, "why training has ended"]
    monitor: Annotated[str, "the quantity that the best epoch is chosen by"]
    history: Annotated[dict[str, list[float]], "every quantity by epoch, as in `history.json`"]
    model: Annotated[str, "the compiled model"]


def print_result(training: Training, loop: Loop, folder: RunFolder, compiled: Path, quiet: bool, as_json: bool) -> None:
    """Print the result of a run that has ended, and what can be done with it."""
    if as_json:
        position = loop.position
        facts: TrainJson = {
            "run": str(folder.path),
            "best_epoch": position.best_epoch,
            "best": position.best,
            "reason": loop.reason,
            "monitor": loop.monitor,
            "history": position.history,
            "model": str(compiled),
        }
        print_json(facts)
        return
    from runtime.training.unit_notes import unit_notes

    click.echo(f"{_result(loop)}; {loop.reason}")
    click.echo(f"{folder.path}: curves.svg, history.csv, weights.safetensors, model.onnx")
    for text in unit_notes(training.inference, training.data):
        note(text, quiet)
    _note_commands(training, loop, folder.path, quiet)


def resume_command(run: Path) -> str:
    """The command that resumes a run, with the run's own text of the model."""
    return f"nablac train --resume {shell_word(run)}"


def _note_commands(training: Training, loop: Loop, run: Path, quiet: bool) -> None:
    """Note the commands that go on from a run."""
    note(f"resume:    {resume_command(run)}{_options_to_go_on(loop)}", quiet)
    note(f"evaluate:  nablac eval {shell_word(run)}", quiet)
    if _generates(training):
        note(f'generate:  nablac generate {shell_word(run)} "TEXT"', quiet)
        return
    if training.spec.data and training.spec.data[0].name in _PREDICTABLE:
        note(f"predict:   nablac predict {shell_word(run)} INPUT", quiet)
    note(f"run:       nablac run {shell_word(run / 'model.onnx')} INPUT", quiet)


def _generates(training: Training) -> bool:
    """Whether the model was trained to generate text."""
    from compiler.decode import generating_ends
    from grammar.diagnostics import NablacError

    try:
        generating_ends(training.inference.graph)
    except NablacError:
        return False
    return training.data.tokenizer is not None


def _options_to_go_on(loop: Loop) -> str:
    """The options that continue an ended run: twice the epochs, and twice the patience if it stopped early."""
    from runtime.training.loop import Ending

    position, settings = loop.position, loop.settings
    if loop.partial_epoch:
        return ""
    stopped_early = loop.ending is Ending.NO_IMPROVEMENT
    patience = f" --patience {position.epochs_since_best * 2}" if stopped_early else ""
    return f" --epochs {max(position.epoch * 2, settings.epochs)}{patience}"


def _result(loop: Loop) -> str:
    """The best epoch, and the result of a last epoch that did not finish."""
    position, parts = loop.position, []
    if position.best is not None:
        parts.append(f"best epoch {position.best_epoch}: {loop.monitor} {position.best:.6g}")
    if loop.partial_epoch:
        value = loop.partial_epoch.get(loop.monitor, loop.partial_epoch["loss"])
        batches = f"{position.batch:,} of {loop.batches:,} batches"
        parts.append(f"epoch {position.epoch + 1} after {batches}: {loop.monitor} {value:.6g}")
    return ", ".join(parts) or "no best epoch: the monitor was never a number"
