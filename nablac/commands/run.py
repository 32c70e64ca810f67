"""`nablac run`: run a model on input files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import click

from grammar import codes
from grammar.file_kinds import ENCODINGS, THOUSANDS
from nablac.commands.compilation_options import refuse_options_of_compilation
from nablac.commands.completions import complete_inputs
from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.model_setup import set_up_model
from nablac.commands.option_types import NamedPath
from nablac.commands.options import output_options, run_options
from nablac.commands.output import note, note_untrained, print_json, printable, stage
from nablac.commands.results import STDOUT, check_ending, format_output, storable, write

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.csv_file import Format
    from runtime.input_files import InputType, Reading
    from runtime.onnx_session import OnnxRunner
    from runtime.text.tokenizers import Tokenizer


class ArrayJson(TypedDict):
    """An array."""

    dtype: Annotated[str, "as NumPy names it"]
    shape: Annotated[list[int], "its sizes"]


class RunFileJson(TypedDict):
    """Outputs that were written to a file."""

    output: Annotated[str, "the file"]
    outputs: Annotated[dict[str, ArrayJson], "by name"]


@click.command()
@model_options
@click.argument("inputs", nargs=-1, type=NamedPath(as_text=True), shell_complete=complete_inputs)
@click.option("-o", "--output", type=NamedPath(), help="Write to a .npy, .npz, .csv or .json file; - is stdout.")
@click.option(
    "--tokenizer",
    type=NamedPath(),
    metavar="FILE",
    help="Read the tokenizer for texts from a tokenizer.json or vocab.txt.",
)
@click.option("--separator", metavar="CHAR", help="Separator of CSV cells.  [default: ,]")
@click.option(
    "--decimal", type=click.Choice([".", ","]), default=".", show_default=True, help="Decimal sign of CSV numbers."
)
@click.option(
    "--header/--no-header",
    default=None,
    help="Whether the first row of a CSV file holds names.  [default: yes if none of its cells is a number]",
)
@click.option(
    "--encoding",
    type=click.Choice(ENCODINGS),
    metavar="NAME",
    help="The encoding of CSV files, such as cp1252 or latin-1.  [default: UTF-8, or what a byte order mark says]",
)
@click.option(
    "--thousands",
    type=click.Choice([*THOUSANDS]),
    metavar="CHAR",
    help="The sign between thousands of CSV numbers, such as , or a space.  [default: none]",
)
@run_options
@weight_options
@output_options
def command(
    options: ModelOptions,
    inputs: tuple[str, ...],
    output: Path | None,
    tokenizer: Path | None,
    separator: str | None,
    decimal: str,
    header: bool | None,
    encoding: str | None,
    thousands: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a model on input files.

    FILE is a .model file, a compiled .onnx file, or the folder of a run. INPUTS are `name=path`, or only the path if
    the model has one input.

    Inputs are .npy, .npz (`data.npz:name`), tables (`data.csv:column`, `data.csv:column[-12:]`; also .tsv, .parquet and
    .jsonl), .json or image files; - is stdin. From a table with a header, an input takes the columns that it was
    trained on. Images are scaled to numbers from 0 to 1 and resized as the model requires; arrays are used as they are.
    A missing batch axis is added. A model of tokens also takes texts, if it has a tokenizer inside or --tokenizer names
    one.

    \b
    Example:
      nablac init forecast
      nablac compile forecast.model
      nablac run forecast.onnx 'data/airline-passengers.csv:passengers[-12:]'
    """
    from runtime.input_files import Reading, file_of
    from runtime.outputs import check_output

    check_ending(output)
    if output is not None and str(output) != STDOUT:
        tokenizers = [tokenizer] if tokenizer is not None else []
        check_output(output, reads=[*options.files_read(), *tokenizers, *map(file_of, inputs)])
    reading = Reading(partial(note, quiet=quiet), _format(separator, decimal, header, encoding, thousands))
    classes: list[str] = []
    if options.file.suffix == ".onnx":
        refuse_options_of_compilation(options.file)
        with stage(f"{options.file}: read and run"):
            results, classes = _run_onnx(options, inputs, tokenizer, reading)
    else:
        from runtime.padding_effects import unread_padding
        from runtime.signature import random_keys
        from runtime.text.lengths import longest_texts, shortest_texts
        from runtime.text_inputs import read_texts_or_inputs

        model = set_up_model(options)
        types = {key: value.type for key, value in model.graph.inputs.items()}
        fitted = model.fitted
        columns = fitted.columns if fitted is not None else {}
        derived, known = (fitted.derived, fitted.known) if fitted is not None else ((), ())
        reading = replace(reading, columns=columns, derived=derived, fitted=fitted, known=known)
        reading = replace(reading, optional=random_keys(types))
        other = _read_tokenizer(tokenizer)
        text_tokenizer = other or (fitted.only_tokenizer if fitted is not None else None)
        longest, shortest = longest_texts(model.elaborated), shortest_texts(model.elaborated)
        texts = fitted.with_tokenizer(other) if fitted is not None and other is not None else fitted
        unread = partial(unread_padding, model.elaborated, texts)
        fed = read_texts_or_inputs(list(inputs), types, text_tokenizer, longest, reading, shortest, unread)
        with stage("run"):
            results = fed.run(lambda feeds: model(**feeds))
        _note_units({key: unit.kind for key, unit in model.units.items()}, reading.say)
        classes = list(fitted.labels) if fitted is not None else []
        if model.is_drawn and model.read_weights():
            note_untrained(quiet, f"--seed {options.seed}")
    results = {name: storable(array) for name, array in results.items()}
    if output is not None:
        write(output, results)
        if as_json and str(output) != STDOUT:
            outputs = {
                key: ArrayJson(dtype=str(array.dtype), shape=list(array.shape)) for key, array in results.items()
            }
            print_json(RunFileJson(output=str(output), outputs=outputs))
        elif str(output) != STDOUT:
            note(f"{output} written", quiet)
    elif as_json:
        print_json({key: array.tolist() for key, array in results.items()})
    else:
        for key, array in results.items():
            click.echo(printable(format_output(key, array, classes), sys.stdout))
    return 0


def _note_units(kinds: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Note the outputs that are not in raw units, if the training data was scaled."""
    for name, kind in kinds.items():
        if kind == "model":
            say(f"note: `{name}` is in the model's own units, as in training")


def _format(
    separator: str | None, decimal: str, header: bool | None, encoding: str | None, thousands: str | None
) -> Format:
    """The format of CSV inputs."""
    from runtime.data.csv_file import Format

    character = "\t" if separator == "\\t" else separator if separator is not None else ","
    if len(character) != 1 or character in '"\r\n':
        raise click.BadParameter(f"expected one character, got `{separator}`", param_hint="--separator")
    format = Format(character, decimal, header, encoding or "", thousands or "", command=True)
    contradiction = format.contradiction()
    if contradiction is not None:
        raise click.BadParameter(contradiction, param_hint="--decimal")
    return format


def _read_tokenizer(path: Path | None) -> Tokenizer | None:
    from runtime.text.tokenizers import read_tokenizer

    return read_tokenizer(path) if path is not None else None


def _run_onnx(
    options: ModelOptions, inputs: tuple[str, ...], tokenizer_file: Path | None, reading: Reading
) -> tuple[dict[str, Array], list[str]]:
    """The outputs of a compiled model, and the names of its classes, if any."""
    import numpy as np

    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.data.recipe import recipe_in
    from runtime.metadata import UNITS, read_entry, unit_kinds
    from runtime.onnx_session import OnnxRunner
    from runtime.padding_effects import stored_unread_padding
    from runtime.signature import random_keys
    from runtime.table_lookups import check_stored
    from runtime.text.lengths import LEAST, stored_lengths
    from runtime.text_inputs import read_texts_or_inputs

    file = options.file
    if not os.path.exists(file):
        raise NablacError(Diagnostic(codes.E901, f"there is no file {file}", place=str(file)))
    runner = OnnxRunner(file, device=options.device)
    recipe = recipe_in(runner.metadata, _read_tokenizer(tokenizer_file))
    fitted = recipe.fitted if recipe is not None else None
    tokenizer = fitted.only_tokenizer if fitted is not None else None
    types = _input_types(runner, file)
    columns = fitted.columns if fitted is not None else {}
    derived, known = (fitted.derived, fitted.known) if fitted is not None else ((), ())
    reading = replace(reading, columns=columns, derived=derived, fitted=fitted, known=known)
    reading = replace(reading, optional=random_keys(types))
    most, least = stored_lengths(runner.metadata), stored_lengths(runner.metadata, LEAST)
    unread = stored_unread_padding(runner.metadata) if tokenizer_file is None else ()  # another may have other padding
    fed = read_texts_or_inputs(list(inputs), types, tokenizer, most, reading, least, lambda: unread)
    keys = {name: np.array(options.seed, np.int64) for name in reading.optional}

    def run(feeds: dict[str, Array]) -> dict[str, Array]:
        check_stored(runner.metadata, feeds)
        return runner.run({**keys, **feeds})

    results = fed.run(run)
    for name in [name for name, value in results.items() if not isinstance(value, np.ndarray)]:
        note(f"warning: the output `{name}` is not a tensor and is skipped")
        del results[name]
    _note_units(read_entry(runner.metadata, UNITS, {}, unit_kinds), reading.say)
    return results, list(fitted.labels) if fitted is not None else []


def _input_types(runner: OnnxRunner, file: Path) -> dict[str, InputType]:
    """The type of each input; NablacError for one that is not a tensor of numbers."""
    from grammar.diagnostics import Diagnostic, NablacError

    types: dict[str, InputType] = {}
    for name in runner.inputs:
        type = runner.signature.types.get(name) or runner.foreign[name]
        if type is None:
            message = f"inputs must be tensors of numbers, got {runner.inputs[name].type} for `{name}`"
            raise NablacError(Diagnostic(codes.E804, message, place=str(file)))
        types[name] = type
    return types
