"""The optional dependencies of searches."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

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


def require_ray_tune() -> None:
    """NablacError if Ray is not installed, or without what Ray Tune needs."""
    missing = [module for module in ("ray", "pandas", "pyarrow", "fsspec", "pydantic") if find_spec(module) is None]
    if missing:
        message = f"a search on Ray needs the `ray` extra: {', '.join(missing)} is missing"
        hint = "pip install 'nablac[ray,tune]'"
        raise NablacError(Diagnostic(codes.E809, message, place="--engine", hint=hint))
