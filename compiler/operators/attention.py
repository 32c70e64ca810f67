"""Scaled dot-product attention as one operator; a pass makes it of the library's equations, or a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.dims import Size
from compiler.graph import Emit, Operator
from compiler.lazy import LazyModule
from compiler.types import DType, TensorType, TypeMismatch, broadcast_shapes, same_dtype

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

LARGEST_SCORES = 1 << 22  # of which the NumPy runtime holds as many at a time: 16 MiB in f32, what caches can follow


class Attention(Operator):
    """softmax(Q K^T scale + bias) V.

    `q: [batch, heads, T, d]`, `k: [batch, groups, S, d]`, `v: [batch, groups, S, e]`; heads of one group share keys and
    values (Ainslie et al. 2023). `bias`, which may be absent, broadcasts to [batch, heads, T, S]. With `causal` a query
    sees the keys up to its own place; `before` keys came before that of the first query. The NumPy runtime takes
    queries in blocks, so that a long sequence never has all its scores at once (Rabe and Staats 2021).
    """

    name = "attention"
    wide = True
    public = False
    scale: float
    causal: bool = False
    before: Size = 0

    def infer(self, q: TensorType, k: TensorType, v: TensorType, *bias: TensorType) -> TensorType:
        dtype = same_dtype(q, k, v, *bias)
        if not dtype.is_float or not q.rank == k.rank == v.rank == 4:
            raise TypeMismatch(f"`attention` takes float tensors of 4 axes, not {q}, {k} and {v}")
        heads, groups = q.shape[1], k.shape[1]
        if not isinstance(heads, int) or not isinstance(groups, int) or heads % groups:
            raise TypeMismatch(f"{heads} heads of {q} do not share the {groups} of {k} evenly")
        if k.shape[:3] != v.shape[:3] or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
            raise TypeMismatch(f"`attention` of {q} to keys {k} and values {v}: their shapes do not fit")
        scores = (q.shape[0], heads, q.shape[2], k.shape[2])
        for each in bias:
            if broadcast_shapes(scores, each.shape) != scores:
                raise TypeMismatch(f"the bias {each} does not broadcast to the scores {q.with_shape(*scores)}")
        return q.with_shape(*q.shape[:3], v.shape[3])

    def compute(self, q: Array, k: Array, v: Array, *bias: Array) -> Array:
        batch, heads, queries, d = q.shape
        groups, keys = k.shape[1], k.shape[2]
        repeats = heads // groups
        q = q.reshape(batch, groups, repeats, queries, d)
        k, v = np.swapaxes(k, 2, 3)[:, :, None], v[:, :, None]
        added = self._grouped(bias[0], groups, repeats) if bias else None
        result = np.empty((batch, groups, repeats, queries, v.shape[-1]), q.dtype)
        before = int(self.before)  # type: ignore[arg-type]  # bound
        block = max(1, LARGEST_SCORES // max(1, batch * heads * keys))
        for start in range(0, queries, block):
            stop = min(start + block, queries)
            first = start + before  # the key at the first query's own place
            seen = min(stop + before, keys) if self.causal else keys  # the others' share is 0
            scores = np.matmul(q[..., start:stop, :] * q.dtype.type(self.scale), k[..., :seen])
            if added is not None:
                part = added if added.shape[-2] == 1 else added[..., start:stop, :]
                scores += part if part.shape[-1] == 1 else part[..., :seen]
            if self.causal:
                later = np.arange(first, seen) > np.arange(first, stop + before)[:, None]
                np.copyto(scores[..., first:], q.dtype.type(-np.inf), where=later)  # its own place a query always sees
            scores -= np.max(scores, axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= np.sum(scores, axis=-1, keepdims=True)
            np.matmul(scores, v[..., :seen, :], out=result[..., start:stop, :])
        return result.reshape(batch, heads, queries, v.shape[-1])

    @staticmethod
    def _grouped(bias: Array, groups: int, repeats: int) -> Array:
        """A bias with its axis of heads in two: groups, and heads of a group."""
        whole = bias.reshape((1,) * (4 - bias.ndim) + bias.shape)
        split = (1, 1) if whole.shape[1] == 1 else (groups, repeats)
        return whole.reshape(whole.shape[0], *split, *whole.shape[2:])

    def native_opset(self, q: TensorType, *others: TensorType) -> int:
        return 24 if q.dtype in (DType.F32, DType.F16) else 0  # no kernel in f64

    def lower(self, emit: Emit, q: str, k: str, v: str, *bias: str) -> str:
        type = emit.type(q)
        native = self.native_opset(type)
        if native and emit.opset >= native and self.before == 0:
            return emit("Attention", q, k, v, *bias, scale=float(self.scale), is_causal=int(self.causal))
        return self._apart(emit, type, q, k, v, *bias)

    def _apart(self, emit: Emit, type: TensorType, q: str, k: str, v: str, *bias: str) -> str:
        """In operators that every opset has."""
        keys, values = emit.type(k), emit.type(v)
        if type.shape[1] != keys.shape[1]:
            k, v = _repeated(emit, k, keys, type.shape[1]), _repeated(emit, v, values, type.shape[1])
        scaled = emit("Mul", q, np.array(self.scale, type.dtype.numpy))
        scores = emit("MatMul", scaled, emit("Transpose", k, perm=(0, 1, 3, 2)))
        if bias:
            scores = emit("Add", scores, bias[0])
        if self.causal:
            query, key = (_places(emit, size) for size in (type.shape[2], keys.shape[2]))
            if self.before != 0:
                query = emit("Add", query, emit.sizes((self.before,)))
            later = emit("Less", emit("Unsqueeze", query, np.array([1])), key)
            scores = emit("Where", later, np.array(-np.inf, type.dtype.numpy), scores)
        return emit("MatMul", emit("Softmax", scores, axis=-1), v)

    def flops(self, q: TensorType, k: TensorType, v: TensorType, *bias: TensorType) -> Size:
        pairs = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
        return pairs * (2 * q.shape[3] + 2 * v.shape[3] + 5)


def _repeated(emit: Emit, x: str, type: TensorType, heads: Size) -> str:
    """Every group's keys or values once for each of its heads."""
    batch, groups, length, d = type.shape
    assert isinstance(heads, int) and isinstance(groups, int)
    apart = emit("Unsqueeze", x, np.array([2]))
    copies = emit("Expand", apart, emit.sizes((batch, groups, heads // groups, length, d)))
    return emit("Reshape", copies, emit.sizes((batch, heads, length, d)))


def _places(emit: Emit, size: Size) -> str:
    return emit("Range", np.array(0), emit("Squeeze", emit.sizes((size,)), np.array([0])), np.array(1))
