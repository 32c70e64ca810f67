"""Whether an update is compiled where the user leaves it open, and that its bits do not depend on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from compiler.training.flat_updates import FlatUpdate
from runtime.training import loop_choice, training_run
from runtime.training.in_place_update import chain_of_group
from runtime.training.loop_choice import LONG_RUN, pays_to_compile
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.command_line import invoke
from tests.models import text_source

MODEL = """
model Line { input x: [batch, 3]; y = x -> Dense(9, activation: tanh) -> Dense(1); output y }
train Line {
    target t: [batch, 1]
    loss mse(y, t)
    optimizer adam(lr: 1e-2)
    epochs 4
    batch 16
    data csv("line.csv") -> columns(inputs: ["a", "b", "c"], targets: ["t"])
}
"""


def update_of(optimizer: str) -> FlatUpdate:
    run = Training(text_source(MODEL.replace("adam(lr: 1e-2)", optimizer)))
    assert run.split_graphs is not None
    return run.split_graphs.update


@pytest.mark.parametrize(
    ("weights", "steps", "kept", "compiled"),
    [
        pytest.param(10_000, 100, False, False, id="a small short run"),
        pytest.param(10_000, 100, True, False, id="a short run, even of a loop that is kept"),
        pytest.param(10_000, 20_000, False, False, id="numba's start costs what this run saves"),
        pytest.param(10_000, 20_000, True, True, id="unless the loop is kept"),
        pytest.param(10_000, LONG_RUN, False, True, id="a small long run"),
        pytest.param(2_000_000, 100, False, False, id="a large update, a few times"),
        pytest.param(2_000_000, 1000, False, True, id="a large update"),
        pytest.param(0, 0, True, False, id="no step"),
    ],
)
def test_compiled_where_it_takes_less_time(
    weights: int, steps: int, kept: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="loops are compiled by numba: pip install 'nablac[jit]'")
    monkeypatch.setattr(loop_choice, "is_kept", lambda source: kept)
    assert pays_to_compile(update_of("adam()"), weights, steps) is compiled


def test_updates_without_loops_are_not_compiled() -> None:
    update = update_of("adam()")
    assert not pays_to_compile(update.replace(groups=()), 10**9, LONG_RUN)


def test_not_compiled_where_numba_is_missing_or_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    update = update_of("adam()")
    monkeypatch.setattr(loop_choice, "find_spec", lambda name: None)
    assert not pays_to_compile(update, 10**9, LONG_RUN)
    monkeypatch.setattr(loop_choice, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "numba", None)  # its import raises ImportError
    assert not pays_to_compile(update, 10**9, LONG_RUN)


def test_a_loop_is_kept_once_it_has_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="loops are compiled by numba: pip install 'nablac[jit]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept: list[bool] = []
    monkeypatch.setattr(loop_choice, "is_kept", lambda source: kept.append(real(source)) or kept[-1])
    from runtime.compiled_loops import is_kept as real

    run = Training(text_source(MODEL), options=Options(jit=True))
    pays_to_compile(update_of("adam()"), 10_000, 20_000)
    stepper = run.stepper(run.first_state())
    zeros = {"x": np.zeros((2, 3), np.float32), "t": np.zeros((2, 1), np.float32)}
    stepper.step({**zeros, "step": np.array(1, np.float32)})
    pays_to_compile(update_of("adam()"), 10_000, 20_000)
    assert kept == [False, True]


def test_a_group_has_one_chain_of_its_roles() -> None:
    (group,) = update_of("adam()").groups
    chain = chain_of_group(group)
    assert {list(group.operands.values())[index] for index in chain.overwritten.values()} == set(group.results)


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model and its data."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(80, 3))
    lines = [",".join(f"{cell:.6f}" for cell in (*row, row.sum())) for row in rows]
    (tmp_path / "line.csv").write_text("a,b,c,t\n" + "\n".join(lines) + "\n")
    (tmp_path / "m.model").write_text(MODEL)
    return tmp_path


def weights_of(run: Path) -> dict[str, Any]:
    return load_file(run / "weights.safetensors")


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_a_run_has_the_same_bits_however_its_update_runs(
    backend: str, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="loops are compiled by numba: pip install 'nablac[jit]'")
    plain = invoke("train", "m.model", "--backend", backend, "-o", "plain", "--no-jit")
    assert plain.exit_code == 0 and "numba" not in plain.stderr, plain.stderr
    monkeypatch.setattr(training_run, "pays_to_compile", lambda *facts: True)
    compiled = invoke("train", "m.model", "--backend", backend, "-o", "compiled")
    assert f", {backend}, update compiled by numba\n" in compiled.stderr
    begun = invoke("train", "m.model", "--backend", backend, "-o", "part", "--epochs", "2", "-q")
    assert begun.exit_code == 0, begun.stderr
    monkeypatch.setattr(training_run, "pays_to_compile", lambda *facts: False)
    resumed = invoke("train", "--resume", "part", "--epochs", "3", "-q", "--jit")
    assert resumed.exit_code == 0, resumed.stderr
    resumed = invoke("train", "--resume", "part", "--epochs", "4", "--no-jit")
    assert resumed.exit_code == 0 and "numba" not in resumed.stderr, resumed.stderr
    wanted = weights_of(line / "plain")
    for name in ("compiled", "part"):
        weights = weights_of(line / name)
        assert weights.keys() == wanted.keys()
        for path, array in wanted.items():
            np.testing.assert_array_equal(weights[path], array, err_msg=f"{name}: {path}")
    records = {name: json.loads((line / name / "run.json").read_text()) for name in ("plain", "compiled", "part")}
    assert {name: record["facts"]["compiles_update"] for name, record in records.items()} == {
        "plain": False, "compiled": True, "part": False,
    }  # fmt: skip
    assert [records[name]["choices"]["jit"] for name in records] == [False, None, False]


def test_the_steps_of_a_run_are_those_of_its_epochs(line: Path) -> None:
    source = text_source(MODEL)
    assert Training(source, folder=line).steps_of_run == 4 * 5
    assert Training(source, Options(epochs=3, limit_batches=2), folder=line).steps_of_run == 3 * 2


def test_an_evaluation_neither_compiles_nor_differentiates(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke("train", "m.model", "-o", "run", "-q", "--no-jit").exit_code == 0
    for name in ("pays_to_compile", "flat_update", "fit_into"):
        monkeypatch.setattr(training_run, name, None)
    for backend in ("numpy", "ort"):
        done = invoke("eval", "run", "--part", "training", "--backend", backend, "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["loss"] > 0


def test_a_session_evaluates_only_where_there_is_something_to_evaluate(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.training import onnx_steppers

    sessions: list[str] = []
    real = onnx_steppers.OnnxRunner
    monkeypatch.setattr(onnx_steppers, "OnnxRunner", lambda *a, **named: sessions.append("") or real(*a, **named))
    for share, count in (("0", 1), ("0.2", 2)):
        sessions.clear()
        done = invoke("train", "m.model", "--backend", "ort", "-o", f"run{share}", "-q", "--validation", share)
        assert done.exit_code == 0, done.stderr
        assert len(sessions) == count
