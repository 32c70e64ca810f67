"""Exporting a graph to ONNX.

Exported models pass `onnx.checker` with full shape inference and load in onnxruntime without a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING

from compiler.graph import Graph
from compiler.lazy import LazyModule
from compiler.onnx.device import leaving_nodes
from compiler.onnx.lowered import domains
from compiler.onnx.opsets import best_opset, check_opset, needed_opset
from compiler.onnx.stored_tensors import weights_metadata
from compiler.onnx.writer import Writer
from compiler.passes.pipeline import Stage, run_stage
from compiler.targets import IR_VERSION, LARGEST_FILE, LOWEST_OPSET, ORT_CPU, Target

if TYPE_CHECKING:
    import onnx

    from compiler.types import Array
else:
    onnx = LazyModule("onnx")


def export(
    graph: Graph,
    *,
    opset: int | None = None,
    lowest: int = LOWEST_OPSET,
    weights: Mapping[str, Array] | None = None,
    metadata: Mapping[str, str] | None = None,
    largest: int = LARGEST_FILE,
    as_inputs: Collection[str] = (),
    target: Target = ORT_CPU,
    shares_tables: bool = False,
) -> onnx.ModelProto:
    """The graph as an ONNX model.

    Parameters and buffers become initializers named by their paths; those in `as_inputs`, and all if `weights` is None,
    become inputs after the others. Outputs keep their names, and next values of buffers become outputs `<path>.next`
    (see `end_names`). The default opset is the lowest, from `lowest` on, that needs the fewest nodes, or at which fewer
    nodes leave the target's device. If the weights are larger than `largest` bytes together, the model contains
    references to them, and `runtime.onnx_file.save` writes their arrays. With `shares_tables`, for sessions of our own,
    large tied tables are inputs with a default value (see `tied_tables`), of which onnxruntime warns. A list of the
    weights is added to `metadata`, unless that is None. NablacError if the graph cannot be exported.
    """
    graph = run_stage(graph, Stage.EXPORT, target)
    check_opset(graph, opset, target)
    choices = {best_opset(graph, target), needed_opset(graph, target)}
    opsets = {max(choice, lowest) for choice in choices} if opset is None else {opset}
    if target.device is None:
        opsets = {max(opsets)}

    def write(opset: int) -> onnx.ModelProto:
        model = onnx.ModelProto(ir_version=IR_VERSION, opset_import=[onnx.helper.make_opsetid("", opset)])
        writer = Writer(graph, opset, target=target)
        writer.write(model.graph, weights, largest, as_inputs, shares_tables)
        model.opset_import.extend(onnx.helper.make_opsetid(domain, 1) for domain in sorted(domains(writer.nodes)))
        return model

    def nodes(model: onnx.ModelProto) -> tuple[int, int]:
        """How many nodes leave the device, and how many there are."""
        return sum(row.count for row in leaving_nodes(model, target)), len(model.graph.node)

    model = min((write(opset) for opset in sorted(opsets)), key=nodes)
    model.producer_name = "nablac"
    model.producer_version = _version()
    model.doc_string = graph.doc or ""
    if metadata is not None:  # a file that is kept
        own = weights_metadata(graph) if weights is not None else {}
        onnx.helper.set_model_props(model, {**own, **metadata})
    return model


@cache
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("nablac")
    except PackageNotFoundError:  # run from a checkout
        return ""
