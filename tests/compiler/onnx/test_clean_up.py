"""The clean-up after lowering: what each rule rewrites and what it leaves alone, and that models compute the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compiler.dims import Dim
from compiler.elaborate.program import load
from compiler.graph import Graph
from compiler.onnx.clean_up.driver import all_rules, clean_up
from compiler.onnx.clean_up.folding import SMALL
from compiler.onnx.exporter import export
from compiler.onnx.lowered import LoweredNode
from compiler.operators.making import sum_
from compiler.passes.pipeline import CLEAN_UP, PassRun, optimize, pass_settings
from compiler.training.gradients import gradient_graph
from compiler.training.step import training_step
from compiler.types import DType, TensorType
from runtime.feeds import random_feeds, sizes_from
from runtime.initialization import initialize
from tests.models import elaborate, spec_of
from tests.paths import SPECS
from tests.runtime.graphs import fed, graph

OPSET = 21
F32, I64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
X, XN, N = {"x": (F32, (2, 3, 4))}, {"x": (F32, ("n", 3, 4))}, {"n": (I64, (3,))}


def step(kind: str, *operands: Any, out: str = "y", kept: bool = False, **attributes: Any) -> tuple[Any, ...]:
    return kind, operands, out, kept, attributes


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


class Sketch:
    """A few nodes, with the types of their values, as the clean-up asks for them."""

    opset = OPSET

    def __init__(self, inputs: dict[str, Any], steps: list[Any], untyped: tuple[str, ...]) -> None:
        self.constants: dict[str, np.ndarray] = {}
        self.inputs = [onnx.helper.make_tensor_value_info(name, *type) for name, type in inputs.items()]
        self.nodes = [
            LoweredNode(kind, [self._name(operand) for operand in operands], out.split(), attributes, kept=kept)
            for kind, operands, out, kept, attributes in steps
        ]
        inferred = onnx.shape_inference.infer_shapes(self.model(self.nodes, ["y"]), data_prop=True).graph
        known = [*inferred.input, *inferred.output, *inferred.value_info]
        self.types = {info.name: type for info in known if info.name not in untyped and (type := type_of(info))}

    def _name(self, operand: Any) -> str:
        return operand if isinstance(operand, str) else self.constant(operand)

    def known_type(self, name: str) -> TensorType | None:
        return self.types.get(name)

    def array(self, name: str) -> np.ndarray | None:
        return self.constants.get(name)

    def constant(self, array: np.ndarray) -> str:
        name = f"{array.dtype}{array.tolist()}"
        self.constants[name] = array
        return name

    def model(self, nodes: list[LoweredNode], ends: list[str]) -> onnx.ModelProto:
        copies = [onnx.helper.make_node("Identity", [end], [f"{end}.end"]) for end in ends]
        outputs = [onnx.helper.make_empty_tensor_value_info(f"{end}.end") for end in ends]
        stored = [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        written = [*(node.proto() for node in nodes), *copies]
        proto = onnx.helper.make_graph(written, "sketch", self.inputs, outputs, stored)
        return onnx.helper.make_model(proto, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)


def type_of(info: onnx.ValueInfoProto) -> TensorType | None:
    tensor = info.type.tensor_type
    known = {dtype.onnx: dtype for dtype in DType}
    if tensor.elem_type not in known or not tensor.HasField("shape"):
        return None
    sizes = [dim.dim_value if dim.HasField("dim_value") else Dim.named(dim.dim_param) for dim in tensor.shape.dim]
    return TensorType(known[tensor.elem_type], tuple(sizes))


@dataclass
class Row:
    """Nodes whose end is `y`, and the kinds of those that are left; None where all are left alone."""

    of: str
    title: str
    inputs: dict[str, Any]
    steps: list[Any]
    left: list[str] | None = None
    untyped: tuple[str, ...] = field(default=())


F64, F16, I32 = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32
MAX = np.iinfo(np.int64).max
BOTH = {"x": (F32, ("n", 3, 4)), "z": (F32, ("n", 3, 4))}
FLAG = {"x": (onnx.TensorProto.BOOL, (3,))}


def cut(x: str, start: int, stop: int, axis: int, out: str = "y", stride: int = 1) -> tuple[Any, ...]:
    return step("Slice", x, ints(start), ints(stop), ints(axis), ints(stride), out=out)


def sum_of(x: str, *axes: int, out: str = "y", keep: int = 0, kind: str = "ReduceSum") -> tuple[Any, ...]:
    return step(kind, x, ints(*axes), out=out, keepdims=keep)


ROWS = [
    Row("a copy", "is its original", X, [step("Identity", "x", out="a"), step("Exp", "a")], ["Exp"]),
    Row("a copy", "that is kept", X, [step("Identity", "x", out="a", kept=True), step("Exp", "a")]),
    Row("a cast to the same dtype", "f32 to f32", X, [step("Cast", "x", to=F32, out="a"), step("Exp", "a")], ["Exp"]),
    Row("a cast to the same dtype", "f32 to f64", X, [step("Cast", "x", to=F64)]),
    Row(
        "a cast of a widening cast",
        "f32 to f64 and to i32",
        X,
        [step("Cast", "x", to=F64, out="a"), step("Cast", "a", to=I32)],
        ["Cast"],
    ),
    Row(
        "a cast of a widening cast",
        "narrowed first",
        X,
        [step("Cast", "x", to=F16, out="a"), step("Cast", "a", to=F32)],
    ),
    Row(
        "a cast of a widening cast",
        "a fraction lost",
        X,
        [step("Cast", "x", to=I64, out="a"), step("Cast", "a", to=F32)],
    ),
    Row("a cast of a widening cast", "i64 to f64", N, [step("Cast", "n", to=F64, out="a"), step("Cast", "a", to=I64)]),
    Row("a negation twice", "is none", FLAG, [step("Not", "x", out="a"), step("Not", "a")], []),
    Row("a negation twice", "once", FLAG, [step("Not", "x")]),
    Row("an integer plus 0", "is itself", N, [step("Add", "n", ints(0, 0, 0))], []),
    Row("an integer plus 0", "that has more axes", N, [step("Add", "n", np.zeros((2, 3), np.int64))]),
    Row("an integer plus 0", "of floats, which may be -0", X, [step("Add", "x", np.zeros((), np.float32))]),
    Row(
        "a reshape to the same shape",
        "is nothing",
        X,
        [step("Reshape", "x", ints(2, 3, 4), out="a"), step("Exp", "a")],
        ["Exp"],
    ),
    Row("a reshape to the same shape", "that checks it", XN, [step("Reshape", "x", ints(0, 3, 4), kept=True)]),
    Row(
        "a reshape of a reshape",
        "with one unknown size",
        XN,
        [step("Reshape", "x", ints(-1, 12), out="a"), step("Reshape", "a", ints(-1, 2, 6))],
        ["Reshape"],
    ),
    Row(
        "a reshape of a reshape",
        "axes added twice",
        XN,
        [step("Unsqueeze", "x", ints(0), out="a"), step("Unsqueeze", "a", ints(2, 5))],
        ["Unsqueeze"],
    ),
    Row(
        "a reshape of a reshape",
        "axes added and taken away",
        XN,
        [step("Unsqueeze", "x", ints(1), out="a"), step("Squeeze", "a", ints(1), out="b"), step("Exp", "b")],
        ["Exp"],
    ),
    Row(
        "a reshape of a reshape",
        "behind one that checks a size",
        XN,
        [step("Reshape", "x", ints(0, 3, 4), out="a", kept=True), step("Reshape", "a", ints(-1, 2, 6))],
    ),
    Row(
        "two transposes",
        "of which one is enough",
        XN,
        [step("Transpose", "x", perm=[1, 2, 0], out="a"), step("Transpose", "a", perm=[1, 2, 0])],
        ["Transpose"],
    ),
    Row(
        "two transposes",
        "with a product between",
        X,
        [
            step("Transpose", "x", perm=[0, 2, 1], out="a"),
            step("MatMul", "a", "x", out="b"),
            step("Transpose", "b", perm=[1, 0, 2]),
        ],
    ),
    Row(
        "a transpose of no axes",
        "that undoes another",
        XN,
        [
            step("Transpose", "x", perm=[2, 0, 1], out="a"),
            step("Transpose", "a", perm=[1, 2, 0], out="b"),
            step("Exp", "b"),
        ],
        ["Exp"],
    ),
    Row("a transpose of no axes", "of axes", X, [step("Transpose", "x", perm=[0, 2, 1])]),
    Row(
        "a reshape of a transpose of axes of length 1",
        "keeps the order",
        {"x": (F32, (2, 1, 3))},
        [step("Transpose", "x", perm=[1, 0, 2], out="a"), step("Reshape", "a", ints(6))],
        ["Reshape"],
    ),
    Row(
        "a reshape of a transpose of axes of length 1",
        "of longer axes",
        X,
        [step("Transpose", "x", perm=[1, 0, 2], out="a"), step("Reshape", "a", ints(6, 4))],
    ),
    Row(
        "a transpose of axes of length 1 of a reshape",
        "is one reshape",
        X,
        [step("Reshape", "x", ints(24, 1), out="a"), step("Transpose", "a", perm=[1, 0])],
        ["Reshape"],
    ),
    Row(
        "a transpose of axes of length 1 of a reshape",
        "of longer axes",
        X,
        [step("Reshape", "x", ints(6, 4), out="a"), step("Transpose", "a", perm=[1, 0])],
    ),
    Row(
        "a reshape by computed sizes",
        "of which one is unknown",
        XN,
        [
            step("Shape", "x", start=0, end=1, out="a"),
            step("Concat", "a", ints(2, 6), axis=0, out="b"),
            step("Reshape", "x", "b"),
        ],
        ["Reshape"],
    ),
    Row(
        "a reshape by computed sizes",
        "of which two are unknown",
        {"x": (F32, ("n", "m", 4))},
        [
            step("Shape", "x", start=0, end=1, out="a"),
            step("Shape", "x", start=1, end=2, out="b"),
            step("Concat", "b", "a", ints(4), axis=0, out="c"),
            step("Reshape", "x", "c"),
        ],
    ),
    Row("a concatenation of one", "is its part", X, [step("Concat", "x", axis=0, out="a"), step("Exp", "a")], ["Exp"]),
    Row("a concatenation of one", "of two", X, [step("Concat", "x", "x", axis=0)]),
    Row(
        "a concatenation of concatenations",
        "on one axis",
        BOTH,
        [step("Concat", "x", "z", axis=1, out="a"), step("Concat", "z", "a", axis=-2)],
        ["Concat"],
    ),
    Row(
        "a concatenation of concatenations",
        "on two axes",
        X,
        [step("Concat", "x", "x", axis=1, out="a"), step("Concat", "a", "a", axis=0)],
    ),
    Row(
        "a concatenation of all parts",
        "of a split",
        XN,
        [
            step("Split", "x", ints(1, 2), axis=1, out="a b"),
            step("Concat", "a", "b", axis=1, out="c"),
            step("Exp", "c"),
        ],
        ["Exp"],
    ),
    Row(
        "a concatenation of all parts",
        "in another order",
        XN,
        [step("Split", "x", ints(1, 2), axis=1, out="a b"), step("Concat", "b", "a", axis=1)],
    ),
    Row(
        "a concatenation of neighbouring slices",
        "of everything",
        XN,
        [
            cut("x", 0, 1, 2, out="a"),
            cut("x", 1, MAX, 2, out="b"),
            step("Concat", "a", "b", axis=2, out="c"),
            step("Exp", "c"),
        ],
        ["Exp"],
    ),
    Row(
        "a concatenation of neighbouring slices",
        "of a part",
        XN,
        [cut("x", 0, 1, 2, out="a"), cut("x", 1, 3, 2, out="b"), step("Concat", "a", "b", axis=2)],
        ["Slice"],
    ),
    Row(
        "a concatenation of neighbouring slices",
        "with a gap",
        XN,
        [cut("x", 0, 1, 2, out="a"), cut("x", 2, 3, 2, out="b"), step("Concat", "a", "b", axis=2)],
    ),
    Row(
        "a concatenation of neighbouring slices",
        "on another axis",
        XN,
        [cut("x", 0, 2, 2, out="a"), cut("x", 2, 4, 2, out="b"), step("Concat", "a", "b", axis=1)],
    ),
    Row("a slice of everything", "is the value", X, [cut("x", 0, MAX, 1, out="a"), step("Exp", "a")], ["Exp"]),
    Row("a slice of everything", "backwards", X, [cut("x", -1, -MAX, 1, stride=-1)]),
    Row("a slice of a slice", "on two axes", X, [cut("x", 0, 2, 1, out="a"), cut("a", 1, 2, 2)], ["Slice"]),
    Row("a slice of a slice", "on one axis", X, [cut("x", 1, 4, 2, out="a"), cut("a", 1, 2, 2)]),
    Row(
        "a slice of a slice",
        "that is used again",
        X,
        [cut("x", 0, 2, 1, out="a"), cut("a", 1, 2, 2, out="b"), step("Add", "a", "b")],
    ),
    Row(
        "a padding of a padding",
        "by the same number",
        X,
        [step("Pad", "x", ints(0, 1, 0, 0, 0, 2), out="a"), step("Pad", "a", ints(1, 0, 0, 0, 0, 1))],
        ["Pad"],
    ),
    Row(
        "a padding of a padding",
        "by two numbers",
        X,
        [step("Pad", "x", ints(0, 1, 0, 0, 0, 2), np.float32(1), out="a"), step("Pad", "a", ints(1, 0, 0, 0, 0, 1))],
    ),
    Row(
        "a reduction of a reduction",
        "over both",
        XN,
        [sum_of("x", 2, out="a", keep=1), sum_of("a", 0, keep=1)],
        ["ReduceSum"],
    ),
    Row("a reduction of a reduction", "of dropped axes", XN, [sum_of("x", 1, out="a"), sum_of("a", -1)], ["ReduceSum"]),
    Row("a reduction of a reduction", "with one axis kept", XN, [sum_of("x", 2, out="a", keep=1), sum_of("a", 0)]),
    Row(
        "a reduction of a reduction",
        "of another kind",
        XN,
        [sum_of("x", 2, out="a", kind="ReduceMax"), sum_of("a", 0)],
    ),
    Row(
        "a reduction of a reduction",
        "whose mean is of parts",
        XN,
        [sum_of("x", 2, out="a", kind="ReduceMean"), sum_of("a", 0, kind="ReduceMean")],
    ),
    Row(
        "a reshape of a reduction",
        "keeps the axis",
        XN,
        [sum_of("x", 2, out="a"), step("Unsqueeze", "a", ints(2))],
        ["ReduceSum"],
    ),
    Row(
        "a reshape of a reduction",
        "drops the axis",
        XN,
        [sum_of("x", 2, out="a", keep=1), step("Squeeze", "a", ints(2))],
        ["ReduceSum"],
    ),
    Row(
        "a reshape of a reduction", "adds another axis", XN, [sum_of("x", 2, out="a"), step("Unsqueeze", "a", ints(0))]
    ),
    Row(
        "an expanded operand",
        "of a sum",
        X,
        [step("Expand", np.float32(2), ints(2, 3, 4), out="a"), step("Add", "x", "a")],
        ["Add"],
    ),
    Row(
        "an expanded operand",
        "with leading axes of length 1",
        X,
        [cut("x", 0, 1, 0, out="a"), step("Squeeze", "a", ints(0), out="b"), step("Mul", "x", "b")],
        ["Slice", "Mul"],
    ),
    Row(
        "an expanded operand",
        "that makes the result larger",
        X,
        [step("Expand", "x", ints(5, 2, 3, 4), out="a"), step("Add", "x", "a")],
    ),
    Row(
        "an expanded operand",
        "of a new last axis",
        {"x": (F32, (4, 4)), "z": (F32, (4,))},
        [step("Unsqueeze", "z", ints(1), out="a"), step("Mul", "x", "a")],
    ),
    Row(
        "an expand of an expand",
        "is one",
        {"x": (F32, (3, 1))},
        [step("Expand", "x", ints(3, 4), out="a"), step("Expand", "a", ints(2, 3, 4))],
        ["Expand"],
    ),
    Row(
        "an expand of an expand",
        "with an axis between",
        {"x": (F32, (3,))},
        [
            step("Expand", "x", ints(2, 3), out="a"),
            step("Unsqueeze", "a", ints(2), out="b"),
            step("Expand", "b", ints(2, 3, 4)),
        ],
    ),
    Row(
        "",
        "equal nodes",
        X,
        [step("Exp", "x", out="a"), step("Exp", "x", out="b"), step("Add", "a", "b")],
        ["Exp", "Add"],
    ),
    Row(
        "",
        "attributes that differ in the sign of zero",
        X,
        [step("Elu", "x", alpha=0.0, out="a"), step("Elu", "x", alpha=-0.0, out="b"), step("Sub", "a", "b")],
    ),
    Row("", "what constants decide", N, [step("Neg", ints(1, 2, 3), out="a"), step("Mul", "n", "a")], ["Mul"]),
    Row(
        "",
        "a large constant",
        N,
        [step("Expand", ints(1, 2, 3), ints(SMALL, 3), out="a"), step("Add", "n", "a", out="b"), sum_of("b", 0)],
    ),
    Row("", "a node that nothing reads", X, [step("Exp", "x", out="a"), step("Sin", "x")], ["Sin"]),
]


def cleaned(row: Row, without: str | None = None) -> tuple[Sketch, list[LoweredNode], str]:
    sketch = Sketch(row.inputs, row.steps, row.untyped)
    rules = [rule for rule in all_rules() if rule.name != without]
    nodes, renamed = clean_up(sketch.nodes, ["y"], sketch, rules)
    return sketch, nodes, renamed.get("y", "y")


def computed(model: onnx.ModelProto, feeds: dict[str, Any]) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    (result,) = ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    return np.asarray(result)


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.of}: {row.title}") for row in ROWS])
def test_a_rule_does_what_its_table_says(row: Row) -> None:
    written = Sketch(row.inputs, row.steps, row.untyped)
    model = written.model(written.nodes, ["y"])
    sketch, nodes, end = cleaned(row)
    left = [kind for kind, *_ in row.steps] if row.left is None else row.left
    assert [node.kind for node in nodes] == left
    random = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for info in written.inputs:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        shape = [dim.dim_value or 5 for dim in info.type.tensor_type.shape.dim]
        feeds[info.name] = (random.normal(size=shape) * 10).astype(dtype)
    np.testing.assert_allclose(
        computed(sketch.model(nodes, [end]), feeds), computed(model, feeds), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.of}: {row.title}") for row in ROWS])
def test_what_is_left_is_needed_and_in_order(row: Row) -> None:
    _, nodes, end = cleaned(row)
    dag: nx.DiGraph[str] = nx.DiGraph()
    dag.add_node(end)
    written: set[str] = set(row.inputs)
    for node in nodes:
        assert not [name for name in node.operands if name not in written and name[0].islower() and len(name) == 1]
        written.update(node.results)
        dag.add_edges_from((name, result) for name in node.operands for result in node.results)
    assert nx.is_directed_acyclic_graph(dag)
    needed = {end} | nx.ancestors(dag, end)
    assert all(not needed.isdisjoint(node.results) for node in nodes)


@pytest.mark.parametrize("name", [rule.name for rule in all_rules()])
def test_every_rule_is_missed_and_leaves_something_alone(name: str) -> None:
    rows = [row for row in ROWS if row.of == name]
    changed = [row for row in rows if row.left is not None]
    assert len(rows) > len(changed)
    kinds = [[node.kind for node in cleaned(row, name)[1]] for row in changed]
    assert kinds != [row.left for row in changed]


# Whole models

MODELS = ("mlp", "rnn", "lstm", "gpt")


def graphs_of(name: str) -> dict[str, Graph]:
    program = load(SPECS / f"{name}.model")
    spec = spec_of(program, model=program.models[0].name, training=True)
    plain = spec_of(program, model=program.models[0].name)
    graphs = {"inference": plain.graph, "gradient": gradient_graph(spec), "step": training_step(spec).graph}
    return {kind: optimize(each) for kind, each in graphs.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_cleaned_model_computes_the_same(name: str) -> None:
    """On onnxruntime with its own optimisation off."""
    for kind, each in graphs_of(name).items():
        with pass_settings([CLEAN_UP]):
            written = export(each)
        clean = export(each)
        onnx.checker.check_model(clean, full_check=True)
        assert len(clean.graph.node) < len(written.graph.node) + (kind == "inference"), kind
        assert [info.name for info in clean.graph.output] == [info.name for info in written.graph.output]
        weights = {path: np.abs(array) for path, array in initialize(each, 0).items()}
        feeds = {**random_feeds(each, sizes_from(each, 3, 4), 1), **weights}
        feeds = {info.name: feeds[info.name] for info in written.graph.input}
        results = [dict(zip(names_of(model), run_all(model, feeds), strict=True)) for model in (written, clean)]
        for output, wanted in results[0].items():
            np.testing.assert_allclose(results[1][output], wanted, 1e-4, 1e-6, err_msg=f"{kind}: {output}")


def names_of(model: onnx.ModelProto) -> list[str]:
    return [info.name for info in model.graph.output]


def run_all(model: onnx.ModelProto, feeds: dict[str, Any]) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


LAYER = '''
layer Twice() {
    """Both halves."""
    input x: [batch, 4]
    output cast(cast(x, f64), f32) + 1
}
model M { input x: [batch, 4]; output y = x -> Twice() }
'''


def test_a_docstring_moves_on_to_the_next_node_of_its_layer() -> None:
    nodes = export(elaborate(LAYER)).graph.node
    assert [(node.op_type, node.doc_string) for node in nodes] == [("Add", "twice: Both halves.")]


def test_the_clean_up_is_reported_and_can_be_switched_off() -> None:
    runs: list[PassRun] = []
    with pass_settings(observe=runs.append):
        export(elaborate(LAYER))
    (run,) = (run for run in runs if run.name == CLEAN_UP)
    assert (run.before.nodes, run.after.nodes) == (3, 1)
    with pass_settings([CLEAN_UP]):
        assert len(export(elaborate(LAYER)).graph.node) == 3


def test_two_reductions_of_a_broadcast_are_one() -> None:
    x = fed("x", "f32", "n", 3, 4)
    kinds = [node.op_type for node in export(graph([x], y=sum_(sum_(x, (2,), keep=True), (0,), keep=True))).graph.node]
    assert kinds == ["ReduceSum"]
