"""Minimizing a program that fails: to one output, with operands of plain sizes replaced by inputs."""

from __future__ import annotations

from tests.fuzz.checks import Checked
from tests.fuzz.program import Input, Program
from tests.fuzz.sizes import REFERENCE


def smaller(program: Program, kind: str) -> Program:
    """A part of the program that is as short as possible and fails in the same way."""

    def fails(candidate: Program) -> bool:
        failures = Checked(candidate).check()
        return any(failure.stage.split(" ")[0].rstrip(":") == kind for failure in failures)

    best = program
    for statement in program.statements:
        for value in statement.results:
            alone = program.kept([value])
            if fails(alone):
                best = alone
                break
        else:
            continue
        break
    changed = True
    while changed and len(best.statements) > 1:
        changed = False
        for statement in best.statements[:-1]:
            plain = all(
                size.number is not None or str(size) in REFERENCE for value in statement.results for size in value.shape
            )
            if not plain:
                continue
            replacements = [Input(v.name, v.kind, v.shape, True, v.high) for v in statement.results]
            rest = [other for other in best.statements if other is not statement]
            inputs = [entry for entry in best.inputs if not entry.name.startswith("of_")]
            candidate = Program([*inputs, *replacements], rest, best.outputs).kept(best.outputs)
            if fails(candidate):
                best, changed = candidate, True
                break
    return best
