"""`nablac eval`: figures in the units of the data, reports, and backtests that never see the future."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import load
from runtime.evaluation.backtest import Backtest
from runtime.evaluation.evaluation import Judging, evaluate
from runtime.evaluation.part_outputs import predictor_of_training
from runtime.training.run_options import Options
from runtime.training.trained import load_trained
from runtime.training.training_run import Training
from tests.command_line import invoke

FORECASTER = """
model Forecaster(units = 6) {
    input x: f32[batch, time, %(inputs)d]
    output y = x -> SimpleRNN(units) -> Dense(%(outputs)d) -> rearrange("b (h c) -> b h c", c: %(columns)d)
}
train Forecaster {
    target next: f32[batch, %(horizon)d, %(columns)d]
    loss mse(y, next)
    metric mae(y, next)
    optimizer adam(lr: 1e-2)
    epochs 4
    validation 0.25
    data csv("series.csv") -> standardize() -> window(%(names)s, length: 6, horizon: %(horizon)d%(target)s)
}
"""


def _model(names: list[str], targets: list[str], horizon: int) -> str:
    target = f", target: {json.dumps(targets)}" if targets != names else ""
    sizes = {"inputs": len(names), "columns": len(targets), "horizon": horizon, "outputs": horizon * len(targets)}
    return FORECASTER % {**sizes, "names": json.dumps(names), "target": target}


def _series(rows: int = 90) -> np.ndarray:
    """Two columns that are alike after 8 rows, on a trend."""
    time = np.arange(rows)
    noise = np.random.default_rng(0).normal(size=(rows, 2))
    return np.stack([100 + time + 20 * np.sin(time * math.pi / 4), 5 * np.cos(time * math.pi / 4)], axis=1) + noise


def _write_series(path: Path, numbers: np.ndarray) -> None:
    days = np.datetime64("2024-01-30") + np.arange(len(numbers))
    rows = [f"{day},{a!r},{b!r}" for day, (a, b) in zip(days, numbers.tolist(), strict=True)]
    path.write_text("\n".join(["day,a,b", *rows]) + "\n")


def _trained(folder: Path, names: list[str], targets: list[str], horizon: int) -> Path:
    _write_series(folder / "series.csv", _series())
    (folder / "m.model").write_text(_model(names, targets, horizon))
    done = invoke("train", folder / "m.model", "-o", folder / "run", "-q")
    assert done.exit_code == 0, done.output
    return folder / "run"


KINDS = {
    "one column": (["a"], ["a"], 1),
    "both columns, three rows at once": (["a", "b"], ["a", "b"], 3),
    "another column": (["b"], ["a"], 2),
}


@pytest.fixture(params=KINDS)
def series_run(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str], list[str], int]:
    """A run on a series, the columns that it reads and predicts, and its horizon."""
    names, targets, horizon = KINDS[request.param]
    return _trained(tmp_path, names, targets, horizon), names, targets, horizon


def _figures(*arguments: str | Path) -> dict[str, Any]:
    done = invoke("eval", *arguments, "--json", "-q")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_errors_of_forecasts_are_those_of_predict(series_run: tuple[Path, list[str], list[str], int]) -> None:
    run, _, targets, horizon = series_run
    facts = _figures(run)["figures"]["next"]
    assert (facts["task"], list(facts["columns"])) == ("forecast", targets)
    done = invoke("predict", run, run.parent / "series.csv", "--all", "--keep", "none", "-q")
    assert done.exit_code == 0, done.output
    actual, first = _series(), 68  # of 90 rows the last quarter validates
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
    actual = _series()
    for options, season in (((), 8), (("--season", "5"), 5)):
        facts = _figures(run, *options)["figures"]["next"]
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
    judging = Judging(training.batch, folds=folds)
    return evaluate(predictor_of_training(training), training.data, "validation", judging).backtests["next"]


def test_a_backtest_never_sees_the_future(series_run: tuple[Path, list[str], list[str], int]) -> None:
    run, names, targets, _ = series_run
    before = _backtest(run, run.parent / "series.csv", 4)
    assert [len(fold.rows) for fold in before.folds] == [6, 6, 5, 5]
    assert before.fed_back == (names == targets)
    for fold_number in range(4):
        changed = _series()
        origin = int(before.folds[fold_number].rows[0])
        changed[origin:] = changed[origin:] * -3 + 1e4
        _write_series(run.parent / "changed.csv", changed)
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
    _write_series(run.parent / "known.csv", _series()[: int(fold.rows[0])])
    steps = str(len(fold.rows)) if result.fed_back else str(horizon)
    done = invoke("predict", run, run.parent / "known.csv", "--steps", steps, "--keep", "none", "-q")
    assert done.exit_code == 0, done.output
    for at, row in enumerate(csv.DictReader(io.StringIO(done.stdout))):
        expected = [float(row[f"predicted_{name}"]) for name in targets]
        assert fold.predicted[at] == pytest.approx(expected, rel=1e-5)
        assert fold.steps[at] == int(row["step"])


def test_a_backtest_is_shown_and_reported(tmp_path: Path) -> None:
    run = _trained(tmp_path, ["a"], ["a"], 1)
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
    default = _figures(run, "--backtest")
    assert default["figures"]["next"]["backtest"]["folds"] == 5
    folds = _figures(run, "--backtest", "1000")["figures"]["next"]["backtest"]["folds"]
    assert folds == 22  # one for each row


CLASSIFIER = """
model Sorts {
    input x: [batch, 2]
    output logits = x -> Dense(%(outputs)s)
}
train Sorts {
    target kind: %(type)s
    loss %(loss)s(logits, kind)
    metric %(metric)s(logits, kind)
    optimizer adam(lr: 5e-2)
    epochs 5
    test 0.3
    data csv("rows.csv") -> standardize(columns: ["u", "v"]) -> columns(inputs: ["u", "v"], targets: %(target)s)
}
"""
CLASSIFIERS = {
    "classes by name": ("3", "i64[batch]", "cross_entropy", "accuracy", '"kind"', "classes", ["high", "low", "mid"]),
    "yes or no": ("1", "[batch, 1]", "binary_cross_entropy", "binary_accuracy", '"is_high"', "binary", ["0", "1"]),
    "several labels": (
        "2",
        "[batch, 2]",
        "binary_cross_entropy",
        "binary_accuracy",
        '["is_high", "is_odd"]',
        "labels",
        [],
    ),
    "a margin": ("1", "[batch, 1]", "hinge", "mae", '"sign"', "margin", ["-1", "1"]),
    "numbers": ("1", "[batch, 1]", "mse", "mae", '"sum"', "regression", []),
}


def _table(folder: Path) -> None:
    generator = np.random.default_rng(1)
    lines = ["u,v,kind,is_high,is_odd,sign,sum"]
    for number in range(120):
        u, v = generator.normal(size=2)
        total = u + v + generator.normal() / 3
        kind = "low" if total < -0.7 else "high" if total > 0.7 else "mid"
        lines.append(
            f"{u:.4f},{v:.4f},{kind},{int(total > 0.7)},{number % 2},{1 if total > 0 else -1},{50 + 9 * total:.3f}"
        )
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_tasks_are_told_by_the_loss(case: str, tmp_path: Path) -> None:
    outputs, type, loss, metric, target, task, names = CLASSIFIERS[case]
    _table(tmp_path)
    values = {"outputs": outputs, "type": type, "loss": loss, "metric": metric, "target": target}
    (tmp_path / "m.model").write_text(CLASSIFIER % values)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    found = _figures(tmp_path / "run", "--report", tmp_path / "report")
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == found
    facts = found["figures"]["kind"]
    assert (facts["task"], found["part"], found["examples"]) == (task, "test", 36)
    if names:
        assert list(facts["classes"]) == names
        assert sum(each["support"] for each in facts["classes"].values()) == 36
        assert sum(map(sum, facts["confusion"])) == 36
    if metric in ("accuracy", "binary_accuracy") and task != "labels":
        assert facts["accuracy"] == pytest.approx(found[metric])
        assert facts["log_loss"] == pytest.approx(found["loss"], rel=1e-5)
    html = (tmp_path / "report" / "report.html").read_text()
    assert ("Confusion matrix" in html) == bool(names)
    assert ("Worst examples" in html) == (task in ("classes", "binary"))
    if task == "regression":
        assert facts["columns"]["sum"]["mae"] == pytest.approx(found["mae"], rel=1e-5)
        assert facts["columns"]["sum"]["r2"] < 1 and "Largest errors" in html
    text = invoke("eval", tmp_path / "run").stdout
    assert all(re.search(rf"^  {re.escape(name)} ", text, re.MULTILINE) for name in names)


def _nearly(first: Any, second: Any, where: str = "") -> None:
    """Two trees of figures, equal but for rounding of f32."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for name in first:
            _nearly(first[name], second[name], f"{where}/{name}")
    elif isinstance(first, list):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            _nearly(*pair, f"{where}/{index}")
    elif isinstance(first, float):
        assert first == pytest.approx(second, rel=2e-3, abs=1e-5), where
    else:
        assert first == second, where


@pytest.mark.parametrize("case", [case for case in CLASSIFIERS if case != "a margin"])
def test_a_compiled_model_has_the_figures_of_its_run(case: str, tmp_path: Path) -> None:
    outputs, type, loss, metric, target, _, _ = CLASSIFIERS[case]
    _table(tmp_path)
    values = {"outputs": outputs, "type": type, "loss": loss, "metric": metric, "target": target}
    (tmp_path / "m.model").write_text(CLASSIFIER % values)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    data, report = ("--data", tmp_path / "rows.csv"), ("--report", tmp_path / "report")
    of_file = _figures(tmp_path / "run" / "model.onnx", *data, *report)
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == of_file
    of_run = _figures(tmp_path / "run", *data)
    assert (of_file["part"], of_file["examples"]) == ("all", 120)
    _nearly(of_file["figures"], of_run["figures"])


def test_a_compiled_forecaster_has_the_figures_of_its_run(
    series_run: tuple[Path, list[str], list[str], int],
) -> None:
    run = series_run[0]
    data = ("--data", run.parent / "series.csv", "--backtest", "3")
    _nearly(_figures(run / "model.onnx", *data)["figures"], _figures(run, *data)["figures"])


def test_a_compiled_model_is_judged_on_data_that_is_named(tmp_path: Path) -> None:
    run = _trained(tmp_path, ["a"], ["a"], 1)
    file = run / "model.onnx"
    refused = invoke("eval", file)
    assert refused.exit_code == 2 and "`--data FILE` names some" in refused.stderr
    assert invoke("eval", file, "--data", tmp_path / "series.csv", "--part", "test").exit_code == 2
    assert invoke("eval", tmp_path / "none.onnx", "--data", tmp_path / "series.csv").exit_code == 2
    refused = invoke("eval", file, "--data", tmp_path / "nothing.csv")
    assert refused.exit_code == 2 and "there is no file" in refused.stderr
    _write_series(tmp_path / "short.csv", _series(5))
    refused = invoke("eval", file, "--data", tmp_path / "short.csv")
    said = "error[E823]: 5 rows are too few for windows of 6 and a horizon of 1"
    assert refused.stderr.startswith(f"{said}\n --> {tmp_path / 'short.csv'}\n"), refused.stderr
    text = (tmp_path / "series.csv").read_text().replace("day,a,b", "day,A,b")
    (tmp_path / "named.csv").write_text(text)
    refused = invoke("eval", file, "--data", tmp_path / "named.csv")
    assert refused.exit_code == 2 and "has no column `a`" in refused.stderr and "`A`" in refused.stderr


def test_figures_are_in_raw_units_where_the_target_is_scaled(tmp_path: Path) -> None:
    _table(tmp_path)
    values = {"outputs": "1", "type": "[batch, 1]", "loss": "mse", "metric": "mae", "target": '"sum"'}
    text = (CLASSIFIER % values).replace('standardize(columns: ["u", "v"])', "standardize()")
    (tmp_path / "m.model").write_text(text)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    found = _figures(tmp_path / "run")
    scale = json.loads((tmp_path / "run" / "data.json").read_text())["scalings"]["kind"]["scale"][0]
    assert scale > 5 and found["scaled"]
    assert found["figures"]["kind"]["columns"]["sum"]["mae"] == pytest.approx(found["mae"] * scale, rel=1e-5)


def test_tokens_of_texts_have_a_perplexity(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one two three four, and back again: four three two one. " * 20)
    (tmp_path / "m.model").write_text("""
model Letters {
    input tokens: i64[batch, time]
    output logits = tokens -> Embedding(40, 8) -> GRU(16, sequences: true) -> Dense(40)
}
train Letters {
    target next: i64[batch, time]
    loss cross_entropy(logits, next)
    metric accuracy(logits, next)
    optimizer adam(lr: 1e-2)
    epochs 2
    validation 0.2
    data text("t.txt") -> characters(length: 16)
}
""")
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    found = _figures(tmp_path / "run", "--report", tmp_path / "report")
    facts = found["figures"]["next"]
    assert facts["task"] == "tokens" and facts["tokens"] == 16 * found["examples"]
    assert facts["perplexity"] == pytest.approx(math.exp(found["loss"]), rel=1e-5)
    assert facts["bits_per_token"] == pytest.approx(found["loss"] / math.log(2), rel=1e-5)
    assert facts["accuracy"] == pytest.approx(found["accuracy"])
    assert "Least likely texts" in (tmp_path / "report" / "report.html").read_text()


def test_worst_pictures_are_in_the_report(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.random((40, 1, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "d.npz", image=images, label=generator.integers(0, 3, 40))
    (tmp_path / "m.model").write_text("""
model Looks {
    input image: [batch, 1, 6, 6]
    output logits = image -> Flatten() -> Dense(3)
}
train Looks {
    target label: i64[batch]
    loss cross_entropy(logits, label)
    optimizer sgd(lr: 0.1)
    epochs 1
    validation 0.25
    data digits("d.npz")
}
""")
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    assert invoke("eval", tmp_path / "run", "--report", tmp_path / "report").exit_code == 0
    html = (tmp_path / "report" / "report.html").read_text()
    assert html.count("<img ") == 10 and "taken for" in html


def test_what_cannot_be_asked_for_is_refused(tmp_path: Path) -> None:
    _table(tmp_path)
    values = dict(zip(("outputs", "type", "loss", "metric", "target"), CLASSIFIERS["numbers"], strict=False))
    (tmp_path / "m.model").write_text(CLASSIFIER % values)
    refused = invoke("eval", tmp_path / "m.model", "--backtest")
    assert refused.exit_code != 0 and "error[E881]: a backtest is of a series" in refused.stderr
    refused = invoke("eval", tmp_path / "m.model", "--report", tmp_path / "rows.csv")
    assert refused.exit_code != 0 and "rows.csv is a file, and a report is a folder" in refused.stderr
    assert invoke("eval", tmp_path / "m.model", "--season", "0").exit_code != 0
    refused = invoke("eval", "--backtest", tmp_path / "m.model")
    assert refused.exit_code == 2 and "write FILE first: `nablac eval FILE --backtest`" in refused.stderr


def test_a_season_that_is_longer_than_the_past_is_no_baseline(tmp_path: Path) -> None:
    run = _trained(tmp_path, ["a"], ["a"], 1)
    done = invoke("eval", run, "--season", "100", "--backtest", "2", "--report", tmp_path / "report")
    assert done.exit_code == 0, done.output
    assert "fewer rows before the forecasts than in a season of 100" in done.stderr
    facts = json.loads((tmp_path / "report" / "report.json").read_text())["figures"]["next"]
    assert "season" not in facts and list(facts["columns"]["a"]["baselines"]) == ["last value"]
    assert "season" not in facts["backtest"]
    assert list(facts["backtest"]["columns"]["a"]["baselines"]) == ["last value"]


def test_what_changes_nothing_is_noted(tmp_path: Path) -> None:
    outputs, type, loss, metric, target, _, _ = CLASSIFIERS["yes or no"]
    _table(tmp_path)
    values = {"outputs": outputs, "type": type, "loss": loss, "metric": metric, "target": target}
    (tmp_path / "m.model").write_text(CLASSIFIER % values)
    done = invoke("eval", tmp_path / "m.model", "--season", "7")
    assert done.exit_code == 0 and "note: `--season` is of a series" in done.stderr


def test_a_target_that_no_output_is_compared_with_has_no_figures(tmp_path: Path) -> None:
    _table(tmp_path)
    values = dict(zip(("outputs", "type", "loss", "metric", "target"), CLASSIFIERS["numbers"], strict=False))
    text = (CLASSIFIER % values).replace("mse(logits, kind)", "mean((exp(logits) - kind * logits))")
    (tmp_path / "m.model").write_text(text.replace("metric mae(logits, kind)", ""))
    done = invoke("eval", tmp_path / "m.model", "--report", tmp_path / "report")
    assert done.exit_code == 0, done.output
    assert "`kind`: the loss does more with it" in done.stderr
    assert "Loss and metrics of the train block" in (tmp_path / "report" / "report.html").read_text()


def test_pages_of_odd_data_are_whole(tmp_path: Path) -> None:
    """Of one example."""
    _table(tmp_path)
    values = dict(zip(("outputs", "type", "loss", "metric", "target"), CLASSIFIERS["classes by name"], strict=False))
    (tmp_path / "m.model").write_text(CLASSIFIER % values)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    (tmp_path / "one.csv").write_text("\n".join(lines[:2]) + "\n")
    found = _figures(tmp_path / "run", "--data", tmp_path / "one.csv", "--report", tmp_path / "report")
    assert found["examples"] == 1 and found["figures"]["kind"]["auc"] is None
    assert (tmp_path / "report" / "report.html").read_text().endswith("</html>\n")


def test_a_validation_file_of_its_own_is_a_series_of_its_own(tmp_path: Path) -> None:
    """No baseline and no forecast reaches over the border between the files."""
    numbers = _series()
    _write_series(tmp_path / "series.csv", numbers[:60])
    _write_series(tmp_path / "later.csv", numbers[70:])
    text = _model(["a"], ["a"], 1).replace("validation 0.25", 'validation "later.csv"')
    (tmp_path / "m.model").write_text(text)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    facts = _figures(tmp_path / "run", "--backtest", "2", "--report", tmp_path / "report")["figures"]["next"]
    column = numbers[70:, 0]
    assert facts["season"] == {"rows": 8, "detected": True}
    baselines = facts["columns"]["a"]["baselines"]
    last = np.abs(column[6:] - column[5:-1])
    assert baselines["last value"]["mae"] == pytest.approx(last.mean()) and baselines["last value"]["count"] == 14
    assert baselines["last season"]["mae"] == pytest.approx(np.abs(column[8:] - column[:-8]).mean())
    assert (baselines["last season"]["count"], baselines["last season"]["left_out"]) == (12, 2)
    assert sum(fold["count"] for fold in facts["backtest"]["columns"]["a"]["folds"]) == 14


def test_targets_of_several_kinds_are_judged_each_by_its_own(tmp_path: Path) -> None:
    _table(tmp_path)
    (tmp_path / "m.model").write_text("""
model Both {
    input x: [batch, 2]
    h = x -> Dense(4, relu)
    output total = h -> Dense(1)
    output logits = h -> Dense(3)
    output rebuilt = h -> Dense(2)
}
train Both {
    target sum: [batch, 1]
    target kind: i64[batch]
    loss mse(total, sum) + cross_entropy(logits, kind) + mse(rebuilt, x)
    epochs 2
    optimizer adam(lr: 1e-2)
    test 0.3
    data csv("rows.csv") -> standardize(columns: ["u", "v", "sum"])
        -> columns(inputs: ["u", "v"], targets: ["sum", "kind"])
}
""")
    done = invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q")
    assert done.exit_code == 0, done.output
    figures = _figures(tmp_path / "run", "--report", tmp_path / "report")["figures"]
    assert {name: each["task"] for name, each in figures.items()} == {
        "sum": "regression",
        "kind": "classes",
        "x": "regression",
    }
    assert list(figures["x"]["columns"]) == ["u", "v"] and list(figures["kind"]["classes"]) == ["high", "low", "mid"]
    html = (tmp_path / "report" / "report.html").read_text()
    for heading in ("sum: Errors", "kind: Worst examples", "x: Column u"):
        assert heading in html


def test_the_worst_examples_are_named_by_their_lines(tmp_path: Path) -> None:
    _table(tmp_path)
    values = dict(zip(("outputs", "type", "loss", "metric", "target"), CLASSIFIERS["classes by name"], strict=False))
    (tmp_path / "m.model").write_text(CLASSIFIER % values)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    worst = _figures(tmp_path / "run")["figures"]["kind"]["worst"]
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert len(worst) == 12 and [each["loss"] for each in worst] == sorted(
        (each["loss"] for each in worst), reverse=True
    )
    for each in worst:
        assert lines[each["line"] - 1].split(",")[2] == each["actual"]
        assert each["loss"] == pytest.approx(-math.log(each["probability"]))


def test_figures_are_those_of_scikit_learn_on_what_predict_gives(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="the data extra is not installed")
    _table(tmp_path)
    values = dict(zip(("outputs", "type", "loss", "metric", "target"), CLASSIFIERS["classes by name"], strict=False))
    (tmp_path / "m.model").write_text(CLASSIFIER % values)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    facts = _figures(tmp_path / "run", "--data", tmp_path / "rows.csv")["figures"]["kind"]
    done = invoke("predict", tmp_path / "run", tmp_path / "rows.csv", "--keep", "none", "-q")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    names = ["high", "low", "mid"]
    actual = [row.split(",")[2] for row in (tmp_path / "rows.csv").read_text().split()[1:]]
    predicted = [row["predicted_kind"] for row in rows]
    probabilities = np.array([[float(row[f"probability_{name}"]) for name in names] for row in rows])
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # of f32
    assert facts["accuracy"] == pytest.approx(metrics.accuracy_score(actual, predicted))
    assert facts["confusion"] == metrics.confusion_matrix(actual, predicted, labels=names).tolist()
    assert facts["log_loss"] == pytest.approx(metrics.log_loss(actual, probabilities, labels=names), rel=1e-5)
    assert facts["auc"] == pytest.approx(metrics.roc_auc_score(actual, probabilities, multi_class="ovr", labels=names))
    report = metrics.classification_report(actual, predicted, output_dict=True, zero_division=0)
    for name in names:
        for ours, theirs in (
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "f1-score"),
            ("support", "support"),
        ):
            assert (facts["classes"][name][ours] or 0) == pytest.approx(report[name][theirs])
    for ours, theirs in (("macro", "macro avg"), ("weighted", "weighted avg")):
        assert facts[ours]["f1"] == pytest.approx(report[theirs]["f1-score"])
