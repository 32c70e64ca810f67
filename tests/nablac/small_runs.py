"""Runs of every kind of data, trained for one short epoch: a forecaster, tables, images, texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.command_line import invoke


@dataclass(frozen=True)
class Kind:
    """A kind of run: its model with its train block, what writes its data, and what `nablac run` is given."""

    model: str
    write: Callable[[Path], None]
    inputs: tuple[str, ...]
    decodes: bool = False
    is_text: bool = False


FORECASTER = """
model Forecaster {
    input series: [batch, time, 2]
    y = series -> GRU(4) -> Dense(1)
    output y
}
train Forecaster {
    target next: [batch, 1]
    loss mse(y, next)
    epochs 1
    validation 0.2
    data csv("rows.csv") -> standardize() -> window(["a", "b"], length: 6, horizon: 1, target: "a")
}
"""
REGRESSION = """
model Regression {
    input x: [batch, 2]
    y = x -> Dense(4, activation: tanh) -> BatchNorm() -> Dense(1)
    output y
}
train Regression {
    target t: [batch, 1]
    loss mse(y, t)
    epochs 1
    validation 0.2
    data csv("rows.csv") -> min_max() -> columns(inputs: ["a", "b"], targets: ["c"])
}
"""
CLASSIFIER = """
model Classifier {
    input x: [batch, 2]
    logits = x -> Dense(8, activation: relu) -> Dropout(0.1) -> Dense(3)
    output logits
    output chances = softmax(logits, axis: -1)
}
train Classifier {
    target kind: i64[batch]
    loss cross_entropy(logits, kind)
    metric accuracy(logits, kind)
    epochs 1
    validation 0.2
    data csv("rows.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["kind"])
}
"""
IMAGES = """
model Images {
    input image: [batch, 3, 8, 8]
    logits = image -> Conv2D(4, 3, activation: relu) -> max_pool([2, 2]) -> Flatten() -> Dense(2)
    output logits
}
train Images {
    target kind: i64[batch]
    loss cross_entropy(logits, kind)
    epochs 1
    validation 0.25
    data images("pictures", size: 8) -> standardize()
}
"""
TEXT = """
model Text(vocabulary = 16) {
    input text: i64[batch, time]
    logits = text -> Embedding(vocabulary, 8) -> LSTM(8, sequences: true) -> Dense(vocabulary)
    output logits
}
train Text {
    target next: i64[batch, time]
    loss cross_entropy(logits, next)
    epochs 1
    validation 0.2
    data text("story.txt") -> characters(length: 8)
}
"""
REVIEWS = """
model Reviews(vocabulary = 30) {
    input tokens: i64[batch, T]
    mask = cast(unsqueeze(tokens != 0, -1), f32)
    h = tokens -> Embedding(vocabulary, 8)
    logits = sum(h * mask, axis: 1) / maximum(sum(mask, axis: 1), 1) -> Dense(2)
    output logits
}
train Reviews {
    target label: i64[batch]
    loss cross_entropy(logits, label)
    epochs 1
    validation 0.2
    data pairs("reviews.tsv") -> tokens(length: 8, kind: "words", most: 30, target: "class")
}
"""


def write_rows(folder: Path) -> None:
    generator = np.random.default_rng(2)
    rows = [
        f"{100 + 20 * np.sin(step / 3):.4f},{generator.normal(5, 2):.4f},{1000 + step:.1f},{'xyz'[step % 3]}"
        for step in range(60)
    ]
    (folder / "rows.csv").write_text("a,b,c,kind\n" + "\n".join(rows) + "\n")


def write_pictures(folder: Path) -> None:
    generator = np.random.default_rng(3)
    for kind, level in (("dark", 60), ("light", 190)):
        (folder / "pictures" / kind).mkdir(parents=True)
        for number in range(8):
            pixels = np.clip(generator.normal(level, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / kind / f"{number}.png")


def write_story(folder: Path) -> None:
    (folder / "story.txt").write_text("a small story of a bee and a tree. " * 20)


def write_reviews(folder: Path) -> None:
    lines = [f"{'good' if n % 2 else 'bad'} film number {n % 7}\t{'yes' if n % 2 else 'no'}" for n in range(40)]
    (folder / "reviews.tsv").write_text("\n".join(lines) + "\n")


KINDS = {
    "forecaster": Kind(FORECASTER, write_rows, ("series=rows.csv",)),
    "regression": Kind(REGRESSION, write_rows, ("x=rows.csv",)),
    "classifier": Kind(CLASSIFIER, write_rows, ("x=rows.csv",)),
    "images": Kind(IMAGES, write_pictures, ("pictures/dark/1.png",)),
    "text": Kind(TEXT, write_story, ("a small",), decodes=True, is_text=True),
    "reviews": Kind(REVIEWS, write_reviews, ("good film",), is_text=True),
}


def train(kind: str, folder: Path) -> Path:
    """A run of this kind, `run` in the folder, with its model and its data beside it."""
    (folder / "m.model").write_text(KINDS[kind].model)
    KINDS[kind].write(folder)
    ended = invoke("train", "m.model", "-q", "-o", "run", folder=folder)
    assert ended.exit_code == 0, ended.output
    return folder / "run"
