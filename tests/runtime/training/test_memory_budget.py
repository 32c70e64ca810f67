"""A training step in less memory: the same results, computed partly twice, or a refusal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from compiler.byte_sizes import format_bytes, units_of
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.liveness import Liveness
from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize
from compiler.training.rematerialization import fit_into, reduce_early
from compiler.training.step import training_step
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import NablacError
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner
from runtime.numpy_plan import plan
from runtime.onnx_session import OnnxRunner, harmful_fusions
from runtime.training.memory_budget import batch_sizes, parse_bytes
from tests.command_line import invoke
from tests.models import spec_of

TRAIN = "train M {{ target t: {target}; loss mse(y, t); optimizer sgd(lr: 0.1) }}\n"
DEEP = """model M {
    input x: [batch, 8]
    h = x -> Dense(32)
    for i in 0..4 { h = h + (h -> LayerNorm() -> Dense(32, activation: gelu) -> Dropout(0.2)) }
    y = h -> Dense(1)
    output y
}
""" + TRAIN.format(target="[batch, 1]")
ATTENTION = """model M {
    input x: [batch, T, 16]
    y = x -> TransformerEncoder(3, 2, 32, dropout: 0.1) -> Dense(1)
    output y
}
""" + TRAIN.format(target="[batch, T, 1]")
IMAGES = """model M {
    input x: [batch, 1, 12, 12]
    h = x -> Conv2D(4, 3, padding: 1) -> BatchNorm() -> relu -> Conv2D(4, 3, padding: 1) -> BatchNorm() -> relu
    y = h -> MaxPool2D(2) -> Flatten() -> Dense(1)
    output y
}
""" + TRAIN.format(target="[batch, 1]")
RECURRENT = """model M {
    input x: [batch, T, 4]
    y = x -> LSTM(6) -> LayerNorm() -> Dense(8, activation: tanh) -> Dense(1)
    output y
}
""" + TRAIN.format(target="[batch, 1]")

# Texts, the sizes of a batch, and the fraction that a budget leaves of the memory beside what is fed.
STEPS: dict[str, tuple[str, dict[str, int], float]] = {
    "cheap values": (DEEP, {"batch": 64}, 0.8),
    "products too": (DEEP, {"batch": 256}, 0.6),
    "attention": (ATTENTION, {"batch": 8, "T": 24}, 0.7),
    "images": (IMAGES, {"batch": 16}, 0.85),
    "a recurrence": (RECURRENT, {"batch": 64, "T": 2}, 0.95),
}


def step_of(text: str, dtype: DType = DType.F64) -> Graph:
    return optimize(training_step(spec_of(text, dtype=dtype)).graph)


def budget_of(graph: Graph, sizes: Mapping[str, int], fraction: float) -> int:
    whole = Liveness(graph, sizes)
    return round(whole.input_bytes + fraction * (whole.most - whole.input_bytes))


def feeds_of(graph: Graph, sizes: Mapping[str, int]) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    feeds = {}
    for name, value in graph.inputs.items():
        shape = [size if isinstance(size, int) else sizes[str(size)] for size in value.shape]
        feeds[name] = (1 + generator.normal(size=shape) ** 2).astype(value.type.dtype.numpy)
    return feeds


@pytest.mark.parametrize("case", STEPS.values(), ids=STEPS)
def test_a_step_in_less_memory_computes_the_same(case: tuple[str, dict[str, int], float]) -> None:
    text, sizes, fraction = case
    graph = step_of(text)
    budget = budget_of(graph, sizes, fraction)
    smaller = fit_into(graph, budget, sizes)
    verify(smaller)
    assert list(smaller.updates) == list(graph.updates)
    assert Liveness(smaller, sizes).most <= budget
    assert plan(smaller, sizes).peak_bytes < plan(graph, sizes).peak_bytes
    assert Liveness(optimize(smaller), sizes).most <= 1.02 * budget, "no pass undoes it"
    weights, feeds = initialize(graph, 1), feeds_of(graph, sizes)
    wanted, found = (NumpyRunner(each, weights).run_step(feeds) for each in (graph, smaller))
    for before, after in zip(wanted, found, strict=True):
        for name, array in before.items():
            np.testing.assert_allclose(after[name], array, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", ["cheap values", "attention"])
def test_onnxruntime_computes_again_too(name: str, tmp_path: Path) -> None:
    """It neither merges what is computed twice nor changes the results."""
    import onnx
    import onnxruntime

    text, sizes, fraction = STEPS[name]
    graph = step_of(text, DType.F32)
    smaller = fit_into(graph, budget_of(graph, sizes, fraction), sizes)
    weights, feeds = initialize(graph, 1), feeds_of(graph, sizes)
    models = [export(each, weights=None).SerializeToString() for each in (graph, smaller)]
    wanted, found = (
        runner.run({name: {**weights, **feeds}[name] for name in runner.inputs}) for runner in map(OnnxRunner, models)
    )
    for end, array in wanted.items():
        np.testing.assert_allclose(found[end], array, rtol=1e-5, atol=1e-6, err_msg=end)
    counts = []
    for number, model in enumerate(models):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{number}.onnx")
        harmful = harmful_fusions("cpu")
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=harmful)
        optimized = onnx.load(options.optimized_model_filepath)
        counts.append(Counter(node.op_type for node in optimized.graph.node))
    more = {kind: counts[1][kind] - counts[0][kind] for kind in ("Add", "Div", "Sub", "Mul", "Sqrt")}
    assert sum(more.values()) >= 3 and min(more.values()) >= 0, more


def test_what_shrinks_is_computed_early() -> None:
    graph, sizes = step_of(DEEP), {"batch": 256}
    assert Liveness(reduce_early(graph, sizes), sizes).most < 0.97 * Liveness(graph, sizes).most


def test_a_budget_that_suffices_changes_nothing() -> None:
    graph = step_of(DEEP)
    assert fit_into(graph, 10**9, {"batch": 4}) is graph


def test_a_budget_that_is_too_small_is_refused_with_the_least() -> None:
    with pytest.raises(NablacError) as refused:
        fit_into(step_of(RECURRENT), 1000, {"batch": 16, "T": 12})
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.code is codes.E811
    assert "does not fit in 1.0 kB" in diagnostic.message
    assert "however much is computed again" in (diagnostic.note or "")


@pytest.mark.parametrize(
    ("budget", "message", "amounts", "hint"),
    [
        ("1KB", "1.0 kB", "kB", "weights and states alone take 38.4 kB: raise the budget, or choose a smaller model"),
        (
            "1KiB",
            "1.0 KiB",
            "KiB",
            "weights and states alone take 37.5 KiB: raise the budget, or choose a smaller model",
        ),
        ("40KiB", "40.0 KiB", "KiB", "train with smaller batches"),
    ],
)
def test_the_help_fits_the_numbers_and_these_the_units_of_the_budget(
    budget: str, message: str, amounts: str, hint: str
) -> None:
    with pytest.raises(NablacError) as refused:
        fit_into(step_of(DEEP), parse_bytes(budget), {"batch": 256})
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.message == f"a training step does not fit in {message}"
    assert diagnostic.hint == hint and (diagnostic.note or "").endswith(
        f"{56.8 if amounts == 'kB' else 55.5} {amounts} of that is weights, states and the batch"
    )


def test_a_step_that_is_mostly_weights_needs_a_smaller_model() -> None:
    with pytest.raises(NablacError) as refused:
        fit_into(step_of(DEEP), 1000, {"batch": 1}, beside=10**6)
    assert refused.value.diagnostics[0].hint == (
        "weights and states take most of it: choose a smaller model or another optimizer"
    )


@pytest.mark.parametrize(
    ("text", "count"), [("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5 kib", 1536), ("7", 7), (" 3B ", 3)]
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("limit", "amount", "shown"),
    [
        ("1KiB", 3 << 20, "3.0 MiB"),
        ("1.5KiB", 1023, "1023 bytes"),
        ("1.5MB", 3 << 20, "3.1 MB"),
        ("100001", 5000, "5.0 kB"),
        ("7", 999, "999 bytes"),
        ("2GiB", 5 << 40, "5.0 TiB"),
        ("1TB", 5 * 10**15, "5,000.0 TB"),
    ],
)
def test_amounts_are_in_the_units_of_the_limit(limit: str, amount: int, shown: str) -> None:
    assert units_of(parse_bytes(limit))(amount) == shown


@pytest.mark.parametrize("text", ["500MB", "1.5GiB", "1000TiB", "7", "1536", "100001", "12.25MiB", "1GB"])
def test_a_budget_is_written_as_a_user_would(text: str) -> None:
    assert format_bytes(parse_bytes(text)) == text


@pytest.mark.parametrize("text", ["", "MB", "5 pounds", "-1GB", "0", "1e3", "inf"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(NablacError, match="is not a size"):
        parse_bytes(text)


def test_the_sizes_of_a_batch() -> None:
    graph = step_of(ATTENTION)
    arrays = {"x": np.zeros((5, 7, 16)), "t": np.zeros((5, 7, 1))}
    assert batch_sizes(graph, 32, arrays) == {"batch": 5, "T": 7}
    assert batch_sizes(graph, 2, arrays) == {"batch": 2, "T": 7}
    with pytest.raises(NablacError, match="depends on the size of `T`, which is not known"):
        batch_sizes(graph, 2, {})


def test_commands_take_a_budget(tmp_path: Path) -> None:
    import onnx

    file = tmp_path / "m.model"
    file.write_text(DEEP)
    out = tmp_path / "step.onnx"
    arguments = ("compile", file, "--train", "-q", "--no-verify", "-o", out, "--memory-budget")
    plain = invoke(*arguments, "1GB")
    assert plain.exit_code == 0, plain.stderr
    nodes = len(onnx.load(str(out)).graph.node)
    small = invoke(*arguments, "140KB")
    assert small.exit_code == 0, small.stderr
    assert len(onnx.load(str(out)).graph.node) > nodes
    refused = invoke(*arguments, "1KB")
    assert refused.exit_code == 2 and "error[E811]" in refused.stderr, refused.stderr
    assert "needs --train" in invoke("compile", file, "--memory-budget", "1KB").stderr
    assert "`much` is not a size" in invoke("train", file, "--memory-budget", "much").stderr


def test_training_says_what_a_budget_changes(tmp_path: Path) -> None:
    file = tmp_path / "m.model"
    train = 'target t: [batch, 1]; loss mse(y, t); optimizer sgd(lr: 0.1); batch 64; data npz("d.npz")'
    file.write_text(DEEP.split("train M")[0] + f"train M {{ {train} }}\n")
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=generator.random((128, 8), np.float32), t=generator.random((128, 1), np.float32))
    graph = optimize(training_step(spec_of(DEEP, dtype=DType.F32)).graph)
    whole = Liveness(graph, {"batch": 64}).most

    def said(*options: str) -> list[str]:
        done = invoke("train", file, "--dry-run", *options)
        assert done.exit_code == 0, done.stderr
        return [line for line in done.stderr.splitlines() if line.startswith("memory budget:")]

    assert said() == []
    (roomy,) = said("--memory-budget", "1GB")
    assert roomy.endswith(", and computes nothing twice")
    (tight,) = said("--memory-budget", str(round(0.85 * whole)))
    amounts = r"memory budget: a step takes an estimated ([\d.]+) kB instead of ([\d.]+) kB"
    matched = re.fullmatch(rf"{amounts}, and does ([\d.]+)% of its work twice", tight)
    assert matched is not None, tight
    within, without, twice = map(float, matched.groups())
    assert within * 1000 <= 0.85 * whole + 50 and within < without and 0 < twice < 50
    assert f"takes an estimated {without} kB," in roomy


def test_weights_larger_than_memory_are_refused_before_anything_is_said_of_them(tmp_path: Path) -> None:
    file = tmp_path / "m.model"
    text = "model M(width = 8) {\n input x: [batch, 8]\n output y = x -> Dense(width) -> Dense(width) -> Dense(1)\n}\n"
    file.write_text(
        text + 'train M { target t: [batch, 1]; loss mse(y, t); optimizer sgd(lr: 0.1); data npz("d.npz") }'
    )
    np.savez(tmp_path / "d.npz", x=np.zeros((128, 8), np.float32), t=np.zeros((128, 1), np.float32))
    done = invoke("train", file, "--set", "width=10000000")
    assert done.exit_code == 2
    assert done.stderr.startswith("error[E810]: not enough memory for the weights: ")
    assert invoke("train", file, "--dry-run").exit_code == 0


def test_a_train_block_has_a_budget(tmp_path: Path) -> None:
    import onnx

    def nodes(name: str, setting: str, *options: str) -> int:
        (tmp_path / name).write_text(DEEP.replace("sgd(lr: 0.1)", f"sgd(lr: 0.1); batch 32; {setting}"))
        out = tmp_path / "step.onnx"
        done = invoke("compile", tmp_path / name, "--train", "-q", "--no-verify", "-o", out, *options)
        assert done.exit_code == 0, done.stderr
        return len(onnx.load(str(out)).graph.node)

    plain, small = nodes("plain.model", ""), nodes("small.model", 'memory_budget "140KB"')
    assert small > plain
    assert nodes("small.model", 'memory_budget "140KB"', "--memory-budget", "1GB") == plain, "the option wins"
    assert nodes("plain.model", "", "--memory-budget", "140KB") == small
    (tmp_path / "tiny.model").write_text(DEEP.replace("sgd(lr: 0.1)", 'sgd(lr: 0.1); memory_budget "1KB"'))
    refused = invoke("compile", tmp_path / "tiny.model", "--train", "-o", tmp_path / "tiny.onnx")
    assert refused.exit_code == 2 and "error[E811]: a training step does not fit in 1.0 kB" in refused.stderr
    assert not (tmp_path / "tiny.onnx").exists()
    measured = invoke("profile", tmp_path / "small.model", "--train", "--runs", "1", "--json")
    assert measured.exit_code == 0, measured.stderr


@pytest.mark.parametrize("value", ["5", '"much"', '""', '"0MB"', "true"])
def test_a_budget_of_a_train_block_is_a_size(value: str) -> None:
    with pytest.raises(NablacError, match=r'`memory_budget` must be a size such as "500MB" or "2GiB", got'):
        spec_of(DEEP.replace("sgd(lr: 0.1)", f"sgd(lr: 0.1); memory_budget {value}"), training=True)


@pytest.mark.parametrize(
    ("length", "hint"),
    [
        ("T", "write `T` as a number in the model's inputs, for recurrences to be computed again in segments"),
        ("200", "train with smaller batches"),
    ],
)
def test_a_refusal_says_what_keeps_a_recurrence_whole(length: str, hint: str) -> None:
    generator = np.random.default_rng(0)
    data = {"x": generator.normal(size=(64, 200, 4)).astype("f"), "t": generator.normal(size=(64, 1)).astype("f")}
    model = nablac.compile(RECURRENT.replace("T,", f"{length},"))
    with pytest.raises(NablacError) as error:
        model.train(data, epochs=1, batch=32, memory_budget="150KB")
    assert error.value.diagnostics[0].hint == hint


def test_python_takes_a_budget() -> None:
    generator = np.random.default_rng(0)
    data = {"x": generator.normal(size=(64, 8)).astype("f"), "t": generator.normal(size=(64, 1)).astype("f")}
    histories = []
    for options in ({}, {"memory_budget": "140KB"}):
        model = nablac.compile(DEEP)
        histories.append(model.train(data, epochs=1, batch=32, **options)["loss"])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-6)
    with pytest.raises(NablacError, match=r"does not fit in 1.0 kB"):
        nablac.compile(DEEP).train(data, epochs=1, memory_budget=1000)
