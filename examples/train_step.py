"""Train with a compiled step and onnxruntime alone.

nablac compile --train specs/mlp.model -o mlp.step.onnx
python examples/train_step.py mlp.step.onnx specs/data/digits.npz
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

step_file, data_file = map(Path, sys.argv[1:])
session = onnxruntime.InferenceSession(step_file)
state = load_file(step_file.with_suffix(".safetensors"))
kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
data = dict(np.load(data_file))
for step in range(1, 61):
    indices = np.arange((step - 1) * 10, step * 10) * 7 % 150  # ten of the 150 digits
    batch = {name: array[indices] for name, array in data.items()}
    values = {**state, **batch, "step": step, "seed": step, "rate": 1.0}  # only `plateau` needs a rate
    feeds = {node.name: np.asarray(values[node.name], kinds.get(node.type)) for node in session.get_inputs()}
    outputs = dict(zip([node.name for node in session.get_outputs()], session.run(None, feeds), strict=True))
    state |= {name.removesuffix(".next"): array for name, array in outputs.items() if name.endswith(".next")}
    print(step, f"{outputs['loss']:.6f}")
