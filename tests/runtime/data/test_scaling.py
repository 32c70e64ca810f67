"""Scaling: fitted to the training part wherever the stages stand, and of nothing that is not measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grammar.diagnostics import NablacError
from runtime.data.examples import Examples
from runtime.data.fitted import fitted_to, read_fitted, write_fitted
from tests.runtime.data.descriptions import load, refused, series


def table(folder: Path, name: str = "table.csv", shift: float = 0.0) -> None:
    """Columns a and b of numbers, t that depends on them, and a kind of each row."""
    generator = np.random.default_rng(3)
    rows = [f"{a + shift},{10 * b},{a + b},{'big' if a > 0 else 'small'}" for a, b in generator.normal(size=(40, 2))]
    (folder / name).write_text("a,b,t,kind\n" + "\n".join(rows) + "\n")


COLUMNS = 'columns(inputs: ["a", "b"], targets: "t")'
SPLIT = 'split(validation: 0.5, order: "time")'


@pytest.mark.parametrize(
    "stages",
    [
        f"standardize() -> {COLUMNS} -> {SPLIT}",
        f"{COLUMNS} -> standardize() -> {SPLIT}",
        f"{COLUMNS} -> {SPLIT} -> standardize()",
        f"{SPLIT} -> standardize() -> {COLUMNS}",
    ],
)
def test_a_split_is_known_to_scaling_wherever_it_stands(tmp_path: Path, stages: str) -> None:
    table(tmp_path)
    found = load(tmp_path, f'csv("table.csv") -> {stages}', inputs="x: f32[batch, 2]")
    training = found.arrays["x"][found.parts["training"]].astype(np.float64)
    assert found.parts["training"].tolist() == list(range(20))
    np.testing.assert_allclose(training.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(training.std(axis=0), 1, atol=1e-6)


def test_a_split_after_windows_keeps_their_border(tmp_path: Path) -> None:
    series(tmp_path, list(range(50)))
    stages = 'window("value", length: 4) -> split(validation: 0.2, order: "time")'
    found = load(tmp_path, f'csv("series.csv") -> {stages}')
    foretold = {part: found.arrays["t"][places].ravel().tolist() for part, places in found.parts.items()}
    assert max(foretold["training"]) == 39 and min(foretold["validation"]) == 40


def test_windows_that_overlap_are_not_dealt_out_at_random(tmp_path: Path) -> None:
    series(tmp_path, list(range(50)))
    overlapping = 'csv("series.csv") -> window("value", length: 4) -> split(validation: 0.2, order: "random")'
    assert refused(tmp_path, overlapping).startswith("E823 : windows that overlap cannot be dealt out at random")
    apart = overlapping.replace("length: 4", "length: 4, stride: 5")
    assert len(load(tmp_path, apart).parts["validation"]) == 2


CASES = {
    "whole-number targets stay": ("standardize()", 'targets: "t"', "t: i64[batch]", ["x"]),
    "measured targets are scaled": ("standardize()", 'targets: "t"', "t: f32[batch, 1]", ["t", "x"]),
    "only the columns asked for": ('standardize(columns: "t")', 'targets: "t"', "t: f32[batch, 1]", ["t"]),
    "texts are classes": ("standardize()", 'targets: "kind"', "t: i64[batch]", ["x"]),
    "one-hot classes stay": ("min_max(low: -1)", 'targets: "kind"', "t: f32[batch, 2]", ["x"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_scaled(tmp_path: Path, name: str) -> None:
    scale, targets, target, scaled = CASES[name]
    table(tmp_path)
    if target == "t: i64[batch]" and "kind" not in targets:
        text = (tmp_path / "table.csv").read_text().splitlines()
        rows = [",".join([*line.split(",")[:2], str(n % 3), "x"]) for n, line in enumerate(text[1:])]
        (tmp_path / "table.csv").write_text("\n".join([text[0], *rows]))
    data = f'csv("table.csv") -> {scale} -> columns(inputs: ["a", "b"], {targets})'
    found = load(tmp_path, data, inputs="x: f32[batch, 2]", target=target)
    assert sorted(found.scalings) == scaled
    if "kind" in targets:
        assert found.classes == {"kind": ("big", "small")}
        labels = found.arrays["t"] if found.arrays["t"].ndim == 1 else found.arrays["t"].argmax(axis=1)
        assert [found.classes["kind"][label] for label in labels[:3]] == [
            line.split(",")[3] for line in (tmp_path / "table.csv").read_text().splitlines()[1:4]
        ]


def test_a_target_that_the_loss_takes_no_difference_of_is_scaled_only_where_it_is_named(tmp_path: Path) -> None:
    table(tmp_path)
    data = f'csv("table.csv") -> standardize() -> {COLUMNS}'
    assert "t" not in load(tmp_path, data, inputs="x: f32[batch, 2]", measured=False).scalings
    named = data.replace("standardize()", 'standardize(columns: ["t"])')
    assert "t" in load(tmp_path, named, inputs="x: f32[batch, 2]", measured=False).scalings


def test_each_column_follows_the_last_scaling_that_names_it(tmp_path: Path) -> None:
    table(tmp_path)
    data = f'csv("table.csv") -> standardize() -> min_max(columns: "b") -> {COLUMNS}'
    x = load(tmp_path, data, inputs="x: f32[batch, 2]").arrays["x"]
    np.testing.assert_allclose(x[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose([x[:, 1].min(), x[:, 1].max()], [0, 1], atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4)])
def test_images_are_scaled_by_channel(tmp_path: Path, shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    image = generator.normal(np.arange(shape[0])[:, None, None], 1, (20, *shape)).astype(np.float32)
    np.savez(tmp_path / "images.npz", x=image, t=np.arange(20) % 3)
    inputs = f"x: f32[batch, {', '.join(map(str, shape))}]"
    found = load(tmp_path, 'npz("images.npz") -> standardize()', inputs=inputs, target="t: i64[batch]")
    assert found.scalings["x"].offset.size == shape[0]
    np.testing.assert_allclose(found.arrays["x"].mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.arrays["x"].std(axis=(0, 2, 3)), 1, atol=1e-5)
    flat = load(tmp_path, 'npz("images.npz") -> standardize()', f"x: f32[batch, {np.prod(shape)}]", "t: i64[batch]")
    np.testing.assert_allclose(flat.arrays["x"], found.arrays["x"].reshape(20, -1), atol=1e-6)


def test_one_hot_targets_of_arrays_are_left_alone(tmp_path: Path) -> None:
    one_hot = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(12, 2)), t=one_hot)
    found = load(tmp_path, 'npz("rows.npz") -> standardize()', "x: f32[batch, 2]", "t: f32[batch, 3]")
    np.testing.assert_array_equal(found.arrays["t"], one_hot)


def test_a_column_to_scale_has_to_be_there(tmp_path: Path) -> None:
    table(tmp_path)
    message = refused(tmp_path, f'csv("table.csv") -> standardize(columns: "aa") -> {COLUMNS}')
    assert message == "E822 : there is no column `aa` to scale"
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f'csv("table.csv") -> standardize(columns: "zzz") -> {COLUMNS}')
    assert caught.value.diagnostics[0].hint == "there are a, b, t"


def test_later_data_is_scaled_as_the_training_part_was(tmp_path: Path) -> None:
    table(tmp_path)
    table(tmp_path, "other.csv", shift=50)
    data = f'csv("table.csv") -> standardize() -> {COLUMNS}'
    first = load(tmp_path, data, inputs="x: f32[batch, 2]")
    write_fitted(tmp_path, fitted_to(first))
    kept = read_fitted(tmp_path)
    again = load(tmp_path, data, inputs="x: f32[batch, 2]", fitted=kept)
    np.testing.assert_array_equal(again.arrays["x"], first.arrays["x"])
    other = load(tmp_path, data.replace("table", "other"), inputs="x: f32[batch, 2]", fitted=kept)
    np.testing.assert_allclose(other.arrays["x"][:, 0].mean(), 50 / first.scalings["x"].scale[0], rtol=1e-5)


def test_a_folder_that_is_of_no_run_keeps_nothing(tmp_path: Path) -> None:
    assert read_fitted(tmp_path) is None
    write_fitted(tmp_path, fitted_to(Examples({})))
    kept = read_fitted(tmp_path)
    assert kept is not None and not kept.scalings and kept.tokenizer is None


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"scalings": {"x": 3}, "classes": {}}'])
def test_what_a_run_keeps_and_cannot_be_read_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(NablacError) as caught:
        read_fitted(tmp_path)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("E827", f"{tmp_path}/data.json is not what a run keeps of its data")
