"""The ways in which a graph is rewritten: by all passes, one alone or all but one, for a target, with known weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from compiler.graph import Graph
from compiler.passes.known_weights import KnownWeights, with_known_weights
from compiler.passes.pipeline import (
    CLEAN_UP,
    OPTIMIZING,
    Pass,
    Stage,
    names_to_disable,
    optimize,
    pass_settings,
    passes_of,
)
from compiler.targets import NUMPY, ORT_CPU, PORTABLE, Target
from compiler.types import DType
from grammar.record import Record
from tests.equivalence.subjects import Subject

Which = Literal["all", "alone", "without"]
TARGETS = (ORT_CPU, NUMPY, PORTABLE)


class Variant(Record):
    """Some passes, a target, and whether weights stay by their names."""

    label: str
    disabled: frozenset[str]
    target: Target
    keep: bool

    def optimized(self, graph: Graph, runs: PassRuns) -> Graph:
        return runs.optimize(graph, self.target, self.disabled) if self.disabled else optimize(graph, self.target)

    @property
    def later(self) -> tuple[str, bool, frozenset[str]]:
        """What decides, with the optimised graph, about what is run: graphs of which both are equal are one."""
        return self.target.name, self.keep, self.disabled & _LATER

    @property
    def exporting(self) -> tuple[str, ...]:
        """The passes of a file's nodes: graphs and these being equal, that of one target stands for all."""
        names = (*(pass_.name for pass_ in passes_of(Stage.EXPORT, target=self.target)), CLEAN_UP)
        return tuple(name for name in names if name not in self.disabled)

    def known(self, graph: Graph, weights: Mapping[str, Any]) -> KnownWeights:
        with pass_settings(self.disabled):
            return with_known_weights(graph, weights, self.target, keep=self.keep)

    def title(self) -> str:
        return f"{self.label}, {self.target.name}, {'weights by name' if self.keep else 'weights known'}"


def variants(which: Which, targets: Iterable[Target] = TARGETS) -> Iterator[Variant]:
    """The variants of a kind; one pass more or less is tried with known weights if it runs on these, else without."""
    every = names_to_disable()
    for target in targets:
        for keep in (False, True):
            if which == "all":
                yield Variant("all passes", frozenset(), target, keep)
            if which == "alone":
                yield Variant("no pass", frozenset(every), target, keep)
        for name in every if which != "all" else ():
            keep = name not in _LATER
            if which == "alone":
                yield Variant(f"{name} alone", frozenset(every) - {name}, target, keep)
            else:
                yield Variant(f"without {name}", frozenset({name}), target, keep)


class PassRuns:
    """Optimises graphs; a pass that several variants run on one graph runs once."""

    def __init__(self) -> None:
        self.results: dict[tuple[object, Graph], Graph] = {}

    def optimize(self, graph: Graph, target: Target, disabled: Collection[str]) -> Graph:
        for pass_ in passes_of(*OPTIMIZING, target=target):
            if pass_.name not in disabled:
                graph = self._run(pass_, graph)
        return graph

    def _run(self, pass_: Pass, graph: Graph) -> Graph:
        key = (pass_.name, id(pass_.rules)) if pass_.rules else pass_, graph  # rules are the same for all targets
        if key not in self.results:
            self.results[key] = pass_.run(graph)
        return self.results[key]


class Builder:
    """Builds the graphs of a subject; what passes before differentiation leave alike is built once."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.graphs: dict[tuple[DType, frozenset[str]], Graph] = {}

    def build(self, dtype: DType, disabled: frozenset[str]) -> Graph:
        key = dtype, disabled & _EARLY
        if key not in self.graphs:
            with pass_settings(disabled):
                self.graphs[key] = self.subject.build(dtype)
        return self.graphs[key]

    def as_written(self, dtype: DType) -> Graph:
        """The graph without any pass."""
        return self.build(dtype, frozenset(names_to_disable()))


_EARLY = frozenset(pass_.name for pass_ in passes_of(Stage.BEFORE_GRADIENT))
_LATER = frozenset(
    (CLEAN_UP, *(pass_.name for target in TARGETS for pass_ in passes_of(Stage.WEIGHTS, Stage.EXPORT, target=target)))
)
