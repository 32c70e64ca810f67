"""Summaries: the tree of layers, their output types, and counts that add up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nablac
from grammar.diagnostics import NablacError
from nablac.model_summary import Row, Summary, render_summary, summarize
from tests.command_line import invoke
from tests.paths import SPECS

NAMES = sorted(path.stem for path in SPECS.glob("*.model"))
ALONE = {"rnn": "ManyToMany", "gru": "BidirectionalDigits"}  # of files that hold several

CELL = """
cell Nested(hidden: int) {
    input x: [batch, features]
    state h: [batch, hidden] = 0
    h' = where(h > 2, x -> Dense(hidden), h + 1)
    output h'
}
model M { input x: [batch, time, 3]; output y = scan(Nested(4))(x, axis: 1) }
"""


def summary_of(name: str, **sizes: int) -> Summary:
    return summarize(nablac.compile(SPECS / f"{name}.model", model=ALONE.get(name)).graph, sizes)


def children(summary: Summary, parent: str) -> list[Row]:
    inside = [row for row in summary.rows if row.path and row.path.rpartition(".")[0] == parent]
    return [row for row in inside if row.path != parent]


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_follows_its_parent_or_a_sibling(name: str) -> None:
    open_paths = [""]
    for row in summary_of(name).rows[1:]:
        parent = row.path.rpartition(".")[0]
        while open_paths[-1] != parent:
            open_paths.pop()  # fails if the parent is no longer open
        open_paths.append(row.path)


@pytest.mark.parametrize("name", NAMES)
def test_no_layer_counts_more_than_what_is_around_it(name: str) -> None:
    summary = summary_of(name, **({"time": 5} if name in ("lstm", "forecaster") else {}))
    for row in summary.rows:
        inside = children(summary, row.path)
        for count in ("parameters", "buffers", "flops", "bytes"):
            assert sum(getattr(child, count) for child in inside) <= getattr(row, count)


@pytest.mark.parametrize(
    ("name", "path", "order"),
    [
        ("transformer", "decoder.block.1", "attention norm_1 cross_attention norm_2 feed_forward norm_3"),
        ("gpt", "block.0.feed_forward", "up dropout down"),
        ("t5", "", "embedding encoder_bias encoder encoder_norm decoder_bias decoder decoder_norm"),
    ],
)
def test_siblings_are_in_the_order_of_their_first_application(name: str, path: str, order: str) -> None:
    names = [row.path.rpartition(".")[2] for row in children(summary_of(name), path)]
    assert [child for child in names if child in order.split()] == order.split()


@pytest.mark.parametrize(
    ("name", "path", "output"),
    [
        ("forecaster", "simple_rnn", "f32[batch, time, 50]"),
        ("forecaster", "simple_rnn.rnn_cell", "f32[batch, time, 50]"),
        ("forecaster", "dropout", "f32[batch, time, 50]"),
        ("forecaster", "simple_rnn_1", "f32[batch, 50]"),
        ("rnn", "elman_cell", "f32[batch, time, 1]"),
        ("lstm", "memory_cell", "f32[batch, time, 32]"),
        ("transformer", "encoder.block", ""),
        ("transformer", "encoder.block.0", "f32[batch, S, 64]"),
    ],
)
def test_a_row_shows_the_output_of_the_first_application(name: str, path: str, output: str) -> None:
    rows = {row.path: row for row in summary_of(name).rows}
    assert rows[path].output == output


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "forecaster"])
def test_the_cost_of_a_cell_is_that_of_its_steps(name: str) -> None:
    summary = summary_of(name)
    top = sum(row.flops for row in children(summary, ""))
    assert top > 0.95 * summary.total.flops


def test_layers_inside_a_step_are_counted_for_every_step() -> None:
    summary = summarize(nablac.compile(CELL).graph, {"batch": 2, "time": 5})
    rows = {row.path: row for row in summary.rows}
    assert rows["nested.dense"].flops == 2 * 5 * (2 * 3 * 4 + 4)
    assert rows["nested.dense"].output == "f32[batch, 4]"
    assert rows["nested"].flops == summary.total.flops


@pytest.mark.parametrize(("name", "most"), [("lstm", 1000), ("bert", 20_000), ("characters", 20_000), ("gpt", 10_000)])
def test_transposed_weights_are_not_activations(name: str, most: int) -> None:
    assert 0 < summary_of(name).peak_bytes < most


@pytest.mark.parametrize(
    ("name", "recognised"),
    [
        ("transformer", {"attention": 6, "layer_normalization": 10}),
        ("lstm", {"lstm": 1}),
        ("gru", {"gru": 2}),
        ("mlp", {}),
    ],
)
def test_fused_operators_are_counted(name: str, recognised: dict[str, int]) -> None:
    summary = summary_of(name)
    assert summary.recognised == summary.to_json()["recognised"] == recognised
    line = ", ".join(f"{count} {operator}" for operator, count in recognised.items())
    assert (f"recognised  {line}" in render_summary(summary)) == bool(recognised)


def test_docstrings_are_shown_once() -> None:
    text = nablac.compile(SPECS / "transformer.model").summary()
    assert text.count("Affine transformation of the last axis") == 1
    assert nablac.compile(SPECS / "lstm.model").summary().splitlines()[1].startswith("  The next value of a series")
    done = invoke("summary", SPECS / "lstm.model", "--json")
    layers = {row["path"]: row for row in json.loads(done.stdout)["layers"]}
    assert layers["memory_cell"]["doc"].startswith("f, i, o are the forget")
    assert layers["dense"]["definition"] == "Dense"


@pytest.mark.parametrize(
    ("sizes", "message", "hint"),
    [
        ({"width": 224}, "no input of ResNet has a dim `width`", "did you mean `width_in`?"),
        ({"foo": 4}, "no input of ResNet has a dim `foo`", "the dims are batch, height, width_in"),
        ({"batch": -4}, "the size of `batch` must be a whole number from 1, got -4", None),
    ],
)
def test_sizes_are_those_of_the_inputs(sizes: dict[str, int], message: str, hint: str | None) -> None:
    with pytest.raises(NablacError) as caught:
        nablac.compile(SPECS / "resnet.model").summary(**sizes)
    (error,) = caught.value.diagnostics
    assert (error.code, error.message, error.hint) == ("E905", message, hint)


def test_the_command_refuses_the_size_of_an_unknown_dim() -> None:
    done = invoke("summary", SPECS / "resnet.model", "--size", "width=224")
    assert done.exit_code == 2 and done.stderr.startswith("error[E905]: no input of ResNet has a dim `width`\n")


SCALED = """
model M { input x: [batch, 1]; h = x -> Dense(2); y = h -> Dense(1); twice = 2 * y; output y, h, twice }
train M {
    target t: [batch, 1]
    loss mse(y, t)
    epochs 1
    data csv("data.csv") -> columns(inputs: ["x"], targets: ["t"]) -> standardize()
}
"""


def test_the_summary_of_a_run_states_the_units_of_its_outputs(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text(SCALED)
    (tmp_path / "data.csv").write_text("x,t\n" + "".join(f"{n},{10 * n}\n" for n in range(20)))
    assert not invoke("train", tmp_path / "m.model", "-o", tmp_path / "run").exit_code
    summary = invoke("summary", tmp_path / "run").output
    assert "  output y: f32[batch, 1]  in the units of `t`\n" in summary
    assert "  output h: f32[batch, 2]  the model's own\n" in summary
    assert "  output twice: f32[batch, 1]  computed from raw numbers\n" in summary
    assert "the units" not in invoke("summary", tmp_path / "m.model").output
    (tmp_path / "x.json").write_text("[[3.0]]")
    for file in (tmp_path / "run" / "model.onnx", tmp_path / "run"):
        shown = invoke("run", file, tmp_path / "x.json")
        assert "note: `h` is in the model's own units, as in training" in shown.output
