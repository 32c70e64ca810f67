"""The oracle of the library: a model in the language and a torch module with the same weights give the same numbers.

A row of a table names a model text, its inputs with their named dims, and the torch module:

    case("an LSTM", "output x -> LSTM(4)", nn.LSTM(3, 4), weights=lstm("lstm.lstm_cell"), x=("batch", "time", 3))

In f64 the NumPy runtime must agree with torch to 1e-12, in f32 to 1e-5; onnxruntime must agree with NumPy to 1e-5.
Every case runs at several batches and lengths, on one graph with symbolic dims.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from compiler.elaborate.program import Program, load
from compiler.gradient import gradients
from compiler.graph import Graph, Value
from compiler.onnx.exporter import export
from compiler.operators.leaves import Buffer, Input, Parameter, constant
from compiler.operators.reductions import Sum
from compiler.passes.pipeline import optimize
from compiler.types import DType
from runtime.numpy_executor import NumpyRunner, run
from runtime.onnx_session import OnnxRunner
from tests.models import elaborate
from tests.paths import SPECS

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

torch.backends.mha.set_fastpath_enabled(False)  # it drops padded positions
torch.set_num_threads(1)  # tensors this small only wait for each other
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
        label,
        text,
        module,
        inputs,
        weights,
        types or {},
        drawn,
        sizes,
        training,
        before,
        hypers or {},
        onnx,
        updates,
        rtol,
    )


def each(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Run a test on every case."""
    labels = [case.label for case in cases]
    assert len(set(labels)) == len(labels), "two cases of one name"
    return pytest.mark.parametrize("case", cases, ids=labels)


def prepared(case: Case) -> Any:
    """The case's module in f64 with weights of its own."""
    if isinstance(case.module, torch.nn.Module):
        torch.manual_seed(1)
        for parameter in case.module.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        for buffer in case.module.buffers():
            if buffer.is_floating_point():
                torch.nn.init.uniform_(buffer, 0.5, 1.5)
        case.module.double().train(case.training)
    return case.module


def check(case: Case) -> None:
    """The one proof: torch, NumPy in f64 and f32, and onnxruntime say the same."""
    module = prepared(case)
    weights = {path: array(value) for path, value in case.weights(module).items()} if case.weights else {}
    exact, single = (Runners(graph_of(case, dtype), dtype) for dtype in (DType.F64, DType.F32))
    fused, shipped = (Runners(optimize(runners.graph), runners.dtype) for runners in (exact, single))
    missing = exact.paths - set(weights)
    assert not missing, f"the module has no weight for {sorted(missing)}"
    for sizes in case.sizes:
        feeds = case.feeds(sizes)
        with torch.no_grad():
            expected = [array(each) for each in several(module(*map(torch.as_tensor, feeds.values())))]
        found, narrow, rewritten = (each.numpy(feeds, weights) for each in (exact, single, fused))
        for name, theirs in zip(exact.graph.outputs, expected, strict=True):
            assert found[name].shape == theirs.shape
            near(found[name], theirs, case.rtol, f"{name} in f64, {sizes}")
            near(rewritten[name], theirs, 10 * case.rtol, f"{name} in f64, optimized, {sizes}")
            near(narrow[name], theirs, 1e-5, f"{name} in f32, {sizes}")
        for runners in (single, shipped) if case.onnx else ():
            for name, value in runners.onnx(feeds, weights).items():
                near(value, narrow[name.removesuffix(".next")], 1e-5, f"{name} by onnxruntime, {sizes}")
        if case.updates is not None:
            for path, value in case.updates(module).items():
                near(found[path], array(value), case.rtol, f"{path}, {sizes}")
                weights[path] = array(value)


def check_gradients(case: Case) -> None:
    """The gradients of inputs and parameters are torch's, for a random weighting of all outputs, and so are theirs.

    In f64 on NumPy to 1e-10, in f32 on both backends to 1e-5; the gradients of gradients along a random direction.
    Torch's weights map to ours linearly, so our gradients come back to torch's parameters by the transpose of the map.
    """
    module = prepared(case)
    feeds = case.feeds(case.sizes[-1])
    tensors = [torch.tensor(each, requires_grad=each.dtype.kind == "f") for each in feeds.values()]
    mapped = dict(case.weights(module)) if case.weights else {}
    weights = {path: array(value) for path, value in mapped.items()}
    leaves = [tensor for tensor in tensors if tensor.requires_grad]
    inputs = len(leaves)
    leaves += module.parameters() if isinstance(module, torch.nn.Module) else []
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):  # the one that differentiates twice
        theirs = several(module(*tensors))
    random = np.random.default_rng(5)
    seeds = [random.standard_normal(each.shape) for each in theirs]
    total = sum((torch.as_tensor(seed) * each).sum() for seed, each in zip(seeds, theirs, strict=True))
    if not total.requires_grad:
        return  # a count has no gradient
    first = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True, create_graph=True)
    ways = [torch.as_tensor(random.standard_normal(tuple(each.shape))) for each in leaves]
    slope = sum((grad * way).sum() for grad, way in zip(first, ways, strict=True))
    second = [torch.zeros_like(each) for each in leaves]
    if slope.requires_grad:
        second = torch.autograd.grad(slope, leaves, allow_unused=True, materialize_grads=True)
    named = [name for name, each in feeds.items() if each.dtype.kind == "f"]
    along = dict(zip(named, map(array, ways), strict=False)) | _moved(case, module, ways[inputs:], weights)

    def compare(found: dict[str, Array], expected: Sequence[Any], tolerance: float, what: str) -> None:
        ours = {path: found.get(path, np.zeros(value.shape)) for path, value in (feeds | weights).items()}
        flow = sum((torch.as_tensor(ours[path].astype(np.float64)) * value).sum() for path, value in mapped.items())
        kept = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
        pulled = torch.autograd.grad(flow, leaves[inputs:], **kept) if leaves[inputs:] else ()
        for place, (mine, other) in enumerate(zip([*map(ours.get, named), *map(array, pulled)], expected, strict=True)):
            near(mine, array(other), max(tolerance, case.rtol), f"{what} gradient {place}")

    for dtype in (DType.F64, DType.F32):
        graph, paths = _differentiated(graph_of(case, dtype))
        fed = {f"seed {place}": seed for place, seed in enumerate(seeds)}
        fed |= {f"along {path}": way for path, way in along.items()}
        fed = {**feeds, **{name: each for name, each in fed.items() if name in graph.inputs}}
        if dtype is DType.F64:
            found = Runners(graph, dtype).numpy(fed, weights)
            compare({path: found[f"first {path}"] for path in paths if f"first {path}" in found}, first, 1e-10, "f64")
            seconds = {path: found[f"second {path}"] for path in paths if f"second {path}" in found}
            compare(seconds, second, 1e-9, "second")
            continue
        outputs = {name: value for name, value in graph.outputs.items() if name.startswith("first ")}
        runners = Runners(optimize(Graph(graph.inputs, outputs)), dtype)
        for backend in (runners.numpy, runners.onnx):
            found = backend(fed, weights)
            compare({name.removeprefix("first "): each for name, each in found.items()}, first, 1e-5, "f32")


def _moved(case: Case, module: Any, ways: Sequence[Any], weights: Mapping[str, Array]) -> dict[str, Array]:
    """Where our parameters go when torch's go along `ways`."""
    if not case.weights:
        return {}
    other = deepcopy(module)
    with torch.no_grad():
        for parameter, way in zip(other.parameters(), ways, strict=True):
            parameter += way
    return {path: array(value) - weights[path] for path, value in dict(case.weights(other)).items()}


def _differentiated(graph: Graph) -> tuple[Graph, list[str]]:
    """The gradients of a graph's outputs, weighted by `seed N`, and theirs along `along PATH`, by path."""
    leaves = {name: value for name, value in graph.inputs.items() if value.type.dtype.is_float}
    leaves |= {node.op.path: node.result for node in graph if isinstance(node.op, Parameter)}
    seeds = {f"seed {place}": Input(f"seed {place}", end.type)() for place, end in enumerate(graph.outputs.values())}
    along = {f"along {path}": Input(f"along {path}", value.type)() for path, value in leaves.items()}
    grads = gradients([*graph.outputs.values()], [*seeds.values()], [*leaves.values()])
    first = {path: grad for path, grad in zip(leaves, grads, strict=True) if grad is not None}
    slopes: list[Value] = [Sum()(grad * along[f"along {path}"]) for path, grad in first.items()]
    ones = [constant(1.0, slope.type.dtype) for slope in slopes]
    second = dict(zip(leaves, gradients(slopes, ones, [*leaves.values()]), strict=True))
    outputs = {f"first {path}": grad for path, grad in first.items()}
    outputs |= {f"second {path}": grad for path, grad in second.items() if grad is not None}
    return Graph({**graph.inputs, **seeds, **along}, outputs), list(leaves)


def near(found: Array, expected: Array, tolerance: float, what: str) -> None:
    """Equal to a share of each number, or of the largest one where sums cancel."""
    scale = max(1.0, float(np.abs(expected).max())) if expected.size and expected.dtype.kind == "f" else 1.0
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def array(value: Any) -> Array:
    """A copy: torch changes its buffers in place."""
    return np.array(value.detach().numpy(force=True) if isinstance(value, torch.Tensor) else value)


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
        return elaborate(
            program, model=model or None, hypers={**hypers, **case.hypers}, training=case.training, dtype=dtype
        )
    return elaborate(case.source, hypers=case.hypers, training=case.training, dtype=dtype)


def _hypers(program: Program, model: str) -> set[str]:
    return {
        hyper.name.text for each in program.models if each.name == model or not model for hyper in each.syntax.hypers
    }


class Runners:
    """One graph on both backends."""

    def __init__(self, graph: Graph, dtype: DType) -> None:
        self.graph, self.dtype = graph, dtype
        self.paths = {node.op.path for node in graph if isinstance(node.op, (Parameter, Buffer))}
        self.runner = NumpyRunner(graph)
        self.session: OnnxRunner | None = None

    def numpy(self, feeds: Mapping[str, Array], weights: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, and next values of buffers by path."""
        return self.runner.run(self._fed(feeds, weights))

    def onnx(self, feeds: Mapping[str, Array], weights: Mapping[str, Array]) -> dict[str, Array]:
        """The same by onnxruntime."""
        if self.session is None:
            self.session = session_of(self.graph)
        fed = self._fed(feeds, weights)
        return self.session.run({name: fed[name] for name in self.session.inputs})

    def _fed(self, feeds: Mapping[str, Array], weights: Mapping[str, Array]) -> dict[str, Array]:
        used = {path: value for path, value in weights.items() if path in self.paths}
        arrays = {**used, **feeds}
        return {
            name: each.astype(self.dtype.numpy) if each.dtype.kind == "f" else each for name, each in arrays.items()
        }


def session_of(graph: Graph) -> OnnxRunner:
    """The exported graph in onnxruntime, its weights as inputs."""
    return OnnxRunner(export(graph).SerializeToString(), threads=1)


def first_values(text: str, seed: int) -> dict[str, Array]:
    """The first value of every parameter of a model."""
    graph = elaborate(text)
    found = {}
    for node in graph:
        if isinstance(node.op, Parameter) and node.op.initial is not None:
            initial = node.op.initial
            fed = {"seed": np.asarray(seed, np.int64)} if initial.inputs else {}
            (found[node.op.path],) = run(initial, fed).values()
    return found
