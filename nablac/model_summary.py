"""The layers of a model and their cost: a row per layer, and totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, TypedDict

from compiler.dims import DimError, Size
from compiler.graph import Graph, Node
from compiler.graph_costs import count_of, every_node, node_flops
from compiler.operators.leaves import Buffer, Constant, Parameter, Source, Stored
from compiler.origins import Layer
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.visible import visible
from runtime.charts.readable_numbers import prefixed
from runtime.profiling.workload import check_sizes

_MOST_SHOWN = 6  # paths of parameters that only the loss reads


class LayerJson(TypedDict):
    """A layer, with all layers inside it."""

    path: Annotated[str, "as in the names of weights"]
    definition: Annotated[str | None, "the layer that it is an instance of; null for a path that only groups layers"]
    doc: Annotated[str | None, "the docstring of the definition"]
    output: Annotated[str, "the types of its outputs when it is first applied"]
    parameters: Annotated[int, "numbers that are trained"]
    buffers: Annotated[int, "numbers that a layer keeps, such as running means"]
    flops: Annotated[int, "floating-point operations"]
    bytes: Annotated[int, "of all results in it"]


class SummaryJson(TypedDict):
    """The layers of a model and what they cost."""

    model: Annotated[str, "its name"]
    doc: Annotated[str | None, "its docstring"]
    sizes: Annotated[dict[str, int], "of the named dims, at which is counted"]
    inputs: Annotated[dict[str, str], "types by name"]
    outputs: Annotated[dict[str, str], "types by name"]
    units: Annotated[dict[str, str], "of the outputs of a trained model, where they are known"]
    parameters: Annotated[int, "numbers that are trained"]
    flops: Annotated[int, "floating-point operations"]
    activation_bytes: Annotated[int, "the most that results take at a time"]
    recognised: Annotated[dict[str, int], "how many fused operators were recognised in the equations, by name"]
    of_loss: Annotated[dict[str, int], "the sizes of parameters that only the loss reads, by path"]
    layers: Annotated[list[LayerJson], "in preorder"]


@dataclass
class Row:
    """One layer with all layers inside it. A path that only groups layers, such as that of a loop, has no `layer`."""

    path: str
    layer: Layer | None = None
    parameters: int = 0
    buffers: int = 0
    flops: int = 0
    bytes: int = 0  # of all results in it, except those inside the step of a recurrence

    @property
    def depth(self) -> int:
        """The nesting depth, from 1; 0 for the model itself."""
        return self.path.count(".") + 1 if self.path else 0

    @property
    def output(self) -> str:
        """The types of the outputs at the layer's first application."""
        return ", ".join(map(str, self.layer.outputs)) if self.layer is not None else ""

    def to_json(self) -> LayerJson:
        """The row as `nablac summary --json` prints it."""
        return {
            "path": self.path,
            "definition": self.layer.definition if self.layer is not None else None,
            "doc": self.layer.doc if self.layer is not None else None,
            "output": self.output,
            "parameters": self.parameters,
            "buffers": self.buffers,
            "flops": self.flops,
            "bytes": self.bytes,
        }


@dataclass
class Summary:
    """Rows of the tree of layers, siblings in the order of their first application.

    `sizes` are the sizes of named dims at which operations and memory are counted.
    """

    name: str
    doc: str | None
    sizes: dict[str, int]
    inputs: dict[str, str]
    outputs: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    peak_bytes: int = 0
    units: dict[str, str] = field(default_factory=dict)  # of the outputs of a model that was trained on scaled data
    recognised: dict[str, int] = field(default_factory=dict)  # the numbers of fused operators, by name
    of_loss: dict[str, int] = field(default_factory=dict)  # the sizes of parameters that only the loss reads, by path

    @property
    def total(self) -> Row:
        """The row of the model itself."""
        return self.rows[0]

    def to_json(self) -> SummaryJson:
        """The summary as `nablac summary --json` prints it."""
        return {
            "model": self.name,
            "doc": self.doc,
            "sizes": self.sizes,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "units": self.units,
            "parameters": self.total.parameters,
            "flops": self.total.flops,
            "activation_bytes": self.peak_bytes,
            "recognised": self.recognised,
            "of_loss": self.of_loss,
            "layers": [row.to_json() for row in self.rows[1:]],
        }


def summarize(
    graph: Graph, sizes: Mapping[str, int], whole: Graph | None = None, units: Mapping[str, object] | None = None
) -> Summary:
    """Summarize a graph at these sizes of named dims, which are 1 by default. `units` are those of its outputs.

    Parameters that only `whole`, the graph with the loss, has are listed separately.

    NablacError for a dim that no input has, and for a size below 1.
    """
    all_sizes = _sizes(graph, sizes)
    rows = {path: Row(path, graph.layers.get(path)) for path in _tree(graph)}
    constant = _constant_nodes(graph)
    for node, times in every_node(graph):
        try:
            _count(node, times, [rows[path] for path in _with_parents(_path(node))], all_sizes)
        except DimError as error:
            message = f"the operations of `{node.op.name}` cannot be counted: {error}"
            raise NablacError(Diagnostic(codes.E307, message, node.origin.span)) from None
    for node in graph:
        if not isinstance(node.op, Source) and node not in constant:
            for path in _with_parents(_path(node)):
                rows[path].bytes += _bytes(node, all_sizes)
    return Summary(
        graph.name,
        graph.doc,
        all_sizes,
        {name: str(value.type) for name, value in graph.inputs.items()},
        {name: str(value.type) for name, value in graph.outputs.items()},
        list(rows.values()),
        _peak(graph, all_sizes, constant),
        {name: str(unit) for name, unit in (units or {}).items()},
        dict(Counter(node.op.name for node, _ in every_node(graph) if node.op.recognised)),
        _of_loss(graph, whole) if whole is not None else {},
    )


def _of_loss(graph: Graph, whole: Graph) -> dict[str, int]:
    """The sizes of the parameters that only the loss reads, by path."""
    own = {node.op.path for node in graph if isinstance(node.op, Parameter)}
    others = (node.op for node in whole if isinstance(node.op, Parameter) and node.op.path not in own)
    return {op.path: count_of(op.type.elements, {}) for op in others}


def _count(node: Node, times: Size, rows: list[Row], sizes: Mapping[str, int]) -> None:
    """Add a node that runs `times` times to the rows of the layers that it belongs to."""
    for row in rows:
        if isinstance(node.op, Parameter):
            row.parameters += count_of(node.op.type.elements, sizes)
        elif isinstance(node.op, Buffer):
            row.buffers += count_of(node.op.type.elements, sizes)
        else:
            row.flops += count_of(node_flops(node, times), sizes)


def _sizes(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of each named dim of the inputs: from `sizes`, or 1."""
    names = check_sizes(graph, sizes)
    return {name: sizes.get(name, 1) for name in names}


def _tree(graph: Graph) -> list[str]:
    """The paths of all layers in preorder, from the model's; siblings in the order of their first application."""
    children: dict[str, dict[str, None]] = {"": {}}
    for path in (*graph.layers, *(_path(node) for node, _ in every_node(graph))):
        for parent, child in pairwise(_with_parents(path)):
            children[parent].setdefault(child)
            children.setdefault(child, {})
    order: list[str] = []
    waiting = [""]
    while waiting:
        path = waiting.pop()
        order.append(path)
        waiting += reversed(children[path])
    return order


def _with_parents(path: str) -> list[str]:
    """The paths of the model, of each layer around the one at `path`, and `path` itself."""
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(len(parts) + 1)]


def _path(node: Node) -> str:
    return node.op.path.rpartition(".")[0] if isinstance(node.op, Stored) else node.origin.path


def _constant_nodes(graph: Graph) -> set[Node]:
    """Weights, constants and what depends on these alone, which are not activations."""
    constant: set[Node] = set()
    for node in graph:
        if isinstance(node.op, (Stored, Constant)) or (
            node.operands and all(operand.node in constant for operand in node.operands)
        ):
            constant.add(node)
    return constant


def _peak(graph: Graph, sizes: Mapping[str, int], constant: set[Node]) -> int:
    """The peak of the bytes of live results when nodes run in order and each result is freed after its last use."""
    last: dict[Node, int] = {}
    for number, node in enumerate(graph.nodes):
        for operand in node.operands:
            last[operand.node] = number
    for end in graph.ends:
        last[end.node] = len(graph.nodes)
    freed: dict[int, list[Node]] = {}
    for node, number in last.items():
        freed.setdefault(number, []).append(node)
    alive = peak = 0
    for number, node in enumerate(graph.nodes):
        alive += 0 if node in constant else _bytes(node, sizes)
        peak = max(peak, alive)
        alive -= sum(_bytes(done, sizes) for done in freed.get(number, ()) if done not in constant)
    return peak


def _bytes(node: Node, sizes: Mapping[str, int]) -> int:
    return sum(count_of(result.type.elements, sizes) * result.type.dtype.bytes for result in node.results)


def render_summary(summary: Summary, color: bool = False) -> str:
    """The summary as aligned text."""
    table = [("layer", "output", "parameters", "operations")]
    for row in summary.rows[1:]:
        name = "  " * (row.depth - 1) + row.path.rpartition(".")[2]
        name += f" ({row.layer.definition})" if row.layer is not None else ""
        table.append((name, row.output, f"{row.parameters:,}" if row.parameters else "", prefixed(row.flops)))
    widths = [max(len(cells[column]) for cells in table) for column in range(4)]
    lines = [summary.name, *([f"  {_first_line(summary.doc)}"] if summary.doc else [])]
    lines += [f"  input  {name}: {type}" for name, type in summary.inputs.items()]
    units = {name: f"  {unit}" for name, unit in summary.units.items()}
    lines += [f"  output {name}: {type}{units.get(name, '')}" for name, type in summary.outputs.items()]
    lines.append("")
    for index, (name, output, parameters, flops) in enumerate(table):
        text = f"{name:<{widths[0]}}  {output:<{widths[1]}}  {parameters:>{widths[2]}}  {flops:>{widths[3]}}"
        lines.append(f"\033[1m{text}\033[0m" if color and index == 0 else text)
        if index == 0:
            lines.append("-" * len(text))
    total = summary.total
    at = ", ".join(f"{name}={size}" for name, size in summary.sizes.items())
    lines += [
        "",
        f"parameters  {total.parameters:,}" + (f" and {total.buffers:,} in buffers" if total.buffers else ""),
        f"operations  {prefixed(total.flops)}FLOP" + (f" at {at}" if at else ""),
        f"activations {prefixed(summary.peak_bytes)}B peak" + (f" at {at}" if at else ""),
    ]
    if summary.of_loss:
        paths = list(summary.of_loss)
        shown = ", ".join(paths[:_MOST_SHOWN]) + (", ..." if paths[_MOST_SHOWN:] else "")
        lines.append(f"of the loss {sum(summary.of_loss.values()):,} parameters that nothing else reads: {shown}")
    if summary.recognised:  # as fused operators; other attention stores all its scores
        lines.append("recognised  " + ", ".join(f"{count} {name}" for name, count in summary.recognised.items()))
    return "\n".join([*lines, *_definitions(summary)])


def _definitions(summary: Summary) -> list[str]:
    """The first docstring line of each definition in the rows."""
    layers = (row.layer for row in summary.rows if row.layer is not None and row.layer.doc)
    docs = dict.fromkeys((layer.definition, _first_line(layer.doc or "")) for layer in layers)
    width = max((len(definition) for definition, _ in docs), default=0)
    return ["", *(f"{definition:<{width}}  {doc}" for definition, doc in docs)] if docs else []


def _first_line(doc: str) -> str:
    return visible(doc.strip().partition("\n")[0])
