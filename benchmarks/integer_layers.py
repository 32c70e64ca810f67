"""Layers with random weights in f32 and in integers on onnxruntime: `python -m benchmarks.integer_layers [LAYER ...]`.

Milliseconds of processor time of a call on one thread, medians of alternating calls, and the megabytes of the files.
What integers gain depends on the processor: `lscpu` says whether it has VNNI.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

import nablac
from compiler.onnx.exporter import export
from compiler.passes.known_weights import KnownWeights
from compiler.passes.quantize import quantize
from compiler.passes.quantize_static import quantize_static, values_to_measure
from compiler.quantization_schemes import DYNAMIC, FOUR_BITS, STATIC, Choices
from runtime.onnx_session import OnnxRunner
from runtime.value_ranges import Calibration

_SECONDS = 10  # of a row
_FEWEST, _MOST = 15, 400  # calls of a file
_DENSE = "x -> Dense(1024) -> Dense(1024) -> Dense(1024)"
LAYERS: dict[str, tuple[str, tuple[int, ...]]] = {
    "three `Dense(1024)`, 1 row": (_DENSE, (1, 1024)),
    "three `Dense(1024)`, 64 rows": (_DENSE, (64, 1024)),
    "`LSTM(256)`, 8 x 64 steps": ("x -> LSTM(256, sequences: true)", (8, 64, 256)),
    "`GRU(256)`, 8 x 64 steps": ("x -> GRU(256, sequences: true)", (8, 64, 256)),
    "`TransformerEncoder(4, 4, 1024)`, 128 x 256": ("x -> TransformerEncoder(4, 4, 1024)", (1, 128, 256)),
    "two `Conv2D(64, 3)`, 32 x 32": (
        "x -> Conv2D(64, 3, activation: relu) -> Conv2D(64, 3, activation: relu)",
        (1, 64, 32, 32),
    ),
}
FORMS = {
    "f32": None,
    "int8": Choices(DYNAMIC),
    "int8, 7 bits": Choices(DYNAMIC, reduced=True),
    "static": Choices(STATIC),
    "static, 7 bits": Choices(STATIC, reduced=True),
    "int4": Choices(FOUR_BITS),
}


def converted(known: KnownWeights, choices: Choices | None, feeds: dict[str, np.ndarray]) -> KnownWeights:
    """A graph with its weights in the form that was chosen."""
    if choices is None:
        return known
    if not choices.scheme.calibrated:
        return quantize(known, choices).known
    calibration = Calibration(known, values_to_measure(known.graph))
    calibration.run(feeds)
    return quantize_static(known, choices, calibration.ranges).known


def measure(name: str) -> str:
    """One row of the table."""
    body, shape = LAYERS[name]
    sizes = ", ".join(["batch", *map(str, shape[1:])])
    model = nablac.compile(f"model M {{ input x: [{sizes}]\n output y = {body} }}")
    known = model.for_target(weights=model.draw_weights())
    feeds = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    files = []
    for choices in FORMS.values():
        integers = converted(known, choices, feeds)
        files.append(export(integers.graph, weights=integers.weights).SerializeToString())
    runners = [OnnxRunner(file, threads=1) for file in files]
    times: list[list[float]] = [[] for _ in runners]
    for runner in runners:
        runner.run(feeds)
    end = time.monotonic() + _SECONDS
    while len(times[0]) < _FEWEST or (len(times[0]) < _MOST and time.monotonic() < end):
        for runner, row in zip(runners, times, strict=True):
            start = time.process_time()
            runner.run(feeds)
            row.append(1000 * (time.process_time() - start))
    medians = "".join(f" {statistics.median(row):14.3f}" for row in times)
    return f"{name:45}{medians}   {', '.join(f'{len(file) / 1e6:.2f}' for file in files)}"


if __name__ == "__main__":
    print(f"{'':45}" + "".join(f" {name:>14}" for name in FORMS))
    for layer in sys.argv[1:] or LAYERS:
        print(measure(layer), flush=True)
