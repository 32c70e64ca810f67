"""Networks as one writes them in NumPy: the forward pass with the weights at hand, no framework."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.contenders import Job, NotWritten

Weights = dict[str, np.ndarray]


def import_packages(variant: str) -> None:
    """NumPy is imported by every contender."""


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def mlp(weights: Weights, x: np.ndarray) -> np.ndarray:
    h = np.maximum(x @ weights["dense.W"] + weights["dense.b"], 0)
    h = np.maximum(h @ weights["dense_1.W"] + weights["dense_1.b"], 0)
    return h @ weights["dense_2.W"] + weights["dense_2.b"]


def rnn(weights: Weights, x: np.ndarray) -> np.ndarray:
    cell = "simple_rnn.rnn_cell"
    inputs, states = weights[f"{cell}.W_xh"].T, weights[f"{cell}.W_hh"].T
    h = np.zeros((len(x), len(states)), x.dtype)
    for step in range(x.shape[1]):
        h = np.tanh(x[:, step] @ inputs + h @ states + weights[f"{cell}.b_h"])
    return h @ weights["dense.W"] + weights["dense.b"]


def lstm(weights: Weights, x: np.ndarray) -> np.ndarray:
    inputs, states, bias = (
        np.concatenate([weights[f"lstm.lstm_cell.{part}{gate}"] for gate in "ifog"]) for part in ("W_x", "W_h", "b_")
    )
    inputs, states = np.ascontiguousarray(inputs.T), np.ascontiguousarray(states.T)
    hidden = len(states)
    h = c = np.zeros((len(x), hidden), x.dtype)
    for step in range(x.shape[1]):
        gates = x[:, step] @ inputs + h @ states + bias
        i, f, o = np.split(sigmoid(gates[:, : 3 * hidden]), 3, axis=1)
        c = f * c + i * np.tanh(gates[:, 3 * hidden :])
        h = o * np.tanh(c)
    return h @ weights["dense.W"] + weights["dense.b"]


def gru(weights: Weights, x: np.ndarray) -> np.ndarray:
    inputs, states, bias = (
        np.concatenate([weights[f"gru.gru_cell.{part}{gate}"] for gate in "rzn"]) for part in ("W_x", "W_h", "b_")
    )
    inputs, states = np.ascontiguousarray(inputs.T), np.ascontiguousarray(states.T)
    hidden = len(states)
    h = np.zeros((len(x), hidden), x.dtype)
    for step in range(x.shape[1]):
        of_inputs, of_state = x[:, step] @ inputs + bias, h @ states
        both = sigmoid(of_inputs[:, : 2 * hidden] + of_state[:, : 2 * hidden])
        r, z = both[:, :hidden], both[:, hidden:]
        n = np.tanh(of_inputs[:, 2 * hidden :] + r * (of_state[:, 2 * hidden :] + weights["gru.gru_cell.b_hn"]))
        h = (1 - z) * n + z * h
    return h @ weights["dense.W"] + weights["dense.b"]


NETWORKS = {"mlp": mlp, "rnn": rnn, "lstm": lstm, "gru": gru}


def inference(job: Job) -> Callable[[], np.ndarray]:
    network = NETWORKS.get(job.case.split()[0])
    if network is None:
        raise NotWritten("nobody writes this network by hand")
    weights, (x,) = job.weights(), job.network().inputs().values()
    return lambda: network(weights, x)
