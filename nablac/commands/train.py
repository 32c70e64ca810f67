"""`nablac train`: a model trained as its train block says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.compiled import model_asked
from nablac.commands.options import (
    Finite,
    ModelOptions,
    asked,
    check_rename,
    output_options,
    resumable_options,
    run_options,
    weight_options,
)
from nablac.commands.output import is_quiet, note, print_json
from nablac.commands.progress import Progress
from nablac.commands.runs import read_run
from nablac.commands.signals import handled
from runtime.training.run_options import LEAST, MOST_VALIDATION

if TYPE_CHECKING:
    from runtime.renames import Rename
    from runtime.training.folder import RunFolder
    from runtime.training.loop import Loop
    from runtime.training.run_options import Options
    from runtime.training.training_run import Training

_SHOWN = 5  # of the rows and files that were left out; the run's skipped.txt has them all


def _whole(name: str) -> click.IntRange:
    return click.IntRange(LEAST[name])


@click.command()
@resumable_options
@run_options
@click.option("--epochs", type=_whole("epochs"), help="The number of epochs.  [default: the train block's]")
@click.option("--batch", type=_whole("batch"), help="Examples per batch.  [default: the train block's]")
@click.option("--validation", type=Finite(0, MOST_VALIDATION), help="The fraction of examples for validation.")
@click.option("--patience", type=_whole("patience"), help="Stop after this many epochs without improvement.")
@click.option("--data", type=click.Path(), help="Data to use instead of the train block's file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/MODEL/N]")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN", help="Resume a run from its newest checkpoint."
)
@click.option("--dry-run", is_flag=True, help="Check everything, run one step, write nothing.")
@click.option(
    "--overfit", type=_whole("overfit"), metavar="N", help="Train on N examples only, to see that it can fit them."
)
@click.option("--max-time", type=Finite(0), metavar="MINUTES", help="Save and stop after this time.")
@click.option("--limit-batches", type=_whole("limit_batches"), metavar="N", help="Use only N batches of each epoch.")
@click.option(
    "--keep", type=_whole("keep"), default=3, show_default=True, metavar="N", help="How many checkpoints to keep."
)
@click.option("--skip-broken", is_flag=True, help="Skip broken rows and files, and report how many.")
@weight_options
@output_options
def command(
    model: ModelOptions,
    epochs: int | None,
    batch: int | None,
    validation: float | None,
    patience: int | None,
    data: str | None,
    output: Path | None,
    resume: Path | None,
    dry_run: bool,
    overfit: int | None,
    max_time: float | None,
    limit_batches: int | None,
    keep: int,
    skip_broken: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train a model on the data of its train block; checkpoints, curves, weights and the compiled model go to a folder.

    Ctrl-C saves and stops; --resume RUN goes on as if nothing had happened. Without FILE it is of the run's own text.
    """
    from runtime.training.folder import RunFolder
    from runtime.training.run_options import Options
    from runtime.training.training_run import describe

    options = Options(
        epochs=epochs,
        batch=batch,
        validation=validation,
        patience=patience,
        seed=model.seed if asked("seed") else None,  # the option's own default is left to the block
        data=data,
        backend=model.backend,
        device=model.device,
        limit_batches=limit_batches,
        max_seconds=max_time * 60 if max_time is not None else None,
        overfit=overfit,
        skip_broken=skip_broken,
        keep=keep,
    )
    training = training_of(model, options) if resume is None else _resumed(model, resume, options, output)
    if not quiet:
        _announce(describe(training))
        announce_data(training)
        note_batches(training)
        _note_measured_whole(training)
    if dry_run:
        return _dry_run(training, as_json, quiet)
    if resume is None:
        loop = training.loop()
        folder = RunFolder.begin(output, training, loop)  # not before everything else is known to be right
    else:
        folder = RunFolder.existing(resume, training)
    with folder:
        if resume is not None:
            loop = training.loop(folder.checkpoints, resume=True)
            _note_damaged(loop)
        return _train(training, loop, folder, model.file, quiet, as_json)


def _note_measured_whole(training: Training) -> None:
    """Say which metrics have no figure of the batches that train."""
    whole = ", ".join(f"`{name}`" for name in training.measured_whole)
    if whole:
        verb = "compares" if len(training.measured_whole) == 1 else "compare"
        none = "" if len(training.data.parts["validation"]) else ", of which there is none"
        note(f"note: {whole} {verb} examples with one another: measured on validation data only{none}")


def _note_damaged(loop: Loop) -> None:
    for error in loop.damaged[:1]:
        note(f"note: {error.diagnostics[0].place} is damaged; the run resumes from an earlier checkpoint")


def _resumed(model: ModelOptions, folder: Path, options: Options, output: Path | None) -> Training:
    """A run as it was begun, and no other: that is compared when it goes on."""
    from runtime.data.fitted import read_fitted

    if output is not None:
        raise click.UsageError("-o names a new run's folder; a resumed run continues in its own")
    if model.weights is not None:
        raise click.UsageError("a resumed run has its own weights; without --resume, --weights starts a new run")
    run = read_run(folder)
    training = training_of(run.begun_model(model), run.begun_options(options))
    training.fitted = read_fitted(folder)  # fitted anew it could be to changed data
    return training


def training_of(
    model: ModelOptions, options: Options, *, evaluated: bool = False, tokenizer: Path | None = None
) -> Training:
    """The run that options describe; what they leave open is left to the train block.

    Of weights that are `evaluated` none may be missing; training begins what only the loss reads anew, and says so.
    The file of a `tokenizer` takes the place of the one that the weights were trained with.
    """
    from compiler.elaborate.models import TextSource
    from compiler.elaborate.presets import parse_settings
    from compiler.elaborate.program import load
    from compiler.types import DType
    from runtime.data.fitted import Fitted
    from runtime.text.tokenizers import read_tokenizer
    from runtime.training.training_run import Training
    from runtime.weights import read_renames

    hypers = parse_settings(model.set)
    program = load(model.file)
    source = TextSource(program, model_asked(program, model.model), model.preset, hypers, DType(model.dtype))
    training = Training(source, options, folder=model.data_folder)
    check_rename(model)
    if model.weights is not None:
        _begin_from(training, model.weights, read_renames(model.rename), evaluated)
    if tokenizer is not None:
        training.fitted = replace(training.known or Fitted(), tokenizer=read_tokenizer(tokenizer))
    return training


def _begin_from(training: Training, weights: Path, renames: list[Rename], evaluated: bool) -> None:
    """Take weights, and with them what they know of their data: they know no other units, classes or tokens."""
    from compiler.training.losses import whole_graph
    from runtime.initialization import stored
    from runtime.training.trained import load_trained

    every = whole_graph(training.inference)
    start = load_trained(
        weights,
        training.inference,
        renames,
        needed=every if evaluated else None,
        in_training=lambda: whole_graph(training.elaborated),
        say=lambda text: note(text, is_quiet()),
    )
    fresh = [f"`{op.path}`" for op in stored(every) if op.path not in start.weights]
    if fresh:
        shown = ", ".join(fresh[:_SHOWN]) + (", ..." if fresh[_SHOWN:] else "")
        note(f"note: {weights} has no {shown}, which the loss reads: initial values are drawn", is_quiet())
    training.start = start


def generates(training: Training) -> bool:
    """Whether a model was trained on texts to say what follows them."""
    from compiler.decode import generating_ends
    from grammar.diagnostics import NablacError

    try:
        generating_ends(training.inference.graph)
    except NablacError:
        return False
    return training.data.tokenizer is not None


def _announce(facts: dict[str, Any]) -> None:
    examples = ", ".join(f"{count:,} {part}" for part, count in facts["examples"].items() if count)
    where = facts["backend"] if facts["device"] == "cpu" else f"{facts['backend']} on {facts['device']}"
    size = f"{facts['parameters']:,} parameters"
    note(f"{facts['model']}: {size}, {examples} examples, batches of {facts['batch']}, {where}")


def announce_data(training: Training) -> None:
    """What of the data was left out or changed when it was read."""
    training.data  # noqa: B018 - reads it
    context = training.context
    if skipped := context.skipped:
        note(
            f"{len(skipped)} broken rows or files skipped" + (", the first of them:" if len(skipped) > _SHOWN else ":")
        )
        for each in skipped[:_SHOWN]:
            note(f"  {each}")
    for message, places in context.notes.items():
        more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
        note(f"note: {message}: {places[0]}{more}")


def note_batches(training: Training) -> None:
    """Say of a loss what its figure is, where it is not that of all examples at once."""
    if training.is_by_batches:
        what = "the loss compares the examples of a batch with one another"
        note(f"note: {what}: its value is the mean over batches of {training.batch}", is_quiet())


def _dry_run(training: Training, as_json: bool, quiet: bool) -> int:
    """One step and one evaluation on real examples; nothing is written."""
    from runtime.training.not_finite import NotFinite

    loop = training.loop()
    loop.settings = type(loop.settings)(epochs=1, limit_batches=1, seed=training.seed)
    try:
        loop.run()
    except NotFinite as error:
        raise training.explain_not_finite(loop, error) from error
    row = {name: values[-1] for name, values in loop.position.history.items() if name != "epoch"}
    if as_json:
        print_json(row)
    else:
        click.echo("one step runs: " + ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        note("nothing was written", quiet)
    return 0


def _train(training: Training, loop: Loop, folder: RunFolder, file: Path, quiet: bool, as_json: bool) -> int:
    from runtime.training.loop import Ending
    from runtime.training.not_finite import NotFinite
    from runtime.training.unit_notes import unit_notes

    text = f"{_quoted(file)} " if asked("file") else ""
    resume = f"nablac train {text}--resume {_quoted(folder.path)}"
    position, compiled = loop.position, None
    with Progress(loop, quiet or as_json) as progress, _signals() as caught:
        loop.stop = lambda: bool(caught)
        loop.events.batch = progress.batch

        def epoch_done(position: Any, row: dict[str, float]) -> None:
            folder.epoch(position, row)
            progress.epoch(position, row)

        loop.events.epoch = epoch_done
        try:
            loop.run()
        except NotFinite as error:
            note(f"the last good checkpoint is in {folder.checkpoints}")
            raise training.explain_not_finite(loop, error) from error
        if loop.ending is not Ending.INTERRUPTED:  # a signal that comes from now on finds a run that is finished
            compiled = folder.finish(training, training.trained(loop))
    if compiled is None:
        note(f"stopped and saved; resume with:   {resume}")
        return 130
    if as_json:
        facts = {
            "run": str(folder.path),
            "best_epoch": position.best_epoch,
            "best": position.best,
            "reason": loop.reason,
        }
        print_json({**facts, "monitor": loop.monitor, "history": position.history, "model": str(compiled)})
        return 0
    click.echo(f"{_result(loop)}; {loop.reason}")
    click.echo(f"{folder.path}: curves.svg, history.csv, weights.safetensors, model.onnx")
    for each in unit_notes(training.inference, training.data):
        note(each, quiet)
    note(f"resume:    {resume}{_longer(loop)}", quiet)
    note(f"evaluate:  nablac eval {_quoted(folder.path)}", quiet)
    if generates(training):
        note(f'generate:  nablac generate {_quoted(folder.path)} "TEXT"', quiet)
    else:
        note(f"run:       nablac run {_quoted(folder.path / 'model.onnx')} INPUT", quiet)
    return 0


def _longer(loop: Loop) -> str:
    """The options with which a run goes on that has ended: longer, and with more patience where that was at an end."""
    from runtime.training.loop import Ending

    position, settings = loop.position, loop.settings
    if loop.partial_epoch:
        return ""
    stopped_early = loop.ending is Ending.NO_IMPROVEMENT
    patience = f" --patience {position.epochs_since_best * 2}" if stopped_early else ""
    return f" --epochs {max(position.epoch * 2, settings.epochs)}{patience}"


def _result(loop: Loop) -> str:
    """The best epoch, and where the last one was left, what it had come to."""
    position, parts = loop.position, []
    if position.best is not None:
        parts.append(f"best epoch {position.best_epoch}: {loop.monitor} {position.best:.6g}")
    if loop.partial_epoch:
        value = loop.partial_epoch.get(loop.monitor, loop.partial_epoch["loss"])
        batches = f"{position.batch:,} of {loop.batches:,} batches"
        parts.append(f"epoch {position.epoch + 1} after {batches}: {loop.monitor} {value:.6g}")
    return ", ".join(parts) or "no best epoch: the monitor was never a number"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end training after the running step; a second one ends the command at once."""
    caught: list[int] = []

    def handle(number: int) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    with handled(handle):
        yield caught
