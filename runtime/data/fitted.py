"""The state of data processing that is fitted to the training part, and applied to all later data.

A run keeps it in its folder, so that its weights are used with data in the form that they were trained on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.atomic_files import write_bytes
from runtime.boundary import LARGEST_JSON, read_file, reason_of
from runtime.data.scaling import Scaling
from runtime.metadata import column_names, texts
from runtime.text.tokenizers import Tokenizer, from_json, read_tokenizer

if TYPE_CHECKING:
    from compiler.types import Array

DATA, TOKENS = "data.json", "tokenizer.json"


@dataclass(frozen=True)
class Fitted:
    """Scalings by the names of inputs and targets, classes by the names of columns, the tokenizer of texts.

    `labels` are the names of the target's classes in order; `columns` are the columns of a table in each input.
    """

    scalings: Mapping[str, Scaling] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None
    labels: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[str, tuple[Array, Array]]:
        """Offset and scale of each scaling."""
        return {name: (value.offset, value.scale) for name, value in self.scalings.items()}


def write_fitted(folder: Path, fitted: Fitted) -> None:
    """Write the fitted state to a run's folder."""
    text = json.dumps(_to_json(fitted), indent=2, ensure_ascii=False)
    write_bytes(folder / DATA, (text + "\n").encode())
    if fitted.tokenizer is not None:
        write_bytes(folder / TOKENS, fitted.tokenizer.to_json().encode())


def read_fitted(folder: Path) -> Fitted | None:
    """The fitted state in a run's folder; None for other folders."""
    path, tokens = folder / DATA, folder / TOKENS
    if not os.path.isfile(path):
        return None
    try:
        stored = json.loads(read_file(path, LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise unreadable(str(path), reason_of(error)) from error
    return _parse(stored, str(path), read_tokenizer(tokens) if os.path.isfile(tokens) else None)


def fitted_to_json(fitted: Fitted) -> dict[str, Any]:
    """The fitted state as JSON values, including the tokenizer."""
    return {**_to_json(fitted), "tokenizer": fitted.tokenizer.to_json() if fitted.tokenizer is not None else None}


def fitted_from_json(stored: Any, location: str) -> Fitted:
    """The fitted state from the values of `fitted_to_json`; NablacError for anything else."""
    text = stored.get("tokenizer") if isinstance(stored, dict) else None
    if text is not None and not isinstance(text, str):
        raise unreadable(location, "its tokenizer is not a text")
    return _parse(stored, location, from_json(text, location) if text is not None else None)


def _to_json(fitted: Fitted) -> dict[str, Any]:
    scalings = {
        name: {"offset": value.offset.tolist(), "scale": value.scale.tolist()}
        for name, value in fitted.scalings.items()
    }
    return {"scalings": scalings, "classes": fitted.classes, "labels": fitted.labels, "columns": fitted.columns}


def _parse(stored: Any, location: str, tokenizer: Tokenizer | None) -> Fitted:
    try:
        scalings = {name: _scaling(scaling["offset"], scaling["scale"]) for name, scaling in stored["scalings"].items()}
        classes, columns = column_names(stored["classes"]), column_names(stored.get("columns", {}))
        labels = tuple(texts(stored.get("labels", [])))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise unreadable(location, reason_of(error)) from error
    return Fitted(scalings, classes, tokenizer, labels, columns)


def _scaling(offset: Any, scale: Any) -> Scaling:
    """A scaling from JSON numbers; raises ValueError or TypeError for invalid ones."""
    scaling = Scaling(np.array(offset, np.float64), np.array(scale, np.float64))
    if scaling.offset.shape != scaling.scale.shape:
        raise ValueError("an offset and its scale differ in shape")
    if not np.isfinite(scaling.offset).all() or not np.isfinite(scaling.scale).all() or (scaling.scale <= 0).any():
        raise ValueError("an offset is not finite, or a scale not a finite number above 0")
    return scaling


def unreadable(location: str, reason: str) -> NablacError:
    """The error for fitted state that is damaged."""
    hint = "restore the file that `nablac train` wrote, or remove it"
    message = f"{location} is not a run's record of its data"
    return NablacError(Diagnostic(codes.E827, message, place=location, note=reason, hint=hint))
