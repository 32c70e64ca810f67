"""A random program: statements, each with its text and with a function that computes it from torch tensors.

That function needs nothing of nablac to know what is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tests.fuzz.sizes import DIMS, Shape, Size, Sizes, listed, shape_of

Env = dict[str, torch.Tensor]


@dataclass(eq=False)
class Value:
    """A named value: its kind is "f", "i" or "b"; it is `smooth` if it has all derivatives."""

    name: str
    kind: str
    shape: Shape
    smooth: bool = True
    high: Size | None = None  # of indices: all are below this size

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(eq=False)
class Input(Value):
    """An input of the program."""

    def declared(self) -> str:
        dtype = {"f": "", "i": "i64", "b": "bool"}[self.kind]
        return f"input {self.name}: {dtype}{listed(self.shape)}"

    def drawn(self, sizes: Sizes, generator: torch.Generator) -> torch.Tensor:
        shape = [size.at(sizes) for size in self.shape]
        if self.kind == "f":
            return torch.randn(shape, generator=generator, dtype=torch.float64)
        if self.kind == "b":
            return torch.rand(shape, generator=generator) < 0.6
        high = max(self.high.at(sizes), 1) if self.high is not None else 5
        return torch.randint(0, high, shape, generator=generator)


Compute = Callable[[Env, Sizes], Any]


@dataclass(eq=False)
class Statement:
    """A line of the program, which computes named values."""

    results: list[Value]
    text: str  # right of the sign
    uses: list[str]  # names of values that it reads
    compute: Compute
    before: list[str] = field(default_factory=list)  # lines before it, as `L3 = Dense(4)`
    declarations: list[str] = field(default_factory=list)  # cells and layers
    parameters: dict[str, Shape] = field(default_factory=dict)  # by path
    op: str = ""

    def lines(self) -> list[str]:
        names = ", ".join(value.name for value in self.results)
        return [*self.before, f"{names} = {self.text}"]


@dataclass(eq=False)
class Program:
    """Inputs, statements in order, and the names of the outputs."""

    inputs: list[Input]
    statements: list[Statement]
    outputs: list[Value]
    empty: bool = False  # whether some value of the last run had no elements, which the language may refuse

    def kept(self, outputs: Sequence[Value]) -> Program:
        """The program reduced to what these outputs need."""
        needed = {value.name for value in outputs}
        statements: list[Statement] = []
        for statement in reversed(self.statements):
            if any(value.name in needed for value in statement.results):
                statements.append(statement)
                needed |= set(statement.uses)
        inputs = [entry for entry in self.inputs if entry.name in needed]
        kept = Program(inputs, statements[::-1], list(outputs))
        dims = set(DIMS) & kept.text_words()
        bound = {str(size) for entry in inputs for size in entry.shape}
        for dim in sorted(dims - bound):  # a dim that only an attribute names needs an input of that size
            inputs.append(Input(f"of_{dim}", "f", shape_of(dim)))
        return kept

    def text_words(self) -> set[str]:
        return set(re.findall(r"[A-Za-z_]\w*", self.body()))

    def body(self) -> str:
        lines = [entry.declared() for entry in self.inputs]
        for statement in self.statements:
            lines += statement.lines()
        lines += [f"output {name} = {value.name}" for name, value in zip(self.output_names, self.outputs, strict=True)]
        return "".join(f"    {line}\n" for line in lines)

    @property
    def output_names(self) -> list[str]:
        return [f"y{index}" for index in range(len(self.outputs))]

    @property
    def parameters(self) -> dict[str, Shape]:
        return {path: shape for statement in self.statements for path, shape in statement.parameters.items()}

    @property
    def text(self) -> str:
        declared = "\n".join(text for statement in self.statements for text in statement.declarations)
        return f"{declared}\nmodel M {{\n{self.body()}}}\n".lstrip()

    @property
    def smooth(self) -> bool:
        return all(value.smooth for value in self.outputs)

    def feeds(self, sizes: Sizes, seed: int) -> Env:
        generator = torch.Generator().manual_seed(seed)
        return {entry.name: entry.drawn(sizes, generator) for entry in self.inputs}

    def weights(self, seed: int) -> Env:
        generator = torch.Generator().manual_seed(seed + 1000)
        return {
            path: 0.5 * torch.randn([s.at({}) for s in shape], generator=generator, dtype=torch.float64)
            for path, shape in self.parameters.items()
        }

    def run(self, feeds: Env, weights: Env, sizes: Sizes) -> list[torch.Tensor]:
        """The outputs as computed by torch."""
        env = {**feeds, **weights}
        self.empty = False
        for statement in self.statements:
            results = statement.compute(env, sizes)
            results = results if isinstance(results, tuple) else (results,)
            self.empty = self.empty or any(result.numel() == 0 for result in results)
            for value, result in zip(statement.results, results, strict=True):
                env[value.name] = result
        return [env[value.name] for value in self.outputs]
