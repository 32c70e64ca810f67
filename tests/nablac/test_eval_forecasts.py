"""`nablac eval` of forecasts: errors, baselines, and backtests that never see the future."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import load
from runtime.evaluation.backtest import Backtest
from runtime.evaluation.evaluation import EvaluationSettings, evaluate
from runtime.evaluation.part_outputs import predictor_of_training
from runtime.training.run_options import Options
from runtime.training.trained import load_trained
from runtime.training.training_run import Training
from tests.command_line import invoke
from tests.nablac.evaluated import KINDS, check_nearly, figures_of, forecaster, series, train_forecaster, write_series


@pytest.fixture(scope="module", params=KINDS)
def series_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], list[str], int]:
    """A run on a series, the columns that it reads and predicts, and its horizon."""
    names, targets, horizon = KINDS[request.param]
    return train_forecaster(tmp_path_factory.mktemp("series"), names, targets, horizon), names, targets, horizon


def test_errors_of_forecasts_are_those_of_predict(series_run: tuple[Path, list[str], list[str], int]) -> None:
    run, _, targets, horizon = series_run
    facts = figures_of(run)["figures"]["next"]
    assert (facts["task"], list(facts["columns"])) == ("forecast", targets)
    done = invoke("predict", run, run.parent / "series.csv", "--all", "--keep", "none", "-q")
    assert done.exit_code == 0, done.output
    actual, first = series(), 68  # of 90 rows the last quarter validates
    errors: dict[str, list[tuple[int, float, float]]] = {name: [] for name in targets}
    for row in csv.DictReader(io.StringIO(done.stdout)):
        number, step = int(row["row"]) - 1, int(row.get("step", 1))
        if number - step + 1 >= first and number - step + horizon < 90:
            for name in targets:
                truth = actual[number, "ab".index(name)]
                errors[name].append((step, truth, float(row[f"predicted_{name}"])))
    for name in targets:
        column = facts["columns"][name]
        truth, guess = (np.array([error[part] for error in errors[name]]) for part in (1, 2))
        assert column["count"] == len(truth) == horizon * (22 - horizon + 1)
        assert column["mae"] == pytest.approx(np.abs(truth - guess).mean(), rel=1e-6)
        assert column["rmse"] == pytest.approx(math.sqrt(((truth - guess) ** 2).mean()), rel=1e-6)
        assert column["residuals"]["autocorrelation"]
        for step in column.get("steps", []):
            here = [abs(error[1] - error[2]) for error in errors[name] if error[0] == step["step"]]
            assert step["mae"] == pytest.approx(np.mean(here), rel=1e-6)


def test_baselines_are_the_last_value_and_that_of_the_last_season(
    series_run: tuple[Path, list[str], list[str], int],
) -> None:
    run, _, targets, horizon = series_run
    actual = series()
    for options, season in (((), 8), (("--season", "5"), 5)):
        facts = figures_of(run, *options)["figures"]["next"]
        assert facts["season"] == {"rows": season, "detected": not options}
        for name in targets:
            column = actual[:, "ab".index(name)]
            last, seasonal = [], []
            for origin in range(67, 90 - horizon):
                for step in range(1, horizon + 1):
                    last.append(abs(column[origin + step] - column[origin]))
                    seasonal.append(abs(column[origin + step] - column[origin + step - season]))
            baselines = facts["columns"][name]["baselines"]
            assert baselines["last value"]["mae"] == pytest.approx(np.mean(last), rel=1e-12)
            assert baselines["last season"]["mae"] == pytest.approx(np.mean(seasonal), rel=1e-12)
            mae = facts["columns"][name]["mae"]
            assert baselines["last value"]["skill"] == pytest.approx(1 - mae / np.mean(last))


def _training(run: Path, data: Path) -> Training:
    """The model of a run, to be judged on another file."""
    source = TextSource(load(run.parent / "m.model"))
    training = Training(source, Options(data=str(data)), keeps_raw=True)
    training.start = load_trained(run / "weights.safetensors", training.inference)
    return training


def _backtest(run: Path, data: Path, folds: int) -> Backtest:
    training = _training(run, data)
    judging = EvaluationSettings(training.batch, folds=folds)
    return evaluate(predictor_of_training(training), training.data, "validation", judging).backtests["next"]


def test_a_backtest_never_sees_the_future(series_run: tuple[Path, list[str], list[str], int]) -> None:
    run, names, targets, _ = series_run
    before = _backtest(run, run.parent / "series.csv", 4)
    assert [len(fold.rows) for fold in before.folds] == [6, 6, 5, 5]
    assert before.fed_back == (names == targets)
    for fold_number in range(4):
        changed = series()
        origin = int(before.folds[fold_number].rows[0])
        changed[origin:] = changed[origin:] * -3 + 1e4
        write_series(run.parent / "changed.csv", changed)
        after = _backtest(run, run.parent / "changed.csv", 4)
        assert after.season == before.season
        for number in range(fold_number):
            assert (
                after.to_json()["columns"][targets[0]]["folds"][number]
                == (before.to_json()["columns"][targets[0]]["folds"][number])
            )
            assert after.folds[number].predicted.tobytes() == before.folds[number].predicted.tobytes()
        here = slice(None) if before.fed_back else slice(0, 1)  # which goes on from actual rows within a fold
        ours, theirs = after.folds[fold_number], before.folds[fold_number]
        assert ours.predicted[here].tobytes() == theirs.predicted[here].tobytes()
        assert all(ours.forecasts[name][0].tobytes() == theirs.forecasts[name][0].tobytes() for name in ours.forecasts)
        for number in range(fold_number + 1, 4):
            assert not np.array_equal(after.folds[number].predicted, before.folds[number].predicted)


def test_forecasts_of_a_backtest_are_those_of_predict(series_run: tuple[Path, list[str], list[str], int]) -> None:
    run, _, targets, horizon = series_run
    result = _backtest(run, run.parent / "series.csv", 3)
    fold = result.folds[1]
    write_series(run.parent / "known.csv", series()[: int(fold.rows[0])])
    steps = str(len(fold.rows)) if result.fed_back else str(horizon)
    done = invoke("predict", run, run.parent / "known.csv", "--steps", steps, "--keep", "none", "-q")
    assert done.exit_code == 0, done.output
    for at, row in enumerate(csv.DictReader(io.StringIO(done.stdout))):
        expected = [float(row[f"predicted_{name}"]) for name in targets]
        assert fold.predicted[at] == pytest.approx(expected, rel=1e-5)
        assert fold.steps[at] == int(row["step"])


def test_a_backtest_is_shown_and_reported(tmp_path: Path) -> None:
    run = train_forecaster(tmp_path, ["a"], ["a"], 1)
    done = invoke("eval", run, "--backtest", "3", "--report", tmp_path / "report")
    assert done.exit_code == 0, done.output
    assert "backtest: 3 folds, feeding back its own forecasts" in done.stdout
    assert "skill" in done.stdout and "last season" in done.stdout
    facts = json.loads((tmp_path / "report" / "report.json").read_text())
    assert len(facts["figures"]["next"]["backtest"]["columns"]["a"]["folds"]) == 3
    html = (tmp_path / "report" / "report.html").read_text()
    for text in (
        "Backtest",
        "2024-04-",
        "Predicted against actual",
        "Residuals over time",
        "prefers-color-scheme: dark",
    ):
        assert text in html
    assert "<script" not in html and "://" not in html.replace("http://www.w3.org/2000/svg", "")
    default = figures_of(run, "--backtest")
    assert default["figures"]["next"]["backtest"]["folds"] == 5
    folds = figures_of(run, "--backtest", "1000")["figures"]["next"]["backtest"]["folds"]
    assert folds == 22  # one for each row


def test_a_compiled_forecaster_has_the_figures_of_its_run(
    series_run: tuple[Path, list[str], list[str], int],
) -> None:
    run = series_run[0]
    data = ("--data", run.parent / "series.csv", "--backtest", "3")
    check_nearly(figures_of(run / "model.onnx", *data)["figures"], figures_of(run, *data)["figures"])


def test_a_compiled_model_is_judged_on_data_that_is_named(tmp_path: Path) -> None:
    run = train_forecaster(tmp_path, ["a"], ["a"], 1)
    file = run / "model.onnx"
    refused = invoke("eval", file)
    assert refused.exit_code == 2 and "`--data FILE` names some" in refused.stderr
    assert invoke("eval", file, "--data", tmp_path / "series.csv", "--part", "test").exit_code == 2
    assert invoke("eval", tmp_path / "none.onnx", "--data", tmp_path / "series.csv").exit_code == 2
    refused = invoke("eval", file, "--data", tmp_path / "nothing.csv")
    assert refused.exit_code == 2 and "there is no file" in refused.stderr
    write_series(tmp_path / "short.csv", series(5))
    refused = invoke("eval", file, "--data", tmp_path / "short.csv")
    said = "error[E823]: 5 rows are too few for windows of 6 and a horizon of 1"
    assert refused.stderr.startswith(f"{said}\n --> {tmp_path / 'short.csv'}\n"), refused.stderr
    text = (tmp_path / "series.csv").read_text().replace("day,a,b", "day,A,b")
    (tmp_path / "named.csv").write_text(text)
    refused = invoke("eval", file, "--data", tmp_path / "named.csv")
    assert refused.exit_code == 2 and "has no column `a`" in refused.stderr and "`A`" in refused.stderr


def test_a_season_that_is_longer_than_the_past_is_no_baseline(tmp_path: Path) -> None:
    run = train_forecaster(tmp_path, ["a"], ["a"], 1)
    done = invoke("eval", run, "--season", "100", "--backtest", "2", "--report", tmp_path / "report")
    assert done.exit_code == 0, done.output
    assert "fewer rows before the forecasts than in a season of 100" in done.stderr
    facts = json.loads((tmp_path / "report" / "report.json").read_text())["figures"]["next"]
    assert "season" not in facts and list(facts["columns"]["a"]["baselines"]) == ["last value"]
    assert "season" not in facts["backtest"]
    assert list(facts["backtest"]["columns"]["a"]["baselines"]) == ["last value"]


def test_a_validation_file_of_its_own_is_a_series_of_its_own(tmp_path: Path) -> None:
    """No baseline and no forecast reaches over the border between the files."""
    numbers = series()
    write_series(tmp_path / "series.csv", numbers[:60])
    write_series(tmp_path / "later.csv", numbers[70:])
    text = forecaster(["a"], ["a"], 1).replace("validation 0.25", 'validation "later.csv"')
    (tmp_path / "m.model").write_text(text)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    facts = figures_of(tmp_path / "run", "--backtest", "2", "--report", tmp_path / "report")["figures"]["next"]
    column = numbers[70:, 0]
    assert facts["season"] == {"rows": 8, "detected": True}
    baselines = facts["columns"]["a"]["baselines"]
    last = np.abs(column[6:] - column[5:-1])
    assert baselines["last value"]["mae"] == pytest.approx(last.mean()) and baselines["last value"]["count"] == 14
    assert baselines["last season"]["mae"] == pytest.approx(np.abs(column[8:] - column[:-8]).mean())
    assert (baselines["last season"]["count"], baselines["last season"]["left_out"]) == (12, 2)
    lines = invoke("eval", tmp_path / "run", "-q").stdout.splitlines()
    assert lines[-1] == "  last season: 2 of 14 have no known value before them: left out"
    assert sum(fold["count"] for fold in facts["backtest"]["columns"]["a"]["folds"]) == 14


def test_several_series_are_judged_each_by_its_own_past(tmp_path: Path) -> None:
    """A table of three stations, row by row: the figures are those of the three tables of one station together."""
    names = ("north", "south", "west")
    numbers = {name: series(40 + 10 * index) * (1 + index) for index, name in enumerate(names)}
    rows = []
    for row in range(max(map(len, numbers.values()))):
        day = np.datetime64("2024-01-30") + row
        rows += [f"{day},{name},{float(numbers[name][row, 0])!r}" for name in names if row < len(numbers[name])]
    (tmp_path / "series.csv").write_text("\n".join(["day,station,a", *rows]) + "\n")
    text = forecaster(["a"], ["a"], 2).replace("-> standardize", '-> by("station") -> standardize')
    (tmp_path / "m.model").write_text(text)
    done = invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q")
    assert done.exit_code == 0, done.output
    facts = figures_of(tmp_path / "run", "--season", "8", "--backtest")["figures"]["next"]
    last, seasonal = [], []
    for name in names:
        column = numbers[name][:, 0]
        first = len(column) - round(len(column) / 4)
        for origin in range(first - 1, len(column) - 2):
            for step in (1, 2):
                last.append(abs(column[origin + step] - column[origin]))
                seasonal.append(abs(column[origin + step] - column[origin + step - 8]))
    baselines = facts["columns"]["a"]["baselines"]
    assert facts["columns"]["a"]["count"] == len(last)
    assert baselines["last value"]["mae"] == pytest.approx(np.mean(last), rel=1e-9)
    assert baselines["last season"]["mae"] == pytest.approx(np.mean(seasonal), rel=1e-9)
    whole = facts["backtest"]["columns"]["a"]
    assert [fold["series"] for fold in whole["folds"]] == [3] * len(whole["folds"])
    alone = []
    for name in names:
        days = np.datetime64("2024-01-30") + np.arange(len(numbers[name]))
        cells = zip(days, numbers[name][:, 0].tolist(), strict=True)
        (tmp_path / f"{name}.csv").write_text("day,station,a\n" + "".join(f"{d},{name},{a!r}\n" for d, a in cells))
        options = ("--data", str(tmp_path / f"{name}.csv"), "--part", "validation", "--season", "8", "--backtest")
        alone.append(figures_of(tmp_path / "run", *options)["figures"]["next"]["backtest"]["columns"]["a"])
    assert whole["count"] == sum(figures["count"] for figures in alone)
    for figures in (lambda facts: facts, lambda facts: facts["baselines"]["last season"]):
        errors = sum(figures(part)["mae"] * figures(part)["count"] for part in alone)
        assert figures(whole)["mae"] == pytest.approx(errors / whole["count"], rel=1e-5)


@pytest.mark.parametrize("read", ["v", "u"])
def test_a_backtest_over_a_gap_is_of_the_rows_behind_it(tmp_path: Path, read: str) -> None:
    """A model that knows that numbers rise, of the third and fourth row after its window, is right in every fold."""
    (tmp_path / "s.csv").write_text("v,u\n" + "".join(f"{row},{row}\n" for row in range(40)))
    (tmp_path / "m.model").write_text(
        "model M { input x: [batch, 3, 1]; param w: [1] = 1; last = x[:, -1:] * w\n"
        "output y = concat([last + 3, last + 4], axis: 1) }\n"
        "train M { target t: [batch, 2, 1]; loss mse(y, t); optimizer sgd(lr: 1e-30); epochs 1; validation 0.5\n"
        f'data csv("s.csv") -> window("{read}", length: 3, horizon: 2, shift: 5, target: "v") }}\n'
    )
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    facts = figures_of(tmp_path / "run", "--backtest", "3")["figures"]["t"]["backtest"]
    assert (facts["fed_back"], facts["rows_left_out"]) == (read == "v", 0)
    assert [fold["mae"] for fold in facts["columns"]["v"]["folds"]] == [0, 0, 0]


def test_data_of_another_form_is_judged_alike(tmp_path: Path) -> None:
    run = train_forecaster(tmp_path, ["a"], ["a"], 1)
    rows = (tmp_path / "series.csv").read_text().splitlines()[1:]
    cells = [row.split(",") for row in rows]
    lines = [json.dumps({"day": day, "a": float(a), "b": float(b)}) for day, a, b in cells]
    (tmp_path / "series.jsonl").write_text("\n".join(lines) + "\n")
    for model in (run, run / "model.onnx"):
        by_form = [
            figures_of(model, "--data", str(tmp_path / name))["figures"] for name in ("series.csv", "series.jsonl")
        ]
        assert by_form[0] == by_form[1]
