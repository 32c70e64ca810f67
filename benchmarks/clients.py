"""Which clients run exported files, and compute right: `python -m benchmarks.clients ENVIRONMENTS.json [NAME ...]`.

Every case is written for `portable` and run at batches of 1 and 3 in each client, in a process with a time limit; the
results are compared with onnxruntime's, with its optimisation off. A client that refuses the file as it is gets a copy
whose sizes are numbers. Names restrict clients and cases. The table is `docs/clients.md`; results are kept in
`WORK/results.json`, so that a run can be continued or repeated in part.

The JSON file has the Python of each client's environment, and what else the client needs:

    {"work": "FOLDER", "openvino": ["one/bin/python"], "web": ["node_modules"], "tinygrad": ["x/bin/python", "DEV=CPU"]}
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.client_cases import Built, Case, cases
from compiler.targets import PORTABLE
from grammar.diagnostics import NablacError
from runtime.feeds import random_feeds, sizes_from

ROOT = Path(__file__).parents[1]
TITLES = {
    "web": "onnxruntime-web",
    "openvino": "OpenVINO",
    "tract": "tract",
    "opencv": "OpenCV",
    "mnn": "MNN",
    "iree": "IREE",
    "tinygrad": "tinygrad",
    "tvm": "TVM",
    "onnx2torch": "onnx2torch",
    "pnnx": "pnnx",
    "reference": "onnx.reference",
}
_PACKAGES = {
    "opencv": "opencv-python-headless",
    "mnn": "MNN",
    "iree": "iree-base-compiler",
    "tvm": "apache-tvm",
    "reference": "onnx",
}
_BATCHES, _LENGTH = (1, 3), 6
_LIMIT, _LONGEST = 100, 600  # seconds of one run, of the processor and in all
_TOLERANCE = 1e-3  # relative to the largest magnitude of an output, or to 1

Outcome = dict[str, str]  # "state": right, fixed, wrong or refused; "note": what happened


def prepare(case: Case, folder: Path) -> Path:
    """Write a case's files: the model, its copies with fixed sizes, inputs and expected outputs of both batches."""
    import onnxruntime as ort

    folder.mkdir(parents=True, exist_ok=True)
    built = case.build()
    model = built.write(PORTABLE)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")
    names = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    (folder / "names.json").write_text(json.dumps({"inputs": names, "outputs": outputs}), "utf-8")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    for batch in _BATCHES:
        feeds = feeds_of(built, batch, names)
        results = dict(zip(outputs, session.run(outputs, feeds), strict=True))
        np.savez(folder / f"{batch}.npz", **feeds)
        np.savez(folder / f"{batch}.expected.npz", **results)
        listed = {name: [array.dtype.name, array.shape, _numbers(array)] for name, array in feeds.items()}
        (folder / f"{batch}.json").write_text(json.dumps(listed), "utf-8")
        onnx.save(with_sizes(model, feeds, results), folder / f"fixed{batch}.onnx")
    return folder


def feeds_of(built: Built, batch: int, names: list[str]) -> dict[str, np.ndarray]:
    """Random inputs, and the weights where they are inputs too."""
    sizes = sizes_from(built.graph, batch, _LENGTH)
    feeds = dict(random_feeds(built.graph, sizes, seed=batch))
    for name, value in (built.fixed or {}).items():
        if name in feeds:
            feeds[name] = np.array(value, feeds[name].dtype)
    return {name: np.asarray(feeds[name] if name in feeds else built.weights[name]) for name in names}


def with_sizes(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], results: Mapping[str, np.ndarray]
) -> onnx.ModelProto:
    """A copy of a model with the sizes of these inputs and outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in (*copy.graph.input, *copy.graph.output):
        shape = (feeds if value.name in feeds else results)[value.name].shape
        value.type.tensor_type.shape.CopyFrom(onnx.helper.make_tensor_type_proto(1, shape).tensor_type.shape)
    return onnx.shape_inference.infer_shapes(copy, data_prop=True)


def run(client: str, environment: list[str], folder: Path) -> Outcome:
    """Run a prepared case at both batches: the file as it is, else with fixed sizes."""
    first = _run(client, environment, folder, dict.fromkeys(_BATCHES, "model.onnx"))
    if first["state"] != "refused" or "no result" in first["note"]:
        return first
    second = _run(client, environment, folder, {batch: f"fixed{batch}.onnx" for batch in _BATCHES})
    return {"state": "fixed", "note": first["note"]} if second["state"] == "right" else second


def _run(client: str, environment: list[str], folder: Path, files: Mapping[int, str]) -> Outcome:
    program, *settings = environment
    written = {batch: folder / f"{client}.{batch}.{'json' if client == 'web' else 'npz'}" for batch in files}
    for leftover in (*written.values(), *folder.glob("*.mnn"), *folder.glob("*pnnx*")):
        leftover.unlink(missing_ok=True)
    script = [program, "benchmarks/client_runs.py", client]
    if client == "web":
        script = ["node", "benchmarks/client_web.mjs", program]
    command = [*script, str(folder), *(f"{file}={batch}" for batch, file in files.items())]
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    own["PATH"] = os.pathsep.join([str(Path(program).parent), "/usr/local/bin", "/usr/bin", "/bin"])  # no other pip
    own |= dict(setting.split("=", 1) for setting in settings)
    try:
        done = subprocess.run(
            ["bash", "-c", f'ulimit -t {_LIMIT}; exec "$@"', "client", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            env=own,
            timeout=_LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"state": "refused", "note": f"no result in {_LIMIT} s"}
    if done.returncode or not all(file.exists() for file in written.values()):
        if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
            return {"state": "refused", "note": f"no result in {_LIMIT} s"}
        if done.returncode < 0:
            return {"state": "refused", "note": f"ended by signal {-done.returncode}"}
        return {"state": "refused", "note": last_line((done.stderr + done.stdout).replace(f"{folder}/", ""))}
    for batch, file in written.items():
        results = read_web(file) if client == "web" else dict(np.load(file))
        with np.load(folder / f"{batch}.expected.npz") as stored:
            outcome = compare({name: stored[name] for name in stored.files}, results, batch)
        if outcome["state"] != "right":
            return outcome
    return {"state": "right", "note": ""}


def compare(expected: Mapping[str, np.ndarray], results: Mapping[str, np.ndarray], batch: int) -> Outcome:
    """Whether all outputs are onnxruntime's to within rounding."""
    for name, wanted in expected.items():
        result = np.asarray(results[name])
        if result.squeeze().shape != wanted.squeeze().shape:
            shapes = f"`{name}` is {list(result.shape)}, not {list(wanted.shape)}"
            return {"state": "wrong", "note": f"batch {batch}: {shapes}"}
        result = result.reshape(wanted.shape).astype(np.float64)
        scale = max(1.0, float(np.max(np.abs(wanted.astype(np.float64)), initial=0)))
        error = float(np.max(np.abs(result - wanted), initial=0)) / scale
        if not error <= _TOLERANCE:
            return {"state": "wrong", "note": f"batch {batch}: `{name}` differs by {error:.1g}"}
    return {"state": "right", "note": ""}


def read_web(file: Path) -> dict[str, np.ndarray]:
    """The outputs that the script for node wrote."""
    return {
        name: np.array([float(number) for number in numbers]).reshape([int(size) for size in shape])
        for name, (_, shape, numbers) in json.loads(file.read_text("utf-8")).items()
    }


def _numbers(array: np.ndarray) -> list[Any]:
    numbers = array.reshape(-1).tolist()
    return [str(number) for number in numbers] if array.dtype == np.int64 else numbers


def last_line(text: str) -> str:
    """The line of an output that says what went wrong, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    faults = [line for line in lines if "rror" in line.split(":")[0] or "xception" in line.split(":")[0]]
    return " ".join((faults or lines or ["no message"])[-1].split())[:160]


def version_of(client: str, environment: list[str]) -> str:
    """The version of a client."""
    if client == "web":
        package = Path(environment[0]) / "onnxruntime-web" / "package.json"
        return str(json.loads(package.read_text("utf-8"))["version"])
    code = f"import importlib.metadata as m; print(m.version('{_PACKAGES.get(client, client)}'))"
    return subprocess.run([environment[0], "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def main(settings: str, *names: str) -> None:
    """Run what the names select, and write the table of all results."""
    from benchmarks.client_table import write_table

    environments: dict[str, Any] = json.loads(Path(settings).read_text("utf-8"))
    work = Path(environments.pop("work"))
    store = work / "results.json"
    record: dict[str, Any] = json.loads(store.read_text("utf-8")) if store.exists() else {"results": {}, "versions": {}}
    clients = [name for name in environments if name in names] or list(environments)
    chosen = [case for case in cases() if {case.name, case.kind, f"{case.kind}: {case.name}"} & {*names}] or list(
        cases()
    )
    for client in clients:
        record["versions"][client] = version_of(client, environments[client])
    for case in chosen:
        key = f"{case.kind}: {case.name}"
        folder = work / key.replace(": ", "-").replace(" ", "_").replace(",", "")
        try:
            prepare(case, folder)
        except NablacError as error:
            record["results"][key] = {"": {"state": "not written", "note": error.diagnostics[0].message}}
            print(key, "not written:", error.diagnostics[0].message)
            continue
        for client in clients:
            outcome = run(client, environments[client], folder)
            record["results"].setdefault(key, {})[client] = outcome
            print(f"{key}: {client}: {outcome['state']} {outcome['note']}", flush=True)
            store.write_text(json.dumps(record, indent=1), "utf-8")
    record["date"] = str(date.today())
    store.write_text(json.dumps(record, indent=1), "utf-8")
    write_table(record, ROOT / "docs" / "clients.md", TITLES)


if __name__ == "__main__":
    main(*sys.argv[1:])
