"""Recurrent layers in a file: how many nodes a call runs, and the forms that a target needs.

`torch.onnx.export(dynamo=True)` of torch 2.13 writes 17 nodes for an LSTM or GRU with dynamic sizes, 5 where they are
numbers (3 for the last state), 29 and 8 for two layers; it unrolls simple recurrences.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

import nablac
from compiler.targets import ORT_CPU, PORTABLE, Target
from runtime.onnx_session import OnnxRunner


def model(layers: str, sizes: str = "batch, T") -> nablac.Model:
    return nablac.compile(f"model M {{\n    input s: [{sizes}, 3]\n    output y = s -> {layers}\n}}\n")


# Nodes with named sizes, and with numbers: without the check of empty sequences
NODES: Mapping[str, tuple[int, int]] = {
    "LSTM(4)": (4, 3),
    "LSTM(4, sequences: true)": (5, 3),
    "LSTM(4, sequences: true) -> LSTM(4)": (6, 5),
    "LSTM(4, sequences: true) -> LSTM(4, sequences: true)": (7, 5),
    "GRU(4)": (4, 3),
    "GRU(4, reverse: true)": (4, 3),
    "Bidirectional(LSTM(4))": (5, 3),
    "Bidirectional(LSTM(4, sequences: true))": (5, 3),
    "Bidirectional(GRU(4, sequences: true)) -> Bidirectional(GRU(4, sequences: true))": (8, 5),
    "Bidirectional(SimpleRNN(4, sequences: true))": (13, 3),
}


@pytest.mark.parametrize("layers", NODES)
def test_a_call_runs_few_nodes(layers: str) -> None:
    counts = tuple(len(model(layers, sizes).onnx().graph.node) for sizes in ("batch, T", "1, 8"))
    assert counts == NODES[layers]


FORMS: Mapping[tuple[str, Target], set[str]] = {
    ("LSTM(4)", ORT_CPU): {"LSTM"},
    ("LSTM(4)", PORTABLE): {"LSTM", "Expand"},
    ("GRU(4, reverse: true)", PORTABLE): {"GRU", "Expand"},  # forwards, over the reversed sequence
    ("Bidirectional(GRU(4))", PORTABLE): {"GRU", "Expand"},
    ("GRU(4, reset_after: false)", ORT_CPU): {"GRU"},
    ("GRU(4, reset_after: false)", PORTABLE): {"Scan", "Expand"},
    ("SimpleRNN(4)", ORT_CPU): {"Scan", "Expand"},
    ("SimpleRNN(4)", PORTABLE): {"RNN", "Expand"},
}


@pytest.mark.parametrize(("layers", "target"), [pytest.param(*form, id=f"{form[0]}, {form[1].name}") for form in FORMS])
def test_a_target_gets_the_form_that_it_needs(layers: str, target: Target) -> None:
    compiled = model(layers)
    proto = compiled.onnx(target=target)
    nodes = list(proto.graph.node)
    kinds = {node.op_type for node in nodes} & {"LSTM", "GRU", "RNN", "Scan", "Expand", "Slice"}
    assert kinds == FORMS[layers, target]
    if target is PORTABLE:
        recurrent = [node for node in nodes if node.op_type in ("LSTM", "GRU", "RNN")]
        assert all(node.input[5] for node in recurrent)  # `initial_h`
        assert all(attribute.s != b"reverse" for node in recurrent for attribute in node.attribute)
    s = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    (result,) = OnnxRunner(proto.SerializeToString(), threads=1).run({"s": s}).values()
    np.testing.assert_allclose(result, compiled(s=s)["y"], rtol=1e-5, atol=1e-6)
