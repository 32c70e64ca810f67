"""What a training part has shown of its data: later data is scaled, numbered and cut as it was.

A run keeps it in its folder, so that its weights meet the data that they were trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.scaling import Scaling
from runtime.files import write_bytes
from runtime.text.tokenizers import Tokenizer, read_tokenizer

if TYPE_CHECKING:
    from runtime.data.examples import Examples

DATA, TOKENS = "data.json", "tokenizer.json"
COLUMNS = "nablac.columns"  # of the metadata


@dataclass(frozen=True)
class Fitted:
    """Scalings by the model's names of inputs and targets, classes by the names of columns, the tokenizer of texts.

    `columns` are those of a table that each input was made of, in their order.
    """

    scalings: Mapping[str, Scaling] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def fitted_to(examples: Examples) -> Fitted:
    """What finished examples were made with."""
    columns = {name: examples.columns[name] for name in examples.inputs if examples.columns.get(name)}
    return Fitted(examples.scalings, examples.classes, examples.tokenizer, columns)


def column_metadata(examples: Examples) -> dict[str, str]:
    """What a compiled file says of the columns that its inputs were trained on."""
    columns = fitted_to(examples).columns
    return {COLUMNS: json.dumps(columns, ensure_ascii=False)} if columns else {}


def stored_columns(metadata: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What `column_metadata` said."""
    return {str(name): tuple(columns) for name, columns in json.loads(metadata.get(COLUMNS, "{}")).items()}


def write_fitted(folder: Path, fitted: Fitted) -> None:
    """Keep in a run's folder what later data needs."""
    stored = {
        "scalings": {
            name: {"offset": each.offset.tolist(), "scale": each.scale.tolist()}
            for name, each in fitted.scalings.items()
        },
        "classes": fitted.classes,
        "columns": fitted.columns,
    }
    write_bytes(folder / DATA, (json.dumps(stored, indent=2, ensure_ascii=False) + "\n").encode())
    if fitted.tokenizer is not None:
        write_bytes(folder / TOKENS, fitted.tokenizer.to_json().encode())


def read_fitted(folder: Path) -> Fitted | None:
    """What a run's folder keeps; None of a folder that is none of a run."""
    path = folder / DATA
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text("utf-8"))
        scalings = {
            name: Scaling(np.array(each["offset"], np.float64), np.array(each["scale"], np.float64))
            for name, each in stored["scalings"].items()
        }
        classes = {name: tuple(texts) for name, texts in stored["classes"].items()}
        columns = {name: tuple(names) for name, names in stored.get("columns", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "it is as `nablac train` wrote it, or it is not there"
        raise NablacError(Diagnostic("E827", f"{path} is not what a run keeps of its data", hint=hint)) from error
    tokens = folder / TOKENS
    return Fitted(scalings, classes, read_tokenizer(tokens) if tokens.is_file() else None, columns)
