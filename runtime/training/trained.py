"""A trained model: its weights, the fitted state of its data, and its last step - and the file that holds them.

Training scales its data, so that weights alone give numbers in another unit. Everything that is saved, evaluated or
exported is made from a `Trained` here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.comparisons import Comparison, comparisons
from compiler.dims import Size
from compiler.graph import Graph
from compiler.model_spec import STEP, ModelSpec
from compiler.operators.leaves import Constant, Input
from compiler.rewrite import replace
from compiler.training.losses import whole_graph
from compiler.units import Scalings, Unit, in_raw_units, output_units
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import reason_of
from runtime.data.fitted import Fitted, fitted_from_json, fitted_to_json, read_fitted, unreadable
from runtime.data.recipe import recipe_metadata, recipe_of
from runtime.initialization import stored_operators
from runtime.metadata import UNITS
from runtime.padding_effects import padding_metadata
from runtime.table_lookups import table_metadata
from runtime.text.lengths import length_metadata
from runtime.weights import fit_weights, read_metadata, read_tensors, save_weights

if TYPE_CHECKING:
    from compiler.graph import Value
    from compiler.types import Array
    from runtime.renames import Rename

TRAINED = "nablac.trained"  # the key of the metadata of weights: all that is not an array
RECORD = "run.json"  # in the folder of a run


@dataclass(frozen=True, eq=False)
class Trained:
    """Weights by path, including those that only the loss reads, with the fitted state of the data."""

    weights: dict[str, Array]
    fitted: Fitted | None = None  # None if it is unknown, as for weights from elsewhere
    step: int | None = None  # the number of the last update; None if it is unknown


def save_trained(path: str | Path, trained: Trained) -> None:
    """Write weights to a `.safetensors` file, with the fitted state of their data as metadata."""
    metadata: dict[str, str] = {}
    if trained.fitted is not None:
        facts = {**fitted_to_json(trained.fitted), "step": trained.step}
        # One entry: the library writes several in random order, and equal runs have to write equal bytes.
        metadata[TRAINED] = json.dumps(facts, ensure_ascii=False)
    save_weights(path, trained.weights, metadata)


def load_trained(
    path: str | Path,
    elaborated: ModelSpec,
    renames: Iterable[Rename] = (),
    *,
    needed: Graph | None = None,
    in_training: Callable[[], Graph] | None = None,
    fresh: Sequence[str] = (),
    say: Callable[[str], object] = lambda text: None,
) -> Trained:
    """A model's weights from a file, with the fitted state of its data; NablacError for weights that do not fit.

    All weights that `needed` reads are required; by default it is the model's graph. Weights that only the loss reads,
    or only the graph `in_training`, are optional. Those whose path matches a pattern in `fresh` are left out, and so is
    what was fitted to the targets. `say` is called with rename rules that match no entry, which may be mistyped.
    """

    def optional() -> Iterable[Graph]:
        yield whole_graph(elaborated)
        if in_training is not None:
            yield in_training()

    tensors, graph = read_tensors(path), needed or elaborated.graph
    weights = fit_weights(tensors, graph, str(path), list(renames), optional, fresh=fresh, say=say)
    fitted, step = _read_facts(path)
    if fitted is not None and fresh and elaborated.training is not None:
        fitted = fitted.of_inputs(elaborated.training.targets)  # the new parameters learn new units and classes
    if fitted is not None:
        check_fitted(elaborated, fitted, str(path))
    return Trained(weights, fitted, step)


def _read_facts(path: str | Path) -> tuple[Fitted | None, int | None]:
    """The fitted state in a file of weights, and the number of its last step."""
    text = read_metadata(path).get(TRAINED)
    if text is None:
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        return read_fitted(folder) if (folder / RECORD).is_file() else None, None  # of a run of earlier versions
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable(str(path), reason_of(error)) from None
    fitted = fitted_from_json(stored, str(path))
    step = stored.get("step")
    if step is not None and not (type(step) is int and 0 <= step < 1 << 63):
        raise unreadable(str(path), "its step is not a whole number")
    return fitted, step


def check_fitted(elaborated: ModelSpec, fitted: Fitted, location: str) -> None:
    """NablacError for weights that were trained on scaled data that does not fit this model."""
    graph, spec = elaborated.graph, elaborated.training
    types = {name: value.type for name, value in graph.inputs.items()}
    if spec is not None:
        types |= {name: value.type for name, value in spec.targets.items()}
    for name, scaling in fitted.scalings.items():
        message = f"these weights were trained on a scaled `{name}`, "
        if name not in types:
            what = "input or target" if spec is not None else "input, and no train block that says what its targets are"
            message += f"and {graph.name} has no such {what}"
            hint = f"call it `{name}` as in the model that was trained"
        elif not _spreads_to(scaling.offset.shape, types[name].shape[1:]):
            message += f"{list(scaling.offset.shape)} numbers, and it is {types[name]} in {graph.name}"
            hint = "load them into the model that was trained"
        elif types[name].dtype.is_float and (reason := scaling.unrepresentable(types[name].dtype)):
            message += f"whose raw numbers {types[name].dtype} cannot represent: {reason}"
            hint = "compile the model in a wider type, such as `--dtype f32`"
        else:
            continue
        raise NablacError(Diagnostic(codes.E844, message, place=location, hint=hint))


def _spreads_to(shape: tuple[int, ...], example: tuple[Size, ...]) -> bool:
    """Whether a shape broadcasts against an example without adding axes to it."""
    if len(shape) > len(example):
        return int(np.prod(shape)) == 1
    behind = example[len(example) - len(shape) :]
    return all(size == 1 or size == other for size, other in zip(shape, behind, strict=True))


def raw_graph(elaborated: ModelSpec, fitted: Fitted | None) -> Graph:
    """The model with inputs and outputs in raw units, as the data was before it was scaled."""
    return in_raw_units(*_units(elaborated, fitted)) if fitted is not None and fitted.scalings else elaborated.graph


def units_in(elaborated: ModelSpec, fitted: Fitted | None) -> dict[str, Unit]:
    """The unit of each output of `raw_graph`; empty if no data was scaled."""
    return output_units(*_units(elaborated, fitted)) if fitted is not None and fitted.scalings else {}


def _units(elaborated: ModelSpec, fitted: Fitted) -> tuple[Graph, Scalings, list[Comparison], Mapping[str, Value]]:
    graph, spec = elaborated.graph, elaborated.training
    compared: list[Comparison] = []
    if spec is not None:
        compared = comparisons(spec.loss, spec.targets, graph.inputs, spec.spreads)
    return graph, fitted.numbers, compared, spec.targets if spec is not None else {}


def model_metadata(elaborated: ModelSpec, fitted: Fitted | None) -> dict[str, str]:
    """The metadata of a compiled model: units of outputs, the recipe of its data, and of texts."""
    metadata = {"nablac.model": elaborated.graph.name}
    units = units_in(elaborated, fitted)
    if units:
        metadata[UNITS] = json.dumps({name: {"units": unit.kind, "of": unit.of} for name, unit in units.items()})
    recipe = recipe_of(elaborated, fitted)
    if recipe is not None:
        metadata |= recipe_metadata(recipe)
    metadata |= padding_metadata(elaborated.graph, fitted)
    return metadata | length_metadata(elaborated.graph) | table_metadata(elaborated.graph)


def step_of(trained: Trained | None, graph: Graph) -> int:
    """The number of the step for evaluating a loss; 1 before any training.

    NablacError if the loss depends on it, and the weights do not record theirs.
    """
    if trained is None:
        return 1
    if trained.step is None and STEP in graph.inputs:
        message = "the loss depends on `step`, and these weights do not record theirs"
        hint = "evaluate the folder of the run that trained them, or its `weights.safetensors`"
        raise NablacError(Diagnostic(codes.E845, message, place=graph.name, hint=hint))
    return trained.step or 1


def in_raw_data(elaborated: ModelSpec, fitted: Fitted | None) -> ModelSpec:
    """A model whose loss takes raw inputs and targets, and scales them as in training.

    For gradients and training steps; the model's outputs stay in the units of training.
    """
    spec, graph = elaborated.training, elaborated.graph
    if fitted is None or not fitted.scalings or spec is None:
        return elaborated
    changes: dict[Value, Value] = {}

    def with_raw_inputs(values: Mapping[str, Value]) -> dict[str, Value]:
        raw = dict(values)
        for name, value in values.items():
            if name in fitted.scalings:
                offset, scale = (Constant.of(part.astype(value.type.dtype.numpy))() for part in fitted.numbers[name])
                raw[name] = Input(name, value.type)()
                changes[value] = (raw[name] - offset) / scale
        return raw

    inputs, targets = with_raw_inputs(graph.inputs), with_raw_inputs(spec.targets)
    losses = {"loss": spec.loss, **({"weighted": spec.weighted} if spec.weighted is not None else {})}
    parts = [losses, spec.metrics, graph.outputs, graph.updates, spec.updates]
    ends = iter(replace([value for part in parts for value in part.values()], changes))
    (loss, *weighted), metrics, outputs, updates, all_updates = ([next(ends) for _ in part] for part in parts)
    rescaled = Graph(
        inputs,
        dict(zip(graph.outputs, outputs, strict=True)),
        dict(zip(graph.updates, updates, strict=True)),
        graph.name,
        graph.doc,
        graph.layers,
    )
    raw_spec = dataclasses.replace(
        spec,
        targets=targets,
        loss=loss,
        weighted=next(iter(weighted), None),
        metrics=dict(zip(spec.metrics, metrics, strict=True)),
        updates=dict(zip(spec.updates, all_updates, strict=True)),
    )
    return ModelSpec(rescaled, elaborated.hypers, raw_spec, elaborated.mode)


def weights_of_model(inference: ModelSpec, in_training: Iterable[str], state: Mapping[str, Array]) -> dict[str, Array]:
    """The weights of a training state that the outputs, the loss and the metrics read, and those `in_training`."""
    paths = dict.fromkeys(
        [*(op.path for graph in (inference.graph, whole_graph(inference)) for op in stored_operators(graph))]
    )
    return {path: state[path] for path in (*paths, *(path for path in in_training if path not in paths))}
