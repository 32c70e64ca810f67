"""Profiles count every operator once, at its line and in its layer, and add up to what was measured."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from compiler.graph_costs import count_of, every_node
from compiler.operators.leaves import Source
from grammar.diagnostics import NablacError
from nablac.model import Model
from nablac.workloads import training_steps
from runtime.observing import _watcher, watched
from runtime.profiling.grouping import by_layer, by_line, by_operator, flames, joined_lines
from runtime.profiling.profile_text import ModelProfile
from runtime.profiling.profiler import profile
from runtime.profiling.session_times import _own_times
from runtime.profiling.timing import Kind, Profile, Timing, common_layer
from runtime.profiling.workload import Workload
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.models import spec_of, text_source

RECURRENT = """
cell Mixed() {
    input x: [batch, 3]
    state h: [batch, 3] = 0
    param U: [3, 3] ~ normal(0.5)
    h' = cos(x + h @ U)
    output h'
}
layer Middle() {
    input x: [batch, 3]
    output y = sin(x)
}
model M {
    input xs: [time, batch, 3]
    hs = scan(Mixed(), axis: 0)(xs)
    output y = hs[-1] -> Middle() -> Dense(4)
}
"""
LARGE = "model M { input x: [batch, 1024]; y = exp(-x)\n  output z = y * x + 2\n}"
TRAINED = """
model M { input x: [batch, 3]; output y = x -> Dense(2) }
train M {
    target t: [batch, 2]
    loss mse(y, t)
    optimizer adam()
}
"""
IMAGES = """
model M {
    input x: [batch, 3, 8, 8]
    output y = x -> Conv2D(4, kernel: 3, activation: relu) -> Flatten() -> Dense(2, activation: relu)
}
"""


SLOWED = [
    "note: a profiled run takes 4.0 times as long: onnxruntime's profiler adds to each call of an operator,",
    "      so that many small ones have too large a share below",
]


def compiled(text: str, backend: str = "numpy") -> Model:
    return Model(spec_of(text), backend=backend)


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_the_rows_of_every_table_add_up_to_what_was_measured(backend: str) -> None:
    measured = compiled(RECURRENT, backend=backend).profile(runs=2, time=5, batch=2)
    layers = by_layer(measured)
    totals = [
        sum(timing.seconds for timing in measured.timings),
        sum(row.own for row in layers),
        sum(row.seconds for row in by_line(measured)),
        sum(row.seconds for row in by_operator(measured)),
        layers[0].seconds,
        flames(measured).amount,
    ]
    assert totals == pytest.approx([measured.seconds] * len(totals))
    assert measured.sizes == {"time": 5, "batch": 2} and len(measured.runs) == 2


def test_numpy_counts_every_operator_once_and_those_of_a_step_once_a_step() -> None:
    model = compiled(RECURRENT)
    graph = model.workload({"time": 5, "batch": 2}).graph
    expected: Counter[str] = Counter()
    for node, times in every_node(graph):
        if not isinstance(node.op, Source):
            expected[node.op.name] += count_of(times, {"time": 5, "batch": 2})
    assert expected["cos"] == 5 and expected["scan"] == 1
    measured = model.profile(runs=2, time=5, batch=2)
    counted: Counter[str] = Counter()
    for timing in measured.timings:
        if timing.kind is Kind.OPERATOR:
            counted[timing.operator] += round(timing.calls)
    assert counted == expected


@pytest.mark.parametrize(("backend", "cosine"), [("numpy", "cos"), ("ort", "Cos")])
def test_times_are_those_of_layers_and_of_lines(backend: str, cosine: str) -> None:
    measured = compiled(RECURRENT, backend=backend).profile(runs=2, time=5, batch=2)
    assert {row.name for row in by_layer(measured) if row.kind is Kind.OPERATOR} == {"", "mixed", "middle", "dense"}
    (step,) = [timing for timing in measured.timings if timing.operator == cosine]
    assert (step.layer, step.lines, step.calls) == ("mixed", ("test.model:6",), 5)
    texts = {row.name: row.text for row in by_line(measured)}
    assert texts["test.model:11"] == "output y = sin(x)"
    assert measured.flops_of_layers["middle"] == 6 and measured.flops_of_lines["test.model:11"] == 6


def test_operators_that_run_as_one_chain_have_one_time_at_all_of_their_lines() -> None:
    measured = compiled(LARGE).profile(runs=1, batch=128)
    (chain,) = [timing for timing in measured.timings if timing.kind is Kind.OPERATOR]
    assert (chain.operator, chain.lines) == ("neg, exp, mul, add", ("test.model:1", "test.model:2"))
    (row,) = [row for row in by_line(measured) if row.kind is Kind.OPERATOR]
    assert row.name == "test.model:1,2" and row.text.endswith("; output z = y * x + 2")
    assert row.flops is None  # a rate of one line would need a time of its own


def test_kernels_that_onnxruntime_fuses_count_for_a_layer_of_theirs() -> None:
    measured = compiled(IMAGES, backend="ort").profile(runs=1, batch=2)
    layers = {row.name for row in by_layer(measured) if row.kind is Kind.OPERATOR}
    assert {"conv2d", "dense"} <= layers
    unknown = {timing.operator for timing in measured.timings if timing.kind is Kind.FUSED}
    assert unknown <= {"ReorderInput"}  # which belongs to no layer: it lays out the input


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_a_training_step_is_profiled_with_its_update(backend: str) -> None:
    training = Training(text_source(TRAINED), Options(backend=backend))
    options = training.options
    measured = profile(lambda: training_steps(training, {"batch": 4}), 2)
    assert training.options is options
    layers = {row.name for row in by_layer(measured) if row.kind is Kind.OPERATOR}
    assert {"", "dense", "optimizer"} <= layers
    assert sum(timing.seconds for timing in measured.timings) == pytest.approx(measured.seconds)
    assert (measured.what, measured.sizes) == ("training step", {"batch": 4})


def test_what_nobody_watches_runs_as_it_is() -> None:
    def kernel() -> None: ...

    assert watched(kernel, []) is kernel


def test_times_of_inner_events_are_not_counted_twice() -> None:
    events = [{"ts": 0, "dur": 10}, {"ts": 1, "dur": 4}, {"ts": 2, "dur": 1}, {"ts": 6, "dur": 2}, {"ts": 20, "dur": 3}]
    own = {event["ts"]: microseconds for event, microseconds in _own_times(iter(events))}
    assert own == {0: 4, 1: 3, 2: 1, 6: 2, 20: 3}


def test_what_no_layer_is_known_of_has_rows_of_its_own() -> None:
    timings = [
        Timing("Gemm", 0.5, 1, layer="a.b", lines=("m:2",)),
        Timing("Reorder", 0.25, 2, Kind.FUSED),
        Timing("", 0.25, 1, Kind.OUTSIDE),
    ]
    measured = Profile("M", "inference", "ort", "cpu", {}, [1.0], 1.0, timings)
    rows = [(row.name, row.seconds, row.own) for row in by_layer(measured)]
    fused, outside = "fused or added by onnxruntime", "outside of operators"
    assert rows == [("", 1, 0), ("a", 0.5, 0), ("a.b", 0.5, 0.5), (fused, 0.25, 0.25), (outside, 0.25, 0.25)]
    assert [row.name for row in by_line(measured)] == ["m:2", fused, outside]
    assert [row.name for row in by_operator(measured)] == ["Gemm", f"Reorder ({fused})", outside]
    root = flames(measured)
    assert [part.name for part in root.parts] == [fused, outside, "a.b"]


@pytest.mark.parametrize(
    ("paths", "layer"),
    [
        ([], ""),
        (["a.b"], "a.b"),
        (["a.b", "a.c"], "a"),
        (["a", "ab"], ""),
        (["a.b", "a"], "a"),
    ],
)
def test_the_layer_around_all(paths: list[str], layer: str) -> None:
    assert common_layer(paths) == layer


def test_lines_of_one_file_are_written_together() -> None:
    assert joined_lines(["a.model:3", "b.model:1", "a.model:5"]) == "a.model:3,5, b.model:1"
    assert joined_lines([]) == "no line"


def test_a_profile_prints_itself_and_makes_a_page(tmp_path: Path) -> None:
    measured = compiled(RECURRENT).profile(runs=1, time=2, batch=1)
    assert str(measured).splitlines()[0] == "M: inference with NumPy at time=2, batch=1"
    page = measured.html("who")
    assert page.count("<table>") == 3 and "<svg" in page and "output y = sin(x)" in page
    facts = json.loads(json.dumps(measured.to_json()))
    assert list(facts) == [
        *("model", "what", "backend", "device", "sizes", "runs", "seconds", "median"),
        *("unprofiled", "slowdown", "flops"),
        *("layers", "lines", "operators", "timings"),
    ]
    keys = ["kind", "seconds", "own_seconds", "share", "calls", "flops"]
    assert list(facts["layers"][0]) == ["layer", *keys]
    assert list(facts["lines"][0]) == ["line", *keys, "text"]
    assert list(facts["operators"][0]) == ["operator", *keys]
    assert list(facts["timings"][0]) == ["operator", "kind", "layer", "lines", "seconds", "calls"]


def test_a_size_that_no_input_has_is_an_error() -> None:
    with pytest.raises(NablacError) as caught:
        compiled(RECURRENT).profile(tiem=3)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.message, diagnostic.hint) == ("no input of M has a dim `tiem`", "did you mean `time`?")


def test_runs_without_the_profiler_are_measured_before_it_is_there() -> None:
    observed: list[bool] = []
    model = compiled(RECURRENT)

    def build() -> Workload:
        observed.append(_watcher.get() is not None)
        return model.workload({"time": 2, "batch": 1})

    measured = profile(build, 3)
    assert observed == [False, True] and len(measured.unprofiled) == len(measured.runs) == 3
    assert min(measured.unprofiled) > 0


@pytest.mark.parametrize(
    ("backend", "unprofiled", "shown"),
    [
        ("ort", [0.002, 0.004, 0.002], ["without the profiler: median 2 ms, 2 to 4", *SLOWED]),
        ("ort", [0.0075, 0.009, 0.0075], ["without the profiler: median 7.5 ms, 7.5 to 9"]),
        ("numpy", [], []),
    ],
)
def test_a_profile_says_how_long_a_run_takes_without_it(
    backend: str, unprofiled: list[float], shown: list[str]
) -> None:
    timing = Timing("relu", 0.008, 1)
    made = ModelProfile("M", "inference", backend, "cpu", {}, [0.008] * 3, 0.008, [timing], unprofiled=unprofiled)
    lines = str(made).splitlines()
    assert lines[2 : lines.index("")] == shown
    assert ("not profiled" in made.html()) == bool(unprofiled)
