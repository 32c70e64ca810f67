"""`nablac compile`: export a model, its training step or its decode step to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from compiler.targets import EXPORT_TARGETS
from nablac.commands.accuracy import is_converted
from nablac.commands.compilation_options import FileOptions, StepOptions, memory_budget_option, precision_option
from nablac.commands.completions import complete_passes
from nablac.commands.model_export import write_model
from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.model_setup import set_up_model
from nablac.commands.option_types import NamedPath
from nablac.commands.options import output_options
from nablac.commands.output import is_verbose
from nablac.commands.pass_report import PassReport
from nablac.commands.quantized_file import (
    choices_of,
    quantization_options,
)
from nablac.commands.target_options import target_options
from nablac.output_suffixes import check_suffix

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer


def _known_passes(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Check the names of the passes to disable; BadParameter for an unknown one."""
    if not names:
        return ()
    from compiler.passes.pipeline import names_to_disable
    from grammar.diagnostics import did_you_mean

    known = names_to_disable()
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"the passes are {', '.join(known)}"
            raise click.BadParameter(f"no pass is called `{name}`; {hint}", context, parameter)
    return names


@click.command()
@model_options
@click.option("-o", "--output", type=NamedPath(), help="Write to this path.  [default: NAME.onnx]")
@target_options
@click.option(
    "--train", "as_step", is_flag=True, help="Compile the training step; writes its initial state to a file beside it."
)
@click.option(
    "--split", is_flag=True, help="With --train: compile the gradients and the update to two files in a folder."
)
@click.option("--decode", "as_decode", is_flag=True, help="Compile the decode step and its caches to a folder.")
@click.option("--tokenizer", type=NamedPath(), metavar="FILE", help="Store this tokenizer in the compiled model.")
@click.option(
    "--disable-pass",
    "disabled_passes",
    multiple=True,
    metavar="NAME",
    callback=_known_passes,
    shell_complete=complete_passes,
    help="Disable a compiler pass; -v lists the passes. Can be repeated.",
)
@click.option(
    "--keep-weights",
    is_flag=True,
    help="Store every weight by its own name, and compute what depends on weights alone at each run.",
)
@memory_budget_option
@precision_option
@quantization_options
@click.option("--no-verify", is_flag=True, help="Skip the comparison with the NumPy runtime.")
@weight_options
@output_options
def command(
    options: ModelOptions,
    output: Path | None,
    target_name: str,
    opset: int | None,
    as_step: bool,
    split: bool,
    as_decode: bool,
    tokenizer: Path | None,
    disabled_passes: tuple[str, ...],
    keep_weights: bool,
    memory_budget: int | None,
    precision: str | None,
    quantize: str | None,
    calibrate: str | None,
    exclude: tuple[str, ...],
    reduce_range: bool,
    no_verify: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compile a model to ONNX.

    FILE is a .model file, or the folder of a run, for the trained model in the units of its data. Without --weights,
    the weights are initial values drawn from --seed.

    What depends on weights alone, such as the scale of a batch norm, is computed now, and stored in place of the
    weights that nothing else reads. With --keep-weights each weight is stored by its own name, so that another can
    replace it.

    With --train, the file is one training step. Its inputs are the batch, the state (parameters, buffers, optimizer),
    `step` (from 1) and `seed`; a train block with `plateau` adds `rate`, a factor of the learning rate. Its outputs are
    the loss, the metrics and the next state, as `NAME.next`. The initial state is written to a .safetensors file of the
    same name. Its weights are inputs, by their own names.

    With --split too, a folder is written: `gradient.onnx` takes the batch, parameters and buffers, and its outputs are
    the loss, the metrics, the gradients, as `grad.NAME`, and the next buffers; `update.onnx` takes the gradients and
    the state, and its outputs are the next state. `state.safetensors` is the initial state.

    With --decode, a folder is written: `step.onnx` takes the next tokens and the state cached from earlier ones, and
    `start.onnx`, if the model needs one, runs once per text. `nablac generate` runs such a folder.

    With --quantize, weights are stored as integers of 8 or 4 bits, with --dtype all numbers in another float type. Of a
    run, the file is judged on the held-out data as `nablac eval` judges it, and its figures are printed beside those of
    the file in the float type of the training.

    \b
    Example:
      nablac compile lstm -o lstm.onnx
    """
    from compiler.passes.pipeline import pass_settings

    observe = PassReport() if is_verbose() else None
    click.get_current_context().with_resource(pass_settings(disabled_passes, observe))
    file_options = FileOptions(opset, not no_verify, as_json, quiet, EXPORT_TARGETS[target_name], keep_weights)
    choices = choices_of(quantize, calibrate, exclude, reduce_range, options, file_options)
    if choices is not None and as_step:
        raise click.UsageError("--quantize is of models that are only run: it does not go with --train")
    if choices is not None and as_decode and choices.scheme.calibrated:
        raise click.UsageError(f"--quantize {quantize} measures whole models: with --decode, choose int8 or int4")
    if as_step:
        if as_decode:
            raise click.UsageError("--train and --decode write different files: choose one")
        if tokenizer is not None:
            raise click.UsageError("a training step takes batches of tokens: --tokenizer does not apply")
        return _compile_step(options, output, split, file_options, StepOptions(memory_budget, precision))
    _refuse_options_of_steps(memory_budget, precision, split)
    path = output or options.beside(".decode" if as_decode else ".onnx")
    _check_outputs(options, path, as_decode, tokenizer)
    model = set_up_model(options)
    texts = _tokenizer(model, tokenizer)
    if as_decode:
        from nablac.commands.decode_step import write_decode

        return write_decode(model, path, texts, file_options, choices)
    quantization = (options, choices, calibrate) if choices is not None else None
    baseline = options if quantization is not None or is_converted(options) else None
    return write_model(model, path, texts, options.seed, file_options, quantization, baseline)


def _refuse_options_of_steps(memory_budget: int | None, precision: str | None, split: bool) -> None:
    """UsageError for options that are of a training step alone."""
    if memory_budget is not None:
        raise click.UsageError("--memory-budget limits a training step: it needs --train")
    if precision is not None:
        hint = "for inference, `--dtype` chooses the floats of the whole model"
        raise click.UsageError(f"--precision is of a training step: it needs --train; {hint}")
    if split:
        raise click.UsageError("--split divides a training step: it needs --train")


def _compile_step(
    options: ModelOptions, output: Path | None, split: bool, file_options: FileOptions, step_options: StepOptions
) -> int:
    """Write the training step to one file, or with `split` to two in a folder; the exit status."""
    from grammar.file_kinds import ONNX, SAFETENSORS
    from runtime.outputs import check_output

    if split:
        from nablac.commands.split_step import FILES, write_split

        folder = output or options.beside(".step")
        for name, kind in FILES.items():
            check_output(folder / name, kind, options.files_read(), creates_folder=True)
        return write_split(options, folder, file_options, step_options)
    from nablac.commands.training_step import write_step

    step = output or options.beside(".step.onnx")
    check_output(step, ONNX, options.files_read())
    check_suffix(step, "ONNX")
    check_output(step.with_suffix(".safetensors"), SAFETENSORS, options.files_read())
    return write_step(options, step, file_options, step_options)


def _check_outputs(options: ModelOptions, path: Path, as_decode: bool, tokenizer: Path | None) -> None:
    """NablacError if the files of a model or a decode step cannot be written to `path`."""
    from grammar.file_kinds import ONNX
    from runtime.generation.generator import START, STEP
    from runtime.outputs import check_output

    read = [*options.files_read(), *([tokenizer] if tokenizer is not None else [])]
    for written in [path / START, path / STEP] if as_decode else [path]:
        check_output(written, ONNX, read, creates_folder=as_decode)
        check_suffix(written, "ONNX")


def _tokenizer(model: Model, file: Path | None) -> Tokenizer | None:
    """The tokenizer to store with a model: the one in `file`, else the one that the model was trained with."""
    from runtime.text.tokenizers import read_tokenizer

    if file is not None:
        if model.fitted is not None and model.fitted.tokenizers:
            message = "the columns of a table have the tokenizers of the training: --tokenizer does not apply"
            raise click.UsageError(message)
        return read_tokenizer(file)
    return model.fitted.tokenizer if model.fitted is not None else None
