"""A compiler for neural networks: `.model` text in; ONNX, results and pictures out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Model", "NablacError", "__version__", "compile", "load"]

if TYPE_CHECKING:
    from grammar.diagnostics import NablacError
    from nablac.compiling import compile, load
    from nablac.model import Model


def __getattr__(name: str) -> Any:
    """Import the compiler when it is first used; `nablac --help` does not need it."""
    if name in ("Model", "compile", "load"):
        from nablac import compiling

        return getattr(compiling, name)
    if name == "NablacError":
        from grammar.diagnostics import NablacError

        return NablacError
    raise AttributeError(f"module 'nablac' has no attribute '{name}'")
