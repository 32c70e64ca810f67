"""Figures of classes against scikit-learn's, and where they have no value."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.evaluation.calibration import calibration_bins, calibration_error
from runtime.evaluation.class_figures import ClassFigures, log_probabilities_of
from runtime.evaluation.class_results import binary_result, class_result, label_result, margin_result
from runtime.evaluation.roc import roc_auc, roc_curve
from runtime.evaluation.tasks import Task


def _metrics() -> Any:
    return pytest.importorskip("sklearn.metrics", reason="the data extra is not installed")


def _drawn(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which every class occurs, and logits that are right more often than not."""
    generator = np.random.default_rng([seed, classes])
    count = int(generator.integers(3 * classes, 90))
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, count - classes)])
    logits = generator.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    if seed % 3 == 0:
        logits = np.round(logits)  # with ties
    return labels, logits


def _figures(labels: np.ndarray, logits: np.ndarray) -> ClassFigures:
    names = [f"c{index}" for index in range(logits.shape[1])]
    return ClassFigures.of(labels, names, log_probabilities=log_probabilities_of("logits", logits))[0]


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(9))
def test_figures_are_those_of_scikit_learn(seed: int, classes: int) -> None:
    metrics = _metrics()
    labels, logits = _drawn(seed, classes)
    figures = _figures(labels, logits)
    probabilities, predicted = figures.probabilities, figures.predicted
    assert probabilities is not None
    assert probabilities == pytest.approx(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    assert (predicted == logits.argmax(axis=1)).all()
    assert figures.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert (figures.confusion == metrics.confusion_matrix(labels, predicted)).all()
    assert figures.log_loss == pytest.approx(metrics.log_loss(labels, probabilities))
    known = metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
    for index, each in enumerate(figures.classes):
        ours = [each.precision or 0.0, each.recall, each.f1, each.support]
        assert ours == pytest.approx([column[index] for column in known])
        area = metrics.roc_auc_score(labels == index, probabilities[:, index])
        assert each.auc == pytest.approx(area)
    for average, weighted in (("macro", False), ("weighted", True)):
        expected = metrics.precision_recall_fscore_support(labels, predicted, average=average, zero_division=0)
        ours = list(figures.average(weighted).values())
        assert ours == pytest.approx(list(expected[:3]))
    if classes == 2:
        assert figures.auc == pytest.approx(metrics.roc_auc_score(labels, probabilities[:, 1]))
        assert figures.brier == pytest.approx(metrics.brier_score_loss(labels, probabilities[:, 1]))
    else:
        assert figures.auc == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
        truth = np.eye(classes)[labels]
        assert figures.brier == pytest.approx(((probabilities - truth) ** 2).sum(axis=1).mean())


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=12))
def test_an_area_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[bool, int]]) -> None:
    truth, scores = (np.array(column) for column in zip(*pairs, strict=True)) if pairs else (np.zeros(0, bool),) * 2
    right = [score for is_true, score in pairs if is_true]
    wrong = [score for is_true, score in pairs if not is_true]
    counted = [1.0 if ours > theirs else 0.5 if ours == theirs else 0.0 for ours in right for theirs in wrong]
    assert roc_auc(truth, scores) == (pytest.approx(sum(counted) / len(counted)) if counted else None)


@pytest.mark.parametrize("seed", range(10))
def test_areas_with_ties_are_those_of_scikit_learn(seed: int) -> None:
    metrics = _metrics()
    generator = np.random.default_rng(seed)
    truth = np.concatenate([[True, False], generator.random(40) < 0.3])
    scores = generator.integers(0, 5, len(truth)).astype(float)
    assert roc_auc(truth, scores) == pytest.approx(metrics.roc_auc_score(truth, scores))
    x, y = roc_curve(truth, scores)
    known_x, known_y, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert (x, y) == (pytest.approx(known_x.tolist()), pytest.approx(known_y.tolist()))
    assert metrics.auc(x, y) == pytest.approx(roc_auc(truth, scores))


def test_a_class_that_is_absent_has_no_recall_and_no_area_and_counts_in_no_mean() -> None:
    metrics = _metrics()
    labels, logits = np.array([0, 0, 1, 1]), np.array([[2.0, 1, 0], [0, 1, 0.5], [0, 3, 1], [0.5, 2, 0]])
    figures = _figures(labels, logits)
    absent = figures.classes[2]
    assert (absent.support, absent.recall, absent.auc, absent.precision, absent.f1) == (0, None, None, None, None)
    assert figures.auc == pytest.approx(sum(each.auc or 0.0 for each in figures.classes[:2]) / 2)
    assert figures.average()["f1"] == pytest.approx(metrics.f1_score(labels, figures.predicted, average="macro"))


def test_a_class_that_is_predicted_and_never_true_counts_as_0_as_scikit_learn_has_it() -> None:
    metrics = _metrics()
    labels, logits = np.array([0, 0, 1, 1]), np.array([[2.0, 1, 0], [0, 1, 5], [0, 3, 1], [0.5, 2, 0]])
    figures = _figures(labels, logits)
    wrong = figures.classes[2]
    assert (wrong.support, wrong.recall, wrong.precision, wrong.f1) == (0, None, 0.0, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = metrics.precision_recall_fscore_support(labels, figures.predicted, average="macro")
    assert list(figures.average().values()) == pytest.approx(list(expected[:3]))


def test_one_class_alone_and_no_example_at_all() -> None:
    alone = _figures(np.array([1, 1]), np.array([[0.0, 1.0], [2.0, 0.0]]))
    assert (alone.accuracy, alone.auc) == (0.5, None)
    nothing = _figures(np.zeros(0, int), np.zeros((0, 3)))
    assert (nothing.accuracy, nothing.auc, nothing.log_loss, nothing.brier) == (None,) * 4
    assert nothing.average() == {"precision": None, "recall": None, "f1": None}
    assert nothing.to_json()["ece"] is None
    single = _figures(np.array([0]), np.array([[3.0, 0.0]]))
    assert single.accuracy == 1.0 and single.to_json()["confusion"] == [[1, 0], [0, 0]]


def test_examples_without_a_finite_prediction_are_left_out_and_counted() -> None:
    logits = np.array([[0.0, 1.0], [np.nan, 0.0], [2.0, 0.0]])
    task = Task("classes", "label", "logits", "logits")
    result = class_result(task, np.array([4, 5, 6]), np.array([1, 0, 1]), logits)
    assert (result.figures.left_out, result.figures.count, result.rows.tolist()) == (1, 2, [4, 6])
    assert [each.row for each in result.mistakes(5)] == [6, 4]


def test_a_probability_of_0_has_a_finite_loss() -> None:
    logs = log_probabilities_of("probabilities", np.array([[1.0, 0.0], [0.0, 1.0]]))
    figures, _ = ClassFigures.of(np.array([1, 1]), ["a", "b"], log_probabilities=logs)
    assert figures.log_loss is not None and 300 < figures.log_loss < 400


@pytest.mark.parametrize("kind", ["logits", "log_probabilities", "probabilities"])
def test_all_ways_of_saying_classes_are_one(kind: str) -> None:
    logits = np.random.default_rng(3).normal(size=(20, 4)) * 5
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    said = {"logits": logits, "log_probabilities": logs, "probabilities": np.exp(logs)}[kind]
    assert log_probabilities_of(kind, said) == pytest.approx(logs, abs=1e-12)


@pytest.mark.parametrize("kind", ["binary_logits", "binary_probabilities"])
def test_binary_outputs_are_two_classes(kind: str) -> None:
    metrics = _metrics()
    labels, logits = _drawn(1, 2)
    scores = logits[:, 1] - logits[:, 0]
    said = scores if kind == "binary_logits" else 1 / (1 + np.exp(-scores))
    task = Task("binary", "t", "y", kind, ("no", "yes"))  # type: ignore[arg-type]
    result = binary_result(task, np.arange(len(labels)), labels.astype(np.float32)[:, None], said[:, None])
    assert result.figures.names == ("no", "yes")
    assert result.figures.auc == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert result.figures.log_loss == pytest.approx(_figures(labels, logits).log_loss)
    assert (result.figures.predicted == (scores > 0)).all()


def test_logits_far_out_keep_their_loss() -> None:
    logs = log_probabilities_of("binary_logits", np.array([-2000.0, 2000.0, 0.0]))
    assert logs[:, 1] == pytest.approx([-2000.0, 0.0, -np.log(2)])
    assert log_probabilities_of("logits", np.array([[3e4, 0.0]]))[0] == pytest.approx([0.0, -3e4])


def test_one_hot_targets_and_outputs_that_are_the_class() -> None:
    labels, logits = _drawn(2, 3)
    rows = np.arange(len(labels))
    plain = class_result(Task("classes", "t", "y", "logits"), rows, labels, logits).figures
    hot = class_result(Task("classes", "t", "y", "logits"), rows, np.eye(3, dtype=np.float32)[labels], logits).figures
    assert hot.to_json() == plain.to_json()
    alone = class_result(Task("classes", "t", "y", "class"), rows, labels, logits.argmax(axis=1)).figures
    assert alone.accuracy == plain.accuracy and alone.log_loss is None and alone.auc is None
    assert (alone.confusion == plain.confusion).all()


def test_labels_outside_of_the_classes_are_ignored() -> None:
    logits = np.array([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    result = class_result(Task("classes", "t", "y", "logits"), np.array([7, 9]), np.array([[0, -100], [1, 1]]), logits)
    assert result.figures.count == 3 and result.rows.tolist() == [7, 9, 9]


def test_margins_rank_and_are_no_probabilities() -> None:
    metrics = _metrics()
    truth, scores = np.array([-1.0, 1, 1, -1, 1]), np.array([-0.5, 2.0, -0.1, -1.0, 0.3])
    result = margin_result(Task("margin", "t", "y", "value", ("-1", "1")), np.arange(5), truth, scores)
    assert result.figures.auc == pytest.approx(metrics.roc_auc_score(truth, scores))
    assert result.figures.accuracy == 0.8 and result.figures.log_loss is None and result.mistakes(3) == []


def test_several_labels_are_judged_one_by_one_and_together() -> None:
    metrics = _metrics()
    generator = np.random.default_rng(8)
    truth = (generator.random((50, 4)) < 0.4).astype(np.float32)
    scores = generator.normal(size=(50, 4)) + 2 * truth - 1
    task = Task("labels", "t", "y", "binary_logits", ("0", "1"), ("a", "b", "c", "d"))
    facts = label_result(task, np.arange(50), truth, scores).to_json()
    said = scores > 0
    assert facts["all_right"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert facts["micro_f1"] == pytest.approx(metrics.f1_score(truth, said, average="micro"))
    assert facts["macro_f1"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    for index, name in enumerate("abcd"):
        assert facts["labels"][name]["auc"] == pytest.approx(metrics.roc_auc_score(truth[:, index], scores[:, index]))


@pytest.mark.parametrize("seed", range(5))
def test_calibration_bins_are_those_of_scikit_learn(seed: int) -> None:
    calibration = pytest.importorskip("sklearn.calibration", reason="the data extra is not installed")
    generator = np.random.default_rng(seed)
    confidence = generator.random(300)
    truth = generator.random(300) < confidence**2
    bins = calibration_bins(confidence, truth)
    shares, means = calibration.calibration_curve(truth, confidence, n_bins=10)
    assert [each.share_right for each in bins] == pytest.approx(shares)
    assert [each.confidence for each in bins] == pytest.approx(means)
    assert sum(each.count for each in bins) == 300
    by_hand = sum(each.count / 300 * abs(each.share_right - each.confidence) for each in bins)
    assert calibration_error(bins) == pytest.approx(by_hand)


def test_calibration_at_the_ends() -> None:
    bins = calibration_bins(np.array([0.0, 1.0, 1.0]), np.array([False, True, False]))
    assert [(each.confidence, each.share_right, each.count) for each in bins] == [(0.0, 0.0, 1), (1.0, 0.5, 2)]
    assert calibration_error(bins) == pytest.approx(1 / 3)
    assert calibration_error([]) is None
