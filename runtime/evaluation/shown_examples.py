"""Examples as a person looks at them: pictures, texts, or the numbers of a row."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from runtime.charts.page import Part, Picture, Pictures, Table
from runtime.charts.png import png
from runtime.charts.readable_numbers import readable
from runtime.evaluation.part_outputs import raw_numbers

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples

_MOST_COLUMNS = 8
_LONGEST_TEXT = 300
_CHANNELS = (1, 3, 4)


def shown_examples(data: Examples, rows: list[int], captions: list[str], facts: dict[str, list[str]]) -> list[Part]:
    """Some examples: pictures with their captions, or a table with the columns of `facts` first."""
    pictures = [picture_of(data, row) for row in rows]
    if rows and all(picture is not None for picture in pictures):
        shown = [
            Picture(png(picture), *_words_of(data, row, caption))
            for picture, row, caption in zip(pictures, rows, captions, strict=True)
            if picture is not None
        ]
        return [Pictures(shown)]
    header, cells = ["example"], [[location_of(data, row) for row in rows]]
    for name, column in facts.items():
        header.append(name)
        cells.append(column)
    texts = [text_of(data, row) for row in rows]
    if any(texts):
        header.append("text")
        cells.append([text or "" for text in texts])
    else:
        names, numbers = _columns_of(data, rows)
        header += names
        cells += numbers
    return [Table(header, [list(row) for row in zip(*cells, strict=True)])]


def _words_of(data: Examples, row: int, caption: str) -> tuple[str, str]:
    """The alternative text of a picture, and its caption; both name the file, whose folder is the actual class."""
    if data.files:
        return f"{data.files[row]}: {caption}", f"{caption}: {PurePosixPath(data.files[row]).name}"
    return f"example {row + 1}: {caption}", caption


def location_of(data: Examples, row: int) -> str:
    """Where an example is from: its file, or its line of the file, else its number from 1."""
    if data.files:
        return data.files[row]
    if data.lines is not None:
        return f"line {data.lines[row]}"
    return str(row + 1)


def picture_of(data: Examples, row: int) -> Array | None:
    """The image of an example [channels, height, width] from 0 to 1; None where it has none."""
    if data.tokenizer is not None or len(data.inputs) != 1:
        return None
    (pixels,) = raw_numbers(data, data.inputs[0], np.array([row]))
    if pixels.dtype.kind not in "fiu":
        return None
    source = data.stages[0].name if data.stages else ""
    if pixels.ndim < 3:
        side = math.isqrt(pixels.size)
        if source != "digits" or side * side != pixels.size:
            return None
        pixels = pixels.reshape(1, side, side)
    if pixels.ndim != 3 or pixels.shape[0] not in _CHANNELS or min(pixels.shape) < 1:
        return None
    exact: Array = pixels.astype(np.float64)
    low, high = float(exact.min()), float(exact.max())
    if low < 0 or high > 1:
        exact = (exact - low) / (high - low or 1.0)
    return exact


def text_of(data: Examples, row: int) -> str | None:
    """The text of an example, shortened; None where it has none."""
    if data.texts:
        text = " → ".join(data.texts[row])
    elif data.tokenizer is not None:
        array = data.arrays[data.inputs[0]]
        if array.ndim != 2 or array.dtype.kind not in "iu":
            return None
        padding = data.padding_of(data.inputs[0])
        text = data.tokenizer.decode([int(token) for token in array[row] if not data.padded or token != padding])
    else:
        return None
    return _shortened(text)


def _columns_of(data: Examples, rows: list[int]) -> tuple[list[str], list[list[str]]]:
    """The first columns of a table that an example is made of, by name, and their cells."""
    names: list[str] = []
    cells: list[list[str]] = []
    for name in data.inputs:
        columns = data.columns.get(name, ())
        if columns and columns[0] in data.tokenizers:
            names.append(columns[0])
            cells.append([_decoded(data, name, row) for row in rows])
            continue
        numbers = raw_numbers(data, name, np.array(rows, int)).reshape(len(rows), -1)
        if not columns or numbers.shape[1] != len(columns):
            continue
        for index, column in enumerate(columns):
            if len(names) == _MOST_COLUMNS:
                return names, cells
            texts = data.classes.get(column, ())
            names.append(column)
            cells.append([_cell(value, texts) for value in numbers[:, index].tolist()])
    return names, cells


def _decoded(data: Examples, name: str, row: int) -> str:
    """The text of a column, as its tokens tell it; shortened."""
    tokenizer = data.tokenizers[data.columns[name][0]]
    padding = data.padding_of(name)
    return _shortened(tokenizer.decode([int(token) for token in data.arrays[name][row] if token != padding]))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _cell(value: float, texts: tuple[str, ...]) -> str:
    if texts and 0 <= int(value) < len(texts):
        return texts[int(value)] or "(unseen)"
    return readable(float(value))
