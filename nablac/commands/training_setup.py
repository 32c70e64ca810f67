"""The training that a command's options describe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nablac.commands.model_options import ModelOptions, check_rename
from nablac.commands.model_setup import choose_model
from nablac.commands.options import was_given
from nablac.commands.output import is_quiet, note, stage
from nablac.commands.runs import read_run

if TYPE_CHECKING:
    from runtime.renames import Rename
    from runtime.training.run_options import Options
    from runtime.training.training_run import Training
    from runtime.workers.collective import Collective


_LISTED = 5  # of the parameters in a note


def set_up_training(
    model: ModelOptions,
    options: Options,
    *,
    evaluated: bool = False,
    fine_tunes: bool = False,
    tokenizer: Path | None = None,
    collective: Collective | None = None,
) -> Training:
    """The training that the options describe; what they leave open is left to the train block.

    With `evaluated` the weights have to be complete. Otherwise initial values are drawn for parameters that only the
    loss reads, with a note, and with `fine_tunes` for those that are `fresh`. The file `tokenizer` replaces the
    tokenizer that the weights were trained with. `collective` are the workers that share each batch.
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
    with stage(f"{model.file}: read"):
        program = load(model.file)
    source = TextSource(program, choose_model(program, model.model), model.preset, hypers, DType(model.dtype))
    training = Training(source, options, folder=model.data_folder, collective=collective)
    check_rename(model)
    if model.weights is not None:
        fresh = (model.fresh or training.spec.settings.fresh) if fine_tunes else ()
        _load_start(training, model.weights, read_renames(model.rename), evaluated, fresh)
    if tokenizer is not None:
        training.fitted = (training.known or Fitted()).with_tokenizer(read_tokenizer(tokenizer))
    return training


def seed_of_step(options: ModelOptions) -> int | None:
    """The seed of a training step: of a run, or of the running command; None for the train block's."""
    return options.seed if options.is_run or was_given("seed") else None


def set_up_step(options: ModelOptions, seed: int | None) -> Training:
    """The training whose steps the options describe, on the backend of the options; no data is read for it."""
    from runtime.training.run_options import Options

    if options.is_run:
        options = read_run(options.file).model(options)
    return set_up_training(options, Options(seed=seed, backend=options.backend, device=options.device))


def _load_start(
    training: Training, weights: Path, renames: list[Rename], evaluated: bool, fresh: Sequence[str]
) -> None:
    """Start from the weights, and from the scalings, classes and tokenizer that are stored with them."""
    from compiler.training.losses import whole_graph
    from compiler.training.parameters import matches
    from runtime.initialization import stored_operators
    from runtime.training.trained import load_trained

    graph = whole_graph(training.inference)
    start = load_trained(
        weights,
        training.inference,
        renames,
        needed=graph if evaluated else None,
        in_training=lambda: whole_graph(training.elaborated),
        fresh=fresh,
        say=lambda text: note(text, is_quiet()),
    )
    missing = [op.path for op in stored_operators(graph) if op.path not in start.weights]
    new = [path for path in missing if matches(path, fresh)]
    if new:
        note(f"{_listed(new)} {'starts' if len(new) == 1 else 'start'} new, the others from {weights}", is_quiet())
    if len(missing) > len(new):
        shown = _listed([path for path in missing if path not in new])
        note(f"note: {weights} has no {shown}, which the loss reads: initial values are drawn", is_quiet())
    training.start = start


def _listed(paths: list[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths[:_LISTED]) + (", ..." if paths[_LISTED:] else "")
