"""A compiled model's graph with its weights, ready to be called on a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph
from compiler.onnx.output_names import end_names
from compiler.passes.known_weights import with_known_weights
from compiler.targets import NUMPY
from runtime.backends import device_named

if TYPE_CHECKING:
    from compiler.types import Array


class ModelRunner:
    """A graph on a backend; what depends on weights alone is computed when it is created.

    The `fed_weights` are fed by each call. With `live`, the NumPy runtime reads the arrays of all weights at each
    call, so that it notices those that are changed in place. With `keep_weights` nothing is computed from weights
    beforehand.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Array],
        backend: str,
        device: str,
        fed_weights: tuple[str, ...] = (),
        live: bool = False,
        keep_weights: bool = False,
    ) -> None:
        changing = {*fed_weights, *graph.updates}
        self.graph, self.backend = graph, backend
        self.fixed = {path: array for path, array in weights.items() if path not in changing}
        if backend == "numpy":
            from runtime.numpy_executor import NumpyRunner

            known = with_known_weights(graph, weights, NUMPY, keep=live or keep_weights or bool(fed_weights))
            self.runner: Any = NumpyRunner(known.graph, known.weights)
        else:
            from compiler.onnx.exporter import export
            from runtime.onnx_session import OnnxRunner

            target = device_named(device).target
            known = with_known_weights(graph, self.fixed, target, keep=keep_weights)
            model = export(
                known.graph, weights=known.weights, as_inputs=changing, shares_tables=device == "cpu", target=target
            )
            self.runner = OnnxRunner(model.SerializeToString(), device=device)
        self.run_graph = known.graph  # what the backend runs

    def is_current(self, weights: Mapping[str, Array]) -> bool:
        """Whether it was created with these weights, but for those that it is fed or updates."""
        return all(weights[path] is array for path, array in self.fixed.items())

    def run(
        self, feeds: Mapping[str, Array], sizes: dict[str, int], weights: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs by name, and next values of buffers by path, for checked feeds and the sizes of their named dims."""
        if self.backend == "numpy":
            outputs, updates = self.runner.run_step_checked(feeds, sizes)
            self.runner.weights.update(updates)
            return outputs, updates
        arrays = self.runner.run({name: feeds[name] if name in feeds else weights[name] for name in self.runner.inputs})
        results = [arrays[name] for name in end_names(self.graph)]
        outputs = dict(zip(self.graph.outputs, results, strict=False))
        return outputs, dict(zip(self.graph.updates, results[len(outputs) :], strict=True))
