"""Writing an ONNX model to disk: in one file, or with its weights in a second one if they are too large."""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from compiler.targets import LARGEST_FILE
from runtime.atomic_files import Unwritable, atomic_write, is_stream, put, replace, resolve_link, scratch, write_bytes

if TYPE_CHECKING:
    import onnx

    from compiler.types import Array

_SMALL = 1024  # bytes of a tensor that stays in the model's own file
_PAGE = 4096  # the alignment of tensors, so that a runtime can memory-map the file


def save(
    model: onnx.ModelProto,
    path: str | Path,
    weights: Mapping[str, Array] | None = None,
    *,
    largest: int = LARGEST_FILE,
) -> list[Path]:
    """Write a model atomically; returns the files written, the model's own first.

    `weights` are the arrays that `export` left out and refers to. If all weights take more than `largest` bytes, they
    are written to a second file, `<name>.<hash of its content>.data`: the data of an old model stays until that model
    is replaced. `model` is changed to refer to that file.
    """
    target, arrays = Path(path), weights or {}
    try:
        str(target).encode("utf-8")
    except UnicodeEncodeError:  # onnx and onnxruntime could not open it
        raise Unwritable(target, ValueError("its name is not UTF-8")) from None
    if sum(map(_size, model.graph.initializer)) <= largest:
        with atomic_write(target) as temporary, temporary.open("wb") as file:
            _write_whole(model, arrays, file)
        written = [target]
    else:
        written = _write_beside(model, arrays, target)
    _drop_old_data(written)
    return written


def check(model: onnx.ModelProto, written: Sequence[Path]) -> None:
    """Check a model that `save` wrote, and the types in it, with ONNX's checker, whose error it raises.

    The checker does not need the weights: it reads a copy of the file, in the same folder, that refers to them.
    """
    import onnx

    own, *data = written
    if data:
        onnx.checker.check_model(str(own), full_check=True)
        return
    outside = [tensor for tensor in model.graph.initializer if _is_outside(tensor)]
    copy = own.with_name(f"{own.name}.nodes")
    try:
        for tensor in outside:
            tensor.external_data.add(key="location", value=own.name)
        copy.write_bytes(model.SerializeToString())
        onnx.checker.check_model(str(copy), full_check=True)
    finally:
        copy.unlink(missing_ok=True)
        for tensor in outside:
            del tensor.external_data[:]


def move(written: Sequence[Path], target: Path) -> list[Path]:
    """Move the files that `save` wrote to another folder, under the target's name, to the target: data first."""
    model, *data = written
    placed = [target]
    for data_file in data:
        placed.append(_with_room_beside(target).with_name(data_file.name))
        put(data_file, placed[-1])
    put(model, target)
    _drop_old_data(placed)
    return placed


def _with_room_beside(target: Path) -> Path:
    """The file to write for a path; NablacError for a stream, which can have no second file beside it."""
    if is_stream(target):
        raise Unwritable(target, OSError("its weights need a second file beside it, and this is not a file"))
    return resolve_link(target)


def _drop_old_data(written: Sequence[Path]) -> None:
    """Remove the data files of the model that was replaced."""
    target, data = resolve_link(written[0]), written[1:]
    for old in target.parent.glob(f"{glob.escape(target.name)}.{'[0-9a-f]' * 16}.data"):
        if old not in data:
            old.unlink(missing_ok=True)


def _is_outside(tensor: onnx.TensorProto) -> bool:
    import onnx

    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _content(tensor: onnx.TensorProto, weights: Mapping[str, Array]) -> bytes | memoryview:
    """The bytes of a tensor: its own, or those of the weight that it refers to."""
    import onnx

    if not _is_outside(tensor):
        content: bytes = tensor.raw_data
        return content
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.require(weights[tensor.name], dtype, "C").reshape(-1).view(np.uint8).data


def _size(tensor: onnx.TensorProto) -> int:
    """The bytes of a tensor's content, which is not read for that."""
    import onnx

    if not _is_outside(tensor):
        return len(tensor.raw_data)
    return int(math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _write_whole(model: onnx.ModelProto, weights: Mapping[str, Array], file: BinaryIO) -> None:
    """Write the model with its weights as one protobuf message, with one weight in memory at a time.

    In protobuf's encoding a field is a tag, a length and the content, and the items of a repeated field need not be
    contiguous: so the weights are appended to the rest of the graph.
    """
    import onnx

    outside = [tensor for tensor in model.graph.initializer if _is_outside(tensor)]
    rest, graph = onnx.ModelProto(), onnx.GraphProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    graph.CopyFrom(model.graph)
    del graph.initializer[:]
    graph.initializer.extend(tensor for tensor in model.graph.initializer if not _is_outside(tensor))
    heads: list[bytes] = []
    sizes: list[int] = []
    for tensor in outside:
        described = {"data_type": tensor.data_type, "dims": tensor.dims, "doc_string": tensor.doc_string or None}
        head = onnx.TensorProto(name=tensor.name, **described).SerializeToString()
        length = _size(tensor)
        head += _field(onnx.TensorProto, "raw_data", length)
        heads.append(_field(onnx.GraphProto, "initializer", len(head) + length) + head)
        sizes.append(length)
    body = graph.SerializeToString()
    file.write(rest.SerializeToString())
    file.write(_field(onnx.ModelProto, "graph", len(body) + sum(map(len, heads)) + sum(sizes)))
    file.write(body)
    for tensor, head in zip(outside, heads, strict=True):
        file.write(head)
        file.write(_content(tensor, weights))


def _field(message: type[Any], name: str, length: int) -> bytes:
    """The tag and the length of a field of bytes or of a nested message."""
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    """Protobuf's varint: seven bits in each byte, the lowest first; all but the last byte have the top bit set."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def _write_beside(model: onnx.ModelProto, weights: Mapping[str, Array], target: Path) -> list[Path]:
    target = _with_room_beside(target)
    with scratch(target) as folder:
        moved = folder / "weights"
        data = target.with_name(f"{target.name}.{_move_weights(model, weights, moved)}.data")
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = data.name
        replace(moved, data)
    write_bytes(target, model.SerializeToString())
    return [target, data]


def _move_weights(model: onnx.ModelProto, weights: Mapping[str, Array], path: Path) -> str:
    """Write every large tensor to the file and make the model refer to it; returns a hash of what was written."""
    import onnx

    digest = blake2b(digest_size=8)
    with path.open("wb") as file:
        for tensor in model.graph.initializer:
            content = _content(tensor, weights)
            if len(content) < _SMALL and not _is_outside(tensor):
                continue
            location = {"location": "", "offset": str(file.tell()), "length": str(len(content))}
            file.write(content)
            digest.update(content)
            file.write(b"\0" * (-len(content) % _PAGE))
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.ClearField("raw_data")
            del tensor.external_data[:]
            for key, value in location.items():
                tensor.external_data.add(key=key, value=value)
    return digest.hexdigest()
