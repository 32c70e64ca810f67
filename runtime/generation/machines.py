"""A graph ready to run again and again on values that stay where the backend has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compiler.graph import Graph

if TYPE_CHECKING:
    from compiler.types import Array


class Machine(Protocol):
    """One graph on one backend; a value is whatever the backend keeps."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it is fed, weights left out."""

    @property
    def metadata(self) -> dict[str, str]:
        """What the compiled file says of itself; empty for a graph."""

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name, and the next value of each update by the update's name."""

    def value(self, array: Array) -> Any:
        """An array as the backend keeps it."""

    def array(self, value: Any) -> Array:
        """A value as an array."""


class NumpyMachine:
    """By the NumPy runtime."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array]) -> None:
        from runtime.numpy_executor import NumpyRunner

        self.runner = NumpyRunner(graph, weights)
        self.inputs = tuple(graph.inputs)
        self.metadata: dict[str, str] = {}

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs and updates by name; NablacError for feeds that do not fit."""
        return self.runner.run(feeds)

    def value(self, array: Array) -> Array:
        """The array itself, contiguous."""
        return np.ascontiguousarray(array)

    def array(self, value: Array) -> Array:
        """The value itself."""
        return value


class OnnxMachine:
    """By onnxruntime, from a compiled file or its bytes.

    `graph_names` are what the graph calls the outputs of the file; of a file alone they follow from their names in it.
    """

    def __init__(
        self, model: str | Path | bytes, device: str = "cpu", graph_names: Mapping[str, str] | None = None
    ) -> None:
        from runtime.onnx_session import OnnxRunner

        self.runner = OnnxRunner(model, device=device)
        self.inputs = tuple(self.runner.inputs)
        self.metadata = self.runner.metadata
        self.graph_names = graph_names or {name: _graph_name(name) for name in self.runner.outputs}

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs and updates by what the graph calls them; values stay on the device."""
        results = self.runner.run_values({name: feeds[name] for name in self.inputs})
        return {self.graph_names[name]: value for name, value in results.items()}

    def value(self, array: Array) -> Any:
        """An OrtValue on the device."""
        return self.runner.value(array)

    def array(self, value: Any) -> Array:
        """An array in the memory of the CPU."""
        return self.runner.array(value)


def machine(graph: Graph, weights: Mapping[str, Array], backend: str, device: str) -> Machine:
    """A graph on a backend."""
    if backend == "numpy":
        return NumpyMachine(graph, weights)
    from compiler.onnx.exporter import end_names, export

    names = dict(zip(end_names(graph), (*graph.outputs, *graph.updates), strict=True))
    return OnnxMachine(export(graph, weights=weights).SerializeToString(), device, names)


def select(feeds: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The feeds of these names."""
    return {name: feeds[name] for name in names if name in feeds}


def _graph_name(name: str) -> str:
    """What the graph calls an output of a file: `end_names` in reverse, `NAME.next` for the update `NAME`."""
    while name.endswith(".output"):
        name = name.removesuffix(".output")
    return name.removesuffix(".next")
