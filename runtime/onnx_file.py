"""Writing an ONNX model to disk: in one file, or with its weights beside it where one file cannot hold them."""

from __future__ import annotations

import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.files import replace, unwritable, write_bytes

if TYPE_CHECKING:
    import onnx

LARGEST = (2 << 30) - (64 << 20)  # protobuf stops at 2 GiB; the nodes need room too
_SMALL = 1024  # bytes of a tensor that stays in the model's own file


def save(model: onnx.ModelProto, path: str | Path, *, largest: int = LARGEST) -> list[Path]:
    """Write a model, whole or not at all; the files written, the model's own first.

    Weights of more than `largest` bytes go to a second file beside it, `<name>.<hash of its content>.data`: the old
    model's data stays as long as the old model does. `model` then refers to that file, and no longer holds them.
    """
    target = Path(path)
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights <= largest:
        write_bytes(target, model.SerializeToString())
        return [target]
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part") as folder:
            moved = Path(folder) / "weights"
            data = target.with_name(f"{target.name}.{_move_weights(model, moved)}.data")
            for tensor in model.graph.initializer:
                for entry in tensor.external_data:
                    if entry.key == "location":
                        entry.value = data.name
            replace(moved, data)
    except OSError as error:
        raise unwritable(target, error) from error
    write_bytes(target, model.SerializeToString())
    for old in target.parent.glob(f"{_escaped(target.name)}.{'[0-9a-f]' * 16}.data"):
        if old != data:
            old.unlink(missing_ok=True)
    return [target, data]


def _move_weights(model: onnx.ModelProto, path: Path) -> str:
    """Move every large tensor into the file; a hash of what was written."""
    import onnx

    digest = blake2b(digest_size=8)
    with path.open("wb") as file:
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < _SMALL:
                continue
            offset, length = file.tell(), len(tensor.raw_data)
            file.write(tensor.raw_data)
            digest.update(tensor.raw_data)
            padding = -length % 4096  # so that a page begins at each tensor, and a runtime can map the file
            file.write(b"\0" * padding)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", ""), ("offset", str(offset)), ("length", str(length))):
                tensor.external_data.add(key=key, value=value)
            tensor.ClearField("raw_data")
    return digest.hexdigest()


def _escaped(name: str) -> str:
    import glob

    return glob.escape(name)
