"""Train by a compiled step and nothing but onnxruntime:

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
inputs, outputs = ([each.name for each in found] for found in (session.get_inputs(), session.get_outputs()))
data = dict(np.load(data_file))
for step in range(1, 61):
    places = np.arange((step - 1) * 10, step * 10) * 7 % 150  # ten of the 150 digits
    batch = {name: array[places] for name, array in data.items()}
    feeds = {**state, **batch, "step": np.array(step, np.float32), "seed": np.array(step)}
    made = dict(zip(outputs, session.run(None, {name: feeds[name] for name in inputs}), strict=True))
    state |= {name.removesuffix(".next"): array for name, array in made.items() if name.endswith(".next")}
    print(step, f"{made['loss']:.6f}")
