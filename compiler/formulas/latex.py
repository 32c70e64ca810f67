r"""Equations as LaTeX, of what KaTeX and MathJax know: an `aligned` environment for each section.

A gradient dX is written as Goodfellow, Bengio and Courville (2016) do, as a nabla with X below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from compiler.formulas.expression_makers import Transposed
from compiler.formulas.plain_text import location, step_title
from compiler.formulas.sections import Equation, Group, Section, heading
from compiler.formulas.symbols import Reference, Symbol
from compiler.graph import Operator
from grammar import syntax
from grammar.expression_printer import PRODUCT, SIGN, SUM, level_of, print_expression

LONGEST = 16  # groups in one environment: KaTeX has a limit of what it expands
_GREEK = frozenset(
    (
        *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
        *("xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi"),
        *("Pi", "Sigma", "Phi", "Psi", "Omega"),
    )
)
_SIGNS = {
    "*": r"\odot",
    "@": "",
    " ": "",
    "==": "=",
    "!=": r"\neq",
    "<=": r"\leq",
    ">=": r"\geq",
    "and": r"\land",
    "or": r"\lor",
    "%": r"\bmod",
}
_SPECIAL = {"\\": r"\backslash{}", "_": r"\_", "#": r"\#", "%": r"\%", "&": r"\&", "$": r"\$", "{": r"\{", "}": r"\}"}


def latex_of(section: Section) -> str:
    """A model, or its gradient, as LaTeX."""
    return "\n".join([f"% {heading(section)}", *_blocks(section)]) + "\n"


def _blocks(section: Section) -> Iterator[str]:
    waiting: list[Group] = []
    for part in section.parts:
        if isinstance(part, Group):
            waiting.append(part)
            continue
        yield from _aligned(waiting, section)
        waiting = []
        yield f"% {step_title(part)}"
        yield from _blocks(part)
    yield from _aligned(waiting, section)


def _aligned(groups: list[Group], section: Section) -> Iterator[str]:
    for start in range(0, len(groups), LONGEST):
        yield r"\begin{aligned}"
        yield from _rows(groups[start : start + LONGEST], section)
        yield r"\end{aligned}"


def _rows(groups: list[Group], section: Section) -> Iterator[str]:
    for group in groups:
        if group.span is not None:
            yield f"% {location(group.span)}"
        elif group.title:
            yield f"% {group.title}"
        source = r",\; ".join(latex_equation(equation, section).replace("&= ", "= ") for equation in group.of)
        for index, equation in enumerate(group.equations):
            note = rf" && \text{{from }} {source}" if source and index == 0 else ""
            yield rf"{latex_equation(equation, section)}{note} \\"


def latex_equation(equation: Equation, section: Section) -> str:
    r"""`\nabla_{W} &= \sum_{t} ...`."""
    sums = "".join(rf"\sum_{{{_word(axis)}}} " for axis in equation.over)
    value = _written(equation.value, SUM + 1 if sums else 0)
    return f"{_reference(equation.target.expression(section.path))} &= {sums}{value}"


def _reference(reference: Reference) -> str:
    symbol = reference.symbol
    step = rf"^{{({_written(symbol.index)})}}" if symbol.index is not None else ""
    return _symbol(symbol, reference.prefix) + step


def _symbol(symbol: Symbol, prefix: str) -> str:
    if symbol.of is not None:
        return rf"\nabla_{{{_symbol(symbol.of.replace(index=None), prefix)}}}"
    layer = rf"\mathrm{{{_escaped(prefix)}.}}" if prefix else ""
    return layer + _word(symbol.text) + ("'" if symbol.primed else "")


def _word(text: str) -> str:
    r"""A name: `alpha` as `\alpha`, `W_xh` as `W_{\mathrm{xh}}`, `x1` as `x_{1}`."""
    first, *rest = text.split("_")
    if not first:
        return rf"\mathrm{{{_escaped(text)}}}"
    number = re.fullmatch(r"([A-Za-z])(\d+)", first)
    if number is not None and not rest:
        first, rest = number[1], [number[2]]
    word = rf"\{first}" if first in _GREEK else _upright(first)
    below = ",".join(_upright(part) for part in rest if part)
    return f"{word}_{{{below}}}" if below else word


def _upright(part: str) -> str:
    """A part of a name: a single letter and a number as they are, and any other word upright."""
    return part if len(part) == 1 or part.isdigit() else rf"\mathrm{{{_escaped(part)}}}"


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def _written(node: syntax.Expression | syntax.Slice | syntax.Ellipsis, least: int = 0) -> str:
    """An expression, in parentheses if it binds less tightly than `least`."""
    text = _latex(node)
    return rf"\left({text}\right)" if level_of(node) < least and not _encloses(node) else text


def _encloses(node: object) -> bool:
    """Whether the notation shows where an expression begins and ends: a fraction, and what is rounded down."""
    return isinstance(node, syntax.Binary) and node.operator in ("/", "//")


def _latex(node: syntax.Expression | syntax.Slice | syntax.Ellipsis) -> str:
    match node:
        case Reference():
            return _reference(node)
        case syntax.Number():
            return _number(node)
        case Transposed(operand=operand) | syntax.Unary("^T", operand):
            return f"{_base(operand)}^{{\\top}}"
        case syntax.Name(text, primed):
            return _word(text) + ("'" if primed else "")
        case syntax.Unary("-", operand):
            return f"-{_written(operand, PRODUCT)}"
        case syntax.Unary(_, operand):
            return rf"\lnot {_written(operand, SIGN)}"
        case syntax.Binary("/" | "//" as operator, left, right):
            fraction = rf"\frac{{{_written(left)}}}{{{_written(right)}}}"
            return fraction if operator == "/" else rf"\left\lfloor {fraction} \right\rfloor"
        case syntax.Binary("**", left, right):
            return f"{_base(left)}^{{{_written(right)}}}"
        case syntax.Binary(operator, left, right):
            return _infix(operator, left, right)
        case syntax.Call(syntax.Name("sqrt"), (argument,)):
            return rf"\sqrt{{{_written(argument.value)}}}"
        case syntax.Call(callee, arguments):
            return rf"{_function(callee)}\left({', '.join(map(_argument, arguments))}\right)"
        case syntax.Index(value, items):
            return rf"{_base(value)}\left[{', '.join(map(_latex, items))}\right]"
        case syntax.Slice(start, stop, step):
            ends = [_written(end) if end is not None else "" for end in (start, stop)]
            return ":".join([*ends, *([_written(step)] if step is not None else [])])
        case syntax.ListOf(items):
            return rf"\left[{', '.join(map(_written, items))}\right]"
    return rf"\mathrm{{{_escaped(print_expression(node))}}}"


def _number(node: syntax.Number) -> str:
    mantissa, _, exponent = f"{node.value:g}".partition("e") if isinstance(node.value, float) else (node.value, "", "")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else str(mantissa)


def _argument(argument: syntax.Argument) -> str:
    name = rf"\mathrm{{{_escaped(argument.name.text)}}}\colon " if argument.name is not None else ""
    return name + _written(argument.value)


def _infix(operator: str, left: syntax.Expression, right: syntax.Expression) -> str:
    own = level_of(syntax.Binary(operator, left, right, left.span, left.span))
    own = min(own, PRODUCT) if operator in "@* " else own
    sign = _SIGNS.get(operator, operator)
    if operator == "*" and not any(_is_tensor(side) for side in (left, right)):
        sign = r"\cdot"
    elif operator == "*" and isinstance(left, syntax.Number):
        sign = r"\,"
    between = f" {sign} " if sign else r" \, "
    return f"{_written(left, own)}{between}{_written(right, own + 1)}"


def _is_tensor(node: syntax.Expression) -> bool:
    """Whether an expression is more than numbers and sizes."""
    match node:
        case syntax.Binary(_, left, right):
            return _is_tensor(left) or _is_tensor(right)
        case syntax.Unary(_, operand):
            return _is_tensor(operand)
    return not isinstance(node, syntax.Number) and (type(node) is not syntax.Name or isinstance(node, Reference))


def _base(node: syntax.Expression) -> str:
    """What a superscript is attached to."""
    simple = isinstance(node, (syntax.Name, syntax.Call)) and not isinstance(node, Transposed)
    if isinstance(node, Reference) and (node.symbol.primed or node.symbol.index is not None):
        return f"{{{_latex(node)}}}"
    return _latex(node) if simple or isinstance(node, syntax.Number) else rf"\left({_latex(node)}\right)"


def _function(callee: syntax.Expression) -> str:
    name = print_expression(callee)
    operator = Operator.registry.get(name)
    known = operator.latex if operator is not None else ""
    return known or rf"\operatorname{{{_escaped(name)}}}"
