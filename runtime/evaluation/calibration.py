"""Whether probabilities are what they say: of those of 70%, seven in ten should be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runtime.charts.points import CalibrationBin

if TYPE_CHECKING:
    from compiler.types import Array

BINS = 10


def calibration_bins(confidence: Array, right: Array, bins: int = BINS) -> list[CalibrationBin]:
    """Predictions by how sure they are, in `bins` intervals of one width (lower end excluded); those that hold some."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    filled: list[CalibrationBin] = []
    for number in range(bins):
        here = index == number
        if here.any():
            filled.append(CalibrationBin(float(confidence[here].mean()), float(right[here].mean()), int(here.sum())))
    return filled


def calibration_error(bins: list[CalibrationBin]) -> float | None:
    """The expected calibration error: how far shares are from confidences, weighted by counts (Naeini et al. 2015)."""
    total = sum(group.count for group in bins)
    if not total:
        return None
    return sum(abs(group.confidence - group.share_right) * group.count for group in bins) / total
