"""A second training keeps the scaling of the first, and says so where the data is far from it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import nablac
from tests.command_line import invoke

TEXT = """
model M { input x: [batch, 2]; output y = x -> Dense(1) }
train M { target t: [batch, 1]; loss mse(y, t); data arrays() -> standardize(); epochs 1 }
"""
X = np.random.default_rng(0).normal([3, -1], [2, 0.5], size=(40, 2))
DATA = {"x": X, "t": X.sum(axis=1, keepdims=True)}
KEPT = "note: the weights keep the scaling that they were first trained with, and this data is far from it: scaled, "


def trained() -> nablac.Model:
    model = nablac.compile(TEXT)
    model.train(DATA, validation=0, progress=False)
    return model


def far(name: str, numbers: np.ndarray, column: int) -> str:
    """What is said of numbers whose column `column` is the farthest, by NumPy's mean and deviation."""
    first = DATA[name]
    scaled = (numbers - first.mean(axis=0)) / first.std(axis=0)
    mean, deviation = scaled.mean(axis=0)[column], scaled.std(axis=0)[column]
    return f"`{name}` has mean {mean:.3g} and standard deviation {deviation:.3g}"


@pytest.mark.parametrize(
    ("factor", "shift", "columns"), [(100.0, 0.0, (1, 0)), (1.0, 40.0, (1, 0)), (0.001, 0.0, None)]
)
def test_data_of_another_range_is_noted(factor: float, shift: float, columns: tuple[int, int] | None) -> None:
    model, other = trained(), {name: array * factor + shift for name, array in DATA.items()}
    before = model.fitted
    with pytest.warns(UserWarning) as caught:
        model.train(other, validation=0, progress=False)
    (warning,) = caught
    message = str(warning.message)
    assert message.startswith(KEPT) and message.endswith("; a new model, from `nablac.compile`, fits its own")
    if columns is not None:
        x, t = (far(name, other[name], column) for name, column in zip(("x", "t"), columns, strict=True))
        assert message == f"{KEPT}{x}, {t}; a new model, from `nablac.compile`, fits its own"
    assert warning.filename == __file__
    assert model.fitted is not None and before is not None
    for name, (offset, scale) in before.numbers.items():
        np.testing.assert_array_equal(model.fitted.numbers[name], (offset, scale))


@pytest.mark.parametrize(("factor", "shift"), [(1.0, 0.0), (2.0, 1.0), (0.5, -1.0)])
def test_data_of_about_the_same_range_is_not(factor: float, shift: float) -> None:
    model = trained()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.train({name: array * factor + shift for name, array in DATA.items()}, progress=False)
        nablac.compile(TEXT).train({name: array * 100 for name, array in DATA.items()}, progress=False)


def test_weights_on_the_command_line_keep_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained().save("w.safetensors")
    np.savez("far.npz", x=X * 100, t=DATA["t"])
    Path("m.model").write_text(TEXT.replace("data arrays()", 'validation 0; data npz("far.npz")'))
    done = invoke("train", "m.model", "--weights", "w.safetensors", "-o", "run")
    assert done.exit_code == 0, done.stderr
    note = f"{KEPT}{far('x', X * 100, 1)}; a training without --weights fits its own\n"
    assert note in done.stderr
    assert KEPT not in invoke("train", "m.model", "-o", "new").stderr
