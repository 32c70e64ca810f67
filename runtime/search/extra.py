"""The optional dependency of searches."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

_LOWEST = 4  # the first with journals in `optuna.storages.journal`


def require_optuna() -> None:
    """NablacError if Optuna is not installed, or too old."""
    try:
        installed = version("optuna")
    except PackageNotFoundError:
        message = "a search needs the `tune` extra"
    else:
        if int(installed.split(".")[0]) >= _LOWEST:
            return
        message = f"a search needs Optuna {_LOWEST}.0 or newer, but {installed} is installed"
    hint = "pip install 'nablac[tune]'"
    raise NablacError(Diagnostic(codes.E809, message, place="tune", hint=hint))
