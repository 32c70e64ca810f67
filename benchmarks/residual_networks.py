"""Residual networks (He et al. 2015) in PyTorch, and as cases of training and inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import copied_weights as copied
from benchmarks.models import Case

SPECS = Path(__file__).parents[1] / "specs"


def residual_network(blocks: tuple[int, ...], bottleneck: bool) -> Any:
    """The network for 1000 classes, with the stride of a bottleneck at its 3x3 convolution, as torchvision has it."""
    import torch
    from torch import nn

    expansion = 4 if bottleneck else 1

    def convolution(source: int, target: int, kernel: int, stride: int) -> Any:
        return nn.Conv2d(source, target, kernel, stride, kernel // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, source: int, width: int, stride: int) -> None:
            super().__init__()
            target = width * expansion
            shapes = [(source, width, 3, stride), (width, target, 3, 1)]
            if bottleneck:
                shapes = [(source, width, 1, 1), (width, width, 3, stride), (width, target, 1, 1)]
            layers: list[Any] = []
            for shape in shapes:
                layers += [convolution(*shape), nn.BatchNorm2d(shape[1]), nn.ReLU()]
            self.body = nn.Sequential(*layers[:-1])
            self.short: Any = nn.Identity()
            if stride > 1 or source != target:
                self.short = nn.Sequential(convolution(source, target, 1, stride), nn.BatchNorm2d(target))

        def forward(self, x: Any) -> Any:
            return torch.relu(self.body(x) + self.short(x))

    layers: list[Any] = [convolution(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    source = 64
    for stage, count in enumerate(blocks):
        for index in range(count):
            layers.append(Block(source, 64 << stage, 2 if stage and not index else 1))
            source = (64 << stage) * expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(source, 1000))


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

    def feeds(generator: np.random.Generator) -> dict[str, np.ndarray]:
        return {"x": _images(generator, batch, side), "t": generator.integers(0, 1000, batch)}

    return Case(text, feeds, lambda: residual_network((2, 2, 2, 2), False), "cross_entropy", copied.residual)


def resnet50(batch: int) -> Case:
    """The preset of specs/resnet.model, for images of 224 x 224."""
    return Case(
        (SPECS / "resnet.model").read_text("utf-8"),
        lambda generator: {"image": _images(generator, batch, 224)},
        lambda: residual_network((3, 4, 6, 3), True),
        "",
        copied.residual,
        preset="resnet50",
    )


def _images(generator: np.random.Generator, batch: int, side: int) -> np.ndarray:
    return generator.normal(size=(batch, 3, side, side)).astype(np.float32)
