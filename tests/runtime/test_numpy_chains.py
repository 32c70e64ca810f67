"""Chains of elementwise operators: the bits of one operator after the other, in place and on threads too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.graph import Graph, Value
from compiler.numpy_kernels import kernel_of
from compiler.operators.activations import Relu, Sigmoid, Tanh
from compiler.operators.arithmetic import Abs, Maximum, Minimum
from compiler.operators.casting import Cast
from compiler.operators.comparison import Greater, Where
from compiler.operators.leaves import Input
from compiler.operators.powers import Exp, Log, Sqrt
from compiler.operators.random import RandomNormal
from compiler.shared_work import use_threads
from compiler.types import DType
from runtime import numpy_chains
from runtime.compiled_loops import source_of
from runtime.numpy_chains import Chain, LoopSettings
from tests.runtime.graphs import fed

EDGES = np.array([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e-40, 3e38, -2.5, 88.0], np.float64)


def chain_of(outputs: list[Value], overwritten: dict[int, int] | None = None) -> tuple[Chain, list[str]]:
    graph = Graph({}, {str(number): value for number, value in enumerate(outputs)})
    inputs = {node.op.label: node.result for node in graph if isinstance(node.op, Input)}
    nodes = [(node, node.op) for node in graph if not isinstance(node.op, Input)]
    return Chain(nodes, list(inputs.values()), outputs, overwritten), list(inputs)


def one_by_one(chain: Chain, arrays: list[Any]) -> list[Any]:
    values = dict(zip(chain.inputs, arrays, strict=True))
    with np.errstate(all="ignore"):
        for node, op in chain.nodes:
            values[node.result] = kernel_of(node, op)(*(values[operand] for operand in node.operands))
    return [values[output] for output in chain.outputs]


def expression(draw: Any, operands: list[Value], key: Value) -> list[Value]:
    """Some elementwise values, each of the earlier ones or of random draws."""
    values = list(operands)
    random = RandomNormal(operands[0].type.numeric_shape, operands[0].type.dtype)
    for _ in range(draw(st.integers(1, 8))):
        x, y = (draw(st.sampled_from(values)) for _ in range(2))
        values.append(
            draw(
                st.sampled_from(
                    [
                        lambda x=x, y=y: x + y, lambda x=x, y=y: x * y, lambda x=x, y=y: x - y, lambda x=x, y=y: x / y,
                        lambda x=x, y=y: Maximum()(x, y), lambda x=x, y=y: Minimum()(x, y), lambda x=x: Tanh()(x),
                        lambda x=x: Sqrt()(Abs()(x)), lambda x=x: Exp()(x), lambda x=x: Log()(x),
                        lambda x=x: Relu()(x), lambda x=x: Sigmoid()(x),
                        lambda x=x, y=y: Where()(Greater()(x, y), y, x),
                        lambda x=x: Cast(x.type.dtype)(Cast(DType.F16)(x)),
                        lambda: random(key),
                        lambda x=x, y=y: Where()(Greater()(x, y), random(key) * 2 + operands[2], x),
                    ]
                )
            )()
        )  # fmt: skip
    return values[len(operands) :]


def random_arrays(seed: int, dtype: Any, *shapes: tuple[int, ...]) -> list[Any]:
    generator = np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        edges = EDGES.astype(dtype)
    arrays = [np.asarray(generator.normal(size=shape), dtype) for shape in shapes]
    for array in arrays:
        if array.ndim:
            array[generator.random(array.shape) < 0.2] = generator.choice(edges)
    return arrays


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["f32", "f64"]), st.sampled_from([1, 7, 64, 1001]), st.integers(0, 9))
def test_blocks_have_the_bits_of_whole_arrays(data: Any, dtype: str, count: int, seed: int) -> None:
    a, b, s, key = fed("a", dtype, count), fed("b", dtype, count), fed("s", dtype), fed("key", "i64")
    values = [value for value in expression(data.draw, [a, b, s], key) if value.type.rank]
    if not values:
        return_values = [a + s]
    else:
        return_values = values[-2:]
    overwritten = {0: 0} if return_values[0].type == a.type else {}
    chain, names = chain_of(return_values, None)
    given_arrays = dict(zip("abs", random_arrays(seed, a.type.dtype.numpy, (count,), (count,), ()), strict=True))
    given_arrays["key"] = np.array(seed)
    arrays = [given_arrays[name] for name in names]
    expected = one_by_one(chain, arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_chains, "BLOCK", 16)
        patch.setattr(numpy_chains, "_LEAST_FOR_THREADS", 1)
        for threads in (1, 2):
            with use_threads(threads):
                results = chain(*arrays)
            for got, wanted in zip(results, expected, strict=True):
                np.testing.assert_array_equal(got, wanted)
        if overwritten and names[0] == "a":
            in_place, _ = chain_of(return_values, overwritten)
            own = [array.copy() for array in arrays]
            with use_threads(2):
                got = in_place(*own)
            assert got[0] is own[0]
            for array, wanted in zip(got, expected, strict=True):
                np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize(
    ("shapes", "order"),
    [([(40, 6), (6,)], "C"), ([(40, 6), (40, 1)], "C"), ([(40, 6), (1, 1)], "C"), ([(40, 6), (40, 6)], "F")],
)
def test_operands_broadcast_and_may_lie_in_any_order(shapes: Any, order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (fed(name, "f32", *shape) for name, shape in zip("ab", shapes, strict=True))
    chain, _ = chain_of([Tanh()(a * b) + a, b - a])
    arrays = [np.asarray(array, order=order) for array in random_arrays(1, np.float32, *shapes)]
    monkeypatch.setattr(numpy_chains, "BLOCK", 32)
    for got, wanted in zip(chain(*arrays), one_by_one(chain, arrays), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_values_may_change_places_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = fed("a", "f32", 50), fed("b", "f32", 50)
    graph = Graph({}, {"a": a, "b": b})
    chain = Chain([], [node.result for node in graph], [b, a, a], {0: 0, 1: 1})
    monkeypatch.setattr(numpy_chains, "BLOCK", 16)
    x, y = np.arange(50, dtype=np.float32), np.ones(50, np.float32)
    first, second, third = chain(x, y)
    assert first is x and second is y
    assert (x == 1).all()
    assert y.tolist() == third.tolist() == list(range(50))


def test_an_operand_that_is_read_again_is_overwritten_last(monkeypatch: pytest.MonkeyPatch) -> None:
    a = fed("a", "f32", 50)
    doubled = a * 2
    chain, _ = chain_of([doubled, doubled + a], {0: 0})
    monkeypatch.setattr(numpy_chains, "BLOCK", 16)
    x = np.arange(50, dtype=np.float32)
    first, second = chain(x)
    assert first is x
    assert x.tolist() == [2 * number for number in range(50)]
    assert second.tolist() == [3 * number for number in range(50)]


def test_what_nothing_else_reads_is_written_over() -> None:
    p, m, v, g = (fed(name, "f32", 50) for name in "pmvg")
    mean, square = m * 0.9 + g * 0.1, v * 0.99 + g * g * 0.01
    outputs = [p - mean / (Sqrt()(square) + 0.1), mean, square]
    for overwritten, most in ((True, 1), (False, 2)):
        graph = Graph({}, {str(number): value for number, value in enumerate(outputs)})
        inputs = [node.result for node in graph if isinstance(node.op, Input)]
        old = {index: inputs.index(value) for index, value in enumerate((p, m, v))} if overwritten else None
        chain, names = chain_of(outputs, old)
        assert len(chain.scratch) <= most
        arrays = random_arrays(4, np.float32, *[value.shape for value in chain.inputs])
        expected = one_by_one(chain, [array.copy() for array in arrays])
        for got, wanted in zip(chain(*arrays), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert sorted(names) == ["g", "m", "p", "v"]


def test_a_loop_of_arithmetic_is_written_once_for_all_shapes_and_numbers() -> None:
    texts = set()
    for count in (10, 1000):
        p, g, rate = fed("p", "f32", count), fed("g", "f32", count), fed("rate", "f32")
        chain, _ = chain_of([Where()(Greater()(p, g), p - rate * g, g)], {0: 0})
        is_array = [value.type.rank > 0 for value in chain.inputs]
        texts.add(source_of(chain.nodes, chain.inputs, chain.results, chain.overwritten, is_array))
    (text,) = texts
    assert text is not None and "np.float32(np.subtract(" in text and "for i in range(x0.shape[0])" in text


@pytest.mark.parametrize("value", [Tanh()(fed("x", "f32", 9)), fed("x", "f16", 9) * 2])
def test_what_numpy_does_faster_and_short_floats_have_no_loop(value: Value) -> None:
    chain, _ = chain_of([value])
    assert source_of(chain.nodes, chain.inputs, chain.results, {}, [True] * len(chain.inputs)) is None


def test_a_compiled_loop_has_the_bits_of_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="loops are compiled by numba: pip install 'nablac[jit]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    a, b, s = fed("a", "f32", 3, 400), fed("b", "f32", 3, 400), fed("s", "f32")
    m = a * s + b * b
    value = Where()(Greater()(m, b), a - m / (Sqrt()(Abs()(b)) + s), Maximum()(m, -b))
    arrays = random_arrays(3, np.float32, (3, 400), (3, 400), ())
    arrays[2] = np.array(0.9, np.float32)
    expected = one_by_one(chain_of([value, m])[0], arrays)
    for _ in range(2):  # compiled, and read from what is kept
        chain, _ = chain_of([value, m], {0: 0})
        own = [array.copy() for array in arrays]
        for got, wanted in zip(chain(*own, settings=LoopSettings(1, compiled=True)), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert [path.suffix for path in (tmp_path / "nablac" / "loops").glob("*.py")] == [".py"]
    assert list((tmp_path / "nablac" / "loops" / "__pycache__").glob("*.nbc")), "kept between runs"
