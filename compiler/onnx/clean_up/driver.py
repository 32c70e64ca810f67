"""The clean-up of a lowered graph: one visit to each node in order, then dead nodes are removed. Near-linear in time.

A visit applies the rules until none applies, computes what constants alone decide, and merges the node with an equal
one before it: operands are visited first, so that their rewrites are known. A draw is deterministic, since its seed is
an operand, so that equal draws are one too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from compiler.onnx.clean_up.folding import fold
from compiler.onnx.clean_up.scope import CleanUpRule, Replacement, Scope, Written, uses_of
from compiler.onnx.lowered import LoweredBody, LoweredNode


def clean_up(
    nodes: Sequence[LoweredNode], ends: Iterable[str], writer: Written, rules: Sequence[CleanUpRule] | None = None
) -> tuple[list[LoweredNode], dict[str, str]]:
    """The nodes that compute the same `ends`, and the new names of the values that equal others.

    The nodes change in place. The default for `rules` is all of them.
    """
    ends = list(ends)
    visit = _Visit(Scope(writer, uses_of(nodes, ends)), _rules_by_kind(all_rules() if rules is None else tuple(rules)))
    for node in nodes:
        visit.visit(node)
    living = remove_dead(visit.nodes, (visit.renamed.get(end, end) for end in ends))
    if len(living) < len(nodes):
        _pass_on_docs(nodes, living)
    return living, visit.renamed


def remove_dead(nodes: Sequence[LoweredNode], ends: Iterable[str]) -> list[LoweredNode]:
    """The nodes that the ends need."""
    needed = set(ends)
    living: list[LoweredNode] = []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.results):
            living.append(node)
            needed.update(node.names_read())
    living.reverse()
    return living


class _Visit:
    """The nodes that are written so far, and the values that equal earlier ones."""

    def __init__(self, scope: Scope, rules: Mapping[str, Sequence[CleanUpRule]]) -> None:
        self.scope, self.rules = scope, rules
        self.nodes: list[LoweredNode] = []
        self.renamed: dict[str, str] = {}
        self.first: dict[Hashable, LoweredNode] = {}

    def visit(self, node: LoweredNode) -> None:
        if self.renamed:
            node.operands = [self.renamed.get(name, name) for name in node.operands]
            for body in node.bodies:
                body.rename(self.renamed)
        if not node.kept and self._rewritten(node):
            return
        key = _key(node)
        if key is not None:
            equal = self.first.setdefault(key, node)
            if equal is not node:
                self._rename(node, equal.results)
                return
        self.scope.add(node)
        self.nodes.append(node)

    def _rewritten(self, node: LoweredNode) -> bool:
        """Apply the rules to a node; whether nothing of it is left."""
        rules = self.rules.get(node.onnx_type)
        while rules:
            change = next((change for rule in rules if (change := rule.rewrite(node, self.scope)) is not None), None)
            if change is None:
                break
            if isinstance(change, str):
                self._rename(node, [change])
                return True
            self._replace(node, change)
            rules = self.rules.get(node.onnx_type)
        folded = fold(node, self.scope)
        if folded is not None:
            self._rename(node, folded)
            return True
        return False

    def _replace(self, node: LoweredNode, change: Replacement) -> None:
        uses = self.scope.uses
        uses.subtract(node.operands)
        uses.update(change.operands)
        node.onnx_type, node.operands, node.attributes = change.onnx_type, list(change.operands), change.attributes

    def _rename(self, node: LoweredNode, names: Sequence[str]) -> None:
        uses = self.scope.uses
        uses.subtract(node.operands)
        for result, name in zip(node.results, names, strict=True):
            self.renamed[result] = name
            uses[name] += uses[result]


def _key(node: LoweredNode) -> Hashable | None:
    """What equal nodes have in common; None for one with a nested graph."""
    if not node.attributes:
        return node.onnx_type, len(node.results), node.kept, *node.operands
    attributes: list[Hashable] = []
    for name, value in sorted(node.attributes.items()):
        if isinstance(value, LoweredBody):
            return None
        attributes.append((name, _hashable(value)))
    return node.onnx_type, len(node.results), node.kept, tuple(attributes), *node.operands


def _hashable(value: Any) -> Hashable:
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    return repr(value) if isinstance(value, float) else value  # -0 is another number than 0


@cache
def _rules_by_kind(rules: tuple[CleanUpRule, ...]) -> Mapping[str, Sequence[CleanUpRule]]:
    table: dict[str, list[CleanUpRule]] = {}
    for rule in rules:
        for kind in rule.kinds:
            table.setdefault(kind, []).append(rule)
    return table


@cache
def all_rules() -> tuple[CleanUpRule, ...]:
    """Every rule of the clean-up, in the order in which they are tried."""
    from compiler.onnx.clean_up.broadcast_rules import broadcast_rules
    from compiler.onnx.clean_up.cast_rules import CASTS
    from compiler.onnx.clean_up.joining_rules import JOINING
    from compiler.onnx.clean_up.layout_rules import LAYOUT
    from compiler.onnx.clean_up.reduction_rules import reduction_rules

    return (*CASTS, *LAYOUT, *JOINING, *reduction_rules(), *broadcast_rules())


def _pass_on_docs(nodes: Sequence[LoweredNode], living: Sequence[LoweredNode]) -> None:
    """Pass the docstring of a layer, which its first node has, on to its first node that is left."""
    left = set(map(id, living))
    waiting: list[LoweredNode] = []
    for node in nodes:
        if id(node) not in left:
            if node.doc:
                waiting.append(node)
            continue
        if not waiting:
            continue
        for lost in [lost for lost in waiting if lost.layer and f"{node.layer}.".startswith(f"{lost.layer}.")]:
            node.doc = "\n".join(filter(None, (lost.doc, node.doc)))
            waiting.remove(lost)
