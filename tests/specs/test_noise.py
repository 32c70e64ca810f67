"""Dropout and noise: there in training alone, of the stated strength, and drawn from the seed."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.numpy_executor import run
from tests.models import elaborate
from tests.specs.parity import Array, session_of

IMAGES = np.abs(np.random.default_rng(0).standard_normal((50, 20, 6, 7))).astype(np.float32) + 1


def noisy(text: str, x: Array = IMAGES, seed: int = 0, training: bool = True) -> Array:
    shape = ", ".join(["batch", *map(str, x.shape[1:])])
    model = f"model M() {{\n    input x: [{shape}]\n    output {text}\n}}\n"
    graph = elaborate(model, training=training, dtype=DType.of(x))
    (found,) = run(graph, {"x": x} | ({"seed": np.asarray(seed, np.int64)} if "seed" in graph.inputs else {})).values()
    return found


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_a_share_and_scales_it_up(rate: float) -> None:
    found = noisy(f"x -> Dropout({rate})") / IMAGES
    kept = found > 0
    assert abs(kept.mean() - (1 - rate)) < 0.01
    np.testing.assert_allclose(found[kept], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("text", ["x -> Dropout(0.5)", "x -> SpatialDropout2D(0.5)", "x -> GaussianNoise(1.0)"])
def test_outside_training_nothing_happens(text: str) -> None:
    np.testing.assert_array_equal(noisy(text, training=False), IMAGES)


def test_a_rate_of_zero_draws_nothing() -> None:
    np.testing.assert_array_equal(noisy("x -> Dropout(0)"), IMAGES)


def test_spatial_dropout_drops_whole_channels() -> None:
    kept = (noisy("x -> SpatialDropout2D(0.3)") > 0).reshape(50, 20, -1)
    assert (kept.all(-1) | ~kept.any(-1)).all()
    assert abs(kept[..., 0].mean() - 0.7) < 0.05


def test_gaussian_noise_has_its_deviation() -> None:
    noise = noisy("x -> GaussianNoise(0.3)") - IMAGES
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 0.3) < 0.01


def test_one_seed_gives_one_result() -> None:
    first, again, other = (noisy("x -> Dropout(0.5)", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_two_layers_drop_different_places() -> None:
    both = noisy("(x -> Dropout(0.5)) + (x -> Dropout(0.5))") / IMAGES
    shares = [(np.abs(both - level) < 1e-5).mean() for level in (0, 2, 4)]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.01)


def test_the_draws_of_onnxruntime_are_those_of_numpy() -> None:
    text = "model M() {\n    input x: [batch, 20, 6, 7]\n    output x -> Dropout(0.5)\n}\n"
    graph = elaborate(text, training=True)
    feeds = {"x": IMAGES, "seed": np.asarray(3, np.int64)}
    (found,) = session_of(graph).run(feeds).values()
    np.testing.assert_array_equal(found, run(graph, feeds)["output"])


@pytest.mark.parametrize("rate", ["1", "-0.1", "1.5"])
def test_a_rate_that_leaves_nothing_is_refused(rate: str) -> None:
    with pytest.raises(NablacError) as caught:
        noisy(f"x -> Dropout({rate})")
    assert f"rate = {rate} must be at least 0 and below 1" in str(caught.value)
