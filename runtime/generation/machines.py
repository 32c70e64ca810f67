"""Running a graph repeatedly on values that stay on the backend's device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compiler.graph import Graph
from compiler.targets import NUMPY, Target
from runtime.backends import device_named

if TYPE_CHECKING:
    from compiler.types import Array


class Machine(Protocol):
    """One graph on one backend; a value is the backend's own form of an array."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs, without weights."""

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of the compiled file; empty for a graph."""

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name, and the next value of each update by the update's name."""

    def value(self, array: Array) -> Any:
        """An array as a value of the backend."""

    def array(self, value: Any) -> Array:
        """A value as an array."""


class NumpyMachine:
    """A graph on the NumPy runtime."""

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
    """A compiled file, or its bytes, on onnxruntime.

    `graph_names` maps the file's outputs to the names in the graph; by default these follow from the file's names.
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
        """Outputs and updates by their names in the graph; values stay on the device."""
        results = self.runner.run_values({name: feeds[name] for name in self.inputs})
        return {self.graph_names[name]: value for name, value in results.items()}

    def value(self, array: Array) -> Any:
        """An OrtValue on the device."""
        return self.runner.value(array)

    def array(self, value: Any) -> Array:
        """An array in the memory of the CPU."""
        return self.runner.array(value)


def machine(
    graph: Graph, weights: Mapping[str, Array], backend: str, device: str, target: Target | None = None
) -> Machine:
    """A graph on a backend, with what depends on weights alone computed.

    `target` is what onnxruntime runs it as; by default that of the device.
    """
    from compiler.passes.known_weights import with_known_weights

    target = target or device_named(device).target
    known = with_known_weights(graph, weights, NUMPY if backend == "numpy" else target)
    if backend == "numpy":
        return NumpyMachine(known.graph, known.weights)
    from compiler.onnx.exporter import export
    from compiler.onnx.output_names import end_names

    names = dict(zip(end_names(known.graph), (*graph.outputs, *graph.updates), strict=True))
    exported = export(known.graph, weights=known.weights, target=target)
    return OnnxMachine(exported.SerializeToString(), device, names)


def select(feeds: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The feeds with these names, of those that exist."""
    return {name: feeds[name] for name in names if name in feeds}


def _graph_name(name: str) -> str:
    """The name in the graph of a file's output: the inverse of `end_names`, where the update `NAME` is `NAME.next`."""
    while name.endswith(".output"):
        name = name.removesuffix(".output")
    return name.removesuffix(".next")
