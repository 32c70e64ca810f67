"""Damaged files of every format: each command ends soon, in little memory, with a documented status and an error."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile import forked
from tests.hostile.formats import Format, formats
from tests.hostile.mutations import damaged, damaged_json

for needed in ("PIL", "pyarrow", "tokenizers"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked, with limits of Linux")

FEW, MANY = 6, int(os.environ.get("NABLAC_MUTATIONS", "1000"))
NAMES = (
    "csv", "csv to run", "csv.gz", "npy", "npz", "npz to run", "json", "parquet", "png to run", "png", "jpg", "idx",
    "idx labels", "csv of digits", "safetensors", "weights of npz", "weights of onnx", "index", "rules", "onnx",
    "tokenizer", "vocab", "txt", "py", "po",
    "tsv", "run.json", "data.json", "checkpoint", "weights of a run",
    "csv to predict", "json lines", "parquet to predict", "recipe", "prompts",
)  # fmt: skip


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Format]:
    forked.preload()
    return formats(tmp_path_factory.mktemp("formats") / "one")


def test_every_format_is_tried(every: dict[str, Format]) -> None:
    assert tuple(every) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_good_file_is_read(every: dict[str, Format], name: str, tmp_path: Path) -> None:
    every[name].write(tmp_path / "one", every[name].content)
    ended = forked.run(list(every[name].arguments), tmp_path / "one")
    assert ended.status == 0, ended.errors


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_reported(every: dict[str, Format], name: str, tmp_path: Path) -> None:
    assert not faults(every[name], name, range(FEW), tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize("name", NAMES)
def test_many_damaged_files_are_reported(every: dict[str, Format], name: str, tmp_path: Path) -> None:
    assert not faults(every[name], name, range(FEW, MANY), tmp_path)


def faults(format: Format, name: str, seeds: range, folder: Path) -> list[str]:
    """The violations of the rules, each with the seed of its file."""
    faults: list[str] = []
    slowest = largest = 0.0
    started = time.monotonic()
    for seed in seeds:
        case = folder / "one"
        shutil.rmtree(case, ignore_errors=True)
        format.write(case, content(format, name, seed))
        ended = forked.run(list(format.arguments), case)
        slowest, largest = max(slowest, ended.seconds), max(largest, ended.megabytes)
        if ended.fault is not None:
            faults.append(f"{name}, seed {seed}: {ended.fault}: {ended.errors[-300:]}")
    print(f"{name}: {len(seeds)} files in {time.monotonic() - started:.0f} s, at most {slowest:.1f} s, {largest} MB")
    return faults


def content(format: Format, name: str, seed: int) -> bytes:
    """A damaged file: changed bytes, or half of the time changed packed content, or a changed value of its JSON."""
    chance = random.Random(f"{name} {seed}")
    held = format.content if format.inside is None else format.inside
    if chance.random() < 0.5:
        with suppress(ValueError):  # not JSON
            return format.seal(json.dumps(damaged_json(json.loads(held), chance)).encode())
    if format.inside is not None and chance.random() < 0.5:
        try:
            return format.seal(damaged(format.inside, chance))
        except ValueError:  # this cannot be packed
            pass
    return damaged(format.content, chance)
