"""`nablac plan`: the model of cost against arithmetic by hand, its bytes, its table, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from nablac.worker_plan import WorkerPlan
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from runtime.training.worker_costs import WorkerMemory, memory_of_worker, messages_of_step
from runtime.workers.cost_model import Network, StepTime, bandwidth_of, counts_of_workers, predict, seconds_of
from tests.command_line import invoke
from tests.models import text_source

TEXT = """
model M {
    input x: [batch, 4]
    output y = x -> Dense(8) -> relu -> Dense(3)
}
train M { target t: [batch, 3]; loss mse(y, t); optimizer adam(lr: 0.1); batch 16 }
"""
WEIGHTS = 4 * 8 + 8 + 8 * 3 + 3


@pytest.mark.parametrize(
    ("text", "size"),
    [("10Gb", 1.25e9), ("25 Gbit/s", 3.125e9), ("1GB/s", 1e9), ("100Mbps", 1.25e7), ("8b", 1.0)]
    + [(text, None) for text in ("0Gb", "-1Gb", "10", "10Gx", "1e9Gb", "", "GB", "10gb", "nanGb")],
)
def test_a_bandwidth_is_in_bits_or_bytes(text: str, size: float | None) -> None:
    assert bandwidth_of(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("50us", 5e-5), ("1.5 ms", 1.5e-3), ("0s", 0.0), ("5", None), ("-1us", None), ("1h", None)]
)
def test_a_latency_has_a_unit(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


# By hand, with 1,000 bytes a second and 1 s of latency.
REDUCTIONS = [
    (1, [4000], 0.0),
    (2, [4000], 5.0),  # one exchange of everything: 1 s + 4 s
    (4, [4000], 2 * (1 + 4)),  # doubling; the ring takes 6 * (1 + 1)
    (4, [40_000], 6 * (1 + 10)),  # the ring; doubling takes 2 * (1 + 40)
    (4, [100], 2 * (1 + 0.1)),  # doubling
    (3, [100], 3 * (1 + 0.1)),  # as between 2, and two messages more for the third
    (8, [80_000, 8], 2 * 7 * (1 + 10) + 3 * (1 + 0.008)),  # the ring for the one, doubling for the other
]


@pytest.mark.parametrize(("workers", "messages", "seconds"), REDUCTIONS)
def test_reductions_take_what_the_formulas_say(workers: int, messages: list[int], seconds: float) -> None:
    assert Network(1000.0, 1.0).reduction_seconds(messages, workers) == pytest.approx(seconds)


def test_each_worker_has_a_batch_or_a_part_of_one() -> None:
    network, messages = Network(1000.0, 0.0), [1000]
    weak = predict(StepTime(10, 3.0, 1.0), messages, network, 4)  # the ring: 2 * 3/4 s
    assert (weak.batch, weak.examples, weak.seconds, weak.reduction) == (10, 40, 5.5, 1.5)
    assert (weak.speedup, weak.efficiency) == (pytest.approx(4 * 4 / 5.5), pytest.approx(4 / 5.5))
    shared = predict(StepTime(10, 3.0, 1.0, 5, 2.0), messages, network, 4, fixed_batch=True)
    # 3 examples are on the line through 5 in 2 s and 10 in 3 s: 1.6 s
    assert (shared.batch, shared.examples) == (3, 10)
    assert shared.seconds == pytest.approx(1.6 + 1.0 + 1.5) and shared.speedup == pytest.approx(4 / 4.1)


def test_workers_are_counted_by_powers_of_two() -> None:
    assert counts_of_workers(6) == [1, 2, 4, 6, 8, 16, 32, 64, 128, 256, 512, 1000]
    assert counts_of_workers(3000)[-3:] == [1024, 2048, 3000]


def test_bytes_are_those_of_the_gradients_and_a_few_scalars() -> None:
    training = Training(text_source(TEXT), Options())
    sizes = {"batch": 16}
    # In f64, the sum of the errors; the gradients; the loop's own two numbers.
    assert sorted(messages_of_step(training, sizes, 2)) == [8, 16, 4 * WEIGHTS]
    memory = memory_of_worker(training, sizes, 4 * WEIGHTS)
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * WEIGHTS, 4 * WEIGHTS, 2 * 4 * WEIGHTS)
    assert memory.batch >= 4 * 16 * (4 + 3) and memory.reduction == 4 * WEIGHTS
    assert memory.activations >= 4 * 16 * 8, "of the hidden layer"


PLAN = WorkerPlan(
    "m.model",
    3,
    Network(1.25e9, 5e-5),
    True,
    "ort",
    "cpu",
    {"batch": 8},
    StepTime(8, 0.009, 0.001, 1, 0.002),
    2.5,
    [1_250_000, 16],
    WorkerMemory(1_250_000, 1_250_000, 2_500_000, 40_000, 512, 1_250_000),
)
TABLE = """\
m.model: 3 workers, 10 Gbit/s, latency 50 us
step of one worker: 10.000 ms with onnxruntime at batch=8: gradients 9.000 ms, update 1.000 ms
reduced in a step: 1.3 MB in 2 messages
memory of a worker: 6.3 MB: weights 1.2 MB, gradients 1.2 MB, optimizer 2.5 MB, activations 40.0 kB, batch 512 bytes, \
reduction 1.2 MB

workers  batch  step ms  reduction ms  speedup  efficiency
----------------------------------------------------------
      1      8   10.000         0.000      1.0      100.0%
      2      4    7.100         1.100      1.4       70.4%
      3      3    6.683         1.683      1.5       49.9%
      4      2    5.900         1.900      1.7       42.4%
      8      1    5.600         2.600      1.8       22.3%

"""


def test_a_plan_is_a_table_with_its_assumptions() -> None:
    text = str(PLAN)
    assert text.startswith(TABLE)
    assert [line[:2] for line in text[len(TABLE) :].splitlines()] == ["- "] * 6
    assert "the batch of 8 is shared out" in text and "a step lasted 2.5 times as long" in text
    assert "<svg" in PLAN.chart().svg()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "'--workers': 0 is not in the range"),
        (["--workers", "-3"], "'--workers': -3 is not in the range"),
        (["--network", "10Gx"], "`10Gx` is not a bandwidth; write it as 10Gb (bits) or 1GB/s (bytes)"),
        (["--network", "-1Gb"], "`-1Gb` is not a bandwidth"),
        (["--latency", "5"], "`5` is not a duration; write it as 50us or 1ms"),
        (["--fixed-batch", "--workers", "17"], "--fixed-batch shares 16 examples out, and there are 17 workers"),
        (["-o", "plan.png"], "`-o plan.png` is a picture: name it plan.svg"),
        (["--size", "bacth=2"], "no input of M has a dim `bacth`"),
        (["--memory-budget", "1GB"], "No such option"),
    ],
)
def test_mistakes_are_short_messages(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text(TEXT)
    done = invoke("plan", "m.model", *arguments, folder=tmp_path)
    assert done.exit_code == 2 and message in done.stderr


def test_a_training_that_workers_cannot_share_has_no_plan(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text(TEXT.replace("mse(y, t)", "max(abs(y - t))"))
    done = invoke("plan", "m.model", folder=tmp_path)
    assert "error[E892]: this loss compares examples" in done.stderr and not done.stdout


def test_a_plan_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text(TEXT)
    done = invoke(
        "plan", "m.model", "--fixed-batch", "-o", "plan.html", "--batch", "4", "--workers", "2", folder=tmp_path
    )
    assert done.exit_code == 0 and "step of one worker:" in done.stdout and "at batch=4:" in done.stdout
    assert "<svg" in (tmp_path / "plan.html").read_text()
