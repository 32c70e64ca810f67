"""All warnings of a file, without those that its comments allow."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.elaborate.models import Elaboration
from compiler.elaborate.program import Program
from compiler.lints.allowances import allowances_of
from compiler.lints.model_warnings import model_warnings
from compiler.lints.unread_values import unread_values
from grammar.diagnostics import Diagnostic, Diagnostics


def warnings_of(program: Program, elaborations: Sequence[Elaboration]) -> list[Diagnostic]:
    """The warnings of a file whose models were elaborated without errors, in the order of the text."""
    allowances = allowances_of(program.tree)
    warnings = Diagnostics()
    warnings.extend(unread_values(program.tree))
    for elaboration in elaborations:
        warnings.extend(model_warnings(elaboration, program.definitions[elaboration.graph.name].syntax.body))
    warnings.reported = allowances.apply(warnings.reported)
    return warnings.in_order()
