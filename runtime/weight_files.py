"""Reading weights by name from `.safetensors`, `.npz` and `.onnx` files; nothing is ever unpickled."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.onnx.stored_tensors import WEIGHTS
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean_file
from grammar.file_kinds import HDF5, NPZ, ONNX, PICKLE, SAFETENSORS, ZIP, kind_of
from runtime.boundary import (
    BEGINNING,
    LARGEST_JSON,
    names_in,
    open_regular,
    read_file,
    reason_of,
    refuse_other_kinds,
    require_regular,
    require_room,
    translate_errors,
)
from runtime.metadata import read_entry, text_lists
from runtime.numpy_files import read_npz
from runtime.safetensors_faults import fault_of

if TYPE_CHECKING:
    import onnx

    from compiler.types import Array

_PLAIN = {"BOOL", "F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"}  # that NumPy has
_EXTENDED = {  # by their names in `ml_dtypes`
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}
_MOST_SHOWN = 3  # files of a folder that are listed
_READ = (".safetensors", ".npz", ".onnx")  # the files that are read
_OTHERS = (".onnx", ".pt", ".pth", ".bin", ".ckpt")  # not read as .safetensors, whose faults they would be told
_FROM_KERAS = "in Keras: `numpy.savez(path, **{w.path: w.numpy() for w in model.weights})`, and load the .npz file"
_INDEX = ".index.json"  # the end of the name of an index of several files


def read_tensors(path: str | Path) -> dict[str, Array]:
    """Every tensor of a file by name: of `.safetensors` or `.npz`, or the initialisers of an `.onnx` file.

    `path` may also be an `.index.json` of several `.safetensors` files, or a folder with one of these. NablacError for
    other files.
    """
    path = _file_of(path)
    if path.name.endswith(_INDEX):
        return {name: array for file in _shards(path) for name, array in read_tensors(file).items()}
    kind = _kind_of(path)
    if kind == NPZ:
        return read_npz(path, str(path), codes.E705)
    return _read_initializers(path) if kind == ONNX else _read_safetensors(path)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a `.safetensors` file, or of the one in a folder; empty for an index and other files."""
    path = _file_of(path)
    if path.name.endswith(_INDEX) or _kind_of(path) != SAFETENSORS:
        return {}
    with _open(path) as file:
        return dict(file.metadata() or {})


def _file_of(path: str | Path) -> Path:
    path = Path(path)
    return _weights_file(path) if os.path.isdir(path) else path


def _read_safetensors(path: Path) -> dict[str, Array]:
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


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a `.safetensors` file with its library; NablacError for any error within the block."""
    from safetensors import SafetensorError, safe_open

    require_room(os.path.getsize(path), str(path))
    hint = "it may be truncated: download or write it again"
    with translate_errors(str(path), "a whole .safetensors file", codes.E705, hint):
        try:
            opened = safe_open(str(path), "np")
        except SafetensorError:
            raise ValueError(fault_of(path)) from None
        with opened as file:
            yield file


def _read_initializers(path: Path) -> dict[str, Array]:
    """The initialisers of an ONNX file, with those in files beside it."""
    import onnx
    from onnx import numpy_helper
    from onnx.external_data_helper import load_external_data_for_model

    content = read_file(path)
    hint = "it may be truncated: download or export it again"
    with translate_errors(str(path), "a whole .onnx file", codes.E705, hint):
        model = onnx.load_model_from_string(content)
        outside = [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
        for name in {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}:
            _check_beside(path, name)
        require_room(sum(map(_bytes_of, outside)), str(path))
        if outside:
            load_external_data_for_model(model, str(path.parent))
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    own = read_entry({entry.key: entry.value for entry in model.metadata_props}, WEIGHTS, None, text_lists)
    if own is None:  # of another exporter
        return tensors
    folded = next((name for name in own if own[name]), None)
    if folded is not None:
        message = f"its weights are folded: `{folded}` is computed from {', '.join(own[folded])}"
        raise _unreadable(path, message, "compile with `--keep-weights`, or take the weights that it was compiled from")
    return {name: array for name, array in tensors.items() if name in own}  # without our constants


def _check_beside(path: Path, name: str) -> None:
    """NablacError if a model keeps weights in a file that does not lie beside it, or is not a regular file."""
    folder = os.path.realpath(path.parent)
    if os.path.commonpath([folder, os.path.realpath(os.path.join(folder, name))]) != folder:
        raise _unreadable(path, f"this model names a file elsewhere: {name}", "it must be in the folder of the model")
    require_regular(path.parent / name)


def _bytes_of(tensor: onnx.TensorProto) -> int:
    import onnx

    return int(math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


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


def _kind_of(path: Path) -> str:
    """The format of a file of weights; NablacError for other files, with a hint how to convert them."""
    if not os.path.exists(path):
        hint = did_you_mean_file(path.name, [name for name in names_in(path.parent) if name.endswith(_READ)])
        raise NablacError(Diagnostic(codes.E901, f"there is no file {path}", place=str(path), hint=hint))
    with translate_errors(str(path), "weights", codes.E705), open_regular(path) as file:
        head, size = file.read(BEGINNING), os.fstat(file.fileno()).st_size
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:  # a length of 640 begins like a pickle
        return SAFETENSORS
    kind = kind_of(head)
    if path.suffix == ".npz" and kind in (None, ZIP):  # cut short before the name of its first array
        kind = NPZ if head else None
    if kind in (NPZ, ONNX):
        return kind
    if kind == HDF5 or (kind == ZIP and _is_keras(path)):
        what = "this is an HDF5 file" if kind == HDF5 else "this is a model of Keras, with its weights in HDF5"
        raise _unreadable(path, what, _FROM_KERAS)
    if kind in (PICKLE, ZIP) or path.suffix in (".pkl", ".pickle"):
        load = f"torch.load({str(path)!r}, weights_only=True)"
        save = f"safetensors.torch.save_file({load}, {str(_converted(path))!r})"
        hint = f'if you trust it: `python -c "import torch, safetensors.torch; {save}"`, and load that file'
        raise _unreadable(path, "this is a pickled checkpoint, and reading one runs whatever code it holds", hint)
    if not head:
        raise _unreadable(path, "the file is empty", "it may be truncated: download or write it again")
    refuse_other_kinds(head, "a .safetensors, .npz or .onnx file", str(path), codes.E705, but=(SAFETENSORS,))
    if path.suffix in _OTHERS and head[8:9] != b"{":
        message = "its first bytes are not those of a .safetensors, .npz or .onnx file, nor of a checkpoint of PyTorch"
        raise _unreadable(path, message, "it may be damaged: download or write it again")
    return SAFETENSORS  # which its reader finds fault with


def _converted(path: Path) -> Path:
    """The name of a file's conversion, which is not its own."""
    own = path.suffix == ".safetensors"
    return path.with_stem(f"{path.stem}-converted") if own else path.with_suffix(".safetensors")


def _is_keras(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "model.weights.h5" in archive.namelist()
    except Exception:  # whatever it is
        return False


def _unreadable(path: Path, message: str, hint: str, note: str | None = None) -> NablacError:
    return NablacError(Diagnostic(codes.E705, message, place=str(path), note=note, hint=hint))
