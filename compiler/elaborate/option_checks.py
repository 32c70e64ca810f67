"""Checks of the options of `choice`: each but the first is elaborated once, with the first of other choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from compiler.elaborate.interruptions import BudgetExceeded
from compiler.elaborate.models import elaborate_in
from compiler.elaborate.program import Program
from compiler.elaborate.reporting import report_each
from compiler.elaborate.session import Session
from compiler.elaborate.values import Defined
from compiler.elaborate.work import Work
from compiler.search_space import Options, Search, Variable
from compiler.types import DType
from grammar.diagnostics import Diagnostic, Diagnostics, Label
from grammar.source import Span

_Indices = Mapping[Span, int]  # of the chosen options, by the spans of their choices; 0 for others


def search_of(indices: _Indices) -> Search:
    """A search that chooses these options."""

    def choose(variable: Variable) -> int:
        return indices.get(variable.span, 0)

    return Search(choose)


@dataclass(eq=False)
class OptionChecks:
    """The options of a file that have been checked, and a work budget of their own, after which the rest is skipped."""

    program: Program
    work: Work = field(default_factory=Work)
    known: set[Span] = field(default_factory=set)

    def run(
        self, search: Search, defined: Defined, preset: str | None, hypers: Mapping[str, Any], diagnostics: Diagnostics
    ) -> None:
        """Elaborate a model once with each option that `search` met but did not choose, and those inside it."""
        waiting = self._untried(search, {})
        while waiting:
            indices, option = waiting.pop(0)
            own = Diagnostics()
            for training in (False, True):
                tried = search_of(indices)
                session = Session(
                    training=training, float_type=DType.F32, diagnostics=own, work=self.work, search=tried
                )
                try:
                    elaborate_in(session, self.program, defined, preset, hypers)
                except BudgetExceeded:
                    if self.work.used_up:
                        return
                if own.reported or not session.reads_training:
                    break
            reported = {diagnostic.span for diagnostic in diagnostics.reported}
            new = [diagnostic for diagnostic in own.reported if diagnostic.span not in reported]
            report_each(diagnostics, (_labelled(diagnostic, option) for diagnostic in new))
            waiting += self._untried(tried, indices)

    def _untried(self, search: Search, indices: _Indices) -> list[tuple[_Indices, Span]]:
        """The choices that an elaboration met first, and their options except the first ones."""
        untried: list[tuple[_Indices, Span]] = []
        for span, chosen in search.chosen.items():
            if span not in self.known and isinstance(chosen.variable.candidates, Options):
                self.known.add(span)
                options = list(enumerate(chosen.options))[1:]
                untried += [({**indices, span: index}, option.span) for index, option in options]
        return untried


def _labelled(diagnostic: Diagnostic, option: Span) -> Diagnostic:
    """An error that an option leads to, with a label at the option unless it is inside it."""
    span = diagnostic.span
    if span is not None and span.source is option.source and option.start <= span.start and span.end <= option.end:
        return diagnostic
    return replace(diagnostic, labels=(*diagnostic.labels, Label(option, "with this option")))
