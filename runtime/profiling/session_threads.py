"""Giving every onnxruntime session that is created in a context its number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

    from compiler.graph import Node
    from runtime.observing import Kernel


@dataclass(frozen=True)
class SessionThreads:
    """Watches sessions and limits the threads of one operator, where nothing else has chosen them."""

    threads: int

    def kernel(self, kernel: Kernel, nodes: Sequence[Node], layers: Sequence[str]) -> Kernel:
        """The kernel itself."""
        return kernel

    def before_session(self, options: SessionOptions) -> None:
        """Set the threads; 0 are onnxruntime's own choice."""
        if options.intra_op_num_threads == 0:
            options.intra_op_num_threads = self.threads

    def after_session(self, session: InferenceSession, model: Any) -> None:
        """Leave the session as it is."""
