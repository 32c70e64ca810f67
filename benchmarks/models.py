"""The same networks in the language and in PyTorch, at a small and a large size, with the same weights."""

from __future__ import annotations

import itertools
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


def resnet18(side: int, batch: int) -> Case:
    text = f"""
layer Residual(width: int, stride: int = 1) {{
    input x: [batch, channels, height, width_in]
    y = x -> Conv2D(width, 3, stride, 1, bias: false) -> BatchNorm() -> relu
          -> Conv2D(width, 3, 1, 1, bias: false) -> BatchNorm()
    if stride != 1 or channels != width {{
        x = x -> Conv2D(width, 1, stride, 0, bias: false) -> BatchNorm()
    }}
    output relu(x + y)
}}
model M {{
    input x: [batch, 3, {side}, {side}]
    h = x -> Conv2D(64, 7, 2, 3, bias: false) -> BatchNorm() -> relu -> MaxPool2D(3, 2, 1)
    for stage in 0..4 {{
        for i in 0..2 {{
            block = Residual(64 * 2 ** stage, 2 if stage > 0 and i == 0 else 1)
            h = block(h)
        }}
    }}
    logits = h -> GlobalAvgPool2D() -> Dense(1000)
    output logits
}}
train M {{ target t: i64[batch]; loss cross_entropy(logits, t); optimizer adam(lr: 1e-3) }}
"""

    def torch_model() -> Any:
        import torch
        from torch import nn

        class Residual(nn.Module):
            def __init__(self, channels: int, width: int, stride: int) -> None:
                super().__init__()
                self.body = nn.Sequential(
                    nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                    nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
                )  # fmt: skip
                self.shortcut: nn.Module = nn.Identity()
                if stride != 1 or channels != width:
                    self.shortcut = nn.Sequential(
                        nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
                    )

            def forward(self, x: Any) -> Any:
                return torch.relu(self.shortcut(x) + self.body(x))

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
                blocks = [
                    Residual(channels, width, 1 if channels == width else 2)
                    for channels, width in itertools.pairwise(widths)
                ]
                self.layers = nn.Sequential(
                    nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
                    *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000),
                )  # fmt: skip

            def forward(self, x: Any, t: Any) -> Any:
                return torch.nn.functional.cross_entropy(self.layers(x), t)

        return Net()

    return Case(text, lambda g: {"x": _floats(g, batch, 3, side, side), "t": g.integers(0, 1000, batch)}, torch_model)


def gpt2(depth: int, length: int, batch: int) -> Case:
    """GPT-2 small's width, heads and vocabulary, without dropout; the output layer is the embedding's table."""
    text = f"""
layer Block() {{
    input x: [batch, T, width]
    norm_1 = LayerNorm()
    norm_2 = LayerNorm()
    attention = MultiHeadAttention(12, causal: true, dropout: 0.0)
    feed_forward = FeedForward(3072, gelu_tanh)
    x = x + (x -> norm_1 -> attention)
    output x + (x -> norm_2 -> feed_forward)
}}
fn small(shape) = normal(shape, std: 0.02)
model M {{
    input x: i64[batch, T]
    embedding = Embedding(50257, 768, small)
    h = x -> embedding -> LearnedPositions(1024, small)
    for i in 0..{depth} {{
        block = Block()
        h = block(h)
    }}
    logits = (h -> LayerNorm()) @ embedding.table^T
    output logits
}}
train M {{ target t: i64[batch, T]; loss cross_entropy(logits, t); optimizer adam(lr: 1e-3) }}
"""

    def torch_model() -> Any:
        import torch
        from torch import nn

        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.norm_1, self.norm_2 = nn.LayerNorm(768), nn.LayerNorm(768)
                self.qkv, self.out = nn.Linear(768, 3 * 768), nn.Linear(768, 768)
                self.up, self.down = nn.Linear(768, 3072), nn.Linear(3072, 768)

            def forward(self, x: Any) -> Any:
                functional = nn.functional
                heads = self.qkv(self.norm_1(x)).unflatten(-1, (3, 12, 64)).permute(2, 0, 3, 1, 4)
                attended = functional.scaled_dot_product_attention(*heads, is_causal=True)
                x = x + self.out(attended.transpose(1, 2).flatten(-2))
                return x + self.down(functional.gelu(self.up(self.norm_2(x)), approximate="tanh"))

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.table, self.positions = nn.Embedding(50257, 768), nn.Embedding(1024, 768)
                self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
                self.norm = nn.LayerNorm(768)
                for table in (self.table, self.positions):
                    nn.init.normal_(table.weight, std=0.02)

            def forward(self, x: Any, t: Any) -> Any:
                h = self.table(x) + self.positions.weight[: x.shape[1]]
                logits = self.norm(self.blocks(h)) @ self.table.weight.T
                return torch.nn.functional.cross_entropy(logits.flatten(0, 1), t.flatten())

        return Net()

    return Case(text, lambda g: {name: g.integers(0, 50257, (batch, length)) for name in "xt"}, torch_model)


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
    "resnet18 32x32": lambda: resnet18(32, 8),
    "resnet18 64x64": lambda: resnet18(64, 8),
    "gpt2 small": lambda: gpt2(12, 128, 1),
}
