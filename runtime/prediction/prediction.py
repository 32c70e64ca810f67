"""Predictions for inputs of any kind, in blocks of rows; used by the command and by Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compiler.elaborate.data import TABLES
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean_file
from runtime.boundary import names_in
from runtime.data.csv_file import OF_COMMAND, Format
from runtime.data.pairs import has_names
from runtime.data.python_columns import mapping_blocks
from runtime.data.recipe import Recipe
from runtime.data.table_blocks import STDIN, Block, kind_by_name, table_blocks, text_lines
from runtime.prediction.answers import Answers
from runtime.prediction.array_files import arrays_in, digits_in, is_arrays, predict_arrays
from runtime.prediction.findings import Findings
from runtime.prediction.images import FILE, LIST, image_files, image_input, is_images, predict_images
from runtime.prediction.predictor import Predictor, no_recipe
from runtime.prediction.series import Forecast, Forecasting, Past, Window
from runtime.prediction.several_series import predict_series
from runtime.prediction.table_rows import Columns, Keep, len_of, predict_rows
from runtime.prediction.text_rows import Texts, predict_texts, text_input, texts_of_lines, texts_of_table, usual_column

Inputs = Sequence[str] | Mapping[str, Any]  # names of files and folders, or columns by name
_ROWS_AT_ONCE = 4096  # of a table that is read for the windows in it
_LINES = (".txt", ".text")  # suffixes of files that have a text on each line
_TABLE = "the table"


@dataclass(frozen=True)
class Request:
    """The options of a prediction: see those of `nablac predict`."""

    steps: int | None = None
    all: bool = False
    keep: Keep = "other"
    column: str | None = None
    outputs: tuple[str, ...] = ()
    separator: str | None = None
    decimal: str | None = None
    header: bool | None = None
    encoding: str | None = None
    thousands: str | None = None

    def format(self, recipe: Recipe) -> Format:
        """The CSV format: by the options, or else that of the training data. NablacError where they contradict."""
        source = recipe.source
        is_csv = source is not None and (
            source.name == "csv" or (source.name == "pairs" and has_names(source.arguments))
        )
        known = dict(source.arguments) if source is not None and is_csv else {}
        asked = {name: getattr(self, name) for name in ("separator", "decimal", "header", "encoding", "thousands")}
        chosen = {name: value if value is not None else known.get(name) for name, value in asked.items()}
        format = replace(OF_COMMAND, **{name: value for name, value in chosen.items() if value is not None})
        contradiction = format.contradiction()
        if contradiction is not None:
            raise NablacError(Diagnostic(codes.E605, contradiction, place="options"))
        return format


def predict(predictor: Predictor, inputs: Inputs, request: Request, findings: Findings) -> Iterator[Columns]:
    """Results in blocks of rows; the inputs are read lazily.

    NablacError for what cannot be read, does not fit what the model was trained on, or leaves no row.
    """
    _check(predictor, inputs, request)
    for name in predictor.in_scaled_units():
        findings.note(f"output `{name}`", "the numbers of an output are in the model's own units, as in training")
    rows = 0
    for columns in _results(predictor, inputs, request, findings):
        rows += len_of(columns)
        yield columns
    if not rows:
        place = ", ".join(inputs) if not isinstance(inputs, Mapping) else _TABLE
        broken = "no row is left to predict for: every one is broken"
        raise NablacError(Diagnostic(codes.E823, broken if findings.skipped else f"{place} has no rows", place=place))


def _check(predictor: Predictor, inputs: Inputs, request: Request) -> None:
    """NablacError for options that the model does not support."""
    if not inputs:
        raise NablacError(Diagnostic(codes.E801, "there is no input", place=predictor.name))
    for path in inputs if not isinstance(inputs, Mapping) else ():
        if path != STDIN and not os.path.exists(path.removeprefix(LIST) if path.startswith(LIST) else path):
            near = did_you_mean_file(Path(path).name, names_in(Path(path).parent))
            raise NablacError(Diagnostic(codes.E901, f"there is no file {path}", place=path, hint=near))
    window = Window.of(predictor.recipe)
    asked = "--steps" if request.steps is not None else "--all" if request.all else None
    if asked is not None and window is None:
        message = f"`{asked}` is about series, and the model was not trained on `window(...)`"
        raise NablacError(Diagnostic(codes.E881, message, place=asked))


def _results(predictor: Predictor, inputs: Inputs, request: Request, findings: Findings) -> Iterator[Columns]:
    recipe = predictor.recipe
    answers = Answers(recipe, request.outputs)
    if not isinstance(inputs, Mapping) and any(map(is_arrays, inputs)):
        yield from _each(inputs, lambda path: predict_arrays(predictor, arrays_in(path, predictor), path, answers))
        return
    window, text, image = Window.of(recipe), text_input(predictor), image_input(predictor)
    if window is not None or recipe.stage("columns") is not None:
        yield from _of_tables(predictor, inputs, window, request, findings)
    elif text is not None:
        yield from _each(
            [inputs] if isinstance(inputs, Mapping) else inputs,
            lambda path: predict_texts(predictor, _texts(predictor, path, request, findings), text, answers, findings),
        )
    elif image is not None and not isinstance(inputs, Mapping):
        yield from _of_images(predictor, inputs, image, answers, findings)
    elif isinstance(inputs, Mapping) and set(predictor.types) <= set(inputs):
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        yield from predict_arrays(predictor, arrays, _TABLE, answers)
    else:
        raise _unfit(predictor, inputs)


def _each(inputs: Sequence[Any], results: Any) -> Iterator[Columns]:
    """The results of each input, with its name if there are several."""
    for path in inputs:
        for columns in results(path):
            yield {FILE: [path] * len_of(columns), **columns} if len(inputs) > 1 else columns


def _of_tables(
    predictor: Predictor, inputs: Inputs, window: Window | None, request: Request, findings: Findings
) -> Iterator[Columns]:
    answers = Answers(predictor.recipe, request.outputs, window.horizon if window is not None else 1)
    format = request.format(predictor.recipe)
    most = predictor.batch() if window is None else _ROWS_AT_ONCE

    def results(path: Any) -> Iterator[Columns]:
        blocks = _blocks(path, format, findings, most)
        if window is None:
            return predict_rows(predictor, blocks, answers, request.keep, findings)
        of = Forecasting(predictor, window, answers, request.keep, findings, request.steps)
        kind = Past if request.all else Forecast
        return predict_series(blocks, predictor.recipe.series_columns, of, kind)

    if not isinstance(inputs, Mapping):
        for path in inputs:
            if is_images(path):
                raise _unfit(predictor, [path])
    yield from _each([inputs] if isinstance(inputs, Mapping) else inputs, results)


def _blocks(table: Any, format: Format, findings: Findings, most: int) -> Iterator[Block]:
    if isinstance(table, Mapping):
        return mapping_blocks(table, _TABLE, most)
    return table_blocks(table, format, findings, most)


def _texts(predictor: Predictor, path: Any, request: Request, findings: Findings) -> Iterator[Texts]:
    """The texts of an input: a column of a table, or the lines of any other file."""
    source = predictor.recipe.source
    of_lines = _LINES if source is not None and has_names(source.arguments) else (*_LINES, ".tsv")
    is_lines = not isinstance(path, Mapping) and (kind_by_name(path) is None or path.endswith(of_lines))
    if is_lines and request.column is None:
        if is_images(path):
            raise _unfit(predictor, [path])
        return texts_of_lines(text_lines(path, findings), path, predictor)
    blocks = _blocks(path, request.format(predictor.recipe), findings, _ROWS_AT_ONCE)
    return texts_of_table(blocks, request.column, usual_column(predictor), request.keep, findings)


def _of_images(
    predictor: Predictor, inputs: Sequence[str], name: str, answers: Answers, findings: Findings
) -> Iterator[Columns]:
    source = predictor.recipe.source
    pictures = [path for path in inputs if is_images(path)]
    if pictures and len(pictures) < len(inputs):
        raise _unfit(predictor, [path for path in inputs if not is_images(path)])
    if pictures:
        yield from predict_images(predictor, image_files(inputs, findings), name, answers, findings)
    elif source is not None and source.name == "digits":
        yield from _each(inputs, lambda path: predict_arrays(predictor, digits_in(path, predictor), path, answers))
    else:
        raise _unfit(predictor, inputs)


def _unfit(predictor: Predictor, inputs: Inputs) -> NablacError:
    """The error for an input of another kind than the training data, or for a model that cannot predict."""
    recipe = predictor.recipe
    place = _TABLE if isinstance(inputs, Mapping) else str(inputs[0])
    if recipe.source is None:
        return no_recipe(predictor.name, predictor.without_recipe)
    if recipe.fitted.tokenizer is not None and text_input(predictor) is None:
        message, hint = (
            "the model tells the tokens of texts",
            "`nablac generate` goes on from a text, or translates it",
        )
        return NablacError(Diagnostic(codes.E881, message, place=place, hint=hint))
    wanted = {
        **dict.fromkeys(TABLES, "a table (.csv, .parquet, .jsonl)"),
        "images": "images, a folder of them, or a list (@FILE)",
        "digits": "images, or a file of digits as it was trained on",
        "pairs": "texts: a .txt file of lines, or a table with a column of them",
    }.get(recipe.source.name, "arrays: .npy or .npz")
    message = f"the model was trained on `{recipe.source.name}(...)`, and this is of another kind"
    return NablacError(Diagnostic(codes.E881, message, place=place, hint=f"it takes {wanted}"))
