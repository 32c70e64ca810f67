"""The data of a run: other files like the training part, raw units by what the loss compares, labels in range."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.data.arrays import from_arrays
from runtime.data.examples import fitted_to
from runtime.data.fitted import read_fitted, write_fitted
from runtime.input_files import Reading, read_inputs
from runtime.metadata import COLUMNS, column_names, read_entry
from runtime.numpy_executor import NumpyRunner
from runtime.training.folder import RunFolder
from runtime.training.run_options import Options
from runtime.training.trained import CLASSES
from runtime.training.training_run import Training
from runtime.training.unit_notes import unit_notes

Array = Any

MODEL = """
model M {
    input x: [batch, 2]
    y = x -> Dense(WIDTH)
    OTHERS
    output OUTPUTS
}
train M {
    target TARGETS
    loss LOSS
    epochs 1
    SETTINGS
    data DATA
}
"""


def training(folder: Path, data: str, settings: str = "", options: Options | None = None, **parts: str) -> Training:
    """A run of a model of two inputs, its file in `folder`."""
    given = {"WIDTH": "1", "OTHERS": "", "OUTPUTS": "y", "TARGETS": "t: [batch, 1]", "LOSS": "mse(y, t)", **parts}
    text = MODEL
    for name, value in {**given, "SETTINGS": settings, "DATA": data}.items():
        text = text.replace(name, value)
    return Training(TextSource(program_of(Source(str(folder / "m.model"), text))), options=options or Options())


def rows(folder: Path, name: str, count: int = 20, shift: float = 0.0, kinds: tuple[str, ...] = ()) -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(2, count))
    lines = [
        f"{a[n] + shift},{b[n]},{100 + 10 * a[n]},{kinds[n % len(kinds)] if kinds else n % 3}" for n in range(count)
    ]
    (folder / name).write_text("a,b,t,kind\n" + "\n".join(lines) + "\n")


TABLE = 'csv("train.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: "t")'
KINDS = TABLE.replace('targets: "t"', 'targets: "kind"')


def test_a_target_that_is_an_input_too_is_said(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    made = training(tmp_path, TABLE.replace('"b"]', '"t"]'), 'validation "train.csv"')
    assert made.data.columns["x"] == ("a", "t")
    assert [(what, len(places)) for what, places in made.context.notes.items()] == [
        ("column `t` is a target and an input too", 1)
    ]


def test_other_files_are_scaled_as_the_training_part(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    rows(tmp_path, "shifted.csv", shift=50)
    made = training(tmp_path, TABLE, 'validation "train.csv"\n test "shifted.csv"').data
    x, scale = made.arrays["x"], made.scalings["x"].scale[0]
    np.testing.assert_array_equal(x[made.parts["validation"]], x[made.parts["training"]])
    np.testing.assert_allclose(x[made.parts["test"]][:, 0] - x[made.parts["training"]][:, 0], 50 / scale, rtol=1e-5)


def test_a_compiled_model_takes_its_columns_by_their_names(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    made = training(tmp_path, TABLE)
    columns = read_entry(made.metadata(), COLUMNS, {}, column_names)
    assert columns == fitted_to(made.data).columns == {"x": ("a", "b")}
    write_fitted(tmp_path, fitted_to(made.data))
    kept = read_fitted(tmp_path)
    assert kept is not None and kept.columns == columns
    header, *lines = (tmp_path / "train.csv").read_text().splitlines()
    names = header.split(",")
    turned = [",".join(line.split(",")[names.index(name)] for name in ("t", "b", "a")) for line in lines]
    (tmp_path / "turned.csv").write_text("\n".join(["t,b,a", *turned]))
    types = {"x": TensorType(DType.F32, (Dim.named("batch"), 2))}
    found = [
        read_inputs([f"{tmp_path}/{name}"], types, Reading(columns=columns))["x"]
        for name in ("train.csv", "turned.csv")
    ]
    np.testing.assert_array_equal(*found)


def test_the_classes_of_another_file_are_those_of_the_training_part(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv", kinds=("cat", "dog"))
    rows(tmp_path, "dogs.csv", kinds=("dog",))
    given = {"TARGETS": "t: i64[batch]", "LOSS": "cross_entropy(y, t)", "WIDTH": "2"}
    made = training(tmp_path, KINDS, 'validation "dogs.csv"', **given)
    assert set(made.data.arrays["t"][made.data.parts["validation"]].tolist()) == {1}
    assert json.loads(made.metadata()[CLASSES]) == ["cat", "dog"]
    rows(tmp_path, "birds.csv", kinds=("dog", "bird"))
    with pytest.raises(NablacError) as caught:
        training(tmp_path, KINDS, 'validation "birds.csv"', **given).data  # noqa: B018
    (found,) = caught.value.diagnostics
    assert (found.code, found.place) == ("E821", f"{tmp_path}/birds.csv:3")
    assert found.message == "column `kind`: `bird` is none of the classes cat, dog"


def test_folders_of_images_keep_the_numbers_of_their_classes(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    for folder, names in (("train", ("cat", "dog")), ("other", ("dog",)), ("more", ("bird", "dog"))):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
            image_module.new("RGB", (2, 2)).save(tmp_path / folder / name / "1.png")
    text = """
    model M {{ input x: [batch, 3, 2, 2]; y = reshape(x, [batch, 12]) -> Dense(2); output y }}
    train M {{ target t: i64[batch]; loss cross_entropy(y, t); validation "{}"; data images("train") }}
    """
    program = program_of(Source(str(tmp_path / "m.model"), text.format("other")))
    data = Training(TextSource(program)).data
    assert data.arrays["t"].tolist() == [0, 1, 1]
    with pytest.raises(NablacError) as caught:
        Training(TextSource(program_of(Source(str(tmp_path / "m.model"), text.format("more"))))).data  # noqa: B018
    assert caught.value.diagnostics[0].message == "`bird` is none of the classes cat, dog"


@pytest.mark.parametrize(
    "stage", ["characters(length: 4)", "words(length: 2)", 'tokens(length: 4, kind: "characters")']
)
def test_another_text_is_cut_by_the_training_parts_tokenizer(tmp_path: Path, stage: str) -> None:
    (tmp_path / "train.txt").write_text("a b c d e f g h " * 8)
    (tmp_path / "other.txt").write_text("h g f z " * 8)
    text = f"""
    model M {{ input x: i64[batch, time]; y = x -> Embedding(32, 4) -> Dense(32); output y }}
    train M {{
        target t: i64[batch, time]; loss cross_entropy(y, t); validation "other.txt"; data text("train.txt") -> {stage}
    }}
    """
    data = Training(TextSource(program_of(Source(str(tmp_path / "m.model"), text)))).data
    assert data.tokenizer is not None
    seen = data.tokenizer.decode(data.arrays["x"][data.parts["validation"]].ravel().tolist())
    assert "h" in seen and "g" in seen and "z" not in seen


def test_longer_pairs_of_another_file_widen_the_rows(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a b\tc d\nb a\td c\n" * 2 + "a a\tc c\n")
    (tmp_path / "other.tsv").write_text("a b a b a\tc d c\n")
    text = """
    model M {
        input source: i64[batch, S], target_in: i64[batch, T]
        y = (target_in -> Embedding(16, 4)) + mean(source -> Embedding(16, 4), axis: 1, keep: true) -> Dense(16)
        output y
    }
    train M {
        target target_out: i64[batch, T]; loss cross_entropy(y, target_out); validation "other.tsv"
        data pairs("train.tsv") -> tokens(length: 10)
    }
    """
    data = Training(TextSource(program_of(Source(str(tmp_path / "m.model"), text)))).data
    assert data.arrays["source"].shape[1] == 5 and (data.arrays["source"][0, 2:] == 0).all()


def test_what_a_run_keeps_scales_the_data_that_its_weights_are_evaluated_on(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    rows(tmp_path, "shifted.csv", shift=50)
    run = training(tmp_path, TABLE)
    RunFolder.begin(tmp_path / "run", run, run.loop())
    evaluated = training(tmp_path, TABLE, options=Options(data=str(tmp_path / "shifted.csv")))
    evaluated.fitted = read_fitted(tmp_path / "run")
    moved = evaluated.data.arrays["x"][:, 0] - run.data.arrays["x"][:, 0]
    np.testing.assert_allclose(moved, 50 / run.data.scalings["x"].scale[0], rtol=1e-5)


def test_rows_left_out_are_listed_in_the_run(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,t,kind\n1,2,3,x\n1,oops,3,x\n2,2,4,x\n")
    run = training(tmp_path, TABLE, options=Options(skip_broken=True))
    RunFolder.begin(tmp_path / "run", run, run.loop())
    expected = f"{tmp_path}/train.csv:3: column `b`: `oops` is not a number\n"
    assert (tmp_path / "run" / "skipped.txt").read_text() == expected


def test_shares_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    with pytest.raises(NablacError) as caught:
        training(tmp_path, TABLE, "validation 0.2\n test 0.9").data  # noqa: B018
    assert caught.value.diagnostics[0].message == "validation 0.2 and test 0.9 leave nothing to train on"


# Labels and tokens that the model has no entry for

CLASSES_OF = {"TARGETS": "t: i64[batch]", "WIDTH": "3", "LOSS": "cross_entropy(y, t)"}


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_named_at_its_row(tmp_path: Path, label: int) -> None:
    rows(tmp_path, "train.csv", kinds=("0", "1", str(label)))
    with pytest.raises(NablacError) as caught:
        training(tmp_path, KINDS, **CLASSES_OF).data  # noqa: B018
    (found,) = caught.value.diagnostics
    assert (found.code, found.place) == ("E826", f"{tmp_path}/train.csv:4")
    assert found.message == f"column `kind` holds the label {label}, and the model has the classes 0 to 2"


def test_classes_without_a_number_are_told_by_their_texts_and_no_line(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv", kinds=("d", "a", "c", "b"))
    with pytest.raises(NablacError) as caught:
        training(tmp_path, KINDS, **CLASSES_OF).data  # noqa: B018
    (found,) = caught.value.diagnostics
    assert (found.code, found.place, found.note) == ("E826", None, f"read from {tmp_path}/train.csv")
    assert found.message == "`kind` holds 4 classes, `a`, `b`, `c`, `d`, and the model has 3"
    assert found.hint == "the model needs 4, or the data fewer texts"


def test_a_label_that_the_loss_ignores_may_be_outside(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv", kinds=("0", "1", "-1"))
    ignoring = {**CLASSES_OF, "LOSS": "cross_entropy(y, t, ignore: -1)"}
    assert training(tmp_path, KINDS, **ignoring).data.arrays["t"].min() == -1
    with pytest.raises(NablacError):
        training(tmp_path, KINDS, **{**ignoring, "LOSS": "cross_entropy(y, t, ignore: -2)"}).data  # noqa: B018


# Axes of examples: the inputs, the target, the arrays, and what is said

AXES = {
    "a square": ("x: [batch, batch]", {"x": (8, 8)}, "`x` is f32[batch, batch]: `batch` counts the examples, but"),
    "a graph": (
        "x: [batch, 2], a: [batch, batch]",
        {"x": (8, 2), "a": (8, 8)},
        "`a` is f32[batch, batch]: `batch` counts the examples, but is also the size of axis 1",
    ),
    "two names": (
        "x: [batch, 2], s: [m, 2]",
        {"x": (8, 2), "s": (8, 2)},
        "axis 0 is `batch` in `x` and `m` in `s`: both must count examples",
    ),
    "a number": (
        "x: [batch, 2], s: [4, 2]",
        {"x": (8, 2), "s": (8, 2)},
        "axis 0 is `batch` in `x` and `4` in `s`: both must count examples",
    ),
    "no axis": ("x: [batch, 2], s: f32[]", {"x": (8, 2), "s": (8,)}, "`s` is f32[], which has no axis of examples"),
}


def by_axes(inputs: str, shapes: dict[str, tuple[int, ...]], settings: str = "", **options: object) -> Training:
    uses = " + ".join(f"0.0 * sum({name})" for name in shapes)
    text = f"model M {{\n input {inputs}\n y = zeros([batch, 2]) -> Dense(1)\n output y + {uses}\n}}\n"
    text += f"train M {{\n target t: [batch, 1]\n loss mse(y, t)\n {settings}\n}}\n"
    given = {name: np.ones(shape, np.float32) for name, shape in {**shapes, "t": (8, 1)}.items()}
    made = Training(TextSource(program_of(Source("m.model", text))), options=Options(**options))  # type: ignore[arg-type]
    made.examples = from_arrays(given, "data")
    return made


@pytest.mark.parametrize("name", AXES)
def test_axis_0_alone_counts_the_examples(name: str) -> None:
    inputs, shapes, message = AXES[name]
    with pytest.raises(NablacError) as caught:
        by_axes(inputs, shapes).data  # noqa: B018
    (found,) = caught.value.diagnostics
    assert found.code == "E624" and found.message.startswith(message)


def test_what_belongs_to_all_examples_is_trained_on_at_once() -> None:
    inputs, shapes, _ = AXES["a graph"]
    made = by_axes(inputs, shapes, "shuffle false\n batch 8\n epochs 2")
    loop = made.loop()
    loop.run()
    assert loop.position.step == 2
    for other in ({"batch": 4}, {"validation": 0.5}):
        with pytest.raises(NablacError):
            by_axes(inputs, shapes, "shuffle false\n batch 8", **other).data  # noqa: B018


ARRAYS = """
model M { input x: [batch, 2]; y = x -> Dense(1); output y }
train M { target t: [batch, 1]; loss mse(y, t); epochs 1; SETTINGS; data DATA }
"""


def given_arrays(data: str, settings: str = "batch 4", **options: Any) -> Training:
    generator = np.random.default_rng(8)
    x = generator.normal(size=(20, 2)) * [3, 40] + [100, -7]
    text = ARRAYS.replace("DATA", data).replace("SETTINGS", settings)
    made = Training(TextSource(program_of(Source("m.model", text))), options=Options(**options))
    made.examples = from_arrays({"x": x, "t": x[:, :1] * 5}, "arrays")
    return made


@pytest.mark.parametrize("source", ["arrays()", 'csv("absent.csv")'])
def test_stages_hold_for_arrays_that_are_given(source: str) -> None:
    made = given_arrays(
        f'{source} -> standardize("x") -> split(validation: 0.25, order: "time") -> augment(noise: 0.1)'
    )
    data, raw = made.data, made.examples
    assert raw is not None
    first = raw.arrays["x"][:15]
    assert data.parts["validation"].tolist() == [15, 16, 17, 18, 19] and data.augmentations == {"noise": 0.1}
    np.testing.assert_allclose(data.arrays["x"], (raw.arrays["x"] - first.mean(0)) / first.std(0), rtol=1e-5)
    np.testing.assert_array_equal(data.arrays["t"], raw.arrays["t"].astype(np.float32))


# What a loss does with its target, and whether it says the same of scaled numbers but for their unit.
SCALED_BY_LOSS = {
    "mse(y, t)": True,
    "mae(y, t)": True,
    "huber(y, t)": True,
    "log_cosh(y, t)": True,
    "gaussian_nll(y, exp(y), t)": True,
    "mean(where(t > y, 0.9 * (t - y), 0.1 * (y - t)))": True,
    "mean(maximum(0.9 * (t - y), -0.1 * (t - y)))": True,
    "mse(y, t - x[:, 0:1])": True,
    "mean((y - mean(y) - (t - mean(t))) ** 2)": True,
    "binary_cross_entropy(y, t)": False,
    "mean(-t * log(sigmoid(y)) - (1 - t) * log(1 - sigmoid(y)))": False,
    "mean((1 - sigmoid(y)) ** 2 * t * softplus(-y) + sigmoid(y) ** 2 * (1 - t) * softplus(y))": False,
    "hinge(y, t)": False,
    "mean(exp(y) - t * y)": False,
    "mse(y, log(t))": False,
    "mean(abs(t - 1) * softplus(y))": False,
    "mape(y, t)": False,
    "mean(abs(y - t) / (abs(t) + abs(y)))": False,
    "mean(where(t == 0, 0, (y - t) ** 2))": False,
    "mse(y, t) + mean(relu(y - 1) * t)": False,
    "mse(y / 10, t / 10)": False,
    "mse(y ** 2, t ** 2)": False,
    "mse(y, clip(t, low: 0.0, high: 1.0))": False,
    "mse(y, 0.5 * t + 0.5 * t)": False,
}


@pytest.mark.parametrize("loss", SCALED_BY_LOSS)
def test_a_target_is_scaled_where_the_loss_only_compares_it_with_what_is_computed(tmp_path: Path, loss: str) -> None:
    rows(tmp_path, "train.csv")
    made = training(tmp_path, TABLE, LOSS=loss)
    raw = np.loadtxt(tmp_path / "train.csv", delimiter=",", skiprows=1)[:, 2:3]
    right = (raw - raw.mean()) / raw.std() if SCALED_BY_LOSS[loss] else raw
    np.testing.assert_allclose(made.data.arrays["t"], right, rtol=1e-4, atol=1e-5)
    says = "note: `t` is not scaled: the loss does more with it than compare it with what the model computes"
    says += "; `columns` of a scaling can name it nevertheless"
    assert (says in unit_notes(made.inference, made.data)) == (not SCALED_BY_LOSS[loss])


@pytest.mark.parametrize("loss", [loss for loss in SCALED_BY_LOSS if "sigmoid(y)" in loss or "binary" in loss])
def test_questions_of_yes_and_no_are_learned_from_scaled_inputs(tmp_path: Path, loss: str) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 200)) * [[30], [0.1]] + [[500], [2]]
    lines = [f"{a[n]},{b[n]},{int(a[n] / 30 + b[n] * 10 > 500 / 30 + 20)}" for n in range(200)]
    (tmp_path / "d.csv").write_text("a,b,t\n" + "\n".join(lines) + "\n")
    data = 'csv("d.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: "t")'
    loop = training(tmp_path, data, "optimizer sgd(lr: 0.3)\n seed 1", Options(epochs=20), LOSS=loss).loop()
    loop.run()
    assert 0 < loop.position.history["loss"][-1] < 0.4  # even odds are 0.693, and labels other than 0 and 1 go below 0


# Metrics beside `mse(y, t)`, and whether scaled numbers have them but for their unit.
METRICS = {
    "mae(y, t)": True,
    "rmse(y, t)": True,
    "r_squared(y, t)": True,
    "mean(cast(y > t, f32))": True,
    "mape(y, t)": False,
    "mean(abs(y - t)) / mean(abs(t))": False,
    "mean((y - t) ** 2) / mean(t ** 2)": False,
    "mean(abs(y - t) / maximum(abs(t), 1e-3))": False,
    "mean((log(abs(y) + 1) - log(t)) ** 2)": False,
    "cosine_similarity(y, t)": False,
    "mean(cast((y > 0.5) == (t > 0.5), f32))": False,
}


@pytest.mark.parametrize("metric", [metric for metric, takes in METRICS.items() if takes])
def test_a_metric_of_differences_takes_scaled_numbers(tmp_path: Path, metric: str) -> None:
    rows(tmp_path, "train.csv")
    assert training(tmp_path, TABLE, f"metric share = {metric}").data.scalings.keys() == {"x", "t"}


@pytest.mark.parametrize("metric", [metric for metric, takes in METRICS.items() if not takes])
def test_a_metric_that_asks_for_raw_numbers_is_refused_of_scaled_ones(tmp_path: Path, metric: str) -> None:
    rows(tmp_path, "train.csv")
    setting = f"metric share = {metric}"
    for stage in ("standardize", "min_max"):
        table = TABLE.replace("standardize()", f"{stage}()")
        with pytest.raises(
            NablacError, match="the metric `share` depends on the zero of `t`, which scaling moves"
        ) as caught:
            training(tmp_path, table, setting).data  # noqa: B018
        inputs_alone = f'{stage}(columns: ["x"])'
        assert inputs_alone in str(caught.value)
        assert training(tmp_path, table.replace(f"{stage}()", inputs_alone), setting).data.scalings.keys() == {"x"}


def test_a_percentage_is_of_raw_numbers(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    made = training(tmp_path, TABLE.replace("standardize()", 'standardize(["x"])'), "metric mape(y, t)")
    y = NumpyRunner(made.model_graph(), made.model_weights(made.first_state())).run(
        {"x": np.loadtxt(tmp_path / "train.csv", np.float32, delimiter=",", skiprows=1)[:, :2]}
    )["y"]
    t = np.loadtxt(tmp_path / "train.csv", delimiter=",", skiprows=1)[:, 2:3]
    assert unit_notes(made.inference, made.data) == ["units:     `y` is in the units of `t`"]  # none of scaled numbers
    np.testing.assert_allclose(made.evaluate("training")["mape"], 100 * np.abs((t - y) / t).mean(), rtol=1e-5)


@pytest.mark.parametrize("stage", ["standardize()", "min_max()"])
def test_numbers_without_an_axis_of_1_are_scaled_as_with_it(stage: str) -> None:
    """`(40,)` for `[batch, 1]` and `(40, 4, 4)` for images of one channel, and a model that is trained again."""
    text = """
    model M { input x: [batch, 1]; input image: [batch, 1, 4, 4]
              y = x + mean(image, axis: [2, 3]) -> Dense(1); output y }
    train M { target t: [batch, 1]; loss mse(y, t); data arrays() -> STAGE }
    """
    generator = np.random.default_rng(3)
    raw = {
        "x": generator.normal(size=40) * 30 + 500,
        "image": generator.normal(size=(40, 4, 4)) * 9 + 100,
        "t": generator.normal(size=40) * 1000 + 5000,
    }
    made = Training(TextSource(program_of(Source("m.model", text.replace("STAGE", stage)))))
    made.examples = from_arrays(raw, "arrays")
    for name, shape in {"x": (40, 1), "image": (40, 1, 4, 4), "t": (40, 1)}.items():
        low, high = raw[name].min(), raw[name].max()
        mean, deviation = raw[name].mean(), raw[name].std()
        right = (raw[name] - mean) / deviation if stage == "standardize()" else (raw[name] - low) / (high - low)
        np.testing.assert_allclose(made.data.arrays[name], right.reshape(shape), rtol=1e-5, atol=1e-5, err_msg=name)
    again = Training(made.source, fitted=made.fitted_now)
    again.examples = from_arrays({name: array[:10] for name, array in raw.items()}, "arrays")
    for name in raw:
        np.testing.assert_array_equal(again.data.arrays[name], made.data.arrays[name][:10])
    assert again.data.scalings.keys() == raw.keys()


def test_stages_that_read_a_table_have_nothing_to_do_with_arrays() -> None:
    data = 'csv("absent.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["c"])'
    assert set(given_arrays(data).data.scalings) == {"x", "t"}
    with pytest.raises(NablacError, match="`columns` makes examples of a table or a text, but arrays are examples"):
        given_arrays('arrays() -> columns(inputs: ["a"], targets: ["b"])').data  # noqa: B018


def test_arrays_have_no_other_file() -> None:
    with pytest.raises(NablacError, match=r"more\.csv cannot replace what the train block's `data` reads"):
        given_arrays("arrays()", 'validation "more.csv"').data  # noqa: B018


def test_a_share_of_the_command_wins_over_a_split_and_a_file() -> None:
    split = given_arrays("arrays() -> split(validation: 0.5, test: 0.1)", validation=0.2).data
    assert [len(split.parts[part]) for part in ("training", "validation", "test")] == [14, 4, 2]
    file = given_arrays("arrays()", 'validation "more.csv"', validation=0.2).data
    assert len(file.parts["validation"]) == 4


def test_a_share_is_said_once() -> None:
    with pytest.raises(NablacError, match="`validation` is set twice"):
        given_arrays("arrays() -> split(validation: 0.5)", "validation 0.2").data  # noqa: B018
