"""Trials of a process share their data: files are read once for the same question, and again for another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

pytest.importorskip("optuna")

from runtime.data.loading import load_examples
from tests.nablac.tuned import TEXT, rows, tune, write_model


@contextmanager
def counted() -> Iterator[list[Any]]:
    """The descriptions of data that are carried out."""
    calls: list[Any] = []

    def load(*arguments: Any) -> Any:
        calls.append(arguments)
        return load_examples(*arguments)

    with patch("runtime.search.shared_data.load_examples", load):
        yield calls


WINDOW = 'columns(inputs: ["a", "b"], targets: ["c"])'


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        (TEXT, 1),
        (TEXT.replace(WINDOW, f"choice(standardize(), min_max()) -> {WINDOW}"), 2),
        (TEXT.replace("validation 0.25", 'validation "rows.csv"'), 2),
        (TEXT.replace("validation 0.25", "validation choice(0.25, 0.5)"), 2),
    ],
)
def test_files_are_read_once_for_all_trials(tmp_path: Path, text: str, readings: int) -> None:
    write_model(tmp_path, text)
    with counted() as calls:
        tune(tmp_path, "--search", "random", "--trials", "8", "--epochs", "1", "--set", "units=3", "-q", "-o", "study")
    assert len(calls) == readings
    assert len(rows(tmp_path / "study")) == 8


def test_shared_examples_are_those_that_are_read(tmp_path: Path) -> None:
    write_model(tmp_path, TEXT.replace("2..8", "4").replace("choice(relu, tanh)", "relu"))
    tune(tmp_path, "--trials", "3", "--epochs", "1", "-q", "-o", "study")
    with patch("runtime.search.shared_data._FEW", 0), patch("runtime.search.shared_data._MOST_BYTES", 0):
        tune(tmp_path, "--trials", "3", "--epochs", "1", "-q", "-o", "unshared")
    shared, unshared = rows(tmp_path / "study"), rows(tmp_path / "unshared")
    assert np.array_equal([row["val_loss"] for row in shared], [row["val_loss"] for row in unshared])
