"""Notes on a training before its first step: its data, its backend, and what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nablac.commands.output import is_quiet, note

if TYPE_CHECKING:
    from runtime.data.context import Context
    from runtime.training.loop import Loop
    from runtime.training.training_run import Training

_SHOWN = 5  # of the rows and files that were skipped; the run's skipped.txt lists them all


def note_training(training: Training) -> None:
    """Note what `nablac train` is about to do."""
    _note_size(training)
    _note_budget(training)
    note_data(training)
    _note_kept_scaling(training)
    note_batchwise_loss(training)
    _note_measured_whole(training)
    _note_scaled_figures(training)


def note_data(training: Training) -> None:
    """Say what was skipped or changed when the data was read."""
    training.data  # noqa: B018 - reads it
    note_reading(training.context)


def note_reading(context: Context) -> None:
    """Say what was skipped or changed when data was read."""
    if skipped := context.skipped:
        which = ", the first of them:" if len(skipped) > _SHOWN else ":"
        note(f"{len(skipped)} broken rows or files skipped{which}")
        for message in skipped[:_SHOWN]:
            note(f"  {message}")
    for message, locations in context.notes.items():
        more = f" and {len(locations) - 1:,} more" if len(locations) > 1 else ""
        note(f"note: {message}: {locations[0]}{more}")


def _note_kept_scaling(training: Training) -> None:
    """Say so where the data is far from what the scaling of `--weights` was fitted to."""
    from runtime.training.scaling_notes import scaling_note

    kept = scaling_note(training)
    if kept is not None:
        note(f"note: {kept}; a training without --weights fits its own")


def note_batchwise_loss(training: Training) -> None:
    """Say so where the loss is a mean over batches and not over examples."""
    if training.is_by_batches:
        what = "the loss compares the examples of a batch with one another"
        note(f"note: {what}: its value is the mean over batches of {training.batch}", is_quiet())


def _note_measured_whole(training: Training) -> None:
    """Note the metrics that are not computed on training batches."""
    names = ", ".join(f"`{name}`" for name in training.measured_whole)
    if names:
        verb = "compares" if len(training.measured_whole) == 1 else "compare"
        none = "" if len(training.data.parts["validation"]) else ", of which there is none"
        note(f"note: {names} {verb} examples with one another: measured on validation data only{none}")


def _note_scaled_figures(training: Training) -> None:
    """Note that the figures of the run are in scaled units."""
    from runtime.training.unit_notes import has_scaled_figures

    if has_scaled_figures(training.inference, training.data):
        note("units: the loss and the metrics are in scaled units; `nablac eval` has errors in those of the data")


def _note_budget(training: Training) -> None:
    """Note what a memory budget changes of a step."""
    from runtime.training.budget_use import budget_use

    if training.memory_budget is not None:
        note(f"memory budget: {budget_use(training).describe()}")


def note_damaged(loop: Loop) -> None:
    """Note a damaged checkpoint that the run does not resume from."""
    for error in loop.damaged[:1]:
        note(f"note: {error.diagnostics[0].place} is damaged; the run resumes from an earlier checkpoint")


def _note_size(training: Training) -> None:
    """Note what is trained, on how many examples, and by what."""
    from runtime.training.run_record import describe

    facts = describe(training)
    examples = ", ".join(f"{count:,} {part}" for part, count in facts["examples"].items() if count)
    where = facts["backend"] if facts["device"] == "cpu" else f"{facts['backend']} on {facts['device']}"
    size = f"{facts['parameters']:,} parameters"
    shared = f" over {facts['workers']} workers" if facts["workers"] > 1 else ""
    compiled = ", update compiled by numba" if facts["compiles_update"] else ""
    note(f"{facts['model']}: {size}, {examples} examples, batches of {facts['batch']}{shared}, {where}{compiled}")
