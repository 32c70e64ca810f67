"""A model run on a part of the data in raw units, batch after batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import SEED, mask_name
from runtime.data.batches import Batches
from runtime.generation.machines import machine
from runtime.prediction.predictor import Predictor
from runtime.training.trained import units_in

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples
    from runtime.data.padding import Padding
    from runtime.data.stored_rows import StoredRows
    from runtime.training.training_run import Training

_ROW = " row"  # no input or target is called so


def predictor_of_training(training: Training) -> Predictor:
    """The model of a training as predictions need it, with the weights to begin from."""
    graph, options = training.model_graph(), training.options
    runner = machine(graph, training.model_weights(training.first_state()), options.backend, options.device)
    drawn = {SEED: np.array(training.seed, np.int64)} if SEED in runner.inputs else {}

    def run(feeds: dict[str, Array]) -> dict[str, Array]:
        outputs = runner.run({name: runner.value(array) for name, array in {**drawn, **feeds}.items()})
        return {name: np.asarray(runner.array(outputs[name])) for name in graph.outputs}

    types = {name: value.type for name, value in graph.inputs.items() if name != SEED}
    units = {name: str(unit.kind) for name, unit in units_in(training.inference, training.fitted_now).items()}
    return Predictor(training.name, training.recipe, types, units, run)


@dataclass(frozen=True, eq=False)
class PartOutputs:
    """What a model says of examples `rows`, with their targets in raw units."""

    rows: Array
    outputs: dict[str, Array]
    targets: dict[str, Array]


def outputs_of(
    predictor: Predictor, data: Examples, part: str, batch: int, padding: Padding | None, names: set[str]
) -> Iterator[PartOutputs]:
    """The outputs of these `names` for all examples of a part, in their order but for padded rows that are apart."""
    raw = {name: _raw(data, name) for name in {*predictor.types, *data.targets} if name in data.arrays}
    arrays = {**{name: array for name, array in data.arrays.items() if name not in raw}, **raw}
    examples = replace(data, arrays={**arrays, _ROW: np.arange(len(data))}, augmentations={})
    for feeds in Batches(examples, part, batch, padding=padding).epoch(0):
        predictions = predictor.run({name: predictor.feed(name, feeds[name], data) for name in predictor.types})
        targets = {name: _present(feeds, name) for name in (*predictor.types, *data.targets)}
        yield PartOutputs(feeds[_ROW], {name: predictions[name] for name in names}, targets)


def _present(feeds: Mapping[str, Array], name: str) -> Array:
    """A target with NaN for the entries that are missing."""
    mask = feeds.get(mask_name(name))
    return feeds[name] if mask is None else np.where(mask > 0, feeds[name], np.asarray(np.nan, feeds[name].dtype))


def gathered(parts: list[PartOutputs], output: str, target: str) -> tuple[Array, Array, Array]:
    """Rows in their order, the output and the target of each."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows, kind="stable")
    columns = (np.concatenate([part.outputs[output] for part in parts]), _joined(parts, target))
    return rows[order], columns[0][order], columns[1][order]


def _joined(parts: list[PartOutputs], target: str) -> Array:
    return np.concatenate([part.targets[target] for part in parts])


def _raw(data: Examples, name: str) -> Array | StoredRows:
    """An array before it was scaled."""
    return data.raw.get(name, data.arrays[name])


def raw_numbers(data: Examples, name: str, rows: Array) -> Array:
    """The numbers of an array before it was scaled, of some examples."""
    numbers: Array = _raw(data, name)[rows]
    return numbers
