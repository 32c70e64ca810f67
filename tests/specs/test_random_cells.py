"""Random recurrences give the same as written, after every pass and on onnxruntime; so do their gradients."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.gradient import gradients
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.onnx.exporter import export
from compiler.operators.leaves import Parameter, constant
from compiler.passes.pipeline import OPTIMIZING, optimize, passes_of
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import run
from runtime.onnx_session import OnnxRunner
from tests.models import elaborate

# Names that the compiler gives to things of its own, too.
NAMES = ("x", "x_1", "h", "state_0", "item_0", "whole_0", "captured_0", "result_0", "step", "y")


@st.composite
def expressions(draw: st.DrawFn, names: list[str], depth: int = 2) -> str:
    """A `[batch, 3]` tensor made of those at hand."""
    if not depth or draw(st.booleans()):
        return draw(st.sampled_from(names))
    left, right = draw(expressions(names, depth - 1)), draw(expressions(names, depth - 1))
    forms = ("{0} + {1}", "{0} * {1}", "tanh({0})", "sigmoid({0} - {1})", "{0} @ W", "tanh({0} @ U + {1} @ W + b)")
    return f"({draw(st.sampled_from(forms)).format(left, right)})"


@st.composite
def cells(draw: st.DrawFn, name: str, inner: str | None = None) -> str:
    states = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    given_name = draw(st.sampled_from([each for each in NAMES if each not in states]))
    known = [*states, given_name]
    lines = [f"input {given_name}: [batch, 3]"]
    lines += [f"state {state}: [batch, 3] = {draw(st.sampled_from(['0', '0.5']))}" for state in states]
    lines += ["param W, U: [3, 3] ~ normal(std: 0.4)", "param b: [3] ~ normal(std: 0.4)"]
    if inner is not None:
        lines.append(f"inside = {given_name} -> {inner}()" + draw(st.sampled_from(["", f" -> {inner}()"])))
        known.append("inside")
    for state in states:
        lines.append(f"{state}' = tanh({draw(expressions(known))})")
        known.append(f"{state}'")
    lines.append(f"output {draw(expressions(known))}")
    return f"cell {name}() {{\n    " + "\n    ".join(lines) + "\n}\n"


@st.composite
def models(draw: st.DrawFn) -> str:
    text = draw(cells("Inner")) + draw(cells("Outer", draw(st.sampled_from([None, "Inner"]))))
    reverse = draw(st.sampled_from(["true", "false"]))
    walk = f"scan(Outer())(xs, axis: 1, reverse: {reverse})"
    twice = draw(st.sampled_from(["ys", "scan(Inner())(ys, axis: 1)", "scan(Outer())(ys + xs, axis: 1)"]))
    return (
        f"{text}\nmodel M {{\n    input xs: [batch, time, 3]\n    ys = {walk}\n    output y = mean({twice} ** 2)\n}}\n"
    )


def differentiated(text: str, dtype: DType) -> Graph:
    graph = elaborate(text, dtype=dtype)
    parameters = {node.op.path: node.result for node in graph if isinstance(node.op, Parameter)}
    made = gradients([graph.outputs["y"]], [constant(1.0, dtype)], [*parameters.values()])
    grads = {f"grad {path}": grad for path, grad in zip(parameters, made, strict=True) if grad is not None}
    return Graph(graph.inputs, {**graph.outputs, **grads})


@settings(max_examples=20)
@given(models(), st.integers(1, 3), st.integers(1, 4))
def test_random_recurrences_are_what_they_say(text: str, batch: int, time: int) -> None:
    xs = np.random.default_rng(0).normal(size=(batch, time, 3))
    graph = differentiated(text, DType.F64)
    verify(graph)
    weights = initialize(graph, 0)
    wanted = run(graph, {"xs": xs}, weights)
    changed = graph
    for each in passes_of(*OPTIMIZING):
        changed = each.run(changed)
        verify(changed)
    for better in (changed, optimize(graph)):
        for name, found in run(better, {"xs": xs}, weights).items():
            np.testing.assert_allclose(found, wanted[name], rtol=1e-10, atol=1e-13, err_msg=name)
    single = optimize(differentiated(text, DType.F32))
    floats = {path: each.astype(np.float32) for path, each in weights.items()}
    runner = OnnxRunner(export(single, weights=floats).SerializeToString(), threads=1)
    for name, found in runner.run({"xs": xs.astype(np.float32)}).items():
        np.testing.assert_allclose(found, wanted[name], rtol=2e-3, atol=2e-5, err_msg=name)
