"""Networks as texts, with what PyTorch computes for the same equations, and what textbooks print for their gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import cross_entropy, max_pool2d, mse_loss

Tensor = Any


@dataclass
class Network:
    """`forward` computes the loss from the values by name; `printed` are lines that the gradient's text must have."""

    text: str
    shapes: dict[str, tuple[int, ...]]
    forward: Callable[[dict[str, Tensor]], Tensor]
    printed: tuple[str, ...]
    sizes: dict[str, int] = field(default_factory=dict)
    first: tuple[str, ...] = ()  # states that begin as zeros, of which the text does not say the shape
    classes: int = 0  # of an input `label`


TRAIN = """
train M {{
    target {target}
    loss {loss}
    optimizer sgd(lr: 0.1)
}}
"""
MSE = TRAIN.format(target="goal: [batch, 2]", loss="mse(y, goal)")

# Goodfellow, Bengio and Courville (2016), equations 10.8 to 10.11 and 10.18 to 10.28; their o is y; V, W and U are
# W_hy, W_hh and W_xh.
ELMAN = Network(
    """cell Elman() {
    input x: [batch, 3]
    state h: [batch, 4] = 0
    param W_xh: [4, 3], W_hh: [4, 4], W_hy: [2, 4], b_h: [4], b_y: [2]
    h' = tanh(W_xh x + W_hh h + b_h)
    y = W_hy h' + b_y
    output y
}
model M() {
    input xs: [batch, time, 3]
    y = scan(Elman())(xs, axis: 1)
    output y
}"""
    + TRAIN.format(target="goal: [batch, time, 2]", loss="mse(y, goal)"),
    {
        "xs": (5, 6, 3),
        "goal": (5, 6, 2),
        "elman.W_xh": (4, 3),
        "elman.W_hh": (4, 4),
        "elman.W_hy": (2, 4),
        "elman.b_h": (4,),
        "elman.b_y": (2,),
    },
    lambda values: _elman(values),
    (
        "dh' = W_hy^T dy + dh[t + 1]",  # 10.20: the gradient of h(t) through o(t) and through h(t + 1)
        "da_h = dh' * (1 - h' ** 2)",  # the diagonal matrix diag(1 - h ** 2) of 10.21
        "dh = W_hh^T da_h",  # the first term of 10.20, one step before
        "db_y = sum over t, batch of dy",  # 10.22
        "db_h = sum over t, batch of da_h",  # 10.23
        "dW_hy = sum over t, batch of dy h'^T",  # 10.24
        "dW_hh = sum over t, batch of da_h h^T",  # 10.26: h of the step before
        "dW_xh = sum over t, batch of da_h x^T",  # 10.28
    ),
    {"batch": 5, "time": 6},
    ("elman.h[0]",),
)

# Greff et al. (2017), section III.B, without peepholes: z is g, y is h; their deltas are dX for X, and da_X for a bar.
LSTM = Network(
    """cell Cell() {
    input x: [batch, 3]
    state h, c: [batch, 4] = 0
    param W_g, W_i, W_f, W_o: [4, 3], R_g, R_i, R_f, R_o: [4, 4], b_g, b_i, b_f, b_o: [4]
    g = tanh(W_g x + R_g h + b_g)
    i = sigmoid(W_i x + R_i h + b_i)
    f = sigmoid(W_f x + R_f h + b_f)
    c' = g * i + c * f
    o = sigmoid(W_o x + R_o h + b_o)
    h' = tanh(c') * o
    output h'
}
model M() {
    input xs: [batch, time, 3]
    param V: [2, 4]
    hs, h, c = scan(Cell())(xs, axis: 1, states: true)
    y = V h
    output y
}"""
    + MSE,
    {"xs": (5, 6, 3), "goal": (5, 2), "V": (2, 4)}
    | {f"cell.{name}_{gate}": shape for name, shape in (("W", (4, 3)), ("R", (4, 4)), ("b", (4,))) for gate in "gifo"},
    lambda v: _lstm(v),
    (
        "dh' = dh[t + 1]",  # delta y, to which the four R^T delta below are added in the step after
        "do = dh' * tanh(c')",
        "da_o = do * o * (1 - o)",
        "dc' = dh' * o * (1 - tanh(c') ** 2) + dc[t + 1]",
        "dc = dc' * f",  # delta c(t + 1) * f(t + 1), one step before
        "df = dc' * c",
        "da_f = df * f * (1 - f)",
        "di = dc' * g",
        "da_i = di * i * (1 - i)",
        "dg = dc' * i",
        "da_g = dg * (1 - g ** 2)",
        "dh = R_o^T da_o + R_g^T da_g + R_i^T da_i + R_f^T da_f",
        "dx = W_o^T da_o + W_g^T da_g + W_i^T da_i + W_f^T da_f",
        *(f"dW_{gate} = sum over t, batch of da_{gate} x^T" for gate in "gifo"),
        *(f"dR_{gate} = sum over t, batch of da_{gate} h^T" for gate in "gifo"),
        *(f"db_{gate} = sum over t, batch of da_{gate}" for gate in "gifo"),
    ),
    {"batch": 5, "time": 6},
    ("cell.h[0]", "cell.c[0]"),
)

# Cho et al. (2014), equations 5 to 8, differentiated by hand.
GRU = Network(
    """cell Cell() {
    input x: [batch, 3]
    state h: [batch, 4] = 0
    param W_r, W_z, W: [4, 3], U_r, U_z, U: [4, 4]
    r = sigmoid(W_r x + U_r h)
    z = sigmoid(W_z x + U_z h)
    s = r * h
    n = tanh(W x + U s)
    h' = z * h + (1 - z) * n
    output h'
}
model M() {
    input xs: [batch, time, 3]
    param V: [2, 4]
    hs, h = scan(Cell())(xs, axis: 1, states: true, reverse: true)
    y = V h
    output y
}"""
    + MSE,
    {"xs": (5, 6, 3), "goal": (5, 2), "V": (2, 4)}
    | {
        f"cell.{name}": shape
        for names, shape in (("W_r W_z W", (4, 3)), ("U_r U_z U", (4, 4)))
        for name in names.split()
    },
    lambda v: _gru(v),
    (
        "dh' = dh[t - 1]",  # the recurrence runs from the last item to the first
        "dn = dh' * (1 - z)",
        "dz = dh' * (h - n)",
        "da_n = dn * (1 - n ** 2)",
        "ds = U^T da_n",
        "dr = ds * h",
        "da_r = dr * r * (1 - r)",
        "da_z = dz * z * (1 - z)",
        "dW = sum over t, batch of da_n x^T",
        "dU = sum over t, batch of da_n s^T",
        "dU_r = sum over t, batch of da_r h^T",
        "dU_z = sum over t, batch of da_z h^T",
    ),
    {"batch": 5, "time": 6},
    ("cell.h[time - 1]",),
)

# Goodfellow et al. (2016), section 9.5: the gradient of a kernel is a correlation of the input with the gradient of the
# output, that of the input its convolution with the kernel; a maximum passes it to the largest of its window.
CONVOLUTION = Network(
    """model M() {
    input image: [batch, 2, 6, 6]
    param K: [4, 2, 3, 3], W: [36, 3], b: [3]
    c = conv(image, K, pads: [1, 1, 1, 1])
    r = relu(c)
    p = max_pool(r, kernel: [2, 2], strides: [2, 2])
    v = reshape(p, [batch, 36])
    logits = v @ W + b
    output logits
}"""
    + TRAIN.format(target="label: i64[batch]", loss="cross_entropy(logits, label)"),
    {"image": (5, 2, 6, 6), "K": (4, 2, 3, 3), "W": (36, 3), "b": (3,)},
    lambda v: _convolution(v),
    (
        "dlogits = (softmax(logits) - one_hot(label, depth: 3)) / batch",
        "dW = v^T @ dlogits",
        "db = sum over batch of dlogits",
        "dv = dlogits @ W^T",
        "dp = reshape(dv, [batch, 4, 3, 3])",
        "dr = max_pool_gradient(dp, r, kernel: [2, 2], strides: [2, 2])",
        "dc = dr * (r > 0)",
        "dK = conv_weight_gradient(image, dc, kernel: [3, 3], pads: [1, 1, 1, 1])",
        "dimage = conv_transpose(dc, K, pads: [1, 1, 1, 1])",
    ),
    {"batch": 5},
    classes=3,
)

# Vaswani et al. (2017), equation 1; the gradient of softmax is A * (dA - (dA * A) 1 1^T), row by row.
ATTENTION = Network(
    """model M() {
    input x: [batch, T, 4]
    param W_q, W_k, W_v: [4, 4], W_o: [4, 2]
    Q = x @ W_q
    K = x @ W_k
    V = x @ W_v
    S = Q @ K^T / sqrt(4.0)
    A = softmax(S, axis: -1)
    O = A @ V
    y = O @ W_o
    output y
}"""
    + TRAIN.format(target="goal: [batch, T, 2]", loss="mse(y, goal)"),
    {"x": (5, 6, 4), "goal": (5, 6, 2), "W_q": (4, 4), "W_k": (4, 4), "W_v": (4, 4), "W_o": (4, 2)},
    lambda v: _attention(v),
    (
        "dW_o = sum over batch of O^T @ dy",
        "dO = dy @ W_o^T",
        "dV = A^T @ dO",
        "dA = dO @ V^T",
        "dS = A * (dA - sum(dA * A, axis: -1, keep: true))",
        "dQ = dS / 2 @ K",
        "dK = (dS / 2)^T @ Q",
        "dW_v = sum over batch of x^T @ dV",
        "dW_k = sum over batch of x^T @ dK",
        "dW_q = sum over batch of x^T @ dQ",
    ),
    {"batch": 5, "T": 6},
)

# Two layers of the library: the states of the first are the sequence of the second, whose gradient comes back to them.
STACK = Network(
    """model M() {
    input xs: [batch, time, 3]
    y = xs -> SimpleRNN(4, sequences: true) -> SimpleRNN(4) -> Dense(2)
    output y
}"""
    + MSE,
    {"xs": (5, 6, 3), "goal": (5, 2), "dense.W": (4, 2), "dense.b": (2,)}
    | {f"simple_rnn{suffix}.rnn_cell.W_hh": (4, 4) for suffix in ("", "_1")}
    | {f"simple_rnn{suffix}.rnn_cell.b_h": (4,) for suffix in ("", "_1")}
    | {"simple_rnn.rnn_cell.W_xh": (4, 3), "simple_rnn_1.rnn_cell.W_xh": (4, 4)},
    lambda values: _stack(values),
    ("dense.dW = simple_rnn_1.rnn_cell.h[time]^T @ dy",),
    {"batch": 5, "time": 6},
    ("simple_rnn.rnn_cell.h[0]", "simple_rnn_1.rnn_cell.h[0]"),
)

# Both directions, each step of which gets a gradient from outside and from another step.
BOTH = Network(
    """model M() {
    input xs: [batch, time, 3]
    y = xs -> Bidirectional(SimpleRNN(4, sequences: true), merge: "sum") -> Dense(2)
    output y
}"""
    + TRAIN.format(target="goal: [batch, time, 2]", loss="mse(y, goal)"),
    {"xs": (5, 6, 3), "goal": (5, 6, 2), "dense.W": (4, 2), "dense.b": (2,)}
    | {f"bidirectional.{way}.rnn_cell.W_hh": (4, 4) for way in ("forward", "backward")}
    | {f"bidirectional.{way}.rnn_cell.W_xh": (4, 3) for way in ("forward", "backward")}
    | {f"bidirectional.{way}.rnn_cell.b_h": (4,) for way in ("forward", "backward")},
    lambda values: _both(values),
    ("dense.db = sum over batch, time of dy",),
    {"batch": 5, "time": 6},
    ("bidirectional.forward.rnn_cell.h[0]", "bidirectional.backward.rnn_cell.h[time - 1]"),
)

# The library's attention in two heads, with the names of its own equations.
HEADS = Network(
    """model M() {
    input x: [batch, T, 4]
    y = x -> MultiHeadAttention(2) -> LayerNorm() -> Dense(2, sigmoid)
    output y
}"""
    + TRAIN.format(target="goal: [batch, T, 2]", loss="mse(y, goal)"),
    {
        "x": (5, 6, 4),
        "goal": (5, 6, 2),
        "dense.W": (4, 2),
        "dense.b": (2,),
        "layer_norm.gamma": (4,),
        "layer_norm.beta": (4,),
    }
    | {f"multi_head_attention.W_{name}": (4, 4) for name in "qkvo"}
    | {f"multi_head_attention.b_{name}": (4,) for name in "qkvo"},
    lambda values: _heads(values),
    ("dense.dW = sum over batch of layer_norm.y^T @ dense.dy",),
    {"batch": 5, "T": 6},
)

# Names that are taken: a value `dh` and a dim `t`; and `y`, which has a gradient from the step and one from outside.
TAKEN = Network(
    """cell C() {
    input x: [batch, 3]
    state h: [batch, 4] = 0
    param W: [4, 3], U: [4, 4], v: [4]
    dh = W x
    y = tanh(dh + U h)
    h' = y * v + (v * h) // 4
    output y
}
model M() {
    input xs: [batch, t, 3]
    y = scan(C())(xs, axis: 1)
    output y
}"""
    + TRAIN.format(target="target: [batch, t, 4]", loss="mse(y, target)"),
    {"xs": (5, 6, 3), "target": (5, 6, 4), "c.W": (4, 3), "c.U": (4, 4), "c.v": (4,)},
    lambda values: _taken(values),
    (
        "c.dh_2[t] = 0",
        "dh_2' = dh_2[k + 1]",
        "dy = dy_out + dh_2' * v",
        "dU = sum over k, batch of ddh h^T",
        "dh_2 = U^T ddh",
    ),
    {"batch": 5, "t": 6},
    ("c.h[0]",),
)

NETWORKS = {
    "taken names": TAKEN,
    "heads": HEADS,
    "both directions": BOTH,
    "stack": STACK,
    "Elman": ELMAN,
    "LSTM": LSTM,
    "GRU": GRU,
    "convolution": CONVOLUTION,
    "attention": ATTENTION,
}


def _elman(v: dict[str, Tensor]) -> Tensor:
    h, ys = torch.zeros(5, 4, dtype=torch.float64), []
    for x in v["xs"].unbind(1):
        h = torch.tanh(x @ v["elman.W_xh"].T + h @ v["elman.W_hh"].T + v["elman.b_h"])
        ys.append(h @ v["elman.W_hy"].T + v["elman.b_y"])
    return mse_loss(torch.stack(ys, 1), v["goal"])


def _taken(v: dict[str, Tensor]) -> Tensor:
    h, ys = torch.zeros(5, 4, dtype=torch.float64), []
    for x in v["xs"].unbind(1):
        ys.append(torch.tanh(x @ v["c.W"].T + h @ v["c.U"].T))
        h = ys[-1] * v["c.v"] + torch.floor(v["c.v"] * h / 4).detach()
    return mse_loss(torch.stack(ys, 1), v["target"])


def _stack(v: dict[str, Tensor]) -> Tensor:
    rows = v["xs"].unbind(1)
    for cell in ("simple_rnn.rnn_cell", "simple_rnn_1.rnn_cell"):
        h, states = torch.zeros(5, 4, dtype=torch.float64), []
        for x in rows:
            h = torch.tanh(x @ v[f"{cell}.W_xh"].T + h @ v[f"{cell}.W_hh"].T + v[f"{cell}.b_h"])
            states.append(h)
        rows = tuple(states)
    return mse_loss(rows[-1] @ v["dense.W"] + v["dense.b"], v["goal"])


def _both(v: dict[str, Tensor]) -> Tensor:
    total: Tensor = 0
    for way in ("forward", "backward"):
        cell, states = f"bidirectional.{way}.rnn_cell", []
        h = torch.zeros(5, 4, dtype=torch.float64)
        rows = v["xs"].unbind(1)
        for x in rows if way == "forward" else reversed(rows):
            h = torch.tanh(x @ v[f"{cell}.W_xh"].T + h @ v[f"{cell}.W_hh"].T + v[f"{cell}.b_h"])
            states.append(h)
        total = total + torch.stack(states if way == "forward" else states[::-1], 1)
    return mse_loss(total @ v["dense.W"] + v["dense.b"], v["goal"])


def _heads(v: dict[str, Tensor]) -> Tensor:
    q, k, values = (
        (v["x"] @ v[f"multi_head_attention.W_{name}"] + v[f"multi_head_attention.b_{name}"])
        .reshape(5, 6, 2, 2)
        .transpose(1, 2)
        for name in "qkv"
    )
    mixed = torch.softmax(q @ k.transpose(2, 3) / 2**0.5, -1) @ values
    y = mixed.transpose(1, 2).reshape(5, 6, 4) @ v["multi_head_attention.W_o"] + v["multi_head_attention.b_o"]
    y = torch.nn.functional.layer_norm(y, (4,), v["layer_norm.gamma"], v["layer_norm.beta"], 1e-5)
    return mse_loss(torch.sigmoid(y @ v["dense.W"] + v["dense.b"]), v["goal"])


def _lstm(v: dict[str, Tensor]) -> Tensor:
    def gate(name: str, x: Tensor, h: Tensor) -> Tensor:
        return x @ v[f"cell.W_{name}"].T + h @ v[f"cell.R_{name}"].T + v[f"cell.b_{name}"]

    h = c = torch.zeros(5, 4, dtype=torch.float64)
    for x in v["xs"].unbind(1):
        g, i, f, o = (gate(name, x, h) for name in "gifo")
        c = torch.tanh(g) * torch.sigmoid(i) + c * torch.sigmoid(f)
        h = torch.tanh(c) * torch.sigmoid(o)
    return mse_loss(h @ v["V"].T, v["goal"])


def _gru(v: dict[str, Tensor]) -> Tensor:
    h = torch.zeros(5, 4, dtype=torch.float64)
    for x in reversed(v["xs"].unbind(1)):
        r = torch.sigmoid(x @ v["cell.W_r"].T + h @ v["cell.U_r"].T)
        z = torch.sigmoid(x @ v["cell.W_z"].T + h @ v["cell.U_z"].T)
        n = torch.tanh(x @ v["cell.W"].T + (r * h) @ v["cell.U"].T)
        h = z * h + (1 - z) * n
    return mse_loss(h @ v["V"].T, v["goal"])


def _convolution(v: dict[str, Tensor]) -> Tensor:
    pooled = max_pool2d(torch.relu(torch.conv2d(v["image"], v["K"], padding=1)), 2)
    return cross_entropy(pooled.reshape(5, 36) @ v["W"] + v["b"], v["label"])


def _attention(v: dict[str, Tensor]) -> Tensor:
    q, k, values = (v["x"] @ v[name] for name in ("W_q", "W_k", "W_v"))
    weights = torch.softmax(q @ k.transpose(1, 2) / 2, -1)
    return mse_loss(weights @ values @ v["W_o"], v["goal"])
