"""Weights in `.safetensors` files, by parameter path; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.graph import Graph
from compiler.types import DType, TensorType, TypeMismatch
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean, did_you_mean_file, nearest
from runtime.atomic_files import atomic_write
from runtime.boundary import (
    BEGINNING,
    LARGEST_JSON,
    names_in,
    open_regular,
    read_file,
    reason_of,
    refuse_other_kinds,
    require_room,
    translate_errors,
)
from runtime.initialization import stored_operators
from runtime.renames import Entry, Rename, apply_renames, read_renames, unused_rules
from runtime.safetensors_faults import fault_of

if TYPE_CHECKING:
    from compiler.types import Array

__all__ = ["Rename", "fit_weights", "load_weights", "read_metadata", "read_renames", "read_tensors", "save_weights"]

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_PLAIN = {"BOOL", "F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"}  # that NumPy has
_EXTENDED = {  # by their names in `ml_dtypes`
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}
_MOST_IDLE = 5  # rules without effect that are listed
_MOST_SHOWN = 3  # files of a folder that are listed
_MOST_UNKNOWN = 20  # entries that are not the model's, each with a diagnostic


def save_weights(path: str | Path, weights: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write weights to a `.safetensors` file, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # Contiguous in memory: safetensors writes the buffer as it is, and ignores strides.
    arrays = {name: np.require(array, requirements="C") for name, array in weights.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(arrays, str(temporary), dict(metadata) if metadata else None)
        except SafetensorError as error:  # a failed write, such as on a full disk
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error)) from error


def load_weights(path: str | Path, graph: Graph, renames: Iterable[Rename] = ()) -> dict[str, Array]:
    """The weights of a graph from a file; one NablacError lists all missing, unknown and misshaped entries.

    Floats are converted to the model's float type and integers to its integer type, if they fit.
    """
    return fit_weights(read_tensors(path), graph, str(path), list(renames))


def fit_weights(
    arrays: Mapping[str, Array],
    graph: Graph,
    location: str,
    renames: Sequence[Rename] = (),
    optional: Callable[[], Iterable[Graph]] = tuple,
) -> dict[str, Array]:
    """A graph's weights by path from arrays by foreign names, and those weights of `optional` graphs that exist.

    `optional` is called only if there are entries that do not belong to the graph.
    """
    wanted = {op.path: op.type for op in stored_operators(graph)}
    sources = apply_renames(list(arrays), renames, location)
    wrong: list[Diagnostic] = []
    missing = [path for path in wanted if path not in sources]
    unknown = [path for path in sources if path not in wanted]
    if unknown:
        others = (op for other in optional() for op in stored_operators(other))
        wanted |= {op.path: op.type for op in others if op.path in unknown and op.path not in wanted}
        unknown = [path for path in sources if path not in wanted]
    for path in missing:
        message = f"`{path}`: {wanted[path]} is missing"
        wrong.append(
            Diagnostic(codes.E701, message, place=location, hint=_suggest(path, wanted[path], unknown, sources, arrays))
        )
    for path in unknown[:_MOST_UNKNOWN]:
        name = sources[path].name
        shown = f"`{name}`" if name == path else f"`{name}`, renamed to `{path}`,"
        hint = did_you_mean(path, missing or wanted) or "rename rules map foreign names to paths"
        wrong.append(Diagnostic(codes.E702, f"{shown} is not a parameter of {graph.name}", place=location, hint=hint))
    if len(unknown) > _MOST_UNKNOWN:
        message = f"{len(unknown) - _MOST_UNKNOWN} more entries are not parameters of {graph.name}"
        wrong.append(Diagnostic(codes.E702, message, place=location))
    fitted: dict[str, Array] = {}
    for path, type in wanted.items():
        if path not in sources:
            continue
        array = sources[path].value(arrays)
        mistake = _misfit(path, array, type, location, sources[path])
        if mistake is not None:
            wrong.append(mistake)
        else:
            fitted[path] = np.require(array, type.dtype.numpy, ["C", "W"])
    if wrong:
        raise NablacError(*wrong, *_unused_rules(list(arrays), renames, location))
    return fitted


def describe_unused_rules(names: Sequence[str], renames: Sequence[Rename]) -> str | None:
    """A message about rules that match no entry; None if each matches one."""
    rules = unused_rules(names, renames)
    if not rules:
        return None
    shown = ", ".join(f"`{rule.text}`" for rule in rules[:_MOST_IDLE])
    more = f" and {len(rules) - _MOST_IDLE} more" if len(rules) > _MOST_IDLE else ""
    return f"{shown}{more} {'matches' if len(rules) == 1 else 'match'} no entry of the file"


def _unused_rules(names: Sequence[str], renames: Sequence[Rename], location: str) -> list[Diagnostic]:
    """Diagnostics for rules that match no entry, to be added to other errors."""
    message = describe_unused_rules(names, renames)
    if message is None:
        return []
    hint = f"its entries are called {', '.join(f'`{name}`' for name in names[:3])}{', ...' if names[3:] else ''}"
    return [Diagnostic(codes.E706, message, place=location, hint=hint if names else None)]


def read_tensors(path: str | Path) -> dict[str, Array]:
    """Every tensor of a `.safetensors` file, of the files in an `.index.json`, or of the one of these in a folder.

    NablacError for other files.
    """
    path = Path(path)
    if os.path.isdir(path):
        path = _weights_file(path)
    if path.name.endswith(".index.json"):
        return {name: array for file in _shards(path) for name, array in read_tensors(file).items()}
    with _open(path) as file:
        dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - no mapping
        plain = {name: file.get_tensor(name) for name, dtype in dtypes.items() if dtype in _PLAIN}
        tensors = plain | _read_extended(path, {name: dtype for name, dtype in dtypes.items() if dtype in _EXTENDED})
    foreign = [
        Diagnostic(codes.E704, f"`{name}` is {dtype} in the file, which no model has", place=str(path))
        for name, dtype in dtypes.items()
        if name not in tensors
    ]
    if foreign:
        raise NablacError(*foreign)
    return tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a `.safetensors` file, or of the one in a folder; empty for an index."""
    path = Path(path)
    if os.path.isdir(path):
        path = _weights_file(path)
    if path.name.endswith(".index.json"):
        return {}
    with _open(path) as file:
        return dict(file.metadata() or {})


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a `.safetensors` file with its library; NablacError for other files, and for any error within the block."""
    from safetensors import SafetensorError, safe_open

    _refuse_others(path)
    require_room(os.path.getsize(path), str(path))
    hint = "it may be truncated: download or write it again"
    with translate_errors(str(path), "a whole .safetensors file", codes.E705, hint):
        try:
            opened = safe_open(str(path), "np")
        except SafetensorError:
            raise ValueError(fault_of(path)) from None
        with opened as file:
            yield file


def _weights_file(folder: Path) -> Path:
    """The weights in a folder: its only index, or else its only file."""
    kinds = ("*.safetensors.index.json", "*.safetensors", "pytorch_model.bin")  # the last is refused as what it is
    files = next((matches for matches in (sorted(folder.glob(kind)) for kind in kinds) if matches), [])
    if len(files) == 1:
        return files[0]
    if not files:
        message, hint = "this folder holds no `.safetensors` file", "name the file, or its folder"
    else:
        shown = ", ".join(file.name for file in files[:_MOST_SHOWN]) + (", ..." if files[_MOST_SHOWN:] else "")
        message = f"this folder holds {len(files)} files of weights: {shown}"
        hint = "name one of them, or add the `.safetensors.index.json` that joins them"
    raise NablacError(Diagnostic(codes.E901, message, place=str(folder), hint=hint))


def _shards(index: Path) -> list[Path]:
    """The files that an index (`model.safetensors.index.json`) names; each has to be beside the index."""
    if not os.path.exists(index):
        raise NablacError(Diagnostic(codes.E901, f"there is no file {index}", place=str(index)))
    content = read_file(index, LARGEST_JSON)
    try:
        names = set(json.loads(content)["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        hint = "it holds a `weight_map` from each tensor to its file"
        raise _unreadable(index, "this is not an index of .safetensors files", hint, reason_of(error)) from None
    if not all(isinstance(name, str) and name and Path(name).name == name for name in names):
        raise _unreadable(index, "this index names files elsewhere", "they must be beside it")
    if any(name.endswith(".index.json") for name in names):
        raise _unreadable(index, "this index names an index", "it names the files that hold the tensors")
    return [index.parent / name for name in sorted(names)]


def _read_extended(path: Path, dtypes: Mapping[str, str]) -> dict[str, Array]:
    """Tensors of dtypes that NumPy does not have, and safetensors does not read; the file has been validated before."""
    if not dtypes:
        return {}
    import ml_dtypes

    tensors: dict[str, Array] = {}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name, dtype in dtypes.items():
            begin, end = header[name]["data_offsets"]
            file.seek(8 + length + begin)
            bits = np.frombuffer(file.read(end - begin), getattr(ml_dtypes, _EXTENDED[dtype]))
            tensors[name] = bits.reshape(header[name]["shape"])
    return tensors


def _refuse_others(path: Path) -> None:
    """NablacError for files that are recognised as something else, with a hint how to convert them."""
    if not os.path.exists(path):
        hint = did_you_mean_file(path.name, [name for name in names_in(path.parent) if name.endswith(".safetensors")])
        raise NablacError(Diagnostic(codes.E901, f"there is no file {path}", place=str(path), hint=hint))
    with translate_errors(str(path), "weights", codes.E705), open_regular(path) as file:
        head, size = file.read(BEGINNING), os.fstat(file.fileno()).st_size
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:  # a length of 640 begins like a pickle
        return
    if head.startswith(b"PK\x03\x04") and _is_npz(path):
        hint = "`safetensors.numpy.save_file(dict(numpy.load(path)), new_path)`"
        raise _unreadable(path, "this is an .npz file", hint)
    if head.startswith(_PICKLES) or path.suffix in (".pkl", ".pickle"):
        hint = "if you trust it: `safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)`"
        raise _unreadable(path, "this is a pickled checkpoint, and reading one runs whatever code it holds", hint)
    if head.startswith(b"\x89HDF"):
        hint = "in Keras: `safetensors.numpy.save_file({w.path: w.numpy() for w in model.weights}, path)`"
        raise _unreadable(path, "this is an HDF5 file", hint)
    if not head:
        raise _unreadable(path, "the file is empty", "it may be truncated: download or write it again")
    refuse_other_kinds(head, "a .safetensors file", str(path), codes.E705)


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as held:
            return all(name.endswith(".npy") for name in held.namelist())
    except Exception:  # whatever it is
        return False


def _misfit(path: str, array: Array, type: TensorType, location: str, entry: Entry) -> Diagnostic | None:
    """Why an array does not fit a parameter, if it does not."""
    stored_type = _type_of(array)
    if array.shape != type.shape:
        turned = array.ndim > 1 and (*array.shape[:-2], array.shape[-1], array.shape[-2]) == type.shape
        rule = f"{entry.name} -> {path}" + ("" if entry.turned else " ^T")
        verb = "leave it as it is" if entry.turned else "turn it"
        hint = (
            f"{verb} by a rename rule before the others: `--rename '{rule}'`" if turned and entry.parts == 1 else None
        )
        if entry.parts > 1 and array.ndim == len(type.shape) and -array.ndim <= entry.axis < array.ndim:
            hint = _axis_hint(array, type, entry) or hint
        return Diagnostic(
            codes.E703, f"`{path}` is {stored_type} in the file, and {type} in the model", place=location, hint=hint
        )
    dtype: Any = type.dtype.numpy
    try:
        same_kind = DType.of(array).kind == type.dtype.kind
    except TypeMismatch:  # a dtype that the language has not
        same_kind = array.dtype.kind in "iu" and type.dtype.is_integer
    if not same_kind or (type.dtype.is_integer and (array.astype(dtype) != array).any()):
        return Diagnostic(codes.E704, f"`{path}` is {stored_type} in the file, and {type} in the model", place=location)
    return _not_finite(path, array, type, location) if type.dtype.is_float else None


def _axis_hint(array: Array, type: TensorType, entry: Entry) -> str | None:
    """A hint which axis to split, if the parts of an entry would fit along another axis than the rule's."""
    split = list(array.shape)
    split[entry.axis] *= entry.parts
    for shape in (array.shape, tuple(split)):
        for axis, size in enumerate(shape):
            parts = (*shape[:axis], size // entry.parts, *shape[axis + 1 :])
            if size % entry.parts == 0 and parts == type.shape:
                return f"its parts are those of axis {axis}: end the rule with `axis: {axis}`"
    return None


def _not_finite(path: str, array: Array, type: TensorType, location: str) -> Diagnostic | None:
    """Why floats cannot be a parameter's: some are NaN, or overflow in its type."""
    wrong = np.isnan(array)
    if wrong.any():
        index = [int(axis) for axis in np.argwhere(wrong)[0]]
        message = f"`{path}` holds NaN: {int(wrong.sum()):,} of {array.size:,}, the first at {index}"
        hint = "training had diverged before it was saved: use an earlier checkpoint"
        return Diagnostic(codes.E704, message, place=location, hint=hint)
    with np.errstate(over="ignore"):
        wrong = np.isinf(array.astype(type.dtype.numpy)) & ~np.isinf(array)
    if wrong.any():
        index = [int(axis) for axis in np.argwhere(wrong)[0]]
        message = f"`{path}` holds {array[tuple(index)]:g} at {index}, beyond {type.dtype.value}"
        return Diagnostic(codes.E704, message, place=location, hint="run the model in a wider type: `--dtype f64`")
    return None


def _type_of(array: Array) -> str:
    try:
        return str(TensorType(DType.of(array), array.shape))
    except TypeMismatch:  # as above
        return f"{array.dtype}[{', '.join(map(str, array.shape))}]"


def _suggest(
    path: str,
    type: TensorType,
    unknown: Sequence[str],
    sources: Mapping[str, Entry],
    arrays: Mapping[str, Array],
) -> str | None:
    """A hint to an entry that may be the missing one: of a similar name, or the only one of its shape."""
    near = nearest(path, unknown)
    if near is not None:
        return f"is it called `{near}` there?"
    fitting = [name for name in unknown if arrays[sources[name].name].shape in (type.shape, type.shape[::-1])]
    if len(fitting) == 1:
        turned = " ^T" if arrays[sources[fitting[0]].name].shape != type.shape else ""
        return f"`{fitting[0]}` has its shape: `--rename '{sources[fitting[0]].name} -> {path}{turned}'`"
    return None


def _unreadable(path: Path, message: str, hint: str, note: str | None = None) -> NablacError:
    return NablacError(Diagnostic(codes.E705, message, place=str(path), note=note, hint=hint))
