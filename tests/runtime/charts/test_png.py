"""PNG files are what Pillow reads them as."""

from __future__ import annotations

import io

import numpy as np
import pytest

from runtime.charts.png import png


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pillow_reads_the_same_pixels(channels: int) -> None:
    image_module = pytest.importorskip("PIL.Image")
    levels = np.random.default_rng(channels).integers(0, 256, (channels, 5, 7))
    opened = image_module.open(io.BytesIO(png(levels / 255)))
    assert opened.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    np.testing.assert_array_equal(np.asarray(opened).reshape(5, 7, channels), levels.transpose(1, 2, 0))


def test_values_outside_are_cut_off() -> None:
    image_module = pytest.importorskip("PIL.Image")
    opened = image_module.open(io.BytesIO(png(np.array([[[-1.0, 0.5, 2.0, np.nan, np.inf]]]))))
    assert np.asarray(opened).tolist() == [[0, 128, 255, 0, 255]]


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (3, 0, 7), (5, 7, 3)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not an image of 1, 3 or 4 channels"):
        png(np.zeros(shape))
