"""`nablac train`: train a model as its train block specifies."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypedDict

import click

from compiler.elaborate.data import TABLES
from grammar.visible import shell_word
from nablac.commands.compilation_options import memory_budget_option, precision_option
from nablac.commands.completions import RunPath, complete_trackers
from nablac.commands.model_options import ModelOptions, fresh_option, resumable_options, weight_options
from nablac.commands.option_types import Finite, whole_number
from nablac.commands.options import output_options, run_options, training_options, was_given
from nablac.commands.output import note, print_json, remember, stage
from nablac.commands.runs import read_run
from nablac.commands.signals import collected_signals
from nablac.commands.training_setup import note_batchwise_loss, note_data, set_up_training
from nablac.commands.worker_options import WorkerOptions, train_on_ray, worker_options
from nablac.commands.worker_processes import alone, check_alike, connect, together
from nablac.run_progress import Progress

if TYPE_CHECKING:
    from nablac.callback_calls import CallbackCalls
    from runtime.training.folder import RunFolder
    from runtime.training.loop import Loop
    from runtime.training.not_finite import NotFinite
    from runtime.training.run_options import Options
    from runtime.training.training_run import Training
    from runtime.workers.collective import Collective

_PREDICTABLE = (*TABLES, "images", "digits", "pairs")  # sources of data whose form `nablac predict` reads


class TrainJson(TypedDict):
    """A run that has ended; of one that was interrupted nothing is printed, and the exit status is 130."""

    run: Annotated[str, "its folder"]
    best_epoch: Annotated[int, "from 1: that of the weights; 0 if there is none"]
    best: Annotated[float | None, "the monitored quantity in it"]
    reason: Annotated[str, "why training has ended"]
    monitor: Annotated[str, "the quantity that the best epoch is chosen by"]
    history: Annotated[dict[str, list[float]], "every quantity by epoch, as in `history.json`"]
    model: Annotated[str, "the compiled model"]


@click.command()
@resumable_options
@run_options
@training_options
@click.option(
    "--batch", type=whole_number("batch"), metavar="N", help="Examples per batch.  [default: from the train block]"
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this folder.  [default: runs/MODEL/N]")
@click.option("--resume", type=RunPath(), metavar="RUN", help="Resume a run from its latest checkpoint.")
@click.option("--dry-run", is_flag=True, help="Check everything and run one step, but write nothing.")
@click.option(
    "--overfit",
    type=whole_number("overfit"),
    metavar="N",
    help="Train on only N examples, to check that the model can fit them.",
)
@click.option("--max-time", type=Finite(0), metavar="MINUTES", help="Save and stop after this time.")
@click.option("--limit-batches", type=whole_number("limit_batches"), metavar="N", help="Use only N batches per epoch.")
@click.option(
    "--keep",
    type=whole_number("keep"),
    default=3,
    show_default=True,
    metavar="N",
    help="Keep the latest N checkpoints.",
)
@memory_budget_option
@precision_option
@click.option(
    "--read-every",
    type=whole_number("read_every"),
    metavar="N",
    help="Read the losses of N steps on cuda together, so that it need not wait for each.  [default: 10]",
)
@click.option(
    "--track",
    "trackers",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_trackers,
    help="Report the run to a tracker of experiments, as mlflow or wandb. Can be repeated.",
)
@click.option(
    "--jit/--no-jit",
    default=None,
    help="Compile loops for elementwise operators; needs nablac[jit].  [default: those of the update, where it pays]",
)
@worker_options
@weight_options
@fresh_option
@output_options
def command(
    model: ModelOptions,
    shared: WorkerOptions,
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
    memory_budget: int | None,
    precision: str | None,
    read_every: int | None,
    trackers: tuple[str, ...],
    jit: bool | None,
    skip_broken: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train a model.

    Trains on the data of the train block, and writes checkpoints, curves, the best weights and the compiled model to a
    folder. Ctrl-C saves and stops; --resume RUN continues as if the run had not been interrupted, with the run's own
    model if FILE is left out.

    With `mpirun -n 4 nablac train FILE` four workers share each batch, which is four times as large: `--batch` is that
    of a worker. `--engine ray --workers 4` starts the four, on this machine or a Ray cluster. A resumed run keeps the
    size of the whole batch, on any number of workers.

    \b
    Examples:
      nablac train forecaster --epochs 3
      nablac train forecaster --workers 2 --engine ray
    """
    from nablac.callback_calls import CallbackCalls
    from nablac.trackers.tracker_entries import trackers_of
    from runtime.thread_limits import asked_threads, with_threads
    from runtime.training.run_options import Options
    from runtime.training.run_record import describe
    from runtime.workers.environment import launched_workers, threads_of_worker

    shared.check(launched_workers())
    if resume is not None and output is not None:
        raise click.UsageError("-o names a new run's folder; a resumed run continues in its own")
    if resume is not None and model.weights is not None:
        raise click.UsageError("a resumed run has its own weights; without --resume, --weights starts a new run")
    options = Options(
        epochs=epochs,
        batch=batch,
        validation=validation,
        patience=patience,
        seed=model.seed if was_given("seed") else None,  # None leaves it to the train block
        data=data,
        backend=model.backend,
        device=model.device,
        jit=jit,
        limit_batches=limit_batches,
        max_seconds=max_time * 60 if max_time is not None else None,
        overfit=overfit,
        skip_broken=skip_broken,
        keep=keep,
        memory_budget=memory_budget,
        precision=precision,
        read_every=read_every,
        threads=asked_threads() if was_given("threads") else None,
        sync_batch_norm=shared.sync_batch_norm,
        overlap=shared.overlap,
    )
    if shared.starts_workers:
        device = model.device if resume is None else read_run(resume).record.choices.device
        return train_on_ray(shared, max_time, trackers, resume, device)
    workers = connect(shared.worker_timeout)
    speaks = workers is None or workers.rank == 0
    quiet = quiet or not speaks
    remember(quiet=quiet)
    with together(workers):
        if resume is None:
            training = set_up_training(model, options, fine_tunes=True, collective=workers)
            if workers is not None:
                training.options = replace(options, batch=training.batch * workers.size)
        else:
            training = _resumed(model, resume, options, workers)
        threads = training.options.threads or (threads_of_worker(workers.local_size) if workers is not None else None)
        click.get_current_context().with_resource(with_threads(threads))  # of a resumed run
        with stage("data read, and the step built"):
            training.data  # noqa: B018 - reads it
            training.step  # noqa: B018 - builds it
        training.require_memory()  # before it is described
    if workers is not None:
        with together(workers):
            check_alike(training, workers)
    if not quiet:
        _announce(describe(training))
        _note_budget(training)
        note_data(training)
        note_batchwise_loss(training)
        _note_measured_whole(training)
        _note_scaled_figures(training)
    if dry_run:
        with alone(workers):
            return _dry_run(training, as_json, quiet)
    calls = CallbackCalls((), trackers_of(trackers if speaks else (), note), note)
    with ExitStack() as stack:
        with together(workers):
            loop, folder = _begin(training, output, resume, speaks)
            if folder is not None:
                stack.enter_context(folder)
                if workers is not None:
                    workers.run_begun(folder.path)
        stack.enter_context(calls.failures())
        with alone(workers):
            if folder is None:
                status = _work(training, loop)
            else:
                status = _train(training, loop, folder, calls, quiet, as_json)
        if workers is not None:
            workers.gather(None)  # the launcher ends all when one of them ends
        return status


def _begin(training: Training, output: Path | None, resume: Path | None, writes: bool) -> tuple[Loop, RunFolder | None]:
    """The loop at its start or at the newest checkpoint, and the folder of a worker that `writes`."""
    from runtime.training.folder import RunFolder

    if resume is None:
        loop = training.loop()
        # Last, when nothing else can fail.
        return loop, RunFolder.begin(output, training, loop) if writes else None
    if not writes:
        loop = training.loop(RunFolder.checkpoints_of(resume), resume=True)
        loop.folder = None
        return loop, None
    folder = RunFolder.resume(resume, training)
    try:
        loop = training.loop(folder.checkpoints, resume=True)
    except BaseException:
        folder.__exit__()
        raise
    _note_damaged(loop)
    return loop, folder


def _work(training: Training, loop: Loop) -> int:
    """The part of a worker that neither speaks nor writes."""
    from runtime.training.loop import Ending
    from runtime.training.not_finite import NotFinite

    with collected_signals() as caught:
        loop.stop = lambda: bool(caught)
        try:
            loop.run()
        except NotFinite as error:
            _end_not_finite(training, loop, error)
    return 130 if loop.ending is Ending.INTERRUPTED else 0


def _end_not_finite(training: Training, loop: Loop, error: NotFinite) -> NoReturn:
    """Raise the explanation, which all workers look for."""
    with together(training.collective):
        raise training.explain_not_finite(loop, error) from error
    raise AssertionError


def _note_measured_whole(training: Training) -> None:
    """Note the metrics that are not computed on training batches."""
    names = ", ".join(f"`{name}`" for name in training.measured_whole)
    if names:
        verb = "compares" if len(training.measured_whole) == 1 else "compare"
        none = "" if len(training.data.parts["validation"]) else ", of which there is none"
        note(f"note: {names} {verb} examples with one another: measured on validation data only{none}")


def _note_scaled_figures(training: Training) -> None:
    from runtime.training.unit_notes import has_scaled_figures

    if has_scaled_figures(training.inference, training.data):
        note("units: the loss and the metrics are in scaled units; `nablac eval` has errors in those of the data")


def _note_budget(training: Training) -> None:
    """Note what a memory budget changes of a step."""
    from runtime.training.budget_use import budget_use

    if training.memory_budget is not None:
        note(f"memory budget: {budget_use(training).describe()}")


def _note_damaged(loop: Loop) -> None:
    for error in loop.damaged[:1]:
        note(f"note: {error.diagnostics[0].place} is damaged; the run resumes from an earlier checkpoint")


def _resumed(model: ModelOptions, folder: Path, options: Options, workers: Collective | None) -> Training:
    """The training of a run with the options that it was started with."""
    from runtime.data.fitted import read_fitted

    if workers is not None and options.batch is not None:
        options = replace(options, batch=options.batch * workers.size)  # the record has that of all workers
    run = read_run(folder)
    training = set_up_training(run.recorded_model(model), run.recorded_options(options), collective=workers)
    training.fitted = read_fitted(folder)  # read, since the data may have changed
    return training


def generates(training: Training) -> bool:
    """Whether the model was trained to generate text."""
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
    shared = f" over {facts['workers']} workers" if facts["workers"] > 1 else ""
    compiled = ", update compiled by numba" if facts["compiles_update"] else ""
    note(f"{facts['model']}: {size}, {examples} examples, batches of {facts['batch']}{shared}, {where}{compiled}")


def _dry_run(training: Training, as_json: bool, quiet: bool) -> int:
    """One step and one evaluation on real examples; nothing is written."""
    from runtime.training.not_finite import NotFinite

    training.options = replace(training.options, epochs=1, limit_batches=1)
    loop = training.loop()
    try:
        loop.run()
    except NotFinite as error:
        _end_not_finite(training, loop, error)
    row = {name: values[-1] for name, values in loop.position.history.items() if name != "epoch"}
    if training.collective is not None and training.collective.rank:
        return 0
    if as_json:
        print_json(row)
    else:
        click.echo("one step runs: " + ", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        note("nothing was written", quiet)
    return 0


def _train(
    training: Training,
    loop: Loop,
    folder: RunFolder,
    calls: CallbackCalls,
    quiet: bool,
    as_json: bool,
) -> int:
    from nablac.callback_calls import history_of
    from runtime.training.loop import Ending
    from runtime.training.not_finite import NotFinite
    from runtime.training.unit_notes import unit_notes

    resume = f"nablac train --resume {shell_word(folder.path)}"  # with the run's own text of the model
    position, compiled = loop.position, None
    with Progress(loop, quiet or as_json, note) as progress, collected_signals() as caught:
        loop.stop = lambda: bool(caught)

        def batch_done(position: Any, batches: int, means: dict[str, float]) -> None:
            progress.batch(position, batches, means)
            calls.batch(position, batches, means)

        def epoch_done(position: Any, row: dict[str, float]) -> None:
            folder.write_epoch(position, row)
            progress.epoch(position, row)
            calls.epoch(position, row)

        loop.events.batch, loop.events.epoch = batch_done, epoch_done
        calls.begin(training, loop, folder.path)
        try:
            with stage("trained"):
                loop.run()
        except NotFinite as error:
            note(f"the last good checkpoint is in {folder.checkpoints}")
            _end_not_finite(training, loop, error)
        if loop.ending is not Ending.INTERRUPTED:  # from here on a signal no longer interrupts the run
            with stage("weights and compiled model written"):
                compiled = folder.finish(training, training.trained(loop))
    if compiled is None:
        calls.interrupt()
        note(f"stopped and saved; resume with:   {resume}")
        return 130
    calls.end(history_of(training, loop, folder.path))
    if as_json:
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
        return 0
    click.echo(f"{_result(loop)}; {loop.reason}")
    click.echo(f"{folder.path}: curves.svg, history.csv, weights.safetensors, model.onnx")
    for text in unit_notes(training.inference, training.data):
        note(text, quiet)
    note(f"resume:    {resume}{_options_to_go_on(loop)}", quiet)
    note(f"evaluate:  nablac eval {shell_word(folder.path)}", quiet)
    if generates(training):
        note(f'generate:  nablac generate {shell_word(folder.path)} "TEXT"', quiet)
    else:
        if training.spec.data and training.spec.data[0].name in _PREDICTABLE:
            note(f"predict:   nablac predict {shell_word(folder.path)} INPUT", quiet)
        note(f"run:       nablac run {shell_word(folder.path / 'model.onnx')} INPUT", quiet)
    return 0


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
