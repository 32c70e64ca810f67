"""`nablac compile --quantize`: what it writes, prints and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import nablac
from grammar.diagnostics import NablacError
from tests.command_line import invoke

SPEC = """model Net(units = 64) {
    input x: [batch, 2]
    logits = x -> Dense(units, activation: relu) -> Dense(units, activation: relu) -> Dense(3)
    output logits
}
train Net {
    target kind: i64[batch]
    loss cross_entropy(logits, kind)
    epochs 20
    validation 0.3
    data csv("rows.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["kind"])
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained classifier, whose largest product has 64 x 64 weights."""
    folder = tmp_path_factory.mktemp("quantized")
    rows = [f"{step % 7},{step % 5},{(step % 7 + step % 5) // 4}" for step in range(90)]
    (folder / "rows.csv").write_text("a,b,kind\n" + "\n".join(rows) + "\n")
    (folder / "net.model").write_text(SPEC)
    ended = invoke("train", "net.model", "-o", "run", "-q", folder=folder)
    assert ended.exit_code == 0, ended.output
    return folder


@pytest.mark.parametrize("scheme", ["int8", "int8-static", "int4"])
def test_the_accuracy_before_and_after_is_reported(folder: Path, scheme: str) -> None:
    ended = invoke("compile", "run", "--quantize", scheme, "-o", f"{scheme}.onnx", "--json", folder=folder)
    assert ended.exit_code == 0, ended.output
    facts = json.loads(ended.stdout)["quantization"]
    judged = json.loads(invoke("eval", "run", "--part", "validation", "--json", folder=folder).stdout)
    accuracy = facts["figures"]["kind accuracy"]
    assert accuracy["before"] == pytest.approx(judged["figures"]["kind"]["accuracy"])
    assert (facts["scheme"], facts["part"], facts["examples"]) == (scheme, "validation", judged["examples"])
    assert facts["bytes_after"] == (folder / f"{scheme}.onnx").stat().st_size < facts["bytes_before"]
    again = invoke("eval", f"{scheme}.onnx", "--data", "rows.csv", "--json", folder=folder)
    whole = invoke("eval", "run", "--part", "all", "--json", folder=folder)
    both = [json.loads(each.stdout)["figures"]["kind"]["accuracy"] for each in (again, whole)]
    assert abs(both[0] - both[1]) < 0.1, "a quantised file is judged like any other"


@pytest.mark.parametrize("dtype", ["f16", "bf16"])  # of bf16 onnxruntime has no kernels on a CPU
def test_another_float_type_is_judged_beside_that_of_the_training(folder: Path, dtype: str) -> None:
    ended = invoke("compile", "run", "--dtype", dtype, "-o", f"{dtype}.onnx", "--json", folder=folder)
    assert ended.exit_code == 0, ended.output
    facts = json.loads(ended.stdout)["accuracy"]
    judged = json.loads(invoke("eval", "run", "--part", "validation", "--json", folder=folder).stdout)
    loss = facts["figures"]["kind log_loss"]
    assert facts["figures"]["kind accuracy"]["before"] == pytest.approx(judged["figures"]["kind"]["accuracy"])
    assert loss["before"] != loss["after"] == pytest.approx(loss["before"], rel=0.02)
    assert ("seconds_before" in facts) == (dtype == "f16")
    assert facts["bytes_after"] == (folder / f"{dtype}.onnx").stat().st_size < facts["bytes_before"]


def test_the_float_type_of_the_training_is_compared_with_nothing(folder: Path) -> None:
    ended = invoke("compile", "run", "--dtype", "f32", "-o", "same.onnx", "--json", folder=folder)
    assert ended.exit_code == 0 and "accuracy" not in json.loads(ended.stdout)


def test_the_report_names_what_stays_a_float(folder: Path) -> None:
    ended = invoke("compile", "run", "--quantize", "int8", "--exclude", "dense.*", "-o", "some.onnx", folder=folder)
    assert ended.exit_code == 0, ended.output
    assert "  1 weights as integers: " in ended.stdout and "  in floats: " in ended.stdout
    assert "kind accuracy" in ended.stdout and "on 27 examples (validation)" in ended.stdout


SERIES = """model Next(units = 32) {
    input v: [batch, 8, 1]
    y = v -> Flatten() -> Dense(units, activation: relu) -> Dense(units, activation: relu) -> Dense(1)
    output y
}
train Next {
    target ahead: [batch, 1, 1]
    loss mse(reshape(y, [batch, 1, 1]), ahead)
    epochs 20
    validation 0.2
    data csv("series.csv") -> by("k") -> standardize() -> window("v", length: 8, horizon: 1)
}
"""


def test_the_examples_to_calibrate_with_are_of_all_series(tmp_path: Path) -> None:
    """Series of other sizes one below the other, of which the first has more examples than are measured."""
    random = np.random.default_rng(0)
    series = [f"{key},{level * step:.3f}" for key, level in (("a", 50), ("b", 10), ("c", 100))
              for step in random.uniform(1, 1.2, 700)]  # fmt: skip
    (tmp_path / "series.csv").write_text("k,v\n" + "\n".join(series) + "\n")
    (tmp_path / "next.model").write_text(SERIES)
    ended = invoke("train", "next.model", "-o", "run", "-q", folder=tmp_path)
    assert ended.exit_code == 0, ended.output
    ended = invoke("compile", "run", "--quantize", "int8-static", "-o", "q.onnx", "--json", folder=tmp_path)
    assert ended.exit_code == 0, ended.output
    assert "calibrated on 512 examples" in ended.stderr
    error = json.loads(ended.stdout)["quantization"]["figures"]["ahead mae"]
    assert error["after"] == pytest.approx(error["before"], rel=0.1)


def test_data_to_calibrate_with_may_be_other_data(folder: Path) -> None:
    (folder / "few.csv").write_text("a,b,kind\n1,2,0\n3,4,1\n")
    ended = invoke(
        "compile", "run", "--quantize", "int8-static", "--calibrate", "few.csv", "-o", "few.onnx", folder=folder
    )
    assert ended.exit_code == 0, ended.output
    assert "calibrated on 2 examples" in ended.stderr
    scales = {tensor.name for tensor in onnx.load(folder / "few.onnx").graph.initializer}
    assert any(name.endswith(".uint8") for name in scales)


def test_of_a_spec_no_accuracy_is_measured(folder: Path) -> None:
    ended = invoke("compile", "net.model", "--quantize", "int8", "-o", "drawn.onnx", folder=folder)
    assert ended.exit_code == 0, ended.output
    assert "the accuracy was not measured: only a run has data that is held out; name its folder" in ended.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--exclude", "x"), "--exclude is of a quantised model: it needs --quantize"),
        (("--quantize", "int8", "--calibrate", "x"), "--quantize int8 needs no data: --calibrate is for int8-static"),
        (("--quantize", "int4", "--reduce-range"),
         "--quantize int4 multiplies no integers: --reduce-range is for int8 and int8-static"),
        (("--quantize", "int8", "--dtype", "f16"),
         "--quantize makes integers of f32: it does not go with --dtype f16"),
        (("--quantize", "int8", "--keep-weights"),
         "--quantize stores weights in another form: it does not go with --keep-weights"),
        (("--quantize", "int8", "--train"), "--quantize is of models that are only run: it does not go with --train"),
        (("--quantize", "int8-static", "--decode"),
         "--quantize int8-static measures whole models: with --decode, choose int8 or int4"),
        (("--quantize", "int8", "--target", "portable"),
         "error[E918]: `--target portable` has no kernels for models in int8"),
        (("--quantize", "int8", "--exclude", "head.*"), "error[E918]: `head.*` matches no weight of the model"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(folder: Path, options: tuple[str, ...], message: str) -> None:
    ended = invoke("compile", "run", *options, "-o", "refused.onnx", folder=folder)
    assert ended.exit_code == 2
    assert message in ended.stderr.replace("\n", " ")
    assert not (folder / "refused.onnx").exists()


def test_a_spec_has_no_data_to_calibrate_with(folder: Path) -> None:
    ended = invoke("compile", "net.model", "--quantize", "int8-static", "-o", "refused.onnx", folder=folder)
    assert ended.exit_code == 2
    assert "error[E918]: there is no data to measure ranges on" in ended.stderr
    assert "name the folder of a run, or some data: `--calibrate DATA`" in ended.stderr


TEXT = """model Next {
    input tokens: i64[batch, T]
    x = tokens -> Embedding(40, 32)
    attention = MultiHeadAttention(2, causal: true)
    output logits = x + attention(x) -> Dense(40)
}
"""


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_a_decode_step_scores_as_its_model_in_floats(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "next.model").write_text(TEXT)
    scores, sizes = {}, {}
    for name, options in (("floats", ()), (scheme, ("--quantize", scheme))):
        ended = invoke("compile", "next.model", "--decode", *options, "-o", name, "--json", folder=tmp_path)
        assert ended.exit_code == 0, ended.output
        assert json.loads(ended.stdout)["weights"] == name
        step = tmp_path / name / "step.onnx"
        session = onnxruntime.InferenceSession(str(step), providers=["CPUExecutionProvider"])
        feeds = {
            slot.name: np.full([size if isinstance(size, int) else 1 for size in slot.shape], 7, np.int64)
            if slot.type == "tensor(int64)"
            else np.random.default_rng(0)
            .normal(size=[size if isinstance(size, int) else 3 for size in slot.shape])
            .astype("f")
            for slot in session.get_inputs()
        }
        for slot in session.get_inputs():
            if slot.type != "tensor(int64)":
                feeds[slot.name] = feeds[slot.name][:1]  # a batch of 1, like the token's
        scores[name], sizes[name] = session.run(["logits"], feeds)[0], step.stat().st_size
    spread = np.abs(scores["floats"]).max()
    difference = np.abs(scores[scheme] - scores["floats"]).max() / spread
    assert 0 < difference < (0.05 if scheme == "int8" else 0.25)
    assert sizes[scheme] < sizes["floats"]


def test_python_writes_integers_too(folder: Path, tmp_path: Path) -> None:
    model = nablac.load(folder / "run")
    model.to_onnx(tmp_path / "floats.onnx")
    model.to_onnx(tmp_path / "integers.onnx", quantize="int8")
    model.to_onnx(tmp_path / "kept.onnx", quantize="int8", exclude=["*"])
    floats, integers, kept = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("floats", "integers", "kept"))
    assert integers < floats == kept
    feeds = {"x": np.array([[1, 2], [5, 3]], "f")}
    ours, theirs = (
        onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx")).run(None, feeds)[0]
        for name in ("integers", "floats")
    )
    assert 0 < np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int9"}, "there is no scheme `int9`"),
        ({"quantize": "int8-static"}, "`int8-static` needs data to measure ranges on"),
        ({"quantize": "int8", "exclude": ["head.*"]}, "`head.*` matches no weight of the model"),
        ({"quantize": "int8", "keep_weights": True}, "integers take the place of weights"),
        ({"quantize": "int8", "target": "portable"}, "`--target portable` has no kernels"),
    ],
)
def test_python_refuses_what_cannot_be_written(
    folder: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(NablacError, match=re.escape(message)):
        nablac.load(folder / "run").to_onnx(tmp_path / "refused.onnx", **options)
    assert not list(tmp_path.iterdir())
