"""Which clients run exported files, and compute right: `python -m benchmarks.clients ENVIRONMENTS.json [NAME ...]`.

Every case is written for `portable` and run at batches of 1 and 3 in each client, in a process with a time limit; the
results are compared with onnxruntime's, with its optimisation off. A client that refuses the file as it is gets a copy
whose sizes are numbers. Names restrict clients, targets and cases. The table is `docs/clients.md`; results are kept in
`WORK/results.json` with the client's version and the file's digest: what is known of the same ones is not run again,
unless `again` is among the names, so that a run can be cut and continued.

The JSON file has the Python of each client's environment, and what else the client needs:

    {"work": "FOLDER", "openvino": ["one/bin/python"], "web": ["node_modules"], "tinygrad": ["x/bin/python", "DEV=CPU"]}
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.client_cases import Built, Case, cases
from benchmarks.client_runs import BATCHES, LIMIT, last_line
from compiler.targets import ORT_CPU, PORTABLE, Target
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
_LONGEST = 600  # seconds of one run in all
_AT_ONCE = 6  # cases in one process
TARGETS = (PORTABLE, ORT_CPU)
_TOLERANCE = 1e-3  # relative to the largest magnitude of an output, or to 1

# "state": right, fixed, wrong or refused; "note": what happened; "version" of the client; "file": the file's digest
Outcome = dict[str, str]
_TOO_LONG = "no result in"  # how the notes of runs that took too much time begin


def prepare(case: Case, target: Target, folder: Path) -> None:
    """Write a case's files: the model, its copies with fixed sizes, inputs and expected outputs of both batches."""
    import onnxruntime as ort

    folder.mkdir(parents=True, exist_ok=True)
    built = case.build()
    model = built.write(target)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")
    names = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    (folder / "names.json").write_text(json.dumps({"inputs": names, "outputs": outputs}), "utf-8")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    for batch in BATCHES:
        feeds = feeds_of(built, batch, names, case.length)
        results = dict(zip(outputs, session.run(outputs, feeds), strict=True))
        np.savez(folder / f"{batch}.npz", **feeds)
        np.savez(folder / f"{batch}.expected.npz", **results)
        listed = {name: [array.dtype.name, array.shape, _numbers(array)] for name, array in feeds.items()}
        (folder / f"{batch}.json").write_text(json.dumps(listed), "utf-8")
        onnx.save(with_sizes(model, feeds, results), folder / f"fixed{batch}.onnx")


def feeds_of(built: Built, batch: int, names: list[str], length: int = Case.length) -> dict[str, np.ndarray]:
    """Random inputs, and the weights where they are inputs too."""
    sizes = sizes_from(built.graph, batch, length)
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


def run_all(client: str, environment: list[str], folders: list[Path]) -> dict[Path, Outcome]:
    """Run prepared cases at both batches: the files as they are, and those refused at once with fixed sizes."""
    outcomes = run_form(client, environment, "model", folders)
    refused = [
        folder
        for folder, outcome in outcomes.items()
        if outcome["state"] == "refused" and _TOO_LONG not in outcome["note"]
    ]
    for folder, second in run_form(client, environment, "fixed", refused).items():
        if second["state"] == "right":
            outcomes[folder] = {"state": "fixed", "note": outcomes[folder]["note"]}
        elif second["state"] == "wrong":
            outcomes[folder] = {"state": "wrong", "note": f"with fixed sizes, {second['note']}"}
    return outcomes


def run_form(client: str, environment: list[str], form: str, folders: list[Path]) -> dict[Path, Outcome]:
    """Run one form of prepared cases, in one process as long as the client does not end it."""
    outcomes: dict[Path, Outcome] = {}
    for folder in folders:
        for leftover in (*folder.glob(f"{client}.*"), *folder.glob("*.mnn"), *folder.glob("*pnnx*")):
            leftover.unlink(missing_ok=True)
    while waiting := [folder for folder in folders if folder not in outcomes]:
        ended = _start(client, environment, form, waiting)
        for folder in waiting:
            if (outcome := _outcome(client, folder)) is None:
                outcomes[folder] = {"state": "refused", "note": ended}
                break
            outcomes[folder] = outcome
            if client == "web" and outcome["state"] == "refused":
                break
    return outcomes


def _start(client: str, environment: list[str], form: str, folders: list[Path]) -> str:
    """Run a client on folders; what ended it, where that was not the last of them."""
    program, *settings = environment
    script = [program, "benchmarks/client_runs.py", client]
    if client == "web":
        script = ["node", "benchmarks/client_web.mjs", program]
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    own["PATH"] = os.pathsep.join([str(Path(program).parent), "/usr/local/bin", "/usr/bin", "/bin"])  # no other pip
    own |= dict(setting.split("=", 1) for setting in settings)
    command = [*script, form, *map(str, folders)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            env=own,
            timeout=_LONGEST * len(folders),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{_TOO_LONG} {_LONGEST} s"
    if -done.returncode in (signal.SIGPROF, signal.SIGXCPU, signal.SIGKILL):
        return f"{_TOO_LONG} {LIMIT} s"
    return f"ended by signal {-done.returncode}" if done.returncode < 0 else last_line(done.stderr + done.stdout)


def _outcome(client: str, folder: Path) -> Outcome | None:
    """What a client left in a folder; None if nothing."""
    if (error := folder / f"{client}.error").exists():
        return {"state": "refused", "note": error.read_text("utf-8")}
    written = {batch: folder / f"{client}.{batch}.{'json' if client == 'web' else 'npz'}" for batch in BATCHES}
    if not all(file.exists() for file in written.values()):
        return None
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


def version_of(client: str, environment: list[str]) -> str:
    """The version of a client."""
    if client == "web":
        package = Path(environment[0]) / "onnxruntime-web" / "package.json"
        return str(json.loads(package.read_text("utf-8"))["version"])
    code = f"import importlib.metadata as m; print(m.version('{_PACKAGES.get(client, client)}'))"
    return subprocess.run([environment[0], "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def batched(folders: Iterable[Path], count: int) -> Iterator[list[Path]]:
    """Folders by at most so many."""
    rest = iter(folders)
    while part := list(islice(rest, count)):
        yield part


def digest_of(folder: Path) -> str:
    """What tells a prepared case's file from others, but for where in a checkout its nodes are from."""
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        del node.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:16]


def select(names: Collection[str]) -> list[Case]:
    """The cases that the names select: all if no name is of a case."""
    every = list(cases())
    titles = {case: {case.name, case.kind, f"{case.kind}: {case.name}"} for case in every}
    named = {title for case in every for title in titles[case]} & {*names}
    return [case for case in every if not named or titles[case] & named]


def main(settings: str, *names: str) -> None:
    """Run what the names select, and write the table of all results."""
    environments: dict[str, Any] = json.loads(Path(settings).read_text("utf-8"))
    work = Path(environments.pop("work"))
    store = work / "results.json"
    record: dict[str, Any] = json.loads(store.read_text("utf-8")) if store.exists() else {"results": {}, "versions": {}}
    clients = [name for name in environments if name in names] or list(environments)
    for client in clients:
        record["versions"][client] = version_of(client, environments[client])
    for target in [target for target in TARGETS if target.name in names] or TARGETS:
        prepared: dict[Path, dict[str, Outcome]] = {}
        rows = record["results"].setdefault(target.name, {})
        for case in select(names):
            key = f"{case.kind}: {case.name}"
            folder = work / target.name / key.replace(": ", "-").replace(" ", "_").replace(",", "")
            try:
                prepare(case, target, folder)
            except NablacError as error:
                rows[key] = {"": {"state": "not written", "note": error.diagnostics[0].message}}
                print(key, "not written:", error.diagnostics[0].message)
                continue
            digest = digest_of(folder)
            known = {client: outcome for client, outcome in rows.get(key, {}).items() if outcome.get("file") == digest}
            rows[key] = prepared[folder] = known
        for client in clients:
            version = record["versions"][client]
            waiting = [
                folder
                for folder, outcomes in prepared.items()
                if "again" in names or outcomes.get(client, {}).get("version") != version
            ]
            for folders in batched(waiting, _AT_ONCE):
                for folder, outcome in run_all(client, environments[client], [*folders]).items():
                    prepared[folder][client] = outcome | {"version": version, "file": digest_of(folder)}
                    print(f"{target.name}: {folder.name}: {client}: {outcome['state']} {outcome['note']}", flush=True)
                _save(record, store)
    _save(record, store)


def _save(record: dict[str, Any], store: Path) -> None:
    """Write the results, and the table of them."""
    from benchmarks.client_table import write_table

    record["date"] = str(date.today())
    store.write_text(json.dumps(record, indent=1), "utf-8")
    write_table(record, ROOT / "docs" / "clients.md", TITLES)


if __name__ == "__main__":
    main(*sys.argv[1:])
