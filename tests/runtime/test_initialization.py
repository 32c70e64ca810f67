"""First values depend on the seed and the path, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.onnx.exporter import export
from compiler.operators.random import RandomNormal
from grammar.diagnostics import NablacError
from runtime.initialization import InitialWeights, initialize, key, stored_operators
from runtime.onnx_session import OnnxRunner
from tests.models import elaborate
from tests.runtime.graphs import fed, graph, parameter, text_of

TEXT = "model M() {\n    input x: [batch, 3]\n    output x -> Dense(4) -> Dense(4) -> BatchNorm()\n}\n"


def test_one_seed_gives_one_result() -> None:
    first, again, other = (initialize(elaborate(TEXT), seed) for seed in (1, 1, 2))
    assert set(first) == {op.path for op in stored_operators(elaborate(TEXT))}
    assert all(np.array_equal(first[path], again[path]) for path in first)
    assert any(not np.array_equal(first[path], other[path]) for path in first)


def test_weights_that_are_drawn_when_read_are_the_same_in_any_order() -> None:
    model = elaborate(TEXT)
    at_once, lazy = initialize(model, 1, {"dense.b": np.ones(4)}), InitialWeights(model, 1, {"dense.b": np.ones(4)})
    assert lazy.keys() == at_once.keys()
    for path in reversed(list(at_once)):
        assert lazy.shape(path) == at_once[path].shape
        np.testing.assert_array_equal(lazy[path], at_once[path])


def test_the_draw_of_a_weight_does_not_go_through_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = InitialWeights(elaborate(TEXT), 1)
    for method in ("__iter__", "__len__"):
        monkeypatch.setattr(InitialWeights, method, lambda weights: pytest.fail("all weights were listed"))
    assert [np.shape(weights[path]) for path in weights.operators] == [
        weights.shape(path) for path in weights.operators
    ]


def test_a_matrix_is_drawn_once_more_only_where_it_is_out_of_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The initializer draws five times; the last four are those of the few elements beyond two deviations."""
    text = "model M() {\n    input x: [batch, 500]\n    param W: [500, 600] ~ truncated_normal\n    output x @ W\n}\n"
    drawn: list[int] = []
    draw = RandomNormal.draw
    monkeypatch.setattr(RandomNormal, "draw", lambda op, bits, into: drawn.append(len(into)) or draw(op, bits, into))
    lengths = initialize(elaborate(text))["W"].size
    assert lengths <= sum(drawn) < 1.2 * lengths


def test_layers_of_one_shape_begin_differently() -> None:
    weights = [
        array
        for array in initialize(elaborate(TEXT.replace("[batch, 3]", "[batch, 4]"))).values()
        if array.shape == (4, 4)
    ]
    assert len(weights) == 2
    assert not np.array_equal(*weights)


def test_keys_are_the_same_on_every_machine() -> None:
    assert key(0, "dense.W") == 6223430186170595880
    assert key(0, "dense.W") != key(0, "dense.b") != key(1, "dense.b")
    assert 0 <= key(-1, "") < 2**63


def test_onnxruntime_draws_the_same() -> None:
    parameters = list(stored_operators(elaborate(TEXT)))
    assert parameters
    for op in parameters:
        assert op.initial is not None
        feeds = {name: np.array(key(3, op.path), np.int64) for name in op.initial.inputs}
        (drawn,) = OnnxRunner(export(op.initial).SerializeToString(), threads=1).run(feeds).values()
        np.testing.assert_allclose(drawn, initialize(elaborate(TEXT), 3)[op.path], rtol=1e-5, atol=1e-6)


def test_weights_beyond_all_memory_are_refused_before_any_is_made() -> None:
    wide = elaborate("model M() {\n    input x: [batch, 4000000000]\n    output x -> Dense(8000000)\n}\n")
    with pytest.raises(NablacError) as caught:
        initialize(wide)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E810"
    assert diagnostic.message.startswith("not enough memory for the weights: 128,000,000,032,000,000 bytes, and")
    assert diagnostic.note == "`dense.W` is f32[4000000000, 8000000], of 128,000,000,000,000,000 bytes"
    assert diagnostic.hint == "choose smaller sizes, by `--preset` or `--set`"


def test_first_values_may_be_written_to() -> None:
    weights = initialize(elaborate(TEXT))
    assert weights and all(array.flags.writeable for array in weights.values())


def test_parameters_without_an_initializer_are_all_named() -> None:
    x = fed("x", "f32", 2)
    with pytest.raises(NablacError) as caught:
        initialize(graph([x], y=x + parameter("v", 2) * parameter("w", 2)))
    assert text_of(caught).startswith("error[E707]: `v`, `w` have no initializer\n --> test\nhelp: load weights")
