"""Where nodes come from, and the context that says so while they are created."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from grammar.source import Span


class Origin:
    """Where a node comes from: the span of its source text, and the path of the layer that created it. Immutable."""

    __slots__ = ("path", "span")

    def __init__(self, span: Span | None = None, path: str = "") -> None:
        self.span, self.path = span, path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Origin):
            return NotImplemented
        return self.path == other.path and self.span == other.span

    def __hash__(self) -> int:
        return hash((self.span, self.path))


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
