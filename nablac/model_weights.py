"""The weights of a model as Python sees them: a dict that takes only arrays that fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.conversion import CannotConvert, convert, kind_of, name_of
from runtime.foreign_arrays import from_torch

if TYPE_CHECKING:
    from compiler.types import Array


class ModelWeights(dict[str, "Array"]):
    """The weights of a model by path: it refuses other paths, shapes and kinds of numbers, and rounds floats.

    An array that has the dtype already is kept as it is, so that later changes of it in place count.
    """

    def __init__(self, model: str, weights: Mapping[str, Array]) -> None:
        super().__init__(weights)
        self._model = model

    def __setitem__(self, path: str, value: Any) -> None:
        super().__setitem__(path, self._fitting(path, value))

    def update(self, *others: Any, **named: Any) -> None:
        """Take several arrays, all or none of them."""
        fitting = {path: self._fitting(path, value) for path, value in dict(*others, **named).items()}
        super().update(fitting)

    def __ior__(self, others: Any) -> ModelWeights:  # type: ignore[override,misc]
        self.update(others)
        return self

    def setdefault(self, path: str, default: Any = None) -> Array:
        """The array of a path; NablacError if there is none, since no other may be added."""
        if path not in self:
            raise self._unknown(path)
        return self[path]

    def _fitting(self, path: str, value: Any) -> Array:
        """The array to keep for a value; NablacError if it does not fit."""
        current = self.get(path)
        if current is None:
            raise self._unknown(path)
        try:
            array = np.asarray(from_torch(value))
        except Exception as error:  # an object's own conversion may raise anything
            raise self._refusal(codes.E704, path, f"`{path}` is not an array: {error}") from None
        model = f"{name_of(current.dtype)}{list(current.shape)}"
        if array.shape != current.shape:
            hint = f"turn it: `array.T` is {model}" if array.shape[::-1] == current.shape else None
            message = (
                f"`{path}` is {model} in {self._model}, and the array is {name_of(array.dtype)}{list(array.shape)}"
            )
            raise self._refusal(codes.E703, path, message, hint)
        kinds = kind_of(array.dtype), kind_of(current.dtype)
        try:
            if kinds[0] != kinds[1] and not (kinds == ("int", "float") and isinstance(value, (list, tuple, int))):
                hint = f"convert it: `array.astype({current.dtype.name!r})`" if kinds[0] else None
                raise CannotConvert(f"the array is {name_of(array.dtype)}", hint=hint)
            return convert(array, current.dtype)
        except CannotConvert as error:
            message = f"`{path}` is {model} in {self._model}, and {error.reason}"
            raise self._refusal(codes.E704, path, message, error.hint) from None

    def _unknown(self, path: str) -> NablacError:
        hint = did_you_mean(path, self) or f"its weights are {', '.join(f'`{own}`' for own in list(self)[:8])}"
        return self._refusal(codes.E702, path, f"{self._model} has no weight `{path}`", hint)

    def _refusal(self, code: codes.Code, path: str, message: str, hint: str | None = None) -> NablacError:
        return NablacError(Diagnostic(code, message, place=f"weights[{path!r}]", hint=hint))

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelWeights, (self._model, dict(self))  # not item by item, as dicts are copied
