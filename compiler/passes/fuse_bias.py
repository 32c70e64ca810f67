"""What is added to each channel of a convolution goes into the convolution, as the ONNX operator has it.

Keeps rounding.
"""

from __future__ import annotations

from collections import Counter

from compiler.graph import Graph, Node, Value, origin
from compiler.operators.arithmetic import Add
from compiler.operators.convolution import Conv
from compiler.operators.shaping import Reshape
from compiler.rewrite import rebuild, with_ends


def fuse_bias(graph: Graph) -> Graph:
    """`graph` with `conv(x, w) + b` as one convolution, where nothing else reads the product alone."""
    if not any(isinstance(node.op, Conv) for node in graph):
        return graph
    uses = Counter(operand for node in graph for operand in node.operands) + Counter(graph.ends)
    new: dict[Value, Value] = {}
    for node in graph:
        found = _biased(node, uses)
        if found is None:
            rebuild(node, new)
            continue
        conv, bias = found
        with origin(conv.origin.span, conv.origin.path):
            x, w = (new[operand] for operand in conv.operands)
            new[node.result] = conv.op(x, w, Reshape((w.shape[0],))(new[bias]))
    return with_ends(graph, new)


def _biased(node: Node, uses: Counter[Value]) -> tuple[Node, Value] | None:
    """The convolution and the bias that a sum is of."""
    if not isinstance(node.op, Add):
        return None
    for product, bias in (node.operands, node.operands[::-1]):
        conv = product.node
        if isinstance(conv.op, Conv) and len(conv.operands) == 2 and uses[product] == 1:
            filters, *spatial = product.shape[1:]
            if bias.shape in ((filters, *([1] * len(spatial))), (1, filters, *([1] * len(spatial)))):
                return conv, bias
    return None
