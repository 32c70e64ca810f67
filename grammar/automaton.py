"""The LALR automaton that runs the table of `model.lark`: a stack of states, and the values read so far.

Lark builds the table (grammar/table.py). Running it takes these few lines, so that reading a file need not import lark.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from grammar.lexer import Terminal, Token


class Rule(NamedTuple):
    """A rule of the grammar, as `block: "{" ... "}"`."""

    origin: str
    size: int  # the number of symbols on its right side
    callback: str | None  # the builder's method; None for repetitions and for `?rule: other`, which have none
    unwraps: bool  # whether a single child stands for the whole, as in `?atom`
    spliced: tuple[int, ...]  # indices of children that are repetitions, and are replaced by their own children


class Table(NamedTuple):
    """The action of each state at each symbol: a number from 0 is the state to shift to, -1 - n reduces by rule n."""

    terminals: tuple[Terminal, ...]
    ignored: frozenset[str]
    rules: tuple[Rule, ...]
    states: tuple[dict[str, int], ...]
    start: int
    end: int


class Refused(Exception):
    """A token that the table does not allow; the stack is as the last reduction left it."""


class Automaton:
    """What has been read: a stack of `states`, and a value for each of them but the first."""

    def __init__(self, table: Table, builder: Any) -> None:
        self.table = table
        self.actions = [_action(rule, builder) for rule in table.rules]
        self.states = [table.start]
        self.values: list[Any] = []

    def feed(self, token: Token) -> Any:
        """Take the next token; returns the value of the whole at the end of the text. Raises Refused."""
        states, values = self.states, self.values
        table, rules = self.table.states, self.table.rules
        while True:
            action = table[states[-1]].get(token.type)
            if action is None:
                raise Refused
            if action >= 0:
                states.append(action)
                values.append(token)
                return None
            rule = rules[-1 - action]
            start = len(values) - rule.size
            value = self.actions[-1 - action](values[start:])
            del states[start + 1 :]
            del values[start:]
            states.append(table[states[-1]][rule.origin])
            values.append(value)
            if states[-1] == self.table.end and token.type == "$END":
                return value

    def kinds(self) -> list[str]:
        """The terminals that the current state has an action for."""
        return [kind for kind in self.table.states[self.states[-1]] if kind.isupper()]

    def accepts(self, kind: str) -> bool:
        """Whether a token of this kind can come next; the lookaheads of the table alone allow too many."""
        table, states = self.table.states, list(self.states)
        while (action := table[states[-1]].get(kind)) is not None:
            if action >= 0:
                return True
            rule = self.table.rules[-1 - action]
            del states[len(states) - rule.size :]
            states.append(table[states[-1]][rule.origin])
            if states[-1] == self.table.end:
                return True
        return False


def _action(rule: Rule, builder: Any) -> Callable[[list[Any]], Any]:
    """The function that makes a rule's value from those of its children."""
    make: Callable[[list[Any]], Any] = getattr(builder, rule.callback) if rule.callback else _identity
    if rule.unwraps:
        inner = make

        def make(children: list[Any]) -> Any:
            return children[0] if len(children) == 1 else inner(children)

    if not rule.spliced:
        return make

    def splice(children: list[Any]) -> Any:
        flat: list[Any] = []
        for index, child in enumerate(children):
            if index not in rule.spliced:
                flat.append(child)
            elif flat:
                flat += child
            else:
                flat = child  # a repetition that grows extends its own list
        return make(flat)

    return splice


def _identity(children: list[Any]) -> Any:
    return children
