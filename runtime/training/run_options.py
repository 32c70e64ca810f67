"""The options of a run, which take precedence over its train block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from compiler.model_spec import PRECISIONS
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.backends import check_backend
from runtime.compiled_loops import require_numba
from runtime.training.memory_budget import parse_bytes
from runtime.training.option_ranges import LEAST, MOST_COUNT, MOST_VALIDATION

_RANGES = {
    "validation": (0.0, MOST_VALIDATION),
    **dict.fromkeys(("max_seconds", "checkpoint_seconds"), (0.0, math.inf)),
}
_NOT_OF_PYTHON = (
    "data",
    "undivided",
    "threads",
    "sync_batch_norm",
    "overlap",
)  # of files, which arrays replace, and processes


@dataclass(frozen=True)
class Options:
    """The options of a run; None leaves the value to the train block.

    NablacError for an unknown backend or device, and for a number out of range.
    """

    epochs: int | None = None
    batch: int | None = None
    validation: float | None = None
    patience: int | None = None
    seed: int | None = None
    data: str | None = None  # instead of the path in the block
    undivided: bool = False  # whether all of that data is one part, and the block's other files are ignored
    backend: str = "numpy"
    device: str = "cpu"
    jit: bool | None = None  # whether elementwise chains are compiled loops; None: those of the update, where it pays
    limit_batches: int | None = None
    max_seconds: float | None = None
    overfit: int | None = None
    skip_broken: bool = False
    checkpoint_seconds: float = 30.0
    keep: int = 3  # of the last checkpoints
    memory_budget: int | None = None  # bytes that a training step may take
    sync_batch_norm: bool = False  # whether means and sums over a batch in the model are of all workers' examples
    overlap: bool = False  # whether workers reduce gradients during the backward pass
    precision: str | None = None  # one of PRECISIONS, of the products of a step
    read_every: int | None = None  # steps of one worker on a device whose losses are read together
    threads: int | None = None  # of a step, which runs on as many whatever its size

    def __post_init__(self) -> None:
        check_backend(self.backend, self.device)
        if self.jit:
            require_numba()
        if self.precision not in (None, *PRECISIONS):
            hint = did_you_mean(str(self.precision), PRECISIONS)
            raise _wrong("precision", self.precision, f"one of {', '.join(PRECISIONS)}", hint)
        for name, least in LEAST.items():
            value: Any = getattr(self, name)
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if value is not None and not (whole and value >= least):
                raise _wrong(name, value, f"a whole number from {least}")
            if whole and name != "seed" and value > MOST_COUNT:
                raise _wrong(name, value, f"at most {MOST_COUNT:,}")
        for name, (lowest, most) in _RANGES.items():
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if value is not None and not (number and lowest <= float(value) <= most):
                until = f" to {most:g}" if most < math.inf else ""
                raise _wrong(name, value, f"a number from {lowest:g}{until}")


def options_of(options: Mapping[str, Any]) -> Options:
    """Options by name, from Python; NablacError for an unknown one."""
    known = [field.name for field in fields(Options) if field.name not in _NOT_OF_PYTHON]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f"the choices are {', '.join(known)}"
            raise NablacError(Diagnostic(codes.E604, f"`train` has no option `{name}`", place="train", hint=hint))
    budget = options.get("memory_budget")
    return Options(**{**options, "memory_budget": parse_bytes(budget) if isinstance(budget, str) else budget})


def _wrong(name: str, value: object, expected: str, hint: str | None = None) -> NablacError:
    return NablacError(Diagnostic(codes.E605, f"`{name}` must be {expected}, got {value!r:.80}", place=name, hint=hint))
