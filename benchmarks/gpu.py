"""Checks on a machine with a GPU what cannot be checked without one, in at most eight minutes.

    python -m benchmarks.gpu                 # on `cuda`, with onnxruntime-gpu; PyTorch with CUDA if it is there
    python -m benchmarks.gpu --device cpu    # the same code on the CPU, small cases: shows that the script works

For each case: the nodes on the device and elsewhere; the losses of five training steps and the output of inference
beside NumPy's on the CPU; the bits of draws; the time of a step and of a call beside PyTorch's, eager and compiled,
with the same weights, in f32 without TF32 on both sides. The first case is also trained with its losses read together,
and as a worker. Cases that no longer fit into the time are named. The exit
status is 1 if a result differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.cases import CASES
from benchmarks.models import Case
from benchmarks.our_graphs import source_of
from compiler.graph import Graph
from compiler.model_spec import FIRST, WHOLE
from compiler.onnx.exporter import export
from compiler.operators.leaves import Input
from compiler.operators.random import FoldKey, RandomUniform
from compiler.passes.pipeline import optimize
from compiler.training.losses import loss_graph
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from runtime.backends import device_named
from runtime.numpy_executor import run as run_numpy
from runtime.onnx_session import OnnxRunner
from runtime.training.device_stepper import READ_EVERY, DeviceStepper
from runtime.training.memory_budget import known_sizes
from runtime.training.run_options import Options
from runtime.training.steppers import NumpyStepper, StepperSetup
from runtime.training.training_run import Training
from runtime.workers.collective import By

LONGEST = 480.0  # seconds
SMALL = ("mlp small", "lstm small", "transformer small")
ON_GPU = ("mlp large", "cnn large", "lstm large", "transformer large", "resnet18 64x64", "mlp small", "gru large")
STEPS = 5
TOLERANCE = 2e-3  # relative, of losses after some steps: kernels add up in other orders
Row = dict[str, Any]


def steppers(case: Case, device: str, read_every: int = 1) -> tuple[DeviceStepper, NumpyStepper, dict[str, np.ndarray]]:
    """A stepper on the device, one of NumPy's, and the initial state of both."""
    feeds, built, state = case.feeds(np.random.default_rng(0)), [], {}
    for backend in ("ort", "numpy"):
        place = device if backend == "ort" else "cpu"
        training = Training(source_of(case), options=Options(backend=backend, device=place, batch=len(feeds["t"])))
        training.sizes = known_sizes(loss_graph(training.elaborated), len(feeds["t"]), feeds)
        state = training.first_state()
        copied = {path: array.copy() for path, array in state.items()}
        setup = StepperSetup(training.step_graph, training.loss_graph, copied, training.step.averages)
        built.append(DeviceStepper(setup, device, read_every) if backend == "ort" else NumpyStepper(setup))
    return built[0], built[1], state  # type: ignore[return-value]


def numbered(feeds: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """The feeds of a step."""
    return {**feeds, "step": np.array(number, np.float32), "seed": np.array(number), "rate": np.array(1, np.float32)}


def placed(runner: OnnxRunner) -> dict[str, int]:
    """How many nodes each provider runs, arithmetic on sizes included; empty on the CPU, where nothing is recorded."""
    if runner.device.kind == "cpu":
        return {}
    parts = runner.session.get_provider_graph_assignment_info()
    return dict(Counter(part.ep_name for part in parts for _ in part.get_nodes()))


def milliseconds(step: Callable[[], Any], seconds: float) -> float:
    """The median time of a step that waits for its result, after a warm-up."""
    for _ in range(3):
        step()
    times, ends = [], time.perf_counter() + seconds
    while time.perf_counter() < ends or len(times) < 5:
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return round(median(times) * 1e3, 3)


def check_draws(device: str) -> Row:
    """Whether keys and uniform draws have the bits of NumPy's."""
    inputs = {name: Input(name, TensorType(DType.I64))() for name in ("key", "number")}
    key = FoldKey("7")(*inputs.values())
    graph = Graph(inputs, {"folded": key, "drawn": RandomUniform((100_003,))(key)})
    target = device_named(device).target
    runner = OnnxRunner(export(optimize(graph, target), target=target).SerializeToString(), device=device)
    same = True
    for number in (0, 1, 2**31 - 1, 2**62 + 5):
        feeds = {"key": np.array(number), "number": np.array(number // 3)}
        wanted, results = run_numpy(graph, feeds), runner.run(feeds)
        same &= all(np.array_equal(results[name], wanted[name]) for name in wanted)
    return {"case": "draws", "nodes": placed(runner), "same": same}


def check_case(name: str, device: str, seconds: float) -> Row:
    """Equality, placement and times of one case."""
    case = CASES[name]()
    feeds = case.feeds(np.random.default_rng(0))
    ours, reference, state = steppers(case, device)
    losses = [
        [each.step(numbered(feeds, number))["loss"] for number in range(1, STEPS + 1)] for each in (ours, reference)
    ]
    worst = worst_of(*losses)
    row: Row = {"case": name, "nodes": placed(ours.runner), "worst loss": worst, "same": worst <= TOLERANCE}
    count = STEPS

    def step() -> None:
        nonlocal count
        count += 1
        ours.step(numbered(feeds, count))

    row["step"] = {"nablac": milliseconds(step, seconds)}
    graph, target = source_of(case).spec(training=False).graph, device_named(device).target
    model = export(optimize(graph, target), weights=state, target=target)
    runner = OnnxRunner(model.SerializeToString(), device=device)
    inputs = case.inputs()
    wanted, results = run_numpy(graph, inputs, state)[case.output], runner.run(inputs)[case.output]
    row["worst output"] = float(np.abs(results - wanted).max() / max(np.abs(wanted).max(), 1e-6))
    row["same"] &= row["worst output"] <= TOLERANCE
    row["call"] = {"nablac": milliseconds(lambda: runner.run(inputs), seconds)}
    for variant in ("eager", "compiled"):
        try:
            row["step"][variant], row["call"][variant] = of_torch(case, state, device, variant, seconds)
        except Exception as error:  # PyTorch may be missing, without CUDA, or without a compiler
            row[f"no {variant}"] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return row


def check_reads(name: str, device: str, seconds: float) -> Row:
    """Losses that are read together beside those that are read one by one, and the time of a step of each."""
    case = CASES[name]()
    feeds, losses = case.feeds(np.random.default_rng(0)), []
    row: Row = {"case": f"{name}, losses of {READ_EVERY} steps read together"}
    for read_every in (1, READ_EVERY):
        stepper, _, _ = steppers(case, device, read_every)

        def steps(stepper: DeviceStepper = stepper) -> list[float]:
            results = []
            for number in range(stepper.steps + 1, stepper.steps + READ_EVERY + 1):
                stepper.begin(numbered(feeds, number))
                if stepper.read_every == 1 or number % READ_EVERY == 0:
                    results += stepper.read()
            return [result["loss"] for result in results]

        losses.append(steps() + steps())
        row[f"step, {read_every}"] = round(milliseconds(steps, seconds) / READ_EVERY, 3)
    row["same bits"] = losses[0] == losses[1]  # kernels that add up in any order may differ from run to run
    return row | {"same": worst_of(*losses) <= TOLERANCE}


class Alone:
    """A collective of one worker."""

    rank = local_rank = 0
    size = local_size = 1

    def reduce(self, array: np.ndarray, by: By) -> None:
        """Nothing is to be added."""

    def gather(self, item: Any) -> list[Any]:
        """The item."""
        return [item]


def check_worker(name: str, device: str, seconds: float) -> Row:
    """A step of a worker, whose state is in the memory of the CPU, beside NumPy's."""
    case, built = CASES[name](), []
    feeds = case.feeds(np.random.default_rng(0))
    count = len(feeds["t"])
    for backend, on in (("ort", device), ("numpy", "cpu")):
        options = Options(backend=backend, device=on, batch=count)
        training = Training(source_of(case), options=options, collective=Alone())
        training.sizes = known_sizes(loss_graph(training.elaborated), count, feeds)
        built.append(training.stepper(training.first_state()))
    shared = {**feeds, FIRST: np.array(0), WHOLE: np.array(count)}
    losses = [[each.step(numbered(shared, number))["loss"] for number in range(1, STEPS + 1)] for each in built]
    row: Row = {"case": f"{name}, as a worker", "worst loss": worst_of(*losses)}
    numbers = itertools.count(STEPS + 1)
    row["step"] = milliseconds(lambda: built[0].step(numbered(shared, next(numbers))), seconds)
    return row | {"same": row["worst loss"] <= TOLERANCE}


def worst_of(losses: list[float], others: list[float]) -> float:
    """The largest relative difference of two lists."""
    return max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(losses, others, strict=True))


def of_torch(
    case: Case, state: dict[str, np.ndarray], device: str, variant: str, seconds: float
) -> tuple[float, float]:
    """The milliseconds of PyTorch's step with the fused Adam and of its call, on arrays from the CPU as ours."""
    import torch
    from torch.nn import functional

    torch.backends.cudnn.allow_tf32 = False
    module = case.torch()
    weights = {name: torch.from_numpy(np.array(array)) for name, array in case.weights(state).items()}
    module.load_state_dict(weights, strict=False)
    module = module.to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    *inputs, target = (torch.from_numpy(array) for array in case.feeds(np.random.default_rng(0)).values())

    def loss_of(target: Any, *inputs: Any) -> Any:
        output = module(*inputs)
        if case.loss == "mse":
            return functional.mse_loss(output, target)
        return functional.cross_entropy(output.flatten(0, -2), target.flatten())

    forward, call = loss_of, module
    if variant == "compiled":
        forward, call = torch.compile(loss_of), torch.compile(module)

    def step() -> float:
        optimizer.zero_grad()
        loss = forward(target.to(device), *(array.to(device) for array in inputs))
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def infer() -> Any:
        with torch.inference_mode():
            return call(*(array.to(device) for array in inputs)).cpu()

    times = milliseconds(step, seconds)
    module.eval()
    return times, milliseconds(infer, seconds)


def rows(device: str, names: tuple[str, ...], longest: float, seconds: float) -> Iterator[Row]:
    """A row for the draws and for each case, while there is time: a case is expected to take as long as the longest."""
    ends, slowest = time.monotonic() + longest, 0.0
    yield check_draws(device)
    checks = [(check_case, name) for name in names]
    checks[1:1] = [(check_reads, names[0]), (check_worker, names[0])]
    for check, name in checks:
        began = time.monotonic()
        if began + 1.5 * slowest > ends:
            yield {"case": name, "skipped": "no time is left"}
            continue
        try:
            yield check(name, device, seconds)
        except NablacError as error:  # the other cases tell more
            yield {"case": name, "same": False, "failed": str(error)}
        slowest = max(slowest, time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="of `benchmarks.cases`")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu  [default: cuda]")
    parser.add_argument("--longest", type=float, default=LONGEST, help="seconds of all  [default: 480]")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of each timing  [default: 2]")
    parser.add_argument("--json", type=Path, help="write the rows to this file as well")
    options = parser.parse_args()
    names = tuple(options.cases) or (SMALL if options.device == "cpu" else ON_GPU)
    written = []
    for row in rows(options.device, names, options.longest, options.seconds):
        written.append(row)
        print(json.dumps(row), flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(written, indent=1) + "\n", "utf-8")
    differing = [row["case"] for row in written if not row.get("same", True)]
    print(f"failed, or differ from NumPy: {', '.join(differing)}" if differing else "all agree with NumPy")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
