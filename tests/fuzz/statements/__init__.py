"""The kinds of statements, a file per family, and the random programs that are built from them."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fuzz.generator import Generator, Rejected
from tests.fuzz.program import Program
from tests.fuzz.statements import (  # entered in the table by being defined
    attention,
    elementwise,
    folding,
    indices,
    layers,
    moving,
    products,
    recurrences,
    windows,
)
from tests.fuzz.statements.table import TEMPLATES

__all__ = ["TEMPLATES", "random_program"]
_FAMILIES = (attention, elementwise, folding, indices, layers, moving, products, recurrences, windows)


def random_program(seed: int, length: int | None = None, kinds: Sequence[str] = ()) -> Program:
    """The program of a seed: with `length` statements, or 1 to 8, of some kinds or of all."""
    generator = Generator(seed)
    wanted = length or (1 + seed % 8 if seed % 3 else 1)
    names = [name for name in TEMPLATES if not kinds or name in kinds]
    weights = [TEMPLATES[name][0] for name in names]
    for _ in range(40 * wanted):
        if len(generator.statements) == wanted:
            break
        name = generator.random.choices(names, weights)[0]
        inputs, values = len(generator.inputs), len(generator.values)
        try:
            statement = TEMPLATES[name][1](generator)
            if statement is not None:
                statement.op = name
                generator.add(statement)
        except Rejected:
            for added in generator.inputs[inputs:]:
                generator.env.pop(added.name, None)
            del generator.inputs[inputs:], generator.values[values:]
    used = {name for statement in generator.statements for name in statement.uses}
    ends = [value for statement in generator.statements for value in statement.results if value.name not in used]
    whole = Program(generator.inputs, generator.statements, ends or [generator.statements[-1].results[0]])
    return whole.kept(whole.outputs[-4:])
