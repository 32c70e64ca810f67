"""`nablac train`: train a model as its train block specifies."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nablac.commands.compilation_options import memory_budget_option, precision_option
from nablac.commands.completions import RunPath, complete_trackers
from nablac.commands.model_options import ModelOptions, fresh_option, resumable_options, weight_options
from nablac.commands.option_types import Finite, NamedPath, whole_number
from nablac.commands.options import output_options, run_options, training_options, was_given
from nablac.commands.output import note, print_json, remember, stage
from nablac.commands.runs import read_run
from nablac.commands.signals import collected_signals, status_of_stopped
from nablac.commands.training_notes import note_damaged, note_training
from nablac.commands.training_result import print_result, resume_command
from nablac.commands.training_setup import set_up_training
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


@click.command()
@resumable_options
@run_options
@training_options
@click.option(
    "--batch", type=whole_number("batch"), metavar="N", help="Examples per batch.  [default: from the train block]"
)
@click.option("-o", "--output", type=NamedPath(), help="Write to this folder.  [default: runs/MODEL/N]")
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
    Example:
      nablac train forecaster --epochs 3

    \b
    With the extra nablac[ray]:
      nablac train forecaster --workers 2 --engine ray
    """
    from nablac.callback_calls import CallbackCalls
    from nablac.trackers.tracker_entries import trackers_of
    from runtime.thread_limits import asked_threads
    from runtime.training.run_options import Options
    from runtime.workers.environment import launched_workers

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
    is_first = workers is None or workers.rank == 0  # which prints and writes
    quiet = quiet or not is_first
    remember(quiet=quiet)
    with together(workers):
        training = _set_up(model, resume, options, workers)
    if workers is not None:
        with together(workers):
            check_alike(training, workers)
    if not quiet:
        note_training(training)
    if dry_run:
        with alone(workers):
            return _dry_run(training, as_json, quiet)
    calls = CallbackCalls((), trackers_of(trackers if is_first else (), note), note)
    with ExitStack() as stack:
        with together(workers):
            loop, folder = _begin(training, output, resume, is_first)
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


def _set_up(model: ModelOptions, resume: Path | None, options: Options, workers: Collective | None) -> Training:
    """The training, with its data read and its step built, and the threads that it runs on."""
    from runtime.thread_limits import with_threads
    from runtime.workers.environment import threads_of_worker

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
    return training


def _resumed(model: ModelOptions, folder: Path, options: Options, workers: Collective | None) -> Training:
    """The training of a run with the options that it was started with."""
    from runtime.data.fitted import read_fitted

    if workers is not None and options.batch is not None:
        options = replace(options, batch=options.batch * workers.size)  # the record has that of all workers
    run = read_run(folder)
    training = set_up_training(run.recorded_model(model), run.recorded_options(options), collective=workers)
    training.fitted = read_fitted(folder)  # read, since the data may have changed
    return training


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
    note_damaged(loop)
    return loop, folder


def _work(training: Training, loop: Loop) -> int:
    """The part of a worker that neither prints nor writes; the exit status."""
    from runtime.training.loop import Ending
    from runtime.training.not_finite import NotFinite

    with collected_signals() as caught:
        loop.stop = lambda: bool(caught)
        try:
            loop.run()
        except NotFinite as error:
            _end_not_finite(training, loop, error)
    return status_of_stopped(caught) if loop.ending is Ending.INTERRUPTED else 0


def _end_not_finite(training: Training, loop: Loop, error: NotFinite) -> NoReturn:
    """Raise the explanation, which all workers look for."""
    with together(training.collective):
        raise training.explain_not_finite(loop, error) from error
    raise AssertionError


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
    """The part of the worker that prints and writes; the exit status."""
    from nablac.callback_calls import history_of
    from runtime.training.loop import Ending
    from runtime.training.not_finite import NotFinite

    compiled = None
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
        note(f"stopped and saved; resume with:   {resume_command(folder.path)}")
        return status_of_stopped(caught)
    calls.end(history_of(training, loop, folder.path))
    print_result(training, loop, folder, compiled, quiet, as_json)
    return 0
