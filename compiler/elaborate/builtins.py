"""The functions of the language that are not operators: shapes, lists, numbers, draws, and the names of the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from compiler.dims import Dim, Size
from compiler.elaborate import axes, calls, cells
from compiler.elaborate.lists import bounded_count
from compiler.elaborate.values import (
    NONE,
    Builtin,
    Given,
    Instance,
    Interval,
    Module,
    Primitive,
    SearchAxis,
    describe,
    is_number,
    is_size,
)
from compiler.elaborate.work import DERIVED, EXPRESSION, NODE, of_graph, of_sizes
from compiler.graph import Graph, Node, NotDifferentiable, Operator, Value
from compiler.operators.casting import Cast
from compiler.operators.indexing import Iota
from compiler.operators.random import RandomNormal, RandomUniform
from compiler.operators.shaping import Concat, DataMovement, Expand, Reshape, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.operators.source import constant
from compiler.types import DType, TypeMismatch
from grammar.diagnostics import Label
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.elaborate.elaborator import Elaborator

MOST_PARTS = 10_000  # of a split

Function = Callable[["Elaborator", dict[str, Given], Span], Any]


def builtin(name: str, *parameters: str, optional: tuple[str, ...] = ()) -> Callable[[Function], Builtin]:
    """Make a function of the language of a Python one; its arguments come bound by name."""

    def wrap(function: Function) -> Builtin:
        def bind(elaborator: Elaborator, given: list[Given], span: Span) -> dict[str, Given]:
            bound = calls.bind_names(elaborator, name, [*parameters, *optional], given, span, None)
            for parameter in parameters:
                if parameter not in bound:
                    shown = ", ".join([*parameters, *(f"{each}: ..." for each in optional)])
                    raise elaborator.fault("E401", f"{name} needs `{parameter}`", span, hint=f"{name}({shown})")
            return bound

        def run(elaborator: Elaborator, given: list[Given], span: Span) -> Any:
            return function(elaborator, bind(elaborator, given, span), span)

        BUILTINS[name] = Builtin(name, run, bind)
        return BUILTINS[name]

    return wrap


BUILTINS: dict[str, Builtin] = {}


# Asking about values


@builtin("given", "x")
def _given(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    return bound["x"].value is not NONE


@builtin("shape", "x")
def _shape(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    return list(calls.tensor_argument(elaborator, bound["x"]).shape)


@builtin("size", "x", "axis")
def _size(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    tensor, axis = calls.tensor_argument(elaborator, bound["x"]), whole(elaborator, bound["axis"], "size")
    return tensor.shape[_axis(elaborator, tensor, axis, bound["axis"].span)]


@builtin("rank", "x")
def _rank(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    return calls.tensor_argument(elaborator, bound["x"]).type.rank


@builtin("dtype", "x")
def _dtype(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    return calls.tensor_argument(elaborator, bound["x"]).type.dtype


# Lists and numbers


@builtin("len", "list")
def _len(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    return len(_list(elaborator, bound["list"], "len"))


@builtin("product", "list")
def _product(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    from compiler.elaborate.expressions import bounded

    items = _list(elaborator, bound["list"], "product")
    total: Any = 1
    for item in items:
        if not is_size(item) and not is_number(item):
            raise elaborator.fault(
                "E404", f"product multiplies numbers, and the list holds {describe(item)}", bound["list"].span
            )
        elaborator.session.charge(EXPRESSION + of_sizes(item, total), span)
        total = bounded(elaborator, total * item, span)
    return total


@builtin("range", "n")
def _range(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    count = whole(elaborator, bound["n"], "range")
    bounded_count(elaborator, count, span)
    return list(range(count))


@builtin("is_list", "x")
def _is_list(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    return isinstance(bound["x"].value, (list, tuple))


@builtin("is_int", "x")
def _is_int(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    return is_size(bound["x"].value)


@builtin("is_number", "x")
def _is_number(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    return is_number(bound["x"].value)


@builtin("operator_of", "x")
def _operator_of(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    """The name of the operator that computed a tensor; one that only moves or converts its numbers computes nothing."""
    tensor = calls.tensor_argument(elaborator, bound["x"])
    while isinstance(tensor.node.op, (DataMovement, Cast)) and len(tensor.node.operands) == 1:
        tensor = tensor.node.operands[0]
    return tensor.node.op.name


@builtin("pair", "x")
def _pair(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    value = bound["x"].value
    if isinstance(value, list):
        if len(value) != 2:
            raise elaborator.fault(
                "E404", f"one number or a list of two is needed, and this is {describe(value)}", bound["x"].span
            )
        return value
    if not is_size(value):
        raise elaborator.fault(
            "E404", f"one number or a list of two is needed, and this is {describe(value)}", bound["x"].span
        )
    return [value, value]


@builtin("int", "x")
def _int(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    value = bound["x"].value
    if isinstance(value, Dim):
        return value
    if isinstance(value, bool) or not is_number(value):
        raise elaborator.fault(
            "E404",
            f"int takes a number, and this is {describe(value)}",
            bound["x"].span,
            hint="a tensor is converted with `cast(x, i64)`",
        )
    from compiler.elaborate.expressions import bounded

    if not math.isfinite(value):
        raise elaborator.fault("E506", f"no whole number is {describe(value)}", span)
    return bounded(elaborator, int(value), span)


@builtin("float", "x")
def _float(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    value = bound["x"].value
    if not is_number(value):
        raise elaborator.fault(
            "E404",
            f"float takes a number, and this is {describe(value)}",
            bound["x"].span,
            hint="a tensor is converted with `cast(x, f32)`",
        )
    return float(value)


def _choice(elaborator: Elaborator, given: list[Given], span: Span) -> Any:
    """`choice(25, 50, 100)`: the values that a hyperparameter may have, the first where none is chosen."""
    named = next((each for each in given if each.name is not None), None)
    if named is not None:
        at = named.named_at or named.span
        raise elaborator.fault("E402", f"choice has no argument `{named.name}`", at, hint="choice(25, 50, 100)")
    if not given:
        raise elaborator.fault("E401", "choice needs the values to choose from", span, hint="choice(25, 50, 100)")
    if len(given) == 1 and isinstance(given[0].value, list):
        inside = given[0].span.text.removeprefix("[").removesuffix("]")
        message = "choice is given one value, a list, and has nothing to choose from"
        raise elaborator.fault("E404", message, given[0].span, hint=f"write the values themselves: `choice({inside})`")
    return SearchAxis("choice", tuple(each.value for each in given))


def _folding(name: str, function: Callable[..., float]) -> Builtin:
    """An operator that is computed at once when all its operands are numbers, and is a node otherwise."""

    operator = Operator.registry[name]

    def bind(elaborator: Elaborator, given: list[Given], span: Span) -> dict[str, Given]:
        return calls.bind_operator(elaborator, operator, given, span)

    def run(elaborator: Elaborator, given: list[Given], span: Span) -> Any:
        from compiler.elaborate.expressions import bounded

        bound = bind(elaborator, given, span)
        values = [bound[operand].value for operand in calls.operand_names(operator) or ()]
        if name == "log" and isinstance(values[0], Interval):
            return calls.search_axis(elaborator, "log", values[0], span)
        if all(is_number(value) for value in values):
            try:
                found = function(*values)
                return bounded(elaborator, found, span) if isinstance(found, int) else found
            except (ValueError, ZeroDivisionError):
                shown = ", ".join(str(value) for value in values)
                raise elaborator.fault("E505", f"{name}({shown}) is not a number", span) from None
            except OverflowError:
                raise elaborator.fault("E506", "a number beyond what a float holds", span) from None
        dtype = elaborator.frame.float_type or elaborator.session.float_type
        given = [
            Given(each.name, calls.as_tensor(elaborator, each.value, each.span, dtype), each.span)
            if isinstance(each.value, Dim)
            else each
            for each in given
        ]
        return calls.primitive(elaborator, operator, given, span)

    return Builtin(name, run, bind)


_NUMBERS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "tanh": math.tanh,
    "erf": math.erf,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "maximum": max,
    "minimum": min,
}


# Making and joining tensors


def _filled(name: str, value: float | None) -> None:
    parameters = ("shape",) if value is not None else ("shape", "value")

    @builtin(name, *parameters, optional=("dtype",))
    def _fill(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
        dtype = _dtype_option(elaborator, bound)
        fill = value if value is not None else bound["value"].value
        scalar = calls.as_tensor(
            elaborator, fill if dtype is not DType.BOOL or value is None else bool(fill), span, dtype
        )
        sizes = _sizes(elaborator, bound["shape"], name)
        if not sizes:
            return scalar
        return calls.typed(elaborator, lambda: Expand(sizes)(scalar), span, [], what=name)


_filled("zeros", 0)
_filled("ones", 1)
_filled("full", None)


@builtin("widen", "x")
def _widen(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    """A tensor to add up: in f32 where it holds floats of 16 bits, and as it is elsewhere."""
    tensor = calls.tensor_argument(elaborator, bound["x"])
    return elaborator.session.make(lambda: calls.converted(tensor, tensor.type.dtype.wide), span)


@builtin("cast", "x", "dtype")
def _cast(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    dtype = bound["dtype"].value
    if not isinstance(dtype, DType):
        raise elaborator.fault(
            "E404", f"`dtype` of cast is a dtype, and {describe(dtype)} is given", bound["dtype"].span
        )
    value = bound["x"].value
    if isinstance(value, bool):
        tensor = calls.as_tensor(elaborator, value, span, DType.BOOL)
    elif is_number(value) and (dtype is DType.BOOL or (isinstance(value, float) and dtype.is_integer)):
        tensor = calls.as_tensor(elaborator, value, span, DType.F64 if isinstance(value, float) else DType.I64)
    elif isinstance(value, Dim) or is_number(value):
        return calls.as_tensor(elaborator, value, span, dtype)
    else:
        tensor = calls.tensor_argument(elaborator, bound["x"])
    return elaborator.session.make(lambda: calls.converted(tensor, dtype), span)


@builtin("spread", "x", "target", optional=("form",))
def _spread(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    """`x` itself, which is how far `target` spreads: a model that is trained on scaled data gives it in raw units."""
    from compiler.comparisons import Form

    x, target = (calls.tensor_argument(elaborator, bound[name]) for name in ("x", "target"))
    forms = [form.value for form in Form if form != Form.LOCATION]
    form = bound["form"].value if "form" in bound else Form.SCALE
    if form not in forms:
        known = ", ".join(f'"{each}"' for each in forms)
        message = f"`form` of spread is one of {known}, and {describe(form)} is given"
        raise elaborator.fault("E404", message, bound["form"].span)
    elaborator.session.spreads.append((x, target, Form(form)))
    return x


@builtin("gradient", "y", "x")
def _gradient(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    """How a scalar changes with a tensor that it was made of: for penalties, and for equations of derivatives."""
    from compiler.gradient import gradients
    from compiler.gradient_stop import find_gradient_stop

    y, x = (calls.tensor_argument(elaborator, bound[name]) for name in ("y", "x"))
    if y.type.rank or not y.type.dtype.is_float or not x.type.dtype.is_float:
        wrong, which = (y, "y") if y.type.rank or not y.type.dtype.is_float else (x, "x")
        hint = "fold it first, as in `gradient(sum(y), x)`" if wrong is y and y.type.rank else None
        wanted = "one float" if wrong is y else "a float tensor"
        message = f"`{which}` of gradient is {wanted}, and this is {wrong.type}"
        raise elaborator.fault("E404", message, bound[which].span, hint=hint)

    elaborator.session.charge(of_graph(Graph({}, {"y": y})) * DERIVED, span)

    def derive() -> tuple[Value, ...]:
        (found,) = gradients([y], [constant(1.0, y.type.dtype)], [x])
        return (found,) if found is not None else ()

    try:
        found = elaborator.session.make(derive, span)
    except NotDifferentiable as error:
        raise elaborator.fault("E611", f"no gradient flows through `{error}`", span, labels=_at(error.node)) from None
    if not found:
        node = find_gradient_stop(y, x)
        message = f"no gradient flows through `{node.op.name}`" if node else "the one does not depend on the other"
        raise elaborator.fault("E611", message, span, labels=_at(node))
    return found[0]


def _at(node: Node | None) -> tuple[Label, ...]:
    return (Label(node.origin.span, "this"),) if node is not None and node.origin.span is not None else ()


@builtin("iota", "n", optional=("dtype",))
def _iota(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    count = bound["n"].value
    if not is_size(count):
        raise elaborator.fault("E404", f"iota counts to a size, and this is {describe(count)}", bound["n"].span)
    made = elaborator.session.make(lambda: Iota(count)(), span)
    if "dtype" not in bound:
        return made
    dtype = _dtype_option(elaborator, bound)
    return elaborator.session.make(lambda: calls.converted(made, dtype), span)


@builtin("reshape", "x", "shape")
def _reshape(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    tensor = calls.tensor_argument(elaborator, bound["x"])
    sizes = _sizes(elaborator, bound["shape"], "reshape", inferred=True)
    return calls.typed(elaborator, lambda: Reshape(sizes)(tensor), span, [(tensor, bound["x"])], what="reshape")


@builtin("expand", "x", "shape")
def _expand(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    tensor = calls.tensor_argument(elaborator, bound["x"])
    sizes = _sizes(elaborator, bound["shape"], "expand")
    return calls.typed(elaborator, lambda: Expand(sizes)(tensor), span, [(tensor, bound["x"])], what="expand")


@builtin("stack", "tensors", optional=("axis",))
def _stack(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    items = _list(elaborator, bound["tensors"], "stack")
    if not items:
        raise elaborator.fault("E415", "stack takes a list of at least one tensor", span)
    elaborator.session.charge(len(items) * NODE, span)
    dtype = next((item.type.dtype for item in items if isinstance(item, Value)), elaborator.session.float_type)
    tensors = [calls.as_tensor(elaborator, item, bound["tensors"].span, dtype) for item in items]
    axis = whole(elaborator, bound["axis"], "stack") if "axis" in bound else 0
    place = _axis(elaborator, tensors[0], axis, span, among=tensors[0].type.rank + 1)
    given = [(tensor, bound["tensors"]) for tensor in tensors]
    return calls.typed(
        elaborator,
        lambda: Concat(place)(*(Unsqueeze((place,))(tensor) for tensor in tensors)),
        span,
        given,
        what="stack",
    )


@builtin("split", "x", "parts", optional=("axis",))
def _split(elaborator: Elaborator, bound: dict[str, Given], span: Span) -> Any:
    tensor, parts = calls.tensor_argument(elaborator, bound["x"]), bound["parts"].value
    axis = whole(elaborator, bound["axis"], "split") if "axis" in bound else -1
    place = _axis(elaborator, tensor, axis, span)
    size = tensor.shape[place]
    count = len(parts) if isinstance(parts, list) else parts
    if isinstance(count, int) and count > MOST_PARTS:
        raise elaborator.fault("E509", f"a split into more than {MOST_PARTS} parts", bound["parts"].span)
    if isinstance(parts, list) and all(is_size(part) for part in parts):
        sizes: list[Size] = list(parts)
        total: Size = 0
        for part in sizes:
            total = total + part
        if total != size:
            raise elaborator.fault(
                "E301",
                f"split: the parts add up to {total}, and axis {axis} of {tensor.type} has {size}",
                bound["parts"].span,
            )
    elif isinstance(parts, int) and not isinstance(parts, bool) and parts > 0:
        if size % parts != 0:
            raise elaborator.fault(
                "E301",
                f"split: axis {axis} of {tensor.type} does not divide into {parts} equal parts",
                bound["parts"].span,
            )
        sizes = [size // parts] * parts
    else:
        raise elaborator.fault(
            "E404",
            f"split takes a number of parts or a list of sizes, and this is {describe(parts)}",
            bound["parts"].span,
        )
    found: list[Value] = []
    start: Size = 0
    for part in sizes:
        cut = Slice((place,), (start,), (start + part,))
        found.append(elaborator.session.make(partial(cut, tensor), span))
        start = start + part
    return found


def _rearrange(elaborator: Elaborator, given: list[Given], span: Span) -> Any:
    """`rearrange(x, pattern, name: size ...)`: the sizes go by the pattern's own names."""
    plain = [each for each in given if each.name is None or each.name in ("x", "pattern")]
    bound = calls.bind_names(elaborator, "rearrange", ["x", "pattern"], plain, span, None)
    if len(bound) < 2:
        raise elaborator.fault(
            "E401", "rearrange needs a tensor and a pattern", span, hint='rearrange(x, "b t (h d) -> b h t d", h: 8)'
        )
    sizes = {each.name: each for each in given if each.name is not None and each.name not in ("x", "pattern")}
    return axes.rearrange(elaborator, bound["x"], bound["pattern"], sizes, span)


def _einsum(elaborator: Elaborator, given: list[Given], span: Span) -> Any:
    if not given or not isinstance(given[0].value, str) or any(each.name is not None for each in given):
        raise elaborator.fault(
            "E401", "einsum needs a pattern, then its tensors", span, hint='einsum("b q d, b k d -> b q k", q, k)'
        )
    return axes.einsum(elaborator, given[0], given[1:], span)


# Draws


def _check_range(elaborator: Elaborator, bound: dict[str, Given], numbers: dict[str, Any]) -> None:
    """Refuse a deviation below 0, and a range whose end is below its beginning."""
    std: Any
    low: Any
    high: Any
    std, low, high = (numbers.get(each) for each in ("std", "low", "high"))
    if is_number(std) and std < 0:
        message = f"`std` of random.normal is at least 0, and {describe(std)} is given"
        raise elaborator.fault("E404", message, bound["std"].span)
    if is_number(low) and is_number(high) and low > high:
        message = f"random.uniform draws from `low` to `high`, and {low} is above {high}"
        raise elaborator.fault("E404", message, bound["low" if "low" in bound else "high"].span)


def _drawn(name: str, parameters: dict[str, float]) -> Builtin:
    def run(elaborator: Elaborator, given: list[Given], span: Span) -> Any:
        order = ["p", "shape", "like"] if name == "bernoulli" else ["shape", "like", *parameters]
        bound = calls.bind_names(elaborator, f"random.{name}", [*order, "dtype"], given, span, None)
        if "like" in bound:
            like = calls.tensor_argument(elaborator, bound["like"])
            sizes, dtype = like.shape, like.type.dtype
        elif "shape" in bound:
            sizes, dtype = _sizes(elaborator, bound["shape"], f"random.{name}"), _dtype_option(elaborator, bound)
        else:
            raise elaborator.fault(
                "E401", f"random.{name} needs `shape` or `like`", span, hint=f"`random.{name}(like: x)`"
            )
        if not dtype.is_float:
            raise elaborator.fault(
                "E304", f"random.{name} draws floats, not {dtype}", span, hint="convert the draw: `cast(x, i64)`"
            )
        if name == "bernoulli" and "p" not in bound:
            raise elaborator.fault("E401", "random.bernoulli needs `p`", span, hint="`random.bernoulli(0.9, like: x)`")
        if name == "bernoulli" and is_number(bound["p"].value) and not 0 <= bound["p"].value <= 1:
            message = f"`p` of random.bernoulli is a chance from 0 to 1, and {describe(bound['p'].value)} is given"
            raise elaborator.fault("E404", message, bound["p"].span)
        _check_range(
            elaborator, bound, {**parameters, **{each: bound[each].value for each in parameters if each in bound}}
        )
        key = elaborator.session.random_key(span)

        def number(parameter: str) -> Value:
            if parameter in bound:
                return calls.as_tensor(elaborator, bound[parameter].value, bound[parameter].span, dtype)
            return constant(parameters[parameter], dtype)

        def draw() -> Any:
            if name == "normal":
                return RandomNormal(sizes, dtype)(key) * number("std") + number("mean")
            uniform = RandomUniform(sizes, dtype)(key)
            if name == "bernoulli":
                return Cast(dtype)(Operator.registry["less"]()(uniform, number("p")))
            low = number("low")
            return uniform * (number("high") - low) + low

        return calls.typed(elaborator, draw, span, [], what=f"random.{name}")

    return Builtin(f"random.{name}", run)


RANDOM = Module(
    "random",
    {
        "uniform": _drawn("uniform", {"low": 0.0, "high": 1.0}),
        "normal": _drawn("normal", {"mean": 0.0, "std": 1.0}),
        "bernoulli": _drawn("bernoulli", {}),
    },
)


def _copy(elaborator: Elaborator, given: list[Given], span: Span) -> Any:
    """`copy(instance, name: value ...)`: a fresh instance with the same hyperparameters but for those named."""
    if not given or given[0].name is not None or not isinstance(given[0].value, Instance):
        what = describe(given[0].value) if given else "nothing"
        raise elaborator.fault("E404", f"copy makes a fresh instance of one, and is given {what}", span)
    instance = given[0].value
    changed = {each.name: each for each in given[1:]}
    same = [Given(name, value, span) for name, value in instance.hypers.items() if name not in changed]
    return elaborator.instantiate(instance.defined, [*same, *given[1:]], span)


def builtin_names() -> dict[str, Any]:
    """Every name that the language itself gives, with its value."""
    names: dict[str, Any] = {name: Primitive(op) for name, op in Operator.registry.items() if op.public}
    names |= {name: _folding(name, function) for name, function in _NUMBERS.items() if name in Operator.registry}
    names |= BUILTINS
    names |= {
        "rearrange": Builtin("rearrange", _rearrange),
        "einsum": Builtin("einsum", _einsum),
        "choice": Builtin("choice", _choice),
        "copy": Builtin("copy", _copy),
        "scan": Builtin("scan", cells.scan_of),
        "random": RANDOM,
        "none": NONE,
        "pi": math.pi,
        "infinity": math.inf,
    }
    return names | {str(dtype): dtype for dtype in DType}


# Arguments of the functions above


def whole(elaborator: Elaborator, given: Given, what: str) -> int:
    if not isinstance(given.value, int) or isinstance(given.value, bool):
        raise elaborator.fault("E404", f"{what} takes a whole number, and {describe(given.value)} is given", given.span)
    return given.value


def _list(elaborator: Elaborator, given: Given, what: str) -> Sequence[Any]:
    if not isinstance(given.value, (list, tuple)):
        raise elaborator.fault("E404", f"{what} takes a list, and {describe(given.value)} is given", given.span)
    items: Sequence[Any] = given.value
    return items


def _sizes(elaborator: Elaborator, given: Given, what: str, *, inferred: bool = False) -> tuple[Size, ...]:
    items = given.value if isinstance(given.value, (list, tuple)) else [given.value]
    for item in items:
        if not is_size(item):
            raise elaborator.fault("E404", f"{what} takes a list of sizes, and this holds {describe(item)}", given.span)
        if isinstance(item, int) and (item < 0 and not (inferred and item == -1)):
            raise elaborator.fault("E307", f"no axis has the size {item}", given.span)
    return tuple(items)


def _dtype_option(elaborator: Elaborator, bound: dict[str, Given]) -> DType:
    if "dtype" not in bound:
        return elaborator.frame.float_type or elaborator.session.float_type
    value = bound["dtype"].value
    if not isinstance(value, DType):
        raise elaborator.fault("E404", f"`dtype` is a dtype, and {describe(value)} is given", bound["dtype"].span)
    return value


def _axis(elaborator: Elaborator, tensor: Value, axis: int, span: Span, among: int | None = None) -> int:
    try:
        return tensor.type.axis(axis, among)
    except TypeMismatch as mismatch:
        raise elaborator.fault("E314", str(mismatch), span, hint=mismatch.hint) from None
