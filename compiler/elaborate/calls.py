"""Calls: arguments meet parameters, numbers become constants, operators check their operands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from compiler.dims import Dim, DimError
from compiler.elaborate.frame import Silence, label_of
from compiler.elaborate.frameworks import argument_hint, name_hint
from compiler.elaborate.lists import bounded_list
from compiler.elaborate.values import (
    NONE,
    UNKNOWN,
    Builtin,
    Defined,
    Given,
    Instance,
    Interval,
    Primitive,
    ScanOf,
    SearchAxis,
    describe,
    is_number,
    is_size,
)
from compiler.graph import Node, Operator, Value
from compiler.operators.casting import Cast
from compiler.operators.source import Constant, constant, size_of
from compiler.types import DType, TypeMismatch
from grammar import syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.limits import MOST_ERRORS
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.elaborate.elaborator import Elaborator

_INDEX_OPERANDS = {"indices", "index"}


def arguments(elaborator: Elaborator, written: Sequence[syntax.Argument]) -> list[Given]:
    """The arguments of a call, evaluated in order."""
    check_names(elaborator, written)
    return [given_as(argument, elaborator.evaluate(argument.value)) for argument in written]


def given_as(argument: syntax.Argument, value: Any) -> Given:
    """A written argument with its value."""
    if argument.name is None:
        return Given(None, value, argument.value.span)
    return Given(argument.name.text, value, argument.value.span, argument.name.span)


def check_names(elaborator: Elaborator, written: Iterable[syntax.Argument]) -> None:
    """Arguments with names come last, and no name twice."""
    names: dict[str, Span] = {}
    for argument in written:
        if argument.name is None:
            if names:
                raise elaborator.fault(
                    "E422", "an argument without a name follows one with a name", argument.span, hint="name it too"
                )
            continue
        name = argument.name.text
        if name in names:
            labels = (Label(names[name], "first here"),)
            raise elaborator.fault("E416", f"`{name}` is given twice", argument.name.span, labels=labels)
        names[name] = argument.name.span


def bind_names(
    elaborator: Elaborator, what: str, names: Sequence[str], given: list[Given], span: Span, declared: Span | None
) -> dict[str, Given]:
    """Arguments by parameter name; too many, unknown ones and doubles are errors, all of them told."""
    bound: dict[str, Given] = {}
    known = names if len(names) < 16 else frozenset(names)
    wrong: list[NablacError] = []
    labels = (Label(declared, "defined here"),) if declared is not None and declared.source is not span.source else ()
    for place, each in enumerate(given):
        if len(wrong) == MOST_ERRORS:
            break
        if each.name is None:
            if place >= len(names):
                listed = f": {', '.join(names)}" if names else ""
                raise elaborator.fault(
                    "E403",
                    f"{what} takes {len(names)} argument{'s' * (len(names) != 1)}{listed}",
                    each.span,
                    note="one too many",
                    labels=labels,
                )
            bound[names[place]] = each
        elif each.name not in known:
            message, at = f"{what} has no argument `{each.name}`", each.named_at or each.span
            hint = argument_hint(each.name, names)
            wrong.append(elaborator.fault("E402", message, at, labels=labels, hint=hint))
        elif each.name in bound:
            first = (Label(bound[each.name].span, "first here"),)
            message, at = f"`{each.name}` is given twice", each.named_at or each.span
            wrong.append(elaborator.fault("E416", message, at, labels=first))
        else:
            bound[each.name] = each
    if wrong:
        raise NablacError(*(diagnostic for error in wrong for diagnostic in error.diagnostics))
    return bound


def bind_hypers(elaborator: Elaborator, defined: Defined, given: list[Given], span: Span) -> dict[str, Given]:
    """The arguments of a definition by hyperparameter; one without a default has to be given."""
    what, hypers = f"{defined.kind} {defined.name}", defined.syntax.hypers
    names = [hyper.name.text for hyper in hypers]
    bound = bind_names(elaborator, what, names, given, span, defined.syntax.name.span)
    for hyper in hypers:
        if hyper.default is None and hyper.name.text not in bound:
            raise elaborator.fault(
                "E401",
                f"{what} needs `{hyper.name.text}`",
                span,
                labels=(Label(hyper.span, "it has no default"),),
                hint=f"give it: `{defined.name}({hyper.name.text}: ...)`",
            )
    return bound


_KINDS: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: is_size(value),
    "float": is_number,
    "bool": lambda value: isinstance(value, bool),
    "text": lambda value: isinstance(value, str) and not isinstance(value, DType),
    "str": lambda value: isinstance(value, str) and not isinstance(value, DType),
    "list": lambda value: isinstance(value, list),
    "dtype": lambda value: isinstance(value, DType),
    "fn": lambda value: isinstance(value, (Builtin, Primitive, Instance, Defined)),
    "layer": lambda value: isinstance(value, (Instance, Defined)),
    "cell": lambda value: isinstance(value, (Instance, Defined)),
    "tensor": lambda value: isinstance(value, Value),
}


_NAMED = ("fn", "layer", "cell")  # kinds of what a name stands for


def checked_hyper(elaborator: Elaborator, defined: Defined, hyper: syntax.Hyper, value: Any, span: Span) -> Any:
    """The hyperparameter's value, of the kind that its declaration asks for."""
    if hyper.kind is None:
        return value
    kind = hyper.kind.text
    if kind not in _KINDS:
        raise elaborator.fault(
            "E404",
            f"there is no kind `{kind}` of hyperparameter",
            hyper.kind.span,
            hint=did_you_mean(kind, _KINDS) or f"the kinds are {', '.join(_KINDS)}",
        )
    if value is UNKNOWN:
        raise Silence
    if defined.kind == "optimizer" and isinstance(value, Value):
        return value  # a schedule of the step
    if not _KINDS[kind](value):
        raise elaborator.fault(
            "E404",
            f"`{hyper.name.text}` of {defined.kind} {defined.name} is {_a(kind)}, and {describe(value)} is given",
            span,
            labels=(Label(hyper.span, "declared here"),),
            hint=_without_quotes(elaborator, value, f"{hyper.name.text}: ") if kind in _NAMED else None,
        )
    return float(value) if kind == "float" else value


def call(elaborator: Elaborator, callee: Any, given: list[Given], span: Span) -> Any:
    """Call a function, make an instance of a definition, or apply an instance to tensors."""
    from compiler.elaborate import cells

    match callee:
        case Defined() if callee.kind == "fn":
            return elaborator.call_function(callee, given, span)
        case Defined():
            if given and isinstance(given[0].value, Value) and callee.kind in ("layer", "cell", "model"):
                raise elaborator.fault(
                    "E423",
                    f"{callee.kind} {callee.name} is given a tensor where its hyperparameters belong",
                    given[0].span,
                    hint=f"make it first, then apply it: `{callee.name}(...)(x)`, or `x -> {callee.name}(...)`",
                )
            return elaborator.instantiate(callee, given, span)
        case Instance():
            return elaborator.apply_instance(callee, given, span)
        case Builtin():
            return callee.call(elaborator, given, span)
        case Primitive():
            return primitive(elaborator, callee.operator, given, span)
        case ScanOf():
            return cells.scan(elaborator, callee, given, span)
    hint = _without_quotes(elaborator, callee, "")
    if is_number(callee) or isinstance(callee, Value):
        hint = "a product is written with `*`, that of matrices with `@`"
    if isinstance(callee, Dim):
        hint = "an input's shape gives the name to a dim; another name there leaves it to the function"
    raise elaborator.fault("E407", f"{describe(callee)} is not something to call", span, hint=hint)


def _without_quotes(elaborator: Elaborator, value: Any, before: str) -> str | None:
    """What is said of a text where the thing that it names belongs."""
    if not isinstance(value, str) or isinstance(value, DType):
        return None
    scope = elaborator.frame.scope
    return f"write `{before}{value}`, without quotes" if value in scope else name_hint(value, scope.known())


def is_callable(value: Any) -> bool:
    return isinstance(value, (Defined, Instance, Builtin, Primitive, ScanOf))


# Operators


@cache
def operand_names(operator: type[Operator]) -> tuple[str, ...] | None:
    """The names of an operator's operands; None where it takes a list of them."""
    named: tuple[str, ...] | None = getattr(operator, "operand_names", None)
    if named is not None:
        return named
    parameters = list(inspect.signature(operator.infer).parameters.values())[1:]
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        return None
    return tuple(each.name for each in parameters)


def primitive(elaborator: Elaborator, operator: type[Operator], given: list[Given], span: Span) -> Any:
    """An operator called by its name: operands first, then attributes."""
    operands = operand_names(operator)
    bound = bind_operator(elaborator, operator, given, span)
    if operands is None:
        tensors = _tensors(elaborator, operator, bound, span)
    else:
        tensors = [bound[name] for name in operands]
    values = {
        field: _attribute(elaborator, operator, _called(field), annotation, bound[_called(field)])
        for field, annotation in operator.fields.items()
        if _called(field) in bound
    }
    for field, annotation in operator.fields.items():  # floats are of the model's type, unless another one is given
        default = getattr(operator, field, None)
        if annotation.startswith("DType") and field not in values and isinstance(default, DType) and default.is_float:
            values[field] = elaborator.frame.float_type or elaborator.session.float_type
    return operate(elaborator, operator, values, tensors, span)


def bind_operator(elaborator: Elaborator, operator: type[Operator], given: list[Given], span: Span) -> dict[str, Given]:
    """The arguments of an operator by operand and attribute; what has no default has to be given."""
    operands = operand_names(operator)
    names = [*(("tensors",) if operands is None else operands), *map(_called, operator.fields)]
    needed = [*(operands or ()), *(_called(field) for field in operator.fields if not hasattr(operator, field))]
    bound = bind_names(elaborator, operator.name, names, [_renamed(each, operator) for each in given], span, None)
    for name in needed:
        if name not in bound:
            hint = f"{operator.name}({', '.join(names)})"
            raise elaborator.fault("E401", f"{operator.name} needs `{name}`", span, hint=hint)
    return bound


def _tensors(elaborator: Elaborator, operator: type[Operator], bound: dict[str, Given], span: Span) -> list[Given]:
    """The operands of an operator that takes a list of them."""
    given = bound.get("tensors")
    if given is None or not isinstance(given.value, (list, tuple)) or not given.value:
        raise elaborator.fault(
            "E415", f"{operator.name} takes a list of tensors", span, hint=f"`{operator.name}([a, b], axis: -1)`"
        )
    return [Given(None, each, given.span) for each in given.value]


def _called(field: str) -> str:
    """The argument for an operator's attribute: `axis` is one axis or a list of them."""
    return "axis" if field == "axes" else field


def _renamed(given: Given, operator: type[Operator]) -> Given:
    """`axes:` serves too where there may be several."""
    if given.name == "axes" and "axes" in operator.fields:
        return Given("axis", given.value, given.span, given.named_at)
    return given


def _attribute(elaborator: Elaborator, operator: type[Operator], name: str, annotation: str, given: Given) -> Any:
    """An attribute's value in the form that the operator declares."""
    value, optional = given.value, "None" in annotation
    found = value
    if value is UNKNOWN:
        raise Silence
    if value is NONE and optional:
        return None
    if "tuple" in annotation:
        items = value if isinstance(value, (list, tuple)) else [value]
        fits = is_size if "Size" in annotation else _is_whole
        wrong = [item for item in items if not fits(item)]
        if not wrong:
            return tuple(items)
        wanted, found = "a whole number or a list of them", wrong[0]
    elif annotation.startswith("bool"):
        if isinstance(value, bool):
            return value
        wanted = "true or false"
    elif annotation.startswith("float"):
        if is_number(value):
            return float(value)
        wanted = "a number"
    elif annotation.startswith("int"):
        if _is_whole(value):
            return value
        wanted = "a whole number"
    elif annotation.startswith("Size"):
        if is_size(value):
            return value
        wanted = "a size"
    elif annotation.startswith("DType"):
        if isinstance(value, DType):
            return value
        wanted = "a dtype"
    else:
        if isinstance(value, str):
            return value
        wanted = "a text"
    holds = f"{describe(found)} is given" if found is value else f"the list holds {describe(found)}"
    raise elaborator.fault("E404", f"`{name}` of {operator.name} is {wanted}, and {holds}", given.span)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def operate(
    elaborator: Elaborator,
    operator: type[Operator],
    attributes: dict[str, Any],
    operands: Sequence[Given],
    span: Span,
    *,
    sign: str | None = None,
    at: Span | None = None,
) -> Any:
    """Apply an operator; operands that are numbers take the dtype of the tensors beside them."""
    dtype = _common_dtype(elaborator, operands)
    names = operand_names(operator) or ()
    values: list[Value] = []
    for place, operand in enumerate(operands):
        indexes = place < len(names) and names[place] in _INDEX_OPERANDS
        values.append(as_tensor(elaborator, operand.value, operand.span, DType.I64 if indexes else dtype))
    labelled = list(zip(values, operands, strict=True))
    return typed(
        elaborator,
        lambda: _results(operator(**attributes).apply(*values)),
        span,
        labelled,
        what=f"`{sign}`" if sign else operator.name,
        at=at,
    )


def _results(node: Node) -> Value | tuple[Value, ...]:
    return node.result if len(node.results) == 1 else node.results


def _common_dtype(elaborator: Elaborator, operands: Sequence[Given]) -> DType:
    dtypes = [each.value.type.dtype for each in operands if isinstance(each.value, Value)]
    numeric = [dtype for dtype in dtypes if dtype is not DType.BOOL]
    if numeric:
        return numeric[0]
    if dtypes and all(isinstance(each.value, (Value, bool)) for each in operands):
        return DType.BOOL
    return elaborator.frame.float_type or elaborator.session.float_type


def typed(
    elaborator: Elaborator,
    build: Callable[[], Any],
    span: Span,
    operands: Sequence[tuple[Value, Given]],
    *,
    what: str = "this",
    at: Span | None = None,
) -> Any:
    """What `build` makes; an operator's refusal becomes an error that shows where each operand comes from."""
    try:
        return elaborator.session.make(build, span)
    except TypeMismatch as mismatch:
        labels: list[Label] = []
        for value, given in operands:
            if given.span.source is span.source and given.span != span:
                labels.append(Label(given.span, f"this is {value.type}"))
            origin = label_of(value, given.span, "made here: it")
            if origin is not None and origin.span != given.span and not isinstance(value.node.op, Constant):
                labels.append(Label(origin.span, f"{value.type} comes from here"))
        raise elaborator.fault(
            "E301", f"{what}: {mismatch}", at or span, labels=tuple(labels), hint=mismatch.hint
        ) from None
    except DimError as error:
        raise elaborator.fault("E307", f"{what}: {error}", at or span) from None


# Tensors from other values


def as_tensor(elaborator: Elaborator, value: Any, span: Span, dtype: DType) -> Value:
    """A tensor as it is, a number as a constant of `dtype`, a size as a scalar, a list of numbers as a vector."""
    match value:
        case Value():
            return value
        case bool() if dtype is DType.BOOL:
            pass
        case bool():
            raise elaborator.fault(
                "E305",
                f"{describe(value)} stands beside a tensor of {dtype}",
                span,
                hint=f"convert: `cast(x, {dtype})`, or write 1 or 0",
            )
        case int() | float() if dtype is DType.BOOL:
            raise elaborator.fault(
                "E305",
                f"{describe(value)} stands beside a tensor of bool",
                span,
                hint="convert the tensor: `cast(x, f32)`",
            )
        case float() if dtype.is_integer:
            raise elaborator.fault(
                "E305",
                f"{describe(value)} is no {dtype}, and nothing is converted silently",
                span,
                hint="convert the tensor: `cast(x, f32)`",
            )
        case int() if dtype.is_integer and not _fits(value, dtype):
            raise elaborator.fault("E305", f"{describe(value)} does not fit in {dtype}", span)
        case int() | float():
            pass
        case Dim():
            made: Value = elaborator.session.make(lambda: converted(size_of(value), dtype), span)
            return made
        case list():
            return _array(elaborator, value, span, dtype)
        case _:
            raise not_a_tensor(elaborator, value, span)
    try:
        scalar: Value = elaborator.session.make(lambda: constant(value, dtype), span)
    except OverflowError:
        raise elaborator.fault("E305", f"{describe(value)} does not fit in {dtype}", span) from None
    op = scalar.node.op
    if dtype.is_float and value and isinstance(op, Constant) and op.scalar() == 0:
        wider = DType.F32 if dtype.is_half else DType.F64
        hint = f"convert the tensor: `cast(x, {wider})`, or write a larger number"
        raise elaborator.fault("E305", f"{describe(value)} would be 0 in {dtype}", span, hint=hint)
    return scalar


def converted(value: Value, dtype: DType) -> Value:
    """`value` cast to `dtype`, if it is not of it."""
    result: Value = value if value.type.dtype == dtype else Cast(dtype)(value)
    return result


def _fits(value: int, dtype: DType) -> bool:
    bits = dtype.bytes * 8
    low: int
    high: int
    low, high = (0, 2**bits) if dtype is DType.U8 else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return low <= value < high


def _array(elaborator: Elaborator, value: list[Any], span: Span, dtype: DType) -> Value:
    """A (nested) list of numbers as a tensor."""
    import numpy as np

    bounded_list(elaborator, value, span)

    def numbers(items: Any) -> bool:
        return all(numbers(item) if isinstance(item, list) else isinstance(item, (int, float)) for item in items)

    if not value or not numbers(value):
        hint = "put tensors together with `stack([a, b], axis: 0)` or `concat([a, b], axis: 0)`" if value else None
        raise elaborator.fault("E415", f"a tensor is needed, and this is {describe(value)}", span, hint=hint)
    try:
        found = np.array(value)
        with np.errstate(all="ignore"):
            array = found.astype(dtype.numpy)
    except (ValueError, OverflowError):
        raise elaborator.fault("E415", "the lists in this list differ in length", span) from None
    if not _keeps(found, array):
        raise elaborator.fault("E305", f"these numbers are no {dtype}, and nothing is converted silently", span)
    made: Value = elaborator.session.make(lambda: Constant.of(array)(), span)
    return made


def _keeps(given: Any, array: Any) -> bool:
    """Whether numbers are what they were in another dtype, but for the rounding of floats."""
    import numpy as np

    if (given.dtype.kind == "b") != (array.dtype.kind == "b"):
        return False
    if array.dtype.kind in "iu":
        return bool((given == array).all()) and given.dtype.kind != "f"
    return array.dtype.kind == "b" or bool((np.isfinite(given) == np.isfinite(array.astype(np.float64))).all())


def settled(elaborator: Elaborator, value: Any, span: Span) -> Any:
    """The value of a hyperparameter where nothing is searched: of a range the middle, of a choice the first."""
    if isinstance(value, Interval):
        value = search_axis(elaborator, "linear", value, span)
    return value.default if isinstance(value, SearchAxis) else value


def search_axis(elaborator: Elaborator, kind: str, interval: Interval, span: Span) -> SearchAxis:
    """A range to search, from a number up to a larger one."""
    low, high = interval.start, interval.stop
    for end in (low, high):
        if not is_number(end):
            message = f"a range to search has numbers for ends, and this is {describe(end)}"
            raise elaborator.fault("E404", message, span)
    if kind == "log" and min(low, high) <= 0:
        raise elaborator.fault("E505", "the ends of a logarithmic range are numbers above 0", span)
    if not low < high:
        raise elaborator.fault("E404", f"a range to search goes up, and this one goes from {low} to {high}", span)
    return SearchAxis(kind, (low, high))


def not_a_tensor(elaborator: Elaborator, value: Any, span: Span) -> NablacError:
    if value is UNKNOWN:  # its own error is reported
        raise Silence
    hint = None
    if isinstance(value, Instance):
        hint = "apply it to a tensor: `x -> " + value.defined.name + "(...)`"
    elif isinstance(value, Defined) and value.kind != "fn":
        hint = f"make an instance and apply it: `x -> {value.name}(...)`"
    elif isinstance(value, (Defined, Builtin, Primitive)):
        hint = "call it: `f(x)`"
    elif value is NONE:
        hint = "ask first with `given(x)` whether the optional input is there"
    elif isinstance(value, ScanOf):
        hint = "give it the sequences: `scan(cell)(xs, axis: 1)`"
    elif isinstance(value, tuple):
        hint = "take its parts apart: `a, b = ...`"
    return elaborator.fault("E421", f"a tensor is needed, and this is {describe(value)}", span, hint=hint)


def tensor_argument(elaborator: Elaborator, given: Given) -> Value:
    """An argument that must be a tensor."""
    if isinstance(given.value, Value):
        return given.value
    if is_number(given.value):
        return as_tensor(
            elaborator, given.value, given.span, elaborator.frame.float_type or elaborator.session.float_type
        )
    raise not_a_tensor(elaborator, given.value, given.span)


@lru_cache
def declared_parameters(definition: syntax.Definition) -> list[syntax.Declared]:
    """Every parameter and buffer that a body declares."""
    found: list[syntax.Declared] = []
    waiting: list[syntax.Statement] = list(definition.body)
    while waiting:
        match waiting.pop():
            case syntax.Declare(kind="param" | "buffer", names=names):
                found.extend(names)
            case syntax.For(body=body):
                waiting.extend(body)
            case syntax.If(then=then, otherwise=otherwise):
                waiting.extend((*then, *otherwise))
            case _:
                pass
    return found


def _a(kind: str) -> str:
    return {"int": "a whole number", "float": "a number", "bool": "true or false", "fn": "a function"}.get(
        kind, f"a {kind}"
    )
