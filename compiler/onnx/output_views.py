"""Outputs that are views, as of `Squeeze`, and that other nodes read.

MNN computes a function of one operand in its place where nothing else reads it. That an output is a view of the operand
it does not see: `loss` in a file with `exp(loss)` would be that. The nodes read a view of their own instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from compiler.onnx.lowered import LoweredNode
from compiler.onnx.onnx_operators import IN_ORDER


def part_views(
    nodes: Sequence[LoweredNode], outputs: Collection[str], unique: Callable[[str], str]
) -> tuple[list[LoweredNode], dict[str, str]]:
    """The nodes, of which none reads an output that is a view; and the views that they read, by these outputs."""
    views = {node.results[0]: node for node in nodes if node.onnx_type in IN_ORDER and node.results[0] in outputs}

    def is_view(node: LoweredNode) -> bool:
        """Whether a node makes another output of the same view."""
        return node.onnx_type == "Identity" and node.operands[0] in views and node.results[0] in outputs

    read = {name for node in nodes if not is_view(node) for name in node.names_read()}
    names = {name: unique(name) for name in views if name in read}
    parted: list[LoweredNode] = []
    for node in nodes:
        if is_view(node):
            view = views[node.operands[0]]
            node.onnx_type, node.operands, node.attributes = view.onnx_type, [*view.operands], view.attributes
        node.operands = [names.get(name, name) for name in node.operands]
        for body in node.bodies:
            body.rename(names)
        parted.append(node)
        if node.results[0] in names:
            name = names[node.results[0]]
            parted.append(replace(node, results=[name], name=name, doc=""))
    return parted, names
