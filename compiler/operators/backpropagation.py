"""Back-propagation through time (Werbos, 1990): the gradient of a Scan is a Scan that walks the other way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.dims import Size
from compiler.graph import Graph, Value
from compiler.operators.shaping import Concat, Expand, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.operators.source import Input, constant
from compiler.rewrite import replace
from compiler.types import DType, TensorType

if TYPE_CHECKING:
    from compiler.operators.control import Scan


def through_time(scan: Scan, grads: tuple[Value | None, ...], operands: tuple[Value, ...]) -> tuple[Value | None, ...]:
    """The gradients of a Scan's operands, from those of its results.

    The states are saved by a second forward walk, which the pass `merge_scans` makes one with the first; each backward
    step makes the forward step again from them and pulls the gradients back through it. What every step sees whole adds
    up its gradient on the way.
    """
    from compiler.gradient import gradients
    from compiler.operators.control import Scan

    formal = list(scan.body.inputs.values())
    ends = list(scan.body.outputs.values())
    n, last = scan.states, scan.states + scan.slices
    inputs = [Input(f"forward_{place}", value.type)() for place, value in enumerate(formal)]
    again = replace(ends, dict(zip(formal, inputs, strict=True)))
    flows = [value.type.dtype.is_float for value in formal]

    to_next = [Input(f"grad_next_{place}", value.type)() for place, value in enumerate(formal[:n]) if flows[place]]
    sums = [
        Input(f"sum_{place}", _to_add_up(formal[place].type))() for place in range(last, len(formal)) if flows[place]
    ]
    to_given = [Input(f"grad_given_{place}", value.type)() for place, value in enumerate(ends[n:])]

    following = iter(to_next)
    seeds = [(end, next(following)) for place, end in enumerate(again[:n]) if flows[place]]
    seeds += [(end, seed) for end, seed in zip(again[n:], to_given, strict=True) if end.type.dtype.is_float]
    wrt = [value for value, flow in zip(inputs, flows, strict=True) if flow]
    pulled = gradients([end for end, _ in seeds], [seed for _, seed in seeds], wrt)
    found = {value: made if made is not None else zeros(value.type) for value, made in zip(wrt, pulled, strict=True)}

    carried = [found[value] for value in inputs[:n] if value in found]
    keeps: list[Value] = []  # truncation: whether the gradient goes on to the step before
    if scan.truncate:
        carried, keeps = _truncated(carried)
    summed = [
        total + _cast(found[value], total.type.dtype)
        for total, value in zip(sums, (v for v in inputs[last:] if v in found), strict=True)
    ]
    stacked = [found[value] for value in inputs[n:last] if value in found]
    body_inputs = [*to_next, *sums, *inputs[:last], *to_given, *keeps, *inputs[last:]]
    body = Graph(_named(body_inputs), _numbered([*carried, *summed, *stacked]), name="step_back")

    length = scan.length(*(operand.type for operand in operands))
    saved = Graph(scan.body.inputs, _numbered([*ends[:n], *ends[:n]]), name="step")
    after = Scan(saved, n, scan.slices, scan.reverse).apply(*operands).results[n:] if n else ()
    before = [shifted(first, states, length, scan.reverse) for first, states in zip(operands[:n], after, strict=True)]
    given = [
        grad if grad is not None else zeros(end.type.with_shape(length, *end.shape))
        for grad, end in zip(grads[n:], ends[n:], strict=True)
    ]
    first = [
        grad if grad is not None else zeros(formal[place].type) for place, grad in enumerate(grads[:n]) if flows[place]
    ]
    begun = [*first, *(zeros(value.type) for value in sums)]
    kept = [_goes_on(scan, length, keep.type.dtype) for keep in keeps]
    sequences = [*before, *operands[n:last], *given, *kept]
    walk = Scan(body, len(begun), len(sequences), not scan.reverse)
    results = iter(walk.apply(*begun, *sequences, *operands[last:]).results)
    made: dict[int, Value] = {}
    for place in (*range(n), *range(last, len(formal)), *range(n, last)):
        if flows[place]:
            made[place] = _cast(next(results), formal[place].type.dtype)
    return tuple(made.get(place) for place in range(len(formal)))


def _truncated(carried: list[Value]) -> tuple[list[Value], list[Value]]:
    """The states' gradients times a number that a step is given, 0 or 1, of each dtype among them."""
    keeps: dict[DType, Value] = {}
    for value in carried:
        dtype = value.type.dtype
        if dtype not in keeps:
            keeps[dtype] = Input(f"keep_{dtype}", TensorType(dtype))()
    return [value * keeps[value.type.dtype] for value in carried], list(keeps.values())


def _goes_on(scan: Scan, length: Size, dtype: DType) -> Value:
    """1 for each step, but 0 where a stretch of `truncate` steps begins (Williams and Peng 1990): not at the first."""
    from compiler.operators.arithmetic import Mod
    from compiler.operators.casting import Cast
    from compiler.operators.comparison import Equal, LogicalOr, NotEqual
    from compiler.operators.indexing import Iota
    from compiler.operators.shaping import Flip

    zero = constant(0, DType.I64)
    number: Value = Iota(length)()
    if scan.reverse:
        number = Flip((0,))(number)
    inside = NotEqual()(Mod()(number, constant(scan.truncate, DType.I64)), zero)
    made: Value = Cast(dtype)(LogicalOr()(inside, Equal()(number, zero)))
    return made


def _to_add_up(type: TensorType) -> TensorType:
    """The type of a running sum: of 16-bit floats it would stop growing soon."""
    return type.with_dtype(type.dtype.wide)


def _cast(value: Value, dtype: DType) -> Value:
    from compiler.operators.casting import Cast

    result: Value = value if value.type.dtype == dtype else Cast(dtype)(value)
    return result


def shifted(first: Value, after: Value, length: Size, reverse: bool) -> Value:
    """The states before each step, from those after it: the first one, then all but the last; of no step, none."""
    start: Value = Unsqueeze((0,))(first)
    if reverse:
        result: Value = Slice((0,), (1,), (length + 1,))(Concat(0)(after, start))
    else:
        result = Slice((0,), (0,), (length,))(Concat(0)(start, after))
    return result


def zeros(type: TensorType) -> Value:
    """A tensor of zeros."""
    zero = constant(0, type.dtype)
    result: Value = Expand(type.shape)(zero) if type.shape else zero
    return result


def _named(values: list[Value]) -> dict[str, Value]:
    return {str(getattr(value.node.op, "label", place)): value for place, value in enumerate(values)}


def _numbered(values: list[Value]) -> dict[str, Value]:
    return {f"result_{place}": value for place, value in enumerate(values)}
