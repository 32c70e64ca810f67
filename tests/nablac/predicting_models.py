"""A model of each kind that predicts: of tables, series, images and texts, with the data that it is trained on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

MODELS = {
    "table": """
model Table {
    input x: [batch, 2]
    input colour: i64[batch]
    h = x -> Dense(8) -> relu
    output logits = concat([h, colour -> Embedding(3, 2)], axis: -1) -> Dense(3)
    output hidden = h
}
train Table {
    target kind: i64[batch]; loss cross_entropy(logits, kind); epochs 2; optimizer adam(lr: 1e-2)
    data csv("table.csv") -> standardize() -> columns(inputs: ["a", "b", "colour"], targets: "kind")
}
""",
    "price": """
model Price { input x: [batch, 2]; output y = x -> Dense(1) }
train Price {
    target price: [batch, 1]; loss mse(y, price); epochs 2
    data csv("table.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: "price")
}
""",
    "series": """
model Series { input x: [batch, T, 2]; output y = x -> GRU(4) -> Dense(4) -> rearrange("b (h c) -> b h c", c: 2) }
train Series {
    target next: [batch, 2, 2]; loss mse(y, next); epochs 1; validation 0.2
    data csv("series.csv") -> standardize() -> window(["temp", "load"], length: 6, horizon: 2)
}
""",
    "images": """
model Pictures { input x: [batch, 3, 8, 8]; output logits = x -> Conv2D(4, 3) -> relu -> GlobalAvgPool2D() -> Dense(3) }
train Pictures {
    target label: i64[batch]; loss cross_entropy(logits, label); epochs 1
    data images("pictures", size: 8)
}
""",
    "texts": """
model Reviews {
    input tokens: i64[batch, T]
    seen = cast(tokens != 0, f32)
    e = (tokens -> Embedding(40, 4)) * unsqueeze(seen, -1)
    output logits = sum(e, axis: 1) / maximum(sum(seen, axis: 1, keep: true), 1) -> Dense(2)
}
train Reviews {
    target label: i64[batch]; loss cross_entropy(logits, label); epochs 2; optimizer adam(lr: 1e-2)
    data pairs("reviews.tsv") -> tokens(length: 20, kind: "words", most: 40, target: "class")
}
""",
    "labelled": """
model Labelled {
    input tokens: i64[batch, T]
    output logits = tokens -> Embedding(60, 4) -> GRU(4) -> Dense(2)
}
train Labelled {
    target label: i64[batch]; loss cross_entropy(logits, label); epochs 2; optimizer adam(lr: 1e-2)
    data pairs("labelled.csv", separator: ",", columns: ["review", "mark"]) -> tokens(kind: "words", target: "class")
}
""",
    "digits": """
model Digits { input image: [batch, 64]; output logits = image -> Dense(3) }
train Digits {
    target label: i64[batch]; loss cross_entropy(logits, label); epochs 1
    data digits("digits.csv", label: "last")
}
""",
    "letters": """
model Letters { input text: i64[batch, T]; output logits = text -> Embedding(30, 4) -> Dense(30) }
train Letters {
    target next: i64[batch, T]; loss cross_entropy(logits, next); epochs 1
    data text("long.txt") -> characters(length: 8)
}
""",
}


def write_data(folder: Path) -> None:
    """A table, a series, pictures and texts to train on."""
    generator = np.random.default_rng(0)
    with (folder / "table.csv").open("w") as file:
        file.write("id,day,a,colour,b,kind,price\n")
        for row in range(30):
            kind = row % 3
            a, b = generator.normal([kind, -kind], 0.3)
            colour, name = ("red", "green", "blue")[row * 7 % 3], ("oak", "elm", "ash")[kind]
            file.write(f"n{row:02d},2024-01-{row + 1:02d},{a:.3f},{colour},{b:.3f},{name},{100 + 10 * a:.2f}\n")
    with (folder / "series.csv").open("w") as file:
        file.write("time,temp,station,load\n")
        for hour in range(48):
            temp, load = 10 + np.sin(hour / 4) + generator.normal(0, 0.1), 50 + np.cos(hour / 4)
            file.write(f"2024-02-{28 + hour // 24:02d} {hour % 24:02d}:00,{temp:.3f},north,{load:.3f}\n")
    (folder / "reviews.tsv").write_text(
        "".join(
            f"{'good nice' if row % 2 else 'bad poor'} film {row}\t{'pos' if row % 2 else 'neg'}\n" for row in range(40)
        )
    )
    with (folder / "labelled.csv").open("w", newline="") as file:
        marks = [("pos", "good, nice") if row % 2 else ("neg", 'bad "and"\npoor') for row in range(40)]
        csv.writer(file).writerow(["id", "mark", "review"])
        csv.writer(file).writerows([row, mark, f"{words} film {row}"] for row, (mark, words) in enumerate(marks))
    rows = generator.integers(0, 17, (12, 64))
    rows[0, 0] = 16
    (folder / "digits.csv").write_text("".join(f"{','.join(map(str, row))},{n % 3}\n" for n, row in enumerate(rows)))
    (folder / "long.txt").write_text("the quick brown fox jumps over the lazy dog " * 8)


def write_pictures(folder: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(1)
    for kind in ("cross", "disc", "line"):
        (folder / "pictures" / kind).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 255, (8, 8, 3)).astype(np.uint8)
            image_module.fromarray(pixels).save(folder / "pictures" / kind / f"{number}.png")
