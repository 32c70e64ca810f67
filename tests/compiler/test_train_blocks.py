"""Train blocks: nothing in them is dropped unread, and nothing of theirs is taken for the model's."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.model_spec import ModelSpec
from compiler.onnx.exporter import export
from compiler.operators.leaves import Parameter
from compiler.operators.random import FoldKey
from compiler.training.losses import loss_graph
from compiler.training.step import training_step
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.initialization import initialize, stored_operators
from runtime.numpy_executor import NumpyRunner
from tests.compiler.texts import mistakes, sound
from tests.models import spec_of

MODEL = "model M {\n    input x: [batch, 1]\n    y = x -> Dense(1)\n    output y\n}\n"
TRAIN = "train M {{\n    target t: [batch, 1]\n    loss mse(y, t)\n    {}\n}}\n"
OF_TABLE = 'csv("d.csv") -> columns(inputs: ["a"], targets: ["b"])'

REFUSED = {
    "two train blocks": (MODEL + TRAIN.format("epochs 1") + TRAIN.format("epochs 7"), "E202 `M` has two train blocks"),
    "a hyperparameter twice": (
        "model M(a = 1, a = 2) {\n input x: [batch]\n output x * a\n}",
        "E202 `a` is declared twice as a hyperparameter of model M",
    ),
    "a hyperparameter of a function twice": (
        "fn f(x, x) = x\n" + MODEL,
        "E202 `x` is declared twice as a hyperparameter of fn f",
    ),
    "a hyperparameter called as an input": (
        "model M(x = 3) {\n input x: [batch]\n output x * 2\n}",
        "E202 `x` is both a hyperparameter and an input of model M",
    ),
    "a hyperparameter called as a parameter": (
        "layer L(W = 3) {\n input x: [batch]\n param W: []\n output x * W\n}\n" + MODEL,
        "E202 `W` is both a hyperparameter and a param of layer L",
    ),
    "a hyperparameter called as a state in a branch": (
        "cell C(s = 3) {\n input x: [batch]\n if true { state s: [batch] = 0\n s' = s + x }\n output x\n}\n" + MODEL,
        "E202 `s` is both a hyperparameter and a state of cell C",
    ),
    "a value of a preset twice": (
        "model M(a = 1) {\n input x: [batch]\n output x * a\n preset p { a = 2, a = 3 }\n}",
        "E202 `a` is declared twice as a value of preset p",
    ),
    "a target called as an input": (
        MODEL + "train M {\n target x: [batch, 1]\n loss mse(y, x)\n}",
        "E202 `x` is an input of model M and cannot also be a target",
    ),
    "a target called as what the model makes": (
        MODEL + "train M {\n target y: [batch, 1]\n loss mse(y, y)\n}",
        "E202 `y` is a name of model M and cannot also be a target",
    ),
    "an input called as the step": (
        MODEL.replace("x", "step") + TRAIN.format(""),
        "E212 `step` is a reserved name in a model that is trained",
    ),
    "a target called as the plateau's rate": (
        MODEL + "train M {\n target rate: [batch, 1]\n loss mse(y, rate)\n}",
        "E212 `rate` is a reserved name in a model that is trained",
    ),
    "data twice": (
        MODEL + TRAIN.format(f"data {OF_TABLE}\n    data {OF_TABLE}"),
        "E608 `data` is set twice",
    ),
    "a split twice": (
        MODEL + TRAIN.format(f"data {OF_TABLE} -> split(test: 0.1) -> split(validation: 0.1)"),
        "E608 `split` appears twice; one of the two would have no effect",
    ),
    "all columns scaled twice": (
        MODEL + TRAIN.format(f"data {OF_TABLE} -> standardize() -> min_max()"),
        "E608 every column is scaled twice; one of the two would have no effect",
    ),
    "a column scaled twice": (
        MODEL + TRAIN.format(f'data {OF_TABLE} -> standardize(["a", "b"]) -> min_max(columns: "b")'),
        "E608 `b` is scaled twice; one of the two would have no effect",
    ),
    "an argument of augment twice": (
        MODEL + TRAIN.format(f"data {OF_TABLE} -> augment(noise: 0.1) -> augment(noise: 0.2)"),
        "E608 `noise` of `augment` is set twice; one of the two would have no effect",
    ),
    "a stage's argument twice": (
        MODEL + TRAIN.format('data csv("d.csv") -> columns(inputs: ["a"], targets: ["b"], inputs: ["b"])'),
        "E416 `inputs` is given twice",
    ),
    "a column twice": (
        MODEL + TRAIN.format('data csv("d.csv") -> columns(inputs: ["a", "a"], targets: ["b"])'),
        "E605 `columns`: no column may be named twice in `inputs` or in `targets`",
    ),
    "a next value of a buffer inside of a scan": (
        """cell C { input x: [batch, f]; state h: [batch, f] = 0; h' = h + (x -> BatchNorm()); output h' }
        model M { input x: [batch, time, 3]; output y = scan(C())(x, axis: 1) }
        train M { target t: [batch, time, 3]; loss mse(y, t) }
        """,
        "E414 `running_mean'` is not allowed inside a scan: a buffer has one next value, but a scan has many steps",
    ),
}
MODES = {
    'metric binary_accuracy(y, t)\n monitor "val_binary_accuracy"': None,
    'metric right = y -> binary_accuracy(t)\n monitor "right"': None,
    'metric mae(y, t)\n monitor "val_mae"': None,
    'metric f1 = 1 - mean(abs(y - t))\n monitor "val_f1"\n mode "max"': None,
    'metric f1 = 1 - mean(abs(y - t))\n monitor "loss"': None,
    'mode "min"': None,
    'metric f1 = 1 - mean(abs(y - t))\n monitor "val_f1"': (
        "E617 it is not known whether higher or lower values of `f1` are better"
    ),
    'metric error = 1 - binary_accuracy(y, t)\n monitor "val_error"': (
        "E617 it is not known whether higher or lower values of `error` are better"
    ),
    'mode "max"': 'E617 training minimizes the loss: `mode` cannot be "max"',
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_would_be_dropped_unread_is_refused(label: str) -> None:
    text, expected = REFUSED[label]
    assert mistakes(text)[0] == expected


@pytest.mark.parametrize("settings", MODES)
def test_what_is_best_of_a_monitor_is_known_or_asked_for(settings: str) -> None:
    expected, text = MODES[settings], MODEL + TRAIN.format(settings)
    if expected is None:
        sound(text)
    else:
        assert mistakes(text) == [expected]


def test_the_direction_is_that_of_the_function_and_not_of_its_name() -> None:
    text = "fn accuracy(y, t) = mean(abs(y - t))\n" + MODEL + TRAIN.format('metric accuracy(y, t)\n monitor "accuracy"')
    assert mistakes(text) == ["E617 it is not known whether higher or lower values of `accuracy` are better"]


def elaborated(text: str, dtype: DType = DType.F64, training: bool = True) -> ModelSpec:
    return spec_of(text, training=training, dtype=dtype)


CRITIC = """
model M {
    input x: [batch, 3]
    head = Dense(2)
    y = x -> head -> relu
    output y
}
train M {
    target t: [batch, 2]
    head = Dense(2)
    loss mse(head(y), t) + mean((y -> Dense(1)) ** 2)
}
"""


def test_layers_of_a_train_block_have_weights_of_their_own() -> None:
    found = elaborated(CRITIC)
    assert [op.path for op in stored_operators(found.graph)] == ["head.W", "head.b"]
    assert {op.path: op.type.shape for op in stored_operators(loss_graph(found))} == {
        "head.W": (3, 2), "head.b": (2,), "head_1.W": (2, 2), "head_1.b": (2,), "dense.W": (2, 1), "dense.b": (1,),
    }  # fmt: skip
    assert set(training_step(found).trained) == {op.path for op in stored_operators(loss_graph(found))}
    assert "head_1" not in found.graph.layers and "head_1" in loss_graph(found).layers


def test_an_instance_of_the_model_is_shared_by_its_name() -> None:
    text = CRITIC.replace(
        "    head = Dense(2)\n    loss mse(head(y), t)", "    loss mse(head(concat([y, t[:, :1]], axis: 1)), t)"
    )
    assert {op.path for op in stored_operators(loss_graph(elaborated(text)))} == {
        "head.W",
        "head.b",
        "dense.W",
        "dense.b",
    }


def test_draws_of_a_train_block_are_not_those_of_the_model() -> None:
    text = """
    model M { input x: [batch, 3]; y = x + random.normal(like: x); output y }
    train M { target t: [batch, 3]; loss mean(t * random.normal(like: x)); metric mean(y) }
    """
    salts = {node.op for node in loss_graph(elaborated(text)) if isinstance(node.op, FoldKey)}
    assert len(salts) == 2


def test_what_a_train_block_updates_is_no_update_of_the_model() -> None:
    text = """
    layer Count { input x: [batch, f]; buffer seen: [f] = 0; seen' = seen + sum(x, axis: 0); output x }
    model M { input x: [batch, 3]; y = x -> Dense(3) -> Count(); output y }
    train M { target t: [batch, 3]; loss mse(y, t -> Count()) }
    """
    found = elaborated(text, training=False)
    assert list(found.graph.updates) == ["count.seen"]
    assert list(loss_graph(found).updates) == ["count.seen", "count_1.seen"]


TWICE = """
model M {
    input x: [batch, 4]
    norm = BatchNorm(momentum: 0.8)
    output y = norm(norm(x) * 3 + 1)
}
"""


def test_a_normalisation_applied_twice_follows_both_batches_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle: install the `oracle` extra")
    x = np.random.default_rng(4).normal(size=(6, 4)) * 2 + 5
    graph = elaborated(TWICE).graph
    made = NumpyRunner(graph, initialize(graph)).run({"x": x})
    norm = torch.nn.BatchNorm1d(4, momentum=0.2).double()
    expected = norm(norm(torch.tensor(x)) * 3 + 1)
    np.testing.assert_allclose(made["y"], expected.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(made["norm.running_mean"], norm.running_mean.numpy(), rtol=1e-10)
    np.testing.assert_allclose(made["norm.running_variance"], norm.running_var.numpy(), rtol=1e-10)


def test_no_gradient_flows_through_what_a_buffer_has_kept() -> None:
    """The second application sees what the first has left, as the next call would: numbers, not equations."""
    text = """
    layer Kept { input x: [batch]; buffer last: [] = 1; last' = sum(x); output x * last }
    model M { input x: [batch]; kept = Kept(); first = kept(x); second = kept(x); output gradient(sum(second), x) }
    """
    found = elaborated(text).graph
    (grad, *_) = NumpyRunner(found, initialize(found)).run({"x": np.array([2.0, 5.0])}).values()
    np.testing.assert_array_equal(grad, [7.0, 7.0])


CLASHING = """
model M {
    input x: [batch, 3]
    average = Dense(3)
    optimizer = Dense(3)
    m = Dense(3)
    y = x -> average -> optimizer -> m -> Dense(1)
    output y
}
train M { target t: [batch, 1]; loss mse(y, t); average 0.5; accumulate 2; optimizer adam(lr: 0.1) }
"""


def test_no_layer_is_called_as_a_state_of_the_step() -> None:
    step = training_step(elaborated(CLASHING))
    paths = {op.path for op in stored_operators(step.graph)}
    parameters = {node.op.path for node in step.graph if isinstance(node.op, Parameter)}
    assert len(parameters) == 8 and not parameters & step.states.keys()
    assert paths == parameters | step.states.keys()
    assert set(step.averages) == parameters
    kinds = [each.kind for each in step.states.values()]
    assert (kinds.count("optimizer"), kinds.count("average"), kinds.count("accumulated")) == (16, 8, 9)


def test_names_of_next_values_in_onnx_are_of_one_value_alone() -> None:
    text = """
    layer Scale { input x: [batch, f]; param next: [f] = 1; output x * next }
    model M { input x: [batch, 3]; param W: [3] = 1; z = x * W; W = Scale(); y = W(z); output y }
    train M { target t: [batch, 3]; loss mse(y, t) }
    """
    step = training_step(elaborated(text, DType.F32))
    assert {"W", "W.next"} <= step.graph.updates.keys()
    with pytest.raises(NablacError, match=r"`W\.next` is the next value of `W`, but M\.step has a weight of this name"):
        export(step.graph)
