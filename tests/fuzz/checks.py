"""The comparisons of a random program, at several sizes of its dims, including all 1:

value      the graph as written in f64 by NumPy        against torch
passes     the optimised graph in f64 by NumPy         against the one as written
onnx       exported in f32, optimised or as written, with onnxruntime's rewrites or without, against NumPy in f32
grad       gradients of a random weighting of all outputs, in the same three ways
second     gradients of those along a random direction, of smooth programs, in f64 against torch
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from compiler.gradient import gradients
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.onnx.exporter import export
from compiler.operators.leaves import Input as GraphInput
from compiler.operators.leaves import Parameter, constant
from compiler.operators.reductions import Sum
from compiler.passes.pipeline import optimize
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.numpy_executor import run
from tests.fuzz.program import Program
from tests.fuzz.sizes import ONES, REFERENCE
from tests.models import elaborate

Arrays = dict[str, Any]

SIZES = (
    REFERENCE,
    ONES,
    {"b": 4, "n": 2, "m": 3, "t": 1},
    {"b": 1, "n": 5, "m": 2, "t": 7},
)
TOLERANCE = {"value": 1e-9, "passes": 1e-9, "grad": 1e-8, "grad passes": 1e-8, "second": 1e-7}
SINGLE = 2e-3  # of numbers in f32, beside the largest of a tensor


@dataclass
class Failure:
    stage: str
    sizes: Mapping[str, int]
    what: str


def array(value: torch.Tensor) -> Any:
    return value.detach().numpy(force=True)


def difference(actual: Any, expected: Any, tolerance: float) -> str | None:
    """The difference as text, or None; tolerances are relative to the largest number of the tensor."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        return f"shape {actual.shape} for {expected.shape}"
    if expected.dtype.kind != "f":
        wrong = int((actual != expected).sum())
        return f"{wrong} of {expected.size} items" if wrong else None
    if not (np.isnan(actual) == np.isnan(expected)).all() or not (np.isinf(actual) == np.isinf(expected)).all():
        return "other elements are not finite"
    finite = np.isfinite(expected)
    scale = max(1.0, float(np.abs(expected[finite]).max(initial=0)))
    with np.errstate(invalid="ignore"):
        apart = float(np.abs(actual.astype(np.float64) - expected)[finite].max(initial=0))
    if not (actual[~finite & ~np.isnan(expected)] == expected[~finite & ~np.isnan(expected)]).all():
        return "infinities of the other sign"
    return f"{apart:.3g} beside {scale:.3g}" if apart > tolerance * scale else None


class Session:
    """An exported graph in onnxruntime."""

    def __init__(self, graph: Graph, rewrites: bool) -> None:
        model = export(graph)
        onnx.checker.check_model(model, full_check=True)
        options = onnxruntime.SessionOptions()
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if rewrites else levels.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        self.input_names = [value.name for value in self.session.get_inputs()]
        self.names = list(graph.outputs)

    def run(self, feeds: Arrays) -> Arrays:
        arrays = self.session.run(None, {name: feeds[name] for name in self.input_names})
        return dict(zip(self.names, arrays, strict=False))


class Checked:
    """A program and its comparisons."""

    def __init__(self, program: Program, onnx_too: bool = True) -> None:
        self.program = program
        self.onnx_too = onnx_too
        self.failures: list[Failure] = []
        self.compared = 0

    def fail(self, stage: str, sizes: Mapping[str, int], what: str) -> None:
        self.failures.append(Failure(stage, dict(sizes), what))

    def check(self, every: bool = True) -> list[Failure]:
        text = self.program.text
        try:
            graphs = {d: elaborate(text, dtype=d) for d in (DType.F64, DType.F32)}
        except NablacError as error:
            self.fail("refused", {}, str(error)[:1500])
            return self.failures
        except Exception:
            self.fail("crash of elaborate", {}, traceback.format_exc()[-1500:])
            return self.failures
        parameters = {n.op.path: tuple(n.op.type.shape) for n in graphs[DType.F64] if isinstance(n.op, Parameter)}
        expected = {path: tuple(s.at({}) for s in shape) for path, shape in self.program.parameters.items()}
        if not set(parameters.items()) <= set(expected.items()):
            self.fail("paths", {}, f"{parameters} is not {expected}")
            return self.failures
        try:
            self.forward(graphs)
            if not self.failures or every:
                self.backward(graphs)
        except Exception:
            self.fail("crash", {}, traceback.format_exc()[-2500:])
        return self.failures

    # Values

    def forward(self, graphs: dict[DType, Graph]) -> None:
        exact = graphs[DType.F64]
        better = optimize(exact)
        verify(better)
        sessions: dict[str, Session] = {}
        if self.onnx_too:
            for label, graph in (("as written", graphs[DType.F32]), ("optimised", optimize(graphs[DType.F32]))):
                for rewrites in (True, False):
                    shown = f"{label}, {'with' if rewrites else 'without'} onnxruntime's rewrites"
                    try:
                        sessions[shown] = Session(graph, rewrites)
                    except Exception as error:
                        self.fail(f"export: {shown}", {}, f"{type(error).__name__}: {error}"[:1200])
        for sizes in SIZES:
            apart: dict[str, list[str]] = {}
            for seed in range(3):
                feeds, weights = self.program.feeds(sizes, seed), self.program.weights(seed)
                try:
                    with torch.no_grad():
                        outputs = [array(output) for output in self.program.run(feeds, weights, sizes)]
                except (RuntimeError, IndexError, ValueError):
                    break  # sizes that the program has no meaning for
                if any(output.size == 0 for output in outputs):
                    break
                fed = {name: array(tensor) for name, tensor in {**feeds, **weights}.items()}
                values = self.ran(exact, fed, sizes, "value")
                if values is None:
                    break
                self.compared += 1
                for name, expected in zip(exact.outputs, outputs, strict=True):
                    self.note(apart, f"value {name}", difference(values[name], expected, TOLERANCE["value"]))
                rewritten = self.ran(better, fed, sizes, "passes")
                for name in exact.outputs if rewritten is not None else ():
                    self.note(apart, f"passes {name}", difference(rewritten[name], values[name], TOLERANCE["passes"]))
                single = {
                    name: value.astype(np.float32) if value.dtype.kind == "f" else value for name, value in fed.items()
                }
                narrow = self.ran(graphs[DType.F32], single, sizes, "f32")
                for shown, session in sessions.items() if narrow is not None else ():
                    try:
                        by_onnx = session.run(single)
                    except Exception as error:
                        self.fail(f"onnxruntime: {shown}", sizes, f"{type(error).__name__}: {error}"[:1200])
                        continue
                    for name in exact.outputs:
                        loose = self.loose(narrow[name], values[name])
                        self.note(apart, f"onnx {shown} {name}", difference(by_onnx[name], narrow[name], loose))
                if not any(stage.startswith("onnx") for stage in apart) and seed == 0:
                    break
            for stage, what in apart.items():
                if len(what) >= (1 if stage.startswith(("value", "passes")) else 3):
                    self.fail(stage, sizes, what[0])

    @staticmethod
    def note(apart: dict[str, list[str]], stage: str, what: str | None) -> None:
        if what is not None:
            apart.setdefault(stage, []).append(what)

    @staticmethod
    def loose(narrow: Any, exact: Any) -> float:
        """The tolerance for f32: larger if f32 and f64 already differ."""
        if narrow.dtype.kind != "f":
            return 0
        scale = max(1.0, float(np.abs(exact[np.isfinite(exact)]).max(initial=0)))
        lost = np.abs(narrow - exact)
        return SINGLE + 20 * float(lost[np.isfinite(lost)].max(initial=0)) / scale

    def ran(self, graph: Graph, feeds: Arrays, sizes: Mapping[str, int], stage: str) -> Arrays | None:
        known = {n.op.path for n in graph if isinstance(n.op, Parameter)} | set(graph.inputs)
        try:
            return run(graph, {name: feed for name, feed in feeds.items() if name in known})
        except Exception as error:
            if not (self.program.empty and isinstance(error, NablacError)):  # sizes that may be refused
                self.fail(f"crash: {stage}", sizes, f"{type(error).__name__}: {error}"[:1500])
            return None

    # Gradients

    def backward(self, graphs: dict[DType, Graph]) -> None:
        floats = [n for n, v in graphs[DType.F64].outputs.items() if v.type.dtype.is_float]
        if not floats:
            return
        differentiated_graphs = {
            dtype: differentiated(graph, floats, self.program.smooth) for dtype, graph in graphs.items()
        }
        exact, second = differentiated_graphs[DType.F64]
        if not exact.outputs:
            return
        better = optimize(exact)
        verify(better)
        session = None
        if self.onnx_too:
            try:
                session = Session(optimize(differentiated_graphs[DType.F32][0]), True)
            except Exception as error:
                self.fail("export of the gradient", {}, f"{type(error).__name__}: {error}"[:1200])
        for sizes in SIZES:
            apart: dict[str, list[str]] = {}
            for seed in range(3):
                prepared = self.torch_gradients(sizes, seed, floats, second is not None)
                if prepared is None:
                    break
                fed, first, along_first = prepared
                values = self.ran(exact, fed, sizes, "grad")
                if values is None:
                    break
                self.compared += 1
                for path, expected in first.items():
                    actual = values.get(f"of {path}", np.zeros_like(expected))
                    self.note(apart, f"grad {path}", difference(actual, expected, TOLERANCE["grad"]))
                rewritten = self.ran(better, fed, sizes, "grad passes")
                for name in exact.outputs if rewritten is not None else ():
                    what = difference(rewritten[name], values[name], TOLERANCE["grad passes"])
                    self.note(apart, f"grad passes {name}", what)
                if second is not None and along_first is not None:
                    twice = self.ran(second, fed, sizes, "second")
                    for path, expected in along_first.items() if twice is not None else ():
                        actual = twice.get(f"second of {path}", np.zeros_like(expected))
                        self.note(apart, f"second {path}", difference(actual, expected, TOLERANCE["second"]))
                if session is not None:
                    single = {n: v.astype(np.float32) if v.dtype.kind == "f" else v for n, v in fed.items()}
                    narrow = self.ran(differentiated_graphs[DType.F32][0], single, sizes, "grad f32")
                    try:
                        by_onnx = session.run(single)
                    except Exception as error:
                        self.fail("onnxruntime: gradient", sizes, f"{type(error).__name__}: {error}"[:1200])
                        break
                    for name in exact.outputs if narrow is not None else ():
                        loose = self.loose(narrow[name], values[name])
                        self.note(apart, f"onnx grad {name}", difference(by_onnx[name], narrow[name], loose))
                if seed == 0 and not apart:
                    break
            for stage, what in apart.items():
                if len(what) >= 3:
                    self.fail(stage, sizes, what[0])

    def torch_gradients(self, sizes: Mapping[str, int], seed: int, floats: list[str], twice: bool) -> Any:
        feeds, weights = self.program.feeds(dict(sizes), seed), self.program.weights(seed)
        leaves = {n: v.requires_grad_() for n, v in {**feeds, **weights}.items() if v.dtype == torch.float64}
        try:
            outputs = self.program.run({**feeds, **leaves}, leaves, dict(sizes))
        except (RuntimeError, IndexError, ValueError):
            return None
        if any(output.numel() == 0 for output in outputs):
            return None
        results = [output for name, output in zip(self.program.output_names, outputs, strict=True) if name in floats]
        generator = torch.Generator().manual_seed(seed + 7)

        def drawn(like: torch.Tensor) -> torch.Tensor:
            return torch.randn(like.shape, generator=generator, dtype=torch.float64)

        seeds = {f"seed {name}": drawn(result) for name, result in zip(floats, results, strict=True)}
        total = sum((w * y).sum() for w, y in zip(seeds.values(), results, strict=True))
        if not isinstance(total, torch.Tensor) or not total.requires_grad:
            return None
        options = {"allow_unused": True, "materialize_grads": True}
        grads = torch.autograd.grad(total, list(leaves.values()), create_graph=twice, **options)
        along = {f"along {name}": drawn(leaf) for name, leaf in leaves.items()}
        second = None
        if twice:
            slope = sum((g * w).sum() for g, w in zip(grads, along.values(), strict=True))
            second = {name: np.zeros(tuple(leaf.shape)) for name, leaf in leaves.items()}
            if slope.requires_grad:
                second_gradients = torch.autograd.grad(slope, list(leaves.values()), **options)
                second = {name: array(gradient) for name, gradient in zip(leaves, second_gradients, strict=True)}
        fed = {name: array(tensor) for name, tensor in {**feeds, **weights, **seeds, **along}.items()}
        if any(not np.isfinite(array(gradient)).all() for gradient in grads):
            return None
        return fed, {name: array(gradient) for name, gradient in zip(leaves, grads, strict=True)}, second


def differentiated(graph: Graph, floats: list[str], twice: bool) -> tuple[Graph, Graph | None]:
    """Gradients `of PATH`, given `seed OUTPUT`; those along `along PATH` again, `second of PATH`."""
    leaves = {name: value for name, value in graph.inputs.items() if value.type.dtype.is_float}
    leaves |= {node.op.path: node.result for node in graph if isinstance(node.op, Parameter)}
    seeds = {f"seed {name}": GraphInput(f"seed {name}", graph.outputs[name].type)() for name in floats}
    grads = gradients([graph.outputs[name] for name in floats], [*seeds.values()], [*leaves.values()])
    first = {path: grad for path, grad in zip(leaves, grads, strict=True) if grad is not None}
    one = Graph({**graph.inputs, **seeds}, {f"of {path}": grad for path, grad in first.items()})
    if not twice or not first:
        return one, None
    along = {f"along {path}": GraphInput(f"along {path}", leaves[path].type)() for path in leaves}
    slopes = [Sum()(grad * along[f"along {path}"]) for path, grad in first.items()]
    ones = [constant(1.0, slope.type.dtype) for slope in slopes]
    again = gradients(slopes, ones, [*leaves.values()])
    outputs = {f"second of {path}": grad for path, grad in zip(leaves, again, strict=True) if grad is not None}
    return one, Graph({**graph.inputs, **seeds, **along}, outputs) if outputs else None
