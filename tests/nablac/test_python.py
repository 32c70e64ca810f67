"""The Python interface: arguments, and errors that do not mention options of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from compiler.types import DType
from grammar.diagnostics import NablacError

TEXT = "model M(hidden = 4) {\n    input x: [batch, 3]\n    output y = x -> Dense(hidden)\n}\n"

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown backend": ({"backend": "foo"}, "E910: there is no backend `foo`"),
    "an unknown device": ({"device": "tpu", "backend": "ort"}, "E910: there is no device `tpu`"),
    "an unknown dtype": ({"dtype": "f99"}, "E211: unknown dtype `f99`"),
    "an integer dtype": ({"dtype": "i32"}, "E211: `i32` is not a float type"),
    "NumPy's integer dtype": ({"dtype": np.int32}, "E211: unknown dtype `int32`"),
    "not a dtype": ({"dtype": object()}, "E211: unknown dtype `object`"),
    "a device that NumPy lacks": ({"device": "cuda"}, "E910: the NumPy runtime has no device but the CPU"),
}


@pytest.mark.parametrize("label", REFUSED)
def test_wrong_arguments_are_refused(label: str) -> None:
    options, expected = REFUSED[label]
    with pytest.raises(NablacError) as caught:
        nablac.compile(TEXT, **options)
    code, _, message = expected.partition(": ")
    (error,) = caught.value.diagnostics
    assert (error.code, error.message) == (code, message)


def test_training_refuses_an_unknown_backend_too() -> None:
    with pytest.raises(NablacError, match="there is no backend `foo`"):
        nablac.compile(TEXT).train(backend="foo")


@pytest.mark.parametrize("dtype", ["f64", "float64", np.float64, np.dtype("float64"), float, DType.F64])
def test_a_float_type_has_several_names(dtype: Any) -> None:
    model = nablac.compile(TEXT, dtype=dtype)
    assert model(x=np.zeros((1, 3)))["y"].dtype == np.float64


@pytest.mark.parametrize("hidden", [5, np.int64(5), np.array(5), "5"])
def test_hyperparameters_may_be_numpy_numbers(hidden: Any) -> None:
    assert nablac.compile(TEXT, hidden=hidden)(x=np.zeros((1, 3), np.float32))["y"].shape == (1, 5)


def test_a_hyperparameter_that_is_a_list_may_be_a_tuple() -> None:
    text = "model M(sizes = [1]) {\n    input x: [batch, 3]\n    output y = x -> Dense(sizes[1])\n}\n"
    assert nablac.compile(text, sizes=(1, np.int32(2)))(x=np.zeros((1, 3), np.float32))["y"].shape == (1, 2)


def test_an_empty_text_is_a_text() -> None:
    with pytest.raises(NablacError, match="this file declares nothing"):
        nablac.compile("")


def test_rename_takes_a_rule_a_list_or_a_file(tmp_path: Path) -> None:
    nablac.compile("model M {\n    input x: [batch, 3]\n    output y = x -> Dense(4)\n}\n").save(
        tmp_path / "w.safetensors"
    )
    other = nablac.compile("model M {\n    input x: [batch, 3]\n    last = Dense(4)\n    output y = last(x)\n}\n")
    rule = "dense.* -> last.*"
    for rename in (rule, [rule]):
        other.load(tmp_path / "w.safetensors", rename)
    (tmp_path / "own.rules").write_text(rule)
    other.load(tmp_path / "w.safetensors", tmp_path / "own.rules")
    with pytest.warns(UserWarning, match=r"w.safetensors: `dens.W -> last.W \^T`, `a -> b` match no entry of the file"):
        other.load(tmp_path / "w.safetensors", ["dens.W -> last.W ^T", rule, "a -> b"])


def test_errors_do_not_mention_options_of_the_command_line(tmp_path: Path) -> None:
    model = nablac.compile(TEXT)
    for call in (
        lambda: model.onnx(opset=99),
        lambda: model.to_onnx(tmp_path / "no folder" / "m.onnx"),
        lambda: nablac.compile(Path(__file__).parents[2] / "specs" / "mlp.model").gradient("nothing"),
    ):
        with pytest.raises(NablacError) as caught:
            call()
        assert " -o" not in str(caught.value) and "--" not in str(caught.value).replace("-->", "")


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize(("indices", "token"), [("tokens", 12), ("tokens + 5", 7)])
def test_a_token_outside_the_table_is_reported_with_its_input(backend: str, indices: str, token: int) -> None:
    text = f"model M {{\n    input tokens: i64[batch, T]\n    output y = {indices} -> Embedding(10, 4)\n}}\n"
    model = nablac.compile(text, backend=backend)
    with pytest.raises(NablacError) as caught:
        model(tokens=np.array([[3, token]]))
    (error,) = caught.value.diagnostics
    assert error.code == "E806"
    of_input = "`tokens` holds 12, and the table that it looks up has 10 entries"
    assert (error.message == of_input) == (indices == "tokens"), error.message
