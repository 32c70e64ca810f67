"""`nablac run`: a model on real input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grammar import codes
from nablac.commands.compiled import compiled
from nablac.commands.options import (
    ModelOptions,
    model_options,
    output_options,
    refuse_of_compiled,
    run_options,
    weight_options,
)
from nablac.commands.output import note, note_untrained, print_json, printable
from nablac.commands.results import STDOUT, check_ending, readable, shown, write

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.csv_file import Format
    from runtime.input_files import InputType, Reading
    from runtime.onnx_session import OnnxRunner
    from runtime.text.tokenizers import Tokenizer


@click.command()
@model_options
@click.argument("inputs", nargs=-1)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write results: .npy, .npz, .csv or .json; - is stdout."
)
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="For texts: a tokenizer.json or vocab.txt."
)
@click.option("--separator", metavar="CHAR", help="The separator of CSV cells.  [default: ,]")
@click.option(
    "--decimal", type=click.Choice([".", ","]), default=".", show_default=True, help="The decimal sign of CSV numbers."
)
@click.option(
    "--header/--no-header", default=None, help="Whether a CSV's first row is names.  [default: if none is a number]"
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
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a .model or .onnx FILE, or the folder of a run, on INPUTS: `name=path`, or a path alone of the only input.

    Inputs are .npy, .npz (`data.npz:name`), .csv (`data.csv:column`, `data.csv:column[-12:]`), .json or images; - is
    stdin. Of a CSV with a header an input takes the columns that it was trained on. Images become numbers from 0 to
    1, in the size that the model asks for; arrays are taken as they are. A missing batch axis is added. A model of
    tokens that has its tokenizer inside, or is given one, takes texts.
    """
    from runtime.input_files import Reading, file_of
    from runtime.outputs import check_output

    check_ending(output)
    if output is not None and str(output) != STDOUT:
        given = [tokenizer] if tokenizer is not None else []
        check_output(output, reads=[*options.files_read(), *given, *map(file_of, inputs)])
    reading = Reading(partial(note, quiet=quiet), _format(separator, decimal, header))
    classes: list[str] = []
    if options.file.suffix == ".onnx":
        refuse_of_compiled(options.file)
        results, classes = _run_onnx(options, inputs, tokenizer, reading)
    else:
        from runtime.text.lengths import longest_texts, shortest_texts
        from runtime.text_inputs import read_texts_or_inputs

        model = compiled(options)
        types = {key: value.type for key, value in model.graph.inputs.items()}
        fitted = model.fitted
        reading = replace(reading, columns=fitted.columns if fitted is not None else {})
        known = _read(tokenizer) or (fitted.tokenizer if fitted is not None else None)
        least = shortest_texts(model.elaborated)
        fed = read_texts_or_inputs(list(inputs), types, known, longest_texts(model.elaborated), reading, least)
        results = fed.run(lambda feeds: model(**feeds))
        _note_units({key: unit.kind for key, unit in model.units.items()}, reading.say)
        classes = list(fitted.labels) if fitted is not None else []
        if model.is_drawn and model.weights:
            note_untrained(quiet, f"--seed {options.seed}")
    results = {name: readable(array) for name, array in results.items()}
    if output is not None:
        write(output, results)
        if as_json and str(output) != STDOUT:
            outputs = {key: {"dtype": str(array.dtype), "shape": list(array.shape)} for key, array in results.items()}
            print_json({"output": str(output), "outputs": outputs})
        elif str(output) != STDOUT:
            note(f"{output} written", quiet)
    elif as_json:
        print_json({key: array.tolist() for key, array in results.items()})
    else:
        for key, array in results.items():
            click.echo(printable(shown(key, array, classes), sys.stdout))
    return 0


def _note_units(kinds: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Say which outputs are not in raw units, where the data of the training was scaled."""
    for name, kind in kinds.items():
        if kind == "model":
            say(f"note: `{name}` has the model's own units, as in training")


def _format(separator: str | None, decimal: str, header: bool | None) -> Format:
    """How CSV inputs are written."""
    from runtime.data.csv_file import Format

    character = "\t" if separator == "\\t" else separator if separator is not None else ","
    if len(character) != 1 or character in '"\r\n':
        raise click.BadParameter(f"`{separator}` is not one character between cells", param_hint="--separator")
    if character == decimal:
        hint = "`--separator ';'`, say"
        raise click.BadParameter(
            f"`{decimal}` separates the cells, and stands in numbers; {hint}", param_hint="--decimal"
        )
    return Format(character, decimal, header, command=True)


def _read(path: Path | None) -> Tokenizer | None:
    from runtime.text.tokenizers import read_tokenizer

    return read_tokenizer(path) if path is not None else None


def _run_onnx(
    options: ModelOptions, inputs: tuple[str, ...], tokenizer_file: Path | None, reading: Reading
) -> tuple[dict[str, Array], list[str]]:
    """The outputs of a compiled model, and the names of its classes where it has them."""
    import numpy as np

    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.metadata import CLASSES, COLUMNS, UNITS, column_names, stored, texts, unit_kinds
    from runtime.onnx_session import OnnxRunner
    from runtime.table_lookups import check_stored
    from runtime.text.lengths import LEAST, stored_lengths
    from runtime.text.tokenizers import KEY, from_json
    from runtime.text_inputs import read_texts_or_inputs

    file = options.file
    if not os.path.exists(file):
        raise NablacError(Diagnostic(codes.E901, f"there is no file {file}", place=str(file)))
    runner = OnnxRunner(file, device=options.device)
    tokenizer = _read(tokenizer_file)
    if tokenizer is None and KEY in runner.metadata:
        tokenizer = from_json(runner.metadata[KEY])
    reading = replace(reading, columns=stored(runner.metadata, COLUMNS, {}, column_names))
    most, least = stored_lengths(runner.metadata), stored_lengths(runner.metadata, LEAST)
    fed = read_texts_or_inputs(list(inputs), _wanted(runner, file), tokenizer, most, reading, least)
    drawn = {"seed": np.array(options.seed, np.int64)} if "seed" in runner.inputs else {}

    def run(feeds: dict[str, Array]) -> dict[str, Array]:
        check_stored(runner.metadata, feeds)
        return runner.run({**drawn, **feeds})

    results = fed.run(run)
    for name in [name for name, value in results.items() if not isinstance(value, np.ndarray)]:
        note(f"warning: the output `{name}` is not a tensor, and is skipped")
        del results[name]
    _note_units(stored(runner.metadata, UNITS, {}, unit_kinds), reading.say)
    return results, stored(runner.metadata, CLASSES, [], texts)


def _wanted(runner: OnnxRunner, file: Path) -> dict[str, InputType]:
    """What each input takes; NablacError for one that no file of numbers can be."""
    from grammar.diagnostics import Diagnostic, NablacError

    found: dict[str, InputType] = {}
    for name in runner.inputs:
        wanted = runner.signature.types.get(name) or runner.foreign[name]
        if wanted is None:
            message = f"the input `{name}` is {runner.inputs[name].type}, and only tensors of numbers can be given"
            raise NablacError(Diagnostic(codes.E804, message, place=str(file)))
        found[name] = wanted
    return found
