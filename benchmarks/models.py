"""The same networks in the language and in PyTorch, at a small and a large size, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A network: its text, its inputs by name at a size, and what builds it in PyTorch."""

    text: str
    feeds: Callable[[np.random.Generator], dict[str, np.ndarray]]
    torch: Callable[[], Any]  # a module whose forward takes the inputs and gives the loss


def _floats(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return generator.normal(size=shape).astype(np.float32)


def mlp(width: int, batch: int) -> Case:
    text = f"""
model M {{
    input x: [batch, 784]
    logits = x -> Dense({width}, activation: relu) -> Dense({width}, activation: relu) -> Dense(10)
    output logits
}}
train M {{ target t: i64[batch]; loss cross_entropy(logits, t); optimizer adam(lr: 1e-3) }}
"""

    def torch_model() -> Any:
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.Sequential(
                    nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
                )

            def forward(self, x: Any, t: Any) -> Any:
                return torch.nn.functional.cross_entropy(self.layers(x), t)

        return Net()

    return Case(text, lambda g: {"x": _floats(g, batch, 784), "t": g.integers(0, 10, batch)}, torch_model)


def cnn(filters: int, side: int, batch: int) -> Case:
    flat = 2 * filters * (side // 4) ** 2
    text = f"""
model M {{
    input x: [batch, 1, {side}, {side}]
    h = x -> Conv2D({filters}, 3, activation: relu) -> MaxPool2D(2)
    h = h -> Conv2D({2 * filters}, 3, activation: relu) -> MaxPool2D(2) -> Flatten()
    logits = h -> Dense(64, activation: relu) -> Dense(10)
    output logits
}}
train M {{ target t: i64[batch]; loss cross_entropy(logits, t); optimizer adam(lr: 1e-3) }}
"""

    def torch_model() -> Any:
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.Sequential(
                    nn.Conv2d(1, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                    nn.Conv2d(filters, 2 * filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                    nn.Flatten(), nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, 10),
                )  # fmt: skip

            def forward(self, x: Any, t: Any) -> Any:
                return torch.nn.functional.cross_entropy(self.layers(x), t)

        return Net()

    return Case(text, lambda g: {"x": _floats(g, batch, 1, side, side), "t": g.integers(0, 10, batch)}, torch_model)


def recurrent(kind: str, hidden: int, features: int, length: int, batch: int) -> Case:
    layer = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}[kind]
    text = f"""
model M {{
    input x: [batch, time, {features}]
    y = x -> {layer}({hidden}) -> Dense(1)
    output y
}}
train M {{ target t: [batch, 1]; loss mse(y, t); optimizer adam(lr: 1e-3) }}
"""

    def torch_model() -> Any:
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cell = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](features, hidden, batch_first=True)
                self.last = nn.Linear(hidden, 1)

            def forward(self, x: Any, t: Any) -> Any:
                return torch.nn.functional.mse_loss(self.last(self.cell(x)[0][:, -1]), t)

        return Net()

    return Case(text, lambda g: {"x": _floats(g, batch, length, features), "t": _floats(g, batch, 1)}, torch_model)


def transformer(width: int, heads: int, depth: int, length: int, batch: int) -> Case:
    text = f"""
model M {{
    input source: [batch, S, {width}], x: [batch, T, {width}]
    memory = source -> TransformerEncoder({depth}, {heads}, {4 * width}, dropout: 0.0)
    y = TransformerDecoder({depth}, {heads}, {4 * width}, dropout: 0.0)(x, memory) -> Dense({width})
    output y
}}
train M {{ target t: [batch, T, {width}]; loss mse(y, t); optimizer adam(lr: 1e-3) }}
"""

    def torch_model() -> Any:
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Transformer(width, heads, depth, depth, 4 * width, dropout=0.0, batch_first=True)
                self.last = nn.Linear(width, width)

            def forward(self, source: Any, x: Any, t: Any) -> Any:
                mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
                return torch.nn.functional.mse_loss(self.last(self.body(source, x, tgt_mask=mask)), t)

        return Net()

    shape = (batch, length, width)
    return Case(text, lambda g: {name: _floats(g, *shape) for name in ("source", "x", "t")}, torch_model)


CASES: dict[str, Callable[[], Case]] = {
    "mlp small": lambda: mlp(64, 32),
    "mlp large": lambda: mlp(1024, 128),
    "cnn small": lambda: cnn(8, 28, 16),
    "cnn large": lambda: cnn(32, 28, 64),
    "rnn small": lambda: recurrent("rnn", 50, 1, 12, 32),
    "rnn large": lambda: recurrent("rnn", 128, 64, 100, 64),
    "lstm small": lambda: recurrent("lstm", 50, 1, 12, 32),
    "lstm large": lambda: recurrent("lstm", 128, 64, 100, 64),
    "gru small": lambda: recurrent("gru", 50, 1, 12, 32),
    "gru large": lambda: recurrent("gru", 128, 64, 100, 64),
    "transformer small": lambda: transformer(64, 4, 2, 16, 8),
    "transformer large": lambda: transformer(256, 8, 3, 64, 16),
}
