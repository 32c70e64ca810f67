"""The data of a run: other files like the training part, raw units by what the loss compares, labels in range."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.build import program_of
from compiler.dims import Dim
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.data.arrays import from_arrays
from runtime.data.fitted import fitted_to, read_fitted, write_fitted
from runtime.data.scaling import Scaling
from runtime.metadata import COLUMNS, column_names, stored
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner
from runtime.reading import Reading, read_inputs
from runtime.training.folder import RunFolder
from runtime.training.session import Options, Training
from runtime.training.trained import CLASSES, UNITS
from runtime.training.training_data import unit_notes, units_of_outputs

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
    return Training(program_of(Source(str(folder / "m.model"), text)), options=options or Options())


def rows(folder: Path, name: str, count: int = 20, shift: float = 0.0, kinds: tuple[str, ...] = ()) -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(2, count))
    lines = [
        f"{a[n] + shift},{b[n]},{100 + 10 * a[n]},{kinds[n % len(kinds)] if kinds else n % 3}" for n in range(count)
    ]
    (folder / name).write_text("a,b,t,kind\n" + "\n".join(lines) + "\n")


TABLE = 'csv("train.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: "t")'
KINDS = TABLE.replace('targets: "t"', 'targets: "kind"')


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
    columns = stored(made.metadata(), COLUMNS, {}, column_names)
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
    data = Training(program).data
    assert data.arrays["t"].tolist() == [0, 1, 1]
    with pytest.raises(NablacError) as caught:
        Training(program_of(Source(str(tmp_path / "m.model"), text.format("more")))).data  # noqa: B018
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
    data = Training(program_of(Source(str(tmp_path / "m.model"), text))).data
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
    data = Training(program_of(Source(str(tmp_path / "m.model"), text))).data
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
    expected = f"{tmp_path}/train.csv:3: column `b`: `oops` is no number\n"
    assert (tmp_path / "run" / "skipped.txt").read_text() == expected


def test_shares_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    with pytest.raises(NablacError) as caught:
        training(tmp_path, TABLE, "validation 0.2\n test 0.9").data  # noqa: B018
    assert caught.value.diagnostics[0].message == "validation 0.2 and test 0.9 leave nothing to train on"


# Raw units: what each output of the compiled model is, by hand from what the model gives in scaled numbers

SERIES = 'csv("series.csv") -> standardize() -> window(["a", "b", "c"], length: 4, horizon: 3)'
STEPS = """
model M {
    input x: [batch, 4, 3]
    OTHERS
    output OUTPUTS
}
train M {
    target t: [batch, 3, 3]
    loss LOSS
    data DATA
}
"""
DENSE = 'y = rearrange(x, "b t c -> b c t") -> Dense(3) -> rearrange("b c t -> b t c")'
CODE = "y = x -> Dense(2) -> Dense(3)"


def raw(y: Array, scaling: Scaling) -> Array:
    return y * scaling.scale + scaling.offset


# name: equations, outputs, loss, and of each output its kind and its value from (scaled outputs, raw x, scaling of t)
Expected = dict[str, tuple[str, Callable[[dict[str, Array], Array, Scaling], Array]]]
UNIT_CASES: dict[str, tuple[str, str, str, Expected]] = {
    "transposed before the loss": (
        DENSE,
        "y",
        "mse(y, t)",
        {"y": ("raw", lambda o, x, s: raw(o["y"], s))},
    ),
    "transposed behind the output": (
        'y = rearrange(x, "b t c -> b c t") -> Dense(3)',
        "y",
        'mse(rearrange(y, "b c t -> b t c"), t)',
        {"y": ("raw", lambda o, x, s: raw(o["y"].transpose(0, 2, 1), s).transpose(0, 2, 1))},
    ),
    "the target transposed": (
        'y = rearrange(x, "b t c -> b c t") -> Dense(3)',
        "y",
        'mae(y, rearrange(t, "b t c -> b c t"))',
        {"y": ("raw", lambda o, x, s: raw(o["y"].transpose(0, 2, 1), s).transpose(0, 2, 1))},
    ),
    "flat": (
        "y = x -> Flatten() -> Dense(9)",
        "y",
        "mse(y, reshape(t, [batch, 9]))",
        {"y": ("raw", lambda o, x, s: raw(o["y"].reshape(-1, 3, 3), s).reshape(-1, 9))},
    ),
    "the batch along with the columns": (
        DENSE,
        "y",
        "mse(reshape(y, [batch * 9]), reshape(t, [batch * 9]))",
        {"y": ("raw", lambda o, x, s: raw(o["y"], s))},
    ),
    "in another shape": (
        f"{DENSE}\n    z = x -> Flatten() -> Dense(9)",
        "y, z",
        "mse(y, t) + mse(reshape(z, [batch, 3, 3]), t)",
        {"z": ("raw", lambda o, x, s: raw(o["z"].reshape(-1, 3, 3), s).reshape(-1, 9))},
    ),
    "parts that are joined": (
        "a = x -> Flatten() -> Dense(6)\n    b = x[:, 0:1]",
        "a",
        "mse(concat([reshape(a, [batch, 2, 3]), x[:, 0:1]], axis: 1), t)",
        {"a": ("raw", lambda o, x, s: raw(o["a"].reshape(-1, 2, 3), s).reshape(-1, 6))},
    ),
    "compared column by column": (
        DENSE,
        "y",
        "mse(y[..., 0], t[..., 0]) + mae(y[..., 1:3], t[..., 1:3])",
        {"y": ("raw", lambda o, x, s: raw(o["y"], s))},
    ),
    "compared in part": (
        DENSE,
        "y",
        "mse(y[:, :, 0:2], t[:, :, 0:2])",
        {"y": ("model", lambda o, x, s: o["y"])},
    ),
    "some columns, in another order": (
        "y = x -> Flatten() -> Dense(6) -> reshape([batch, 3, 2])",
        "y",
        "mse(y, take(t, [2, 0], axis: -1))",
        {"y": ("raw", lambda o, x, s: o["y"] * s.scale[[2, 0]] + s.offset[[2, 0]])},
    ),
    "a multiple": (
        DENSE,
        "y",
        "mse(4 * y - 1, t)",
        {"y": ("raw", lambda o, x, s: (raw(4 * o["y"] - 1, s) + 1) / 4)},
    ),
    "what is made of a prediction": (
        f"{DENSE}\n    total = sum(y, axis: 1)\n    size = sqrt(y ** 2)\n    change = y - x[:, 3:4]",
        "y, total, size, change",
        "mse(y, t)",
        {
            "total": ("computed", lambda o, x, s: raw(o["y"], s).sum(axis=1)),
            "size": ("computed", lambda o, x, s: np.abs(raw(o["y"], s))),
            "change": ("computed", lambda o, x, s: raw(o["y"], s) - x[:, 3:4]),
        },
    ),
    "what is moved of a prediction": (
        f"{DENSE}\n    last = flip(y[:, 2], [-1])",
        "last",
        "mse(y, t)",
        {"last": ("raw", lambda o, x, s: o["last"] * s.scale[::-1] + s.offset[::-1])},
    ),
    "an input as it is": (
        f"{DENSE}\n    before = x[:, 1]",
        "y, before",
        "mse(y, t)",
        {"before": ("raw", lambda o, x, s: x[:, 1])},
    ),
    "weights behind a prediction": (
        f"{DENSE}\n    z = y -> Dense(3)\n    rest = y - (x -> Flatten() -> Dense(9) -> reshape([batch, 3, 3]))",
        "y, z, rest",
        "mse(y, t) + mse(z, t) + 0.01 * mean(abs(rest))",
        {
            "y": ("raw", lambda o, x, s: raw(o["y"], s)),
            "z": ("raw", lambda o, x, s: raw(o["z"], s)),
            "rest": ("model", lambda o, x, s: o["rest"]),
        },
    ),
    "an autoencoder and its score": (
        f"{CODE}\n    code = mean(x -> Dense(1))\n    score = mean((x - y) ** 2, axis: [1, 2])",
        "y, score, code",
        "mse(y, x) + 0.0 * mean(t)",
        {
            "y": ("raw", lambda o, x, s: raw(o["y"], s)),
            "score": ("computed", lambda o, x, s: ((x - raw(o["y"], s)) ** 2).mean(axis=(1, 2))),
            "code": ("model", lambda o, x, s: o["code"]),
        },
    ),
    "an autoencoder whose loss is an output": (
        f"{CODE}\n    score = mean((x - y) ** 2)",
        "y, score",
        "score + 0.0 * mean(t)",
        {
            "y": ("raw", lambda o, x, s: raw(o["y"], s)),
            "score": ("computed", lambda o, x, s: ((x - raw(o["y"], s)) ** 2).mean()),
        },
    ),
    "a difference with an input within the model": (
        "inner = x -> Dense(3)\n    y = (x - inner)[:, 0:3] -> Dense(3)",
        "y, inner",
        "mse(y, t)",
        {"y": ("raw", lambda o, x, s: raw(o["y"], s)), "inner": ("model", lambda o, x, s: o["inner"])},
    ),
    "a change": (
        f"{DENSE.replace('y =', 'd =')}\n    y = d + x[:, 3:4]",
        "d, y",
        "mse(d, t - x[:, 3:4])",
        {
            "d": ("raw", lambda o, x, s: o["d"] * s.scale),
            "y": ("computed", lambda o, x, s: o["d"] * s.scale + x[:, 3:4]),
        },
    ),
    "changes from step to step": (
        "d = x -> Flatten() -> Dense(6) -> reshape([batch, 2, 3])",
        "d",
        "mse(t[:, 1:3] - t[:, 0:2], d)",
        {"d": ("raw", lambda o, x, s: o["d"] * s.scale)},
    ),
    "a change from one column to another": (
        "d = x -> Flatten() -> Dense(6) -> reshape([batch, 3, 2])",
        "d",
        "mse(d, t[:, :, 1:3] - t[:, :, 0:2])",
        {"d": ("model", lambda o, x, s: o["d"])},
    ),
    "near the input, but a target": (
        DENSE,
        "y",
        "mse(y, x[:, 0:3]) + mse(y, t)",
        {"y": ("raw", lambda o, x, s: raw(o["y"], s))},
    ),
    "a deviation": (
        f"{DENSE}\n    s = softplus(x[:, 0:3] -> Dense(3))\n    high = y + 2 * s",
        "y, s, high",
        "gaussian_nll(y, s, t)",
        {
            "s": ("raw", lambda o, x, s: o["s"] * s.scale),
            "high": ("computed", lambda o, x, s: raw(o["y"] + 2 * o["s"], s)),
        },
    ),
    "a log variance": (
        f"{DENSE}\n    v = x[:, 0:3] -> Dense(3)",
        "y, v",
        'mean(spread(v, t, form: "log_variance") + (y - t) ** 2 / exp(v))',
        {"v": ("raw", lambda o, x, s: o["v"] + 2 * np.log(s.scale))},
    ),
    "a variance and a log deviation": (
        f"{DENSE}\n    v = exp(x[:, 0:3] -> Dense(3))\n    d = x[:, 0:3] -> Dense(3)",
        "y, v, d",
        'mean((y - t) ** 2 / spread(v, t, form: "variance") + spread(d, t, form: "log_scale"))',
        {
            "v": ("raw", lambda o, x, s: o["v"] * s.scale**2),
            "d": ("raw", lambda o, x, s: o["d"] + np.log(s.scale)),
        },
    ),
    "a spread that nothing declares": (
        f"{DENSE}\n    s = softplus(x[:, 0:3] -> Dense(3))",
        "y, s",
        "mean(log(s) + 0.5 * ((y - t) / s) ** 2)",
        {"s": ("model", lambda o, x, s: o["s"])},
    ),
    "quantiles of each column": (
        "q = x -> Flatten() -> Dense(18) -> reshape([batch, 3, 3, 2])",
        "q",
        "mean(maximum(0.5 * (unsqueeze(t, -1) - q), -0.5 * (unsqueeze(t, -1) - q)))",
        {"q": ("raw", lambda o, x, s: o["q"] * s.scale[:, None] + s.offset[:, None])},
    ),
}


def stepping(folder: Path, equations: str, outputs: str, loss: str) -> Training:
    """A run on three columns of very different sizes."""
    steps = np.arange(60)
    noise = np.random.default_rng(0).normal(0, 0.1, (60, 3))
    columns = np.stack([1000 + 50 * np.sin(steps / 5), 10 + np.cos(steps / 7), -300 + 5 * np.sin(steps / 3)], 1) + noise
    np.savetxt(folder / "series.csv", columns, delimiter=",", header="a,b,c", comments="")
    text = STEPS
    for name, value in {"OTHERS": equations, "OUTPUTS": outputs, "LOSS": loss, "DATA": SERIES}.items():
        text = text.replace(name, value)
    return Training(program_of(Source(str(folder / "m.model"), text)))


@pytest.mark.parametrize("name", UNIT_CASES)
def test_outputs_have_the_units_that_their_equations_give_them(tmp_path: Path, name: str) -> None:
    equations, outputs, loss, expected = UNIT_CASES[name]
    made = stepping(tmp_path, equations, outputs, loss)
    scaling, weights = made.data.scalings, made.model_weights(made.first_state())
    x = np.random.default_rng(2).normal([1000, 10, -300], [50, 1, 5], size=(5, 4, 3))
    hidden = Graph(made.inference.graph.inputs, made.inference.graph.outputs)
    inside = NumpyRunner(hidden, weights).run({"x": scaling["x"].scaled(x).astype(np.float32)})
    outside = NumpyRunner(made.model_graph(), weights).run({"x": x.astype(np.float32)})
    onnx = OnnxRunner(export(made.model_graph(), weights=weights).SerializeToString()).run({"x": x.astype(np.float32)})
    units = units_of_outputs(made)
    for output, (kind, value) in expected.items():
        assert units[output].kind == kind, output
        np.testing.assert_allclose(onnx[output], outside[output], rtol=1e-4, atol=1e-3, err_msg=output)
        data = scaling["t"] if "t" in scaling else scaling["x"]
        np.testing.assert_allclose(outside[output], value(inside, x, data), rtol=2e-4, atol=1e-3, err_msg=output)


def test_what_unit_an_output_has_is_said_and_kept(tmp_path: Path) -> None:
    equations, outputs, loss, _ = UNIT_CASES["what is made of a prediction"]
    made = stepping(tmp_path, f"{equations}\n    hidden = x -> Dense(2)", f"{outputs}, hidden", loss)
    assert unit_notes(made) == [
        "units:     the loss and the metrics are of scaled numbers",
        "units:     `y` is in the units of `t`",
        "units:     `total` is computed from raw numbers",
        "units:     `size` is computed from raw numbers",
        "units:     `change` is computed from raw numbers",
        "units:     `hidden` is the model's own: weights act on it, and the loss compares it with no data",
    ]
    stored = json.loads(made.metadata()[UNITS])
    assert stored["y"] == {"units": "raw", "of": ["t"]}
    assert (stored["size"], stored["hidden"]) == ({"units": "computed", "of": []}, {"units": "model", "of": []})


def test_a_scaled_target_that_no_output_meets_is_said(tmp_path: Path) -> None:
    made = stepping(tmp_path, DENSE, "y", "mse(exp(y), t)")
    assert unit_notes(made)[-1].startswith("note: no output is what the loss compares with `t`")


def test_two_targets_each_have_their_outputs(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    data = 'csv("train.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["t", "kind"])'
    made = training(
        tmp_path,
        data,
        OTHERS="z = x -> Dense(1)\n    both = concat([y, z], axis: -1)",
        OUTPUTS="both",
        TARGETS="t: [batch, 1], kind: [batch, 1]",
        LOSS="mse(y, t) + mae(z, kind)",
    )
    scaling, weights = made.data.scalings, made.model_weights(made.first_state())
    x = np.random.default_rng(2).normal(size=(5, 2)).astype(np.float32)
    inside = NumpyRunner(made.inference.graph, weights).run({"x": scaling["x"].scaled(x).astype(np.float32)})["both"]
    outside = NumpyRunner(made.model_graph(), weights).run({"x": x})["both"]
    for column, target in enumerate(("t", "kind")):
        np.testing.assert_allclose(
            outside[:, column : column + 1], raw(inside[:, column : column + 1], scaling[target]), rtol=1e-4
        )
    assert units_of_outputs(made)["both"].of == ("kind", "t")


def test_one_value_in_two_units_is_in_neither(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    data = 'csv("train.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["t", "kind"])'
    targets = {"TARGETS": "t: [batch, 1], kind: [batch, 1]", "LOSS": "mse(y, t) + mae(y, kind)"}
    made = training(tmp_path, data, **targets)
    assert units_of_outputs(made)["y"].kind == "model"
    assert len([line for line in unit_notes(made) if line.startswith("note: no output")]) == 2


# Labels and tokens that the model has no entry for

CLASSES_OF = {"TARGETS": "t: i64[batch]", "WIDTH": "3", "LOSS": "cross_entropy(y, t)"}


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_named_at_its_row(tmp_path: Path, label: int) -> None:
    rows(tmp_path, "train.csv", kinds=("0", "1", str(label)))
    with pytest.raises(NablacError) as caught:
        training(tmp_path, KINDS, **CLASSES_OF).data  # noqa: B018
    (found,) = caught.value.diagnostics
    assert (found.code, found.place) == ("E826", f"{tmp_path}/train.csv:4")
    assert found.message == f"column `kind` holds the label {label}, and the model tells the classes 0 to 2 apart"


def test_a_label_that_the_loss_ignores_may_be_outside(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv", kinds=("0", "1", "-1"))
    ignoring = {**CLASSES_OF, "LOSS": "cross_entropy(y, t, ignore: -1)"}
    assert training(tmp_path, KINDS, **ignoring).data.arrays["t"].min() == -1
    with pytest.raises(NablacError):
        training(tmp_path, KINDS, **{**ignoring, "LOSS": "cross_entropy(y, t, ignore: -2)"}).data  # noqa: B018


# Axes of examples: the inputs, the target, the arrays, and what is said

AXES = {
    "a square": ("x: [batch, batch]", {"x": (8, 8)}, "`x` is f32[batch, batch]: `batch` counts the examples, and"),
    "a graph": (
        "x: [batch, 2], a: [batch, batch]",
        {"x": (8, 2), "a": (8, 8)},
        "`a` is f32[batch, batch]: `batch` counts the examples, and is the size of axis 1 too",
    ),
    "two names": (
        "x: [batch, 2], s: [m, 2]",
        {"x": (8, 2), "s": (8, 2)},
        "axis 0 is `batch` in `x` and `m` in `s`: one counts no examples",
    ),
    "a number": (
        "x: [batch, 2], s: [4, 2]",
        {"x": (8, 2), "s": (8, 2)},
        "axis 0 is `batch` in `x` and `4` in `s`: one counts no examples",
    ),
    "no axis": ("x: [batch, 2], s: f32[]", {"x": (8, 2), "s": (8,)}, "`s` is f32[], and has no axis of examples"),
}


def by_axes(inputs: str, shapes: dict[str, tuple[int, ...]], settings: str = "", **options: object) -> Training:
    uses = " + ".join(f"0.0 * sum({name})" for name in shapes)
    text = f"model M {{\n input {inputs}\n y = zeros([batch, 2]) -> Dense(1)\n output y + {uses}\n}}\n"
    text += f"train M {{\n target t: [batch, 1]\n loss mse(y, t)\n {settings}\n}}\n"
    given = {name: np.ones(shape, np.float32) for name, shape in {**shapes, "t": (8, 1)}.items()}
    made = Training(program_of(Source("m.model", text)), options=Options(**options))  # type: ignore[arg-type]
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
    made = Training(program_of(Source("m.model", text)), options=Options(**options))
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


def test_stages_that_read_a_table_have_nothing_to_do_with_arrays() -> None:
    data = 'csv("absent.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["c"])'
    assert set(given_arrays(data).data.scalings) == {"x", "t"}
    with pytest.raises(NablacError, match="`columns` makes examples of a table or a text, and arrays are examples"):
        given_arrays('arrays() -> columns(inputs: ["a"], targets: ["b"])').data  # noqa: B018


def test_arrays_have_no_other_file() -> None:
    with pytest.raises(NablacError, match=r"more\.csv cannot take the place of what the train block's `data` reads"):
        given_arrays("arrays()", 'validation "more.csv"').data  # noqa: B018


def test_a_share_of_the_command_wins_over_a_split_and_a_file() -> None:
    split = given_arrays("arrays() -> split(validation: 0.5, test: 0.1)", validation=0.2).data
    assert [len(split.parts[part]) for part in ("training", "validation", "test")] == [14, 4, 2]
    file = given_arrays("arrays()", 'validation "more.csv"', validation=0.2).data
    assert len(file.parts["validation"]) == 4


def test_a_share_is_said_once() -> None:
    with pytest.raises(NablacError, match="`validation` is set twice"):
        given_arrays("arrays() -> split(validation: 0.5)", "validation 0.2").data  # noqa: B018
