"""Train with gradients and update as two files, and onnxruntime alone: the same losses as by one file.

nablac compile --train --split specs/mlp.model -o mlp.step
python examples/split_step.py mlp.step specs/data/digits.npz

Between the two, gradients can be added up over several machines. The update writes its results over the state.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

folder, data_file = map(Path, sys.argv[1:])
gradient, update = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("gradient", "update"))
state = load_file(folder / "state.safetensors")
kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


def run(session: onnxruntime.InferenceSession, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a file by name."""
    feeds = {node.name: np.asarray(values[node.name], kinds.get(node.type)) for node in session.get_inputs()}
    return dict(zip([node.name for node in session.get_outputs()], session.run(None, feeds), strict=True))


data = dict(np.load(data_file))
for step in range(1, 61):
    indices = np.arange((step - 1) * 10, step * 10) * 7 % 150  # ten of the 150 digits
    batch = {name: array[indices] for name, array in data.items()}
    values = {**state, **batch, "step": step, "seed": step, "rate": 1.0}  # only `plateau` needs a rate
    outputs = run(gradient, values)
    outputs |= run(update, {**values, **outputs})
    for name, array in outputs.items():
        if name.endswith(".next"):
            state[name.removesuffix(".next")][...] = array
    print(step, f"{outputs['loss']:.6f}")
