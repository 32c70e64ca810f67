"""Data descriptions carried out for tests: what a train block's `data` gives a model, or says instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.model_spec import WEIGHTS
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.loading import Requirements, load_examples
from tests.models import spec_of


def load(
    folder: Path,
    data: str,
    inputs: str = "x: f32[batch, time, 1]",
    target: str = "t: f32[batch, 1]",
    measured: bool = True,
    **context: object,
) -> Examples:
    """What a train block's `data` gives a model of these inputs, whose loss takes the targets' differences or not."""
    name = inputs.partition(":")[0]
    text = f"model M {{ input {inputs}; output {name} }}\n"
    text += f"train M {{ target {target}; loss mean(cast({name}, f32)); data {data} }}\n"
    elaborated = spec_of(text)
    assert elaborated.training is not None
    given = Context(folder, **context)  # type: ignore[arg-type]
    types = {name: value.type for name, value in elaborated.graph.inputs.items()}
    targets = {name: value.type for name, value in elaborated.training.targets.items()}
    weight = DType.F32 if any(stage.name == WEIGHTS for stage in elaborated.training.data) else None
    wanted = Requirements(types, targets, frozenset(targets if measured else ()), weight)
    return load_examples(elaborated.training.data, given, wanted)


def series(folder: Path, values: list[object], name: str = "series.csv") -> None:
    """A file of a column `value`."""
    (folder / name).write_text("month,value\n" + "".join(f"m{n},{each}\n" for n, each in enumerate(values)))


def refused(folder: Path, data: str, **given: object) -> str:
    """The one diagnostic that a description gets, with the folder as HERE."""
    with pytest.raises(NablacError) as caught:
        load(folder, data, **given)  # type: ignore[arg-type]
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.code} {diagnostic.place or ''}: {diagnostic.message}".replace(str(folder), "HERE")
