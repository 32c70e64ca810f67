"""Nodes of exported graphs, nested ones included: ours, torch.onnx's, and after the optimisers of others.

`python -m benchmarks.node_counts` prints a table; `--json FILE` writes it. Each optimiser runs in a process of its own,
since some crash, and its result must load and compute what the graph before it did: else it is marked `broken`, or
`differs`. Some nodes they remove are wanted, though random inputs do not show it: onnxscript drops `+ 1e-8` before Adam
divides, and onnxslim and onnxsim drop the reshape that refuses an empty sequence before an LSTM or a GRU. The
others are in docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.torch_networks import NETWORKS, Network
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import Program, load, program_of
from compiler.onnx.exporter import export
from compiler.passes.known_weights import with_known_weights
from compiler.passes.pipeline import optimize
from compiler.training.gradients import gradient_graph
from compiler.training.step import training_step
from grammar.source import Source
from runtime.initialization import initialize

SPECS = Path(__file__).parents[1] / "specs"
OPTIMISERS: dict[str, Callable[[Any, onnx.ModelProto], onnx.ModelProto]] = {
    "onnxslim": lambda tool, model: tool.slim(model),
    "onnxsim": lambda tool, model: tool.simplify(model)[0],
    "onnxscript.optimizer": lambda tool, model: tool.optimize(model),
}
_LONGEST = 60  # seconds of one optimiser


def count(graph: onnx.GraphProto) -> int:
    """The nodes of a graph and of its nested graphs."""
    nested = (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))
    return len(graph.node) + sum(map(count, nested))


def our_graphs(program: Program, preset: str | None, kinds: tuple[str, ...]) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The exported graphs of a program's models by kind."""
    for defined in program.models:
        source = TextSource(program, model=defined.name, preset=preset)
        training = source.spec(training=True)
        if "inference" in kinds:
            graph = optimize(source.spec(training=False).graph)
            known = with_known_weights(graph, _not_special(initialize(graph, 0)))
            yield f"{defined.name}, inference", export(known.graph, weights=known.weights)
        if training.training is not None and "gradient" in kinds:
            yield f"{defined.name}, gradient", export(optimize(gradient_graph(training)))
        if training.training is not None and "step" in kinds:
            yield f"{defined.name}, step", export(optimize(training_step(training).graph))


def _not_special(weights: Any) -> dict[str, np.ndarray]:
    """The weights without zeros and ones, of which optimisers would make something that no trained model has."""
    random = np.random.default_rng(0)
    return {
        path: (np.abs(array) + 0.1 + 0.1 * random.random(array.shape)).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for path, array in weights.items()
    }


def torch_graph(network: Network, opset: int) -> onnx.ModelProto:
    """The graph that torch.onnx writes, with its own optimiser, for inputs of one shape: fewer nodes than for any."""
    import torch

    module, inputs = network.torch()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():  # no zeros and ones either
                tensor.copy_(tensor.abs() + 0.1 + 0.1 * torch.rand_like(tensor))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "torch.onnx"
        torch.onnx.export(module.eval(), inputs, path, dynamo=True, opset_version=opset, verbose=False)
        return onnx.load(path)


def counts_of(model: onnx.ModelProto) -> dict[str, int | str]:
    """The nodes of a model as it is, and after each optimiser."""
    row: dict[str, int | str] = {"written": count(model.graph)}
    processes = get_context("forkserver")  # started once, with what the optimisers import
    processes.set_forkserver_preload(["__main__", *OPTIMISERS])
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        for name in OPTIMISERS:
            if importlib.util.find_spec(name.partition(".")[0]) is None:
                row[name] = "not installed"
                continue
            after.unlink(missing_ok=True)
            process = processes.Process(target=optimise, args=(name, before, after))
            process.start()
            process.join(_LONGEST)
            if process.exitcode != 0:
                process.kill()
                row[name] = "failed"
                continue
            number = count(onnx.load(after).graph)
            verdict = compare(before, after)
            row[name] = number if verdict == "same" else f"{number} {verdict}"
    return row


def optimise(name: str, before: Path, after: Path) -> None:
    """Write the file that an optimiser makes of another."""
    onnx.save(OPTIMISERS[name](importlib.import_module(name), onnx.load(before)), after)


def compare(before: Path, after: Path) -> str:
    """Whether two files compute the same of random inputs, by onnxruntime with its optimisation off."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        sessions = [ort.InferenceSession(str(path), options) for path in (before, after)]
        feeds = _feeds(sessions[0])
        wanted, got = (dict(zip([out.name for out in s.get_outputs()], s.run(None, feeds))) for s in sessions)
    except Exception:  # onnxruntime has many kinds of errors, all of which are the answer here
        return "broken"
    alike = wanted.keys() == got.keys() and all(
        np.allclose(np.asarray(got[name], np.float64), np.asarray(array, np.float64), 1e-3, 1e-4, equal_nan=True)
        for name, array in wanted.items()
    )
    return "same" if alike else "differs"


def _feeds(session: Any) -> dict[str, np.ndarray]:
    """Random inputs: indices that are in any range, and small positive numbers, since states may be squares."""
    random = np.random.default_rng(0)
    dtypes = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_, "tensor(double)": float}
    feeds = {}
    for slot in session.get_inputs():
        shape = [size if isinstance(size, int) else 4 for size in slot.shape]
        dtype = dtypes.get(slot.type, np.float32)
        numbers = random.integers(0, 2, shape) if dtype in (np.int64, np.int32) else random.random(shape) * 0.2 + 0.1
        feeds[slot.name] = np.asarray(numbers, dtype)
    return feeds


def rows(names: list[str], kinds: tuple[str, ...], opset: int) -> Iterator[tuple[str, dict[str, int | str]]]:
    """Every graph with its counts: the specs, then the networks that PyTorch has too."""
    for path in sorted(SPECS.glob("*.model")):
        name = f"specs/{path.stem}"
        if not names or name in names:
            for kind, model in our_graphs(load(path), None, kinds):
                yield f"{name}: {kind}", counts_of(model)
    for name, network in NETWORKS.items():
        if names and name not in names:
            continue
        program = program_of(Source(f"{name}.model", network.text)) if network.text else None
        program = program or load(SPECS / f"{network.spec}.model")
        for _, model in our_graphs(program, network.preset, ("inference",)):
            yield f"{name}: ours", counts_of(model)
        try:
            yield f"{name}: torch.onnx", counts_of(torch_graph(network, opset))
        except ImportError as error:
            print(f"{name}: {error.name} is not installed, so that there is nothing to compare with", file=sys.stderr)
        except Exception as error:  # torch.onnx has many kinds of errors too
            print(f"{name}: torch.onnx wrote nothing: {type(error).__name__}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="specs/NAME, and networks  [default: all]")
    parser.add_argument("--kinds", nargs="+", default=["inference", "gradient", "step"])
    parser.add_argument("--opset", type=int, default=24, help="of torch.onnx")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    options = parser.parse_args()
    table: dict[str, dict[str, int | str]] = {}
    print(f"{'graph':<44}{'written':>10}" + "".join(f"{name:>22}" for name in OPTIMISERS))
    for name, row in rows(options.names, tuple(options.kinds), options.opset):
        table[name] = row
        print(f"{name:<44}{row['written']:>10}" + "".join(f"{row[tool]!s:>22}" for tool in OPTIMISERS), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
