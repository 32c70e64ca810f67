"""Max pools of a training step: less work around them, and one instead of two."""

from __future__ import annotations

from compiler.graph import Graph, Value
from compiler.operators.activations import Relu
from compiler.operators.pooling import MaxPool, MaxPoolIndices
from compiler.passes.rules import Rules, pattern_of, rule, variables
from compiler.rewrite import rebuild, with_ends

(x,) = variables("x")

# Before differentiation: the result of a window is rectified, and masked in the gradient, instead of all its items. The
# gradient is the same to the bit: a window without a positive item passes none either way.
POOL_BEFORE_RELU: Rules = (
    rule(
        "max_pool(relu(x))",
        pattern_of(MaxPool)(pattern_of(Relu)(x)).named("pool"),
        lambda x, pool: Relu()(pool.node.op(x)),
    ),
)


def merge_pools(graph: Graph) -> Graph:
    """`graph` with each max pool replaced by the one that also returns indices, where there is one on the same operand.

    Keeps the bits but for the sign of zero: of 0 and -0, which are equal, the two kernels may select different ones.
    """
    if not graph.has(MaxPoolIndices):
        return graph
    finders = {(*node.op.attributes, *node.operands): node for node in graph if isinstance(node.op, MaxPoolIndices)}
    new: dict[Value, Value] = {}
    for node in graph:
        finder = finders.get((*node.op.attributes, *node.operands)) if isinstance(node.op, MaxPool) else None
        if finder is not None:
            rebuild(finder, new)
            new[node.result] = new[finder.results[0]]
        elif node.results[0] not in new:
            rebuild(node, new)
    return with_ends(graph, new)
