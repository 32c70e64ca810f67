"""`nablac tune --engine ray`: the same studies as without Ray, on one cluster for all tests of this file."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.command_line import invoke
from tests.nablac.tuned import TEXT, rows, tune, unclocked, write_model

pytest.importorskip("optuna")

FEW = ("--search", "random", "--epochs", "2", "--set", "act=relu")
OPTIMIZER = "choice(adam(lr: log(1e-3..1e-1)), sgd(lr: 0.01..0.1))"


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[str, ...]]:
    """The options that run trials on a cluster of two processors, which this process has joined."""
    pytest.importorskip("ray.tune")
    from contextlib import nullcontext

    from runtime.workers.ray_cluster import connect

    with connect(None, 2), patch("nablac.commands.tune._cluster", lambda address, cpus=None: nullcontext()):
        yield ("--engine", "ray", "-q")


def test_a_study_on_ray_has_the_trials_of_one_without_to_the_bit(tmp_path: Path, engine: tuple[str, ...]) -> None:
    write_model(tmp_path)
    tune(tmp_path, *FEW, "--trials", "3", "-q", "-o", "alone")
    tune(tmp_path, *FEW, "--trials", "3", "--workers", "2", *engine, "-o", "study")
    assert unclocked(tmp_path / "study") == unclocked(tmp_path / "alone")
    for name in ("best.model", *(f"trials/{number}/weights.safetensors" for number in range(3))):
        assert (tmp_path / "study" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert (tmp_path / "study" / "study.html").is_file() and not (tmp_path / "study" / "ray").exists()
    record = json.loads((tmp_path / "study" / "trials" / "0" / "run.json").read_text())
    assert record["facts"]["sessions"][0]["command"].startswith("nablac tune net.model --search random")


def test_asha_prunes_what_is_worse_than_others(tmp_path: Path, engine: tuple[str, ...]) -> None:
    """Of one grid with a good and a bad learning rate, the bad ones after the good are stopped in the first epoch."""
    write_model(tmp_path, TEXT.replace(OPTIMIZER, "sgd(lr: choice(0.1, 0.0001, 0.00011))"))
    options = ("--search", "grid", "--set", "units=4", "--set", "act=tanh", "--epochs", "3", "--prune")
    tune(tmp_path, *options, "--workers", "1", *engine, "-o", "study")
    assert [(row["state"], row["epochs"]) for row in rows(tmp_path / "study")] == [
        ("done", "3"),
        ("pruned", "1"),
        ("pruned", "1"),
    ]
    assert json.loads((tmp_path / "study" / "study.json").read_text())["search"]["pruner"] == "halving"


def test_failures_and_equal_values_are_recorded_as_without_ray(tmp_path: Path, engine: tuple[str, ...]) -> None:
    """Of three trials with two possible values, which all fail, one has the values of another."""
    text = TEXT.replace(OPTIMIZER, "sgd(lr: 0.1)")
    write_model(tmp_path, text.replace("mse(y, t)", "mse(y, t) + choice(2.0, 3.0) * mean(log(0.0 - exp(y)))"))
    values = ("--set", "units=4", "--set", "act=relu", "--epochs", "1", "--search", "random", "--trials", "3")
    for name, on in (("alone", ("-q",)), ("study", (*engine, "--workers", "1"))):
        ended = invoke("tune", "net.model", *values, *on, "-o", name, folder=tmp_path)
        assert ended.exit_code == 1, ended.output
    trials = unclocked(tmp_path / "study")
    assert trials == unclocked(tmp_path / "alone")
    assert {row["message"][:4] for row in trials} == {"E842"} and any(row["same_as"] for row in trials)


def test_a_worker_that_dies_is_replaced_and_its_trial_continues(tmp_path: Path, engine: tuple[str, ...]) -> None:
    from runtime.search.ray_search import StudySearch

    write_model(tmp_path)
    options = ("--search", "random", "--trials", "1", "--epochs", "12")
    tune(tmp_path, *options, "-q", "-o", "alone")
    killed: list[int] = []
    real = StudySearch.on_trial_result

    def kill(search: StudySearch, trial_id: str, result: dict[str, Any]) -> None:
        real(search, trial_id, result)
        if result["epoch"] == 3 and not killed:
            killed.append(result["pid"])
            os.kill(result["pid"], signal.SIGKILL)

    with patch.object(StudySearch, "on_trial_result", kill):
        tune(tmp_path, *options, "--workers", "1", *engine, "-o", "study")
    assert killed
    assert unclocked(tmp_path / "study") == unclocked(tmp_path / "alone")


def test_a_study_that_is_stopped_is_good_and_resumes_without_ray(tmp_path: Path, engine: tuple[str, ...]) -> None:
    write_model(tmp_path)
    options = ("--search", "random", "--trials", "2", "--epochs", "30")

    def interrupt(self: object, number: int, epoch: int) -> None:
        if epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # in which Python calls the handler

    with patch("nablac.commands.trial_progress.TrialProgress.epoch", interrupt):
        stopped = invoke("tune", "net.model", *options, "--workers", "1", *engine, "-o", "study", folder=tmp_path)
    assert stopped.exit_code == 130, stopped.output
    assert stopped.stderr == "stopped and saved after 0 of 2 trials; resume with:   nablac tune --resume study\n"
    tune(tmp_path, "--resume", "study", "-q", file="")
    tune(tmp_path, *options, "-q", "-o", "alone")
    assert unclocked(tmp_path / "study") == unclocked(tmp_path / "alone")


def test_what_every_trial_would_meet_ends_the_search_on_ray(tmp_path: Path, engine: tuple[str, ...]) -> None:
    write_model(tmp_path)
    tune(tmp_path, *FEW, "--trials", "2", "--time", "0", "-q", "-o", "study")
    (tmp_path / "study" / "trials" / "0").write_text("a file where a run's folder has to be")
    ended = invoke("tune", "--resume", "study", *engine, folder=tmp_path)
    assert ended.exit_code == 2 and ended.stderr.startswith("error[E843]"), ended.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--address", "127.0.0.1:1"), "`--address` is for `--engine ray`"),
        (("--engine", "mpi"), "Invalid value for '--engine'"),
    ],
)
def test_refused_options_of_ray(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    write_model(tmp_path)
    ended = invoke("tune", "net.model", *arguments, folder=tmp_path)
    assert ended.exit_code == 2 and message in ended.stderr


def test_without_ray_the_extras_are_named(tmp_path: Path) -> None:
    write_model(tmp_path)
    with patch("runtime.search.extra.find_spec", lambda module: None if module in ("ray", "pandas") else object()):
        ended = invoke("tune", "net.model", "--engine", "ray", folder=tmp_path)
    assert ended.exit_code == 2 and "error[E809]: a search on Ray needs the `ray` extra: ray, pandas" in ended.stderr
    assert "pip install 'nablac[ray,tune]'" in ended.stderr
