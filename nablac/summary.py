"""What a model is made of and what it costs: a row for each layer, and totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler.dims import DimError, Size, evaluate, symbols
from compiler.graph import Graph, Node
from compiler.operators.source import Buffer, Constant, Parameter, Source
from grammar.diagnostics import Diagnostic, NablacError


@dataclass
class Row:
    """One layer: everything at its path and below it."""

    path: str
    output: str = ""
    parameters: int = 0
    buffers: int = 0
    flops: int = 0
    bytes: int = 0  # of all results made in it

    @property
    def depth(self) -> int:
        return self.path.count(".") + 1 if self.path else 0


@dataclass
class Summary:
    """Rows in the order of first use; `sizes` are the sizes at which operations and memory are counted."""

    name: str
    sizes: dict[str, int]
    inputs: dict[str, str]
    outputs: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def total(self) -> Row:
        return self.rows[0]

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "sizes": self.sizes,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "parameters": self.total.parameters,
            "flops": self.total.flops,
            "activation_bytes": self.peak_bytes,
            "layers": [vars(row) for row in self.rows[1:]],
        }


def summarize(graph: Graph, sizes: Mapping[str, int]) -> Summary:
    """Count a graph at the sizes given; named dims that are not given count as 1."""
    names = sorted({name for value in graph.inputs.values() for size in value.shape for name in symbols(size)})
    known = {name: sizes.get(name, 1) for name in names}
    found = Summary(
        graph.name,
        known,
        {name: str(value.type) for name, value in graph.inputs.items()},
        {name: str(value.type) for name, value in graph.outputs.items()},
    )
    rows: dict[str, Row] = {"": Row("")}
    for node in graph:
        try:
            _count(node, rows, known)
        except DimError as error:
            message = f"the operations of `{node.op.name}` cannot be counted: {error}"
            raise NablacError(Diagnostic("E307", message, node.origin.span)) from None
    found.rows = [rows[""], *(row for path, row in rows.items() if path)]
    found.peak_bytes = _peak(graph, known)
    return found


def _count(node: Node, rows: dict[str, Row], sizes: Mapping[str, int]) -> None:
    path = node.origin.path
    if isinstance(node.op, (Parameter, Buffer)):
        path = node.op.path.rpartition(".")[0]
    parts = path.split(".") if path else []
    for row in [rows.setdefault(".".join(parts[:end]), Row(".".join(parts[:end]))) for end in range(len(parts) + 1)]:
        if isinstance(node.op, Parameter):
            row.parameters += _number(node.op.type.elements, sizes)
        elif isinstance(node.op, Buffer):
            row.buffers += _number(node.op.type.elements, sizes)
        elif not isinstance(node.op, Source):
            row.output = str(node.results[0].type)
            row.flops += _number(node.op.flops(*(operand.type for operand in node.operands)), sizes)
            row.bytes += _bytes(node, sizes)


def _peak(graph: Graph, sizes: Mapping[str, int]) -> int:
    """The most bytes of results alive at once when the graph runs in order and each is freed after its last use."""
    last: dict[Node, int] = {}
    for number, node in enumerate(graph.nodes):
        for operand in node.operands:
            last[operand.node] = number
    for end in graph.ends:
        last[end.node] = len(graph.nodes)
    freed: dict[int, list[Node]] = {}
    for node, number in last.items():
        freed.setdefault(number, []).append(node)
    alive = most = 0
    for number, node in enumerate(graph.nodes):
        if not isinstance(node.op, (Parameter, Buffer, Constant)):
            alive += _bytes(node, sizes)
        most = max(most, alive)
        for done in freed.get(number, ()):
            if not isinstance(done.op, (Parameter, Buffer, Constant)):
                alive -= _bytes(done, sizes)
    return most


def _bytes(node: Node, sizes: Mapping[str, int]) -> int:
    return sum(_number(result.type.elements, sizes) * result.type.dtype.bytes for result in node.results)


def _number(size: Size, sizes: Mapping[str, int]) -> int:
    return evaluate(size, sizes)


def render_summary(summary: Summary, color: bool = False) -> str:
    """The summary as aligned text."""
    rows = [("layer", "output", "parameters", "operations")]
    for row in summary.rows[1:]:
        name = "  " * (row.depth - 1) + row.path.rpartition(".")[2]
        rows.append((name, row.output, f"{row.parameters:,}" if row.parameters else "", _short(row.flops)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [summary.name]
    lines += [f"  input  {name}: {type}" for name, type in summary.inputs.items()]
    lines += [f"  output {name}: {type}" for name, type in summary.outputs.items()]
    lines.append("")
    for number, (name, output, parameters, flops) in enumerate(rows):
        text = f"{name:<{widths[0]}}  {output:<{widths[1]}}  {parameters:>{widths[2]}}  {flops:>{widths[3]}}"
        lines.append(f"\033[1m{text}\033[0m" if color and not number else text)
        if not number:
            lines.append("-" * len(text))
    total = summary.total
    at = ", ".join(f"{name}={size}" for name, size in summary.sizes.items())
    lines += [
        "",
        f"parameters  {total.parameters:,}" + (f" and {total.buffers:,} in buffers" if total.buffers else ""),
        f"operations  {_short(total.flops)}FLOP" + (f" at {at}" if at else ""),
        f"activations {_short(summary.peak_bytes)}B at the most" + (f" at {at}" if at else ""),
    ]
    return "\n".join(lines)


def _short(number: int) -> str:
    """A count to three digits: 1.23 M."""
    for scale, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= scale:
            return f"{number / scale:.3g} {letter}"
    return f"{number} "
