"""Files for `portable`, of every spec: only forms that clients compute right, and the numbers of the default export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from benchmarks.client_cases import Built, Case, cases
from benchmarks.clients import feeds_of
from compiler.onnx.exporter import export
from compiler.operators.random import FoldKey, RandomUniform
from compiler.passes.pipeline import optimize
from compiler.targets import ORT_CPU, PORTABLE
from grammar.diagnostics import NablacError
from runtime.initialization import initialize
from runtime.numpy_executor import run
from runtime.onnx_session import OnnxRunner
from tests.compiler.onnx.portable_forms import forms_of
from tests.models import elaborate
from tests.runtime.graphs import fed, graph

LARGE = ("sentence",)  # BERT's layers with 90 MB of weights
CASES = {f"{case.kind}: {case.name}": case for case in cases() if case.name not in LARGE}
STEPS = ("mlp", "cnn", "gru")  # the others' training steps, of thousands of nodes, have no other forms

REFUSED = [f"gradient: {name}" for name in ("rnn", "lstm", "characters", "forecaster")]


def _chosen(case: Case) -> bool:
    return case.kind != "training step" or case.name in STEPS


@pytest.mark.parametrize("key", REFUSED)
def test_gradients_of_recurrences_of_unknown_length_are_refused(key: str) -> None:
    with pytest.raises(NablacError, match="writes no gradient of a recurrence of unknown length"):
        CASES[key].build().write(PORTABLE)


@pytest.mark.parametrize("key", [key for key, case in CASES.items() if _chosen(case) and key not in REFUSED])
def test_only_forms_that_clients_compute_right_are_written(key: str) -> None:
    built = CASES[key].build()
    model = built.write(PORTABLE)
    assert forms_of(model) == set()
    names = [value.name for value in model.graph.input]
    feeds = feeds_of(built, 3, names)
    wanted = OnnxRunner(built.write(ORT_CPU).SerializeToString()).run(feeds)
    _compare(OnnxRunner(model.SerializeToString()).run(feeds), wanted)
    if CASES[key].kind in ("inference", "decode step"):  # its GatherElements takes at most 64 rows
        outputs = [value.name for value in model.graph.output]
        results = ReferenceEvaluator(model).run(outputs, feeds)
        _compare(dict(zip(outputs, results, strict=True)), wanted)


def _compare(results: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, array in wanted.items():
        scale = max(1.0, float(np.max(np.abs(array), initial=0)))
        np.testing.assert_allclose(results[name], array, rtol=1e-4, atol=1e-5 * scale, err_msg=name)


FORMS = {  # by the form that the default export has: a model
    "a cast to bool": "model M { input x: [batch, 3]; output y = x * cast(cast(x, bool), f32) }",
    "a division by sizes": "model M { input x: [batch, 3]; output y = x / cast(size(x, 0), f32) }",
    "a reduction of axes apart": "model M { input x: [batch, 3, 4, 4]; output y = sum(x, axis: [0, 2, 3]) }",
    "a slice backwards": "model M { input x: [batch, 3]; output y = flip(x, 0) }",
    "a reduction to a scalar": "model M { input x: [batch, 3]; output y = sum(x) * x }",
    "IsNaN": "model M { input x: [batch, 3]; output y = isnan(x) or max(x, axis: 1, keep: true) > 0 }",
    "Equal of bools": "model M { input x: [batch, 3]; output y = where((x > 0) == (x > 1), x, 2) }",
    "an output that is a view, and is read": "model M { input x: [batch, 3]; y = reshape(x + 1, [batch, 1, 3])\n"
    " output y; output z = exp(y); output same = y }",
    "erf of a quotient": "model M { input x: [batch, 3]; output dx = gradient(sum(gelu(x)), x) }",
    "tanh of a multiple of a sum": "model M { input x: [batch, 3]; output dx = gradient(sum(gelu_tanh(x)), x) }",
    "a square matrix and its transpose as right factors": "model M { input x: [batch, T, 72]\n"
    " param W: [72, 72] ~ normal(0.1)\n output dx = gradient(sum(relu(x @ W)), x) }",
    "indices of a max pool": "model M { input x: [batch, 1, h, w]\n"
    " output dx = gradient(sum(max_pool(x, kernel: [3, 3])), x) }",
    "a recurrence in reverse only": "model M { input x: [batch, T, 3]; output y = x -> GRU(4, reverse: true) }",
    "a GRU with the reset gate before the product": "model M { input x: [batch, T, 3]\n"
    " output y = x -> GRU(4, reset_after: false) }",
    "a Scan that stacks items of unknown sizes": "cell Own() { input x: [batch, n]; state h: [batch, n] = 0\n"
    " h' = relu(x + h); output h' }\n"
    "model M { input x: [batch, T, 3]; output y = scan(Own())(x, axis: 1) }",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_the_default_export_is_seen_and_not_written(form: str) -> None:
    built = Built(elaborate(FORMS[form]), {})
    weights = initialize(built.graph, 0)
    assert form in forms_of(Built(built.graph, weights).write(ORT_CPU))
    assert forms_of(Built(built.graph, weights).write(PORTABLE)) == set()


def test_a_max_pool_whose_indices_are_read_otherwise_is_refused() -> None:
    text = "y = max_pool(x, kernel: [3]); output d = gradient(sum(gradient(sum(y * y * y), x) * x), x)"
    graph = elaborate(f"model M {{ input x: [batch, 1, 6]; {text} }}")
    with pytest.raises(NablacError, match="has no indices of the largest items of overlapping windows"):
        Built(graph, {}).write(PORTABLE)


class Equal(OpRun):
    """Equality as MNN has it: of NaN with itself too."""

    op_domain = ""

    def _run(self, x: Any, y: Any) -> tuple[Any]:
        return ((x == y) | (np.isnan(x) & np.isnan(y)),)


class Greater(OpRun):
    """`x > y` as OpenVINO has it: true of NaN."""

    op_domain = ""

    def _run(self, x: Any, y: Any) -> tuple[Any]:
        return (~(x <= y),)


class LessOrEqual(OpRun):
    """`x <= y` as onnx2torch has it."""

    op_domain = ""

    def _run(self, x: Any, y: Any) -> tuple[Any]:
        raise NotImplementedError


def test_nan_is_seen_where_comparisons_take_it_for_a_number() -> None:
    model = Built(elaborate("model M { input x: [n]; output y = isnan(x) }"), {}).write(PORTABLE)
    x = np.array([1, np.nan, np.inf, -np.inf, 0, np.finfo(np.float32).max], np.float32)
    (seen,) = ReferenceEvaluator(model, new_ops=[Equal, Greater, LessOrEqual]).run(["y"], {"x": x})
    np.testing.assert_array_equal(seen, np.isnan(x))


@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize("reverse", ["false", "true"])
def test_a_loop_stacks_what_a_scan_does(length: int, reverse: str) -> None:
    text = """cell Own() {
        input x: [batch, n]
        state h: [batch, n] = 1
        h' = relu(x + h)
        output h' * 2
    }
    model M { input x: [batch, T, 3], z: [3]
        output y = scan(Own(), reverse: REVERSE)(x * z, axis: 1) }"""
    built = Built(elaborate(text.replace("REVERSE", reverse)), {})
    model = built.write(PORTABLE)
    assert "Loop" in {node.op_type for node in model.graph.node}
    for batch in (1, 3):
        feeds = {"x": np.random.default_rng(length).normal(size=(batch, length, 3)).astype(np.float32)}
        feeds["z"] = np.array([1, -2, 3], np.float32)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        h, rows = np.ones((batch, 3), np.float32), np.zeros((batch, length, 3), np.float32)
        for step in reversed(range(length)) if reverse == "true" else range(length):
            h = np.maximum(feeds["x"][:, step] * feeds["z"] + h, 0)
            rows[:, step] = h * 2
        np.testing.assert_allclose(session.run(["y"], feeds)[0], rows, rtol=1e-6)


def _as_f32(number: np.ndarray) -> np.ndarray:
    return number.astype(np.float32).astype(np.float64)


class Div(OpRun):
    """Division of integers as OpenVINO has it: of f32, rounded towards 0."""

    op_domain = ""

    def _run(self, x: Any, y: Any) -> tuple[Any]:
        integer = x.dtype.kind == "i"
        return (np.trunc(_as_f32(x) / y).astype(x.dtype) if integer else x / y,)


class Mod(OpRun):
    """The remainder of integers as OpenVINO has it: of f32."""

    op_domain = ""

    def _run(self, x: Any, y: Any, fmod: int | None = None) -> tuple[Any]:
        assert x.dtype.kind == "i" and not fmod
        return (np.mod(_as_f32(x), y).astype(x.dtype),)


@pytest.mark.parametrize("key", [0, 1, 65535, 65536, -65536, -65537, 2**24 + 1, 1078714264, -1171849213, 2**31 - 1])
def test_draws_are_exact_where_integers_are_divided_as_f32(key: int) -> None:
    operand = fed("key", "i64")
    draws = graph([operand], u=RandomUniform((9,))(FoldKey("3")(operand, operand)), v=RandomUniform((4,))(operand))
    model = export(optimize(draws, PORTABLE), weights={}, target=PORTABLE)
    feeds = {"key": np.array(key)}
    results = ReferenceEvaluator(model, new_ops=[Div, Mod]).run(["u", "v"], feeds)
    for result, wanted in zip(results, run(draws, feeds, {}).values(), strict=True):
        np.testing.assert_array_equal(result, wanted)
