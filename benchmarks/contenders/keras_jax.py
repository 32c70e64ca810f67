"""Keras on JAX, as its users train: a compiled model and `train_on_batch`; inference by `predict_on_batch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contenders import Job, NotWritten

GATES = {"lstm": "ifgo", "gru": "zrn"}
LAYERS = {"rnn": "simple_rnn.rnn_cell", "lstm": "lstm.lstm_cell", "gru": "gru.gru_cell"}


def import_packages(variant: str) -> None:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    model.train_on_batch(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))


def _model(job: Job) -> tuple[Any, list[np.ndarray]]:
    """The network, and its inputs; Keras has images with their channels last."""
    import keras
    from keras import layers

    kind = job.case.split()[0]
    weights, inputs = job.weights(), job.network().inputs()
    shapes = {path: array.shape for path, array in weights.items()}
    if kind == "mlp":
        width = shapes["dense.W"][1]
        body = [layers.Dense(width, "relu"), layers.Dense(width, "relu"), layers.Dense(10)]
        values = [weights[f"{name}.{part}"] for name in ("dense", "dense_1", "dense_2") for part in "Wb"]
    elif kind == "cnn":
        inputs = {"x": np.ascontiguousarray(inputs["x"].transpose(0, 2, 3, 1))}
        body = []
        for name in ("conv2d", "conv2d_1"):
            body += [
                layers.Conv2D(len(weights[f"{name}.b"]), 3, padding="same", activation="relu"),
                layers.MaxPool2D(2),
            ]
        body += [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10)]
        values = []
        for name in ("conv2d", "conv2d_1"):
            values += [weights[f"{name}.W"].transpose(2, 3, 1, 0), weights[f"{name}.b"]]
        filters = shapes["conv2d_1.W"][0]
        side = round((shapes["dense.W"][0] / filters) ** 0.5)
        flat = weights["dense.W"].reshape(filters, side, side, -1).transpose(1, 2, 0, 3)
        values += [
            flat.reshape(filters * side * side, -1),
            weights["dense.b"],
            weights["dense_1.W"],
            weights["dense_1.b"],
        ]
    elif kind in LAYERS:
        hidden = shapes["dense.W"][0]
        layer = {"rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}[kind]
        body = [layer(hidden), layers.Dense(1)]
        values = [*_cell(kind, weights), weights["dense.W"], weights["dense.b"]]
    else:
        raise NotWritten("no writing of this network in Keras here")
    model = keras.Sequential([keras.Input(next(iter(inputs.values())).shape[1:]), *body])
    model.set_weights(values)
    return model, list(inputs.values())


def _cell(kind: str, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias; of a GRU the bias of the inputs and that of the state."""
    cell = LAYERS[kind]
    if kind == "rnn":
        return [weights[f"{cell}.W_xh"].T, weights[f"{cell}.W_hh"].T, weights[f"{cell}.b_h"]]

    def packed(prefix: str) -> np.ndarray:
        return np.concatenate([weights[f"{cell}.{prefix}{gate}"].T for gate in GATES[kind]], axis=-1)

    bias = packed("b_")
    if kind == "gru":
        state = np.zeros_like(bias)
        state[-len(weights[f"{cell}.b_hn"]) :] = weights[f"{cell}.b_hn"]
        bias = np.stack([bias, state])
    return [packed("W_x"), packed("W_h"), bias]


def training(job: Job) -> Callable[[], float]:
    import keras

    model, inputs = _model(job)
    target = job.feeds()["t"]
    losses = {"mse": "mse", "cross_entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    model.compile(optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-8), loss=losses[job.network().loss])

    def step() -> float:
        model.reset_metrics()
        return float(model.train_on_batch(inputs[0], target))

    return step


def inference(job: Job) -> Callable[[], np.ndarray]:
    model, inputs = _model(job)
    return lambda: np.asarray(model.predict_on_batch(inputs[0]))
