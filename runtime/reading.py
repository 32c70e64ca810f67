"""Input files as arrays: `.npy`, `.npz`, `.csv`, JSON and images, shaped as the model's input asks."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean, did_you_mean_file
from runtime.boundary import check_pixels, check_table, guarded, names_in, read_file, read_stream
from runtime.files import is_stream
from runtime.numpy_files import read_npy, read_npz

if TYPE_CHECKING:
    from compiler.types import Array

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_ROWS = re.compile(r"(.*)\[(-?\d*):(-?\d*)\]")
_PART = re.compile(r"(.*\.(?:csv|npz|json)|-):(.*)", re.IGNORECASE | re.DOTALL)
ENDINGS = (".npy", ".npz", ".csv", ".json", *IMAGES)
STDIN = "-"
_BEGINNINGS = {b"\x93NUMPY": ".npy", b"PK\x03\x04": ".npz", b"[": ".json", b"{": ".json"}
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}  # that JSON has no way to write

# What an input is: its type, or where the language has none for it a dtype, and then the array is taken as it is.
Wanted: TypeAlias = "TensorType | np.dtype[Any]"


def read_inputs(
    arguments: list[str], types: Mapping[str, Wanted], say: Callable[[str], None] = lambda text: None
) -> dict[str, Array]:
    """`name=path` arguments, or one plain path for a model of one input; `-` is stdin.

    `path:column` takes a CSV's column, `path:column[-12:]` its last rows, `path:name` an array of an `.npz` or of JSON.
    An `.npz` or a JSON object may hold several inputs by name, and other things beside all of them. `say` is told what
    is done to the data.
    """
    feeds: dict[str, Array] = {}
    for argument in arguments:
        name, sign, path = argument.partition("=")
        if not sign:
            name, path = "", argument
        if name and name not in types:
            hint = did_you_mean(name, types) or f"the inputs are {', '.join(types)}"
            raise NablacError(Diagnostic("E802", f"the model has no input `{name}`", place=argument, hint=hint))
        given = _read(path, types[name] if name else _only(types), say)
        if isinstance(given, dict) and name:
            given = _chosen(given, name, path)
        if isinstance(given, dict):
            if all(key in given or key in feeds or key == "seed" for key in types):
                given = {key: array for key, array in given.items() if key in types}
            unknown = next((key for key in given if key not in types), None)
            if unknown is not None:
                hint = (
                    did_you_mean(unknown, types)
                    or f"choose an array of the file: `{next(iter(types))}={path}:{unknown}`"
                )
                raise NablacError(Diagnostic("E802", f"the model has no input `{unknown}`", place=path, hint=hint))
            feeds |= {key: fitted(array, types[key], f"{path}: {key}") for key, array in given.items()}
            continue
        if not name:
            missing = [key for key in types if key not in feeds and key != "seed"]
            if not missing:
                inputs = [key for key in types if key != "seed"]
                have = "its one input is" if len(inputs) == 1 else "its inputs are"
                hint = f"{have} {', '.join(inputs)}, given before" if inputs else "it has no inputs"
                raise NablacError(Diagnostic("E802", "the model has no input for this file", place=path, hint=hint))
            if len(missing) != 1:
                listed = ", ".join(missing)
                raise NablacError(
                    Diagnostic(
                        "E801",
                        f"{path} may be any of {listed}",
                        place=path,
                        hint=f"say which: `{missing[0]}={path}`",
                    )
                )
            name = missing[0]
        feeds[name] = fitted(given, types[name], path)
    return feeds


def fitted(array: Array, type: Wanted, place: str) -> Array:
    """The array in the input's dtype and rank: a missing batch axis is added, and a last axis of 1."""
    if isinstance(type, np.dtype):
        return _converted(array, type, str(type), place)
    array = _converted(array, type.dtype.numpy, str(type), place)
    if array.ndim < type.rank and type.shape and type.shape[-1] == 1 and array.shape[-1:] != (1,):
        array = array[..., None]
    while array.ndim < type.rank:
        array = array[None]
    return array


def _converted(array: Array, dtype: np.dtype[Any], shown: str, place: str) -> Array:
    """The numbers in another dtype, none of them another number; floats may be rounded."""
    if array.dtype.kind not in "iufb":
        raise NablacError(Diagnostic("E807", f"numbers are needed, and this holds {array.dtype}", place=place))
    if array.dtype.kind == "f" and dtype.kind in "iu":
        if not np.array_equal(array, np.round(array)):
            raise NablacError(Diagnostic("E804", f"the input is {shown}, and this holds fractions", place=place))
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(dtype)
    exact = dtype.kind not in "iub" or bool((found == array).all())
    if not exact or (dtype.kind == "f" and (np.isinf(found) & np.isfinite(array)).any()):
        raise NablacError(Diagnostic("E804", f"the input is {shown}, and this holds numbers beyond it", place=place))
    return found


def _only(types: Mapping[str, Wanted]) -> Wanted | None:
    real = [type for name, type in types.items() if name != "seed"]
    return real[0] if len(real) == 1 else None


def _chosen(held: dict[str, Array], name: str, place: str) -> Array:
    """The array of a file of several that is meant for one input: that of its name, or the only one."""
    if name in held:
        return held[name]
    if len(held) == 1:
        return next(iter(held.values()))
    hint = f"choose one: `{name}={place}:{next(iter(held))}`" if held else None
    message = f"this holds {', '.join(held) or 'nothing'}, and nothing called `{name}`"
    raise NablacError(Diagnostic("E807", message, place=place, hint=hint))


def _read(path: str, type: Wanted | None, say: Callable[[str], None]) -> Array | dict[str, Array]:
    """What a file holds; of a `path:part` the part."""
    cut = _PART.fullmatch(path)
    target, part = (Path(cut[1]), cut[2]) if cut is not None else (Path(path), "")
    stream = str(target) == STDIN or is_stream(target) or (not target.suffix and os.path.isfile(target))
    content = _content(target, path) if stream else b""
    ending = _ending_of(content) if stream else target.suffix.lower()
    if ending not in ENDINGS:
        raise NablacError(
            Diagnostic(
                "E807",
                f"`{ending or target.name}` is no kind of input",
                place=path,
                hint=f"the kinds are {', '.join(ENDINGS)}",
            )
        )
    if not stream:
        if not os.path.isfile(target):
            raise NablacError(Diagnostic("E901", f"there is no file {target}", place=path, hint=_near(target)))
        content = _content(target, path)
    if ending in (".npy", ".npz"):  # either may have the other's name, as NumPy reads them too
        packed = content[:2] == b"PK" or (ending == ".npz" and content[:6] != b"\x93NUMPY")
        return _part(read_npz(content, path, "E807") if packed else read_npy(content, path, "E807"), part, path)
    if ending == ".json":
        with guarded(path, "JSON", "E807"):
            return _part(_json(json.loads(content.decode("utf-8")), path), part, path)
    if ending == ".csv":
        check_table(content.count(b",") + content.count(b"\n"), path)
        with guarded(path, "a CSV file", "E807"):
            return _rows_of(target, part, content)
    with guarded(path, "an image", "E807"):
        return _image(target, content, type, say)


def _content(path: Path, place: str) -> bytes:
    if str(path) == STDIN or is_stream(path):
        return read_stream(path, place)
    return read_file(path, place=place)


def _ending_of(content: bytes) -> str:
    """The kind of what comes without a name; what begins like none of the others is CSV."""
    if content.startswith(_PICTURES):
        return IMAGES[0]
    start = content.lstrip()
    return next((ending for beginning, ending in _BEGINNINGS.items() if start.startswith(beginning)), ".csv")


def _part(held: Array | dict[str, Array], part: str, place: str) -> Array | dict[str, Array]:
    """The array of that name, or all where none is named."""
    if not part or not isinstance(held, dict):
        return held
    if part not in held:
        hint = did_you_mean(part, held) or f"it has {', '.join(held)}"
        raise NablacError(Diagnostic("E807", f"there is no array `{part}`", place=place, hint=hint))
    return held[part]


def _near(path: Path) -> str | None:
    return did_you_mean_file(path.name, names_in(path.parent))


def _json(value: Any, place: str) -> Array | dict[str, Array]:
    def array(each: Any) -> Array:
        found = np.array(_with_numbers(each))
        if found.dtype.kind not in "iufb":
            raise NablacError(
                Diagnostic("E807", "the JSON holds something else than (nested) lists of numbers", place=place)
            )
        return found

    return {str(key): array(each) for key, each in value.items()} if isinstance(value, dict) else array(value)


def _with_numbers(value: Any) -> Any:
    """The numbers that are written as texts, as numbers."""
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


def _rows_of(path: Path, chosen: str, content: bytes) -> Array:
    """A column, or all, and of these the rows that `[first:last]` takes, as a list in Python does."""
    cut = _ROWS.fullmatch(chosen)
    if cut is None:
        return _csv(path, chosen, content)
    first, last = (int(bound) if bound else None for bound in cut.group(2, 3))
    table = _csv(path, cut[1], content)
    if not len(table[first:last]):
        place = f"{path}:{chosen}"
        raise NablacError(Diagnostic("E807", f"this takes none of the {len(table)} rows", place=place))
    return table[first:last]


def _csv(path: Path, column: str, content: bytes) -> Array:
    """One column, or all that hold numbers; a first row that holds none is a header."""
    rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) if row]
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


def _image(path: Path, content: bytes, type: Wanted | None, say: Callable[[str], None]) -> Array:
    """Channels first, from 0 to 1, in the channels and the size that the input asks for."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise NablacError(
            Diagnostic("E809", "images need the `image` extra", place=str(path), hint="pip install 'nablac[image]'")
        ) from None
    try:
        with Image.open(io.BytesIO(content)) as opened:
            check_pixels(*opened.size, str(path))
            known = type if isinstance(type, TensorType) and type.rank >= 3 else None
            channels = known.shape[-3] if known is not None else 3
            image = opened.convert("L" if channels == 1 else "RGB")
            if known is not None:
                height, width = known.shape[-2:]
                if isinstance(height, int) and isinstance(width, int) and image.size != (width, height):
                    given = " x ".join(map(str, opened.size))
                    say(f"note: {path} is {given}, and made {width} x {height} as the model asks")
                    image = image.resize((width, height), Image.Resampling.BILINEAR)
            array = np.asarray(image, np.float32) / 255
    except UnidentifiedImageError:
        raise NablacError(Diagnostic("E807", "this is no image that can be read", place=str(path))) from None
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
