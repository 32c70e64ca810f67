"""Weights as integers: symmetric around 0, with a scale for each channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compiler.graph import Value
from compiler.lazy import LazyModule
from compiler.lazy_weights import LazyWeights, shape_of
from compiler.operators.leaves import Constant, Derived, Stored
from compiler.operators.packed_products import pack
from compiler.passes.known import is_weight, weight_leaves
from compiler.passes.known_weights import KnownWeights, compute_known
from compiler.quantization_schemes import Choices
from compiler.types import DType, TensorType
from grammar.record import ValueRecord

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

LEAST = 256  # numbers of a weight that is worth it
LARGEST_SUM, LARGEST_BIAS = 2**30, 2**29  # of products and what is added to them, which are integers of 32 bits


class ByteForm(ValueRecord):
    """How integers of 8 bits stand for the numbers of a channel: 0 as `zero`, the largest as `zero ± largest`."""

    dtype: DType
    zero: int
    largest: int

    @property
    def suffix(self) -> str:
        """What tensors of this form are called behind the path of their weight."""
        return self.dtype.numpy.name

    def zeros(self, shape: Sequence[int] = ()) -> Value:
        """The zero point, once or for each of several scales."""
        return Constant.of(np.full(shape, self.zero, self.dtype.numpy))()


# onnxruntime multiplies weights with integers of u8. On x86 processors without VNNI its kernels of u8 and i8 add pairs
# of products in 16 bits and saturate: 2 * 255 * 127 is too large for them, 2 * 255 * 64 is not. Those of u8 and u8 add
# in 32 bits everywhere.
FACTORS = ByteForm(DType.U8, 128, 127)
SMALL_FACTORS = ByteForm(DType.I8, 0, 64)
STORED = ByteForm(DType.I8, 0, 127)  # become floats again before anything multiplies them


def to_integers(w: Array, axes: Sequence[int], form: ByteForm, least: Array | None = None) -> tuple[Array, Array]:
    """A weight as integers of a form, and its scales in f32, with the shape of `w` along `axes`, and 1 elsewhere.

    A channel of zeros has the scale 1, and others none below that in `least`, if any. Nor is one so small that a sum of
    the channel's products with 255 could be beyond `LARGEST_SUM`, as of 70,000 weights that are alike.
    """
    largest = form.largest
    others = tuple(axis for axis in range(w.ndim) if axis not in axes)
    sizes = np.abs(w.astype(np.float32))
    most = sizes.max(axis=others, keepdims=True, initial=0.0)
    scales = np.where(most == 0, np.float32(1), most / np.float32(largest))
    scales = np.maximum(scales, sizes.sum(axis=others, keepdims=True) * np.float32(255 / LARGEST_SUM))
    scales = np.maximum(scales, np.finfo(np.float32).tiny).astype(np.float32)  # where the quotient would become 0
    if least is not None:
        scales = np.maximum(scales, least.reshape(scales.shape)).astype(np.float32)
    return (np.clip(np.rint(w / scales), -largest, largest) + form.zero).astype(form.dtype.numpy), scales


def range_to_scale(low: float, high: float) -> tuple[Array, Array]:
    """The scale in f32 and the zero point in u8 of numbers between two, which are widened to contain 0.

    0 is represented exactly, so that padding is. Where all numbers are 0 the scale is 1.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, float(np.finfo(np.float32).tiny)) if high > low else 1.0
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return np.asarray(scale, np.float32), np.asarray(zero, np.uint8)


class IntegerWeights:
    """The weights of a graph that become integers, each stored once for each of its forms."""

    def __init__(self, known: KnownWeights, choices: Choices) -> None:
        self.known, self.choices = known, choices
        self.factors = SMALL_FACTORS if choices.reduced else FACTORS  # the form of weights that are multiplied
        self.arrays: dict[str, Array] = {}
        self.sources: dict[str, tuple[str, ...]] = {}
        self.kept: dict[str, None] = {}  # paths of weights that stay floats
        self.converted: dict[str, None] = {}  # and of those that do not
        self._stored: dict[tuple[Value, Any], tuple[Value, ...]] = {}
        self._taken = {node.op.path for node in known.graph if isinstance(node.op, Stored)}
        self._taken.update(known.graph.inputs, known.graph.outputs)

    def is_worth_it(self, value: Value) -> bool:
        """Whether a value is a weight that the choices allow to become integers."""
        if value.type.dtype != DType.F32 or value.type.rank < 2 or not is_weight(value):
            return False
        paths = self.paths(value)
        if any(path not in self.known.weights or path in self.known.graph.updates for path in paths):
            return False
        names = [name for path in paths for name in (path, *self.known.derived.get(path, ()))]
        excluded = any(map(self.choices.keeps, names))
        if excluded or np.prod(value.type.numeric_shape) < LEAST:
            self.kept.update(dict.fromkeys(paths))
            return False
        self.converted.update(dict.fromkeys(paths))
        return True

    def paths(self, value: Value) -> list[str]:
        """The paths of the stored tensors that a weight depends on."""
        return [leaf.op.path for leaf in weight_leaves(value) if isinstance(leaf.op, Stored)]

    def integers(
        self,
        value: Value,
        axes: tuple[int, ...],
        form: ByteForm,
        order: tuple[int, ...] | None = None,
        least: Array | None = None,
    ) -> tuple[Value, Value]:
        """A weight in a form, and its scales, a vector or an array along `axes`; its axes in another `order`, if given.

        `axes` are those of the weight before that. No scale is below that in `least`, if given.
        """

        def convert(w: Array) -> tuple[Array, ...]:
            q, scales = to_integers(w, axes, form, least)
            shape = [w.shape[axis] for axis in axes]
            return (q if order is None else q.transpose(order)), scales.reshape(shape)

        key = (form, axes, order, None if least is None else least.tobytes())
        q, scales = self._convert(value, key, (form.suffix, "scale"), convert)
        return q, scales

    def packed(self, value: Value) -> tuple[Value, Value]:
        """A matrix as bytes of two integers of 4 bits, and its scales."""
        block = self.choices.block
        packed, scales = self._convert(value, "int4", ("int4", "scale"), lambda w: pack(w, block))
        return packed, scales

    def _convert(
        self, value: Value, key: object, suffixes: tuple[str, ...], convert: Callable[[Array], tuple[Array, ...]]
    ) -> tuple[Value, ...]:
        stored = self._stored.get((value, key))
        if stored is None:
            arrays = convert(compute_known(value, self.known.weights))
            pairs = zip(suffixes, arrays, strict=True)
            stored = tuple(self.store(value, suffix, array) for suffix, array in pairs)
            self._stored[value, key] = stored
        return stored

    def store(self, value: Value, suffix: str, array: Array) -> Value:
        """A tensor that was computed from a weight."""
        paths = self.paths(value)
        path, number = f"{paths[0]}.{suffix}", 1
        while path in self._taken:
            number += 1
            path = f"{paths[0]}.{suffix}_{number}"
        self._taken.add(path)
        self.arrays[path] = np.ascontiguousarray(array)
        roots = [root for source in paths for root in self.known.derived.get(source, (source,))]
        self.sources[path] = tuple(dict.fromkeys(roots))
        type = TensorType(DType.of(array), array.shape)
        return Derived(path, type, None, self.sources[path])()

    def array_of(self, value: Value) -> Array:
        """The numbers of a tensor that `store` made."""
        op = value.node.op
        assert isinstance(op, Derived)
        return self.arrays[op.path]

    def weights(self) -> Mapping[str, Array]:
        """All tensors that the changed graph may read."""
        return _Both(self.arrays, self.known.weights)


class _Both(LazyWeights):
    """Arrays, and behind them the weights that are computed when they are read."""

    def __init__(self, arrays: Mapping[str, Array], weights: Mapping[str, Array]) -> None:
        self.arrays, self.others = arrays, weights

    def __getitem__(self, path: str) -> Array:
        return self.arrays[path] if path in self.arrays else self.others[path]

    def __contains__(self, path: object) -> bool:
        return path in self.arrays or path in self.others

    def __iter__(self) -> Any:
        return iter((*self.arrays, *self.others))

    def __len__(self) -> int:
        return len(self.arrays) + len(self.others)

    def shape(self, path: str) -> tuple[int, ...]:
        return self.arrays[path].shape if path in self.arrays else shape_of(self.others, path)
