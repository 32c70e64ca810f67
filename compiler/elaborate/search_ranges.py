"""Ranges and choices that `tune` searches: their checks, and the values that they have.

Without a search, a range has the value of its middle and a choice that of its first option.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, Builtin, CompileTimeValue, Defined, Interval, describe, is_number
from compiler.elaborate.work import EXPRESSION
from compiler.search_space import Numbers, Options, Scale
from grammar import codes, syntax
from grammar.expression_printer import print_expression
from grammar.record import Record
from grammar.source import Span

CHOICE = "choice"


# Ranges


def resolve_range(session: Session, value: CompileTimeValue) -> CompileTimeValue:
    """The value itself, or for a range, which only a loop may iterate over, the number that stands for it."""
    return value_in_range(session, "linear", value, value.span) if isinstance(value, Interval) else value


def value_in_range(session: Session, scale: Scale, interval: Interval, span: Span) -> int | float:
    """The number chosen from the range at `span`, by default its middle; NablacError if it is not a search range."""
    numbers = _numbers(session, scale, interval, span)
    session.ranges[span] = numbers
    session.resolved_count += 1
    search = session.search
    if search is None or not search.covers_range(span):
        return numbers.default
    chosen = search.value(span, numbers)
    if chosen.variable.candidates != numbers:
        raise session.fault(
            codes.E404,
            f"one search range has two bounds: here it is {numbers}, before it was {chosen.variable.candidates}",
            span,
            hint="it has one value in a trial: name it outside of the loop or the definition",
        )
    return chosen.value


def _numbers(session: Session, scale: Scale, interval: Interval, span: Span) -> Numbers:
    """The candidates of a range; NablacError unless its bounds are increasing numbers, positive for a log scale."""
    low, high = interval.start, interval.stop
    if not (is_number(low) and is_number(high)):
        message = f"the bounds of a search range must be numbers, got {describe(high if is_number(low) else low)}"
        raise session.fault(codes.E404, message, span)
    if scale == "log" and min(low, high) <= 0:
        raise session.fault(codes.E505, "the bounds of a logarithmic range must be above 0", span)
    if not low < high:
        raise session.fault(codes.E404, f"a search range must be increasing, got {low} to {high}", span)
    return Numbers(low, high, scale, isinstance(low, int) and isinstance(high, int))


def resolve_argument_ranges(session: Session, callee: CompileTimeValue, arguments: list[Argument]) -> list[Argument]:
    """The arguments with a number for each range, except in `log(a..b)` and where the callee loops over it."""
    if not any(isinstance(argument.value, Interval) for argument in arguments):
        return arguments
    if isinstance(callee, Builtin) and callee.name == "log":
        return arguments
    kept = _loop_arguments(session, callee, arguments) if isinstance(callee, Defined) else ()
    return [
        argument if argument in kept else argument.replace(value=resolve_range(session, argument.value))
        for argument in arguments
    ]


def _loop_arguments(session: Session, callee: Defined, arguments: list[Argument]) -> list[Argument]:
    """The arguments for hyperparameters that a `for` of the definition iterates over."""
    names = [hyper.name.text for hyper in callee.syntax.hypers]
    iterated: set[str] = set()
    waiting: list[Any] = [callee.syntax.body]
    while waiting:
        part = waiting.pop()
        session.charge(EXPRESSION, callee.syntax.name.span)
        if isinstance(part, syntax.For) and isinstance(part.iterable, syntax.Name):
            iterated.add(part.iterable.text)
        if isinstance(part, (syntax.For, syntax.If)):
            waiting += vars(part).values()
        elif isinstance(part, tuple):
            waiting += part
    return [
        argument
        for index, argument in enumerate(arguments)
        if (argument.name or next(iter(names[index : index + 1]), None)) in iterated
    ]


# Choices


def is_choice(callee: CompileTimeValue) -> bool:
    """Whether a callee is the language's `choice`, of whose arguments only the chosen one is evaluated."""
    return isinstance(callee, Builtin) and callee.name == CHOICE


def chosen_option(session: Session, call: syntax.Call) -> syntax.Expression:
    """The chosen argument of a call of `choice`, by default the first; NablacError if it has invalid arguments."""
    session.charge(len(call.arguments) * EXPRESSION, call.span)
    options = options_of(session, call)
    session.resolved_count += 1
    search = session.search
    if search is None or not search.covers_choice(call.span):
        return options[0]
    option = (search.chosen.get(call.span) or search.value(call.span, _as_texts(options), options)).option
    assert option is not None
    return option


def _as_texts(options: tuple[syntax.Expression, ...]) -> Options:
    short = tuple(map(_short, options))
    return Options(short if len(set(short)) == len(short) else tuple(map(print_expression, options)))


def _short(option: syntax.Expression) -> str:
    """An option without its arguments, such as `adam`; a range or a choice in full."""
    match option:
        case syntax.Call(callee=syntax.Name(text=text)) if text not in (CHOICE, "log"):
            return text
    return print_expression(option)


def options_of(session: Session, call: syntax.Call) -> tuple[syntax.Expression, ...]:
    """The arguments of a call of `choice`; NablacError if there are none, or if they are named or one list."""
    example = "as in `choice(25, 50, 100)`"
    named = next((argument.name for argument in call.arguments if argument.name is not None), None)
    if named is not None:
        raise session.fault(codes.E402, f"choice has no argument `{named.text}`", named.span, hint=example)
    options = tuple(argument.value for argument in call.arguments)
    if not options:
        raise session.fault(codes.E401, "choice needs values to choose from", call.span, hint=example)
    if len(options) == 1 and isinstance(options[0], syntax.ListOf):
        inside = options[0].span.text.removeprefix("[").removesuffix("]")
        message = "choice takes each value as an argument, got a single list"
        hint = f"write the values without the list: `choice({inside})`"
        raise session.fault(codes.E404, message, options[0].span, hint=hint)
    return options


def resolve_choices(session: Session, expression: syntax.Expression) -> syntax.Expression:
    """The chosen option of a call of `choice`, any other expression unchanged; for code that reads the syntax."""
    while isinstance(expression, syntax.Call) and isinstance(expression.callee, syntax.Name):
        name = expression.callee.text
        if name != CHOICE or name not in session.frame.scope or not is_choice(session.frame.scope.find(name)):
            break
        expression = chosen_option(session, expression)
    return expression


# Values and ranges of the wrong kind


class Mismatch(Record):
    """What a message says of a value of the wrong kind."""

    actual: str
    hint: str | None


def mismatch_at(
    session: Session, allows: Callable[[Any], bool], value: CompileTimeValue, span: Span
) -> Mismatch | None:
    """None if the value of the expression at `span` is allowed, and for a range both bounds are too."""
    numbers = session.ranges.get(span)
    if numbers is None:
        return None if allows(value) else Mismatch(describe(value), None)
    if allows(value) and allows(numbers.low) and allows(numbers.high):
        return None
    low, high = round(numbers.low), round(numbers.high)
    is_float = not numbers.is_whole and low < high and allows(low) and allows(high)
    written = f"log({low}..{high})" if numbers.scale == "log" else f"{low}..{high}"
    hint = f"a range of whole numbers has whole bounds: `{written}`" if is_float else None
    if allows(True):
        hint = "a flag is searched by `choice(true, false)`"
    return Mismatch(str(numbers), hint)
