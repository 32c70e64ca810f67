"""What a run's options and its train block say of the loop, and what several workers cannot run."""

from __future__ import annotations

from compiler.model_spec import TrainingSpec
from compiler.training.step import TrainingStep
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.training.loop import Settings
from runtime.training.run_options import Options


def settings_of(spec: TrainingSpec, options: Options, seed: int) -> Settings:
    """The loop's settings: the command's, else the block's, else the defaults."""
    block = spec.settings
    monitor = block.monitor or ""
    metric = spec.metric_of(monitor)
    mode = block.mode or spec.best.get(metric or "", "min")  # a metric without a known mode has been refused
    return Settings(
        epochs=options.epochs if options.epochs is not None else block.epochs,
        patience=options.patience if options.patience is not None else block.patience,
        plateau=block.plateau,
        plateau_factor=block.plateau_factor,
        min_change=block.min_change,
        accumulate=block.accumulate,
        monitor=monitor,
        higher_is_better=mode == "max",
        seed=seed,
        limit_batches=options.limit_batches,
        max_seconds=options.max_seconds,
        checkpoint_seconds=options.checkpoint_seconds,
        keep=options.keep,
    )


def check_shared(step: TrainingStep, memory_budget: int | None, workers: int) -> None:
    """NablacError for a step that several workers cannot share."""
    refused = None
    if memory_budget is not None:
        refused = "a memory budget"
    elif step.split is None:
        refused = "an update that reads the batch"
    if refused is not None:
        message = f"{refused} is for a training with one worker, and this one has {workers}"
        raise NablacError(Diagnostic(codes.E890, message, place=step.graph.name, hint="train it with one worker"))
