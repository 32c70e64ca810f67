"""The LALR automaton that runs the table of `model.lark`: a stack of states, and the values read so far.

Lark makes the table (grammar/table.py); running it takes these few lines, and reading a file need not import lark.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from grammar.lexer import Terminal, Token


class Rule(NamedTuple):
    """A rule of the grammar, as `block: "{" ... "}"`."""

    origin: str
    size: int  # of symbols on its right side
    callback: str | None  # the builder's method; None for repetitions and for `?rule: other`, which have none
    unwraps: bool  # whether a single child stands for the whole, as in `?atom`
    spliced: tuple[int, ...]  # children that are repetitions, whose children take their place


class Table(NamedTuple):
    """States by number: what to do at each symbol. A number from 0 is the state to go to, -1 - n reduces by rule n."""

    terminals: tuple[Terminal, ...]
    ignored: frozenset[str]
    rules: tuple[Rule, ...]
    states: tuple[dict[str, int], ...]
    start: int
    end: int


class Refused(Exception):
    """A token that the table has no place for; the stack stands where the last rule was complete."""


class Automaton:
    """What has been read: `states`, and one value for each but the first."""

    def __init__(self, table: Table, builder: Any) -> None:
        self.table = table
        self.actions = [_action(rule, builder) for rule in table.rules]
        self.states = [table.start]
        self.values: list[Any] = []

    def feed(self, token: Token) -> Any:
        """Take the next token; the whole value at the end of the text. Raises Refused."""
        states, values = self.states, self.values
        table, rules = self.table.states, self.table.rules
        while True:
            step = table[states[-1]].get(token.type)
            if step is None:
                raise Refused
            if step >= 0:
                states.append(step)
                values.append(token)
                return None
            rule = rules[-1 - step]
            start = len(values) - rule.size
            value = self.actions[-1 - step](values[start:])
            del states[start + 1 :]
            del values[start:]
            states.append(table[states[-1]][rule.origin])
            values.append(value)
            if states[-1] == self.table.end and token.type == "$END":
                return value

    def kinds(self) -> list[str]:
        """The terminals that the state has an entry for."""
        return [kind for kind in self.table.states[self.states[-1]] if kind.isupper()]

    def accepts(self, kind: str) -> bool:
        """Whether a token of this kind could come next; a table of lookaheads alone says so of too many."""
        table, states = self.table.states, list(self.states)
        while (step := table[states[-1]].get(kind)) is not None:
            if step >= 0:
                return True
            rule = self.table.rules[-1 - step]
            del states[len(states) - rule.size :]
            states.append(table[states[-1]][rule.origin])
            if states[-1] == self.table.end:
                return True
        return False


def _action(rule: Rule, builder: Any) -> Callable[[list[Any]], Any]:
    """What makes a rule's value of its children's."""
    make: Callable[[list[Any]], Any] = getattr(builder, rule.callback) if rule.callback else _same
    if rule.unwraps:
        inner = make

        def make(children: list[Any]) -> Any:
            return children[0] if len(children) == 1 else inner(children)

    if not rule.spliced:
        return make

    def splice(children: list[Any]) -> Any:
        flat: list[Any] = []
        for place, child in enumerate(children):
            if place not in rule.spliced:
                flat.append(child)
            elif flat:
                flat += child
            else:
                flat = child  # a repetition that grows: its list grows with it
        return make(flat)

    return splice


def _same(children: list[Any]) -> Any:
    return children
