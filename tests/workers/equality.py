"""`python -m tests.workers.equality`: what 2 and 4 workers learn in 50 steps, against one with the whole batch.

Each tensor is compared by its norm, and all of them as one vector; the history by its numbers. In f64 both agree to
1e-12. In f32 they agree to 1e-6, or differ by rounding alone: then the workers' run is no farther from the run in f64
than the single one is, by a factor of 2. A parameter whose true gradient is zero, such as the bias of an attention's
keys, is moved by Adam along rounding errors; it is recognised by how little it moves in f64, and is listed by itself.
onnxruntime has no convolution in f64: there NumPy's run takes its part. `--engine mpi` and `--engine ray` start
processes instead of threads.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compiler.types import DType
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from runtime.workers.collective import Collective
from tests.models import text_source
from tests.workers.launching import ENVIRONMENT, command
from tests.workers.ray_actors import run_on_ray
from tests.workers.threads import run_in_threads

BATCH, STEPS, EPOCHS = 16, 50, 5
EXAMPLES = BATCH * STEPS // EPOCHS * 5 // 4  # a fifth is for validation
STILL = 1e-7  # how far Adam moves a parameter at most in f64 whose true gradient is zero
NO_F64 = ("CNN", "ort")
LIMITS = {"f64": 1e-12, "f32": 1e-6}
TRAIN = """
train M {{
    target t: {target}
    loss {loss}
    optimizer adam(lr: 0.01); epochs 5; seed 4; batch 16; validation 0.2; metric {metric}
}}
"""
CLASSES = TRAIN.format(target="i64[batch]", loss="cross_entropy(y, t)", metric="accuracy(y, t)")
NUMBERS = TRAIN.format(target="[batch, 1]", loss="mse(y, t)", metric="mae(y, t)")
MODELS = {
    "MLP": (
        "model M { input x: [batch, 12]; y = x -> Dense(32) -> relu -> Dropout(0.2) -> Dense(5); output y }" + CLASSES,
        (12,),
    ),
    "CNN": (
        """model M {
            input x: [batch, 1, 8, 8]
            y = x -> Conv2D(6, 3, bias: false) -> BatchNorm() -> relu -> MaxPool2D(2)
            y = y -> Conv2D(8, 3, bias: false) -> BatchNorm() -> relu
            y = y -> Flatten() -> Dense(5)
            output y
        }"""
        + CLASSES,
        (1, 8, 8),
    ),
    "LSTM": ("model M { input x: [batch, time, 3]; y = x -> LSTM(12) -> Dense(1); output y }" + NUMBERS, (7, 3)),
    "Transformer": (
        """model M {
            input x: [batch, time, 8]
            y = mean(x -> TransformerEncoder(2, 2, 16), axis: 1) -> Dense(1)
            output y
        }"""
        + NUMBERS,
        (6, 8),
    ),
}
Result = tuple[dict[str, np.ndarray], dict[str, list[float]]]


def data_of(shape: tuple[int, ...], of_classes: bool) -> dict[str, np.ndarray]:
    """Random inputs, and targets that depend on them."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(EXAMPLES, *shape))
    score = x.reshape(EXAMPLES, -1).sum(axis=1)
    classes = np.digitize(score, np.quantile(score, [0.2, 0.4, 0.6, 0.8]))
    return {"x": x, "t": classes if of_classes else np.sin(score)[:, None]}


def trained(model: str, backend: str, dtype: str, collective: Collective | None) -> Result:
    """The last state and the history of a run of one worker, or of all of them."""
    text, shape = MODELS[model]
    options = Options(backend=backend, sync_batch_norm=collective is not None)
    training = Training(text_source(text, dtype=DType(dtype)), options, collective=collective)
    training.examples = from_arrays(data_of(shape, "cross_entropy" in text), "data")
    loop = training.loop()
    loop.run()
    assert loop.position.step == STEPS
    return {path: array.copy() for path, array in loop.stepper.state().items()}, loop.position.history


def joined(model: str, backend: str, dtype: str, workers: int, engine: str) -> Result:
    """The same by several workers, of which the first one's are returned."""
    work = partial(trained, model, backend, dtype)
    if engine == "threads":
        return run_in_threads(workers, work, 600.0)[0]
    if engine == "ray":
        return run_on_ray(workers, work)[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.npz"
        launcher = command(workers)[: command(workers).index(sys.executable)]
        program = [sys.executable, "-m", "tests.workers.equality", "--worker", model, backend, dtype, str(file)]
        subprocess.run([*launcher, *program], env=ENVIRONMENT, check=True, timeout=600)
        with np.load(file) as stored:
            kinds: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
            for name in stored.files:
                kind, _, path = name.partition("|")
                kinds[kind == "history"][path] = stored[name]
        return kinds


def worker(model: str, backend: str, dtype: str, file: str) -> None:
    """What each process under `mpirun` does."""
    from runtime.workers.mpi import MpiCollective

    collective = MpiCollective(600.0, lambda seconds: None)
    state, history = trained(model, backend, dtype, collective)
    if collective.rank == 0:
        arrays: dict[str, Any] = {f"state|{path}": array for path, array in state.items()}
        arrays |= {f"history|{name}": np.array(values) for name, values in history.items()}
        np.savez(file, **arrays)


def whole_distance(result: Result, other: Result, paths: list[str]) -> float:
    """The relative difference of all tensors as one vector."""
    state, other_state = ({path: one[0][path].astype(np.float64) for path in paths} for one in (result, other))
    squares = [np.sum((state[path] - other_state[path]) ** 2) for path in paths]
    return float(np.sqrt(sum(squares) / sum(np.sum(other_state[path] ** 2) for path in paths)))


def distance(result: Result, other: Result, paths: list[str]) -> tuple[float, str]:
    """The largest relative difference of a tensor's norm, and of a number of the history, with its name."""
    tensors = [
        (float(np.linalg.norm(result[0][path] - other[0][path]) / np.linalg.norm(other[0][path])), path)
        for path in paths
    ]
    columns = [
        (float(np.max(np.abs(np.subtract(result[1][name], values)) / np.maximum(np.abs(values), 1e-30))), name)
        for name, values in other[1].items()
        if np.any(values)
    ]
    return max(tensors + columns)


def main() -> int:
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--workers", nargs="*", type=int, default=[2, 4])
    parser.add_argument("--engine", choices=("threads", "mpi", "ray"), default="threads")
    options = parser.parse_args()
    failures = 0
    against = ("f64, against one", "f32, against one", "f32 of workers, against f64", "f32 of one, against f64")
    print(f"| | workers | {' | '.join(against)} | all f32 weights as one vector, against one |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        for backend in ("numpy", "ort"):
            failures += sum(not fine for fine in compare(model, backend, options.workers, options.engine))
    print(f"{failures} rows differ")
    return 1 if failures else 0


def compare(model: str, backend: str, numbers: list[int], engine: str) -> Iterator[bool]:
    """Print a row for each number of workers; whether each is as it should be."""
    dtypes = ["f32"] if (model, backend) == NO_F64 else ["f64", "f32"]
    alone = {dtype: trained(model, backend, dtype, None) for dtype in dtypes}
    exact = alone["f64"] if "f64" in alone else trained(model, "numpy", "f64", None)
    moves, still = _moving(model, exact)
    own = distance(alone["f32"], exact, moves)
    for workers in numbers:
        shared = {dtype: joined(model, backend, dtype, workers, engine) for dtype in dtypes}
        differences = {dtype: distance(shared[dtype], alone[dtype], moves) for dtype in dtypes}
        theirs = distance(shared["f32"], exact, moves)
        fine = all(differences[dtype][0] <= LIMITS[dtype] for dtype in dtypes)
        rounding = differences.get("f64", (0.0,))[0] <= LIMITS["f64"] and theirs[0] <= 2 * own[0]
        shown = {"f64": ("", ""), **{dtype: (f"{number:.1e}", name) for dtype, (number, name) in differences.items()}}
        cells = [*shown.values(), *((f"{number:.1e}", name) for number, name in (theirs, own))]
        ending = "" if fine else " rounding alone" if rounding else " DIFFERENT"
        whole = whole_distance(shared["f32"], alone["f32"], moves)
        shown_cells = " | ".join(map(" ".join, cells))
        print(f"| {model}, {backend} | {workers} | {shown_cells} | {whole:.1e} |{ending}", flush=True)
        for path in still:
            most = float(np.max(np.abs(shared["f32"][0][path] - alone["f32"][0][path])))
            print(f"|   `{path}`, true gradient zero | {workers} | | {most:.1e} absolute | | | |", flush=True)
        yield fine or rounding


def _moving(model: str, result: Result) -> tuple[list[str], list[str]]:
    """The parameters and buffers that a run in f64 moves, and those that it does not; no states of the optimizer."""
    text, _ = MODELS[model]
    first = Training(text_source(text, dtype=DType.F64), Options()).first_state()
    paths = [path for path in result[0] if not path.startswith("optimizer/") and result[0][path].dtype.kind == "f"]
    still = [path for path in paths if np.max(np.abs(result[0][path] - first[path])) <= STILL]
    return [path for path in paths if path not in still], still


if __name__ == "__main__":
    raise SystemExit(main())
