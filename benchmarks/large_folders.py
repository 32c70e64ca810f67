"""Folders of images and texts that do not fit in memory: the whole command until its first step, and with an epoch.

`python -m benchmarks.large_folders --folder FOLDER [--case images-64]` writes the data to FOLDER once, some GB in all,
and prints processor time and memory at the peak of each command.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import run_in_turns

IMAGES, CHARACTERS = 20_000, 500_000_000
PICTURES = """
model Pictures {{
    input x: f32[batch, 3, {side}, {side}]
    y = x -> Conv2D(8, 3, stride: {stride}) -> relu -> Flatten() -> Dense(2)
    output y
}}
train Pictures {{
    data images("{data}")
    target t: i64[batch]
    loss cross_entropy(y, t)
    optimizer sgd(lr: 0.01)
    batch 64
    epochs 1
}}
"""
LETTERS = """
model Letters {{
    input x: i64[batch, time]
    y = x -> Embedding(20100, 4) -> Dense(40)
    output y
}}
train Letters {{
    data text("{data}") -> {stage}(length: 64)
    target t: i64[batch, time]
    loss mean(y ** 2)
    optimizer sgd(lr: 0.01)
    batch 1024
    epochs 1
}}
"""


def write_images(folder: Path, side: int, ending: str) -> None:
    """Two classes of coloured clouds with noise."""
    from PIL import Image

    generator = np.random.default_rng(1)
    noise = generator.integers(0, 40, (8, side, side, 3), dtype=np.uint8)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
    options: dict[str, Any] = {"quality": 90} if ending == "jpg" else {"compress_level": 1}
    for number in range(IMAGES):
        cloud = Image.fromarray(generator.integers(0, 215, (6, 6, 3), dtype=np.uint8))
        pixels = np.asarray(cloud.resize((side, side), Image.Resampling.BICUBIC)).astype(np.uint16) + noise[number % 8]
        picture = Image.fromarray(np.minimum(pixels, 255).astype(np.uint8))
        picture.save(folder / ("cats", "dogs")[number % 2] / f"{number}.{ending}", **options)


def write_text(path: Path) -> None:
    """Lines of words whose frequencies are those of Zipf's law, again and again in another order."""
    generator = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(generator.choice(letters, length)) for length in generator.integers(1, 11, 20_000)]
    frequencies = 1 / np.arange(1, len(words) + 1)
    frequencies /= frequencies.sum()
    lines = [" ".join(words[n] for n in generator.choice(len(words), 12, p=frequencies)) for _ in range(20_000)]
    size = 0
    with path.open("w") as file:
        while size < CHARACTERS:
            size += file.write("\n".join(lines[number] for number in generator.permutation(len(lines))) + "\n")


def pictures(side: int, ending: str) -> Callable[[Path], str]:
    """The model for images of a size, which are written first."""

    def prepare(folder: Path) -> str:
        data = folder / f"images-{side}-{ending}"
        if not data.exists():
            write_images(data, side, ending)
        return PICTURES.format(side=side, stride=side // 16, data=data)

    return prepare


def texts(stage: str) -> Callable[[Path], str]:
    """The model for windows that a stage cuts of a text, which is written first."""

    def prepare(folder: Path) -> str:
        data = folder / "text.txt"
        if not data.exists():
            write_text(data)
        return LETTERS.format(data=data, stage=stage)

    return prepare


CASES = {
    "images-64": pictures(64, "jpg"),
    "images-224": pictures(224, "jpg"),
    "images-224-png": pictures(224, "png"),
    "characters": texts("characters"),
    "words": texts("words"),
}


def main() -> None:
    """Measure the chosen cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the data is written, and stays")
    parser.add_argument("--case", action="append", choices=[*CASES], default=[], help="one of them; repeatable")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for case in options.case or CASES:
        model = folder / f"{case}.model"
        model.write_text(CASES[case](folder))
        train = ["-m", "nablac", "train", str(model), "-q"]
        shutil.rmtree(folder / "run", ignore_errors=True)
        commands = {"first step": [*train, "--dry-run"], "an epoch": [*train, "-o", str(folder / "run")]}
        for name, usage in run_in_turns(commands, 1, first=False).items():
            figures = usage.failure or f"{usage.processor_time().median:.1f} s, {usage.peak().median:.0f} MiB"
            print(f"{case:16} {name:12} {figures}", flush=True)


if __name__ == "__main__":
    main()
