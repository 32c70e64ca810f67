"""The training loop: both backends alike, stopped anywhere and resumed the same, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import load, program_of
from compiler.types import DType
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.data.arrays import from_arrays
from runtime.training.checkpoints import newest_checkpoint
from runtime.training.loop import Loop, Settings
from runtime.training.not_finite import NotFinite
from runtime.training.run_options import Options
from runtime.training.trained import Trained
from runtime.training.training_run import Training
from tests.paths import SPECS

BACKENDS = ["numpy", "ort"]
MODEL = """
model M(rate = 0.3) {
    input x: [batch, 6]
    h = x -> Dense(8, activation: tanh) -> BatchNorm2() -> Dropout(rate)
    y = h -> Dense(1)
    output y
}

layer BatchNorm2() {
    input x: [batch, features]
    buffer center: [features] = 0
    if training {
        m = mean(x, axis: 0)
        center' = 0.9 * center + 0.1 * m
        output x - m
    } else {
        output x - center
    }
}

train M {
    target t: [batch, 1]
    loss mse(y, t)
    metric mae(y, t)
    optimizer adam(lr: 1e-2)
    epochs 3
    batch 8
    validation 0.25
    SETTINGS
}
"""


def training(settings: str = "", backend: str = "numpy", text: str = MODEL, **options: object) -> Training:
    program = program_of(Source("m.model", text.replace("SETTINGS", settings)))
    run = Training(TextSource(program), options=Options(backend=backend, **options))  # type: ignore[arg-type]
    generator = np.random.default_rng(5)
    x = generator.normal(size=(40, 6)).astype(np.float32)
    run.examples = from_arrays({"x": x, "t": np.sin(x.sum(axis=1, keepdims=True)).astype(np.float32)}, "arrays")
    return run


def trained(made: Training, **settings: object) -> Loop:
    loop = made.loop()
    loop.settings = replace(loop.settings, **settings)  # type: ignore[arg-type]
    loop.run()
    return loop


@pytest.mark.parametrize("settings", ["", "clip_norm 0.5; weight_decay 0.01", "accumulate 2; average 0.9", "plateau 1"])
def test_both_backends_give_the_same_curves_with_dropout_on(settings: str) -> None:
    curves = [trained(training(settings, backend)).position.history for backend in BACKENDS]
    rate = {"learning_rate"} if "plateau" in settings else set()
    assert curves[0].keys() == curves[1].keys() == {"epoch", "loss", "mae", "val_loss", "val_mae"} | rate
    for name in curves[0]:
        np.testing.assert_allclose(curves[0][name], curves[1][name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_of_f64_trains_in_f64(backend: str) -> None:
    run = training("plateau 1; accumulate 2", backend)
    run.source = replace(run.source, dtype=DType.F64)
    loop = trained(run)
    assert {array.dtype for array in loop.stepper.state().values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("name", ["forecaster", "cnn", "gru", "lstm"])
def test_the_specs_train_alike_on_both_backends(name: str) -> None:
    program = load(SPECS / f"{name}.model")
    runs = [
        trained(Training(TextSource(program, program.models[0].name), options=Options(backend=backend, epochs=3)))
        for backend in BACKENDS
    ]
    for key, values in runs[0].position.history.items():
        np.testing.assert_allclose(values, runs[1].position.history[key], rtol=1e-4, err_msg=key)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("settings", ["average 0.9; shuffle true", "accumulate 2; plateau 1; patience 9"])
def test_a_run_stopped_after_any_step_and_resumed_is_the_run_that_was_not(
    tmp_path: Path, backend: str, settings: str
) -> None:
    whole = trained(training(settings, backend))
    steps = whole.position.step
    assert steps == 12
    for stop in range(1, steps):
        folder = tmp_path / str(stop)
        folder.mkdir()
        first = training(settings, backend).loop(folder)
        first.stop = lambda loop=first, stop=stop: loop.position.step >= stop
        first.run()
        assert first.reason == "interrupted" and first.position.step == stop
        second = training(settings, backend).loop(folder, resume=True)
        second.run()
        assert second.position.history == whole.position.history
        for path, array in whole.stepper.state().items():
            np.testing.assert_array_equal(second.stepper.state()[path], array, err_msg=path)
        for path, array in whole.best.items():
            np.testing.assert_array_equal(second.best[path], array, err_msg=path)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    loop = training().loop(tmp_path)
    loop.run()
    files = sorted(tmp_path.glob("step-*.safetensors"))
    assert len(files) == 3 and (tmp_path / "best.safetensors").exists()
    files[-1].write_bytes(files[-1].read_bytes()[:100])
    found = newest_checkpoint(tmp_path)
    assert found is not None and found[1].step == 8
    for file in files:
        file.write_bytes(b"")
    with pytest.raises(NablacError, match="holds no checkpoint to resume from"):
        training().loop(tmp_path, resume=True)


def test_training_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    run = training('patience 2; monitor "val_mae"', epochs=500)
    loop = run.loop(tmp_path)
    loop.run()
    values = loop.position.history["val_mae"]
    assert loop.reason == "val_mae has not improved for 2 epochs"
    assert loop.position.best_epoch == int(np.argmin(values)) + 1 == len(values) - 2
    loop.stepper = run.stepper(dict(loop.best))
    assert loop.evaluate(run.batches("validation"))["mae"] == min(values)


def test_a_simple_recurrence_stays_a_walk_where_that_is_faster() -> None:
    text = """
model M { input x: [batch, time, 6]; y = x -> SimpleRNN(8) -> Dense(1); output y }
train M { target t: [batch, 1]; loss mse(y, t) }
"""
    kinds = {}
    for backend in BACKENDS:
        run = Training(TextSource(program_of(Source("m.model", text))), options=Options(backend=backend))
        kinds[backend] = {node.op.name for node in run.step_graph} & {"rnn", "scan"}
    assert kinds == {"numpy": {"rnn", "scan"}, "ort": {"scan"}}


def test_a_plateau_halves_the_rate() -> None:
    loop = trained(training("plateau 1"), epochs=400)
    assert loop.position.rate < 1
    assert np.log2(loop.position.rate) == round(np.log2(loop.position.rate))


def test_a_plateau_is_as_long_and_as_steep_as_asked() -> None:
    loop = trained(training("plateau 2; plateau_factor 0.1; min_change 1e9"), epochs=6)
    # Only the first epoch is better than none by so much: the rate falls after each two of the others.
    assert loop.position.best_epoch == 1
    np.testing.assert_allclose(loop.position.history["learning_rate"], [1e-2] * 3 + [1e-3] * 2 + [1e-4], rtol=1e-5)


def test_the_history_has_the_rate_of_a_schedule() -> None:
    text = MODEL.replace("adam(lr: 1e-2)", "sgd(lr: step_decay(step, 0.1, 4))")
    loop = trained(training(text=text))
    assert loop.position.step == 12  # 4 batches an epoch
    np.testing.assert_allclose(loop.position.history["learning_rate"], [0.1, 0.05, 0.025], rtol=1e-6)


def test_what_is_left_over_at_an_epochs_end_is_an_update_too() -> None:
    text = MODEL.replace(" -> BatchNorm2() -> Dropout(rate)", "")
    alone = trained(training("accumulate 100", text=text))
    whole = trained(training("", text=text, batch=99))
    assert alone.position.step == 300 and whole.position.step == 3
    for path, array in whole.stepper.state().items():
        np.testing.assert_allclose(alone.stepper.state()[path], array, rtol=1e-4, atol=1e-6, err_msg=path)


def test_limits_end_a_run() -> None:
    assert trained(training(), limit_batches=1).position.step == 3
    timed = trained(training(), max_seconds=0.0)
    assert timed.reason == "the time is up" and timed.position.step == 1


def test_a_few_examples_can_be_learnt_by_heart() -> None:
    run = training("", overfit=4)
    run.source = replace(run.source, hypers={"rate": 0.0})
    loop = trained(run, epochs=600)
    assert run.data.parts["training"].size == 4 and loop.validation is None
    assert loop.position.history["mae"][-1] < 0.25 * loop.position.history["mae"][0]


def test_weights_frozen_by_a_pattern_stay() -> None:
    run = training('freeze "dense.*"')
    before = run.first_state()
    after = trained(run).stepper.state()
    np.testing.assert_array_equal(after["dense.W"], before["dense.W"])
    assert not np.array_equal(after["dense_1.W"], before["dense_1.W"])
    assert not np.array_equal(after["batch_norm2.center"], before["batch_norm2.center"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_that_is_no_number_is_traced_to_its_line(backend: str) -> None:
    text = MODEL.replace("y = h -> Dense(1)", "y = log(h -> Dense(1))")
    run = training("", backend, text)
    loop = run.loop()
    with pytest.raises(NotFinite) as caught:
        loop.run()
    (diagnostic,) = run.explain_not_finite(loop, caught.value).diagnostics
    assert diagnostic.code == "E842" and diagnostic.span is not None
    assert diagnostic.message == "the loss is nan at epoch 1, batch 1: `log` is the first operator whose result is NaN"
    assert diagnostic.span.text == "log(h -> Dense(1))"


def test_a_loss_that_reads_the_step_is_replayed_with_it() -> None:
    text = MODEL.replace("loss mse(y, t)", "loss mse(y, t) + 0.0 * log(3.5 - step)")
    run = training("plateau 1", text=text)
    loop = run.loop()
    with pytest.raises(NotFinite) as caught:
        loop.run()
    (diagnostic,) = run.explain_not_finite(loop, caught.value).diagnostics
    assert diagnostic.message == "the loss is nan at epoch 1, batch 4: `log` is the first operator whose result is NaN"


def test_settings_of_the_command_win_over_the_block() -> None:
    run = training("seed 3; patience 4", epochs=7, batch=16, seed=11)
    assert (run.settings(), run.batch) == (Settings(epochs=7, patience=4, seed=11), 16)


def test_which_way_a_metric_is_better_is_the_librarys_or_the_blocks_to_say() -> None:
    text = MODEL.replace(
        "metric mae(y, t)", "metric mae(y, t)\n    metric r_squared(y, t)\n    metric mine = mean(y * t)"
    )
    assert training(text=text).higher_is_better == {"r_squared"}
    assert training('monitor "val_mine"; mode "max"', text=text).higher_is_better == {"r_squared", "mine"}
    assert training('monitor "val_r_squared"; mode "min"', text=text).higher_is_better == frozenset()


def test_raw_units_are_those_of_the_data() -> None:
    program = load(SPECS / "forecaster.model")
    run = Training(TextSource(program), options=Options(epochs=2))
    loop = trained(run)
    from runtime.numpy_executor import NumpyRunner

    scaling = run.data.scalings["series"]
    weights = run.model_weights(loop.best)
    raw = np.linspace(100, 400, 12, dtype=np.float32).reshape(1, 12, 1)
    inside = NumpyRunner(run.inference.graph, weights).run({"series": scaling.apply(raw).astype(np.float32)})["y"]
    outside = NumpyRunner(run.model_graph(), weights).run({"series": raw})["y"]
    np.testing.assert_allclose(outside, inside * scaling.scale + scaling.offset, rtol=1e-5)


def test_a_monitor_that_nothing_measures_is_refused() -> None:
    with pytest.raises(NablacError) as caught:
        training('monitor "val_accuracy"').loop()
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E615", "the `monitor` val_accuracy is not measured")
    assert diagnostic.hint == "the choices are loss, mae, val_loss, val_mae"
    assert diagnostic.span is not None and diagnostic.span.text == "monitor"


def test_a_monitor_of_validation_data_needs_some() -> None:
    with pytest.raises(NablacError) as caught:
        training('monitor "val_mae"', text=MODEL.replace("validation 0.25", "")).loop()
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E615", "the `monitor` val_mae is not measured")
    assert diagnostic.hint == "there is no validation data: `validation 0.1` in the train block holds some out"


SPOILT = MODEL.replace("y = h -> Dense(1)", "y = h -> Dense(1)\n    z = sqrt(relu(y)) * 0.0").replace(
    "mse(y,", "mse(y + z,"
)


def spoilt(found: NablacError) -> None:
    (diagnostic,) = found.diagnostics
    assert diagnostic.code == "E842" and diagnostic.span is not None
    assert "is not finite (NaN or infinity) after epoch 1, batch" in diagnostic.message
    assert "whose loss is" in diagnostic.message and diagnostic.message.endswith(
        "is the first operator whose result is NaN"
    )
    assert diagnostic.span.text == "sqrt(relu(y))"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"batch": 40}, {"limit_batches": 3}, {"batch": 40, "epochs": 1}])
def test_an_update_that_is_no_number_is_traced_to_its_line_and_never_kept(
    tmp_path: Path, backend: str, options: dict[str, object]
) -> None:
    for folder in (None, tmp_path):
        run = training("", backend, SPOILT, **options)
        loop = run.loop(folder)
        with pytest.raises(NotFinite) as caught:
            loop.run()
        spoilt(run.explain_not_finite(loop, caught.value))
    assert not list(tmp_path.iterdir())


def test_what_is_infinite_on_purpose_is_not_to_blame() -> None:
    text = MODEL.replace(
        "y = h -> Dense(1)",
        "p = softmax(where(x > 0.0, x, -infinity)) + softmax(log(relu(sign(x))))\n"
        "    y = log((h -> Dense(1)) - 9.0 + 0.0 * mean(p))",
    )
    run = training("", text=text)
    loop = run.loop()
    with pytest.raises(NotFinite) as caught:
        loop.run()
    (diagnostic,) = run.explain_not_finite(loop, caught.value).diagnostics
    assert diagnostic.span is not None and diagnostic.span.text.startswith("log((h -> Dense(1))")


def test_a_state_that_is_infinite_from_the_first_is_meant_so() -> None:
    text = MODEL.replace(
        "buffer center: [features] = 0", "buffer center: [features] = 0\n    buffer least: [features] = infinity"
    )
    text = text.replace("center' =", "least' = minimum(least, min(x, axis: 0))\n        center' =")
    assert trained(training("", text=text)).reason == "all epochs are done"


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_epoch_is_that_of_the_mode(mode: str) -> None:
    """A metric that grows from epoch to epoch, whatever it is called: its first epoch is the best only for "min"."""
    text = """
    model Line { input x: [batch, 1]; param w: [1] = 0.0; y = x * w; output y }
    train Line {
        target t: [batch, 1]
        loss mse(y, t)
        metric f1 = 1 - mean(abs(y - t))
        optimizer sgd(lr: 0.01)
        monitor "val_f1"
        mode "MODE"
        validation 0.5
        patience 2
        epochs 6
        batch 4
    }
    """.replace("MODE", mode)
    x = np.array([[0.5], [1], [0.25], [0.75]] * 2, np.float32)
    run = Training(TextSource(program_of(Source("m.model", text))))
    run.examples = from_arrays({"x": x, "t": x}, "arrays")
    loop = trained(run)
    figures = loop.position.history["val_f1"]
    assert figures == sorted(figures) and len(figures) == (6 if mode == "max" else 3)
    assert loop.position.best_epoch == (6 if mode == "max" else 1)


def test_layers_called_as_states_train_as_others_do() -> None:
    text = """
    model M { input x: [batch, 3]; first = Dense(3); second = Dense(3); y = x -> first -> second -> Dense(1); output y }
    train M { target t: [batch, 1]; loss mse(y, t); average 0.5; accumulate 2; optimizer adam(lr: 0.1); SETTINGS }
    """
    generator = np.random.default_rng(6)
    x = generator.normal(size=(12, 3)).astype(np.float32)
    start = {
        f"{layer}.{name}": generator.normal(size=shape).astype(np.float32)
        for layer in ("first", "second")
        for name, shape in (("W", (3, 3)), ("b", (3,)))
    }
    found = []
    for names in ({}, {"first": "average", "second": "optimizer"}):
        renamed = text
        for old, new in names.items():
            renamed = renamed.replace(old, new)
        renamed = renamed.replace("SETTINGS", "epochs 3; batch 2")
        run = Training(TextSource(program_of(Source("m.model", renamed))))
        run.examples = from_arrays({"x": x, "t": x[:, :1]}, "arrays")
        begin = {names.get(path[:-2], path[:-2]) + path[-2:]: array for path, array in start.items()}
        run.start = Trained(begin)
        loop = trained(run)
        weights = run.trained(loop).weights
        found.append({path: weights[names.get(path[:-2], path[:-2]) + path[-2:]] for path in [*start, "dense.W"]})
    for path, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][path], err_msg=path)
        assert path == "dense.W" or (array != start[path]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loss_of_the_step_is_measured_at_the_step_of_its_weights(backend: str) -> None:
    """The loss is its step alone: validation sees the number of updates, as training does."""
    text = """
    model M { input x: [batch, 1]; param w: [1] = 0.0; y = x * w; output y }
    train M { target t: [batch, 1]; loss mse(y, t) * 0 + step; accumulate 2; epochs 3; batch 2; validation 0.5 }
    """
    run = Training(TextSource(program_of(Source("m.model", text))), options=Options(backend=backend))
    x = np.ones((16, 1), np.float32)
    run.examples = from_arrays({"x": x, "t": x}, "arrays")
    loop = trained(run)
    assert loop.position.history["val_loss"] == [2.0, 4.0, 6.0]
    assert run.trained(loop).step == 2  # the loss grows, so that the first epoch is the best


def test_an_evaluation_draws_anew_for_each_batch() -> None:
    text = """
    model M { input x: [batch, 1]; param w: [1] = 0.0; y = x * w; output y }
    train M { target t: [batch, 1]; loss mse(y, t) + max(random.uniform(like: y)); epochs 1; batch 1; validation 0.5 }
    """
    run = Training(TextSource(program_of(Source("m.model", text))))
    x = np.ones((40, 1), np.float32)
    run.examples = from_arrays({"x": x, "t": x * 0}, "arrays")
    loop = run.loop()
    assert loop.validation is not None
    found = loop.evaluate(loop.validation)["loss"]
    assert 0.85 < found < 1  # the largest of twenty draws, and not of one that is repeated
    assert loop.evaluate(loop.validation)["loss"] == found
