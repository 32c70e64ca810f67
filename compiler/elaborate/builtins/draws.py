"""Random draws: `random.uniform`, `random.normal`, `random.bernoulli`."""

from __future__ import annotations

from compiler.elaborate.binding import bind_names
from compiler.elaborate.builtins.declaring import dtype_option, sizes_argument
from compiler.elaborate.operands import as_tensor, build_checked, tensor_argument
from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, Builtin, CompileTimeValue, Module, describe, is_number
from compiler.elaborate.work import ITEM, NODE
from compiler.graph import Value
from compiler.operators.leaves import Input, constant
from compiler.operators.making import cast, less
from compiler.operators.random import FoldKey, RandomNormal, RandomUniform
from compiler.origins import origin
from compiler.types import DType, TensorType
from grammar import codes
from grammar.source import Span


def _check_range(session: Session, bound: dict[str, Argument], numbers: dict[str, CompileTimeValue]) -> None:
    """NablacError for a negative deviation, or a range with `low` above `high`."""
    std, low, high = (numbers.get(parameter) for parameter in ("std", "low", "high"))
    if is_number(std) and std < 0:
        message = f"`std` of random.normal must be at least 0, got {describe(std)}"
        raise session.fault(codes.E404, message, bound["std"].span)
    if is_number(low) and is_number(high) and low > high:
        message = f"`low` of random.uniform must not be above `high`, got {low} and {high}"
        raise session.fault(codes.E404, message, bound["low" if "low" in bound else "high"].span)


def _drawn(name: str, parameters: dict[str, float]) -> Builtin:
    def run(session: Session, arguments: list[Argument], span: Span) -> CompileTimeValue:
        order = ["p", "shape", "like"] if name == "bernoulli" else ["shape", "like", *parameters]
        bound = bind_names(session, f"random.{name}", [*order, "dtype"], arguments, span, None)
        if "like" in bound:
            like = tensor_argument(session, bound["like"])
            sizes, dtype = like.shape, like.type.dtype
        elif "shape" in bound:
            sizes, dtype = sizes_argument(session, bound["shape"], f"random.{name}"), dtype_option(session, bound)
        else:
            raise session.fault(
                codes.E401, f"random.{name} needs `shape` or `like`", span, hint=f"as in `random.{name}(like: x)`"
            )
        if not dtype.is_float:
            raise session.fault(
                codes.E304, f"random.{name} draws floats, not {dtype}", span, hint="convert the draw: `cast(x, i64)`"
            )
        if name == "bernoulli" and "p" not in bound:
            raise session.fault(
                codes.E401, "random.bernoulli needs `p`", span, hint="as in `random.bernoulli(0.9, like: x)`"
            )
        if name == "bernoulli" and is_number(bound["p"].value) and not 0 <= bound["p"].value <= 1:
            message = f"`p` of random.bernoulli must be a probability in [0, 1], got {describe(bound['p'].value)}"
            raise session.fault(codes.E404, message, bound["p"].span)
        written = {parameter: bound[parameter].value for parameter in parameters if parameter in bound}
        _check_range(session, bound, {**parameters, **written})
        key = random_key(session, span)

        def number(parameter: str) -> Value:
            if parameter in bound:
                return as_tensor(session, bound[parameter].value, bound[parameter].span, dtype)
            return constant(parameters[parameter], dtype)

        def draw() -> Value:
            if name == "normal":
                normal = RandomNormal(sizes, dtype)(key)
                return normal * number("std") + number("mean")
            uniform = RandomUniform(sizes, dtype)(key)
            if name == "bernoulli":
                return cast(less(uniform, number("p")), dtype)
            low = number("low")
            return uniform * (number("high") - low) + low

        return build_checked(session, draw, span, [], what=f"random.{name}")

    return Builtin(f"random.{name}", run)


RANDOM = Module(
    "random",
    {
        "uniform": _drawn("uniform", {"low": 0.0, "high": 1.0}),
        "normal": _drawn("normal", {"mean": 0.0, "std": 1.0}),
        "bernoulli": _drawn("bernoulli", {}),
    },
)


def random_key(session: Session, span: Span) -> Value:
    """The key of the next draw: the graph's `seed` folded with the path and number of the draw, and a scan's step."""
    if session.key is None:
        with origin(span, ""):
            session.key = Input("seed", TensorType(DType.I64))()
    seed, frame = session.key, session.frame
    session.charge(NODE + len(frame.path) * ITEM, span)
    stream = f"{frame.path}/{frame.draws}"
    frame.draws += 1
    key = session.make(lambda: FoldKey(stream)(seed, constant(0, DType.I64)), span)
    if session.scans:
        step = session.scans[-1].step
        key = session.make(lambda: FoldKey(stream)(key, step), span)
    return key
