"""Scaling: fitted to the training part wherever the stages stand, and of nothing that is not measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grammar.diagnostics import NablacError
from runtime.data.examples import Examples, fitted_to
from runtime.data.fitted import read_fitted
from runtime.data.recipe import Recipe, write_recipe
from runtime.data.scaling import Present, Scale, Table, fit_scaling
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
    examples = load(tmp_path, f'csv("table.csv") -> {stages}', inputs="x: f32[batch, 2]")
    training = examples.arrays["x"][examples.parts["training"]].astype(np.float64)
    assert examples.parts["training"].tolist() == list(range(20))
    np.testing.assert_allclose(training.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(training.std(axis=0), 1, atol=1e-6)


def test_a_split_after_windows_keeps_their_border(tmp_path: Path) -> None:
    series(tmp_path, list(range(50)))
    stages = 'window("value", length: 4) -> split(validation: 0.2, order: "time")'
    examples = load(tmp_path, f'csv("series.csv") -> {stages}')
    foretold = {part: examples.arrays["t"][places].ravel().tolist() for part, places in examples.parts.items()}
    assert max(foretold["training"]) == 39 and min(foretold["validation"]) == 40


def test_windows_that_overlap_are_not_dealt_out_at_random(tmp_path: Path) -> None:
    series(tmp_path, list(range(50)))
    overlapping = 'csv("series.csv") -> window("value", length: 4) -> split(validation: 0.2, order: "random")'
    assert refused(tmp_path, overlapping).startswith("E823 : overlapping windows cannot be split at random")
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
    examples = load(tmp_path, data, inputs="x: f32[batch, 2]", target=target)
    assert sorted(examples.scalings) == scaled
    if "kind" in targets:
        assert examples.classes == {"kind": ("big", "small")}
        labels = examples.arrays["t"] if examples.arrays["t"].ndim == 1 else examples.arrays["t"].argmax(axis=1)
        assert [examples.classes["kind"][label] for label in labels[:3]] == [
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
    examples = load(tmp_path, 'npz("images.npz") -> standardize()', inputs=inputs, target="t: i64[batch]")
    assert examples.scalings["x"].offset.size == shape[0]
    np.testing.assert_allclose(examples.arrays["x"].mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(examples.arrays["x"].std(axis=(0, 2, 3)), 1, atol=1e-5)
    flat = load(tmp_path, 'npz("images.npz") -> standardize()', f"x: f32[batch, {np.prod(shape)}]", "t: i64[batch]")
    np.testing.assert_allclose(flat.arrays["x"], examples.arrays["x"].reshape(20, -1), atol=1e-6)


def test_one_hot_targets_of_arrays_are_left_alone(tmp_path: Path) -> None:
    one_hot = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(12, 2)), t=one_hot)
    examples = load(tmp_path, 'npz("rows.npz") -> standardize()', "x: f32[batch, 2]", "t: f32[batch, 3]")
    np.testing.assert_array_equal(examples.arrays["t"], one_hot)


def test_a_column_to_scale_has_to_be_there(tmp_path: Path) -> None:
    table(tmp_path)
    message = refused(tmp_path, f'csv("table.csv") -> standardize(columns: "aa") -> {COLUMNS}')
    assert message == "E822 : there is no column `aa` to scale"
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f'csv("table.csv") -> standardize(columns: "zzz") -> {COLUMNS}')
    assert caught.value.diagnostics[0].hint == "the choices are a, b, t"


def test_later_data_is_scaled_as_the_training_part_was(tmp_path: Path) -> None:
    table(tmp_path)
    table(tmp_path, "other.csv", shift=50)
    data = f'csv("table.csv") -> standardize() -> {COLUMNS}'
    first = load(tmp_path, data, inputs="x: f32[batch, 2]")
    write_recipe(tmp_path, Recipe(fitted_to(first)))
    kept = read_fitted(tmp_path)
    again = load(tmp_path, data, inputs="x: f32[batch, 2]", fitted=kept)
    np.testing.assert_array_equal(again.arrays["x"], first.arrays["x"])
    other = load(tmp_path, data.replace("table", "other"), inputs="x: f32[batch, 2]", fitted=kept)
    np.testing.assert_allclose(other.arrays["x"][:, 0].mean(), 50 / first.scalings["x"].scale[0], rtol=1e-5)


def test_a_folder_that_is_of_no_run_keeps_nothing(tmp_path: Path) -> None:
    assert read_fitted(tmp_path) is None
    write_recipe(tmp_path, Recipe(fitted_to(Examples({}))))
    kept = read_fitted(tmp_path)
    assert kept is not None and not kept.scalings and kept.tokenizer is None


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"scalings": {"x": 3}, "classes": {}}'])
def test_what_a_run_keeps_and_cannot_be_read_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(NablacError) as caught:
        read_fitted(tmp_path)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E827", f"{tmp_path}/data.json is not a run's record of its data")


# Fitted by hand: offset and scale of a column, whatever its size
FITS: dict[str, tuple[str, Any, float, float]] = {
    "a constant whose mean rounds": ("standardize()", [14.62] * 60, 14.62, 1),
    "a constant but for its last bit": ("standardize()", [0.3, 0.1 + 0.2] * 20, 0.3, 1),
    "a constant of f32 but for its last bit": (
        "standardize()",
        np.array([14.62, np.nextafter(np.float32(14.62), np.float32(15))] * 20, np.float32),
        14.62,
        1,
    ),
    "zeros": ("standardize()", [0.0] * 5, 0, 1),
    "small numbers": ("standardize()", [1e-30, 3e-30] * 5, 2e-30, 1e-30),
    "numbers near the largest": ("standardize()", [1e300, -1e300] * 5, 0, 1e300),
    "numbers beside a large one": ("standardize()", [1e9, 1e9 + 2] * 50, 1e9 + 1, 1),
    "whole numbers that no float tells apart": (
        "standardize()",
        np.array([2**60, 2**60 + 512] * 5),
        2**60 + 256,
        256,
    ),
    "bytes": ("standardize()", np.array([5, 3] * 10, np.uint8), 4, 1),
    "signed bytes": ("min_max()", np.array([127, -128] * 10, np.int8), -128, 255),
    "the widest whole numbers": ("min_max()", np.array([2**62, -(2**62)] * 10), -(2**62), 2**63),
    "flags": ("standardize()", np.array([True, False] * 10), 0.5, 0.5),
    "a constant to a range": ("min_max(low: 1, high: 3)", [7.0] * 5, 6, 1),
    "a range": ("min_max(low: -1)", [10.0, 14.0] * 5, 12, 2),
}


@pytest.mark.parametrize("name", FITS)
def test_a_column_is_scaled_by_what_it_varies(name: str) -> None:
    stage, numbers, offset, scale = FITS[name]
    table = np.array(numbers)[:, None]
    kind, _, rest = stage.rstrip(")").partition("(")
    arguments = {"low": 0.0, "high": 1.0} | {
        key: float(value) for key, value in (part.split(":") for part in rest.replace(" ", "").split(",") if part)
    }
    found = fit_scaling(table, [Scale(kind, arguments["low"], arguments["high"], (), None)])  # type: ignore[arg-type]
    assert found is not None
    np.testing.assert_allclose([found.offset.item(), found.scale.item()], [offset, scale], rtol=1e-6)


TIMES = [1_600_000_000 + second for second in range(20)]


def times(folder: Path) -> str:
    (folder / "table.csv").write_text("time,t\n" + "".join(f"{time},{n}\n" for n, time in enumerate(TIMES)))
    return 'csv("table.csv") -> columns(inputs: ["time"], targets: ["t"]) -> standardize()'


def test_numbers_that_the_models_type_does_not_tell_apart_are_refused(tmp_path: Path) -> None:
    data = times(tmp_path)
    with pytest.raises(NablacError) as caught:
        load(tmp_path, data, inputs="x: f32[batch, 1]")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (
        "E847",
        "column `time` reaches 1600000019 and varies by 5.77: too little for the f32 of `x`",
    )
    assert diagnostic.note == "numbers of f32 are 128 apart there, and the compiled model works in raw numbers"
    assert diagnostic.hint is not None and diagnostic.hint.startswith(
        "declare `x: f64[batch, 1]` and go on with `cast(x, f32)`"
    )
    exact = load(tmp_path, data, inputs="x: f64[batch, 1]").arrays["x"]
    np.testing.assert_allclose(exact[:, 0], (np.arange(20) - 9.5) / np.arange(20).std(), rtol=1e-9)
    swapped = data.replace('"time"', '"T"').replace('"t"', '"time"').replace('"T"', '"t"')
    assert refused(tmp_path, swapped, inputs="x: f32[batch, 1]").endswith("too little for the f32 of `t`")


def test_large_numbers_that_vary_by_their_last_bit_are_only_moved(tmp_path: Path) -> None:
    million = np.float32(1e6)
    near = np.array([million, np.nextafter(million, np.float32(2e6))] * 10, np.float32)
    np.savez(tmp_path / "near.npz", x=near[:, None], t=np.arange(20.0)[:, None])
    examples = load(tmp_path, 'npz("near.npz") -> standardize()', inputs="x: f32[batch, 1]")
    assert np.abs(examples.arrays["x"]).max() < 0.1 and examples.scalings["x"].scale == 1


def test_large_numbers_that_do_not_vary_are_only_moved(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("time,t\n" + "".join(f"1600000000,{n}\n" for n in range(20)))
    data = 'csv("table.csv") -> columns(inputs: ["time"], targets: ["t"]) -> standardize()'
    assert not load(tmp_path, data, inputs="x: f32[batch, 1]").arrays["x"].any()


def test_whole_numbers_that_no_float_tells_apart_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "ids.npz", x=2**60 + np.arange(20)[:, None], t=np.arange(20.0)[:, None])
    message = refused(tmp_path, 'npz("ids.npz") -> standardize()', inputs="x: f64[batch, 1]")
    assert message == ("E847 : `x` reaches 1.152921505e+18 and varies by 5.77: too little for the f64 of `x`")


def test_numbers_beyond_the_models_type_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "far.npz", x=1e39 * np.arange(20)[:, None], t=np.arange(20.0)[:, None])
    message = refused(tmp_path, 'npz("far.npz") -> standardize()', inputs="x: f32[batch, 1]")
    assert message == "E847 : `x` reaches 1.9e+40, and the f32 of `x` holds 3.4e+38"


def test_a_column_that_no_stage_scales_may_be_large(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("id,a,t\n" + "".join(f"{10_000_000 + n},{n},{n}\n" for n in range(20)))
    data = 'csv("table.csv") -> columns(inputs: ["id", "a"], targets: ["t"]) -> standardize(columns: ["a"])'
    assert load(tmp_path, data, inputs="x: f32[batch, 2]").arrays["x"][19, 0] == 10_000_019


def test_pixels_and_flags_are_scaled_as_floats_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 4), np.uint8)
    np.savez(tmp_path / "images.npz", x=pixels, t=np.arange(20) % 3)
    inputs = "x: f32[batch, 3, 4, 4]"
    examples = load(tmp_path, 'npz("images.npz") -> standardize()', inputs=inputs, target="t: i64[batch]").arrays["x"]
    floats = pixels.astype(np.float64)
    expected = (floats - floats.mean(axis=(0, 2, 3), keepdims=True)) / floats.std(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(examples, expected, rtol=1e-5, atol=1e-5)
    np.savez(tmp_path / "flags.npz", x=(pixels[:, 0, 0] > 100), t=np.arange(20) % 3)
    flags = load(tmp_path, 'npz("flags.npz") -> min_max(low: -1)', inputs="x: f32[batch, 4]", target="t: i64[batch]")
    np.testing.assert_array_equal(np.unique(flags.arrays["x"]), [-1, 1])


CONSTANT = [
    ("an input", 'columns(inputs: ["a", "b"], targets: "t")', "x: f32[batch, 2]", "t: f32[batch, 1]", "`a`"),
    ("a target too", 'columns(inputs: ["a", "b"], targets: "a")', "x: f32[batch, 2]", "t: f32[batch, 1]", "`a`"),
    ("windows", 'window(["a", "b"], length: 2, target: "t")', "x: f32[batch, 2, 2]", "t: f32[batch, 1]", "`a`"),
    ("one class", 'columns(inputs: ["b"], targets: "k")', "x: f32[batch, 1]", "t: i64[batch]", "`k`"),
    ("all vary", 'columns(inputs: ["b"], targets: "t")', "x: f32[batch, 1]", "t: f32[batch, 1]", ""),
]


@pytest.mark.parametrize(("data", "x", "t", "names"), [case[1:] for case in CONSTANT], ids=[c[0] for c in CONSTANT])
@pytest.mark.parametrize("in_memory", ["1GiB", "8B"])
def test_columns_of_one_value_are_noted(
    data: str, x: str, t: str, names: str, in_memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NABLAC_IN_MEMORY", in_memory)
    rows = "".join(f"7,{row % 5}.5,{row}.25,same\n" for row in range(20))
    (tmp_path / "s.csv").write_text("a,b,t,k\n" + rows)
    notes: dict[str, list[str]] = {}
    load(tmp_path, f'csv("s.csv") -> standardize() -> {data}', x, t, validation=0.25, notes=notes)
    noted = [message for message in notes if "one value" in message]
    expected = f"1 column has one value in all examples for training, so nothing is learnt: {names}"
    assert noted == ([expected] if names else [])


def test_a_column_with_gaps_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass each for its number, its extremes, its first number, its mean and its deviation."""
    passes: list[int] = []
    blocks = Table.blocks

    def counted(table: Table) -> Iterator[np.ndarray]:
        passes.append(1)
        return blocks(table)

    monkeypatch.setattr(Table, "blocks", counted)
    numbers = np.array([[1.0], [np.nan], [4.0], [7.0]])
    scaling = Scale("standardize", 0, 0, (), None).fit(Present(Table(numbers, None), 0), 0.0)  # type: ignore[arg-type]
    np.testing.assert_allclose(scaling, ([4.0], [np.std([1, 4, 7])]))
    assert len(passes) == 5
