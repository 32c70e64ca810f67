"""The same networks in the language and in PyTorch, at a small and a large size, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks import copied_weights as copied

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A network: its text, its inputs by name at a size, and the same network in PyTorch."""

    text: str
    feeds: Callable[[np.random.Generator], dict[str, np.ndarray]]  # the target, if there is one, is `t`
    torch: Callable[[], Any]  # a module from the inputs, in their order, to the output that is compared
    loss: str  # "cross_entropy", "mse", or "" for a network that is not trained here
    weights: Callable[[Weights], Weights]  # the module's state from our weights by path
    output: str = "logits"  # ours that is compared with the module's
    preset: str | None = None
    hypers: dict[str, Any] = field(default_factory=dict)

    def inputs(self) -> dict[str, np.ndarray]:
        """The inputs of the model, without the target."""
        feeds = self.feeds(np.random.default_rng(0))
        return {name: array for name, array in feeds.items() if name != "t"}


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
        from torch import nn

        return nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))

    def feeds(generator: np.random.Generator) -> dict[str, np.ndarray]:
        return {"x": _floats(generator, batch, 784), "t": generator.integers(0, 10, batch)}

    return Case(text, feeds, torch_model, "cross_entropy", copied.mlp)


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
        from torch import nn

        return nn.Sequential(
            nn.Conv2d(1, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(filters, 2 * filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip

    def feeds(generator: np.random.Generator) -> dict[str, np.ndarray]:
        return {"x": _floats(generator, batch, 1, side, side), "t": generator.integers(0, 10, batch)}

    return Case(text, feeds, torch_model, "cross_entropy", copied.cnn)


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
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cell = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](features, hidden, batch_first=True)
                self.last = nn.Linear(hidden, 1)

            def forward(self, x: Any) -> Any:
                return self.last(self.cell(x)[0][:, -1])

        return Net()

    def feeds(generator: np.random.Generator) -> dict[str, np.ndarray]:
        return {"x": _floats(generator, batch, length, features), "t": _floats(generator, batch, 1)}

    return Case(text, feeds, torch_model, "mse", partial(copied.recurrent, kind), "y")


def transformer(width: int, heads: int, depth: int, length: int, batch: int) -> Case:
    text = f"""
model M {{
    input source: [batch, S, {width}], x: [batch, T, {width}]
    memory = source -> TransformerEncoder({depth}, {heads}, {4 * width}, dropout: 0.0, final_norm: true)
    y = TransformerDecoder({depth}, {heads}, {4 * width}, dropout: 0.0, final_norm: true)(x, memory) -> Dense({width})
    output y
}}
train M {{ target t: [batch, T, {width}]; loss mse(y, t); optimizer adam(lr: 1e-3) }}
"""

    def torch_model() -> Any:
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Transformer(width, heads, depth, depth, 4 * width, dropout=0.0, batch_first=True)
                self.last = nn.Linear(width, width)

            def forward(self, source: Any, x: Any) -> Any:
                mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
                return self.last(self.body(source, x, tgt_mask=mask))

        return Net()

    shape = (batch, length, width)

    def feeds(generator: np.random.Generator) -> dict[str, np.ndarray]:
        return {name: _floats(generator, *shape) for name in ("source", "x", "t")}

    return Case(text, feeds, torch_model, "mse", copied.transformer, "y")


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

            def forward(self, x: Any) -> Any:
                h = self.table(x) + self.positions.weight[: x.shape[1]]
                return self.norm(self.blocks(h)) @ self.table.weight.T

        return Net()

    def feeds(generator: np.random.Generator) -> dict[str, np.ndarray]:
        return {name: generator.integers(0, 50257, (batch, length)) for name in "xt"}

    return Case(text, feeds, torch_model, "cross_entropy", copied.gpt2)
