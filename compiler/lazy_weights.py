"""Weights that are computed when they are read, so that a file can be written with one of them in memory at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


class LazyWeights(Mapping[str, "Array"]):
    """Weights by path, each computed anew whenever it is read, and not kept."""

    @abstractmethod
    def shape(self, path: str) -> tuple[int, ...]:
        """The shape of a weight, which is not computed for that."""


def shape_of(weights: Mapping[str, Array], path: str) -> tuple[int, ...]:
    """The shape of a weight."""
    return weights.shape(path) if isinstance(weights, LazyWeights) else np.shape(weights[path])
