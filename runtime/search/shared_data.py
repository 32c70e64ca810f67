"""Data shared by the trials of one process: files are read again only if the request differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from compiler.model_spec import DataStage
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.fitted import Fitted
from runtime.data.loading import Requirements, load_examples

_FEW, _MOST_BYTES = 2, 1 << 30  # the last two are always kept: training and validation files


@dataclass(frozen=True)
class _Loaded:
    """Examples, with the notes from when they were read."""

    examples: Examples
    skipped: tuple[str, ...]
    notes: dict[str, list[str]]
    fitted: Fitted | None  # kept alive, since the key contains its identity

    @property
    def size(self) -> int:
        """Bytes in memory, or on the disk."""
        arrays = self.examples.arrays.values()
        return sum(prod(array.shape) * array.dtype.itemsize for array in arrays)


class SharedData:
    """A cached `load_examples`: the same stages for the same inputs and targets are run once."""

    def __init__(self) -> None:
        self._loaded: dict[str, _Loaded] = {}

    def __call__(self, stages: Sequence[DataStage], context: Context, requirements: Requirements) -> Examples:
        """The examples; NablacError as from `load_examples`."""
        key = _key(stages, context, requirements)
        loaded = self._loaded.pop(key, None)
        if loaded is None:
            own = replace(context, skipped=[], notes={})
            examples = load_examples(stages, own, requirements)
            loaded = _Loaded(examples, tuple(own.skipped), own.notes, context.fitted)
        self._loaded[key] = loaded  # as the last used
        while len(self._loaded) > _FEW and sum(kept.size for kept in self._loaded.values()) > _MOST_BYTES:
            del self._loaded[next(iter(self._loaded))]
        context.skipped.extend(loaded.skipped)
        for message, locations in loaded.notes.items():
            context.notes.setdefault(message, []).extend(locations)
        return replace(loaded.examples, parts=dict(loaded.examples.parts))


def _key(stages: Sequence[DataStage], context: Context, requirements: Requirements) -> str:
    """Everything that examples depend on, as a text."""
    described = [(stage.name, sorted(stage.arguments.items())) for stage in stages]
    choices = (context.folder, context.validation, context.test, context.seed, context.skip_broken, context.order)
    types = [(name, str(type)) for name, type in [*requirements.inputs.items(), *requirements.targets.items()]]
    fitted = context.fitted
    # Fitted states are compared by identity: shared examples have the same ones.
    states = (fitted.scalings, fitted.classes, fitted.tokenizer, fitted.tokenizers) if fitted is not None else ()
    known = [id(state) for state in states]
    fixed, measured, weighed = (
        sorted(context.fixed),
        sorted(requirements.measured),
        (requirements.weight, context.masks),
    )
    return repr((described, choices, fixed, len(requirements.inputs), types, measured, weighed, known))
