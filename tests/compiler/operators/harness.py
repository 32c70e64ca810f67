"""The oracle of every operator: one row of a table proves type, value, gradients and ONNX lowering.

A family's test file holds a table and hands it over:

    CASES = (
        case("a product", MatMul(), x=(2, 3), y=(3, 4), oracle=torch.matmul),
        case("rows by index", Take(axis=0), x=(5, 3), indices=integers((2,), 5), oracle=lambda x, i: x[i]),
    )

    @each(CASES)
    class TestLinear(OperatorCases): ...

An operand is a shape (drawn from the normal distribution), a `Draw`, or an array. Floats are drawn in f64 and
narrowed for the f32 and f16 checks. `named` says which sizes become named dims in the symbolic checks (all sizes
above 1, unless told), `symbolic` is the operator to use there where its attributes hold sizes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import pytest

import compiler.operators  # noqa: F401 - defining the operators is knowing them
from compiler.dims import Dim
from compiler.gradient import gradients
from compiler.graph import Graph, Operator, Value
from compiler.operators.leaves import Constant, Input
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    from compiler.types import Array

Test = TypeVar("Test", bound=Callable[..., None])
Draw = Callable[[np.random.Generator], np.ndarray]
DTYPES = (DType.F32, DType.F64, DType.F16, DType.I64, DType.I32, DType.I8, DType.U8, DType.BOOL)
NO_KERNEL = (DType.F64, DType.F16)  # onnxruntime's CPU provider lacks kernels for these; the NumPy runtime has them


def normal(shape: tuple[int, ...], mean: float = 0.0, scale: float = 1.0) -> Draw:
    """Normally distributed numbers."""
    return lambda random: mean + scale * random.standard_normal(shape)


def uniform(shape: tuple[int, ...], low: float, high: float) -> Draw:
    """Evenly distributed numbers, for operators that are defined on a part of the line."""
    return lambda random: random.uniform(low, high, shape)


def distinct(shape: tuple[int, ...]) -> Draw:
    """Numbers of which no two are near: no ties in a maximum."""
    return lambda random: (random.permutation(int(np.prod(shape))).reshape(shape) - np.prod(shape) / 2 + 0.3) / 4


def integers(shape: tuple[int, ...], high: int, low: int = 0, dtype: str = "int64") -> Draw:
    """Integers from `low`, below `high`."""
    return lambda random: np.asarray(random.integers(low, high, shape), dtype)


def booleans(shape: tuple[int, ...]) -> Draw:
    """Fair coins."""
    return lambda random: np.asarray(random.random(shape) < 0.5)


@dataclass(frozen=True, eq=False)
class Case:
    """One row of a table."""

    label: str
    op: Operator
    operands: Mapping[str, tuple[int, ...] | Draw | Array]
    oracle: Callable[..., Any] | None = None  # torch tensors in, a torch tensor (or several) out
    order: int | None = None  # how often it is differentiated; 2 where there is an oracle
    named: Mapping[str, int] | None = None
    symbolic: Operator | None = None
    rtol: float = 1e-5  # of onnxruntime in f32
    onnx: bool = True  # False where onnxruntime draws or orders otherwise, with the reason in a comment
    dtypes: Sequence[DType] | None = None  # of DTYPES, those to run in onnxruntime; all that `infer` takes, unless told

    def __str__(self) -> str:
        return self.label

    @cached_property
    def arrays(self) -> tuple[Array, ...]:
        """The operands, floats in f64; the same ones in every run."""
        random = np.random.default_rng(zlib.crc32(self.label.encode()))
        drawn = (normal(each) if isinstance(each, tuple) else each for each in self.operands.values())
        return tuple(np.asarray(each(random) if callable(each) else each) for each in drawn)

    def arrays_in(self, dtype: DType) -> tuple[Array, ...]:
        """The operands with the floating ones in `dtype`: fractions are scaled up before they become integers."""
        return tuple(_convert(array, dtype) if array.dtype.kind == "f" else array for array in self.arrays)

    @property
    def sizes(self) -> Mapping[str, int]:
        if self.named is not None:
            return self.named
        return {f"d{size}": size for array in self.arrays for size in array.shape if size > 1}

    def symbolic_types(self, arrays: Sequence[Array]) -> tuple[TensorType, ...]:
        names = {size: name for name, size in self.sizes.items()}
        return tuple(
            TensorType(DType.of(a), tuple(Dim.named(names[s]) if s in names else s for s in a.shape)) for a in arrays
        )

    def graph(self, types: Sequence[TensorType], op: Operator | None = None) -> Graph:
        """Inputs, the operator, its results: `result`, or `result_0` and so on."""
        operands = {name: Input(name, type)() for name, type in zip(self.operands, types, strict=True)}
        inputs = dict(operands)
        known = {str(size) for type in types for size in type.shape}
        for name in self.sizes:  # an input of that size, for a dim that only the operator's attributes name
            if op is not None and name not in known:
                inputs[f"of_{name}"] = Input(f"of_{name}", TensorType(DType.F32, (Dim.named(name),)))()
        return Graph(inputs, _outputs((op or self.op).apply(*operands.values()).results))

    def feeds(self, arrays: Sequence[Array], graph: Graph) -> dict[str, Array]:
        """An array for each input of the graph."""
        found = dict(zip(self.operands, arrays, strict=True))
        for name, value in graph.inputs.items():
            if name not in found:
                found[name] = np.zeros(value.type.bind(self.sizes).shape, np.float32)
        return found

    @property
    def differentiations(self) -> int:
        """How often the case is differentiated; 0 where no float depends on a float, or there is no oracle in torch."""
        types = [TensorType(DType.of(array), array.shape) for array in self.arrays]
        results = self.graph(types).outputs.values()
        if self.oracle is None or not all(
            any(each.dtype.is_float for each in some) for some in (types, [result.type for result in results])
        ):
            return 0
        return 2 if self.order is None else self.order

    @cached_property
    def backward(self) -> tuple[Graph, Mapping[str, Value]] | None:
        """The graph of the f32 gradients at named dims, and the inputs that seed it; None where nothing flows back."""
        if not self.differentiations:
            return None
        graph = self.graph(self.symbolic_types(self.arrays_in(DType.F32)), self.symbolic)
        leaves = {name: value for name, value in graph.inputs.items() if value.type.dtype.is_float}
        results = [value for value in graph.outputs.values() if value.type.dtype.is_float]
        seeds = {f"seed_{place}": Input(f"seed_{place}", result.type)() for place, result in enumerate(results)}
        grads = gradients(results, list(seeds.values()), list(leaves.values()))
        kept = {f"of_{name}": grad for name, grad in zip(leaves, grads, strict=True) if grad is not None}
        return (Graph({**graph.inputs, **seeds}, kept), seeds) if kept else None

    @property
    def runs_in_onnx_in_f32(self) -> bool:
        return self.onnx and (self.dtypes is None or DType.F32 in self.dtypes)


def case(
    label: str,
    op: Operator,
    *,
    oracle: Callable[..., Any] | None = None,
    order: int | None = None,
    named: Mapping[str, int] | None = None,
    symbolic: Operator | None = None,
    rtol: float = 1e-5,
    onnx: bool = True,
    dtypes: Sequence[DType] | None = None,
    **operands: tuple[int, ...] | Draw | Array,
) -> Case:
    """A row: the operands by name, in the order of `infer`."""
    return Case(label, op, operands, oracle, order, named, symbolic, rtol, onnx, dtypes)


def each(cases: Sequence[Case]) -> Callable[[type[OperatorCases]], type[OperatorCases]]:
    """Run every test of a class on every case that it can prove something of, see `proves`."""
    labels = [case.label for case in cases]
    assert len(set(labels)) == len(labels), "two cases of one name"

    def tabulate(tests: type[OperatorCases]) -> type[OperatorCases]:
        tests.cases = tuple(cases)
        for name in dir(tests):
            if name.startswith("test_") and not tests.proved(getattr(tests, name)):
                setattr(tests, name, None)  # it is not collected
        return tests

    return tabulate


def proves(applies: Callable[[Case], bool]) -> Callable[[Test], Test]:
    """The cases that a test proves something of; it is not run on others."""

    def mark(test: Test) -> Test:
        test.applies = applies  # type: ignore[attr-defined]
        return test

    return mark


class OperatorCases:
    """What holds of every operator."""

    cases: ClassVar[Sequence[Case]] = ()

    @classmethod
    def proved(cls, test: Callable[..., None]) -> list[Case]:
        """The cases that a test is run on."""
        return [case for case in cls.cases if getattr(test, "applies", bool)(case)]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("case", self.proved(metafunc.function), ids=str)

    def test_the_inferred_type_is_the_type_of_the_result(self, case: Case) -> None:
        for dtype in (DType.F64, DType.F32):
            arrays = case.arrays_in(dtype)
            graph = case.graph([TensorType(DType.of(a), a.shape) for a in arrays])
            found = run_numpy(graph, case.feeds(arrays, graph))
            for name, value in graph.outputs.items():
                assert isinstance(found[name], np.ndarray)
                assert TensorType(DType.of(found[name]), found[name].shape) == value.type

    def test_named_dims_give_the_same_type_and_value(self, case: Case) -> None:
        op = case.symbolic or case.op
        assert op.bind(case.sizes) == case.op, "the symbolic operator is another one"
        graph = case.graph(case.symbolic_types(case.arrays), op)
        found, expected = run_numpy(graph, case.feeds(case.arrays, graph)), self._value(case)
        for name, value in graph.outputs.items():
            assert value.type.bind(case.sizes) == TensorType(DType.of(expected[name]), expected[name].shape)
            np.testing.assert_array_equal(found[name], expected[name])

    @proves(lambda case: case.oracle is not None)
    def test_the_value_is_what_torch_gives(self, case: Case) -> None:
        torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
        assert case.oracle is not None
        expected = _several(case.oracle(*map(torch.as_tensor, case.arrays)))
        found = self._value(case)
        assert len(found) == len(expected)
        for ours, theirs in zip(found.values(), expected, strict=True):
            assert ours.shape == tuple(theirs.shape)
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)

    @proves(lambda case: case.differentiations > 0)
    def test_the_gradients_are_what_torch_gives(self, case: Case) -> None:
        torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
        assert case.oracle is not None
        random = np.random.default_rng(7)

        tensors = [torch.tensor(array, requires_grad=array.dtype.kind == "f") for array in case.arrays]
        their_leaves = [tensor for tensor in tensors if tensor.requires_grad]
        theirs = [result for result in _several(case.oracle(*tensors)) if result.dtype.is_floating_point]

        graph = self._plain(case)
        leaves = [value for value in graph.inputs.values() if value.type.dtype.is_float]
        ours: list[Value] = [value for value in graph.outputs.values() if value.type.dtype.is_float]

        for _ in range(case.differentiations):
            weights = [random.standard_normal(result.shape) for result in theirs]
            grads = gradients(ours, [Constant.of(np.asarray(w))() for w in weights], leaves)
            kept = {str(place): grad for place, grad in enumerate(grads) if grad is not None}
            found = run_numpy(Graph(graph.inputs, kept), case.feeds(case.arrays, graph))
            total = sum((torch.as_tensor(w) * result).sum() for w, result in zip(weights, theirs, strict=True))
            if not getattr(total, "requires_grad", False):  # of a constant there is none, or 0
                assert not any(value.any() for value in found.values())
                break
            their_grads = torch.autograd.grad(
                total, their_leaves, create_graph=True, allow_unused=True, materialize_grads=True
            )
            for place, expected in enumerate(their_grads):
                value = found.get(str(place), np.zeros(expected.shape))
                assert value.dtype == np.float64
                np.testing.assert_allclose(value, expected.numpy(force=True), rtol=1e-10, atol=1e-10)
            ours = list(kept.values())
            theirs = [grad for place, grad in enumerate(their_grads) if str(place) in kept]
            if not ours:
                break

    @proves(lambda case: case.onnx)
    def test_onnxruntime_agrees_with_numpy(self, case: Case) -> None:
        floating = any(array.dtype.kind == "f" for array in case.arrays)
        compared = 0
        for dtype in case.dtypes or (DTYPES if floating else DTYPES[:1]):
            arrays = case.arrays_in(dtype)
            try:
                graph = case.graph(case.symbolic_types(arrays), case.symbolic)
            except TypeMismatch:
                assert case.dtypes is None, f"the case claims {dtype}"
                continue
            expected = run_numpy(graph, case.feeds(arrays, graph))
            found = run_onnx(graph, case.feeds(arrays, graph), may_lack_kernels=dtype in NO_KERNEL)
            if found is None:
                continue
            compared += 1
            for name, value in expected.items():
                assert found[name].dtype == value.dtype, dtype
                assert found[name].shape == value.shape, dtype
                rtol = {DType.F16: 2e-2}.get(dtype, case.rtol)
                np.testing.assert_allclose(found[name], value, rtol=rtol, atol=rtol, err_msg=f"in {dtype}")
        assert compared, "no dtype fits, or none has a kernel"

    @staticmethod
    def _plain(case: Case) -> Graph:
        return case.graph([TensorType(DType.of(array), array.shape) for array in case.arrays])

    @proves(lambda case: case.runs_in_onnx_in_f32 and case.backward is not None)
    def test_the_gradients_of_named_dims_agree_in_onnxruntime(self, case: Case) -> None:
        assert case.backward is not None
        backward, seeds = case.backward
        random = np.random.default_rng(3)
        feeds = case.feeds(case.arrays_in(DType.F32), backward)
        for name, seed in seeds.items():
            type = seed.type.bind(case.sizes)
            feeds[name] = np.asarray(random.standard_normal(type.shape), type.dtype.numpy)
        expected, found = run_numpy(backward, feeds), run_onnx(backward, feeds)
        assert found is not None
        for name, value in expected.items():
            assert value.dtype == np.float32
            rtol = 10 * case.rtol
            scale = np.abs(value).max(initial=1, where=np.isfinite(value))
            np.testing.assert_allclose(found[name], value, rtol=rtol, atol=rtol * scale)

    def _value(self, case: Case) -> dict[str, Array]:
        graph = self._plain(case)
        return run_numpy(graph, case.feeds(case.arrays, graph))


def refuses(op: Operator, *types: str | TensorType) -> TypeMismatch:
    """What the operator says to operands that it must refuse: `refuses(MatMul(), "f32[n, 3]", "f32[4, 2]")`."""
    with pytest.raises(TypeMismatch) as caught:
        op.infer(*(type if isinstance(type, TensorType) else tensor_type(type) for type in types))
    return caught.value


def tensor_type(text: str) -> TensorType:
    """A type from how it prints, its sizes numbers or names."""
    dtype, _, shape = text.rstrip("]").partition("[")
    sizes = (size.strip() for size in shape.split(",") if size.strip())
    return TensorType(DType(dtype), tuple(int(s) if s.isdigit() else Dim.named(s) for s in sizes))


def run_numpy(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a graph by the NumPy runtime."""
    from runtime.numpy_executor import run

    with np.errstate(all="ignore"):
        return run(graph, dict(feeds))


def run_onnx(
    graph: Graph,
    feeds: Mapping[str, Array],
    may_lack_kernels: bool = False,
    *,
    optimized: bool = False,
    opset: int | None = None,
) -> dict[str, Array] | None:
    """The outputs of the exported graph by onnxruntime, unoptimised; None where the provider has no kernel."""
    import onnx
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    from compiler.onnx.exporter import export

    model = export(graph, opset=opset)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    except NoKernel:
        if may_lack_kernels:
            return None
        raise
    wanted = {value.name for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    found = session.run(names, {name: array for name, array in feeds.items() if name in wanted})
    return dict(zip(names, found, strict=True))


def run_every_way(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """The outputs as written and after the passes, by NumPy and by onnxruntime, where that has the kernels."""
    from compiler.onnx.opsets import needed_opset
    from compiler.passes.pipeline import optimize
    from compiler.targets import HIGHEST_OPSET

    better = optimize(graph)
    ways = {
        "NumPy, as written": run_numpy(graph, feeds),
        "NumPy, after the passes": run_numpy(better, feeds),
        "onnxruntime, unoptimised": run_onnx(graph, feeds, may_lack_kernels=True),
        "onnxruntime": run_onnx(better, feeds, may_lack_kernels=True, optimized=True),
        # Where no kernel has the dtype, it depends on the opset whether ONNX's own function stands in for it.
        **{
            f"onnxruntime, opset {opset}": run_onnx(better, feeds, may_lack_kernels=True, opset=opset)
            for opset in range(needed_opset(better), HIGHEST_OPSET + 1)
        },
    }
    return {way: found for way, found in ways.items() if found is not None}


def _outputs(results: tuple[Value, ...]) -> dict[str, Value]:
    if len(results) == 1:
        return {"result": results[0]}
    return {f"result_{index}": result for index, result in enumerate(results)}


def _several(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def _convert(array: Array, dtype: DType) -> Array:
    if dtype.is_float:
        return array.astype(dtype.numpy)
    whole = np.round(np.nan_to_num(array * 2, posinf=9, neginf=-9))
    return np.asarray(np.abs(whole) if dtype == DType.U8 else whole, dtype.numpy)
