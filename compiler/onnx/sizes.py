"""Symbolic sizes as ONNX nodes that compute them from the shapes of the inputs when the model runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compiler.dims import Dim, Quotient, Remainder, Size, Symbol
from compiler.graph import Graph
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.size_origins import size_origins
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class Sizes:
    """Computes each size once, in the outermost graph, from which nested graphs read it."""

    def __init__(self, graph: Graph, emit: Emit, constant: Callable[[Array], str]) -> None:
        self.name = graph.name
        self.emit, self.constant = emit, constant
        self.origins = size_origins({label: value.type for label, value in graph.inputs.items()})
        self.known: dict[Size | tuple[Size, ...], str] = {}
        self.known_atoms: dict[Quotient | Remainder, str] = {}

    def all(self, sizes: Sequence[Size]) -> str:
        """The sizes as one i64 vector; an initializer if all are numbers."""
        key = tuple(sizes)
        if not any(isinstance(size, Dim) for size in key):
            return self.constant(np.array(key, np.int64))
        if len(key) == 1:
            return self.one(key[0])
        if key not in self.known:
            self.known[key] = self.emit("Concat", *self._runs(key), axis=0)
        return self.known[key]

    def one(self, size: Size) -> str:
        """A size as an i64 vector of one element."""
        if isinstance(size, int):
            return self.constant(np.array([size], np.int64))
        if size not in self.known:
            total: str | None = None
            for monomial, factor in size.terms:
                term = self._product(monomial, factor)
                total = term if total is None else self.emit("Add", total, term)
            assert total is not None
            self.known[size] = total
        return self.known[size]

    def _runs(self, sizes: Sequence[Size]) -> list[str]:
        """The vectors to concatenate; adjacent numbers are one constant."""
        parts: list[str] = []
        run: list[int] = []
        for size in sizes:
            if isinstance(size, int):
                run.append(size)
                continue
            if run:
                parts.append(self.constant(np.array(run, np.int64)))
                run = []
            parts.append(self.one(size))
        if run:
            parts.append(self.constant(np.array(run, np.int64)))
        return parts

    def _product(self, monomial: Sequence[tuple[Symbol | Quotient | Remainder, int]], factor: int) -> str:
        term: str | None = None
        for atom, power in monomial:
            name = self._atom(atom)
            for _ in range(power):
                term = name if term is None else self.emit("Mul", term, name)
        if term is None:
            return self.one(factor)
        return term if factor == 1 else self.emit("Mul", term, self.one(factor))

    def _atom(self, atom: Symbol | Quotient | Remainder) -> str:
        if isinstance(atom, Symbol):
            return self._symbol(atom.name)
        if atom not in self.known_atoms:
            left, right = self.one(atom.numerator), self.one(atom.denominator)
            result = self.emit("Mod", left, right)  # with the sign of the divisor, as in Python
            if isinstance(atom, Quotient):
                # ONNX's Div truncates, and the language rounds down: of a multiple both are exact.
                result = self.emit("Div", self.emit("Sub", left, result), right)
            self.known_atoms[atom] = result
        return self.known_atoms[atom]

    def _symbol(self, name: str) -> str:
        key = Dim.named(name)
        if key not in self.known:
            if name not in self.origins:
                raise NablacError(
                    Diagnostic(
                        codes.E908,
                        f"the size `{name}` cannot be determined from the inputs of {self.name}",
                        place=self.name,
                        hint="make it an axis of an input by itself",
                    )
                )
            origin = self.origins[name]
            size = self.emit("Shape", origin.source, start=origin.axis, end=origin.axis + 1)
            if origin.rest != 0:
                size = self.emit("Sub", size, self.one(origin.rest))
            if origin.factor != 1:
                size = self.emit("Div", size, self.one(origin.factor))
            self.known[key] = size
        return self.known[key]
