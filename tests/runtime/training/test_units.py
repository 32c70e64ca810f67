"""Raw units: what each output of a compiled model is, by hand from what the model gives in scaled numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.graph import Graph
from compiler.onnx.exporter import export
from runtime.data.scaling import Scaling
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner
from runtime.training.trained import UNITS, units_in
from runtime.training.training_run import Training
from runtime.training.unit_notes import has_scaled_figures, unit_notes
from tests.models import text_source
from tests.runtime.training.table_runs import rows, training

Array = Any

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
    return Training(text_source(text, folder))


@pytest.mark.parametrize("name", UNIT_CASES)
def test_outputs_have_the_units_that_their_equations_give_them(tmp_path: Path, name: str) -> None:
    equations, outputs, loss, expected = UNIT_CASES[name]
    made = stepping(tmp_path, equations, outputs, loss)
    scaling, weights = made.data.scalings, made.model_weights(made.first_state())
    x = np.random.default_rng(2).normal([1000, 10, -300], [50, 1, 5], size=(5, 4, 3))
    hidden = Graph(made.inference.graph.inputs, made.inference.graph.outputs)
    inside = NumpyRunner(hidden, weights).run({"x": scaling["x"].apply(x).astype(np.float32)})
    outside = NumpyRunner(made.model_graph(), weights).run({"x": x.astype(np.float32)})
    onnx = OnnxRunner(export(made.model_graph(), weights=weights).SerializeToString()).run({"x": x.astype(np.float32)})
    units = units_in(made.inference, made.fitted_now)
    for output, (kind, value) in expected.items():
        assert units[output].kind == kind, output
        np.testing.assert_allclose(onnx[output], outside[output], rtol=1e-4, atol=1e-3, err_msg=output)
        data = scaling["t"] if "t" in scaling else scaling["x"]
        np.testing.assert_allclose(outside[output], value(inside, x, data), rtol=2e-4, atol=1e-3, err_msg=output)


def test_what_unit_an_output_has_is_said_and_kept(tmp_path: Path) -> None:
    equations, outputs, loss, _ = UNIT_CASES["what is made of a prediction"]
    made = stepping(tmp_path, f"{equations}\n    hidden = x -> Dense(2)", f"{outputs}, hidden", loss)
    assert unit_notes(made.inference, made.data) == [
        "units:     `y` is in the units of `t`",
        "units:     `total` is computed from raw numbers",
        "units:     `size` is computed from raw numbers",
        "units:     `change` is computed from raw numbers",
        "units:     `hidden` is the model's own: weights act on it, and the loss does not compare it with data",
    ]
    assert has_scaled_figures(made.inference, made.data)
    stored = json.loads(made.metadata()[UNITS])
    assert stored["y"] == {"units": "raw", "of": ["t"]}
    assert (stored["size"], stored["hidden"]) == ({"units": "computed", "of": []}, {"units": "model", "of": []})


def test_a_scaled_target_that_no_output_meets_is_said(tmp_path: Path) -> None:
    made = stepping(tmp_path, DENSE, "y", "mse(exp(y), t)")
    assert unit_notes(made.inference, made.data)[-1].startswith("note: no output is what the loss compares with `t`")


def test_two_targets_each_have_their_outputs(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    data = 'csv("train.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["t", "kind"])'
    run = training(
        tmp_path,
        data,
        OTHERS="z = x -> Dense(1)\n    both = concat([y, z], axis: -1)",
        OUTPUTS="both",
        TARGETS="t: [batch, 1], kind: [batch, 1]",
        LOSS="mse(y, t) + mae(z, kind)",
    )
    scaling, weights = run.data.scalings, run.model_weights(run.first_state())
    x = np.random.default_rng(2).normal(size=(5, 2)).astype(np.float32)
    inside = NumpyRunner(run.inference.graph, weights).run({"x": scaling["x"].apply(x).astype(np.float32)})["both"]
    outside = NumpyRunner(run.model_graph(), weights).run({"x": x})["both"]
    for column, target in enumerate(("t", "kind")):
        np.testing.assert_allclose(
            outside[:, column : column + 1], raw(inside[:, column : column + 1], scaling[target]), rtol=1e-4
        )
    unit = units_in(run.inference, run.fitted_now)["both"]
    assert unit.of == ("kind", "t")
    assert str(unit) == "in the units of `t` in [:, 0:1] and of `kind` in [:, 1:2]"


def test_one_value_in_two_units_is_in_neither(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    data = 'csv("train.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["t", "kind"])'
    targets = {"TARGETS": "t: [batch, 1], kind: [batch, 1]", "LOSS": "mse(y, t) + mae(y, kind)"}
    run = training(tmp_path, data, **targets)
    assert units_in(run.inference, run.fitted_now)["y"].kind == "model"
    assert len([line for line in unit_notes(run.inference, run.data) if line.startswith("note: no output")]) == 2
