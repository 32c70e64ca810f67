"""`nablac tune`: studies of a small model, their trials, and their results."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from tests.command_line import invoke
from tests.nablac.tuned import TEXT, rows, tune, unclocked, write_model
from tests.paths import ROOT

pytest.importorskip("optuna")


@pytest.mark.parametrize(("search", "trials"), [("grid", "4"), ("random", "4"), ("tpe", "13")])
def test_a_seed_gives_the_same_study_twice(tmp_path: Path, search: str, trials: str) -> None:
    write_model(tmp_path)
    for name in ("one", "two"):
        tune(tmp_path, "--search", search, "--trials", trials, "--epochs", "1", "--seed", "5", "-q", "-o", name)
    assert unclocked(tmp_path / "one") == unclocked(tmp_path / "two")
    assert len(rows(tmp_path / "one")) == int(trials)
    assert (tmp_path / "one" / "best.model").read_text() == (tmp_path / "two" / "best.model").read_text()


@pytest.mark.parametrize("search", ["random", "tpe"])
def test_another_seed_gives_another_study(tmp_path: Path, search: str) -> None:
    write_model(tmp_path)
    for seed in ("1", "2"):
        tune(tmp_path, "--search", search, "--trials", "2", "--epochs", "1", "--seed", seed, "-q", "-o", seed)
    assert unclocked(tmp_path / "1") != unclocked(tmp_path / "2")


def test_a_grid_has_every_combination_once_and_only_the_ranges_of_what_is_chosen(tmp_path: Path) -> None:
    write_model(tmp_path)
    tune(tmp_path, "--search", "grid", "--points", "2", "--epochs", "1", "-q", "-o", "study")
    trials = rows(tmp_path / "study")
    combinations = [tuple(row[name] for name in ("units", "act", "optimizer", "adam.lr", "sgd.lr")) for row in trials]
    assert combinations == [
        (units, act, *rest)
        for units in ("2", "8")
        for act in ("relu", "tanh")
        for rest in (("adam", "0.001", ""), ("adam", "0.1", ""), ("sgd", "", "0.01"), ("sgd", "", "0.1"))
    ]


def test_the_middle_of_three_points_is_what_stands_for_the_range_where_nothing_is_searched(tmp_path: Path) -> None:
    adam = "adam(lr: log(1e-3..1e-1))"
    write_model(tmp_path, TEXT.replace(f"choice({adam}, sgd(lr: 0.01..0.1))", adam))
    tune(tmp_path, "--search", "grid", "--epochs", "2", "--set", "act=relu", "-q", "-o", "study")
    middle = [
        row
        for row in rows(tmp_path / "study")
        if (row["units"], row["optimizer.lr"]) == ("5", str((1e-3 * 1e-1) ** 0.5))
    ]
    assert len(middle) == 1
    plain = invoke("train", "net.model", "--epochs", "2", "-q", "-o", "plain", folder=tmp_path)
    assert plain.exit_code == 0
    trial = tmp_path / "study" / "trials" / middle[0]["trial"]
    assert (trial / "history.csv").read_bytes() == (tmp_path / "plain" / "history.csv").read_bytes()


def test_a_trial_is_an_ordinary_run(tmp_path: Path) -> None:
    write_model(tmp_path)
    tune(tmp_path, "--search", "random", "--trials", "2", "-q", "-o", "study")
    run = tmp_path / "study" / "trials" / "1"
    for name in ("run.json", "spec.model", "history.csv", "curves.svg", "weights.safetensors", "model.onnx"):
        assert (run / name).is_file(), name
    assert " .. " not in (run / "spec.model").read_text() and "choice" not in (run / "spec.model").read_text()
    ended = invoke("eval", run, "--json", folder=tmp_path)
    assert ended.exit_code == 0, ended.output
    assert math.isclose(json.loads(ended.stdout)["loss"], float(rows(tmp_path / "study")[1]["val_loss"]), rel_tol=1e-5)
    longer = invoke("train", run / "spec.model", "--resume", run, "--epochs", "5", "-q", folder=tmp_path)
    assert longer.exit_code == 0, longer.output
    assert len((run / "history.csv").read_text().splitlines()) == 6


def test_the_best_is_ready_to_train_and_comes_to_the_same(tmp_path: Path) -> None:
    write_model(tmp_path)
    ended = tune(tmp_path, "--search", "random", "--trials", "3", "-o", "study")
    best = min(rows(tmp_path / "study"), key=lambda row: float(row["val_loss"]))
    assert f"best trial {best['trial']}: val_loss {float(best['val_loss']):.6g}" in ended.stdout
    (command,) = [line for line in ended.stderr.splitlines() if line.startswith("train:")]
    assert command.split() == ["train:", "nablac", "train", "study/best.model"]
    again = invoke("train", "study/best.model", "-q", "-o", "again", folder=tmp_path)
    assert again.exit_code == 0, again.output
    for name in ("history.csv", "weights.safetensors"):
        trial = tmp_path / "study" / "trials" / best["trial"]
        assert (trial / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_trial_on_onnxruntime_is_what_train_comes_to(tmp_path: Path, jobs: str) -> None:
    write_model(tmp_path)
    options = ("--backend", "ort", "--epochs", "1")
    ended = tune(tmp_path, *options, "--trials", "2", "--jobs", jobs, "-o", "study")
    assert "train:     nablac train study/best.model --epochs 1 --backend ort" in ended.stderr
    assert invoke("train", "study/best.model", *options, "-q", "-o", "again", folder=tmp_path).exit_code == 0
    best = min(rows(tmp_path / "study"), key=lambda row: float(row["val_loss"]))["trial"]
    trial = tmp_path / "study" / "trials" / best / "history.csv"
    assert trial.read_bytes() == (tmp_path / "again" / "history.csv").read_bytes()


def test_a_study_of_a_model_with_imports_has_them_with_their_values(tmp_path: Path) -> None:
    write_model(tmp_path, 'from "parts/wide.model" import Wide\n' + TEXT.replace("Dense(units)", "Wide(units)"))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "wide.model").write_text(
        "layer Wide(units: int) {\n    input x: [batch, n]\n    output x -> Dense(units * choice(2, 3))\n}\n"
    )
    tune(tmp_path, "--search", "grid", "--points", "2", "--trials", "4", "-o", "study")
    study = tmp_path / "study"
    assert "choice(2, 3)" in (study / "spec" / "imported" / "wide.model").read_text()
    assert "choice" not in (study / "imported" / "wide.model").read_text()
    again = invoke("train", "study/best.model", "-q", "-o", "again", folder=tmp_path)
    assert again.exit_code == 0, again.output
    best = min(rows(study), key=lambda row: float(row["val_loss"]))["trial"]
    assert (study / "trials" / best / "history.csv").read_bytes() == (tmp_path / "again" / "history.csv").read_bytes()
    run = study / "trials" / best
    assert invoke("train", run / "spec.model", "--resume", run, "-q", folder=tmp_path).exit_code == 0


def test_what_is_set_is_not_searched_and_is_written_into_the_best(tmp_path: Path) -> None:
    write_model(tmp_path)
    tune(tmp_path, "--set", "units=3", "--set", "act=relu", "--trials", "2", "-q", "-o", "study")
    assert not {"units", "act"} & rows(tmp_path / "study")[0].keys()
    assert "units = 3, act = relu" in (tmp_path / "study" / "best.model").read_text()


def test_equal_values_are_trained_once(tmp_path: Path) -> None:
    write_model(tmp_path, TEXT.replace("2..8", "2..3").replace("log(1e-3..1e-1)", "0.01").replace("0.01..0.1", "0.1"))
    tune(tmp_path, "--search", "random", "--trials", "12", "--epochs", "1", "-q", "-o", "study")
    trials = rows(tmp_path / "study")
    first: dict[tuple[str, ...], dict[str, str]] = {}
    for row in trials:
        values = tuple(row[name] for name in ("units", "act", "optimizer"))
        earlier = first.setdefault(values, row)
        assert row["same_as"] == ("" if earlier is row else earlier["trial"])
        assert row["val_loss"] == earlier["val_loss"]
        assert (tmp_path / "study" / "trials" / row["trial"]).is_dir() == (earlier is row)
    assert len(first) <= 8 < len(trials)


def test_a_trial_that_fails_is_recorded_and_the_study_goes_on(tmp_path: Path) -> None:
    assertion = '    input x: [batch, 2]\n    assert units < 4, "units = {units} are too many"\n'
    write_model(tmp_path, TEXT.replace("2..8", "choice(2, 6)").replace("    input x: [batch, 2]\n", assertion))
    ended = tune(tmp_path, "--search", "grid", "--points", "1", "--epochs", "1", "-o", "study")
    trials = rows(tmp_path / "study")
    assert {(row["units"], row["state"]) for row in trials} == {("2", "done"), ("6", "failed")}
    failed = [row for row in trials if row["state"] == "failed"]
    assert {row["message"] for row in failed} == {"E501: units = 6 are too many"}
    assert f"{len(failed)} of {len(trials)} trials failed, the first with E501" in ended.stderr


def test_where_every_trial_fails_that_is_said(tmp_path: Path) -> None:
    write_model(tmp_path, TEXT.replace("mse(y, t)", "mse(y, t) + mean(log(0.0 - exp(y)))"))
    ended = invoke("tune", "net.model", "--trials", "2", "-o", "study", folder=tmp_path)
    assert ended.exit_code == 1
    assert "every trial failed, the first with E842" in ended.stderr
    assert not (tmp_path / "study" / "best.model").exists()
    assert [row["state"] for row in rows(tmp_path / "study")] == ["failed", "failed"]


def test_a_higher_metric_is_better_where_it_is_monitored(tmp_path: Path) -> None:
    monitored = '    metric closeness(y, t)\n    monitor "val_closeness"\n    mode "max"\n'
    closeness = "fn closeness(y, t) = 0.0 - mean(abs(y - t))\n"
    text = closeness + TEXT.replace("    epochs ", f"{monitored}    epochs ")
    write_model(tmp_path, text)
    ended = tune(tmp_path, "--search", "random", "--trials", "3", "--json", "-o", "study")
    report = json.loads(ended.stdout)
    assert (report["monitor"], report["higher_is_better"]) == ("val_closeness", True)
    assert report["best"]["objective"] == max(trial["objective"] for trial in report["trials"])


def test_json_has_all_trials(tmp_path: Path) -> None:
    write_model(tmp_path)
    report = json.loads(tune(tmp_path, "--trials", "2", "--json", "-o", "study").stdout)
    assert [trial["number"] for trial in report["trials"]] == [0, 1]
    assert report["model"] == "study/best.model" and report["unfinished"] == 0
    assert report["trials"][0]["values"].keys() >= {"units", "act", "optimizer"}


def test_pruned_trials_end_early_and_are_never_the_best(tmp_path: Path) -> None:
    write_model(tmp_path)
    options = ("--search", "random", "--trials", "7", "--epochs", "12")
    tune(tmp_path, *options, "-q", "-o", "whole")
    tune(tmp_path, *options, "--prune", "-q", "-o", "pruned")
    whole, pruned = rows(tmp_path / "whole"), rows(tmp_path / "pruned")
    ended_early = [row for row in pruned if row["state"] == "pruned"]
    assert ended_early and all(int(row["epochs"]) < 12 for row in ended_early)
    for before, after in zip(whole, pruned, strict=True):
        if after["state"] == "done":
            assert (before["val_loss"], before["units"]) == (after["val_loss"], after["units"])
    assert "pruned" not in min(pruned, key=lambda row: (row["state"] != "done", float(row["val_loss"])))["state"]


@pytest.mark.parametrize("pruner", ["halving", "hyperband"])
def test_other_pruners(tmp_path: Path, pruner: str) -> None:
    write_model(tmp_path)
    options = ("--search", "random", "--trials", "8", "--epochs", "20", "--pruner", pruner)
    tune(tmp_path, *options, "-q", "-o", "study")
    assert {row["state"] for row in rows(tmp_path / "study")} == {"done", "pruned"}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_each_trial_has_the_threads_that_are_asked_for_and_keeps_them(tmp_path: Path, jobs: str) -> None:
    write_model(tmp_path)
    options = ("--search", "random", "--epochs", "1", "-q")
    tune(tmp_path, *options, "--trials", "2", "--jobs", jobs, "--threads", "2", "-o", "study")
    tune(tmp_path, "--resume", "study", "--trials", "3", "-q", file="")
    for number in ("0", "1", "2"):
        record = json.loads((tmp_path / "study" / "trials" / number / "run.json").read_text())
        assert record["choices"]["threads"] == 2
    refused = invoke("tune", "--resume", "study", "--threads", "1", folder=tmp_path)
    assert refused.exit_code == 2
    assert "error[E870]: study was started with --threads 2, not --threads 1" in refused.stderr
    shown = tune(tmp_path, "--resume", "study", file="").stderr
    assert "nablac train study/best.model --epochs 1 --threads 2\n" in shown


def test_a_study_is_extended(tmp_path: Path) -> None:
    write_model(tmp_path)
    tune(tmp_path, "--search", "random", "--trials", "5", "--epochs", "1", "-q", "-o", "whole")
    tune(tmp_path, "--search", "random", "--trials", "2", "--epochs", "1", "-q", "-o", "study")
    tune(tmp_path, "--resume", "study", "--trials", "5", "-q", file="")
    assert unclocked(tmp_path / "study") == unclocked(tmp_path / "whole")


def test_variables_of_options_that_are_not_the_first_are_announced_and_drawn_on_their_scale(tmp_path: Path) -> None:
    optimizer = "choice(adam(), sgd(lr: log(1e-3..1e-1)))"
    write_model(tmp_path, TEXT.replace("choice(adam(lr: log(1e-3..1e-1)), sgd(lr: 0.01..0.1))", optimizer))
    options = ("--search", "grid", "--points", "7", "--set", "units=4", "--set", "act=tanh", "--epochs", "1")
    ended = tune(tmp_path, *options, "-o", "study")
    assert "  sgd.lr: 0.001 to 0.1, any number, logarithmic\n" in ended.stderr
    chart = (tmp_path / "study" / "study.html").read_text().split(">val_loss by sgd.lr<")[-1].split("</svg>")[0]
    assert all(f">{rate}<" in chart for rate in (0.001, 0.01, 0.1))


def test_the_columns_of_the_best_trials_are_in_the_order_of_the_table(tmp_path: Path) -> None:
    write_model(tmp_path)
    ended = tune(tmp_path, "--search", "grid", "--points", "2", "--epochs", "1", "-o", "study")
    header = next(line for line in ended.stdout.splitlines() if line.startswith("trial ")).split()
    columns = list(rows(tmp_path / "study")[0])
    assert header[4:] == columns[2 : columns.index("val_loss")]


def test_the_time_is_up_before_the_first_trial(tmp_path: Path) -> None:
    write_model(tmp_path)
    ended = tune(tmp_path, "--trials", "2", "--time", "0", "-o", "study")
    assert "the time is up after 0 of 2 trials; resume with:   nablac tune --resume study" in ended.stderr
    ended = tune(tmp_path, "--resume", "study", file="")
    assert len(rows(tmp_path / "study")) == 2


def test_two_processes_share_a_study_and_no_trial_is_done_twice(tmp_path: Path) -> None:
    write_model(tmp_path)
    options = ("--search", "random", "--trials", "8", "--epochs", "1", "--set", "units=4")
    tune(tmp_path, *options, "-q", "-o", "alone")
    ended = tune(tmp_path, *options, "--jobs", "2", "-o", "shared")
    assert unclocked(tmp_path / "shared") == unclocked(tmp_path / "alone")
    lines = [line.split()[1] for line in ended.stderr.splitlines() if line.startswith("trial ")]
    assert sorted(lines) == [str(number) for number in range(8)]


def test_two_folders_share_a_storage(tmp_path: Path) -> None:
    write_model(tmp_path)
    options = ("--search", "random", "--epochs", "1", "--storage", "shared.log", "-q")
    tune(tmp_path, *options, "--trials", "2", "-o", "one")
    tune(tmp_path, *options, "--trials", "4", "-o", "two")
    tune(tmp_path, "--resume", "one", "-q", file="")
    assert unclocked(tmp_path / "one") == unclocked(tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two" / "trials").iterdir()) == ["2", "3"]
    best = min(rows(tmp_path / "one"), key=lambda row: float(row["val_loss"]))["trial"]
    run = tmp_path / ("one" if best in ("0", "1") else "two") / "trials" / best
    for name in ("one", "two"):
        command = tune(tmp_path, "--resume", name, file="").stderr.splitlines()[-1]
        assert (tmp_path / command.removeprefix("evaluate:  nablac eval ")).resolve() == run


def test_a_moved_study_goes_on(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    write_model(tmp_path / "before")
    tune(tmp_path / "before", "--search", "random", "--trials", "1", "-q", "-o", "study")
    shutil.move(tmp_path / "before", tmp_path / "after")
    tune(tmp_path / "after", "--resume", "study", "--trials", "2", "-q", file="")
    assert len(rows(tmp_path / "after" / "study")) == 2


def test_a_run_is_tuned_with_its_settings(tmp_path: Path) -> None:
    write_model(tmp_path)
    trained = invoke("train", "net.model", "--set", "units=3", "--epochs", "1", "-q", "-o", "run", folder=tmp_path)
    assert trained.exit_code == 0
    tune(tmp_path, "--trials", "1", "--epochs", "1", "-q", "-o", "study", file="run")
    assert "units" not in rows(tmp_path / "study")[0]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_every_trial_would_meet_ends_the_search(tmp_path: Path, jobs: str) -> None:
    write_model(tmp_path)
    tune(tmp_path, "--trials", "3", "--time", "0", "-q", "-o", "study")
    for number in range(3):
        (tmp_path / "study" / "trials" / str(number)).write_text("a file where a run's folder has to be")
    ended = invoke("tune", "--resume", "study", "--jobs", jobs, folder=tmp_path)
    assert ended.exit_code == 2
    assert "error[E843]" in ended.stderr and "Traceback" not in ended.stderr
    for number in range(3):
        (tmp_path / "study" / "trials" / str(number)).unlink()
    tune(tmp_path, "--resume", "study", "-q", file="")
    assert [row["state"] for row in rows(tmp_path / "study")] == ["done"] * 3


FORECASTER = ROOT / "specs" / "forecaster.model"


def test_what_stands_in_the_forecaster_is_what_it_was_before_it_had_ranges() -> None:
    from compiler.elaborate.models import TextSource
    from compiler.elaborate.program import load
    from runtime.search.suggestions import default_values

    values = default_values(TextSource(load(FORECASTER)))
    assert values == {"units": 50, "rate": 0.2, "layer": "SimpleRNN", "optimizer.lr": 1e-3}


@pytest.mark.parametrize(("search", "trials"), [("grid", 3), ("random", 2)])
def test_two_recurrent_layers_are_tuned(tmp_path: Path, search: str, trials: int) -> None:
    options = ("--search", search, "--trials", str(trials), "--epochs", "1", "--set", "units=4")
    ended = invoke("tune", FORECASTER, *options, "-o", "study", folder=tmp_path)
    assert ended.exit_code == 0, ended.output
    assert [row["state"] for row in rows(tmp_path / "study")] == ["done"] * trials
    assert invoke("train", "study/best.model", "--epochs", "1", "-q", folder=tmp_path).exit_code == 0
