"""The initializers of a model: the weights that it holds or refers to, and its constants, each of them once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph
from compiler.lazy import LazyModule
from compiler.lazy_weights import shape_of
from compiler.onnx.clean_up.folding import SMALL
from compiler.onnx.protos import constant_name
from compiler.operators.leaves import Derived, Stored
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from compiler.types import Array
else:
    np = LazyModule("numpy")
    onnx = LazyModule("onnx")

WEIGHTS = "nablac.weights"  # of the metadata


class StoredTensors:
    """The initializers by name. `unique` gives a constant its name; `types` learns the types of constants."""

    def __init__(self, unique: Callable[[str], str], types: dict[str, TensorType]) -> None:
        self.protos: dict[str, onnx.TensorProto] = {}
        self.small: dict[str, Array] = {}  # constants that the clean-up may read
        self._unique, self._types = unique, types
        self._constants: dict[tuple[np.dtype[Any], tuple[int, ...], bytes], str] = {}

    def store(self, stored: Sequence[Stored], weights: Mapping[str, Array], largest: int, location: str) -> None:
        """Add weights; NablacError holds every missing one and every wrong shape, at `location`.

        One that is only referred to is not read.
        """
        wrong: list[Diagnostic] = []
        for op in stored:
            if op.path not in weights:
                wrong.append(Diagnostic(codes.E701, f"`{op.path}`: {op.type} is missing", place=location))
            elif not isinstance(op, Derived) and (shape := shape_of(weights, op.path)) != op.type.shape:
                message = f"`{op.path}` is {list(shape)}, and the model has {op.type}"
                wrong.append(Diagnostic(codes.E703, message, place=location))
        if wrong:
            raise NablacError(*wrong)
        beside = sum(math.prod(op.type.numeric_shape) * op.type.dtype.bytes for op in stored) > largest
        for op in stored:
            if beside:
                tensor = onnx.TensorProto(name=op.path, data_type=op.type.dtype.onnx, dims=op.type.numeric_shape)
                tensor.data_location = onnx.TensorProto.EXTERNAL
            else:
                array = np.require(weights[op.path], op.type.dtype.numpy, "C")
                tensor = onnx.numpy_helper.from_array(array, op.path)
            if isinstance(op, Derived):
                tensor.doc_string = f"computed from {', '.join(op.sources)}"
            self.protos[op.path] = tensor

    def constant(self, array: Array) -> str:
        """The name of a constant."""
        array = np.require(array, requirements="C")
        key = (array.dtype, array.shape, array.tobytes())
        name = self._constants.get(key)
        if name is None:
            name = self._constants[key] = self._unique(constant_name(array))
            self.protos[name] = onnx.numpy_helper.from_array(array, name)
            if array.nbytes <= SMALL:
                self.small[name] = array
            if array.dtype.kind != "u" or array.dtype.itemsize == 1:  # the language has no others without a sign
                self._types[name] = TensorType(DType.of(array), array.shape)
        return name


def weights_metadata(graph: Graph) -> dict[str, str]:
    """The metadata that tells a file's weights from its constants: for each weight the paths that it was computed from.

    A weight of the model's own has none.
    """
    stored = (node.op for node in graph if isinstance(node.op, Stored))
    sources = {op.path: op.sources if isinstance(op, Derived) else () for op in stored}
    return {WEIGHTS: json.dumps(sources)} if sources else {}
