"""The examples with the largest errors in a report."""

from __future__ import annotations

import math

import numpy as np

from runtime.charts.page import Paragraph, Table
from runtime.data.examples import Examples
from runtime.evaluation.number_results import regression_result
from runtime.evaluation.number_sections import number_sections
from runtime.evaluation.tasks import Task


def _largest_errors(actual: np.ndarray, predicted: np.ndarray, columns: tuple[str, ...]) -> tuple[list[str], Table]:
    """What is said about the largest errors, and their table."""
    data = Examples({"x": np.zeros((len(actual), 1), np.float32)}, ("x",))
    task = Task("regression", "t", "y", "value", columns=columns)
    result = regression_result(task, data, np.arange(len(actual)), actual, predicted)
    *said, table = number_sections(result, data, "")[-1].parts
    assert isinstance(table, Table)
    return [part.text for part in said if isinstance(part, Paragraph)], table


def test_predictions_that_are_no_number_are_the_worst() -> None:
    actual = np.array([[1.0], [2.0], [3.0], [math.nan]])
    predicted = np.array([[9.0], [math.nan], [-math.inf], [4.0]])
    said, table = _largest_errors(actual, predicted, ("a",))
    assert not said and [row[0] for row in table.rows] == ["2", "3", "1", "4"]


def test_errors_of_several_columns_are_compared_by_their_own_sizes() -> None:
    actual = np.zeros((4, 2))
    predicted = np.array([[100.0, 0.0], [100.0, 0.1], [100.0, 0.0], [300.0, 0.0]])
    said, table = _largest_errors(actual, predicted, ("large", "small"))
    assert said == ["Largest first, as multiples of the RMSE of the column."]
    assert [row[1] for row in table.rows] == ["small", "large", "large", "large"]
    assert [row[0] for row in table.rows] == ["2", "4", "1", "3"]
