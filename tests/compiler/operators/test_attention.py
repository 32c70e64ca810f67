"""Fused attention against torch's own; its lowering to one ONNX operator and to several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.onnx.exporter import best_opset, export, needed_opset
from compiler.operators import attention
from compiler.operators.attention import Attention
from tests.compiler.operators.harness import OperatorCases, case, each, normal, refuses, run_numpy, tensor_type

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")


def theirs(scale: float, causal: bool = False, grouped: bool = False) -> Any:
    def run(q: Any, k: Any, v: Any, bias: Any = None) -> Any:
        if causal and bias is not None:
            never = torch.full(q.shape[-2:-1] + k.shape[-2:-1], -6e4, dtype=q.dtype).triu(1)
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, bias + never, scale=scale)
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, bias, is_causal=causal, scale=scale, enable_gqa=grouped
        )

    return run


def behind(scale: float, before: int) -> Any:
    def run(q: Any, k: Any, v: Any, bias: Any = 0.0) -> Any:
        seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(before)
        mask = torch.where(seen, 0.0, -6e4).to(q.dtype) + bias
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=True)

    return run


Q, K, V = (2, 4, 5, 3), (2, 4, 7, 3), (2, 4, 7, 6)
FEW, SAME = (2, 2, 7, 3), (2, 4, 5, 3)
NAMED = {"batch": 2, "T": 5, "S": 7}
CASES = (
    case("attention", Attention(0.5), q=Q, k=K, v=V, oracle=theirs(0.5), order=0, named=NAMED),
    case("a bias", Attention(0.5), q=Q, k=K, v=V, bias=(2, 1, 5, 7), oracle=theirs(0.5), order=0, named=NAMED),
    case(
        "a bias of every head", Attention(1.0), q=Q, k=K, v=V, bias=(2, 4, 5, 7), oracle=theirs(1.0), order=0, named={}
    ),
    case("causal", Attention(0.3, True), q=SAME, k=SAME, v=(2, 4, 5, 6), oracle=theirs(0.3, True), order=0, named={}),
    case(
        "causal with a bias",
        Attention(0.3, True),
        q=SAME,
        k=SAME,
        v=SAME,
        bias=(1, 1, 5, 5),
        oracle=theirs(0.3, True),
        order=0,
        named={},
    ),
    case(
        "causal behind other keys",
        Attention(0.3, True, 2),
        symbolic=Attention(0.3, True, Dim.named("S") - Dim.named("T")),
        q=Q,
        k=K,
        v=V,
        oracle=behind(0.3, 2),
        order=0,
        named=NAMED,
    ),
    case(
        "causal behind other keys, with a bias",
        Attention(0.3, True, 2),
        q=Q,
        k=FEW,
        v=FEW,
        bias=(2, 1, 5, 7),
        oracle=behind(0.3, 2),
        order=0,
        named={},
    ),
    case(
        "groups", Attention(0.5), q=Q, k=FEW, v=(2, 2, 7, 6), oracle=theirs(0.5, grouped=True), order=0, named={"T": 5}
    ),
)


@each(CASES)
class TestAttention(OperatorCases): ...


@pytest.mark.parametrize("row", CASES, ids=str)
def test_blocks_change_nothing(row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = row.op.compute(*row.arrays)
    monkeypatch.setattr(attention, "LARGEST_SCORES", 100)
    np.testing.assert_allclose(row.op.compute(*row.arrays), whole, rtol=1e-12)


def test_a_long_sequence_never_has_all_its_scores() -> None:
    import tracemalloc

    random = np.random.default_rng(0)
    q = random.normal(size=(1, 1, 6000, 8)).astype(np.float32)
    tracemalloc.start()
    Attention(0.3, True).compute(q, q, q)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6000 * 6000 * 4 / 2  # bytes of half of the scores


@pytest.mark.parametrize("row", CASES, ids=str)
def test_older_opsets_have_it_in_several_operators(row: Any) -> None:
    import onnxruntime

    arrays = row.arrays_in(attention.DType.F32)
    graph = row.graph(row.symbolic_types(arrays), row.op)
    assert (needed_opset(graph), best_opset(graph)) == (17, 24)
    feeds = row.feeds(arrays, graph)
    expected = run_numpy(graph, feeds)["result"]
    for opset, holds in ((17, False), (21, False), (24, True)):
        model = export(graph, opset=opset)
        assert ("Attention" in {node.op_type for node in model.graph.node}) == holds
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        (found,) = session.run(None, {name: feeds[name] for name in names})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_shapes_that_do_not_fit_are_refused() -> None:
    q = tensor_type("f32[2, 3, 5, 4]")
    assert "do not share" in str(refuses(Attention(1.0), q, "f32[2, 2, 7, 4]", "f32[2, 2, 7, 4]"))
    assert "do not fit" in str(refuses(Attention(1.0), q, "f32[2, 3, 7, 4]", "f32[2, 3, 8, 4]"))
    assert normal((1,))(np.random.default_rng(0)).shape == (1,)
