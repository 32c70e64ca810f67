"""Fused attention against torch's own; its lowering to one ONNX operator and to several."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.onnx.opsets import best_opset, needed_opset
from compiler.operators import attention
from compiler.operators.attention import Attention
from compiler.operators.leaves import Input
from compiler.types import TensorType
from tests.compiler.operators.harness import (
    OperatorCases,
    booleans,
    case,
    each,
    normal,
    refuses,
    run_numpy,
    run_onnx,
    tensor_type,
)

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")


LOWEST = float(np.finfo(np.float32).min)
LATER, ADD = ("later", -math.inf), ("add", 0.0)


def theirs(scale: float, causal: bool = False, grouped: bool = False) -> Any:
    def run(q: Any, k: Any, v: Any, bias: Any = None) -> Any:
        if causal and bias is not None:
            bias = bias + torch.full(q.shape[-2:-1] + k.shape[-2:-1], -math.inf, dtype=q.dtype).triu(1)
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, bias, is_causal=causal and bias is None, scale=scale, enable_gqa=grouped
        )

    return run


def behind(scale: float, before: int) -> Any:
    def run(q: Any, k: Any, v: Any, bias: Any = 0.0) -> Any:
        seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(before)
        mask = torch.where(seen, 0.0, -math.inf).to(q.dtype) + bias
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=True)

    return run


def written(q: Any, k: Any, v: Any, *steps: Any) -> Any:
    """Attention as its steps say, one after the other, each a function of the scores."""
    groups = q.shape[1] // k.shape[1]
    k, v = (torch.repeat_interleave(each, groups, 1) for each in (k, v))
    scores = q @ k.transpose(-1, -2)
    for step in steps:
        scores = step(scores)
    return scores @ v


def hide(mask: Any, number: float) -> Any:
    return lambda scores: torch.where(mask, scores, torch.tensor(number, dtype=scores.dtype))


def softmax(scores: Any) -> Any:
    return torch.softmax(scores, -1)


Q, K, V = (2, 4, 5, 3), (2, 4, 7, 3), (2, 4, 7, 6)
FEW, SAME = (2, 2, 7, 3), (2, 4, 5, 3)
NAMED = {"batch": 2, "T": 5, "S": 7}
SOME, NONE = booleans((2, 1, 1, 7)), np.zeros((2, 1, 1, 7), bool)
NATIVE = (
    "attention",
    "causal",
    "groups",
    "a finite bias",
    "causal with a finite bias",
    "a finite bias and a mask",
)  # as ONNX's own operator
CASES = (
    case("attention", Attention(0.5), q=Q, k=K, v=V, oracle=theirs(0.5), order=0, named=NAMED),
    case("a bias", Attention(0.5, (ADD,)), q=Q, k=K, v=V, bias=(2, 1, 5, 7), oracle=theirs(0.5), order=0, named=NAMED),
    case(
        "a bias of every head",
        Attention(1.0, (ADD,)),
        q=Q,
        k=K,
        v=V,
        bias=(2, 4, 5, 7),
        oracle=theirs(1.0),
        order=0,
        named={},
    ),
    case(
        "causal", Attention(0.3, (LATER,)), q=SAME, k=SAME, v=(2, 4, 5, 6), oracle=theirs(0.3, True), order=0, named={}
    ),
    case(
        "causal with a bias",
        Attention(0.3, (ADD, LATER)),
        q=SAME,
        k=SAME,
        v=SAME,
        bias=(1, 1, 5, 5),
        oracle=theirs(0.3, True),
        order=0,
        named={},
    ),
    case(
        "a finite bias",
        Attention(0.5, (ADD,), finite_biases=True),
        q=Q,
        k=K,
        v=V,
        bias=(1, 4, 5, 7),
        oracle=theirs(0.5),
        order=0,
        named=NAMED,
    ),
    case(
        "causal with a finite bias",
        Attention(0.3, (ADD, LATER), finite_biases=True),
        q=SAME,
        k=SAME,
        v=SAME,
        bias=(1, 1, 5, 5),
        oracle=theirs(0.3, True),
        order=0,
        named={},
    ),
    case(
        "a finite bias and a mask",
        Attention(0.5, (ADD, ("mask", LOWEST)), zeroed=True, finite_biases=True),
        q=Q,
        k=K,
        v=V,
        bias=(4, 5, 7),
        mask=SOME,
        oracle=lambda q, k, v, bias, mask: written(
            0.5 * q, k, v, lambda scores: scores + bias, hide(mask, -math.inf), softmax
        ),
        order=0,
        named={},
    ),
    case(
        "causal behind other keys",
        Attention(0.3, (LATER,), 2),
        symbolic=Attention(0.3, (LATER,), Dim.named("S") - Dim.named("T")),
        q=Q,
        k=K,
        v=V,
        oracle=behind(0.3, 2),
        order=0,
        named=NAMED,
    ),
    case(
        "causal behind other keys, with a bias",
        Attention(0.3, (ADD, LATER), 2),
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
    case(
        "a mask that is a step among others",
        Attention(0.5, (ADD, ("mask", -3.0), ("scale", 2.0), ("mask", -1e4), ADD)),
        q=Q,
        k=K,
        v=V,
        bias=(1, 4, 1, 7),
        first=SOME,
        second=booleans((5, 7)),
        more=(5, 1),
        oracle=lambda q, k, v, bias, first, second, more: written(
            q,
            k,
            v,
            lambda s: s * 0.5 + bias,
            hide(first, -3.0),
            lambda s: s * 2,
            hide(second, -1e4),
            lambda s: s + more,
            softmax,
        ),
        order=0,
        named=NAMED,
    ),
    case(
        "no key is seen",
        Attention(1.0, (("mask", -1e4), ("later", -1e4)), 1),
        q=Q,
        k=K,
        v=V,
        mask=NONE,
        oracle=lambda q, k, v, mask: v.mean(2, keepdim=True).expand(2, 4, 5, 6),
        order=0,
        named={},
    ),
    case(
        "no key is seen, and weights of 0",
        Attention(1.0, (("mask", -6e4), ("later", -6e4)), 1, zeroed=True),
        q=Q,
        k=K,
        v=V,
        mask=NONE,
        oracle=lambda q, k, v, mask: torch.zeros(2, 4, 5, 6, dtype=q.dtype),
        order=0,
        named={},
    ),
    case(
        "the first keys are hidden from the first queries",
        Attention(1.0, (("mask", -6e4), ("later", -6e4)), zeroed=True),
        q=Q,
        k=K,
        v=V,
        mask=np.arange(7).reshape(1, 1, 1, 7) > 1,
        oracle=lambda q, k, v, mask: written(
            q,
            k,
            v,
            hide(mask & torch.ones(5, 7, dtype=torch.bool).tril(), -math.inf),
            softmax,
            lambda w: torch.nan_to_num(w, 0.0),
        ),
        order=0,
        named={},
    ),
    case(
        "hidden keys of the highest scores",
        Attention(1.0, (("mask", -1.0), ("later", -2.0)), 1),
        q=Q,
        k=K,
        v=V,
        mask=SOME,
        oracle=lambda q, k, v, mask: written(
            q, k, v, hide(mask, -1.0), hide(torch.ones(5, 7, dtype=torch.bool).tril(1), -2.0), softmax
        ),
        order=0,
        named={},
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
    Attention(0.3, (LATER,)).compute(q, q, q)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6000 * 6000 * 4 / 2  # bytes of half of the scores


@pytest.mark.parametrize("row", CASES, ids=str)
def test_older_opsets_have_it_in_several_operators(row: Any) -> None:
    import onnxruntime

    arrays = row.arrays_in(attention.DType.F32)
    graph = row.graph(row.symbolic_types(arrays), row.op)
    native = str(row) in NATIVE
    assert (needed_opset(graph), best_opset(graph)) == (17, 24 if native else 17)
    feeds = row.feeds(arrays, graph)
    expected = run_numpy(graph, feeds)["result"]
    for opset, holds in ((17, False), (21, False), (24, native)):
        model = export(graph, opset=opset)
        assert ("Attention" in {node.op_type for node in model.graph.node}) == holds
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        (found,) = session.run(None, {name: feeds[name] for name in names})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


EDGES = {
    "large": (1e5, "f32"),
    "larger": (1e30, "f32"),
    "the largest": (3.4e38, "f32"),
    "the largest of f64": (1.7e308, "f64"),
    "the largest of f16": (6.5e4, "f16"),
    "beyond f16": (math.inf, "f16"),
    "infinite": (math.inf, "f32"),
    "the largest of bf16": (3.38e38, "bf16"),
    "NaN": (math.nan, "f32"),
}


@pytest.mark.parametrize("zeroed", [False, True])
@pytest.mark.parametrize("edge", EDGES)
def test_a_hidden_key_has_no_weight_whatever_its_score(edge: str, zeroed: bool) -> None:
    score, name = EDGES[edge]
    dtype = attention.DType(name).numpy
    lowest = {"f16": -65504.0, "bf16": -3.3895313892515355e38, "f32": LOWEST, "f64": -1.7976931348623157e308}[name]
    one, v = np.ones((1, 1, 1, 1), dtype), np.array([1, 2, 4], dtype).reshape(1, 1, 3, 1)
    for hidden, seen in ((score, 0.0), (0.0, -score if math.isfinite(score) else 0.0)):
        k = np.array([seen, hidden, hidden], dtype).reshape(1, 1, 3, 1)
        mask = np.array([True, False, False]).reshape(1, 1, 1, 3)
        for steps, operands in (((("mask", lowest),), (mask,)), ((("later", lowest),), ())):
            op = Attention(1.0, steps, zeroed=zeroed)
            assert op.compute(one, k, v, *operands).item() == 1.0
            if name == "bf16":
                continue  # no kernel
            graph = Graph(
                inputs := {
                    each: Input(each, TensorType(attention.DType.of(array), array.shape))()
                    for each, array in zip("qkvm", (one, k, v, *operands), strict=False)
                },
                {"y": op(*inputs.values())},
            )
            found = run_onnx(graph, dict(zip("qkvm", (one, k, v, *operands), strict=False)))
            assert found is not None
            added = name == "f32" and (not operands or zeroed)
            if added and not all(map(math.isfinite, (seen, hidden))):
                assert np.isnan(found["y"]).all()  # ONNX's own operator adds its mask, as `Attention.edges` says
            else:
                assert found["y"].item() == 1.0, (edge, steps)


def test_later_values_that_are_not_finite_count_as_the_product_has_it() -> None:
    q, v = np.zeros((1, 1, 3, 1)), np.array([1.0, 2.0, math.nan]).reshape(1, 1, 3, 1)
    assert np.isnan(Attention(1.0, (LATER,)).compute(q, q, v)).all()  # 0 times NaN


def test_shapes_that_do_not_fit_are_refused() -> None:
    q = tensor_type("f32[2, 3, 5, 4]")
    assert "do not share" in str(refuses(Attention(1.0), q, "f32[2, 2, 7, 4]", "f32[2, 2, 7, 4]"))
    assert "incompatible shapes" in str(refuses(Attention(1.0), q, "f32[2, 3, 7, 4]", "f32[2, 3, 8, 4]"))
    assert normal((1,))(np.random.default_rng(0)).shape == (1,)
