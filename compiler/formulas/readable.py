"""Graphs prepared for reading, before and after differentiation.

Nothing here differentiates: the gradient that is read is the one that is trained and exported, before any pass makes it
faster and harder to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from compiler.attribute_kinds import INTERNAL, Integer, Text
from compiler.derivation import BackwardStep, Derivation
from compiler.formulas.identities import READABLE
from compiler.graph import Graph, Node, Operator, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant, Input, SizeOf, Source
from compiler.passes.common_subexpressions import eliminate_common_subexpressions
from compiler.passes.fold_constants import fold_constants
from compiler.passes.rules import apply_rules
from compiler.passes.simplify import IDENTITIES
from compiler.rewrite import rebuild, replace, rewrite
from compiler.types import TensorType


class _Named:
    name = "adjoint"  # of a base class, so that the operator is not registered as one of the language


class Adjoint(_Named, Operator):
    """The gradient of an operator's operand `index`, as one function of the result's gradient and the operands.

    It stands for the nodes of a gradient that has a name of its own in the literature, and is only read.
    """

    function: Text
    index: Integer
    source: Annotated[Operator, INTERNAL]  # whose gradient it is

    def infer(self, grad: TensorType, *operands: TensorType) -> TensorType:
        """The type of the operand."""
        return operands[self.index]

    def compute(self, *operands: Any) -> Any:
        """Nothing: it is read, never computed."""
        raise AssertionError(self.function)

    def lower(self, emit: Any, *operands: str) -> str:
        """Nothing: it is read, never exported."""
        raise AssertionError(self.function)


def before_gradient(graph: Graph) -> Graph:
    """The graph with recurrences whose steps compute everything themselves, forwards and in their gradient."""
    return _with_whole_steps(graph, ())


def _with_whole_steps(graph: Graph, fixed_inputs: Iterable[Value]) -> Graph:
    if not graph.has(Scan):
        return graph
    fixed = _fixed(graph, fixed_inputs)

    def change(node: Node) -> Sequence[Value] | None:
        if not isinstance(node.op, Scan):
            return None
        scan, operands = _with_own_weights(node, node.op, fixed)
        whole = list(scan.body.inputs.values())[scan.states + scan.slices :]
        op = scan.replace(body=_with_whole_steps(scan.body, whole), recompute=True)
        return Node(op, operands, [result.type for result in node.results], node.origin).results

    return rewrite(graph, change)


def _fixed(graph: Graph, inputs: Iterable[Value]) -> set[Node]:
    """The nodes that depend on stored values, constants and these inputs alone."""
    leaves = {value.node for value in inputs}
    fixed: set[Node] = set()
    for node in graph:
        if (
            node in leaves
            or (isinstance(node.op, Source) and not isinstance(node.op, Input))
            or (node.operands and not isinstance(node.op, Scan) and all(value.node in fixed for value in node.operands))
        ):
            fixed.add(node)
    return fixed


def _with_own_weights(node: Node, scan: Scan, fixed: set[Node]) -> tuple[Scan, tuple[Value, ...]]:
    """A Scan that sees weights whole, and computes in its step what was computed from them outside.

    Outside, it is computed once; a reader looks for the equations of a cell in one place.
    """
    last = scan.states + scan.slices
    formal = list(scan.body.inputs.items())
    inputs, operands = dict(formal[:last]), list(node.operands[:last])
    inner: dict[Value, Value] = {}  # of each leaf, the input that stands for it
    replaced: dict[Value, Value] = {}
    for (name, value), operand in zip(formal[last:], node.operands[last:], strict=True):
        if operand.node not in fixed or not operand.node.operands:
            inner.setdefault(operand, value)
            inputs[name] = value
            operands.append(operand)
            continue
        for leaf in Graph({}, {"": operand}):
            if leaf.operands or leaf.result in inner or isinstance(leaf.op, (Constant, SizeOf)):
                continue
            type, origin = leaf.result.type, leaf.origin.of_result(0)
            label = f"weight_{len(inputs)}"
            inner[leaf.result] = Node(Input(label, type), (), [type], origin).result
            inputs[label] = inner[leaf.result]
            operands.append(leaf.result)
        replaced[value] = replace([operand], inner)[0]
    ends = replace(list(scan.body.outputs.values()), {**{v: v for v in inputs.values()}, **replaced})
    body = Graph(inputs, dict(zip(scan.body.outputs, ends, strict=True)), name=scan.body.name)
    return scan.replace(body=body), tuple(operands)


def operands_with_gradients(step: BackwardStep) -> list[tuple[int, Value]]:
    """The index of each operand of the forward Scan that has a gradient, and the gradient."""
    scan = step.forward.op
    assert isinstance(scan, Scan)
    n, last, count = scan.states, scan.states + scan.slices, len(step.forward.operands)
    order = (*range(n), *range(last, count), *range(n, last))
    floats = [index for index in order if step.inputs[index].type.dtype.is_float]
    return list(zip(floats, step.node.results, strict=True))


def for_reading(
    ends: Mapping[str, Value], derivation: Derivation, placeholders: Mapping[Value, Value], cuts: Mapping[Value, Value]
) -> dict[str, Value]:
    """The values simplified, with placeholders for some values, and gradients with a name of their own as one function.

    A value of `cuts` is computed, but what uses it sees its placeholder: nothing is simplified across a name.
    """
    new: dict[Value, Value] = dict(placeholders)
    computed: dict[Value, Value] = {}
    for node in Graph({}, dict(ends)):
        if all(result in new for result in node.results):
            continue
        value = node.results[0]
        pulled = derivation.pulled.get(value)
        if pulled is not None and pulled[0].op.adjoint:
            source, index, grad = pulled
            operands = [new.get(operand) or replace([operand], new)[0] for operand in (grad, *source.operands)]
            new[value] = Adjoint(source.op.adjoint, index, source.op)(*operands)
        else:
            rebuild(node, new)
        for result in node.results:
            if result in cuts:
                computed[result], new[result] = new[result], cuts[result]
    graph = Graph({}, {name: computed.get(end) or new[end] for name, end in ends.items()})
    for rules in (IDENTITIES, READABLE, IDENTITIES):
        graph = eliminate_common_subexpressions(fold_constants(apply_rules(graph, rules)))
    return graph.outputs
