"""The oracle of the library: a model in the language and a torch module with the same weights give the same numbers.

A row of a table names a model text, its inputs with their named dims, and the torch module:

    case("an LSTM", "output x -> LSTM(4)", nn.LSTM(3, 4), weights=lstm("lstm.lstm_cell"), x=("batch", "time", 3))

In f64 the NumPy runtime must agree with torch to 1e-12, in f32 to 1e-5; onnxruntime must agree with NumPy to 1e-5.
Every case runs at several batches and lengths, on one graph with symbolic dims.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from compiler.build import Program, elaborate, load, program_of
from compiler.graph import Graph
from compiler.operators.source import Parameter
from compiler.types import DType
from grammar.source import Source

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

torch.backends.mha.set_fastpath_enabled(False)  # it drops padded positions
SPECS = Path(__file__).parents[2] / "specs"
SIZES = ({"batch": 1, "time": 1}, {"batch": 2, "time": 5}, {"batch": 7, "time": 3})

Array = npt.NDArray[Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
Weights = dict[str, Any]


def tokens(high: int) -> Draw:
    """Tokens below `high`."""
    return lambda random, shape: random.integers(0, high, shape)


def positive(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return random.random(shape) + 0.1


def lengths_mask(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """True up to a random length of at least 1."""
    return np.arange(shape[1]) < random.integers(1, shape[1] + 1, (shape[0], 1))


@dataclass(frozen=True, eq=False)
class Case:
    """One row of a table."""

    label: str
    text: str  # the body of a model without its inputs, or the file of one
    module: Any  # a torch module or function: tensors in, a tensor or several out
    inputs: Mapping[str, tuple[str | int, ...]]
    weights: Callable[[Any], Weights] | None
    types: Mapping[str, str] = field(default_factory=dict)  # of inputs that are no floats: `bool`, `i64`
    draws: Mapping[str, Draw] = field(default_factory=dict)
    sizes: Sequence[Mapping[str, int]] = SIZES
    training: bool = False
    before: str = ""  # declarations before the model
    hypers: Mapping[str, Any] = field(default_factory=dict)
    onnx: bool = True
    updates: Callable[[Any], Weights] | None = None  # next values of buffers, after the module ran
    rtol: float = 1e-12

    def __str__(self) -> str:
        return self.label

    @property
    def source(self) -> str:
        shown = ", ".join(
            f"{name}: {self.types.get(name, '')}[{', '.join(map(str, shape))}]" for name, shape in self.inputs.items()
        )
        declared = f"    input {shown}\n" if shown else ""
        body = "".join(f"    {line}\n" for line in self.text.strip().splitlines())
        return f"{self.before}\nmodel Case() {{\n{declared}{body}}}\n"

    def feeds(self, sizes: Mapping[str, int]) -> dict[str, Array]:
        random = np.random.default_rng(zlib.crc32(self.label.encode()))
        found = {}
        for name, shape in self.inputs.items():
            numbers = tuple(sizes[size] if isinstance(size, str) else size for size in shape)
            draw = self.draws.get(name, lambda random, numbers: random.standard_normal(numbers))
            found[name] = np.asarray(draw(random, numbers))
        return found


def case(
    label: str,
    text: str,
    module: Any,
    weights: Callable[[Any], Weights] | None = None,
    /,
    *,
    types: Mapping[str, str] | None = None,
    draws: Mapping[str, Draw] | None = None,
    sizes: Sequence[Mapping[str, int]] = SIZES,
    training: bool = False,
    before: str = "",
    hypers: Mapping[str, Any] | None = None,
    onnx: bool = True,
    updates: Callable[[Any], Weights] | None = None,
    rtol: float = 1e-12,
    **inputs: tuple[str | int, ...],
) -> Case:
    """A row: the text, the module, how its weights map, and the inputs by name with their shapes."""
    drawn = {name: lengths_mask for name, type in (types or {}).items() if type == "bool"} | dict(draws or {})
    return Case(
        label, text, module, inputs, weights, types or {}, drawn, sizes, training, before, hypers or {}, onnx, updates, rtol
    )


def each(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Run a test on every case."""
    labels = [case.label for case in cases]
    assert len(set(labels)) == len(labels), "two cases of one name"
    return pytest.mark.parametrize("case", cases, ids=labels)


def check(case: Case) -> None:
    """The one proof: torch, NumPy in f64 and f32, and onnxruntime say the same."""
    module = case.module
    if isinstance(module, torch.nn.Module):
        torch.manual_seed(1)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        for buffer in module.buffers():
            if buffer.is_floating_point():
                torch.nn.init.uniform_(buffer, 0.5, 1.5)
        module = module.double()
        module.train(case.training)
    weights = {path: array(value) for path, value in case.weights(module).items()} if case.weights else {}
    graphs = {dtype: graph_of(case, dtype) for dtype in (DType.F64, DType.F32)}
    for graph in graphs.values():
        paths = {node.op.path: value.shape for node in graph for value in node.results if hasattr(node.op, "path")}
        assert set(paths) <= set(weights), f"the module has no weight for {sorted(set(paths) - set(weights))}"
    for sizes in case.sizes:
        feeds = case.feeds(sizes)
        with torch.no_grad():
            expected = [array(each) for each in several(module(*map(torch.as_tensor, feeds.values())))]
        exact = list(run_numpy(graphs[DType.F64], feeds, weights, DType.F64).values())
        single_graph = graphs[DType.F32]
        single = run_numpy(single_graph, feeds, weights, DType.F32)
        assert len(exact) >= len(expected)
        for ours, narrow, theirs in zip(exact, single.values(), expected, strict=False):
            assert ours.shape == theirs.shape
            scale = max(1.0, float(np.abs(theirs).max())) if theirs.size else 1.0
            np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=case.rtol * scale, err_msg=f"f64 {sizes}")
            np.testing.assert_allclose(narrow, theirs, rtol=1e-5, atol=1e-5 * scale, err_msg=f"f32 {sizes}")
        if case.updates is not None:
            after = {path: array(value) for path, value in case.updates(module).items()}
            found = run_numpy(updates_of(graphs[DType.F64]), feeds, weights, DType.F64)
            for path, value in after.items():
                np.testing.assert_allclose(found[path], value, rtol=1e-12, atol=1e-12, err_msg=path)
                weights[path] = value
        if case.onnx:
            ort = run_onnx(single_graph, feeds, weights)
            for name, value in single.items():
                scale = max(1.0, float(np.abs(value).max())) if value.size else 1.0
                np.testing.assert_allclose(ort[name], value, rtol=1e-5, atol=1e-5 * scale, err_msg=f"onnxruntime {sizes}")


def array(value: Any) -> Array:
    """A copy: torch changes its buffers in place."""
    return np.array(value.detach().numpy() if isinstance(value, torch.Tensor) else value)


def several(results: Any) -> list[Any]:
    """Results in order, tuples in tuples taken apart."""
    if isinstance(results, (tuple, list)):
        return [each for result in results for each in several(result)]
    return [results]


# From a case to graphs, and running them


def graph_of(case: Case, dtype: DType) -> Graph:
    """The model's graph, its floats in `dtype`."""
    if case.text.partition(":")[0].endswith(".model"):
        file, _, model = case.text.partition(":")
        program = load(SPECS / file)
        hypers = {"dropout": 0.0} if "dropout" in _hypers(program, model) else {}
        return elaborate(program, model=model or None, hypers={**hypers, **case.hypers}, training=case.training, dtype=dtype)
    program = program_of(Source("case.model", case.source))
    return elaborate(program, hypers=case.hypers, training=case.training, dtype=dtype)


def updates_of(graph: Graph) -> Graph:
    """The next values of the buffers as outputs."""
    return Graph(graph.inputs, dict(graph.updates))


def _hypers(program: Program, model: str) -> set[str]:
    return {hyper.name.text for each in program.models if each.name == model or not model for hyper in each.syntax.hypers}


def narrowed(arrays: Mapping[str, Array], dtype: DType) -> dict[str, Array]:
    return {name: each.astype(dtype.numpy) if each.dtype.kind == "f" else each for name, each in arrays.items()}


def run_numpy(graph: Graph, feeds: Mapping[str, Array], weights: Mapping[str, Array], dtype: DType) -> dict[str, Array]:
    """The outputs by the NumPy runtime."""
    from runtime.numpy_executor import run

    return run(graph, narrowed({**weights, **feeds}, dtype))


def first_values(text: str, seed: int) -> dict[str, Array]:
    """The first value of every parameter of a model."""
    from runtime.numpy_executor import run

    graph = elaborate(program_of(Source("case.model", text)))
    found = {}
    for node in graph:
        if isinstance(node.op, Parameter) and node.op.initial is not None:
            initial = node.op.initial
            fed = {"seed": np.asarray(seed, np.int64)} if initial.inputs else {}
            (found[node.op.path],) = run(initial, fed).values()
    return found
