"""Where data comes from: one function for each source of `compiler.elaborate.data.SOURCES`."""

from __future__ import annotations

import csv as csv_format
import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.examples import Context, Examples, Rows, Text
from runtime.data.pairs import pairs

if TYPE_CHECKING:
    from compiler.types import Array

Source = Callable[[Stage, Context], Any]


def csv(stage: Stage, context: Context) -> Rows:
    """Rows of a file with a header, in the order in which they stand."""
    path = context.path(stage.arguments["path"], stage.span)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv_format.reader(file, delimiter=stage.arguments["separator"])
            header = next(reader, [])
            cells: dict[str, list[str]] = {name.strip(): [] for name in header}
            lines: list[int] = []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    context.broken(
                        f"{path}:{reader.line_num}", f"{len(row)} cells, where the header names {len(header)}"
                    )
                    continue
                lines.append(reader.line_num)
                for column, cell in zip(cells.values(), row, strict=True):
                    column.append(cell)
    except (UnicodeDecodeError, csv_format.Error) as error:
        raise _unreadable(str(path), "a CSV file", error) from None
    if not lines:
        raise NablacError(Diagnostic("E823", f"{path} has no rows", stage.span))
    return Rows(str(path), cells, lines)


def npz(stage: Stage, context: Context) -> Examples:
    """Arrays by name, as `numpy.savez` writes them; each has an example at every index of axis 0."""
    path = context.path(stage.arguments["path"], stage.span)
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise _unreadable(str(path), "an .npz file of plain arrays", error) from None
    return from_arrays(arrays, str(path))


def from_arrays(arrays: dict[str, Array], place: str) -> Examples:
    """Arrays of one length as examples."""
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not arrays or len(set(lengths.values())) > 1 or not all(lengths.values()):
        listed = ", ".join(f"`{name}` {list(arrays[name].shape)}" for name in arrays) or "nothing"
        raise NablacError(
            Diagnostic("E823", f"arrays of one length are needed, an example at each index: {listed}", place=place)
        )
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0, 0])
            raise NablacError(
                Diagnostic("E821", f"`{name}` holds no number at example {row}: {array[row].ravel()[:4]}", place=place)
            )
    return Examples(dict(arrays))


def parquet(stage: Stage, context: Context) -> Rows:
    """Rows of a Parquet file; needs the extra `parquet`."""
    path = context.path(stage.arguments["path"], stage.span)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise NablacError(
            Diagnostic(
                "E809", "Parquet files need the `parquet` extra", stage.span, hint="pip install 'nablac[parquet]'"
            )
        ) from None
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(str(path), "a Parquet file", error) from None
    cells = {
        name: ["" if cell is None else str(cell) for cell in table.column(name).to_pylist()]
        for name in table.column_names
    }
    if not table.num_rows:
        raise NablacError(Diagnostic("E823", f"{path} has no rows", stage.span))
    return Rows(str(path), cells, list(range(1, table.num_rows + 1)))


def digits(stage: Stage, context: Context) -> Examples:
    """Images of digits with their labels: an IDX pair (as MNIST's), a CSV of pixels with the label last or first,
    or an .npz of `image` and `label`, which is taken as it is.

    Pixels are divided by `scale`, or by the largest where that is 0, and images are [1, height, width]; either kind of
    file may be gzipped.
    """
    path = context.path(stage.arguments["path"], stage.span)
    if path.suffix == ".npz":
        return npz(stage, context)
    content = _content(path)
    if content[:2] == b"\0\0":
        labels = stage.arguments["labels"] or path.name.replace("images", "labels").replace("idx3", "idx1")
        other = context.path(labels if stage.arguments["labels"] else str(path.with_name(labels)), stage.span)
        image, label = _idx(path, content), _idx(other, _content(other))
    else:
        image, label = _digit_rows(path, content, context)
    if len(image) != len(label):
        message = f"{path} has {len(image)} images, and there are {len(label)} labels"
        raise NablacError(Diagnostic("E823", message, stage.span))
    if image.ndim == 2:
        side = math.isqrt(image.shape[1])
        if side * side != image.shape[1]:
            raise NablacError(Diagnostic("E823", f"{image.shape[1]} pixels are no square image", place=str(path)))
        image = image.reshape(-1, side, side)
    scaled = image.astype(np.float32)[:, None] / np.float32(stage.arguments["scale"] or max(image.max(), 1))
    return Examples({"image": scaled, "label": label.astype(np.int64)}, ("image",), ("label",))


def _content(path: Path) -> bytes:
    """A file's bytes, unpacked where it is gzipped."""
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(str(path), "a gzipped file", error) from None


def _idx(path: Path, content: bytes) -> Array:
    """An array of bytes in the IDX format of MNIST (LeCun): a magic number, the sizes, the items."""
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise NablacError(Diagnostic("E821", "this is no IDX file of bytes", place=str(path)))
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    items = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    if items.size != math.prod(shape):
        message = f"{items.size} bytes do not make an array of {list(shape)}: the file is cut off"
        raise NablacError(Diagnostic("E821", message, place=str(path)))
    return items.reshape(shape)


def _digit_rows(path: Path, content: bytes, context: Context) -> tuple[Array, Array]:
    """Rows of numbers: pixels, and a label at the end (or at the front, where the last column holds other numbers)."""
    rows: list[list[float]] = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        try:
            row = [float(cell) for cell in line.split(",")]
        except ValueError:
            if number > 1:  # a first line of words is a header
                context.broken(f"{path}:{number}", "a cell is no number")
            continue
        if rows and len(row) != len(rows[0]):
            context.broken(f"{path}:{number}", f"{len(row)} cells, where the first row has {len(rows[0])}")
            continue
        rows.append(row)
    if not rows or len(rows[0]) < 2:
        raise NablacError(Diagnostic("E821", "this holds no rows of pixels", place=str(path)))
    table = np.array(rows)
    last, first = table[:, -1], table[:, 0]
    if np.array_equal(last, np.round(last)) and last.max() < 100 and not (last == 0).all():
        return table[:, :-1], last
    return table[:, 1:], first


def images(stage: Stage, context: Context) -> Examples:
    """A folder with a folder of images for each class, in the order of their names; needs the extra `image`."""
    from runtime.reading import IMAGES

    path = context.path(stage.arguments["path"], stage.span)
    try:
        from PIL import Image
    except ImportError:
        raise _missing_extra("images", "image", stage) from None
    classes = sorted(each.name for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    if not classes:
        hint = "as in cats/1.png, cats/2.png, dogs/1.png"
        raise NablacError(Diagnostic("E823", f"{path} has no folder for each class", stage.span, hint=hint))
    side = stage.arguments["size"]
    arrays: list[Array] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for file in sorted(each for each in (path / name).iterdir() if each.suffix.lower() in IMAGES):
            try:
                with Image.open(file) as opened:
                    image = opened.convert("RGB")
                    if side:
                        image = image.resize((side, side), Image.Resampling.BILINEAR)
                    array = np.moveaxis(np.asarray(image, np.float32) / 255, -1, 0)
            except OSError as error:
                context.broken(str(file), f"this is no image that can be read: {' '.join(str(error).split())[:80]}")
                continue
            if arrays and array.shape != arrays[0].shape:
                height, width = arrays[0].shape[1:]
                message = f"{array.shape[1]} by {array.shape[2]} pixels, where the first image has {height} by {width}"
                context.broken(str(file), message, "`images(path, size: 64)` makes all of one size")
                continue
            arrays.append(array)
            labels.append(label)
    if not arrays:
        raise NablacError(Diagnostic("E823", f"{path} holds no images", stage.span))
    made = {"image": np.stack(arrays), "label": np.array(labels, np.int64)}
    return Examples(made, ("image",), ("label",), vocabulary=tuple(classes))


def text(stage: Stage, context: Context) -> Text:
    """A text file whole, of a folder all `.txt` in the order of their names; of a Python file the texts in it."""
    path = context.path(stage.arguments["path"], stage.span)
    files = sorted(each for each in path.rglob("*.txt")) if path.is_dir() else [path]
    parts = []
    for each in files:
        try:
            content = each.read_text("utf-8")
            parts.append(_literals(content) if each.suffix == ".py" else content)
        except UnicodeDecodeError as error:
            context.broken(f"{each}: byte {error.start}", "this is no UTF-8 text", "convert it, as with `iconv`")
    whole = "\n".join(parts)
    if not whole:
        raise NablacError(Diagnostic("E823", f"{path} holds no text", stage.span))
    return Text(str(path), [], whole)


def _literals(source: str) -> str:
    """The text literals of a Python file that are data, as those of a dict of topics; nothing is run."""
    import ast

    tree = ast.parse(source)
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "\n".join(each for each in found if "\n" in each)


def _missing_extra(what: str, extra: str, stage: Stage) -> NablacError:
    hint = f"pip install 'nablac[{extra}]'"
    return NablacError(Diagnostic("E809", f"{what} need the extra `{extra}`", stage.span, hint=hint))


def _unreadable(place: str, what: str, error: Exception) -> NablacError:
    first = " ".join(str(error).split())[:160]
    return NablacError(Diagnostic("E821", f"this cannot be read as {what}: {first}", place=place))


SOURCES: dict[str, Source] = {
    "csv": csv,
    "parquet": parquet,
    "npz": npz,
    "digits": digits,
    "images": images,
    "text": text,
    "pairs": pairs,
}
