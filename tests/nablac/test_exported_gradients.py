"""`nablac grad -o FILE.onnx`: gradients and Hessian-vector products as files, for each target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import nablac
from runtime.onnx_session import OnnxRunner
from tests.command_line import invoke
from tests.paths import ROOT


def test_a_gradient_is_exported(tmp_path: Path) -> None:
    target = tmp_path / "g.onnx"
    done = invoke("grad", str(ROOT / "specs" / "mlp.model"), "--wrt", "dense.*", "-o", str(target))
    assert done.exit_code == 0, done.output
    model = nablac.compile(ROOT / "specs" / "mlp.model").gradient("dense.*")
    generator = np.random.default_rng(0)
    feeds = {"image": generator.random((3, 1, 28, 28)).astype(np.float32), "label": np.array([1, 2, 3])}
    expected, results = model(**feeds), OnnxRunner(target).run(feeds)
    assert set(expected) == set(results) == {"loss", "grad.dense.W", "grad.dense.b"}
    for name in expected:
        np.testing.assert_allclose(results[name], expected[name], rtol=1e-4, atol=1e-7)
    portable = tmp_path / "p.onnx"
    done = invoke("grad", ROOT / "specs" / "mlp.model", "--wrt", "dense.*", "--target", "portable", "-o", portable)
    assert done.stdout.startswith(f"{portable}: ") and "nodes, for portable\n" in done.stdout
    results = OnnxRunner(portable).run(feeds)
    for name in expected:
        np.testing.assert_allclose(results[name], expected[name], rtol=1e-4, atol=1e-7)
    default, other = (onnx.load(path) for path in (target, portable))
    assert [node.op_type for node in default.graph.node] != [node.op_type for node in other.graph.node]
    none = invoke("grad", str(ROOT / "specs" / "mlp.model"), "--wrt", "nothing", "-o", str(target))
    assert none.exit_code == 1 and "error[E614]: no parameter or float input matches `nothing`" in none.stderr


def test_a_gradient_that_a_target_cannot_have_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "g.onnx"
    done = invoke("grad", "lstm", "--target", "portable", "-o", target)
    assert done.exit_code == 2 and "`--target portable` writes no gradient of a recurrence" in done.stderr
    assert not target.exists()


def test_hessian_vector_products_are_exported(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle: install the `oracle` extra")
    target = tmp_path / "g.onnx"
    text = "model M {\n input x: [batch, 3]\n output y = x -> Dense(4, activation: tanh) -> Dense(1)\n}\n"
    file = tmp_path / "m.model"
    file.write_text(text + "train M { target t: [batch, 1]; loss mse(y, t) }\n")
    done = invoke("grad", str(file), "--hvp", "--wrt", "dense.W", "-o", str(target))
    assert done.exit_code == 0 and "hvp.dense.W: f32[3, 4]" in done.stdout, done.output
    generator = np.random.default_rng(0)
    x, t, along = (generator.normal(size=shape).astype(np.float32) for shape in ((5, 3), (5, 1), (3, 4)))
    weights = {path: torch.tensor(array) for path, array in nablac.compile(file).weights.items()}

    def loss(w: Any) -> Any:
        hidden = torch.tanh(torch.tensor(x) @ w + weights["dense.b"])
        return ((hidden @ weights["dense_1.W"] + weights["dense_1.b"] - torch.tensor(t)) ** 2).mean()

    _, expected = torch.autograd.functional.hvp(loss, weights["dense.W"], torch.tensor(along))
    results = OnnxRunner(target).run({"x": x, "t": t, "along.dense.W": along})
    np.testing.assert_allclose(results["hvp.dense.W"], expected.numpy(), rtol=1e-4, atol=1e-6)
