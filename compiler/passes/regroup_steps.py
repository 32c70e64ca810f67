"""Sums and products of a recurrence's step, regrouped so that less is computed step by step.

- `(s * a) * b`, where `a` and `b` are known before the steps, becomes `s * (a * b)`, and `a * b` is hoisted (see
  `code_motion`). One of them must be at most 1, as a gate is, so that their product does not overflow where the two
  products with `s` did not;
- in a sum, what is known before the steps is added up first, so that it is hoisted as one: a projection and its bias;
- `s @ A + t @ B` becomes one product, `concat([s, t]) @ concat([A, B])`, as for the gradients of a cell's gates.

Keeps results to within rounding.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import reduce

from compiler.graph import Graph, Node, Value
from compiler.operators.activations import Sigmoid, Tanh
from compiler.operators.arithmetic import Add, Mul, Neg, Sub
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant
from compiler.operators.linear import MatMul
from compiler.operators.making import add
from compiler.operators.powers import Pow
from compiler.operators.shaping import Concat, DataMovement
from compiler.origins import origin
from compiler.rewrite import rebuild, replace, rewrite, with_ends

_DEPTH = 6  # operators to look through for the bound of a value


def regroup_steps(graph: Graph) -> Graph:
    """`graph` with the sums and products of its recurrences' steps regrouped."""
    if not graph.has(Scan):
        return graph

    order: dict[Node, int] = {}

    def regrouped(node: Node) -> Sequence[Value] | None:
        order[node] = len(order)
        if not isinstance(node.op, Scan):
            return None
        outside = [order.get(operand.node, -1) for operand in node.operands]
        body = _Regrouping(node.op, node.operands, outside).body()
        return None if body is node.op.body else node.op.replace(body=body).apply(*node.operands).results

    return rewrite(graph, regrouped)


class _Regrouping:
    """The regrouping of one step; only values with a single user are regrouped.

    `outside` has the position in the graph of each of the Scan's operands.
    """

    def __init__(self, scan: Scan, operands: Sequence[Value], outside: Sequence[int]) -> None:
        self.old = scan.body
        self.inputs = list(scan.body.inputs.values())
        self.stacked = {
            item: inside
            for item, operand in zip(self.inputs, operands, strict=True)
            if (inside := _stacked_value(operand)) is not None
        }
        self.uses = Counter(operand for node in self.old for operand in node.operands)
        self.uses.update(self.old.ends)
        self.added = {operand for node in self.old if isinstance(node.op, Add) for operand in node.operands}
        self.new: dict[Value, Value] = {}
        self.moving = {value.node for value in self.inputs[: scan.states]}
        self.outside = {value.node: position for value, position in zip(self.inputs, outside, strict=True)}

    def body(self) -> Graph:
        for node in self.old:
            rebuild(node, self.new)
            with origin(node.origin.span, node.origin.path):
                regrouped = self._product(node) or self._sum(node)
            if regrouped is not None:
                self.new[node.result] = regrouped
            if any(operand.node in self.moving for operand in node.operands):
                self.moving.update((node, *(self.new[result].node for result in node.results)))
        return with_ends(self.old, self.new)

    def _product(self, node: Node) -> Value | None:
        """`(s * a) * b` as `s * (a * b)`."""
        if not isinstance(node.op, Mul):
            return None
        inner, known = self._moving_first(node)
        if self._moves(known) or not isinstance(inner.node.op, Mul) or self.uses[inner] > 1:
            return None
        moving, other = self._moving_first(self.new[inner].node)
        if not self._moves(moving) or self._moves(other):
            return None
        if not any(at_most(factor, 1.0) for factor in replace([other, known], self.stacked)):
            return None
        factor = other * self.new[known]
        regrouped = moving * factor
        return regrouped if not factor.type.rank or factor.type == regrouped.type else None

    def _sum(self, node: Node) -> Value | None:
        """Products with matrices known before the steps as one product, and what is known then as one addend.

        A product that is used elsewhere stays.
        """
        if not isinstance(node.op, Add) or not self._moves(node.result):
            return None
        if self.uses[node.result] == 1 and node.result in self.added:
            return None  # a part of another sum
        terms = self._terms(node)
        products = [term for term in terms if self._joins(term, node.result)]
        if len(products) < 2:
            products = []
        known = [term for term in terms if not self._moves(term)]
        if not products and len(known) < 2:
            return None
        addends = [self.new[term] for term in terms if term not in products and term not in known]
        if products:
            products.sort(key=self._position)  # as the forward step has them, so that gradients need not be reordered
            lefts, rights = zip(*(self.new[term].node.operands for term in products), strict=True)
            addends.insert(0, Concat(-1)(*lefts) @ Concat(0)(*rights))
        if known:
            addends.append(reduce(add, (self.new[term] for term in known)))
        total = reduce(add, addends)
        return total if total.type == node.result.type else None

    def _position(self, product: Value) -> int:
        """Where in the graph the first value is on which a product's matrix depends."""
        matrix = Graph({}, {"matrix": product.node.operands[1]})
        return min((self.outside[node] for node in matrix if node in self.outside), default=-1)

    def _terms(self, node: Node) -> list[Value]:
        """The terms of a sum, for any grouping; a sum that is known before the steps is one term."""
        terms: list[Value] = []
        waiting = list(reversed(node.operands))
        while waiting:
            term = waiting.pop()
            if isinstance(term.node.op, Add) and self.uses[term] == 1 and self._moves(term):
                waiting.extend(reversed(term.node.operands))
            else:
                terms.append(term)
        return terms

    def _joins(self, term: Value, total: Value) -> bool:
        if not isinstance(term.node.op, MatMul) or self.uses[term] > 1 or term.type != total.type:
            return False
        left, right = term.node.operands
        return self._moves(left) and not self._moves(right) and right.type.rank == 2 and left.type.rank >= 2

    def _moving_first(self, node: Node) -> tuple[Value, Value]:
        left, right = node.operands
        return (left, right) if self._moves(left) else (right, left)

    def _moves(self, value: Value) -> bool:
        """Whether a value depends on the states."""
        return value.node in self.moving or any(operand.node in self.moving for operand in value.node.operands)


def _stacked_value(sequence: Value) -> Value | None:
    """What each step of another Scan computes, if it is a sequence that this Scan stacks; otherwise None."""
    op = sequence.node.op
    if not isinstance(op, Scan) or sequence.index < op.states:
        return None
    return list(op.body.outputs.values())[sequence.index]


def at_most(value: Value, bound: float) -> bool:
    """Whether the magnitude of a value is known from its operators to be at most `bound`."""
    return _largest(value, _DEPTH) <= bound


def _largest(value: Value, depth: int) -> float:
    op, operands = value.node.op, value.node.operands
    if isinstance(op, (Sigmoid, Tanh)):
        return 1.0
    if isinstance(op, Constant):
        number = op.scalar() if value.type.elements == 1 else None
        return abs(float(number)) if number is not None else math.inf
    if depth == 0:
        return math.inf
    if isinstance(op, (Neg, DataMovement)) and len(operands) == 1:
        return _largest(operands[0], depth - 1)
    if isinstance(op, Mul):
        return math.prod(_largest(operand, depth - 1) for operand in operands)
    if isinstance(op, Sub) and _largest(operands[0], 0) == 1.0 and _is_in_unit_interval(operands[1], depth - 1):
        return 1.0  # 1 - y of y between 0 and 1
    return math.inf


def _is_in_unit_interval(value: Value, depth: int) -> bool:
    """Whether a value is known to lie between 0 and 1: a gate, or the square of a value of magnitude at most 1."""
    op, operands = value.node.op, value.node.operands
    if isinstance(op, Sigmoid):
        return True
    if isinstance(op, Mul):
        same = operands[0] is operands[1] and _largest(operands[0], depth) <= 1
        return same or (all(_is_in_unit_interval(operand, depth - 1) for operand in operands if depth) and depth > 0)
    return isinstance(op, Pow) and _largest(operands[0], depth) <= 1 and _largest(operands[1], 0) == 2.0
