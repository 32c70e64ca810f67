"""Evaluating expressions: numbers and sizes fold, tensors make nodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from compiler.dims import Dim, DimError, Size, differ, symbols
from compiler.elaborate import calls, indexing, products
from compiler.elaborate.frame import Silence
from compiler.elaborate.frameworks import name_hint
from compiler.elaborate.lists import bounded_count, bounded_list, bounded_text
from compiler.elaborate.values import (
    UNKNOWN,
    Builtin,
    Defined,
    Given,
    Instance,
    Interval,
    Lazy,
    Module,
    Primitive,
    describe,
    is_number,
    is_size,
)
from compiler.elaborate.work import COPIED, of_sizes
from compiler.graph import Operator, Value
from compiler.operators.source import size_of
from compiler.types import DType
from grammar import syntax
from grammar.diagnostics import Label, did_you_mean
from grammar.habits import comment_hint
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.elaborate.elaborator import Elaborator

LARGEST_INTEGER = 2**63 - 1

_OPERATORS = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "//": "floor_div",
    "%": "mod",
    "**": "pow",
    "@": "matmul",
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "and": "logical_and",
    "or": "logical_or",
}


def evaluate(elaborator: Elaborator, expression: syntax.Expression) -> Any:
    """The value of an expression; never UNKNOWN: what is unknown raises Silence."""
    match expression:
        case syntax.Name():
            return _name(elaborator, expression)
        case syntax.Number(value=value):
            if isinstance(value, int) and value > LARGEST_INTEGER:
                raise elaborator.fault("E506", "a whole number beyond 2**63 - 1", expression.span)
            return value
        case syntax.Binary():
            return _chain(elaborator, expression)
        case syntax.Call(callee=callee, arguments=arguments):
            function = elaborator.evaluate(callee)
            given = calls.arguments(elaborator, arguments)
            if products.is_applied(function, given):
                return products.applied(elaborator, expression, function, given)
            return known(elaborator.apply(function, given, expression.span))
        case syntax.Pipe():
            return _pipe(elaborator, expression)
        case syntax.Text(value=text):
            return text
        case syntax.Boolean(value=truth):
            return truth
        case syntax.ListOf(items=items):
            return bounded_list(elaborator, [elaborator.evaluate(item) for item in items], expression.span)
        case syntax.TupleOf(items=items):
            return tuple(elaborator.evaluate(item) for item in items)
        case syntax.Unary():
            return _unary(elaborator, expression)
        case syntax.Conditional():
            chosen = expression.then if elaborator.truth(expression.condition) else expression.otherwise
            return elaborator.evaluate(chosen)
        case syntax.Attribute():
            return _attribute(elaborator, expression)
        case syntax.Index():
            return indexing.index(elaborator, expression)
        case syntax.Range(start=start, stop=stop):
            return Interval(elaborator.evaluate(start), elaborator.evaluate(stop))
    raise AssertionError(f"no rule for {type(expression).__name__}")


def known(value: Any) -> Any:
    """The value, unless it is unknown or holds something that is."""
    if value is UNKNOWN:
        raise Silence
    return value


def unknown_name(elaborator: Elaborator, name: syntax.Name) -> Exception:
    known_names = list(elaborator.frame.scope.known())
    hint = name_hint(name.text, known_names) or comment_hint(name.span)
    return elaborator.fault("E201", f"nothing is called `{name.text}` here", name.span, hint=hint)


def _name(elaborator: Elaborator, name: syntax.Name) -> Any:
    frame = elaborator.frame
    if name.primed:
        if name.text not in frame.states and frame.scope.names.get(name.text) is UNKNOWN:
            raise Silence  # its declaration was refused
        if name.text not in frame.states and name.text not in frame.buffers:
            raise elaborator.fault(
                "E208",
                f"`{name.text}'` is the next value of a state or buffer, and `{name.text}` is neither here",
                name.span,
                hint=did_you_mean(name.text, [*frame.states, *frame.buffers]),
            )
        if name.text not in frame.next_values:
            raise elaborator.fault(
                "E209",
                f"`{name.text}'` is read before it is given",
                name.span,
                labels=(Label(frame.declared[name.text], "the state"),),
                hint=f"state its equation first: `{name.text}' = ...`",
            )
        return known(frame.next_values[name.text])
    if name.text == "_":
        if not elaborator.session.piped:
            raise elaborator.fault("E210", "`_` stands for the piped value, and nothing is piped here", name.span)
        elaborator.session.placed[-1] = True
        return elaborator.session.piped[-1].value
    if name.text == "training":
        return elaborator.session.training
    try:
        value = known(frame.scope.find(name.text))
    except KeyError:
        raise unknown_name(elaborator, name) from None
    if isinstance(value, DType) and value == name.text:  # the dtype's own name, and not a variable that holds one
        return elaborator.session.actual(value)
    return elaborator.constant(value) if isinstance(value, Lazy) else value


# Signs


def _chain(elaborator: Elaborator, expression: syntax.Binary) -> Any:
    """A left-deep chain `a + b + c ...` without recursing along it."""
    spine = [expression]
    while isinstance(spine[-1].left, syntax.Binary):
        spine.append(spine[-1].left)
    innermost = spine[-1]
    if innermost.operator in ("and", "or"):
        left: Any = _logical(elaborator, innermost)
    else:
        left = binary(elaborator, innermost, elaborator.evaluate(innermost.left), elaborator.evaluate(innermost.right))
    for each in reversed(spine[:-1]):
        if each.operator in ("and", "or") and isinstance(left, bool):
            if left == (each.operator == "or"):
                continue
        left = binary(elaborator, each, left, elaborator.evaluate(each.right))
    return left


def _logical(elaborator: Elaborator, expression: syntax.Binary) -> Any:
    left = elaborator.evaluate(expression.left)
    if isinstance(left, bool) and left == (expression.operator == "or"):
        return left  # the right side may not even make sense then: `given(m) and rank(m) == 2`
    return binary(elaborator, expression, left, elaborator.evaluate(expression.right))


def binary(elaborator: Elaborator, expression: syntax.Binary, left: Any, right: Any) -> Any:
    """One sign between two values."""
    sign = expression.operator
    if sign == " ":
        return products.side_by_side(elaborator, expression, left, right)
    if isinstance(left, Value) or isinstance(right, Value):
        return _tensor(elaborator, expression, left, right)
    if isinstance(left, bool) and isinstance(right, bool) and sign in ("and", "or"):
        return (left and right) if sign == "and" else (left or right)
    if sign in ("==", "!="):
        return _equal(elaborator, expression, left, right) == (sign == "==")
    if is_size(left) and is_size(right) and sign != "/":
        return _sizes(elaborator, expression, left, right)
    if is_number(left) and is_number(right):
        return _numbers(elaborator, expression, left, right)
    if (is_number(left) or is_size(left)) and (is_number(right) or is_size(right)) and sign in _OPERATORS:
        return _tensor(elaborator, expression, _as_scalar(elaborator, left), _as_scalar(elaborator, right))
    if sign == "+" and isinstance(left, list) and isinstance(right, list):
        bounded_count(elaborator, len(left) + len(right), expression.span)
        return [*left, *right]
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return bounded_text(elaborator, left + right, expression.span)
    for value, operand in ((left, expression.left), (right, expression.right)):
        if isinstance(value, (Instance, Defined, Builtin, Primitive)):
            raise calls.not_a_tensor(elaborator, value, operand.span)
    raise elaborator.fault(
        "E415",
        f"`{sign}` does not work between {describe(left)} and {describe(right)}",
        expression.operator_span,
        labels=tuple(
            Label(side.span, describe(value)) for side, value in ((expression.left, left), (expression.right, right))
        ),
    )


def _as_scalar(elaborator: Elaborator, value: Any) -> Any:
    """A symbolic size as a float scalar, for true division and float arithmetic."""
    if not isinstance(value, Dim):
        return value
    dtype = elaborator.frame.float_type or elaborator.session.float_type
    return elaborator.session.make(lambda: calls.converted(size_of(value), dtype), elaborator.session.calls[-1].span)


def _tensor(elaborator: Elaborator, expression: syntax.Binary, left: Any, right: Any) -> Any:
    for value, operand in ((left, expression.left), (right, expression.right)):
        if isinstance(value, (Instance, Defined, Builtin, Primitive)):
            raise calls.not_a_tensor(elaborator, value, operand.span)
    sign = expression.operator
    given = [Given(None, left, expression.left.span), Given(None, right, expression.right.span)]
    operator = Operator.registry[_OPERATORS[sign]]
    return calls.operate(elaborator, operator, {}, given, expression.span, sign=sign, at=expression.operator_span)


def _unary(elaborator: Elaborator, expression: syntax.Unary) -> Any:
    value = elaborator.evaluate(expression.operand)
    match expression.operator:
        case "-" if is_number(value):
            return -value
        case "-" if isinstance(value, Dim):
            return -value
        case "-" if isinstance(value, Value):
            given = [Given(None, value, expression.operand.span)]
            return calls.operate(elaborator, Operator.registry["neg"], {}, given, expression.span, sign="-")
        case "not" if isinstance(value, bool):
            return not value
        case "not" if isinstance(value, Value):
            given = [Given(None, value, expression.operand.span)]
            return calls.operate(elaborator, Operator.registry["logical_not"], {}, given, expression.span, sign="not")
        case "^T" if isinstance(value, Value):
            return products.transposed(elaborator, value, expression.span)
    if isinstance(value, (Instance, Defined, Builtin, Primitive)):
        raise calls.not_a_tensor(elaborator, value, expression.operand.span)
    raise elaborator.fault("E415", f"`{expression.operator}` does not work on {describe(value)}", expression.span)


# Numbers and sizes


def _sizes(elaborator: Elaborator, expression: syntax.Binary, left: Size, right: Size) -> Any:
    sign, span = expression.operator, expression.span
    if isinstance(left, Dim) or isinstance(right, Dim):
        elaborator.session.charge(of_sizes(left, right), span)
    try:
        match sign:
            case "+":
                return bounded(elaborator, left + right, span)
            case "-":
                return bounded(elaborator, left - right, span)
            case "*":
                return bounded(elaborator, left * right, span)
            case "//":
                return left // right
            case "%":
                return left % right
            case "**" if isinstance(left, int) and isinstance(right, int):
                return _power(elaborator, expression, left, right)
            case "**" if isinstance(right, int) and 0 <= right <= 16:
                elaborator.session.charge(right * of_sizes(left, left), span)
                return left**right
            case "<" | "<=" | ">" | ">=":
                return _ordered(elaborator, expression, left, right)
    except ZeroDivisionError:
        raise elaborator.fault("E505", "division by zero", expression.right.span) from None
    except DimError as error:
        code = "E505" if "zero" in str(error) else "E307"
        raise elaborator.fault(code, str(error), span) from None
    raise elaborator.fault(
        "E415", f"`{sign}` does not work between {describe(left)} and {describe(right)}", expression.operator_span
    )


def bounded(elaborator: Elaborator, value: Any, span: Span) -> Any:
    """The number, unless it is too large to be one of ours."""
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise elaborator.fault("E506", "a whole number beyond 2**63 - 1", span)
    if isinstance(value, float) and math.isinf(value):
        raise elaborator.fault("E506", "a number beyond what a float holds", span)
    return value


def _power(elaborator: Elaborator, expression: syntax.Binary, left: float, right: float) -> Any:
    if isinstance(left, int) and isinstance(right, int) and right >= 0 and abs(left) > 1 and right > 63:
        raise elaborator.fault("E506", "a whole number beyond 2**63 - 1", expression.span)
    try:
        value = left**right
    except (OverflowError, ZeroDivisionError) as error:
        code, message = (
            ("E506", "a number beyond what a float holds")
            if isinstance(error, OverflowError)
            else ("E505", "division by zero")
        )
        raise elaborator.fault(code, message, expression.span) from None
    if isinstance(value, complex):
        raise elaborator.fault("E505", "a root of a negative number", expression.span)
    return bounded(elaborator, value, expression.span)


def _numbers(elaborator: Elaborator, expression: syntax.Binary, left: float, right: float) -> Any:
    span = expression.span
    try:
        match expression.operator:
            case "+":
                return bounded(elaborator, left + right, span)
            case "-":
                return bounded(elaborator, left - right, span)
            case "*":
                return bounded(elaborator, left * right, span)
            case "/":
                return bounded(elaborator, left / right, span)
            case "//":
                return left // right
            case "%":
                return left % right
            case "**":
                return _power(elaborator, expression, left, right)
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
            case ">=":
                return left >= right
    except ZeroDivisionError:
        raise elaborator.fault("E505", "division by zero", expression.right.span) from None
    except OverflowError:
        raise elaborator.fault("E506", "a number beyond what a float holds", span) from None
    raise elaborator.fault("E415", f"`{expression.operator}` does not work between numbers", expression.operator_span)


def _equal(elaborator: Elaborator, expression: syntax.Binary, left: Any, right: Any) -> bool:
    if is_size(left) and is_size(right):
        if left == right:
            return True
        if differ(left, right):
            return False
        raise _undecided(elaborator, expression, left, right)
    if isinstance(left, (list, str)):
        _look_at(elaborator, left, expression.span)
        _look_at(elaborator, right, expression.span)
    if isinstance(left, (int, float, str, bool, DType, list)) and isinstance(
        right, (int, float, str, bool, DType, list)
    ):
        return isinstance(left, bool) == isinstance(right, bool) and left == right
    if isinstance(left, Primitive) and isinstance(right, Primitive):
        return left.operator is right.operator
    if isinstance(left, Defined) and isinstance(right, Defined):
        return left.syntax is right.syntax
    return left is right


def _look_at(elaborator: Elaborator, value: Any, span: Span) -> None:
    """Count what a comparison looks at."""
    if isinstance(value, list):
        bounded_list(elaborator, value, span)
    elif isinstance(value, str):
        elaborator.session.charge(len(value) * COPIED, span)


def _ordered(elaborator: Elaborator, expression: syntax.Binary, left: Size, right: Size) -> bool:
    """`<` and its kin between sizes, decided where it holds for all dims of at least 1, or for none."""
    gap = left - right
    sign = expression.operator
    if isinstance(gap, int):
        return {"<": gap < 0, "<=": gap <= 0, ">": gap > 0, ">=": gap >= 0}[sign]
    least, most = _least(gap), _least(-gap)
    if least is not None:
        if least > 0 or (least == 0 and sign in (">=", "<")):
            return sign in (">", ">=")
    if most is not None:
        if most > 0 or (most == 0 and sign in ("<=", ">")):
            return sign in ("<", "<=")
    raise _undecided(elaborator, expression, left, right)


def _least(size: Size) -> int | None:
    """The least value of a size whose terms all grow with the dims; None where that is not plain."""
    if isinstance(size, int):
        return size
    total = 0
    for monomial, factor in size.terms:
        if monomial and (factor < 0 or any(type(atom).__name__ != "Symbol" for atom, _ in monomial)):
            return None
        total += factor
    return total


def _undecided(elaborator: Elaborator, expression: syntax.Binary, left: Size, right: Size) -> Exception:
    names = sorted(symbols(left) | symbols(right))
    frame = elaborator.frame
    labels = tuple(
        Label(frame.dims[name].span, f"`{name}` is known only when the model runs")
        for name in names
        if name in frame.dims
    )
    return elaborator.fault(
        "E313",
        f"whether {left} {expression.operator} {right} depends on {' and '.join(f'`{name}`' for name in names)}",
        expression.span,
        labels=labels,
        hint="write the size as a number in the model's input, or make it a hyperparameter",
    )


# Pipes and attributes


def _pipe(elaborator: Elaborator, expression: syntax.Pipe) -> Any:
    """`a -> b -> c` without recursing along it."""
    stages = [expression]
    while isinstance(stages[-1].value, syntax.Pipe):
        stages.append(stages[-1].value)
    first = stages[-1].value
    value, span = elaborator.evaluate(first), first.span
    for each in reversed(stages):
        value = _stage(elaborator, Given(None, value, span), each)
        span = each.span
    return value


def _stage(elaborator: Elaborator, piped: Given, pipe: syntax.Pipe) -> Any:
    stage = pipe.stage
    if isinstance(stage, syntax.Binary):
        raise _applied_to_less(elaborator, pipe, stage)
    if not isinstance(stage, syntax.Call):
        callee = elaborator.evaluate(stage)
        return known(elaborator.apply(callee, [piped], stage.span))
    callee = elaborator.evaluate(stage.callee)
    session = elaborator.session
    session.piped.append(piped)
    session.placed.append(False)
    try:
        arguments = calls.arguments(elaborator, stage.arguments)
    finally:
        session.piped.pop()
        placed = session.placed.pop()
    if isinstance(callee, Defined) and callee.kind in ("layer", "model", "cell"):
        instance = elaborator.apply(callee, arguments, stage.span)  # a size of what is piped may be among these
        return known(elaborator.apply(instance, [piped], stage.span))
    if not placed:
        arguments = [piped, *arguments]
    return known(elaborator.apply(callee, arguments, stage.span))


def _applied_to_less(elaborator: Elaborator, pipe: syntax.Pipe, stage: syntax.Binary) -> Exception:
    """`x -> Dense(4) + x`, of a person to whom `->` binds tighter."""
    first: syntax.Expression = stage
    while isinstance(first, syntax.Binary):
        first = first.left
    shown = "(x -> f) + y"
    if isinstance(first, (syntax.Name, syntax.Call, syntax.Attribute)):
        applied = pipe.value.span.to(first.span).text
        rest = Span(stage.span.source, first.span.end, stage.span.end).text
        whole = " ".join(f"({applied}) {rest}".split())
        shown = whole if len(whole) <= 60 and "#" not in whole else shown
    message = "what stands after `->` is applied, and a sum or a product is nothing to apply"
    return elaborator.fault("E407", message, stage.span, hint=f"`->` binds loosest: `{shown}`")


def _attribute(elaborator: Elaborator, expression: syntax.Attribute) -> Any:
    value, name = elaborator.evaluate(expression.value), expression.name.text
    if isinstance(value, Module):
        if name in value.members:
            return value.members[name]
        raise elaborator.fault(
            "E206", f"{value.name} has no `{name}`", expression.name.span, hint=did_you_mean(name, value.members)
        )
    if isinstance(value, Instance):
        if name in value.parameters:
            return value.parameters[name]
        if name in value.hypers:
            return value.hypers[name]
        declared = [each for each in calls.declared_parameters(value.defined.syntax) if each.name.text == name]
        if declared:
            path = f"{value.path}.{name}"
            if path in elaborator.session.parameters:
                return elaborator.session.parameters[path]
            raise elaborator.fault(
                "E207",
                f"`{expression.span.text}` has no shape before {value.defined.name} is first applied",
                expression.span,
                labels=(Label(value.span, "made here"),),
            )
        members = [*value.hypers, *(each.name.text for each in calls.declared_parameters(value.defined.syntax))]
        raise elaborator.fault(
            "E206",
            f"{describe(value)} has no parameter or hyperparameter `{name}`",
            expression.name.span,
            hint=did_you_mean(name, members),
        )
    if isinstance(value, Value):
        hints = {
            "T": "the transpose is `x^T`",
            "shape": "it is `shape(x)`",
            "dtype": "it is `dtype(x)`",
            "ndim": "it is `rank(x)`",
        }
        hint = hints.get(name) or (f"functions are called as `{name}(x)`" if name in elaborator.frame.scope else None)
        raise elaborator.fault("E206", f"a tensor has no attribute `{name}`", expression.name.span, hint=hint)
    raise elaborator.fault("E206", f"{describe(value)} has no attribute `{name}`", expression.name.span)
