"""The declarations in the body of a definition, including those in nested blocks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from grammar import syntax


def statements(body: tuple[syntax.Statement, ...]) -> Iterator[syntax.Statement]:
    """The statements of a body and of its nested blocks, in order."""
    waiting = list(reversed(body))
    while waiting:
        statement = waiting.pop()
        yield statement
        match statement:
            case syntax.For(body=inner):
                waiting.extend(reversed(inner))
            case syntax.If(then=then, otherwise=otherwise):
                waiting.extend(reversed((*then, *otherwise)))


@lru_cache
def declared_inputs(definition: syntax.Definition) -> list[syntax.Declared]:
    """Every input that a body declares, also in conditions and loops."""
    return _declared(definition, "input")


@lru_cache
def declared_parameters(definition: syntax.Definition) -> list[syntax.Declared]:
    """Every parameter and buffer that a body declares."""
    return _declared(definition, "param", "buffer")


def _declared(definition: syntax.Definition, *kinds: str) -> list[syntax.Declared]:
    declarations = (statement for statement in statements(definition.body) if isinstance(statement, syntax.Declare))
    return [declared for declaration in declarations if declaration.kind in kinds for declared in declaration.names]
