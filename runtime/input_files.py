"""Input files as arrays: `.npy`, `.npz`, tables, JSON and images, in the shapes of the model's inputs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from compiler.dims import Dim
from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean, did_you_mean_file
from grammar.file_kinds import IMAGE, NPY, NPZ, SHEETS, ZIP, kind_of
from runtime.atomic_files import is_stream
from runtime.boundary import folder_for_file, names_in, read_file, read_stream, translate_errors
from runtime.conversion import CannotConvert, convert
from runtime.data.csv_file import OF_COMMAND, Format
from runtime.data.rows import Rows
from runtime.data.table_blocks import TableKind, kind_by_name, read_rows
from runtime.data.trained_columns import trained_columns
from runtime.extras import missing_extra
from runtime.image_file import CHANNELS, read_image
from runtime.image_file import ENDINGS as IMAGES
from runtime.json_arrays import read_json
from runtime.numpy_files import read_npy, read_npz

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.fitted import Fitted

_ROWS = re.compile(r"(.*)\[(-?\d*):(-?\d*)\]")
_PART = re.compile(r"(.*\.(?:(?:csv|tsv|jsonl|ndjson)(?:\.gz)?|parquet|pq|npz|json)|-):(.*)", re.IGNORECASE | re.DOTALL)
_PACKED = ".gz"  # after `.csv`
STDIN = "-"


class FileKind(Enum):
    """The kinds of input files, by their suffixes."""

    NPY = (".npy",)
    NPZ = (".npz",)
    TABLE = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson")
    JSON = (".json",)
    IMAGE = IMAGES

    @staticmethod
    def of_suffix(suffix: str) -> FileKind | None:
        """The kind of a file by its suffix; None for an unknown one."""
        return next((kind for kind in FileKind if suffix.lower() in kind.value), None)

    @staticmethod
    def of_content(content: bytes) -> FileKind:
        """The kind of a stream by its first bytes; a table if they are those of no other kind."""
        if kind_of(content) == IMAGE or content.startswith(_ALSO_IMAGES):
            return FileKind.IMAGE
        start = content.lstrip()
        if start.startswith((b"[", b"{")):
            return FileKind.JSON
        return _INPUT_KINDS.get(kind_of(start) or "", FileKind.TABLE)


TEXT_FILES = (".txt",)  # of texts, which are no inputs
_SUFFIXES = tuple(suffix for kind in FileKind for suffix in kind.value)
_INPUT_KINDS = {NPY: FileKind.NPY, **dict.fromkeys((NPZ, ZIP, *SHEETS), FileKind.NPZ)}  # its reader refuses other ZIPs
_ALSO_IMAGES = (b"BM", b"GIF8", b"RIFF")  # too short to recognise files by, but enough for streams

# The type of an input, or only a dtype where the language has no such type: then the array is used as it is.
InputType: TypeAlias = "TensorType | np.dtype[Any]"


@dataclass(frozen=True, eq=False)
class FileArray:
    """An array of a file, and the location of its numbers there: the lines and columns of a table."""

    array: Array
    path: str
    lines: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    padding: int | None = None  # the padding token, of rows of tokens of a column of texts

    def location(self, index: tuple[int, ...] | None) -> str:
        """The location in the file of the number at `index`."""
        if not index:
            return self.path
        if not self.lines:
            return f"{self.path}, index {list(index)}"
        column = self.columns[index[1] if len(index) > 1 else 0]
        return f"{self.path}:{self.lines[index[0]]}, column `{column}`"


@dataclass(frozen=True)
class Reading:
    """What is known of files beside their content: how CSV is written, which columns each input was trained on.

    `fitted` is what training knows of them: the classes and the tokenizers of columns.
    `derived` are columns that stages make of others, which only `nablac predict` does.
    `optional` inputs need no file: the caller has a value for them, as for the key of random draws.
    `known` inputs take later rows than the others.
    """

    say: Callable[[str], None] = lambda text: None
    format: Format = OF_COMMAND
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional: Collection[str] = ()
    derived: Collection[str] = ()
    known: Collection[str] = ()
    fitted: Fitted | None = None

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        """Raise the error of a row that cannot be used."""
        raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))

    def note(self, location: str, message: str) -> None:
        """Report something of a file that is changed or left out."""
        self.say(f"note: {location}: {message}")


PLAIN = Reading()


def read_inputs(arguments: list[str], types: Mapping[str, InputType], reading: Reading = PLAIN) -> dict[str, Array]:
    """`name=path` arguments, or one plain path for a model of one input; `-` is stdin.

    `path:column` is a column of a CSV, `path:column[-12:]` its last rows, `path:name` an array of an `.npz` or of JSON.
    An `.npz`, a JSON object or a CSV with a header may hold several inputs by name; if it holds all, it may hold
    other arrays too. `reading.say` is called with what is changed in the data.
    """
    return {
        name: fit_to_type(array, types[name]) for name, array in read_file_arrays(arguments, types, reading).items()
    }


def read_file_arrays(arguments: list[str], types: Mapping[str, InputType], reading: Reading) -> dict[str, FileArray]:
    """The arrays of `read_inputs` as the files hold them."""
    feeds: dict[str, FileArray] = {}
    for argument in arguments:
        name, sign, path = argument.partition("=")
        if not sign:
            name, path = "", argument
        if name and name not in types:
            hint = did_you_mean(name, types) or f"the inputs are {', '.join(types)}"
            raise NablacError(Diagnostic(codes.E802, f"the model has no input `{name}`", place=argument, hint=hint))
        open_inputs = {key: type for key, type in types.items() if key not in feeds}
        only = name or _only_input(open_inputs, reading.optional) or _only_input(types, reading.optional)
        content = _read(path, only, types if name else open_inputs, reading)
        if isinstance(content, dict) and name:
            content = _select(content, name, path)
        if isinstance(content, dict):
            if all(key in content or key in feeds or key in reading.optional for key in types):
                content = {key: array for key, array in content.items() if key in types}
            unknown = next((key for key in content if key not in types), None)
            if unknown is not None:
                hint = (
                    did_you_mean(unknown, types)
                    or f"choose an array of the file: `{next(iter(types))}={path}:{unknown}`"
                )
                raise NablacError(Diagnostic(codes.E802, f"the model has no input `{unknown}`", place=path, hint=hint))
            feeds |= content
            continue
        if not name:
            missing = [key for key in types if key not in feeds and key not in reading.optional]
            if not missing:
                inputs = [key for key in types if key not in reading.optional]
                have = "its one input is" if len(inputs) == 1 else "its inputs are"
                hint = f"{have} {', '.join(inputs)}, given before" if inputs else "it has no inputs"
                raise NablacError(Diagnostic(codes.E802, "the model has no input for this file", place=path, hint=hint))
            if len(missing) != 1:
                listed = ", ".join(missing)
                raise NablacError(
                    Diagnostic(
                        codes.E801,
                        f"{path} may be any of {listed}",
                        place=path,
                        hint=f"say which: `{missing[0]}={path}`",
                    )
                )
            name = missing[0]
        feeds[name] = content
    return feeds


def file_of(argument: str) -> Path:
    """The path in an argument of `read_inputs`, without the input's name before it and the part after it."""
    name, sign, path = argument.partition("=")
    path = path if sign else name
    cut = _PART.fullmatch(path)
    return Path(cut[1] if cut is not None else path)


def fit_to_type(source: FileArray, type: InputType) -> Array:
    """The array in the input's dtype and rank: missing axes are added, of the batch and a last one of size 1."""
    dtype = type if isinstance(type, np.dtype) else type.dtype.numpy
    try:
        array = convert(source.array, dtype)
    except CannotConvert as error:
        message = f"the input is {type}, and {error.reason}"
        raise NablacError(
            Diagnostic(codes.E804, message, place=source.location(error.index), hint=error.hint)
        ) from None
    if isinstance(type, np.dtype):
        return array
    if array.ndim < type.rank and type.shape and type.shape[-1] == 1 and array.shape[-1:] != (1,):
        array = array[..., None]
    while array.ndim < type.rank:
        array = array[None]
    return array


def _only_input(types: Mapping[str, InputType], optional: Collection[str]) -> str:
    """The name of the one input that needs a file, "" where several do."""
    required = [name for name in types if name not in optional]
    return required[0] if len(required) == 1 else ""


def _select(arrays: dict[str, FileArray], name: str, path: str) -> FileArray:
    """The array of a file for one input: the one of its name, or the only one."""
    if name in arrays:
        return arrays[name]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    hint = f"choose one: `{name}={path}:{next(iter(arrays))}`" if arrays else None
    message = f"there is no array `{name}`; the file holds {', '.join(arrays) or 'none'}"
    raise NablacError(Diagnostic(codes.E807, message, place=path, hint=hint))


def _read(path: str, name: str, types: Mapping[str, InputType], reading: Reading) -> FileArray | dict[str, FileArray]:
    """The arrays of a file for the input `name`, or for several inputs if that is ""; only the part of `path:part`."""
    cut = _PART.fullmatch(path)
    target, part = (Path(cut[1]), cut[2]) if cut is not None else (Path(path), "")
    stream = str(target) == STDIN or is_stream(target) or (not target.suffix and os.path.isfile(target))
    if os.path.isdir(target):
        raise folder_for_file(path)
    content = _content(target, path) if stream else b""
    packed = target.suffix.lower() == _PACKED
    suffix = Path(target.stem).suffix if packed else target.suffix
    kind = FileKind.of_content(content) if stream else FileKind.of_suffix(suffix)
    if not stream and not os.path.isfile(target):
        raise NablacError(Diagnostic(codes.E901, f"there is no file {target}", place=path, hint=_suggest(target)))
    if kind is None or (packed and kind is not FileKind.TABLE):
        message = f"`{suffix.lower() or target.name}` is not a supported input file"
        hint = f"the kinds are {', '.join(_SUFFIXES)}"
        hint += "; `nablac predict` reads texts, one on each line" if suffix.lower() in TEXT_FILES else ""
        raise NablacError(Diagnostic(codes.E807, message, place=path, hint=hint))
    if not stream:
        content = _content(target, path) if kind_by_name(str(target)) != "parquet" else b""
    match kind:
        case FileKind.NPY | FileKind.NPZ:  # either may have the suffix of the other: NumPy reads both
            several = content[:2] == b"PK" or (kind is FileKind.NPZ and content[:6] != b"\x93NUMPY")
            return _part(
                read_npz(content, path, codes.E807) if several else read_npy(content, path, codes.E807), part, path
            )
        case FileKind.JSON:
            with translate_errors(path, "JSON", codes.E807):
                return _part(read_json(content, path), part, path)
        case FileKind.TABLE:
            table: TableKind = "csv" if stream else kind_by_name(str(target)) or "csv"
            with translate_errors(path, "a table", codes.E807):
                return _rows_of(str(target), part, table, content, name, types, reading)
        case FileKind.IMAGE:
            return _image(path, content, types.get(name), reading)


def _content(path: Path, location: str) -> bytes:
    if str(path) == STDIN or is_stream(path):
        return read_stream(path, location)
    return read_file(path, location=location)


def _part(content: Array | dict[str, Array], part: str, location: str) -> FileArray | dict[str, FileArray]:
    """The array of that name, or all arrays if no name is given."""
    if not isinstance(content, dict):
        return FileArray(content, location)
    if not part:
        return {name: FileArray(array, f"{location}: {name}") for name, array in content.items()}
    if part not in content:
        hint = did_you_mean(part, content) or f"the choices are {', '.join(content)}"
        raise NablacError(Diagnostic(codes.E807, f"there is no array `{part}`", place=location, hint=hint))
    return FileArray(content[part], location)


def _suggest(path: Path) -> str | None:
    return did_you_mean_file(path.name, names_in(path.parent))


def _rows_of(
    path: str,
    chosen: str,
    kind: TableKind,
    content: bytes,
    name: str,
    types: Mapping[str, InputType],
    reading: Reading,
) -> FileArray | dict[str, FileArray]:
    """One column, or the columns of the input, or all; and of these the rows in `[first:last]`, a Python slice.

    A table that has the columns of all inputs feeds them all.
    """
    cut = _ROWS.fullmatch(chosen)
    column = cut[1] if cut is not None else chosen
    first, last = (int(bound) if bound else None for bound in cut.group(2, 3)) if cut is not None else (None, None)
    rows = read_rows(path, reading.format, reading, kind, content)
    if not rows.lines:
        raise NablacError(Diagnostic(codes.E823, f"{path} has no rows", place=path))
    lines = tuple(rows.lines[first:last])
    if not lines:
        location = f"{path}:{chosen}"
        raise NablacError(Diagnostic(codes.E807, f"this selects none of the {len(rows.lines)} rows", place=location))

    def array_of(columns: list[str]) -> FileArray:
        array, padding = trained_columns(rows, columns, reading.fitted, reading, reading.columns.get(name, ()))
        array = array[first:last]
        is_one = len(columns) == 1 and padding is None
        return FileArray(array[:, 0] if is_one else array, path, lines, tuple(columns), padding)

    if not column and not name:
        required = [input for input in types if input not in reading.optional]
        if len(required) > 1 and reading.known:
            later = ", ".join(f"`{input}`" for input in reading.known)
            message = f"{later} takes later rows than the model's other inputs, and this is one table for all of them"
            named = " ".join(f"{input}=FILE" for input in required)
            hint = f"name a file of each, `{named}`, or use `nablac predict`, which reads both from one table"
            raise NablacError(Diagnostic(codes.E801, message, place=path, hint=hint))
        columns = {input: list(reading.columns.get(input, (input,))) for input in required}
        if all(rows.cells.keys() >= set(names) for names in columns.values()):
            return {input: array_of(names) for input, names in columns.items()}
    return array_of(_columns_of(rows, column, name, rows.named, reading))


def _columns_of(rows: Rows, column: str, name: str, named: bool, reading: Reading) -> list[str]:
    """The requested column, else those that the input was trained on, else all."""
    if not column and not named:
        return _unnamed_columns_of(rows, name, reading)
    known = reading.columns.get(name, ())
    labels = [column] if column else list(known) or list(rows.cells)
    for label in labels:
        if label not in rows.cells:
            listed = f"the columns are {', '.join(rows.cells)}"
            hint = did_you_mean(label, rows.cells) or rows.format.hint_of_header(list(rows.cells)) or listed
            if label in reading.derived:
                hint = f"`nablac predict` makes `{label}` of the table, as training did"
            what = f"there is no column `{label}`" + ("" if column else f", which `{name}` was trained on")
            raise NablacError(Diagnostic(codes.E808, what, place=rows.path, hint=hint))
    if not column:
        _note_aside(rows, name, labels, reading)
    return labels


def _unnamed_columns_of(rows: Rows, name: str, reading: Reading) -> list[str]:
    """The columns of an input in a table without a header: those of its training by number, or all.

    If the columns had names in training, all are taken in order, and their number has to be the same.
    """
    known, there = list(reading.columns.get(name, ())), list(rows.cells)
    if not known or known == there:
        return there
    listed = ", ".join(known)
    if all(label.isdecimal() for label in known):  # as columns without a header were called in training too
        missing = next((label for label in known if label not in rows.cells), None)
        if missing is None:
            _note_aside(rows, name, known, reading)
            return known
        what = f"there is no column `{missing}`, which `{name}` was trained on"
        hint = f"the columns are {', '.join(there)}, counted from 0; a header may name them {listed}"
        raise NablacError(Diagnostic(codes.E808, what, place=rows.path, hint=hint))
    if len(there) != len(known):
        what = f"there is no header, and which of the {len(there)} columns are {listed} of `{name}` is not known"
        hint = f"a header says it; without one there have to be {len(known)}, in this order"
        raise NablacError(Diagnostic(codes.E808, what, place=rows.path, hint=hint))
    reading.note(rows.path, f"there is no header: the columns are taken as {listed} of `{name}`, in this order")
    return there


def _note_aside(rows: Rows, name: str, columns: list[str], reading: Reading) -> None:
    aside = [other for other in rows.cells if other not in columns]
    if aside:
        reading.note(rows.path, f"`{name}` takes {', '.join(columns)}; ignored: {', '.join(aside)}")


def _image(path: str, content: bytes, type: InputType | None, reading: Reading) -> FileArray:
    """An image, channels first, from 0 to 1, with the channels and the size of the input."""
    shape = type.shape if isinstance(type, TensorType) and type.rank >= 3 else None
    # An input of three axes, the first of them a batch, takes grey images.
    grey = shape is not None and len(shape) == 3 and isinstance(shape[0], Dim)
    channels = 1 if grey else shape[-3] if shape is not None else 3
    channels = 3 if isinstance(channels, Dim) else channels
    if channels not in CHANNELS:
        message, hint = f"the input is {type}, and an image has 1, 3 or 4 channels", None
        if shape is not None and shape[-1] in CHANNELS:
            hint = "channels come first here, as in `[batch, 3, height, width]`: the model can `transpose` them"
        raise NablacError(Diagnostic(codes.E829, message, place=path, hint=hint))
    if isinstance(type, TensorType) and not type.dtype.is_float:
        message = f"the input is {type}, and an image becomes numbers from 0 to 1"
        raise NablacError(Diagnostic(codes.E829, message, place=path, hint="give its bytes as `.npy`"))
    height, width = shape[-2:] if shape is not None else (None, None)

    def size(of_height: int, of_width: int) -> tuple[int, int]:
        if not (isinstance(height, int) and isinstance(width, int)):
            return of_height, of_width
        if (of_height, of_width) != (height, width):
            target = f"{width} x {height}, as the model requires"
            reading.say(f"note: {path} is {of_width} x {of_height}, and resized to {target}")
        return height, width

    try:
        array = read_image(content, path, channels, size, lambda text: reading.note(path, text))
    except ImportError:
        raise missing_extra("images", "image", location=path) from None
    return FileArray(array, path)
