"""Input files as arrays: `.npy`, `.npz`, `.csv`, JSON and images, shaped as the model's input asks."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean

if TYPE_CHECKING:
    from compiler.types import Array

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_ROWS = re.compile(r"(.*)\[(-?\d*):(-?\d*)\]")
ENDINGS = (".npy", ".npz", ".csv", ".json", *IMAGES)


def read_inputs(arguments: list[str], types: dict[str, TensorType]) -> dict[str, Array]:
    """`name=path` arguments, or one plain path for a model of one input.

    `path:column` takes a CSV's column, `path:column[-12:]` its last rows.
    An `.npz` or a JSON object may hold several inputs by name.
    """
    feeds: dict[str, Array] = {}
    for argument in arguments:
        name, sign, path = argument.partition("=")
        if not sign:
            name, path = "", argument
        if name and name not in types:
            hint = did_you_mean(name, types) or f"the inputs are {', '.join(types)}"
            raise NablacError(Diagnostic("E802", f"the model has no input `{name}`", place=argument, hint=hint))
        given = _read(path, types[name] if name else _only(types))
        if isinstance(given, dict):
            unknown = next((key for key in given if key not in types), None)
            if unknown is not None:
                hint = did_you_mean(unknown, types) or f"the inputs are {', '.join(types)}"
                raise NablacError(Diagnostic("E802", f"the model has no input `{unknown}`", place=path, hint=hint))
            feeds |= {key: fitted(array, types[key], f"{path}: {key}") for key, array in given.items()}
            continue
        if not name:
            missing = [key for key in types if key not in feeds and key != "seed"]
            if len(missing) != 1:
                listed = ", ".join(missing)
                raise NablacError(
                    Diagnostic(
                        "E801",
                        f"{path} may be any of {listed}",
                        place=path,
                        hint=f"say which: `{missing[0] if missing else 'x'}={path}`",
                    )
                )
            name = missing[0]
        feeds[name] = fitted(given, types[name], path)
    return feeds


def fitted(array: Array, type: TensorType, place: str) -> Array:
    """The array in the input's dtype and rank: a missing batch axis is added, and a last axis of 1."""
    dtype = type.dtype.numpy
    if array.dtype.kind not in "iufb":
        raise NablacError(Diagnostic("E807", f"numbers are needed, and this holds {array.dtype}", place=place))
    if array.dtype.kind == "f" and dtype.kind in "iu":
        if not np.array_equal(array, np.round(array)):
            raise NablacError(Diagnostic("E804", f"the input is {type}, and this holds fractions", place=place))
    if array.ndim < type.rank and type.shape and type.shape[-1] == 1 and array.shape[-1:] != (1,):
        array = array[..., None]
    while array.ndim < type.rank:
        array = array[None]
    return array.astype(dtype)


def _only(types: dict[str, TensorType]) -> TensorType | None:
    real = [type for name, type in types.items() if name != "seed"]
    return real[0] if len(real) == 1 else None


def _read(path: str, type: TensorType | None) -> Array | dict[str, Array]:
    before, sign, column = path.rpartition(".csv:")
    target = Path(f"{before}.csv") if sign else Path(path)
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise NablacError(
            Diagnostic(
                "E807",
                f"`{ending or target.name}` is no kind of input",
                place=path,
                hint=f"the kinds are {', '.join(ENDINGS)}",
            )
        )
    if not target.is_file():
        raise NablacError(Diagnostic("E901", f"there is no file {target}", place=path, hint=_near(target)))
    try:
        if ending == ".npy":
            return np.asarray(np.load(target, allow_pickle=False))
        if ending == ".npz":
            with np.load(target, allow_pickle=False) as held:
                return {name: held[name] for name in held.files}
        if ending == ".json":
            return _json(json.loads(target.read_text("utf-8")), path)
        if ending == ".csv":
            return _rows_of(target, column)
        return _image(target, type)
    except (OSError, ValueError, EOFError, UnicodeDecodeError) as error:
        first = " ".join(str(error).split())[:200]
        raise NablacError(Diagnostic("E807", f"this file cannot be read: {first}", place=path)) from None


def _near(path: Path) -> str | None:
    if not path.parent.is_dir():
        return None
    return did_you_mean(path.name, [each.name for each in path.parent.iterdir()])


def _json(value: Any, place: str) -> Array | dict[str, Array]:
    def array(each: Any) -> Array:
        found = np.array(each)
        if found.dtype.kind not in "iufb":
            raise NablacError(
                Diagnostic("E807", "the JSON holds something else than (nested) lists of numbers", place=place)
            )
        return found

    return {str(key): array(each) for key, each in value.items()} if isinstance(value, dict) else array(value)


def _rows_of(path: Path, chosen: str) -> Array:
    """A column, or all, and of these the rows that `[first:last]` takes, as a list in Python does."""
    cut = _ROWS.fullmatch(chosen)
    if cut is None:
        return _csv(path, chosen)
    first, last = (int(bound) if bound else None for bound in cut.group(2, 3))
    table = _csv(path, cut[1])
    if not len(table[first:last]):
        place = f"{path}:{chosen}"
        raise NablacError(Diagnostic("E807", f"this takes none of the {len(table)} rows", place=place))
    return table[first:last]


def _csv(path: Path, column: str) -> Array:
    """One column, or all that hold numbers; a first row that holds none is a header."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        raise NablacError(Diagnostic("E807", "the file is empty", place=str(path)))
    header = rows[0] if not any(_is_number(cell) for cell in rows[0]) else [str(place) for place in range(len(rows[0]))]
    body = rows[1:] if header is rows[0] else rows
    if column and column not in header:
        hint = did_you_mean(column, header) or f"the columns are {', '.join(header)}"
        raise NablacError(Diagnostic("E808", f"there is no column `{column}`", place=str(path), hint=hint))
    if not body:
        raise NablacError(Diagnostic("E807", "the file has a header and no rows", place=str(path)))
    places = [header.index(column)] if column else [place for place, cell in enumerate(body[0]) if _is_number(cell)]
    if not places:
        raise NablacError(Diagnostic("E807", "no column holds numbers", place=str(path)))
    table = np.empty((len(body), len(places)))
    for number, row in enumerate(body):
        for rank, place in enumerate(places):
            cell = row[place] if place < len(row) else ""
            if not _is_number(cell):
                line = number + 1 + (header is rows[0])
                raise NablacError(
                    Diagnostic(
                        "E807", f"row {line}, column `{header[place]}`: `{cell}` is no number", place=f"{path}:{line}"
                    )
                )
            table[number, rank] = float(cell)
    return table[:, 0] if column or len(places) == 1 else table


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _image(path: Path, type: TensorType | None) -> Array:
    """Channels first, from 0 to 1, in the channels and the size that the input asks for."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise NablacError(
            Diagnostic("E809", "images need the `image` extra", place=str(path), hint="pip install 'nablac[image]'")
        ) from None
    try:
        with Image.open(path) as opened:
            channels = type.shape[-3] if type is not None and type.rank >= 3 else 3
            image = opened.convert("L" if channels == 1 else "RGB")
            if type is not None and type.rank >= 3:
                height, width = type.shape[-2:]
                if isinstance(height, int) and isinstance(width, int) and image.size != (width, height):
                    image = image.resize((width, height), Image.Resampling.BILINEAR)
            array = np.asarray(image, np.float32) / 255
    except UnidentifiedImageError:
        raise NablacError(Diagnostic("E807", "this is no image that can be read", place=str(path))) from None
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
