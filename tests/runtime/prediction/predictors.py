"""Models for tests of predictions: a recipe, and a function in the place of a trained graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from compiler.dims import Dim
from compiler.output_meanings import Meaning
from compiler.types import DType, TensorType
from runtime.data.fitted import Fitted, Stage
from runtime.data.recipe import Recipe
from runtime.prediction.predictor import Predictor

Array = Any
CSV = Stage("csv", {"separator": ",", "decimal": ".", "header": None})


def floats(*shape: int | str) -> TensorType:
    """The type f32[batch, ...], with a dim for each name."""
    sizes = tuple(size if isinstance(size, int) else Dim.named(size) for size in shape)
    return TensorType(DType.F32, (Dim.named("batch"), *sizes))


def of_rows(
    run: Callable[[dict[str, Array]], dict[str, Array]],
    inputs: tuple[str, ...] = ("a", "b"),
    targets: tuple[str, ...] = ("t",),
    kind: Any = "value",
    classes: Mapping[str, tuple[str, ...]] | None = None,
    types: Mapping[str, TensorType] | None = None,
    columns: Mapping[str, tuple[str, ...]] | None = None,
) -> Predictor:
    """A model of the rows of a table, whose one output `y` says something of `target`."""
    types = types or {"x": floats(len(inputs))}
    fitted = Fitted(
        classes=classes or {},
        columns=columns or {"x": inputs},
        targets={"target": targets},
        stages=(CSV, Stage("columns", {"inputs": list(inputs), "targets": list(targets)})),
    )
    return Predictor("M", Recipe(fitted, {"y": Meaning(kind, "target")}), types, {}, run)


def of_series(
    run: Callable[[dict[str, Array]], dict[str, Array]],
    length: int,
    horizon: int = 1,
    shift: int = 0,
    inputs: tuple[str, ...] = ("v",),
    targets: tuple[str, ...] = ("v",),
) -> Predictor:
    """A model of windows of a series, whose one output `y` predicts `target`."""
    arguments = {"columns": list(inputs), "length": length, "horizon": horizon, "shift": shift, "stride": 1}
    fitted = Fitted(
        columns={"x": inputs},
        targets={"target": targets},
        stages=(CSV, Stage("window", {**arguments, "target": list(targets)})),
    )
    types = {"x": floats("time", len(inputs))}
    return Predictor("M", Recipe(fitted, {"y": Meaning("value", "target")}), types, {}, run)


def steps_on(horizon: int, shift: int = 0) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """A model that knows that a series rises by 1: row by row what it will be, [batch, horizon, columns]."""

    def run(feeds: dict[str, Array]) -> dict[str, Array]:
        x = feeds["x"]
        begin = shift or x.shape[1]
        ahead = np.arange(begin, begin + horizon, dtype=np.float32)
        return {"y": x[:, :1, :] + ahead[None, :, None]}

    return run
