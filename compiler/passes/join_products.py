"""Products of one value with several fixed matrices, as the gates of a cell have them, become one product.

`x @ A + p`, `x @ B + q` become the parts of `x @ concat([A, B]) + concat([p, q])`: one large product instead of several
small ones. A function of several parts is computed once for all of them too. In a recurrence's step a matrix is fixed
if it is the same at every step, and what is added may differ from step to step, but not depend on the states: then it
is concatenated before the steps (see `code_motion`).

Keeps results to within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from compiler.graph import Graph, Node, Operator, Value
from compiler.operators.arithmetic import Add, Elementwise
from compiler.operators.control import Scan
from compiler.operators.linear import MatMul
from compiler.operators.making import add, concat, split
from compiler.origins import origin
from compiler.passes.bodies import with_bodies
from compiler.rewrite import reached, rebuild, rewrite, with_ends
from grammar.record import Record


def join_products_of_steps(graph: Graph) -> Graph:
    """`graph` with the products in the steps of its recurrences joined."""
    if not graph.has(Scan):
        return graph

    def joined(node: Node) -> Sequence[Value] | None:
        if not isinstance(node.op, Scan):
            return None
        scan, formal = node.op, list(node.op.body.inputs.values())
        changing = reached(scan.body.ends, formal[: scan.states + scan.slices])
        moving = reached(scan.body.ends, formal[: scan.states])
        body = join_products(scan.body, changing, moving)
        return None if body is scan.body else scan.replace(body=body).apply(*node.operands).results

    return with_bodies(lambda body: rewrite(body, joined), graph)


class _Term(Record):
    """A product, and `total`, the sum of it and of `addends` that do not move.

    `function` is the node of a function of one variable that alone uses the total.
    """

    product: Node
    addends: tuple[Value, ...]
    total: Value
    function: Node | None

    @property
    def kinds(self) -> tuple[object, ...]:
        """What must be equal for the addends of two terms to be concatenated."""
        return tuple(addend.shape[:-1] for addend in self.addends)

    @property
    def operator(self) -> Operator | None:
        return self.function.op if self.function is not None else None


def join_products(graph: Graph, changing: set[Node], moving: set[Node]) -> Graph:
    """`graph` with products of the same `moving` operand joined, if their matrices are not `changing`.

    What is added to a product is concatenated with its matrix, if it is not moving.
    """
    users: dict[Value, list[Node | None]] = {end: [None] for end in graph.ends}
    for node in graph:
        for operand in node.operands:
            users.setdefault(operand, []).append(node)
    groups: dict[Value, list[_Term]] = {}
    for node in graph:
        if isinstance(node.op, MatMul) and node.operands[0].node in moving and node.operands[1].node not in changing:
            left, right = node.operands
            if right.type.rank == 2 and left.type.rank >= 2:
                groups.setdefault(left, []).append(_term(node, users, moving))
    group_of = {term.product: terms for terms in groups.values() if len(terms) > 1 for term in terms}
    if not group_of:
        return graph
    new: dict[Value, Value] = {}
    joined: set[Node] = set()
    # What does not move first: the matrices and the addends of a group, all of which its joined product needs.
    for node in sorted(graph, key=lambda node: node in moving):
        if node in group_of and node not in joined:
            joined.update(term.product for term in group_of[node])
            with origin(node.origin.span, node.origin.path):
                new.update(_join(group_of[node], users, new))
        if not any(result in new for result in node.results):
            rebuild(node, new)
    return with_ends(graph, new)


def _term(product: Node, users: dict[Value, list[Node | None]], moving: set[Node]) -> _Term:
    total, addends = product.result, list[Value]()
    while True:
        (user, *others) = users[total]
        if others or user is None or not isinstance(user.op, Add) or user.result.type != total.type:
            break
        addend = user.operands[1] if user.operands[0] is total else user.operands[0]
        if addend.node in moving or not addend.type.rank or addend.shape[-1] != total.shape[-1]:
            break
        addends.append(addend)
        total = user.result
    ordered = tuple(sorted(addends, key=lambda addend: -addend.type.rank))
    (user, *others) = users[total]
    is_function = not others and user is not None and isinstance(user.op, Elementwise) and len(user.operands) == 1
    return _Term(product, ordered, total, user if is_function else None)


def _join(terms: list[_Term], users: dict[Value, list[Node | None]], new: dict[Value, Value]) -> dict[Value, Value]:
    """The new values of the terms of one group, by their old ones."""
    runs = _groups(terms, lambda term: term.kinds)
    runs = [[term for group in _groups(run, lambda term: term.operator) for term in group] for run in runs]
    matrices = [new[term.product.operands[1]] for run in runs for term in run]
    product = new[terms[0].product.operands[0]] @ concat(matrices, 1)
    parts = _parts(product, [[term.total for term in run] for run in runs])
    joined: dict[Value, Value] = {}
    for run, part in zip(runs, parts, strict=True):
        packed = [_pack(list(addends), users, new) for addends in zip(*(term.addends for term in run), strict=True)]
        total = part + reduce(add, packed) if packed else part
        groups = _groups(run, lambda term: term.operator)
        for group, values in zip(
            groups, _parts(total, [[term.total for term in group] for group in groups]), strict=True
        ):
            operator, several = group[0].operator, len(group) > 1
            results = [term.function.result if term.function and several else term.total for term in group]
            packed_results = operator(values) if operator is not None and several else values
            joined.update(zip(results, _parts(packed_results, [[term.total] for term in group]), strict=True))
    return joined


def _groups(terms: list[_Term], key: Callable[[_Term], object]) -> list[list[_Term]]:
    """The terms with equal keys, in the order of the first of each."""
    groups: dict[object, list[_Term]] = {}
    for term in terms:
        groups.setdefault(key(term), []).append(term)
    return list(groups.values())


def _parts(packed: Value, groups: list[list[Value]]) -> Sequence[Value]:
    """The parts of a packed value that have the last axes of the values of each group together."""
    sizes = tuple(sum((value.shape[-1] for value in group), start=0) for group in groups)
    return split(packed, sizes, packed.type.rank - 1) if len(sizes) > 1 else (packed,)


def _pack(values: list[Value], users: dict[Value, list[Node | None]], new: dict[Value, Value]) -> Value:
    """New values concatenated along the last axis: products of one value, and sums of them, as one product or sum."""
    nodes = [value.node for value in values]
    if all(len(users[value]) == 1 for value in values) and len(set(nodes)) > 1:
        firsts, seconds = ([node.operands[index] for node in nodes if len(node.operands) == 2] for index in (0, 1))
        if all(isinstance(node.op, MatMul) for node in nodes) and len(set(firsts)) == 1:
            if firsts[0].type.rank >= 2 and all(second.type.rank == 2 for second in seconds):
                return new[firsts[0]] @ concat([new[second] for second in seconds], 1)
        if all(isinstance(node.op, Add) for node in nodes):
            if all(_alike([value, *operands]) for value, *operands in zip(values, firsts, seconds, strict=True)):
                if _alike(firsts, last=False) and _alike(seconds, last=False):
                    return _pack(firsts, users, new) + _pack(seconds, users, new)
    parts = [new[value] for value in values]
    return concat(parts, values[0].type.rank - 1) if len(parts) > 1 else parts[0]


def _alike(values: list[Value], last: bool = True) -> bool:
    """Whether values with axes agree in the last axis, or in all others and their number."""
    if not all(value.type.rank for value in values):
        return False
    return len({value.shape[-1] if last else value.shape[:-1] for value in values}) == 1
