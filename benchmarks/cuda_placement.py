"""Where onnxruntime's CUDA provider puts the nodes of the specs, beside what its table of kernels says.

    python -m benchmarks.cuda_placement ENVIRONMENT/bin/python [SPEC...]

ENVIRONMENT is a virtual environment with onnxruntime-gpu; no GPU is needed (see `stand_in_gpu`). For each inference,
gradient and training step: nodes on the GPU and on the processor, and those on the processor that are not arithmetic on
sizes. The exit status is 1 if a node leaves the GPU that the table has a kernel for.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx

from benchmarks.stand_in_gpu import places
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import load
from compiler.graph import Graph
from compiler.onnx.device import computing_nodes, leaving_nodes
from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize
from compiler.targets import ORT_CUDA
from compiler.training.gradients import gradient_graph
from compiler.training.step import training_step

SPECS = Path(__file__).parents[1] / "specs"


def graphs_of(path: Path) -> Iterator[tuple[str, Graph]]:
    """The graphs of a file's models: inference, and the gradient and the training step where there is a train block."""
    program = load(path)
    for defined in program.models:
        source = TextSource(program, model=defined.name)
        yield f"{defined.name}, inference", source.spec(training=False).graph
        training = source.spec(training=True)
        if training.training is not None:
            yield f"{defined.name}, gradient", gradient_graph(training)
            yield f"{defined.name}, step", training_step(training).graph


def main(python: str, *names: str) -> int:
    """Print a line for each graph; returns the exit status."""
    unexpected = 0
    with tempfile.TemporaryDirectory() as folder:
        models = {}
        for path in sorted(SPECS.glob("*.model")):
            if names and path.stem not in names:
                continue
            for kind, graph in graphs_of(path):
                model = export(optimize(graph, ORT_CUDA), target=ORT_CUDA)
                file = Path(folder) / f"{len(models)}.onnx"
                onnx.save(model, file)
                models[f"{path.stem}: {kind}"] = file, model
        placed = places(python, *(file for file, _ in models.values()))
        for (title, (_, model)), rows in zip(models.items(), placed, strict=True):
            counts = Counter(provider for provider, *_ in rows)
            computing = computing_nodes(model)
            on_cpu = [row for row in rows if row[0] == "CPUExecutionProvider"]
            leaving = Counter(operator for _, _, operator, name in on_cpu if name in computing)
            said = Counter({row.onnx_type: row.count for row in leaving_nodes(model, ORT_CUDA)})
            unexpected += (leaving - said).total()
            cuda, cpu = counts["CUDAExecutionProvider"], counts["CPUExecutionProvider"]
            print(f"{title:<44}{cuda:>6} on the GPU,{cpu:>5} not; leave: {dict(leaving)}, said: {dict(said)}")
    print(f"{len(models)} graphs, {unexpected} nodes leave the GPU that the table has a kernel for")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
