"""A compiler for neural networks: `.model` text in; ONNX, results and pictures out.

    import nablac

    model = nablac.compile("forecaster.model", units=64)  # a Model, which is called with arrays by input name
    history = model.train(epochs=20)                      # a History, which plots itself
    model.evaluate(part="validation")                     # the loss and the metrics
    model.predict("new.csv")                              # columns, in the units of the data
    model.to_onnx("forecaster.onnx")

`load` reads a trained run, `Callback` and `StopTraining` are for callbacks of `train`, and mistakes of all kinds raise
`NablacError`, which says where, what and why, and what to do. `help(nablac.Model)` describes all methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from grammar.diagnostics import NablacError as NablacError
    from nablac.callbacks import Callback as Callback
    from nablac.callbacks import RunFacts as RunFacts
    from nablac.callbacks import StopTraining as StopTraining
    from nablac.compiling import compile as compile
    from nablac.compiling import load as load
    from nablac.history import History as History
    from nablac.model import Model as Model

__all__ = [
    "Callback",
    "History",
    "Model",
    "NablacError",
    "RunFacts",
    "StopTraining",
    "__version__",
    "compile",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used; `nablac --help` does not need the compiler."""
    if name in ("compile", "load"):
        from nablac import compiling

        return getattr(compiling, name)
    if name in ("Callback", "RunFacts", "StopTraining"):
        from nablac import callbacks

        return getattr(callbacks, name)
    if name == "Model":
        from nablac.model import Model

        return Model
    if name == "History":
        from nablac.history import History

        return History
    if name == "NablacError":
        from grammar.diagnostics import NablacError

        return NablacError
    raise AttributeError(f"module 'nablac' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
