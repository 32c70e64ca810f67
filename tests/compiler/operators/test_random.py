"""Draws: the same bits on both backends, and no pattern in them."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.graph import Graph
from compiler.onnx.device import leaving_nodes
from compiler.onnx.exporter import export
from compiler.operators.control import Scan
from compiler.operators.leaves import Input
from compiler.operators.random import FoldKey, FoldKeys, RandomNormal, RandomUniform
from compiler.targets import ORT_CPU, ORT_CUDA, Target
from compiler.types import DType, TensorType
from runtime.numpy_executor import run
from runtime.onnx_session import OnnxRunner
from tests.compiler.operators.harness import case

KEY = TensorType(DType.I64)
CASES = (
    case("a key", FoldKey("7"), key=np.array(3), number=np.array(5)),
    case("keys of several tags", FoldKeys((7, 8)), key=np.array(3), number=np.array(5)),
    case("uniform", RandomUniform((4, 5)), key=np.array(3)),
    case("normal", RandomNormal((4, 5)), key=np.array(3)),
)


def drawn(op: RandomUniform | RandomNormal, key: int) -> np.ndarray:
    return op.compute(np.array(key))


TARGETS = pytest.mark.parametrize("target", [ORT_CPU, ORT_CUDA], ids=lambda target: target.name)


@TARGETS
@pytest.mark.parametrize("op", [RandomUniform((70_001,)), RandomUniform((50, 3), DType.F64), FoldKey("11")], ids=repr)
def test_both_backends_draw_the_same_bits(op: RandomUniform | FoldKey, target: Target) -> None:
    inputs = {name: Input(name, KEY)() for name in (("key", "number") if isinstance(op, FoldKey) else ("key",))}
    graph = Graph(inputs, {"y": op(*inputs.values())})
    model = export(graph, target=target)
    assert not leaving_nodes(model, target)
    runner = OnnxRunner(model.SerializeToString())
    for key in (0, 1, -1, 2**31, 2**62 + 12345):
        feeds = {name: np.array(key) for name in inputs}
        np.testing.assert_array_equal(runner.run(feeds)["y"], run(graph, feeds)["y"])


@TARGETS
def test_keys_folded_together_are_those_folded_one_by_one(target: Target) -> None:
    inputs = {name: Input(name, KEY)() for name in ("key", "number")}
    streams = [FoldKey(name) for name in ("", "a/0", "b.c/12")]
    together = FoldKeys(tuple(op.tag for op in streams)).apply(*inputs.values()).results
    graph = Graph(inputs, {f"key_{index}": result for index, result in enumerate(together)})
    runner = OnnxRunner(export(graph, target=target).SerializeToString())
    for key in (0, 1, -1, 2**62 + 12345):
        feeds = {"key": np.array(key), "number": np.array(5)}
        wanted = [op.compute(feeds["key"], feeds["number"]) for op in streams]
        assert list(run(graph, feeds).values()) == wanted
        assert list(runner.run(feeds).values()) == wanted


def test_uniform_draws_fill_the_interval_evenly() -> None:
    x = drawn(RandomUniform((200_000,)), 1)
    assert x.min() >= 0 and x.max() < 1
    counts = np.bincount((x * 256).astype(int), minlength=256)
    chi_square = np.sum((counts - len(x) / 256) ** 2 / (len(x) / 256))
    assert 170 < chi_square < 360  # 255 degrees of freedom: outside once in 10,000


def test_normal_draws_have_their_moments() -> None:
    x = drawn(RandomNormal((200_000,), DType.F64), 2)
    moments = [np.mean(x**power) for power in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.06)


@pytest.mark.parametrize("other", [2, 3, 2**32 + 1], ids=["the next key", "the one after", "a key of other high bits"])
def test_draws_of_two_keys_are_unrelated(other: int) -> None:
    keys = [int(FoldKey("0").compute(np.array(key), np.array(0))) for key in (1, other)]
    x, y = (drawn(RandomUniform((100_000,), DType.F64), key) for key in keys)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.02
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.02


def test_tags_and_numbers_give_keys_of_their_own() -> None:
    keys = {int(FoldKey(str(tag)).compute(np.array(1), np.array(number))) for tag in range(50) for number in range(200)}
    assert len(keys) > 50 * 200 - 5  # of 2**31: a collision or two may be


def test_a_scan_adds_up_in_both_directions() -> None:
    state, item, whole = (Input(name, TensorType(DType.F64, (2,)))() for name in ("s", "x", "w"))
    following = state * whole + item
    body = Graph({"s": state, "x": item, "w": whole}, {"next": following, "y": following})
    operands = [
        Input(name, TensorType(DType.F64, shape))() for name, shape in (("s0", (2,)), ("xs", (5, 2)), ("w0", (2,)))
    ]
    random = np.random.default_rng(0)
    feeds = {"s0": random.normal(size=2), "xs": random.normal(size=(5, 2)), "w0": random.normal(size=2)}
    for reverse in (False, True):
        last, ys = Scan(body, 1, 1, reverse).apply(*operands).results
        graph = Graph({"s0": operands[0], "xs": operands[1], "w0": operands[2]}, {"last": last, "ys": ys})
        s, expected = feeds["s0"], np.empty((5, 2))
        for place in reversed(range(5)) if reverse else range(5):
            s = expected[place] = s * feeds["w0"] + feeds["xs"][place]
        for results in (run(graph, feeds), OnnxRunner(export(graph).SerializeToString()).run(feeds)):
            np.testing.assert_allclose(results["ys"], expected, rtol=1e-12)
            np.testing.assert_allclose(results["last"], s, rtol=1e-12)


@pytest.mark.parametrize("draw", [RandomUniform, RandomNormal])
def test_a_draw_from_an_index_on_is_a_part_of_the_whole(draw: type[RandomUniform] | type[RandomNormal]) -> None:
    key, first = np.array(3, np.int64), np.array(2, np.int64)
    whole, part = draw((7, 5)).compute(key), draw((4, 5)).compute(key, first)
    np.testing.assert_array_equal(part, whole[2:6])
    labels = [Input(name, TensorType(DType.I64))() for name in ("key", "first")]
    graph = Graph({"key": labels[0], "first": labels[1]}, {"y": draw((4, 5))(*labels)})
    (y,) = OnnxRunner(export(graph).SerializeToString(), threads=1).run({"key": key, "first": first}).values()
    np.testing.assert_allclose(y, part, rtol=1e-5, atol=1e-6)
