"""Changes of training batches: what they keep, what they change, and that a seed decides."""

from __future__ import annotations

import numpy as np
import pytest

from grammar.diagnostics import NablacError
from runtime.data.augmentation import CHANGES, augment
from runtime.data.examples import Examples

IMAGES = np.random.default_rng(0).random((6, 2, 8, 8)).astype(np.float32)
SERIES = np.cumsum(np.random.default_rng(1).normal(size=(6, 20, 2)), axis=1).astype(np.float32)
AMOUNTS = {
    "flip": 1,
    "crop": 2,
    "rotate": 20,
    "shift": 2,
    "noise": 0.1,
    "cutout": 4,
    "jitter": 0.1,
    "scaling": 0.2,
    "warp": 0.3,
}


def examples(**augmentations: float) -> Examples:
    return Examples({}, ("x",), ("t",), augmentations=augmentations)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seeded_and_keeps_shape_and_dtype(name: str) -> None:
    x = SERIES if name in ("jitter", "scaling", "warp") else IMAGES
    batch = {"x": x, "t": np.zeros(6, np.int64)}
    first, again, other = (
        augment(batch, examples(**{name: AMOUNTS[name]}), np.random.default_rng(seed))["x"] for seed in (1, 1, 2)
    )
    assert first.shape == x.shape and first.dtype == x.dtype
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other) and not np.array_equal(first, x)


def change(name: str, x: np.ndarray, amount: float, seed: int = 0) -> np.ndarray:
    made: np.ndarray = CHANGES[name][1](x, amount, np.random.default_rng(seed))
    return made


def test_flip_mirrors_or_leaves() -> None:
    made = change("flip", IMAGES, 1)
    for before, after in zip(IMAGES, made, strict=True):
        assert np.array_equal(after, before) or np.array_equal(after, before[..., ::-1])


def test_rotation_by_nothing_and_of_a_disc() -> None:
    np.testing.assert_allclose(change("rotate", IMAGES, 0.0), IMAGES, atol=1e-6)
    rows, columns = np.mgrid[0:33, 0:33] - 16
    disc = np.exp(-(rows**2 + columns**2) / 50)[None, None].repeat(4, axis=0)
    np.testing.assert_allclose(change("rotate", disc, 90.0), disc, atol=0.02)


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (2, 2), (2, 2)))
    for number, made in enumerate(change("crop", IMAGES, 2)):
        windows = [padded[number, :, top : top + 8, left : left + 8] for top in range(5) for left in range(5)]
        assert any(np.array_equal(made, each) for each in windows)


def test_cutout_leaves_the_rest() -> None:
    made = change("cutout", IMAGES + 1, 4)
    assert ((made == IMAGES + 1) | (made == 0)).all()
    assert ((made == 0).sum(axis=(2, 3)) <= 16).all() and (made == 0).any()


def test_a_warped_series_keeps_its_ends_and_range() -> None:
    made = change("warp", SERIES, 0.5)
    np.testing.assert_allclose(made[:, [0, -1]], SERIES[:, [0, -1]], atol=1e-6)
    assert made.max() <= SERIES.max() + 1e-6 and made.min() >= SERIES.min() - 1e-6


def test_mixup_mixes_inputs_and_targets_alike() -> None:
    batch = {"x": np.eye(6, dtype=np.float32)[:, :, None], "t": np.eye(6, dtype=np.float32)}
    made = augment(batch, examples(mixup=0.4), np.random.default_rng(0))
    np.testing.assert_allclose(made["x"][:, :, 0], made["t"], rtol=1e-6)
    np.testing.assert_allclose(made["t"].sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "batch", "message"),
    [
        (
            "flip",
            {"x": SERIES, "t": SERIES},
            "`flip` changes images [batch, channels, height, width], and `x` has 3 axes",
        ),
        ("warp", {"x": IMAGES, "t": IMAGES}, "`warp` changes series [batch, time, ...], and `x` has 4 axes"),
        ("mixup", {"x": IMAGES, "t": np.zeros(6, int)}, "`mixup` mixes float targets, and these are whole numbers"),
        ("noise", {"x": np.zeros(6, int), "t": IMAGES}, "only float inputs can be augmented, and the model has none"),
    ],
)
def test_what_does_not_suit_is_refused(name: str, batch: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(NablacError) as caught:
        augment(batch, examples(**{name: 0.5}), np.random.default_rng(0))
    assert caught.value.diagnostics[0].message == message
