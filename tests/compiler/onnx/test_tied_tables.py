"""A large table that is looked up and multiplied is held once by onnxruntime: an input of the file with a default.

Files that are written for others do without: onnxruntime warns of such an input wherever it is loaded.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import nablac
from compiler.onnx.exporter import export
from runtime.numpy_executor import run

TIED = """model M {
    input tokens: i64[batch, T]
    embedding = Embedding(ROWS, 1024)
    x = tokens -> embedding
    output y = READ
}"""
PRODUCT = "tanh(x) @ embedding.table^T"
MATRIX = "tanh(mean(x, axis: 1)) @ embedding.table^T"


def exported(read: str, rows: int = 1100, shares_tables: bool = True, tokens: str = "[batch, T]") -> onnx.ModelProto:
    text = TIED.replace("READ", read).replace("ROWS", str(rows)).replace("[batch, T]", tokens)
    known = nablac.compile(text).for_target()
    return export(known.graph, weights=known.weights, shares_tables=shares_tables)


def inputs(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.input]


@pytest.mark.parametrize("read", [PRODUCT, MATRIX])
def test_onnxruntime_neither_packs_nor_transposes_it(read: str, tmp_path: Path) -> None:
    model = exported(read)
    assert inputs(model) == ["tokens", "embedding.table"]
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimized.onnx"), 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    assert [slot.name for slot in session.get_inputs()] == ["tokens"]
    optimized = onnx.load(tmp_path / "optimized.onnx").graph
    large = [tensor.name for tensor in optimized.initializer if np.prod(tensor.dims) > 1000]
    assert large == ["embedding.table"]
    assert "Transpose" not in {node.op_type for node in optimized.node}
    tokens = np.array([[3, 1099, 0]])
    (found,) = session.run(None, {"tokens": tokens})
    known = nablac.compile(TIED.replace("READ", read).replace("ROWS", "1100")).for_target()
    np.testing.assert_allclose(found, run(known.graph, {"tokens": tokens}, known.weights)["y"], rtol=1e-4, atol=1e-5)


OTHERS = {
    "small": partial(exported, PRODUCT, rows=100),
    "multiplied by one row, for which packed weights are faster": partial(exported, PRODUCT, tokens="[batch, 1]"),
    "looked up alone": partial(exported, "x"),
    "written for others": partial(exported, PRODUCT, shares_tables=False),
}


@pytest.mark.parametrize("why", OTHERS)
def test_others_stay_constants(why: str) -> None:
    assert inputs(OTHERS[why]()) == ["tokens"]
