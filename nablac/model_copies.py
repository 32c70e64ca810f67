"""Copies of models: what `pickle` and `copy` keep of one, and how they build it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pickle import PicklingError
from typing import Any, Never

from compiler.model_spec import ModelSource, ModelSpec, SpecSource
from nablac.evaluating import Split
from nablac.model_weights import ModelWeights


class GraphSource(ModelSource):
    """A source that was built in Python: copies of a model share it, and it cannot leave the process."""

    def __init__(self, source: SpecSource) -> None:
        self.source = source

    def spec(self, *, training: bool) -> ModelSpec:
        """The spec of the mode."""
        return self.source.spec(training=training)

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphSource:
        return self

    def __reduce__(self) -> Never:
        message = "a model that was built from a graph, and not compiled from a text, cannot be pickled"
        raise PicklingError(
            f"{message}: write its weights with `model.save(path)`, or all of it with `model.to_onnx(path)`"
        )


def reduced(model: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A model as a function and its arguments: its text, its settings and its weights, but no data of its training."""
    source = model._source
    settings = {"seed": model.seed, "backend": model.backend, "device": model.device, "folder": model._folder}
    split = model._split
    kept = None if split is not None and split.arrays is not None else split
    weights = dict(model._weights) if model._weights is not None else None
    shared = GraphSource(source) if isinstance(source, SpecSource) else source
    return restored, (type(model), shared, model._training, settings, model._trained, weights, kept)


def restored(
    kind: type[Any],
    source: ModelSource,
    training: bool,
    settings: dict[str, Any],
    trained: Any,
    weights: dict[str, Any] | None,
    split: Split | None,
) -> Any:
    """The model that was reduced to these arguments."""
    source = source.source if isinstance(source, GraphSource) else source
    model = kind(source.spec(training=training), source=source, training=training, **settings)
    if trained is not None:
        model._take(replace(trained))
    if weights is not None:
        model._weights = ModelWeights(model.name, weights)
    model._split = split
    return model
