"""What a model is fed to look up has its entry in the table: numbers below 0 would be counted from its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from runtime.onnx_session import OnnxRunner
from runtime.table_lookups import check_stored

LOOKED_UP = ("x -> Embedding(5, 2)", "concat([x, x], axis: 1) -> Embedding(5, 2)")


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("text", LOOKED_UP)
def test_a_token_below_0_is_refused_before_anything_runs(text: str, backend: str) -> None:
    model = nablac.compile(f"model M {{\n input x: i64[b, t]\n output y = {text}\n}}\n", backend=backend)
    with pytest.raises(NablacError) as caught:
        model(x=np.array([[0, -1]]))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E806"
    assert diagnostic.message == "`x` holds -1, and the table that it looks up has 5 entries"
    assert model(x=np.array([[0, 4]]))["y"].shape[0] == 1


@pytest.mark.parametrize(
    "text",
    [
        "where(x < 0, 0, x) -> Embedding(5, 2)",
        "x[:, :1] -> Embedding(5, 2)",
        "cross_entropy(ones([b, t, 5]), x, ignore: -1)",
        "one_hot(where(x < 0, 0, x), 5)",
        "one_hot(x + 1, 5)",
    ],
)
def test_a_number_below_0_that_nothing_looks_up_may_stand(text: str) -> None:
    model = nablac.compile(f"model M {{\n input x: i64[b, t]\n output y = {text}\n}}\n")
    assert np.isfinite(model(x=np.array([[0, -1]]))["y"]).all()


REFUSED = {
    "below 0, where another number is ignored": ("cross_entropy(logits, label, ignore: -100)", [0, -1], "holds -1"),
    "beyond, where another number is ignored": ("cross_entropy(logits, label, ignore: -100)", [3, -100], "holds 3"),
    "below 0": ("cross_entropy(logits, label)", [0, -1], "holds -1"),
    "one-hot, below 0": ("mse(logits, one_hot(label, 3))", [-1, 0], "holds -1, and `one_hot` has 3 entries"),
    "one-hot, beyond": ("mse(logits, one_hot(label, 3))", [7, 0], "holds 7, and `one_hot` has 3 entries"),
    "a metric that looks the ignored number up": ("top_k_accuracy(logits, label, k: 2)", [0, -100], "holds -100"),
    "by a place in two axes": (
        "gather_nd(logits, concat([zeros([b, 1], dtype: i64), unsqueeze(label, 1)], axis: 1))",
        [0, -1],
        "holds -1",
    ),
    "put into a table": ("scatter_elements(logits, unsqueeze(label, 1), ones([b, 1]), axis: 1)", [0, -1], "holds -1"),
}


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_label_without_a_class_is_refused(case: str, backend: str) -> None:
    text, labels, told = REFUSED[case]
    model = nablac.compile(
        f"model M {{\n input logits: [b, 3], label: i64[b]\n output y = {text}\n}}\n", backend=backend
    )
    logits = np.array([[0, 1, 2], [2, 1, 0]], np.float32)
    with pytest.raises(NablacError) as caught:
        model(logits=logits, label=np.array(labels))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E806" and f"`label` {told}" in diagnostic.message
    assert np.isfinite(model(logits=logits, label=np.array([0, 2]))["y"]).all()


def test_a_compiled_file_refuses_what_its_table_has_not(tmp_path: Path) -> None:
    text = "model M {\n input x: i64[b, t], kind: i64[b]\n"
    text += " output y = x -> Embedding(5, 2); output z = one_hot(kind, 3)\n}\n"
    nablac.compile(text).to_onnx(tmp_path / "m.onnx")
    metadata = OnnxRunner(tmp_path / "m.onnx").metadata
    check_stored(metadata, {"x": np.array([[0, 4]]), "kind": np.array([2])})
    for name, numbers in (("x", [[0, -1]]), ("x", [[5]]), ("kind", [3]), ("kind", [-1])):
        with pytest.raises(NablacError, match="E806"):
            check_stored(metadata, {name: np.array(numbers)})


def test_a_size_that_another_input_tells() -> None:
    text = "model M {\n input x: i64[b], y: [c]\n"
    text += " output expand(unsqueeze(x, 0), [c, b]) -> Embedding(5, 2)\n output z = y * 1\n}"
    with pytest.raises(NablacError, match="`x` holds -1"):
        nablac.compile(text)(x=np.array([2, -1]), y=np.zeros(3, np.float32))
