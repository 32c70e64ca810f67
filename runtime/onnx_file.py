"""Writing an ONNX model to disk: in one file, or with its weights beside it where one file cannot hold them."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.onnx.targets import LARGEST_FILE
from runtime.files import followed, is_stream, replace, scratch, unwritable, write_bytes

if TYPE_CHECKING:
    import onnx

    from compiler.types import Array

_SMALL = 1024  # bytes of a tensor that stays in the model's own file
_PAGE = 4096  # at whose multiples tensors begin, so that a runtime can map the file


def save(
    model: onnx.ModelProto,
    path: str | Path,
    weights: Mapping[str, Array] | None = None,
    *,
    largest: int = LARGEST_FILE,
) -> list[Path]:
    """Write a model, whole or not at all; the files written, the model's own first.

    Weights of more than `largest` bytes go to a second file beside it, `<name>.<hash of its content>.data`: the old
    model's data stays as long as the old model does. `model` then refers to that file, and no longer holds them.
    `weights` are those that `export` left out because no proto can hold them.
    """
    import onnx

    target = Path(path)
    outside = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    if not outside and sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= largest:
        write_bytes(target, model.SerializeToString())
        return [target]
    if is_stream(target):
        raise unwritable(target, OSError("its weights need a second file beside it, and this is no file"))
    target = followed(target)
    with scratch(target) as folder:
        moved = folder / "weights"
        data = target.with_name(f"{target.name}.{_move_weights(model, weights or {}, moved)}.data")
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = data.name
        replace(moved, data)
    write_bytes(target, model.SerializeToString())
    for old in target.parent.glob(f"{glob.escape(target.name)}.{'[0-9a-f]' * 16}.data"):
        if old != data:
            old.unlink(missing_ok=True)
    return [target, data]


def _move_weights(model: onnx.ModelProto, weights: Mapping[str, Array], path: Path) -> str:
    """Write every large tensor to the file and refer to it there; a hash of what was written."""
    import onnx

    digest = blake2b(digest_size=8)
    with path.open("wb") as file:
        for tensor in model.graph.initializer:
            content: bytes | memoryview = tensor.raw_data
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
                content = np.require(weights[tensor.name], dtype, "C").reshape(-1).view(np.uint8).data
            elif len(content) < _SMALL:
                continue
            places = {"location": "", "offset": str(file.tell()), "length": str(len(content))}
            file.write(content)
            digest.update(content)
            file.write(b"\0" * (-len(content) % _PAGE))
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.ClearField("raw_data")
            del tensor.external_data[:]
            for key, value in places.items():
                tensor.external_data.add(key=key, value=value)
    return digest.hexdigest()
