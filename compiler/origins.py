"""Where nodes come from, and the context that says so while they are created."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from compiler.types import TensorType
from grammar.record import Record, ValueRecord
from grammar.source import Span


class ResultName(Record):
    """A name that the text gives to one result of a node: by an equation, or as an input or output of a layer.

    `path` is that of the layer with the equation; `calls` is the number of functions around it, whose names are local.
    """

    result: int  # its index
    text: str
    primed: bool
    path: str
    calls: int
    span: Span  # of the equation's value

    @property
    def depth(self) -> tuple[int, int]:
        """How far it is from the names of the model itself."""
        return self.path.count(".") + bool(self.path), self.calls


class Origin:
    """Where a node comes from: the span of its source text, the path of the layer that created it, and its names.

    Immutable.
    """

    __slots__ = ("names", "path", "span")

    def __init__(self, span: Span | None = None, path: str = "", names: tuple[ResultName, ...] = ()) -> None:
        self.span, self.path, self.names = span, path, names

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Origin):
            return NotImplemented
        return self.path == other.path and self.span == other.span and self.names == other.names

    def __hash__(self) -> int:
        return hash((self.span, self.path))

    def of_result(self, index: int) -> Origin:
        """The origin of a node whose only result stands for one of this node's results."""
        names = tuple(name.replace(result=0) for name in self.names if name.result == index)
        return Origin(self.span, self.path, names)


class Layer(ValueRecord):
    """One layer: the definition's name and docstring, its outputs at the first application, and how many there are."""

    definition: str
    doc: str | None = None
    outputs: tuple[TensorType, ...] = ()
    applications: int = 0


_origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - Origin is immutable
current_origin = _origin.get  # the origin of the nodes that are created now


class origin:
    """A context manager: nodes created inside it have this origin."""

    __slots__ = ("here", "token")

    def __init__(self, span: Span | None, path: str) -> None:
        self.here = Origin(span, path)

    def __enter__(self) -> None:
        self.token = _origin.set(self.here)

    def __exit__(self, *error: object) -> None:
        _origin.reset(self.token)


@contextmanager
def origins() -> Iterator[Callable[[Origin], object]]:
    """A context with a function that sets the origin of the nodes that are created next, for passes over many nodes."""
    token = _origin.set(_origin.get())
    try:
        yield _origin.set
    finally:
        _origin.reset(token)
