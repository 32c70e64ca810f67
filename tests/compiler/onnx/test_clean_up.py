"""The clean-up after lowering: each rule does what its rows say."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compiler.onnx.clean_up.driver import all_rules, clean_up
from compiler.onnx.lowered import LoweredNode
from tests.compiler.onnx.clean_up_rows import ROWS
from tests.compiler.onnx.node_sketches import Row, Sketch


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
    assert [node.onnx_type for node in nodes] == left
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
    kinds = [[node.onnx_type for node in cleaned(row, name)[1]] for row in changed]
    assert kinds != [row.left for row in changed]
