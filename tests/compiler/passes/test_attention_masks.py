"""Recognised attention means what the text says, on every backend, where random masks and scores never go.

Each text is run as written and by every way that it may go: by NumPy after the passes, whole and in blocks, by
onnxruntime in the newest opset and the oldest, with its rewrites and without.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime
import pytest

from compiler.decode import decode
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.operators import attention
from compiler.operators.attention import Attention
from compiler.passes.pipeline import optimize
from compiler.training.gradients import gradient_graph
from compiler.types import DType
from runtime.feeds import float_ends
from runtime.generation.decoders import Cached, Layout
from runtime.generation.machines import machine
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import elaborate, spec_of

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

HEAD = """model M {
    input q: [batch, 2, T, 4], k: [batch, 2, S, 4], v: [batch, 2, S, 3], bias: [T, S]
    input keys: bool[batch, S], pairs: bool[T, S]
    mask = unsqueeze(unsqueeze(keys, 1), 1)
    rows = unsqueeze(iota(T), 1)
    columns = unsqueeze(iota(S), 0)
    distance = cast(columns - rows, dtype(q)) * 0.25
"""
SCORES = {  # and whether nothing but rounding is between them and those of torch
    "a mask": "where(mask, q @ k^T, -1e9)",
    "a mask of hidden": "where(not mask, -1e9, q @ k^T)",
    "a mask of -infinity": "where(mask, q @ k^T, -infinity)",
    "a mask below few scores": "where(mask, q @ k^T, -2.0)",
    "a mask of zeros": "where(mask, q @ k^T, 0.0)",
    "a mask above all scores": "where(mask, q @ k^T, 1e4)",
    "a mask, then a scale": "where(mask, q @ k^T, -1e4) / 2",
    "a scale, then a mask": "where(mask, q @ k^T / 2, -1e4)",
    "a mask, then a bias": "where(mask, q @ k^T, -1e4) + bias",
    "a bias, then a mask": "where(mask, q @ k^T - bias, -1e4)",
    "two masks of two numbers": "where(pairs, where(mask, q @ k^T, -1e4), -1e3)",
    "two masks of one number": "where(pairs and mask, q @ k^T, -1e4)",
    "hidden by either": "where(not pairs or not mask, -1e4, q @ k^T)",
    "later keys": "where(columns <= rows, q @ k^T, -1e4)",
    "later keys of -infinity": "where(columns <= rows, q @ k^T, -infinity)",
    "later keys below few scores": "where(columns <= rows, q @ k^T, -1.0)",
    "later keys and a mask": "where(mask and columns <= rows, q @ k^T, -1e4)",
    "later keys, then a mask": "where(mask, where(columns <= rows, q @ k^T, -1e4), -1e9)",
    "later keys, then a bias": "where(columns <= rows, q @ k^T, -1e4) + bias",
    "a window": "where(columns <= rows and rows - columns < 2, q @ k^T, -1e9)",
    "a finite bias": "q @ k^T - distance",
    "a finite bias, later keys": "where(columns <= rows, q @ k^T + distance, -3.4028234663852886e38)",
    "a finite bias, then a mask": "where(mask, q @ k^T + distance, -3.4028234663852886e38)",
    "a small mask added": "q @ k^T + where(mask, 0.0, -30.0)",
}
WEIGHTS = {
    "the librarys": "attention_weights(q @ k^T, keys)",
    "the librarys, causal": "attention_weights(q @ k^T, keys, causal: true)",
    "the librarys, pairs": "attention_weights(q @ k^T, keys, causal: true, pairs: pairs)",
    "the librarys, a finite bias": "attention_weights(q @ k^T + distance, keys)",
    "the librarys, a finite bias, causal": "attention_weights(q @ k^T + distance, causal: true)",
    "zeroed": "where(mask, softmax(where(mask, q @ k^T, -1e9)), 0.0)",
    "zeroed, of few scores": "where(mask, softmax(where(mask, q @ k^T, -1.0)), 0.0)",
    "zeroed, hidden first": "where(not mask, 0.0, softmax(where(not mask, -infinity, q @ k^T)))",
}
TEXTS = {label: f"softmax({scores})" for label, scores in SCORES.items()} | WEIGHTS
SIZES = {"square": (2, 5, 5), "few queries": (1, 2, 7), "few keys": (3, 7, 3), "single": (1, 1, 1)}
MASKS = {"none": 0.0, "all": 1.0, "half": 0.5, "the first": -1.0, "all but the first": -2.0}


def graph_of(text: str, dtype: DType = DType.F32) -> Graph:
    return elaborate(f"{HEAD}    output y = {text} @ v\n}}\n", dtype=dtype)


def feeds_of(sizes: str, masks: str, scale: float = 1.0, dtype: Any = np.float32) -> dict[str, Any]:
    batch, queries, keys = SIZES[sizes]
    random = np.random.default_rng(0)
    shapes = {"q": (batch, 2, queries, 4), "k": (batch, 2, keys, 4), "v": (batch, 2, keys, 3), "bias": (queries, keys)}
    feeds: dict[str, Any] = {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    feeds["q"] *= dtype(scale)

    def mask(shape: tuple[int, ...]) -> Any:
        part = MASKS[masks]
        if part >= 0:
            return random.random(shape) < part
        return np.broadcast_to((np.arange(shape[-1]) == 0) == (part == -1), shape).copy()

    return feeds | {"keys": mask((batch, keys)), "pairs": mask((queries, keys))}


def by_onnxruntime(graph: Graph, feeds: dict[str, Any], opset: int | None, rewrites: bool) -> Any:
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if rewrites else levels.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    model = export(graph, opset=opset).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    return session.run(None, {each.name: feeds[each.name] for each in session.get_inputs()})[0]


def written(graph: Graph, feeds: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"):
        return run(graph, {name: array for name, array in feeds.items() if name in graph.inputs})["y"]


@pytest.mark.parametrize("label", TEXTS)
def test_every_way_gives_what_is_written(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(TEXTS[label])
    better = optimize(graph)
    assert sum(isinstance(node.op, Attention) for node in better) == 1
    for sizes in SIZES:
        for masks in MASKS:
            feeds = feeds_of(sizes, masks)
            expected = written(graph, feeds)
            found = {"passes": written(better, feeds)}
            monkeypatch.setattr(attention, "LARGEST_SCORES", 8)
            found["blocks"] = written(better, feeds)
            monkeypatch.undo()
            if sizes == "square":
                for opset, rewrites in ((None, True), (None, False), (24, True), (17, False)):
                    found[f"opset {opset}, {rewrites}"] = by_onnxruntime(better, feeds, opset, rewrites)
            for way, value in found.items():
                np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6, err_msg=f"{sizes}, {masks}, {way}")


@pytest.mark.parametrize("dtype", [DType.F64, DType.F32])
@pytest.mark.parametrize("scale", [1e5, 1e30])
@pytest.mark.parametrize("label", WEIGHTS)
def test_scores_of_any_size(label: str, scale: float, dtype: DType) -> None:
    graph = graph_of(TEXTS[label], dtype)
    for masks in MASKS:
        feeds = feeds_of("square", masks, scale, dtype.numpy.type)
        np.testing.assert_array_equal(written(optimize(graph), feeds), expected := written(graph, feeds), masks)
        np.testing.assert_array_equal(by_onnxruntime(optimize(graph), feeds, None, True), expected, masks)


@pytest.mark.parametrize("scale", [1.0, 1e5, 1e30, 1e37])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("causal", [False, True])
def test_the_librarys_weights_are_torchs(causal: bool, masks: str, scale: float) -> None:
    """A hidden key has weight 0 whatever the scores are, and a query that sees no key gets 0, as in torch."""
    graph = graph_of(f"attention_weights(q @ k^T, keys, causal: {str(causal).lower()})")
    feeds = feeds_of("square", masks, scale)
    tensors = {name: torch.as_tensor(array) for name, array in feeds.items()}
    allowed = tensors["keys"][:, None, None].expand(2, 2, 5, 5)
    allowed = allowed & torch.ones(5, 5, dtype=torch.bool).tril() if causal else allowed
    q, k, v = (tensors[name].double() for name in "qkv")
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, allowed, scale=1.0)
    for found in (written(graph, feeds), written(optimize(graph), feeds)):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


LAYER = """model M {
    input x: [batch, T, 8], keys: bool[batch, T], pairs: bool[T, T]
    attend = MultiHeadAttention(2, causal: CAUSAL)
    y = attend(x, mask: keys, pairs: pairs)
    output y
}
train M {
    target t: [batch, T, 8]
    loss mse(y, t)
}
"""


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("causal", ["false", "true"])
def test_training_and_evaluation_are_one_function_and_its_gradient_is_finite(causal: str, masks: str) -> None:
    text = LAYER.replace("CAUSAL", causal)
    step = optimize(gradient_graph(spec_of(text, training=True)))
    model = optimize(elaborate(text))
    weights = initialize(model, 0)
    random = np.random.default_rng(1)
    feeds = feeds_of("square", masks)
    feeds = {"x": random.normal(size=(2, 5, 8)).astype(np.float32), "keys": feeds["keys"], "pairs": feeds["pairs"]}
    target = random.normal(size=(2, 5, 8)).astype(np.float32)
    y = run(model, feeds, weights)["y"]
    found = run(step, {**feeds, "t": target}, weights)
    assert found["loss"] == pytest.approx(np.mean((y - target) ** 2), rel=1e-6)
    theirs = _torchs_gradients(feeds, target, weights, causal == "true")
    for name, gradient in theirs.items():
        np.testing.assert_allclose(found[f"grad.{name}"], gradient, rtol=1e-4, atol=1e-6, err_msg=name)


def _torchs_gradients(feeds: dict[str, Any], target: Any, weights: dict[str, Any], causal: bool) -> dict[str, Any]:
    leaves = {name: torch.tensor(array, dtype=torch.float64, requires_grad=True) for name, array in weights.items()}
    part = {name.split(".")[-1]: leaf for name, leaf in leaves.items()}
    x = torch.tensor(feeds["x"], dtype=torch.float64)

    def heads(name: str) -> Any:
        return (x @ part[f"W_{name}"] + part[f"b_{name}"]).unflatten(-1, (2, 4)).transpose(1, 2)

    allowed = torch.as_tensor(feeds["keys"])[:, None, None] & torch.as_tensor(feeds["pairs"])
    allowed = allowed & torch.ones(5, 5, dtype=torch.bool).tril() if causal else allowed
    scores = torch.where(allowed, heads("q") @ heads("k").mT / 2, -math.inf)
    seen = allowed.any(-1, keepdim=True)
    soft = torch.where(seen, torch.softmax(torch.where(seen, scores, 0.0), -1), 0.0)
    y = (soft @ heads("v")).transpose(1, 2).flatten(2) @ part["W_o"] + part["b_o"]
    torch.nn.functional.mse_loss(y, torch.tensor(target, dtype=torch.float64)).backward()
    return {name: leaf.grad.numpy() for name, leaf in leaves.items() if leaf.grad is not None}


STEPWISE = """model M {
    input tokens: i64[batch, T]
    x = tokens -> Embedding(9, 8)
    x = x + MultiHeadAttention(2, causal: true)(x, mask: tokens != 0)
    x = x + MultiHeadAttention(2, causal: true)(x, mask: tokens > 2)
    output logits = x -> Dense(9)
}"""


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_a_decode_step_sees_what_the_whole_text_does(backend: str) -> None:
    """Texts that begin with padding: their first queries see no key, in the step as in the whole."""
    graph = elaborate(STEPWISE)
    weights = initialize(graph, 0)
    step = decode(graph)
    tokens = np.array([[0, 0, 0, 5, 1, 0, 4], [3, 0, 7, 2, 1, 1, 8], [0, 1, 2, 0, 0, 1, 2], [1, 1, 1, 1, 1, 1, 1]])
    expected = run(graph, {"tokens": tokens}, weights)["logits"]
    cached = Cached(Layout.of(step), None, machine(optimize(step.step), weights, backend, "cpu"))
    found = [cached.begin(tokens[:, :2], {})] + [cached.next(tokens[:, place]) for place in range(2, 7)]
    np.testing.assert_allclose(np.stack(found, 1), expected[:, 1:], rtol=1e-5, atol=1e-6)


NARROW = [label for label in TEXTS if "-1e9" not in TEXTS[label] and "e38" not in TEXTS[label]]


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16])
@pytest.mark.parametrize("label", NARROW)
def test_sixteen_bits_are_one_operator_too(label: str, dtype: DType) -> None:
    """To the rounding of weights and sums; scores beyond f16, 1e3 * 1e3, are hidden as others are."""
    head = HEAD.replace(": [", f": {dtype}[")
    text = f"{head}    output y = {TEXTS[label]} @ v\n}}\n"
    graph = elaborate(text)
    better = optimize(graph)
    assert sum(isinstance(node.op, Attention) for node in better) == 1
    close = 4 * float(float_ends(dtype.numpy).eps)
    for masks in MASKS:
        for scale in (1.0, 1e3) if label in WEIGHTS else (1.0,):
            feeds = feeds_of("square", masks)
            feeds["k"] *= np.float32(scale)
            feeds["k"][:, :, 1] *= np.float32(scale)
            feeds = {name: array.astype(dtype.numpy) if array.dtype != bool else array for name, array in feeds.items()}
            expected, found = (written(each, feeds).astype(np.float32) for each in (graph, better))
            np.testing.assert_allclose(found, expected, rtol=close, atol=close, err_msg=f"{masks}, {scale}")
            if dtype is DType.F16 and scale == 1.0 and not TEXTS[label].endswith("+ bias)"):
                # onnxruntime does not round -1e4 + bias to 16 bits before the softmax
                by_onnx = by_onnxruntime(better, feeds, None, True).astype(np.float32)
                np.testing.assert_allclose(by_onnx, expected, rtol=4 * close, atol=4 * close, err_msg=masks)
