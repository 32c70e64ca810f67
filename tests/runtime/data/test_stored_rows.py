"""Data on disk gives, bit for bit, what the same data gives in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler.model_spec import EXAMPLE_WEIGHT
from grammar.diagnostics import NablacError
from runtime.data import filling, scaling, stored_rows
from runtime.data.batches import Batches
from runtime.data.context import Context
from runtime.data.examples import Examples, digest
from runtime.data.file_rows import VARIABLE
from runtime.data.loading import Requirements, load_examples
from runtime.data.stored_rows import StoredRows
from tests.models import spec_of
from tests.runtime.data.descriptions import load, refused

Save = Callable[[Path, dict[str, np.ndarray]], None]


def by_columns(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, **{name: np.asfortranarray(array) for name, array in arrays.items()})


ARCHIVES: dict[str, Save] = {
    "stored": lambda path, arrays: np.savez(path, **arrays),
    "compressed": lambda path, arrays: np.savez_compressed(path, **arrays),
    "by columns": by_columns,
}


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on everything is more than memory is to hold, and some rows are read at a time."""
    monkeypatch.setattr(scaling, "_AT_ONCE", 64)  # always as many numbers are added up at a time
    monkeypatch.setattr(filling, "_AT_ONCE", 16)

    def limit() -> None:
        monkeypatch.setenv(VARIABLE, "1")
        monkeypatch.setattr(stored_rows, "_AT_ONCE", 1000)

    return limit


def assert_same(in_memory: Examples, stored: Examples) -> None:
    """Two readings of the same data agree in every bit of every batch, and in all that was fitted."""
    assert all(isinstance(array, StoredRows) for name, array in stored.arrays.items() if name != EXAMPLE_WEIGHT)
    assert not any(isinstance(array, StoredRows) for array in in_memory.arrays.values())
    assert digest(in_memory) == digest(stored)
    assert {name: rows.tolist() for name, rows in in_memory.parts.items()} == {
        name: rows.tolist() for name, rows in stored.parts.items()
    }
    for name, fitted in in_memory.scalings.items():
        assert fitted.offset.tobytes() == stored.scalings[name].offset.tobytes()
        assert fitted.scale.tobytes() == stored.scalings[name].scale.tobytes()
    assert in_memory.scalings.keys() == stored.scalings.keys()
    assert (in_memory.classes, in_memory.columns, in_memory.fills) == (stored.classes, stored.columns, stored.fills)
    for epoch in range(2):
        pairs = zip(
            *(Batches(each, "training", 7, shuffle=True, seed=3).epoch(epoch) for each in (in_memory, stored)),
            strict=True,
        )
        for left, right in pairs:
            assert left.keys() == right.keys()
            for name in left:
                assert left[name].dtype == right[name].dtype
                assert left[name].tobytes() == right[name].tobytes()


@pytest.mark.parametrize("save", ARCHIVES.values(), ids=ARCHIVES)
def test_arrays_of_numpy(tmp_path: Path, save: Save, on_disk: Callable[[], None]) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(5, 2, (531, 4, 3))
    save(tmp_path / "a.npz", {"x": x, "t": generator.normal(size=531) + x[:, 0, 0]})
    data = 'npz("a.npz") -> standardize()', "x: f32[batch, 4, 3]", "t: f32[batch, 1]"
    in_memory = load(tmp_path, *data, validation=0.2)
    on_disk()
    assert_same(in_memory, load(tmp_path, *data, validation=0.2))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.float32, np.float16, bool])
def test_images_and_labels(tmp_path: Path, dtype: type, on_disk: Callable[[], None]) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 2 if dtype is bool else 100, (60, 3, 5, 5)).astype(dtype)
    np.savez(tmp_path / "a.npz", x=images, t=generator.integers(0, 3, 60))
    data = 'npz("a.npz") -> standardize(columns: "x")', "x: f32[batch, 3, 5, 5]", "t: f32[batch, 3]"
    in_memory = load(tmp_path, *data)
    on_disk()
    stored = load(tmp_path, *data)
    assert_same(in_memory, stored)
    np.testing.assert_array_equal(stored.arrays["t"][:].argmax(axis=1), np.load(tmp_path / "a.npz")["t"])


def test_a_single_array_is_the_input_of_a_model_without_targets(tmp_path: Path, on_disk: Callable[[], None]) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 3)))
    spec = spec_of("""
        model M { input x: f32[batch, 3]; output y = x -> Dense(3) }
        train M { loss mse(y, x); data npz("rows.npy") -> standardize() }
    """)
    assert spec.training is not None
    stages = spec.training.data
    wanted = Requirements({"x": spec.graph.inputs["x"].type}, {}, frozenset())
    in_memory = load_examples(stages, Context(tmp_path), wanted)
    on_disk()
    assert_same(in_memory, load_examples(stages, Context(tmp_path), wanted))


REFUSED = {
    "a number that is not finite": (
        {"x": np.where(np.arange(400) == 301, np.nan, 1.0)[:, None], "t": np.zeros(400)},
        "E821 HERE/a.npz: `x` is not finite at example 301: [nan]",
    ),
    "a number beyond the type": (
        {"x": np.where(np.arange(400) == 302, 1e300, 1.0)[:, None], "t": np.zeros(400)},
        "E824 : the model's `x` is f32[batch, 1], and 1e+300 is beyond f32: example 302",
    ),
    "a label that is too large": (
        {"x": np.ones((400, 1)), "t": np.where(np.arange(400) == 303, 7, 1)},
        "E826 : `t` has 2 classes, 0 to 1, and the data holds a label 7: example 303",
    ),
    "texts": (
        {"x": np.full((400, 1), "a"), "t": np.zeros(400)},
        "E824 : the model's `x` is f32[batch, 1], and the array holds texts",
    ),
    "other lengths": (
        {"x": np.ones((400, 1)), "t": np.zeros(401)},
        "E823 HERE/a.npz: arrays must have the same length, one example per index: `x` [400, 1], `t` [401]",
    ),
    "none": ({}, "E823 HERE/a.npz: there are no arrays"),
}


@pytest.mark.parametrize(("arrays", "message"), REFUSED.values(), ids=REFUSED)
def test_mistakes_in_arrays(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str, on_disk: Callable[[], None]
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    data = 'npz("a.npz")', "x: f32[batch, 1]", "t: f32[batch, 2]" if "label" in message else "t: f32[batch]"
    in_memory = refused(tmp_path, data[0], inputs=data[1], target=data[2])
    on_disk()
    assert in_memory == refused(tmp_path, data[0], inputs=data[1], target=data[2]) == message


def test_broken_examples_are_left_out(tmp_path: Path, on_disk: Callable[[], None]) -> None:
    x = np.where(np.arange(400) % 50 == 3, np.inf, np.arange(400.0))[:, None]
    np.savez(tmp_path / "a.npz", x=x, t=np.arange(400.0))
    data = 'npz("a.npz")', "x: f32[batch, 1]", "t: f32[batch]"
    in_memory = load(tmp_path, *data, skip_broken=True)
    on_disk()
    stored = load(tmp_path, *data, skip_broken=True)
    assert len(stored) == 392
    assert_same(in_memory, stored)


def test_an_archive_that_was_damaged(tmp_path: Path, on_disk: Callable[[], None]) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((400, 1)), t=np.zeros(400))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[500] = 1
    (tmp_path / "a.npz").write_bytes(content)
    on_disk()
    message = refused(tmp_path, 'npz("a.npz")', inputs="x: f32[batch, 1]", target="t: f32[batch]")
    assert message.startswith("E821 HERE/a.npz: ")


def test_a_file_that_changes_between_batches(tmp_path: Path, on_disk: Callable[[], None]) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((400, 1)), t=np.zeros(400))
    on_disk()
    examples = load(tmp_path, 'npz("a.npz")', "x: f32[batch, 1]", "t: f32[batch]")
    batches = Batches(examples, "training", 5).epoch(0)
    next(batches)
    os.truncate(path, 1000)
    with pytest.raises(NablacError) as caught:
        list(batches)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E821", "the file changed while it was read")
    assert diagnostic.note is not None and diagnostic.note.endswith("now has 1,000")
