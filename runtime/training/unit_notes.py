"""Notes for the user on the units of a trained model's outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.elaborate.data import SCALES
from compiler.model_spec import ModelSpec, TrainingSpec
from compiler.target_uses import target_uses
from compiler.units import Unit
from runtime.data.examples import Examples, fitted_to
from runtime.data.stored_rows import blocks
from runtime.training.trained import units_in


def unit_notes(model: ModelSpec, examples: Examples) -> list[str]:
    """Lines with the units of each output of the compiled model, and the targets that stay scaled or unscaled.

    `model` is in inference mode, with its train block, and `examples` is its training data.
    """
    spec = model.training
    assert spec is not None
    units = units_in(model, fitted_to(examples))
    scaled_targets = [name for name in spec.targets if name in examples.scalings]
    raw = _raw_names(units)
    unscaled = _unscaled_notes(spec, examples)
    if not scaled_targets and not any(unit.kind == "raw" for unit in units.values()):
        return unscaled
    why = ": weights act on it, and the loss does not compare it with data"
    notes = [f"units:     `{name}` is {unit}{why if unit.kind == 'model' else ''}" for name, unit in units.items()]
    notes += [
        f"note: no output is what the loss compares with `{name}`: the compiled model has no output in its raw units"
        for name in scaled_targets
        if name not in raw
    ]
    return notes + unscaled


def has_scaled_figures(model: ModelSpec, examples: Examples) -> bool:
    """Whether the loss and the metrics of a model are in scaled units; the arguments are as of `unit_notes`."""
    spec = model.training
    assert spec is not None
    raw = _raw_names(units_in(model, fitted_to(examples)))
    return bool((raw | spec.targets.keys()) & examples.scalings.keys())


def _raw_names(units: Mapping[str, Unit]) -> set[str]:
    """The names of the data whose units some output has."""
    return {name for unit in units.values() for name in unit.of}


def _unscaled_notes(spec: TrainingSpec, examples: Examples) -> list[str]:
    """Notes on targets that are not scaled, although all measured numbers were to be."""
    if not any(stage.name in SCALES and not stage.arguments["columns"] for stage in spec.data):
        return []
    measured = target_uses(spec.loss, spec.targets).measured
    return [
        f"note: `{name}` is not scaled: the loss does more with it than compare it with what the model computes"
        "; `columns` of a scaling can name it nevertheless"
        for name, value in spec.targets.items()
        if name not in measured | examples.scalings.keys() and value.type.dtype.is_float
        if any(  # answers and shares need no scale
            np.abs(block.astype(np.float64)).max(initial=0.0) > 1 for _, block in blocks(examples.arrays[name])
        )
    ]
