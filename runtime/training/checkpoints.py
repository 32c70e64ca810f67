"""Checkpoints: everything that the next step depends on, in one file that is written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import reason_of, require_regular, require_room
from runtime.typed import read_as
from runtime.weights import save_weights

if TYPE_CHECKING:
    from compiler.types import Array

BEST = "best.safetensors"  # beside the checkpoints of the last steps
_STEPS = "step-*.safetensors"
_FORM = "4"


@dataclass
class Position:
    """The progress of training: finished epochs and batches, and the measurements so far."""

    epoch: int = 0  # finished epochs
    batch: int = 0  # finished batches of the current epoch
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # the measurements of the current epoch, see `Means`
    history: dict[str, list[float]] = field(default_factory=dict)
    best: float | None = None
    best_epoch: int = 0
    best_step: int = 0  # the last update of the best epoch
    epochs_since_best: int = 0
    rate: float = 1.0
    epochs_since_decay: int = 0  # since the rate was last reduced, or since the best


def save_checkpoint(folder: Path, state: Mapping[str, Array], position: Position, keep: int) -> Path:
    """Write a checkpoint of the step, and keep only the last `keep`; NablacError if it cannot be written."""
    path = folder / f"step-{position.step:09d}.safetensors"
    write_state(path, state, position)
    for old in sorted(folder.glob(_STEPS))[:-keep]:
        old.unlink(missing_ok=True)
    return path


def write_state(path: Path, state: Mapping[str, Array], position: Position) -> None:
    """Write a state with its position to a file."""
    metadata = {"form": _FORM, "position": json.dumps(asdict(position))}
    save_weights(path, state, {**metadata, "digest": _digest(state, metadata["position"])})


def _digest(state: Mapping[str, Array], position: str) -> str:
    """A hash of the content of a checkpoint, to detect damaged files."""
    digest = blake2b(position.encode(), digest_size=16)
    for name, array in sorted(state.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_checkpoint(path: Path) -> tuple[dict[str, Array], Position]:
    """Read what `write_state` wrote; NablacError for other or damaged files."""
    from safetensors import safe_open

    require_room(require_regular(path), str(path))
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("form") != _FORM:
                raise NablacError(Diagnostic(codes.E840, "not a nablac checkpoint", place=str(path)))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
        if metadata["digest"] != _digest(state, metadata["position"]):
            raise NablacError(
                Diagnostic(codes.E840, "this checkpoint is damaged: its bytes have changed", place=str(path))
            )
        position: Position = read_as(Position, json.loads(metadata["position"]))
        return state, position
    except NablacError:
        raise
    except Exception as error:  # of the library, the system, or an invalid header
        message = f"this checkpoint cannot be read: {reason_of(error)}"
        raise NablacError(Diagnostic(codes.E840, message, place=str(path))) from None


def best_state(folder: Path) -> dict[str, Array]:
    """The state of the best epoch; NablacError if it cannot be read: a resumed run would have another result."""
    path = folder / BEST
    try:
        return read_checkpoint(path)[0]
    except NablacError as error:
        hint = (
            "the best weights are lost, so the result would differ: start a new run; `--weights` sets its first weights"
        )
        (diagnostic,) = error.diagnostics
        raise NablacError(replace(diagnostic, hint=hint)) from None


def best_epoch_kept(folder: Path) -> int | None:
    """The number of the epoch that `best_state` is from; None if it cannot be read."""
    from safetensors import safe_open

    try:
        with safe_open(str(folder / BEST), framework="numpy") as file:
            position: Position = read_as(Position, json.loads((file.metadata() or {})["position"]))
            return position.best_epoch
    except Exception:  # of any kind: the file may hold anything
        return None


def newest_checkpoint(
    folder: Path, damaged: list[NablacError] | None = None
) -> tuple[dict[str, Array], Position] | None:
    """The last valid checkpoint, or None. The errors of later, damaged ones are appended to `damaged`."""
    for path in sorted(folder.glob(_STEPS), reverse=True):
        try:
            return read_checkpoint(path)
        except NablacError as error:
            if damaged is not None:
                damaged.append(error)
    return None
