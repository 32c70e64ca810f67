"""Models whose weights are folded, as users meet them: in Python, and in files that `nablac compile` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import nablac
from nablac.commands.compile import command

TEXT = """model M {
    input x: [batch, 3]
    param W: [3, 2] ~ normal(1)
    param s: [2] = 2
    output y = (x @ W) * s
}
"""
OVERFLOWING = """model M {
    input x: [batch, 3]
    param W: [3, 2] = 3
    param s: [2] = 0.1
    output y = (x @ W) * s
}
"""
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def scaled(model: nablac.Model, **fed: Any) -> Any:
    return model(x=X, **fed)["y"]


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_a_weight_that_takes_the_place_of_another_counts_from_the_next_call_on(backend: str) -> None:
    model = nablac.compile(TEXT, backend=backend)
    first = scaled(model)
    model.weights["s"] = np.array([4, 6], np.float32)
    np.testing.assert_allclose(scaled(model), first * [2, 3], rtol=1e-6)
    model.weights["s"] = np.array([2, 2], np.float32)
    np.testing.assert_allclose(scaled(model), first, rtol=1e-6)


def test_a_weight_that_is_changed_in_place_counts_with_numpy() -> None:
    model = nablac.compile(TEXT)
    first, weights = scaled(model), model.weights
    weights["W"] *= 2
    np.testing.assert_allclose(scaled(model), 2 * first, rtol=1e-6)
    weights["s"] *= 2
    np.testing.assert_allclose(scaled(model), 4 * first, rtol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_a_call_may_feed_a_weight_for_once(backend: str) -> None:
    model = nablac.compile(TEXT, backend=backend)
    first = scaled(model)
    np.testing.assert_allclose(scaled(model, s=np.array([4, 6], np.float32)), first * [2, 3], rtol=1e-6)
    np.testing.assert_array_equal(scaled(model), first)


@pytest.mark.parametrize(
    ("options", "form", "names", "report"),
    [
        ((), ("folded", 1, 2), ["W.folded"], "weights folded (1 computed from 2)"),
        (("--keep-weights",), ("named", 0, 0), ["W", "s"], "weights by name"),
        (("--disable-pass", "fold-affine"), ("named", 0, 0), ["W", "s"], "weights by name"),
    ],
)
def test_compile_says_which_form_it_wrote(
    options: tuple[str, ...], form: tuple[str, int, int], names: list[str], report: str, tmp_path: Path
) -> None:
    file = tmp_path / "m.model"
    file.write_text(TEXT)
    shown = CliRunner().invoke(command, [str(file), *options]).stdout
    assert report in shown
    facts = json.loads(CliRunner().invoke(command, [str(file), "--json", *options]).stdout)
    assert (facts["weights"], facts["computed_weights"], facts["computed_from"]) == form
    assert [tensor.name for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer] == names


def test_to_onnx_keeps_weights_by_name_where_that_is_asked_for(tmp_path: Path) -> None:
    model = nablac.compile(TEXT)
    for keep, names in ((False, ["W.folded"]), (True, ["W", "s"])):
        model.to_onnx(tmp_path / "m.onnx", keep_weights=keep)
        proto = onnx.load(tmp_path / "m.onnx")
        assert [tensor.name for tensor in proto.graph.initializer] == names
        assert proto == model.onnx(keep_weights=keep)


def test_what_overflows_before_its_scale_alone_is_no_reason_not_to_write(tmp_path: Path) -> None:
    """Numbers near the largest: 3 x overflows, and 0.3 x does not."""
    file = tmp_path / "m.model"
    file.write_text(OVERFLOWING)
    ended = CliRunner().invoke(command, [str(file)])
    assert (ended.exit_code, file.with_suffix(".onnx").exists()) == (0, True), ended.stderr
