"""Watching how graphs run: a plan or a session that is created in a context tells the watcher of that context.

Nothing is looked up while a graph runs, so that a run that nobody watches costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

    from compiler.graph import Node

Kernel = Callable[..., Any]


class Watcher(Protocol):
    """What is told of every kernel and every session."""

    def kernel(self, kernel: Kernel, nodes: Sequence[Node], layers: Sequence[str]) -> Kernel:
        """The kernel to run in place of one that computes these nodes for layers at these paths."""

    def before_session(self, options: SessionOptions) -> None:
        """Change the options of a session that is about to be created."""

    def after_session(self, session: InferenceSession, model: Any) -> None:
        """Note a session of a model: its path, or the bytes of its file."""


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def watcher() -> Watcher | None:
    """The watcher of the plans and sessions that are created now."""
    return _watcher.get()


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """A context that tells `watcher` of the plans and sessions that are created in it."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def watched(kernel: Kernel, nodes: Sequence[Node], layers: Sequence[str] | None = None) -> Kernel:
    """The kernel of these nodes, or what the watcher puts in its place; `layers` are by default those of the nodes."""
    watcher = _watcher.get()
    if watcher is None:
        return kernel
    return watcher.kernel(kernel, nodes, layers or [node.origin.path for node in nodes])
