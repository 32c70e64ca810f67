"""Scaled dot-product attention as one operator; a pass creates it from the library's equations or a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from compiler.attribute_kinds import INTERNAL, Extent, Flag, Number
from compiler.dims import Size
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.divided_products import matmul
from compiler.operators.orders import lower_positions
from compiler.operators.row_reductions import row_maxima, row_sums
from compiler.types import DType, TensorType, TypeMismatch, broadcast_shapes, same_dtype

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

LARGEST_SCORES = 1 << 22  # scores that the NumPy runtime computes at a time: 16 MiB in f32, about a processor's cache
SCALE, ADD, MASK, LATER = "scale", "add", "mask", "later"
HIDING = (MASK, LATER)


class Attention(Operator):
    """softmax(scores) V of the scores Q K^T scale, changed by `steps` in the order of the equations.

    `q: [batch, heads, T, d]`, `k: [batch, groups, S, d]`, `v: [batch, groups, S, e]`; heads of one group share keys and
    values (Ainslie et al. 2023). A step is a pair; its operand, if it has one, broadcasts to [batch, heads, T, S]:

    - ("scale", number) multiplies;
    - ("add", 0) adds its operand;
    - ("mask", never) replaces the score by `never` where its operand, bool, is false;
    - ("later", never) does so for the keys after the query; `before` keys precede the first query's own.

    With `zeroed` the weights of masked pairs are set to 0 after the softmax: a query that sees no key has weights of 0,
    and its result is 0. Without it they are what the softmax gives. `finite_biases` states that what is added is finite
    whatever the model's inputs are.

    The NumPy runtime takes queries in blocks, so that the scores of a long sequence are never all in memory (Rabe and
    Staats 2021), and skips later keys where their weights are exactly 0. ONNX's own operator adds its masks, and
    onnxruntime's gives 0 for rows of -infinity: it is used without steps, and in f32 for a finite bias, then later keys
    or a `zeroed` mask hidden by the smallest number, where it differs only for scores that are not finite. All else is
    decomposed.
    """

    name = "attention"
    sums = True
    edges = ("scores that are not finite beside a single mask: NaN, where the equations mask them",)
    public = False
    recognised = True
    scale: Number
    steps: Annotated[tuple[tuple[str, float], ...], INTERNAL] = ()
    before: Extent = 0
    zeroed: Flag = False
    finite_biases: Flag = False

    @property
    def causal(self) -> bool:
        """Whether a step hides later keys."""
        return any(kind == LATER for kind, _ in self.steps)

    def infer(self, q: TensorType, k: TensorType, v: TensorType, *others: TensorType) -> TensorType:
        dtype = same_dtype(q, k, v)
        if not dtype.is_float or not q.rank == k.rank == v.rank == 4:
            raise TypeMismatch(f"expected float tensors of 4 axes, got {q}, {k} and {v}")
        heads, groups = q.shape[1], k.shape[1]
        if not isinstance(heads, int) or not isinstance(groups, int) or heads % groups:
            raise TypeMismatch(f"{heads} heads of {q} do not share the {groups} of {k} evenly")
        if k.shape[:3] != v.shape[:3] or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
            raise TypeMismatch(f"incompatible shapes: queries {q}, keys {k}, values {v}")
        scores = (q.shape[0], heads, q.shape[2], k.shape[2])
        taking = [kind for kind, _ in self.steps if kind in (ADD, MASK)]
        if len(taking) != len(others):
            raise TypeMismatch(f"expected {len(taking)} biases and masks, got {len(others)}")
        for kind, other in zip(taking, others, strict=True):
            if (
                other.dtype != (DType.BOOL if kind == MASK else dtype)
                or broadcast_shapes(scores, other.shape) != scores
            ):
                raise TypeMismatch(f"the {kind} {other} does not fit the scores {q.with_shape(*scores)}")
        return q.with_shape(*q.shape[:3], v.shape[3])

    # NumPy

    def compute(self, q: Array, k: Array, v: Array, *others: Array) -> Array:
        batch, heads, queries, d = q.shape
        groups, keys = k.shape[1], k.shape[2]
        repeats = heads // groups
        wide = np.float32 if q.dtype.itemsize < 4 else q.dtype  # in which products and sums of 16 bits are made
        narrow = q.dtype if wide != q.dtype else None
        q = q.reshape(batch, groups, repeats, queries, d).astype(wide, copy=False)
        k = np.swapaxes(k, 2, 3)[:, :, None].astype(wide, copy=False)
        v = v[:, :, None].astype(wide, copy=False)
        split = [_split_heads(other, groups, repeats) for other in others]
        result = np.empty((batch, groups, repeats, queries, v.shape[-1]), narrow or wide)
        block = max(1, LARGEST_SCORES // max(1, batch * heads * keys))
        before = int(self.before)  # type: ignore[arg-type]  # bound
        short = self.causal and self._highest is not None and bool(np.isfinite(v).all())  # 0 times a number is 0
        for start in range(0, queries, block):
            stop = min(start + block, queries)
            part = q[..., start:stop, :]
            seen = min(stop + before, keys) if short else keys
            weights = self._weights(part, k[..., :seen], split, start, seen < keys, narrow)
            if weights is None:
                seen = keys
                weights = self._weights(part, k, split, start, False, narrow)
            assert weights is not None
            result[..., start:stop, :] = matmul(weights, v[..., :seen, :])
        return result.reshape(batch, heads, queries, v.shape[-1])

    def _weights(
        self, q: Array, k: Array, others: Sequence[Array], start: int, cut: bool, narrow: np.dtype[np.generic] | None
    ) -> Array | None:
        """The weights of a block of queries from `start` on; None where keys that were `cut` off have a weight."""
        first = abs(self.scale) <= 1 and narrow is None  # before the product, where nothing overflows by it
        scores = matmul(q * q.dtype.type(self.scale) if first else q, k)
        dtype = narrow or scores.dtype
        if narrow is not None:
            scores = scores.astype(narrow)
        hidden: list[tuple[int, Array]] = []  # from which key on, and where
        waiting = iter(others)
        for kind, number in self.steps if first or self.scale == 1 else ((SCALE, self.scale), *self.steps):
            if kind == SCALE:
                scores *= np.asarray(number, dtype)
            elif kind == ADD:
                scores += _block(next(waiting), start, scores)
            else:
                hidden.append(
                    self._later_keys(start, scores) if kind == LATER else (0, ~_block(next(waiting), start, scores))
                )
                key, where = hidden[-1]
                np.copyto(scores[..., key:], np.asarray(number, dtype), where=where)
        scores = scores.astype(q.dtype, copy=False)
        largest = row_maxima(scores)
        zero = self._highest is not None and bool((largest - self._highest > _UNDERFLOW[dtype.itemsize]).all())
        if cut and not zero:
            return None
        scores -= largest
        np.exp(scores, out=scores)
        scores /= row_sums(scores)
        if self.zeroed and not zero:
            for key, where in hidden:
                np.copyto(scores[..., key:], q.dtype.type(0), where=where)
        weights: Array = scores if narrow is None else scores.astype(narrow).astype(q.dtype)
        return weights

    @property
    def _highest(self) -> float | None:
        """The highest score of a masked pair; None where none is masked, or the scores are changed afterwards."""
        kinds = [kind for kind, _ in self.steps]
        hiding = [number for kind, number in self.steps if kind in HIDING]
        return max(hiding) if hiding and all(kind in HIDING for kind in kinds[-len(hiding) :]) else None

    def _later_keys(self, start: int, scores: Array) -> tuple[int, Array]:
        """The key at a block's first query, and for each key from there on whether it is later than a query."""
        queries, keys = scores.shape[-2:]
        first = min(start + int(self.before), keys)  # type: ignore[arg-type]  # bound
        positions = np.arange(queries) + (start + int(self.before))  # type: ignore[arg-type]
        return first, np.arange(first, keys) > positions[:, None]

    # ONNX

    def native_opset(self, q: TensorType, *others: TensorType) -> int:
        if q.dtype not in (DType.F32, DType.F16):
            return 0  # no kernel in f64
        if not self.steps:
            return 24
        kinds = [kind for kind, _ in self.steps]
        biased = kinds[0] == ADD
        lowest = all(never <= float(np.finfo(np.float32).min) for kind, never in self.steps if kind in HIDING)
        if q.dtype is not DType.F32 or not lowest or (biased and not self.finite_biases):
            return 0
        match kinds[biased:]:
            case []:
                return 24
            case ["later"] if self.before == 0:
                return 24
            case ["mask"] if self.zeroed:
                return 24
        return 0

    def lower(self, emit: Emit, q: str, k: str, v: str, *others: str) -> str:
        return self.lower_typed(emit, (q, k, v), (emit.type(q), emit.type(k), emit.type(v)), others)

    def lower_typed(
        self, emit: Emit, operands: Sequence[str], types: Sequence[TensorType], others: Sequence[str] = ()
    ) -> str:
        """`lower`, of queries, keys and values with these types."""
        (q, k, v), (type, keys, values) = operands, types
        native = self.native_opset(type)
        if native and emit.opset >= native:
            mask = self.native_mask(emit, types, others)
            return emit("Attention", q, k, v, mask, scale=float(self.scale), is_causal=int(self.causal))
        if type.shape[1] != keys.shape[1]:
            k, v = _repeat_groups(emit, k, keys, type.shape[1]), _repeat_groups(emit, v, values, type.shape[1])
        scores = emit("MatMul", q, emit("Transpose", k, perm=(0, 1, 3, 2)))
        waiting, hiding = iter(others), None
        for kind, number in ((SCALE, self.scale), *self.steps):
            numbers = np.array(number, type.dtype.numpy)
            if kind == SCALE:
                scores = emit("Mul", scores, numbers) if number != 1 else scores
            elif kind == ADD:
                scores = emit("Add", scores, next(waiting))
            else:
                mask = next(waiting) if kind == MASK else self._causal_mask(emit, type.shape[2], keys.shape[2])
                scores = emit("Where", mask, scores, numbers)
                hiding = mask if hiding is None else emit("And", hiding, mask)
        weights = emit("Softmax", scores, axis=3)
        if self.zeroed and hiding is not None:
            weights = emit("Where", hiding, weights, np.array(0, type.dtype.numpy))
        return emit("MatMul", weights, v)

    def native_mask(self, emit: Emit, types: Sequence[TensorType], others: Sequence[str]) -> str | None:
        """The bias or mask as an operand of ONNX's operator, with a row for each query: onnxruntime insists on it."""
        if not others:
            return None
        shapes = [emit.type(other).shape for other in others]
        shape: tuple[Size, ...] = ()
        for other in shapes:
            shape = broadcast_shapes(shape, other)
        mask = others[0]
        if len(others) > 1:  # what is hidden gets -infinity, and a row of it weights of 0
            bias, allowed = others
            mask = emit("Where", allowed, bias, np.array(-np.inf, types[0].dtype.numpy))
        pairs = (types[0].shape[2], types[1].shape[2])
        if shape[-2:] == pairs and len(shape) in (2, 4):
            return mask
        leading = shape[:-2] if len(shape) > 2 else ()
        return emit("Expand", mask, emit.sizes((*(1,) * (2 - len(leading)), *leading, *pairs)))

    def _causal_mask(self, emit: Emit, queries: Size, keys: Size) -> str:
        """The mask of keys that are no later than a query, `[T, S]`."""
        query, key = (lower_positions(emit, size) for size in (queries, keys))
        if self.before != 0:
            query = emit("Add", query, emit.sizes((self.before,)))
        return emit("LessOrEqual", key, emit("Unsqueeze", query, np.array([1])))

    def flops(self, q: TensorType, k: TensorType, v: TensorType, *others: TensorType) -> Size:
        pairs = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
        return pairs * (2 * q.shape[3] + 2 * v.shape[3] + 5)


_UNDERFLOW = {2: 105.0, 4: 105.0, 8: 746.0}  # by bytes of a number: exp(-x) is exactly 0 from there on


def _split_heads(other: Array, groups: int, repeats: int) -> Array:
    """A bias or a mask with its axis of heads split in two: groups, and heads of a group."""
    whole = other.reshape((1,) * (4 - other.ndim) + other.shape)
    split = (1, 1) if whole.shape[1] == 1 else (groups, repeats)
    return whole.reshape(whole.shape[0], *split, *whole.shape[2:])


def _block(other: Array, start: int, scores: Array) -> Array:
    """The part of a bias or a mask for a block of scores."""
    queries, keys = scores.shape[-2:]
    part = other if other.shape[-2] == 1 else other[..., start : start + queries, :]
    return part if part.shape[-1] == 1 else part[..., :keys]


def _repeat_groups(emit: Emit, x: str, type: TensorType, heads: Size) -> str:
    """Keys or values repeated for each head of their group."""
    batch, groups, length, d = type.shape
    assert isinstance(heads, int) and isinstance(groups, int)
    apart = emit("Unsqueeze", x, np.array([2]))
    copies = emit("Expand", apart, emit.sizes((batch, groups, heads // groups, length, d)))
    return emit("Reshape", copies, emit.sizes((batch, heads, length, d)))
