"""`nablac eval`: figures in the units of the data, of classes, numbers and texts, and its reports."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import invoke
from tests.nablac.evaluated import CLASSIFIERS, check_nearly, classifier, figures_of, train_classifier, write_table


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The runs of classifiers by their case, which are trained when they are first asked for."""
    folder = tmp_path_factory.mktemp("classifiers")
    return cache(lambda case: train_classifier(folder / case.replace(" ", "-"), case))


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_the_loss_says_what_a_task_is(case: str, classifiers: Callable[[str], Path], tmp_path: Path) -> None:
    *_, metric, _, task, names = CLASSIFIERS[case]
    run = classifiers(case)
    found = figures_of(run, "--report", tmp_path / "report")
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
    text = invoke("eval", run).stdout
    assert all(re.search(rf"^  {re.escape(name)} ", text, re.MULTILINE) for name in names)


@pytest.mark.parametrize("case", [case for case in CLASSIFIERS if case != "a margin"])
def test_a_compiled_model_has_the_figures_of_its_run(
    case: str, classifiers: Callable[[str], Path], tmp_path: Path
) -> None:
    run = classifiers(case)
    data, report = ("--data", run.parent / "rows.csv"), ("--report", tmp_path / "report")
    of_file = figures_of(run / "model.onnx", *data, *report)
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == of_file
    of_run = figures_of(run, *data)
    assert (of_file["part"], of_file["examples"]) == ("all", 120)
    check_nearly(of_file["figures"], of_run["figures"])


def test_figures_are_in_raw_units_where_the_target_is_scaled(tmp_path: Path) -> None:
    write_table(tmp_path)
    text = classifier("numbers").replace('standardize(columns: ["u", "v"])', "standardize()")
    (tmp_path / "m.model").write_text(text)
    assert invoke("train", tmp_path / "m.model", "-o", tmp_path / "run", "-q").exit_code == 0
    found = figures_of(tmp_path / "run")
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
    found = figures_of(tmp_path / "run", "--report", tmp_path / "report")
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
    write_table(tmp_path)
    (tmp_path / "m.model").write_text(classifier("numbers"))
    refused = invoke("eval", tmp_path / "m.model", "--backtest")
    assert refused.exit_code != 0 and "error[E881]: a backtest is of a series" in refused.stderr
    refused = invoke("eval", tmp_path / "m.model", "--report", tmp_path / "rows.csv")
    assert refused.exit_code != 0 and "rows.csv is a file, and a report is a folder" in refused.stderr
    assert invoke("eval", tmp_path / "m.model", "--season", "0").exit_code != 0
    refused = invoke("eval", "--backtest", tmp_path / "m.model")
    assert refused.exit_code == 2 and "write FILE first: `nablac eval FILE --backtest`" in refused.stderr


def test_what_changes_nothing_is_noted(tmp_path: Path) -> None:
    write_table(tmp_path)
    (tmp_path / "m.model").write_text(classifier("yes or no"))
    done = invoke("eval", tmp_path / "m.model", "--season", "7")
    assert done.exit_code == 0 and "note: `--season` is of a series" in done.stderr


def test_a_target_that_no_output_is_compared_with_has_no_figures(tmp_path: Path) -> None:
    write_table(tmp_path)
    text = classifier("numbers").replace("mse(logits, kind)", "mean((exp(logits) - kind * logits))")
    (tmp_path / "m.model").write_text(text.replace("metric mae(logits, kind)", ""))
    done = invoke("eval", tmp_path / "m.model", "--report", tmp_path / "report")
    assert done.exit_code == 0, done.output
    assert "`kind`: the loss does more with it" in done.stderr
    assert "Loss and metrics of the train block" in (tmp_path / "report" / "report.html").read_text()


def test_pages_of_odd_data_are_whole(classifiers: Callable[[str], Path], tmp_path: Path) -> None:
    """Of one example."""
    run = classifiers("classes by name")
    lines = (run.parent / "rows.csv").read_text().splitlines()
    (tmp_path / "one.csv").write_text("\n".join(lines[:2]) + "\n")
    found = figures_of(run, "--data", tmp_path / "one.csv", "--report", tmp_path / "report")
    assert found["examples"] == 1 and found["figures"]["kind"]["auc"] is None
    assert (tmp_path / "report" / "report.html").read_text().endswith("</html>\n")


def test_targets_of_several_kinds_are_judged_each_by_its_own(tmp_path: Path) -> None:
    write_table(tmp_path)
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
    figures = figures_of(tmp_path / "run", "--report", tmp_path / "report")["figures"]
    assert {name: each["task"] for name, each in figures.items()} == {
        "sum": "regression",
        "kind": "classes",
        "x": "regression",
    }
    assert list(figures["x"]["columns"]) == ["u", "v"] and list(figures["kind"]["classes"]) == ["high", "low", "mid"]
    html = (tmp_path / "report" / "report.html").read_text()
    for heading in ("sum: Errors", "kind: Worst examples", "x: Column u"):
        assert heading in html


def test_the_worst_examples_are_named_by_their_lines(classifiers: Callable[[str], Path]) -> None:
    run = classifiers("classes by name")
    worst = figures_of(run)["figures"]["kind"]["worst"]
    lines = (run.parent / "rows.csv").read_text().splitlines()
    assert len(worst) == 12 and [each["loss"] for each in worst] == sorted(
        (each["loss"] for each in worst), reverse=True
    )
    for each in worst:
        assert lines[each["line"] - 1].split(",")[2] == each["actual"]
        assert each["loss"] == pytest.approx(-math.log(each["probability"]))


def test_figures_are_those_of_scikit_learn_on_what_predict_gives(classifiers: Callable[[str], Path]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="the data extra is not installed")
    run = classifiers("classes by name")
    facts = figures_of(run, "--data", run.parent / "rows.csv")["figures"]["kind"]
    done = invoke("predict", run, run.parent / "rows.csv", "--keep", "none", "-q")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    names = ["high", "low", "mid"]
    actual = [row.split(",")[2] for row in (run.parent / "rows.csv").read_text().split()[1:]]
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
