"""The names of values: each value of a graph gets one name at most, and no name has two values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compiler.formulas.expression_makers import NOWHERE
from compiler.graph import Node, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Input, Placeholder, Stored
from compiler.origins import ResultName
from grammar import syntax
from grammar.expression_printer import print_expression
from grammar.record import Record


class Symbol(Record):
    """A name below the path of a layer; `index` is that of a step, for what a recurrence carries from step to step."""

    path: str
    text: str
    primed: bool = False
    index: syntax.Expression | None = None
    of: Symbol | None = None  # for a gradient, what it is the gradient of

    @property
    def key(self) -> tuple[str, str, bool]:
        """What two names must differ in."""
        return self.path, self.text, self.primed

    def path_inside(self, layer: str) -> str:
        """The path as it is written in the section of a layer, whose own names have none."""
        if layer and (self.path == layer or self.path.startswith(f"{layer}.")):
            return self.path[len(layer) + 1 :]
        return self.path

    def expression(self, inside: str = "") -> Reference:
        """The name as an expression; without a path for the names of the layer `inside` itself."""
        path = self.path_inside(inside)
        text = f"{path}.{self.text}" if path else self.text
        mark = "'" if self.primed else ""
        step = f"[{print_expression(self.index)}]" if self.index is not None else ""
        return Reference(f"{text}{mark}{step}", False, NOWHERE, self, path)


def gradient_symbol(of: Symbol, *, put_out: bool = False) -> Symbol:
    """The name of a gradient; with `put_out`, of a state as it is put out of a step, not as the next step gets it."""
    text = f"{of.text}_out" if put_out else of.text
    return Symbol(of.path, f"d{text}", of.primed, of.index, of.replace(text=text))


class Reference(syntax.Name):
    """A reference to a symbol; its text is all of it, with path, prime and step."""

    symbol: Symbol
    prefix: str


class Symbols:
    """The names that are taken.

    A recurrence shares names with each of its steps: none is claimed here that means something else in `steps`.
    """

    def __init__(self) -> None:
        self._taken: set[tuple[str, str, bool]] = set()
        self.steps: list[Symbols] = []

    def claim(self, symbol: Symbol) -> Symbol:
        """The symbol, with a number as its suffix if its name is taken."""
        return self._claim(symbol, (symbol.primed,))

    def _claim(self, symbol: Symbol, primes: tuple[bool, ...]) -> Symbol:
        unique, number = symbol, 1
        while any(self._is_taken(unique.replace(primed=primed)) for primed in primes):
            number += 1
            unique = symbol.replace(text=f"{symbol.text}_{number}")
        self._taken.update(unique.replace(primed=primed).key for primed in primes)
        return unique

    def _is_taken(self, symbol: Symbol) -> bool:
        return symbol.key in self._taken or any(symbol.key in step._taken for step in self.steps)

    def reserve(self, symbol: Symbol) -> None:
        """Take the name of a symbol that another scope has claimed."""
        self._taken.add(symbol.key)

    def claim_numbered(self, symbol: Symbol) -> Symbol:
        """The symbol with the lowest number that is free as its suffix."""
        number = 1
        while self._is_taken(numbered := symbol.replace(text=f"{symbol.text}_{number}")):
            number += 1
        return self.claim(numbered)

    def gradient(self, symbol: Symbol) -> Symbol:
        """The name of a gradient: `dW_hh` of `W_hh`."""
        return self.claim(gradient_symbol(symbol))

    def gradient_of_state(self, state: Symbol) -> Symbol:
        """The name of the gradient of a state, which with a prime is that of the next state: `dh` and `dh'`."""
        return self._claim(gradient_symbol(state), (False, True))


def leaf_symbol(node: Node) -> Symbol | None:
    """The name of an input or a stored value."""
    match node.op:
        case Stored(path=path):
            parent, _, text = path.rpartition(".")
            if text.isdigit():  # in a loop: `W.0`
                parent, _, name = parent.rpartition(".")
                text = f"{name}_{text}"
            return Symbol(parent, text)
        case Input(label=label):
            return Symbol("", label)
    return None


def name_of_result(value: Value) -> ResultName | None:
    """The name that the text gives to a value: the one nearest to the names of the model itself."""
    names = [name for name in value.node.origin.names if name.result == value.index and not _is_foreign(name)]
    return min(names, key=lambda name: name.depth, default=None)


def _is_foreign(name: ResultName) -> bool:
    """Whether a name is local to a function of the library that the model itself calls, such as a loss."""
    return name.calls > 0 and not name.path and name.span.source.library


def named_values(nodes: Iterable[Node], known: Mapping[Value, Symbol], symbols: Symbols) -> dict[Value, Symbol]:
    """The names of values, in the order of `nodes`; of several with one name, the last keeps it."""
    requested: dict[Value, Symbol] = {}
    for node in nodes:
        for value in node.results:
            if value in known or isinstance(node.op, Scan) or not (node.operands or isinstance(node.op, Placeholder)):
                continue
            symbol = leaf_symbol(node)
            named = name_of_result(value)
            if symbol is None and named is not None:
                symbol = Symbol(named.path, named.text, named.primed)
            if symbol is not None:
                requested[value] = symbol
    last = {symbol.key: value for value, symbol in requested.items()}
    symbol_of = dict(known)
    for value in last.values():
        symbol_of[value] = symbols.claim(requested[value])
    for value, symbol in requested.items():
        if value not in symbol_of:
            symbol_of[value] = symbols.claim_numbered(symbol)
    return {value: symbol_of[value] for value in (*known, *requested)}
