"""The files that contenders read, each written by a process: `python -m benchmarks.preparation KIND CASE FOLDER`.

What cannot be written leaves the reason in a file of the same name and `.txt`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import language_models
from benchmarks.cases import CASES
from benchmarks.contenders import WEIGHTS, Job

LONGEST = 600  # seconds


def weights(case: str, folder: Path) -> None:
    from benchmarks.our_graphs import weights_of
    from runtime.weights import save_weights

    save_weights(folder / WEIGHTS, weights_of(CASES[case]()))


def language(case: str, folder: Path) -> None:
    """The weights that transformers draws for a language model."""
    from safetensors.torch import save_file

    state = language_models.module(case).state_dict()
    save_file({name: tensor.clone() for name, tensor in state.items()}, folder / WEIGHTS)


def inference(case: str, folder: Path) -> None:
    """The file that `nablac compile` writes by default."""
    import onnx

    from benchmarks.our_graphs import model_of
    from compiler.onnx.exporter import export

    known = model_of(CASES[case]()).load(folder / WEIGHTS).for_target()
    onnx.save(export(known.graph, weights=known.weights), folder / "nablac.onnx")


def gradient(case: str, folder: Path) -> None:
    """The loss and all gradients, with the weights as inputs."""
    import onnx

    from benchmarks.our_graphs import source_of
    from compiler.onnx.exporter import export
    from compiler.passes.pipeline import optimize
    from compiler.training.gradients import gradient_graph

    graph = optimize(gradient_graph(source_of(CASES[case]()).spec(training=True)))
    onnx.save(export(graph, weights=None), folder / "gradient.onnx")


def torch_onnx(case: str, folder: Path) -> None:
    import torch

    from benchmarks.contenders.torch_eager import module_with_weights

    network = CASES[case]()
    module = module_with_weights(Job(case, "inference", "torch", 1, folder)).eval()
    inputs = tuple(torch.from_numpy(array) for array in network.inputs().values())
    torch.onnx.export(module, inputs, folder / "torch.onnx", dynamo=True, external_data=False, verbose=False)


def onnxsim(case: str, folder: Path) -> None:
    import onnx
    import onnxsim as simplifier

    simplified, _ = simplifier.simplify(onnx.load(folder / "torch.onnx"))
    onnx.save(simplified, folder / "onnxsim.onnx")


def onnx_ad(case: str, folder: Path) -> None:
    """Our loss, without any gradient of ours, differentiated by onnx-ad for every weight."""
    import onnx
    from onnx_ad import reverse

    from benchmarks.our_graphs import source_of
    from compiler.graph import Graph
    from compiler.onnx.exporter import export
    from compiler.passes.pipeline import optimize
    from compiler.training.losses import inputs_of, training_of
    from runtime.initialization import stored_operators

    spec = source_of(CASES[case]()).spec(training=True)
    loss = training_of(spec).loss
    graph = optimize(Graph(inputs_of(spec, [loss]), {"loss": loss}, {}, "loss", "", {}))
    names = [operator.path for operator in stored_operators(graph)]
    onnx.save(
        reverse(export(graph, weights=None), inputs=names, outputs=["loss"], layout="onnx"), folder / "onnx-ad.onnx"
    )


KINDS: dict[str, tuple[str, Callable[[str, Path], None]]] = {
    "weights": (WEIGHTS, weights),
    "language": (WEIGHTS, language),
    "inference": ("nablac.onnx", inference),
    "gradient": ("gradient.onnx", gradient),
    "torch.onnx": ("torch.onnx", torch_onnx),
    "onnxsim": ("onnxsim.onnx", onnxsim),
    "onnx-ad": ("onnx-ad.onnx", onnx_ad),
}
NEEDED = {"torch.onnx": ["torch.onnx"], "torch.onnx + onnxsim": ["torch.onnx", "onnxsim"], "onnx-ad": ["onnx-ad"]}


def prepare(case: str, work: str, contenders: list[str], folder: Path) -> None:
    """Fill a folder with what these contenders read for some work."""
    kinds = ["weights"] if work != "language" else []
    kinds += [work] if work in KINDS else []
    kinds += [kind for contender in contenders for kind in NEEDED.get(contender, [])]
    for kind in dict.fromkeys(kinds):
        name, _ = KINDS[kind]
        command = [sys.executable, "-m", "benchmarks.preparation", kind, case, str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            (folder / f"{name}.txt").write_text(f"{kind} took longer than {LONGEST} s", "utf-8")
        except subprocess.CalledProcessError as error:
            lines: list[Any] = error.stderr.strip().splitlines() or [f"{kind} ended with status {error.returncode}"]
            (folder / f"{name}.txt").write_text(f"{kind}: {lines[-1][:150]}", "utf-8")


if __name__ == "__main__":
    KINDS[sys.argv[1]][1](sys.argv[2], Path(sys.argv[3]))
