"""Workers that share each batch train as one worker does with all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from compiler.model_spec import FIRST
from compiler.operators.all_reduce import AllReduce
from compiler.training.data_parallel import OverWorkers, batch_dims
from compiler.training.segments import cut
from compiler.training.step import training_step
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.data.arrays import from_arrays
from runtime.data.batches import Batches
from runtime.training import segmented_run
from runtime.training.loop import Ending
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from runtime.workers.collective import Collective
from tests.models import spec_of, text_source
from tests.workers.threads import run_in_threads

BACKENDS = ["numpy", "ort"]
MODEL = """
cell NoisyCell() {{
    input x: [batch, n]
    state h: [batch, n] = 0
    h' = tanh(h + x + random.normal(like: x))
    output h'
}}
layer Noisy() {{
    input x: [batch, time, n]
    y = scan(NoisyCell())(x, axis: 1) -> Flatten()
    output y
}}
model M {{
    input x: [batch, 2]
    y = x -> Dense(4) -> tanh -> {layers} Dense(3)
    output y
}}
train M {{
    target t: [batch, 3]; target l: i64[batch]
    loss {loss}
    optimizer adam(lr: 0.05); epochs 3; seed 4; batch 6; validation 0.25
    metric rmse(y, t); metric accuracy(y, l)
    {settings}
}}
"""
GENERATOR = np.random.default_rng(0)
COUNT = 26
DATA = {
    "x": GENERATOR.normal(size=(COUNT, 2)),
    "t": GENERATOR.normal(size=(COUNT, 3)),
    "l": GENERATOR.integers(0, 3, COUNT),
}
LOSSES = {
    "a mean": "mse(y, t)",
    "a masked mean": "cross_entropy(y, l, ignore: 2)",
    "a weighted mean": "sum(abs(t) * (y - t) ** 2) / sum(abs(t))",
    "a sum": "sum((y - t) ** 2)",
    "the root of a mean": "rmse(y, t)",
    "the logarithm of a mean": "log(mean((y - t) ** 2)) + perplexity(y, l, ignore: 2)",
    "two masks": "cross_entropy(y, l, ignore: 1) + mae(y, t)",
    "a number of examples": "sum((y - t) ** 2) / (batch * 3)",
}


def run(
    loss: str, collective: Collective | None, backend: str, layers: str = "", settings: str = "", **options: Any
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """The last state and the history."""
    text = MODEL.format(loss=loss, layers=layers, settings=settings)
    source = text_source(text, dtype=DType.F64)
    training = Training(source, Options(backend=backend, **options), collective=collective)
    training.examples = from_arrays(DATA, "data")
    loop = training.loop()
    loop.run()
    return {path: array.copy() for path, array in loop.stepper.state().items()}, loop.position.history


def check_equal(workers: int, loss: str, backend: str, tolerance: float = 1e-12, **choices: Any) -> None:
    state, history = run(loss, None, backend, **{**choices, "sync_batch_norm": False})
    for other_state, other_history in run_in_threads(
        workers, lambda collective: run(loss, collective, backend, **choices)
    ):
        assert other_state.keys() == state.keys() and other_history.keys() == history.keys()
        for path, array in state.items():
            np.testing.assert_allclose(other_state[path], array, rtol=tolerance, atol=tolerance, err_msg=path)
        for name, values in history.items():
            np.testing.assert_allclose(other_history[name], values, rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_workers_equal_one_with_the_whole_batch(loss: str, backend: str) -> None:
    check_equal(3, LOSSES[loss], backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ("clip_norm 0.05", ""),
        ("clip_value 0.01; l1 0.01; l2 0.02; weight_decay 0.1", ""),
        ("accumulate 2; clip_norm 0.05", ""),
        ("average 0.9; plateau 1; patience 2", ""),
        ("", "Dropout(0.5) ->"),
        ("", "reshape([batch, 4, 1]) -> Noisy() ->"),
    ],
)
def test_workers_equal_one_with_settings(settings: str, layers: str, backend: str) -> None:
    check_equal(2, LOSSES["a masked mean"], backend, settings=settings, layers=layers)


@pytest.mark.parametrize("workers", [1, 2, 4, 5])
def test_a_worker_may_have_no_example_of_a_batch(workers: int) -> None:
    """The last batch of 20 examples has 2."""
    check_equal(workers, LOSSES["two masks"], "numpy", layers="Dropout(0.5) ->")


@pytest.mark.parametrize("backend", BACKENDS)
def test_synchronized_statistics_are_those_of_the_whole_batch(backend: str) -> None:
    check_equal(3, LOSSES["a mean"], backend, tolerance=1e-9, layers="BatchNorm() ->", sync_batch_norm=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_reductions_beside_the_backward_pass_have_the_same_bits(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In buckets of two or three tensors each; the last batch has no example for one of the workers."""
    monkeypatch.setattr(segmented_run, "BUCKET", 100)
    cutting = Mock(wraps=segmented_run.pieces_of)
    monkeypatch.setattr(segmented_run, "pieces_of", cutting)
    layers = "Dense(5) -> BatchNorm() -> relu -> Dropout(0.5) ->"

    def results(overlap: bool) -> tuple[dict[str, Any], dict[str, list[float]]]:
        return run_in_threads(3, lambda each: run(LOSSES["a mean"], each, backend, layers, overlap=overlap))[0]

    after, beside = results(False), results(True)
    assert max(len(call.args[1]) for call in cutting.call_args_list) >= 3
    assert after[1] == beside[1]
    for path, array in after[0].items():
        np.testing.assert_array_equal(beside[0][path], array, err_msg=path)


def test_statistics_of_a_worker_are_averaged() -> None:
    """Without the option the steps differ from those of one worker, and all workers have the same state."""
    alone, _ = run(LOSSES["a mean"], None, "numpy", "BatchNorm() ->")
    first, second = run_in_threads(2, lambda collective: run(LOSSES["a mean"], collective, "numpy", "BatchNorm() ->"))
    assert first[1] == second[1]
    for path, array in first[0].items():
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, second[0][path])
    assert any(not np.allclose(first[0][path], alone[path], rtol=1e-6) for path in alone)


@pytest.mark.parametrize(
    ("loss", "layers", "synchronized", "segments"),
    [
        ("a mean", "", False, 2),  # the gradients, and the loss
        ("a masked mean", "", False, 3),  # before them the number of entries that count
        ("a sum", "", False, 2),
        ("the root of a mean", "", False, 3),  # forward, backward, the loss
        # Forward, the mean and the variance; backward, what flows back to them.
        ("a mean", "BatchNorm() ->", True, 6),
    ],
)
def test_a_graph_is_cut_as_seldom_as_possible(loss: str, layers: str, synchronized: bool, segments: int) -> None:
    spec = spec_of(MODEL.format(loss=LOSSES[loss], layers=layers, settings=""), training=True)
    step = training_step(spec, workers=OverWorkers(synchronized))
    assert step.split is not None
    pieces = cut(step.split.measured, batch_dims(spec)).segments
    assert len(pieces) == segments
    for piece in pieces:
        assert not any(isinstance(node.op, AllReduce) for node in piece.graph)
    if loss in ("a mean", "a sum") and not layers:  # nothing crosses a cut but numbers
        reduced = {part.name for piece in pieces for part in piece.reductions}
        crossing = [value for piece in pieces for name, value in piece.graph.outputs.items() if name not in reduced]
        assert [value.shape for value in crossing if value.shape] == []


TOKENS = GENERATOR.integers(1, 9, (COUNT, 6)) * (np.arange(6) < GENERATOR.integers(1, 7, (COUNT, 1)))
IMAGES = GENERATOR.normal(size=(COUNT, 1, 5, 5))
SHARED: dict[str, tuple[dict[str, np.ndarray], dict[str, float]]] = {
    "plain": (DATA, {}),
    "padded": ({"x": TOKENS, "t": DATA["t"]}, {}),
    "augmented": (
        {"x": IMAGES, "t": DATA["t"]},
        {"flip": 1, "crop": 1, "rotate": 9, "shift": 1, "noise": 0.1, "cutout": 2},
    ),
    "warped": ({"x": IMAGES[:, 0], "t": DATA["t"]}, {"jitter": 0.1, "scaling": 0.1, "warp": 0.5}),
    "mixed": ({"x": IMAGES, "t": DATA["t"]}, {"flip": 1, "mixup": 0.4}),
}


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", SHARED)
def test_shares_are_the_whole_batches_in_order(kind: str, workers: int) -> None:
    arrays, augmentations = SHARED[kind]
    examples = replace(
        from_arrays(arrays, "data"), inputs=("x",), targets=("t",), parts={"training": np.arange(COUNT)},
        augmentations=augmentations, padded=kind == "padded",
    )  # fmt: skip
    whole = list(Batches(examples, "training", 8, shuffle=True, seed=3).epoch(2))
    shares = [
        list(Batches(examples, "training", 8, shuffle=True, seed=3, share=(worker, workers)).epoch(2))
        for worker in range(workers)
    ]
    for number, batch in enumerate(whole):
        first = 0
        for share in shares:
            assert share[number][FIRST] == first
            first += len(share[number]["x"])
        for name, array in batch.items():
            np.testing.assert_array_equal(np.concatenate([share[number][name] for share in shares]), array)


@pytest.mark.parametrize("loss", ["max(abs(y - t))", "mean(y @ y^T)", "mse(y, t) + logsumexp(y)"])
def test_a_loss_that_compares_examples_is_refused(loss: str) -> None:
    with pytest.raises(NablacError) as caught:
        run_in_threads(2, lambda collective: run(loss, collective, "numpy"))
    assert [each.code for each in caught.value.diagnostics] == ["E892"]


@pytest.mark.parametrize("rank", [0, 1])
def test_all_workers_end_as_the_one_that_is_interrupted(rank: int) -> None:
    def work(collective: Collective) -> Ending | None:
        source = text_source(MODEL.format(loss=LOSSES["a mean"], layers="", settings=""))
        training = Training(source, Options(), collective=collective)
        training.examples = from_arrays(DATA, "data")
        loop = training.loop()
        loop.stop = lambda: collective.rank == rank and loop.position.epoch == 1
        loop.run()
        return loop.ending

    assert set(run_in_threads(2, work)) == {Ending.INTERRUPTED}
