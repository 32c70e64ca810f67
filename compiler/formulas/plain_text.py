"""Equations as plain text: a line for each, below the equations of the model that they come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compiler.formulas.sections import Equation, Group, Section, every_equation, heading
from grammar.expression_printer import PIPE, PRODUCT, print_expression
from grammar.source import Span
from specs import FOLDER


def text_of(section: Section) -> str:
    """A model, or its gradient, as text."""
    return "\n".join([*_head(section), *_lines(section, "")]) + "\n"


def print_equation(equation: Equation, section: Section) -> str:
    """`dW = sum over t, batch of dy h^T`, with names as they are written in a section."""
    target = print_expression(equation.target.expression(section.path))
    over = f"sum over {', '.join(equation.over)} of " if equation.over else ""
    return f"{target} = {over}{print_expression(equation.value, PRODUCT if over else PIPE)}"


def print_source(group: Group, section: Section) -> str:
    """The equations of the model that a group comes from, in one line."""
    first, *others = (print_equation(equation, section) for equation in group.of)
    return first + (f"  with  {',  '.join(others)}" if others else "")


def location(span: Span) -> str:
    """The file and line of a span; of a file that comes with nablac its path in the package."""
    path = Path(span.source.name)
    name = path.relative_to(FOLDER.parent).as_posix() if path.is_relative_to(FOLDER) else span.source.name
    return f"{name}:{span.line}"


def _head(section: Section) -> Iterator[str]:
    if not section.is_gradient:
        yield f"# {heading(section)}."
        return
    yield f"# {heading(section)}. dX is the gradient of X."
    index = next((step.index for step, _, _ in every_equation(section) if step.is_step), "")
    if index:
        after = f"dX[{index} + 1] is of the step after this one"
        yield f"# In the steps of a recurrence, X' is the next value of X, and {after}."


def _lines(section: Section, indent: str) -> Iterator[str]:
    for part in section.parts:
        yield ""
        if isinstance(part, Section):
            yield f"{indent}# {step_title(part)}"
            yield from _lines(part, indent + "    ")
            continue
        if part.of:
            where = f"    {location(part.span)}" if part.span is not None else ""
            yield f"{indent}# {print_source(part, section)}{where}"
        elif part.title:
            yield f"{indent}# {part.title}"
        elif part.span is not None:
            yield f"{indent}# {location(part.span)}"
        for equation in part.equations:
            yield f"{indent}{print_equation(equation, section)}"


def step_title(section: Section) -> str:
    """What the steps of a recurrence are."""
    runs_back = section.reverse != section.is_gradient  # the gradient runs against the steps of the model
    order = "from the last to the first" if runs_back else "from the first to the last"
    kept = "".join(
        f"; {symbol.text} is 0 where a segment of truncated back-propagation begins, else 1" for symbol in section.keeps
    )
    return f"the steps {section.index} of {section.path} ({section.definition}), {order}{kept}"
