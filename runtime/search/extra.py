"""The optional dependency of searches."""

from __future__ import annotations

from importlib.util import find_spec

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


def require_optuna() -> None:
    """NablacError if Optuna is not installed."""
    if find_spec("optuna") is None:
        hint = "pip install 'nablac[tune]'"
        raise NablacError(Diagnostic(codes.E809, "a search needs the `tune` extra", place="tune", hint=hint))
