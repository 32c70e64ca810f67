"""Runs ONNX files in one client: `python client_runs.py CLIENT FORM FOLDER ...`, in the client's environment.

A folder has `BATCH.npz`, the inputs of a batch, and `names.json`, the names of inputs and outputs in the file's order.
FORM is `model`, for the file `model.onnx`, or `fixed`, for the files `fixedBATCH.onnx`. The outputs are written to
`CLIENT.BATCH.npz`; what a client refuses is an exception, whose last line is written to `CLIENT.error`. A folder that
takes too much of the processor's time ends the process. Imports nothing of nablac.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Client = Callable[[Path, Arrays, list[str]], Sequence[Any]]
BATCHES = (1, 3)
LIMIT = 60  # seconds of the processor for a folder, and for each program that is run for it


def openvino(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    import openvino as ov

    core = ov.Core()
    model = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = model({name: feeds[name] for name in (value.any_name for value in model.inputs)})
    return [results[model.output(name)] for name in outputs]


def tract(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    import tract as engine

    model = engine.onnx().load(str(file))
    order = [model.input_name(index) for index in range(model.input_count())]
    produced = [model.output_name(index) for index in range(model.output_count())]
    results = model.into_model().into_runnable().run([feeds[name] for name in order])
    arrays = [result.to_numpy() for result in results]
    by_name = dict(zip(produced, arrays, strict=True))
    return [by_name[name] for name in outputs] if set(outputs) <= by_name.keys() else arrays


def opencv(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    import cv2

    net = cv2.dnn.readNetFromONNX(str(file))
    for name, array in feeds.items():
        net.setInput(array, name)
    return list(net.forward(outputs))


def mnn(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    import _tools as tools
    import MNN.expr as expr
    from MNN import nn

    converted = file.with_suffix(".mnn")
    # Not by its command `mnnconvert`, which installs a package and sends statistics of its use.
    tools.mnnconvert(["", "-f", "ONNX", "--modelFile", str(file), "--MNNModel", str(converted), "--bizCode", "nablac"])
    if not converted.exists():
        raise RuntimeError("Error: the converter wrote no file")
    module = nn.load_module_from_file(str(converted), list(feeds), outputs)
    kinds = {"float32": expr.float, "int64": expr.int, "int32": expr.int, "bool": expr.int}
    inputs = []
    for array in feeds.values():
        narrow = array.astype(np.int32) if array.dtype != np.float32 else array
        shape = list(array.shape) or [1]
        inputs.append(expr.const(np.ascontiguousarray(narrow), shape, expr.NCHW, kinds[array.dtype.name]))
    results = module.forward(inputs)
    return [np.array(expr.convert(result, expr.NCHW).read()) for result in results]


def iree(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    import iree.runtime as runtime

    scripts = Path(sys.executable).parent
    text, compiled = file.with_suffix(".mlir"), file.with_suffix(".vmfb")
    _run([scripts / "iree-import-onnx", file, "-o", text])
    flags = ["--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu"]
    _run([scripts / "iree-compile", text, *flags, "--iree-llvmcpu-target-cpu=host", "-o", compiled])
    module = runtime.load_vm_flatbuffer_file(str(compiled), driver="local-task")
    name = next(key for key in module.vm_module.function_names if not key.startswith("__") and "$async" not in key)
    results = module[name](*feeds.values())
    return [np.asarray(result) for result in (results if isinstance(results, (tuple, list)) else [results])]


def tinygrad(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    from tinygrad import Tensor
    from tinygrad.nn.onnx import OnnxRunner

    results = OnnxRunner(str(file))({name: Tensor(array) for name, array in feeds.items()})
    return [results[name].numpy() for name in outputs]


def tvm(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    import onnx
    import tvm as framework
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(file), {name: list(array.shape) for name, array in feeds.items()})
    built = framework.compile(relax.transform.DecomposeOpsForInference()(module), target="llvm")
    machine = relax.VirtualMachine(built, framework.cpu())
    results = machine["main"](*(framework.runtime.tensor(array) for array in feeds.values()))
    return [result.numpy() for result in (results if not hasattr(results, "numpy") else [results])]


def onnx2torch(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    import torch
    from onnx2torch import convert

    with torch.no_grad():
        results = convert(str(file))(*map(torch.from_numpy, feeds.values()))
    return [result.numpy() for result in (results if isinstance(results, (tuple, list)) else [results])]


def pnnx(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    import pnnx as converter
    import torch

    names = {"float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32", "bool": "bool"}
    shapes = [f"[{','.join(map(str, array.shape))}]{names[array.dtype.name]}" for array in feeds.values()]
    tool = Path(converter.__file__).with_name("pnnx")
    _run([tool, file, f"inputshape={','.join(shapes)}"], cwd=file.parent)
    script = file.with_name(f"{file.stem}_pnnx.py")
    specification = importlib.util.spec_from_file_location("converted", script)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    os.chdir(file.parent)
    specification.loader.exec_module(module)
    with torch.no_grad():
        results = module.Model().float().eval()(*map(torch.from_numpy, feeds.values()))
    return [result.numpy() for result in (results if isinstance(results, (tuple, list)) else [results])]


def reference(file: Path, feeds: Arrays, outputs: list[str]) -> Sequence[Any]:
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(str(file)).run(outputs, feeds))


CLIENTS: dict[str, Client] = {
    client.__name__: client
    for client in (openvino, tract, opencv, mnn, iree, tinygrad, tvm, onnx2torch, pnnx, reference)
}


def _run(command: Sequence[Any], cwd: Path | None = None) -> None:
    limits = partial(resource.setrlimit, resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, preexec_fn=limits)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise RuntimeError(f"no result in {LIMIT} s")
    if done.returncode:
        raise RuntimeError(_error_line(done.stdout + done.stderr))


def _error_line(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line.lower()]
    return lines[0] if lines else _last_line(text)


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no message")


def last_line(text: str) -> str:
    """The line of an output that says what went wrong, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    faults = [line for line in lines if "rror" in line.split(":")[0] or "xception" in line.split(":")[0]]
    return " ".join((faults or lines or ["no message"])[-1].split())[:160]


def run_folder(client: str, form: str, work: Path) -> None:
    """Run the file of both batches, and write its outputs."""
    names = json.loads((work / "names.json").read_text("utf-8"))
    for batch in BATCHES:
        with np.load(work / f"{batch}.npz") as stored:
            feeds = {key: stored[key] for key in names["inputs"]}
        file = work / ("model.onnx" if form == "model" else f"{form}{batch}.onnx")
        results = CLIENTS[client](file, feeds, names["outputs"])
        arrays = {key: np.asarray(result) for key, result in zip(names["outputs"], results, strict=True)}
        np.savez(work / f"{client}.{batch}.npz", **arrays)


def main(client: str, form: str, *folders: str) -> None:
    """Run the files of all folders; one that a client refuses does not keep it from the next."""
    for folder in map(Path, folders):
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        try:
            run_folder(client, form, folder)
        except Exception:
            text = traceback.format_exc().replace(f"{folder}/", "")
            (folder / f"{client}.error").write_text(last_line(text), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
