"""`nablac train`: a model trained as its train block says."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.options import Finite, model_asked, model_options, output_options, run_options, weight_options
from nablac.commands.output import note, print_json
from nablac.commands.progress import Progress

if TYPE_CHECKING:
    from runtime.text.tokenizers import Tokenizer
    from runtime.training.folder import RunFolder
    from runtime.training.loop import Loop
    from runtime.training.session import Training

# What a resumed run takes over from the run that it goes on with.
KEPT = ("name", "preset", "settings", "batch", "validation", "patience", "seed", "data", "backend", "device", "epochs")


@click.command()
@model_options
@run_options
@click.option("--epochs", type=click.IntRange(1), help="How often to see all examples.  [default: the train block's]")
@click.option("--batch", type=click.IntRange(1), help="Examples in a step.  [default: the train block's]")
@click.option("--validation", type=click.FloatRange(0, 0.9), help="The share of examples that validates.")
@click.option("--patience", type=click.IntRange(1), help="Stop after so many epochs without a better one.")
@click.option("--data", type=click.Path(), help="Data in the place of the file that the train block names.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/MODEL/N]")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a run, from its checkpoint.")
@click.option("--dry-run", is_flag=True, help="Check everything, run one step, write nothing.")
@click.option("--overfit", type=click.IntRange(1), metavar="N", help="Train on N examples alone, to see that it can.")
@click.option("--max-time", type=Finite(0), metavar="MINUTES", help="Save and stop after so long.")
@click.option("--limit-batches", type=click.IntRange(1), metavar="N", help="Only N batches in each epoch.")
@click.option(
    "--keep", type=click.IntRange(1), default=3, show_default=True, metavar="N", help="Of the last checkpoints."
)
@click.option("--skip-broken", is_flag=True, help="Leave out broken rows and files, and count them.")
@weight_options
@output_options
def command(file: Path, output: Path | None, resume: Path | None, dry_run: bool, **given: Any) -> int:
    """Train a model on the data of its train block; checkpoints, curves, weights and the compiled model go to a folder.

    Ctrl-C saves and stops; --resume RUN goes on as if nothing had happened.
    """
    from runtime.training.folder import RunFolder

    folder: RunFolder | None = None
    if resume is not None:
        folder, record = RunFolder.existing(resume)
        given |= {name: record["command"].get(name) for name in KEPT if not given[name] or name not in ("epochs",)}
        _same_text(file, record, resume)
    quiet, as_json = given["quiet"], given["as_json"]
    training = training_of(file, given)
    if folder is not None:
        training.tokenizer = folder.tokenizer()  # learnt anew it could be of changed data
    from runtime.training.session import describe

    facts = describe(training)
    if not quiet:
        _announce(facts)
    if dry_run:
        return _dry_run(training, as_json, quiet)
    loop = training.loop(folder.checkpoints if folder is not None else None, resume is not None)
    if folder is None:  # not before everything else is known to be right
        folder = RunFolder.fresh(output, training.name)
        kept = {name: given[name] for name in KEPT}
        folder.begin(training, {**kept, "file": str(file)}, facts)
        loop.folder = folder.checkpoints
    return _train(training, loop, folder, file, quiet, as_json)


def training_of(file: Path, given: Mapping[str, Any]) -> Training:
    """The run that a command's options describe; what is not given is left to the train block."""
    from compiler.build import load, parse_setting
    from compiler.types import DType
    from runtime.training.session import Options, Training
    from runtime.weights import load_weights, read_renames

    minutes = given.get("max_time")
    options = Options(
        epochs=given.get("epochs"),
        batch=given.get("batch"),
        validation=given.get("validation"),
        patience=given.get("patience"),
        data=given.get("data"),
        limit_batches=given.get("limit_batches"),
        overfit=given.get("overfit"),
        seed=given["seed"] or None,
        backend=given.get("backend", "numpy"),
        device=given.get("device", "cpu"),
        max_seconds=minutes * 60 if minutes is not None else None,
        skip_broken=given.get("skip_broken", False),
        keep=given.get("keep", 3),
    )
    hypers = dict(parse_setting(each) for each in given["settings"])
    program = load(file)
    training = Training(
        program,
        model_asked(program, given["name"]),
        given["preset"],
        hypers,
        options,
        dtype=DType(given.get("dtype", "f32")),
    )
    if given["weights"] is not None:
        training.weights = load_weights(given["weights"], training.inference.graph, read_renames(given["rename"]))
    training.tokenizer = tokenizer_of(given)
    return training


def tokenizer_of(given: Mapping[str, Any]) -> Tokenizer | None:
    """What `--tokenizer` names, or what the run has whose weights are taken: they know no other tokens."""
    from runtime.text.tokenizers import read_tokenizer
    from runtime.training.folder import RunFolder

    if given.get("tokenizer") is not None:
        return read_tokenizer(given["tokenizer"])
    weights = given["weights"]
    folder = weights if weights is None or weights.is_dir() else weights.parent
    return RunFolder(folder).tokenizer() if folder is not None and (folder / "run.json").is_file() else None


def _same_text(file: Path, record: dict[str, Any], run: Path) -> None:
    """A run goes on with the model that it began with."""
    from compiler.build import load
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.training.session import fingerprint

    if fingerprint(load(file)) != record.get("text"):
        hint = f"{run / 'spec.model'} is what the run began with; a changed model is a new run, from `--weights`"
        raise NablacError(Diagnostic("E841", f"{file} has changed since {run} began", place=str(file), hint=hint))


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
    if facts["skipped"]:
        note(f"{facts['skipped']} broken rows or files left out")


def _dry_run(training: Training, as_json: bool, quiet: bool) -> int:
    """One step and one evaluation on real examples; nothing is written."""
    from runtime.training.not_finite import NotFinite, explain_not_finite

    loop = training.loop()
    loop.settings = type(loop.settings)(epochs=1, limit_batches=1, seed=training.seed)
    try:
        loop.run()
    except NotFinite as error:
        raise explain_not_finite(training, loop, error) from error
    row = {name: values[-1] for name, values in loop.position.history.items() if name != "epoch"}
    if as_json:
        print_json(row)
    else:
        click.echo("one step runs: " + ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        note("nothing was written", quiet)
    return 0


def _train(training: Training, loop: Loop, folder: RunFolder, file: Path, quiet: bool, as_json: bool) -> int:
    from runtime.training.not_finite import NotFinite, explain_not_finite

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
            raise explain_not_finite(training, loop, error) from error
    resume = f"nablac train {_quoted(file)} --resume {_quoted(folder.path)}"
    if caught:
        note(f"stopped and saved; go on with:  {resume}")
        return 130
    weights = training.model_weights(loop.best or loop.stepper.state())
    compiled = folder.finish(training, weights)
    position = loop.position
    if as_json:
        facts = {
            "run": str(folder.path),
            "best_epoch": position.best_epoch,
            "best": position.best,
            "reason": loop.reason,
        }
        print_json({**facts, "monitor": loop.monitor, "history": position.history, "model": str(compiled)})
        return 0
    best = position.best if position.best is not None else float("nan")
    click.echo(f"best epoch {position.best_epoch}: {loop.monitor} {best:.6g}; {loop.reason}")
    click.echo(f"{folder.path}: curves.svg, history.csv, weights.safetensors, model.onnx")
    note(f"go on:     {resume} --epochs {position.epoch * 2}", quiet)
    note(f"evaluate:  nablac eval {_quoted(file)} --weights {_quoted(folder.path / 'weights.safetensors')}", quiet)
    if generates(training):
        note(f'generate:  nablac generate {_quoted(folder.path)} "TEXT"', quiet)
    else:
        note(f"run:       nablac run {_quoted(folder.path / 'model.onnx')} INPUT", quiet)
    return 0


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end training after the running step; a second one ends it at once."""
    caught: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
