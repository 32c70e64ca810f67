"""Reductions over `axes` (all of them where it is None); with `keep` these stay with length 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from compiler.attribute_kinds import AnyAxes, Flag
from compiler.dims import Size, product
from compiler.graph import Graph, Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.is_nan_lowering import lower_is_nan
from compiler.operators.leaves import Input
from compiler.operators.making import cast, count_of, equal, exp, expand, squeeze, unsqueeze
from compiler.operators.product_gradient import product_gradient
from compiler.operators.row_reductions import sums_of_rows
from compiler.types import DType, TensorType, TypeMismatch
from compiler.window import Window

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Reduction(Operator):
    """A reduction over `axes` (all where None); with `keep` these stay with length 1."""

    axes: AnyAxes = None
    keep: Flag = False
    onnx: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = ("float", "int")
    combines: ClassVar[Literal["sum", "max", "min"] | None] = None  # how the results of two parts combine
    has_identity: ClassVar[bool] = True  # is defined over axes of length 0
    kernels: ClassVar[tuple[str, ...]] = ("f16", "f32", "f64", "i32", "i64")  # dtypes of onnxruntime's kernels

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in self.kinds:
            target = {"float": "f32", "int": "i64", "bool": "bool"}[self.kinds[0]]
            hint = "compare it, as in `x != 0`" if target == "bool" else f"convert it: `cast(x, {target})`"
            raise TypeMismatch(f"expected {' or '.join(self.kinds)} tensors, got {x}", hint)
        folded = self.folded_axes(x.rank, x)
        if not self.has_identity and any(x.shape[axis] == 0 for axis in folded):
            raise TypeMismatch(f"cannot reduce an empty axis: {x}")
        if self.keep:
            return x.with_shape(*(1 if axis in folded else size for axis, size in enumerate(x.shape)))
        return x.with_shape(*(size for axis, size in enumerate(x.shape) if axis not in folded))

    def least_sizes(self, x: TensorType) -> Iterable[tuple[Size, int]]:
        return () if self.has_identity else ((x.shape[axis], 1) for axis in self.folded_axes(x.rank))

    def folded_axes(self, rank: int, x: TensorType | None = None) -> tuple[int, ...]:
        """The reduced axes, counted from the front; checked against `x` where it is given."""
        if self.axes is None:
            return tuple(range(rank))
        return x.distinct_axes(self.axes) if x is not None else tuple(axis % rank for axis in self.axes)

    def restore_axes(self, value: Value, x: TensorType) -> Value:
        """A value of the result's shape, with the reduced axes of `x` inserted again, with length 1."""
        folded = self.folded_axes(x.rank)
        return value if self.keep or not folded else unsqueeze(value, folded)

    def lower(self, emit: Emit, x: str) -> str:
        type = emit.type(x)
        axes = self.folded_axes(type.rank)
        if not axes:
            return emit("Identity", x)
        if type.dtype in self.kernels:
            return self.lower_fold(emit, x, type, axes)
        wide = type.with_dtype(type.dtype.stand_in)
        result = self.lower_fold(emit, emit("Cast", x, to=wide.dtype.onnx), wide, axes)
        return emit("Cast", result, to=type.dtype.onnx)

    def lower_fold(self, emit: Emit, x: str, type: TensorType, axes: tuple[int, ...]) -> str:
        """Reduce one axis or more of `x`, whose dtype onnxruntime has a kernel for."""
        return _fold(emit, self.onnx, x, axes, self.keep, type.rank)

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        (x,) = operands
        return self.replace(axes=tuple(axis + 1 for axis in self.folded_axes(x.type.rank - 1)))(x)

    def incremental(self, window: Window, axis: int, *operands: Value) -> Value | None:
        (x,) = operands
        folded = self.folded_axes(x.type.rank)
        kept = [x_axis for x_axis in range(x.type.rank) if self.keep or x_axis not in folded]
        if kept[axis] in folded:
            return None
        return self(window.of(x, kept[axis]))

    def with_nan(self, emit: Emit, result: str, x: str, type: TensorType, axes: tuple[int, ...]) -> str:
        """`result`, but NaN where an element is NaN, which onnxruntime's own maximum and minimum skip."""
        numbers = DType.U8 if emit.target.casts_to_truth else DType.F32
        flags = emit("Cast", lower_is_nan(emit, x), to=numbers.onnx)
        one = _fold(emit, "ReduceMax", flags, axes, self.keep, type.rank)
        if emit.target.casts_to_truth:
            some = emit("Cast", one, to=DType.BOOL.onnx)
        else:
            some = emit("Greater", one, np.zeros((), numbers.numpy))
        return emit("Where", some, np.array(np.nan, type.dtype.numpy), result)

    def flops(self, x: TensorType) -> Size:
        return x.elements


class Sum(Reduction):
    """The sum over `axes`; that of integers wraps around."""

    name, onnx = "sum", "ReduceSum"
    combines = "sum"
    allocates = True
    wide = True

    def lower_fold(self, emit: Emit, x: str, type: TensorType, axes: tuple[int, ...]) -> str:
        if type.dtype.is_float:
            return super().lower_fold(emit, x, type, axes)
        # onnxruntime sums integers in f64, and loses digits beyond 2**53; a matrix product is exact, and faster.
        count = product(type.shape[axis] for axis in axes)
        rows, kept = _axes_last(emit, x, type, axes), _kept(type, axes)
        ones = emit("Expand", np.ones(1, type.dtype.numpy), emit.sizes((count,)))
        total = emit("MatMul", emit("Reshape", rows, emit.sizes((product(kept), count)), allowzero=1), ones)
        return emit("Reshape", total, emit.sizes(self.infer(type).shape), allowzero=1)

    def compute(self, x: Array) -> Array:
        axes = self.folded_axes(x.ndim)
        if axes and axes == tuple(range(len(axes))) and len(axes) < x.ndim and x.flags.c_contiguous:
            sums = sums_of_rows(x.reshape(math.prod(x.shape[: len(axes)]), *x.shape[len(axes) :]))
            return sums.reshape((1,) * len(axes) + sums.shape) if self.keep else sums
        return np.asarray(np.sum(x, axis=self.axes, keepdims=self.keep, dtype=x.dtype))

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (expand(self.restore_axes(grad, x.type), x.shape),)


class Mean(Reduction):
    """The mean over `axes`."""

    name, onnx = "mean", "ReduceMean"
    wide = True
    kinds = ("float",)
    has_identity = False

    def compute(self, x: Array) -> Array:
        return np.asarray(np.mean(x, axis=self.axes, keepdims=self.keep, dtype=x.dtype))

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        count, dtype = product(x.shape[axis] for axis in self.folded_axes(x.type.rank)), x.type.dtype
        if dtype.is_half:  # which may not hold the count
            share = cast(cast(grad, DType.F32) / count_of(count, DType.F32), dtype)
        else:
            share = grad / count_of(count, dtype)
        return (expand(self.restore_axes(share, x.type), x.shape),)


class Extremum(Reduction):
    """Max or Min, NaN where an element is NaN; equal extreme elements share the gradient."""

    has_identity = False
    kernels = ("f16", "f32", "f64", "i32", "i64", "i8", "u8")
    ufunc: ClassVar[str]

    def compute(self, x: Array) -> Array:
        return np.asarray(getattr(np, self.ufunc)(x, axis=self.axes, keepdims=self.keep))

    def lower_fold(self, emit: Emit, x: str, type: TensorType, axes: tuple[int, ...]) -> str:
        result = super().lower_fold(emit, x, type, axes)
        return self.with_nan(emit, result, x, type, axes) if type.dtype.is_float else result

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        chosen = cast(equal(x, self.restore_axes(result, x.type)), x.type.dtype)
        shared = self.restore_axes(grad, x.type) / Sum(self.folded_axes(x.type.rank), keep=True)(chosen)
        return (chosen * shared,)


class Max(Extremum):
    """The largest element over `axes`; equal largest elements share the gradient."""

    name, onnx, ufunc = "max", "ReduceMax", "max"
    latex = r"\max"
    combines = "max"


class Min(Extremum):
    """The smallest element over `axes`; equal smallest elements share the gradient."""

    name, onnx, ufunc = "min", "ReduceMin", "min"
    latex = r"\min"
    combines = "min"


class Prod(Reduction):
    """The product over `axes`; that of integers wraps around."""

    name, onnx = "prod", "ReduceProd"
    wide = True

    def lower_fold(self, emit: Emit, x: str, type: TensorType, axes: tuple[int, ...]) -> str:
        if type.dtype.is_float:
            return super().lower_fold(emit, x, type, axes)
        # onnxruntime multiplies integers in f64, and loses digits beyond 2**53: a scan of products is exact.
        count = product(type.shape[axis] for axis in axes)
        kept = type.with_shape(*_kept(type, axes))
        total, item = Input("total", kept)(), Input("item", kept)()
        step = Graph({"total": total, "item": item}, {"product": total * item}, name="step")
        names = [emit.unique(f"step/{label}") for label in ("total", "item")]
        body = emit.body(step, names, [emit.unique("step/product")], 2)
        rows = _axes_last(emit, x, type, axes, first=True)
        items = emit("Reshape", rows, emit.sizes((count, *kept.shape)), allowzero=1)
        one = np.ones((), type.dtype.numpy)
        before = emit("Expand", one, emit.sizes((1, *kept.shape)))  # onnxruntime refuses a scan of no steps
        start = emit("Expand", one, emit.sizes(kept.shape)) if kept.rank else one
        result = emit("Scan", start, emit("Concat", before, items, axis=0), body=body, num_scan_inputs=1)
        return emit("Reshape", result, emit.sizes(self.infer(type).shape), allowzero=1) if self.keep else result

    def compute(self, x: Array) -> Array:
        return np.asarray(np.prod(x, axis=self.axes, keepdims=self.keep, dtype=x.dtype))

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        folded = self.folded_axes(x.type.rank)
        return (product_gradient(squeeze(grad, folded) if self.keep and folded else grad, x, folded),)


class LogSumExp(Reduction):
    """`log(sum(exp(x)))` over `axes`, without overflow."""

    name, onnx = "logsumexp", "ReduceLogSumExp"
    safe_sums = True
    wide = True
    kinds = ("float",)
    kernels = ("f32", "f64")  # in f16 onnxruntime takes exp before it takes the largest away
    has_identity = False

    def compute(self, x: Array) -> Array:
        peak = np.max(x, axis=self.axes, keepdims=True)
        peak = np.where(np.isfinite(peak), peak, x.dtype.type(0))
        total = np.sum(np.exp(x - peak), axis=self.axes, keepdims=True, dtype=x.dtype)
        result = np.log(total) + peak
        return np.asarray(result if self.keep else np.squeeze(result, self.folded_axes(x.ndim)))

    def lower_fold(self, emit: Emit, x: str, type: TensorType, axes: tuple[int, ...]) -> str:
        return self.with_nan(emit, super().lower_fold(emit, x, type, axes), x, type, axes)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[Value]:
        return (self.restore_axes(grad, x.type) * exp(x - self.restore_axes(result, x.type)),)

    def flops(self, x: TensorType) -> Size:
        return x.elements * 4


class Quantifier(Reduction):
    """All or Any."""

    kinds = ("bool",)

    def pullback(self, grad: Value, x: Value, *, result: Value) -> tuple[None]:
        return (None,)


class All(Quantifier):
    """Whether every element over `axes` is true."""

    name, onnx = "all", "ReduceMin"

    def compute(self, x: Array) -> Array:
        return np.asarray(np.all(x, axis=self.axes, keepdims=self.keep))


class Any_(Quantifier):
    """Whether at least one element over `axes` is true."""

    name, onnx = "any", "ReduceMax"

    def compute(self, x: Array) -> Array:
        return np.asarray(np.any(x, axis=self.axes, keepdims=self.keep))


def _fold(emit: Emit, onnx_type: str, x: str, axes: tuple[int, ...], keep: bool, rank: int) -> str:
    """Write a reduction in a form that the target has."""
    if keep or emit.target.reduces_to_scalars or len(axes) < rank:
        return _reduce(emit, onnx_type, x, axes, keep)
    return emit("Squeeze", _reduce(emit, onnx_type, x, axes, True), np.array(sorted(axes), np.int64))


def _reduce(emit: Emit, onnx_type: str, x: str, axes: tuple[int, ...], keep: bool) -> str:
    """Write an ONNX reduction, whose axes are an input since opset 18, and since 13 for ReduceSum; then attributes."""
    ordered = sorted(axes)
    if not emit.target.reduces_apart and ordered and ordered[-1] - ordered[0] >= len(ordered):
        last = [axis for step, axis in enumerate(ordered) if axis - step == ordered[-1] - len(ordered) + 1]
        x = emit.keep(_reduce(emit, onnx_type, x, tuple(last), keep))
        return _reduce(emit, onnx_type, x, tuple(ordered[: -len(last)]), keep)
    if emit.opset >= 18 or onnx_type == "ReduceSum":
        return emit(onnx_type, x, np.array(axes, np.int64), keepdims=int(keep))
    return emit(onnx_type, x, axes=axes, keepdims=int(keep))


def _kept(type: TensorType, axes: tuple[int, ...]) -> tuple[Size, ...]:
    return tuple(size for axis, size in enumerate(type.shape) if axis not in axes)


def _axes_last(emit: Emit, x: str, type: TensorType, axes: tuple[int, ...], *, first: bool = False) -> str:
    """`x` transposed so that these axes come last, or first."""
    kept = [axis for axis in range(type.rank) if axis not in axes]
    order = [*axes, *kept] if first else [*kept, *axes]
    return x if order == sorted(order) else emit("Transpose", x, perm=order)
