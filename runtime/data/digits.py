"""Images of digits: IDX files and tables of pixels."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.arrays import npz
from runtime.data.context import Context
from runtime.data.csv_file import Format, read_table
from runtime.data.examples import Examples
from runtime.data.rows import Rows
from runtime.data.source_files import content_of

if TYPE_CHECKING:
    from compiler.types import Array


def digits(stage: DataStage, context: Context) -> Examples:
    """Images of digits with their labels: a pair of IDX files (like MNIST's), a CSV of pixels with the `label` last or
    first, or an .npz of `image` and `label`, which is used as it is.

    Pixels are divided by `scale`, or by the largest if that is 0, and images are [1, height, width]; IDX and CSV files
    may be gzipped.
    """
    path = context.file(stage.arguments["path"], stage.span)
    if path.suffix == ".npz":
        return npz(stage, context)
    content = content_of(path)
    if content[:2] == b"\0\0":
        labels = stage.arguments["labels"] or path.name.replace("images", "labels").replace("idx3", "idx1")
        other = context.file(labels if stage.arguments["labels"] else str(path.with_name(labels)), stage.span)
        image, label = _idx(path, content, 3), _idx(other, content_of(other), 1)
    else:
        image, label = _digit_rows(path, content, stage, context)
    if not image.size:
        raise NablacError(Diagnostic(codes.E823, f"{path} holds no images", stage.span))
    if len(image) != len(label):
        message = f"{path} has {len(image)} images, and there are {len(label)} labels"
        raise NablacError(Diagnostic(codes.E823, message, stage.span))
    if image.ndim == 2:
        side = math.isqrt(image.shape[1])
        if side * side != image.shape[1]:
            raise NablacError(
                Diagnostic(codes.E823, f"{image.shape[1]} pixels do not make a square image", place=str(path))
            )
        image = image.reshape(-1, side, side)
    scaled = image.astype(np.float32)[:, None] / np.float32(stage.arguments["scale"] or max(image.max(), 1))
    return Examples({"image": scaled, "label": label}, ("image",), ("label",))


def _idx(path: Path, content: bytes, axes: int) -> Array:
    """An array of bytes in MNIST's IDX format (LeCun): a magic number, the sizes, the items."""
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise NablacError(Diagnostic(codes.E821, "this is not an IDX file of bytes", place=str(path)))
    if content[3] != axes:
        message = (
            f"this IDX file has {content[3]} axes; expected {'one, of labels' if axes == 1 else 'three, of images'}"
        )
        raise NablacError(Diagnostic(codes.E821, message, place=str(path)))
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    items = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    if items.size != math.prod(shape):
        message = f"{items.size} bytes do not make an array of {list(shape)}: the file is truncated"
        raise NablacError(Diagnostic(codes.E821, message, place=str(path)))
    return items.reshape(shape)


def _digit_rows(path: Path, content: bytes, stage: DataStage, context: Context) -> tuple[Array, Array]:
    """Rows of pixels with a label at one end; a first row with a cell that is not a number is a header."""
    format = Format(header=False)
    table = read_table(content, str(path), format, context)
    first = [column[0] for column in table.cells] if table.lines else []
    header = [cell.strip().lower() for cell in first] if any(format.number(cell) is None for cell in first) else []
    if header:
        cells, lines = [column[1:] for column in table.cells], table.lines[1:]
        table = replace(table, cells=cells, lines=lines, numbers=table.numbers[1:])
    if not table.lines or len(table.names) < 2:
        raise NablacError(Diagnostic(codes.E821, "this holds no rows of pixels", place=str(path)))
    rows = Rows.of(table, str(path), format, context).read_columns(table.names, context, stage.span).numbers
    if not len(rows):
        raise NablacError(Diagnostic(codes.E821, "this holds no rows of pixels", place=str(path)))
    last = (stage.arguments["label"] or _label_end(rows, header, path, stage)) == "last"
    return (rows[:, :-1], rows[:, -1]) if last else (rows[:, 1:], rows[:, 0])


_LABELS = ("label", "class", "target", "digit", "y")  # usual names of a column of labels


def _label_end(table: Array, header: list[str], path: Path, stage: DataStage) -> str:
    """Which end of the rows holds the labels: by the header, or the only end whose numbers can be labels.

    Labels are small integers, and not all the same, as the corner pixels of images mostly are.
    """
    ends = {"first": 0, "last": -1}
    named = [end for end, column in ends.items() if header and header[column] in _LABELS]
    fitting = [
        end
        for end, index in ends.items()
        if (column := table[:, index]).min() >= 0
        and column.max() < 100
        and np.array_equal(column, np.round(column))
        and column.min() < column.max()
    ]
    for candidates in (named, fitting):
        if len(candidates) == 1:
            return candidates[0]
    message = f"{'either' if fitting else 'neither'} end of the rows of {path} can be their labels"
    raise NablacError(
        Diagnostic(codes.E823, message, stage.span, hint='`digits(path, label: "first")` or `"last"` says which')
    )
