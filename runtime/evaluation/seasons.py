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

    A linear trend is taken out first. A season is seen three times at the least.
    """
    values = series[np.isfinite(series)].astype(np.float64)
    if values.size < _LEAST_ROWS:
        return None
    position = np.arange(values.size) - (values.size - 1) / 2
    centred = values - values.mean()
    size = float(np.abs(centred).max())
    centred = centred - position * ((position * centred).sum() / (position**2).sum())
    if not float(np.abs(centred).max()) > 1e-9 * size:
        return None  # a straight line, but for rounding
    correlation = _correlation(centred, min(values.size // 3, _MOST_LAG) + 1)
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


def _correlation(centred: Array, most: int) -> Array:
    """The autocorrelation at the lags from 0 to `most`, by the Fourier transform."""
    size = 1 << (2 * centred.size - 1).bit_length()
    transformed = np.fft.rfft(centred, size)
    products = np.fft.irfft(transformed * transformed.conj(), size)[: most + 1]
    counted = centred.size - np.arange(len(products))
    return np.asarray(products / products[0] * (centred.size / counted))  # of fewer pairs the farther they are apart
