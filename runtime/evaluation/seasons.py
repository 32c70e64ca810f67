"""The length of a season: after how many rows a series is like itself again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array

_LEAST_ROWS = 8
_MOST_LAG = 4000
_LEAST_PEAK, _LEAST_RISE = 0.3, 0.2  # of the correlation: how high a season's peak is, and how far above the trough
_NEARLY = 0.9  # of the highest peak: a shorter season that is as good as that is the season


def season_length(series: Array) -> int | None:
    """After how many rows the numbers of `series: [rows]` repeat, as their autocorrelation shows; None if they do not.

    A linear trend is taken out first. A season is seen three times at the least. Rows that are not finite keep their
    place, and are not part of a sum.
    """
    known = np.flatnonzero(np.isfinite(series))
    if known.size < _LEAST_ROWS:
        return None
    rows = int(known[-1] - known[0]) + 1
    values = series[known].astype(np.float64)
    position = known - known.mean()
    centred = values - values.mean()
    size = float(np.abs(centred).max())
    centred = centred - position * ((position * centred).sum() / (position**2).sum())
    if not float(np.abs(centred).max()) > 1e-9 * size:
        return None  # a straight line, but for rounding
    filled, present = np.zeros(rows), np.zeros(rows)
    filled[known - known[0]], present[known - known[0]] = centred, 1.0
    correlation = _correlation(filled, present, min(rows // 3, _MOST_LAG) + 1)
    peaks: list[tuple[int, float]] = []
    trough = 1.0
    for lag in range(1, len(correlation) - 1):
        here = correlation[lag]
        trough = min(trough, here)
        is_peak = correlation[lag - 1] < here >= correlation[lag + 1]
        if lag >= 2 and is_peak and here >= _LEAST_PEAK and here - trough >= _LEAST_RISE:
            peaks.append((lag, float(here)))
    if not peaks:
        return None
    highest = max(height for _, height in peaks)
    return next(lag for lag, height in peaks if height >= _NEARLY * highest)


def _correlation(centred: Array, present: Array, most: int) -> Array:
    """The autocorrelation at the lags from 0 to `most`: of each lag the mean over the pairs that are `present`."""
    products, pairs = _products(centred, most), np.rint(_products(present, most))
    return np.asarray(products / products[0] * (pairs[0] / np.maximum(pairs, 1)))


def _products(values: Array, most: int) -> Array:
    """The sum of the products of all pairs, by their lag, by the Fourier transform."""
    size = 1 << (2 * values.size - 1).bit_length()
    transformed = np.fft.rfft(values, size)
    return np.asarray(np.fft.irfft(transformed * transformed.conj(), size)[: most + 1])
