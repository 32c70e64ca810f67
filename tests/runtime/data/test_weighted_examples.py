"""Weights of examples from tables, arrays and classes, and what is refused with its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.model_spec import EXAMPLE_WEIGHT
from grammar.diagnostics import NablacError
from runtime.data.arrays import from_arrays
from runtime.data.fitted import facts_of, parse_facts
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.models import text_source
from tests.runtime.training.table_runs import training

TABLE = 'csv("t.csv") -> columns(inputs: ["a", "b"], targets: "t")'
LABELS = {"WIDTH": "3", "TARGETS": "kind: i64[batch]", "LOSS": "cross_entropy(y, kind)"}
BY_KIND = 'csv("t.csv") -> columns(inputs: ["a", "b"], targets: "kind")'


def table(folder: Path, weights: list[object], name: str = "t.csv") -> None:
    kinds = ["cat", "dog", "dog", "dog", "emu", "dog"]
    rows = [f"{row},{row % 3},{row * 2},{kinds[row % 6]},{weight}" for row, weight in enumerate(weights)]
    (folder / name).write_text("a,b,t,kind,w\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize("before", [True, False])
def test_a_column_of_the_table_weighs_its_rows(before: bool, tmp_path: Path) -> None:
    table(tmp_path, [1, 0.5, 0, 2])
    stage = 'weights(column: "w")'
    data = TABLE.replace(" -> ", f" -> {stage} -> ") if before else f"{TABLE} -> {stage}"
    examples = training(tmp_path, data).data
    assert examples.arrays[EXAMPLE_WEIGHT].tolist() == [1, 0.5, 0, 2]
    assert examples.arrays["x"].tolist() == [[0, 0], [1, 1], [2, 2], [3, 0]]


def test_a_window_weighs_the_mean_of_its_targets_rows(tmp_path: Path) -> None:
    table(tmp_path, [9, 9, 1, 2, 4, 8])
    text = """
    model M { input x: [batch, 2, 1]
      output y = x[:, :, 0] -> Dense(2) }
    train M { target t: [batch, 2]
      loss mse(y, t)
      data csv("t.csv") -> window("a", length: 2, horizon: 2) -> weights(column: "w") }
    """
    examples = Training(text_source(text, tmp_path)).data
    assert examples.arrays[EXAMPLE_WEIGHT].tolist() == [1.5, 3, 6]
    assert examples.arrays["x"].shape == (3, 2, 1)


def test_balanced_weights_are_of_the_training_part_and_are_kept(tmp_path: Path) -> None:
    table(tmp_path, [1] * 12)
    data = f'{BY_KIND} -> split(validation: 0.5, order: "time") -> weights(classes: "balanced")'
    run = training(tmp_path, data, **LABELS)
    weights = run.data.class_weights
    assert weights == pytest.approx((6 / (3 * 1), 6 / (3 * 4), 6 / (3 * 1)))  # scikit-learn's "balanced"
    assert parse_facts(json.loads(json.dumps(facts_of(run.fitted_now))), None).class_weights == weights
    table(tmp_path, [1, 1, 1], "other.csv")
    later = replace(run, fitted=run.fitted_now, options=Options(data=str(tmp_path / "other.csv"), undivided=True))
    assert later.data.arrays[EXAMPLE_WEIGHT].tolist() == [2, 0.5, 0.5]


def test_classes_by_name_and_those_without_a_name_weigh_1(tmp_path: Path) -> None:
    table(tmp_path, [1, 2, 3, 4, 5, 0])
    data = f'{BY_KIND} -> weights(column: "w", classes: [["emu", 10], ["cat", 0.5]])'
    assert training(tmp_path, data, **LABELS).data.arrays[EXAMPLE_WEIGHT].tolist() == [0.5, 2, 3, 4, 50, 0]


def test_one_class_weighs_1(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,kind\n1,2,cat\n3,4,cat\n")
    run = training(tmp_path, f'{BY_KIND} -> weights(classes: "balanced")', **LABELS)
    assert run.data.arrays[EXAMPLE_WEIGHT].tolist() == [1, 1]


AT_LEAST = "must be a number of at least 0"
REFUSED: dict[str, tuple[list[object], str, dict[str, str], str]] = {
    "negative": ([1, 1, -2], f'{TABLE} -> weights(column: "w")', {},
                 f"E821 HERE/t.csv:4: column `w`: the weight of an example is -2, and {AT_LEAST}"),
    "missing": ([1, "", 2], f'{TABLE} -> weights(column: "w")', {},
                "E821 HERE/t.csv:3: column `w`: the cell is empty"),
    "missing and filled": ([1, "NA", 2], TABLE.replace(" -> ", ' -> fill("mean") -> ') + ' -> weights(column: "w")', {},
                           f"E821 HERE/t.csv:3: column `w`: the weight of an example is missing, and {AT_LEAST}"),
    "texts": (["x", "y"], f'{TABLE} -> weights(column: "w")', {},
              "E821 HERE/t.csv: column `w` holds texts, and the weights of examples are numbers"),
    "no column": ([1, 2], f'{TABLE} -> weights(column: "v")', {}, "E822 : HERE/t.csv has no column `v`"),
    "all zero": ([0, 0], f'{TABLE} -> weights(column: "w")', {},
                 "E823 : the weight of every example of the training part is 0: nothing would be learnt"),
    "no classes": ([1, 1, 1], f'{TABLE} -> weights(classes: "balanced")', {},
                   "E824 : `weights(classes: ...)` weighs examples by their class, and no target has one class for "
                   "each example"),
    "unknown class": ([1] * 6, f'{BY_KIND} -> weights(classes: [["cow", 2]])', LABELS,
                      "E826 : `kind` has no class `cow`"),
    "too few": ([1] * 6, f"{BY_KIND} -> weights(classes: [1, 2])", LABELS,
                "E826 : `kind` has 3 classes, `cat`, `dog`, `emu`, and `weights` 2"),
    "mixup": ([1, 1], f'{TABLE} -> augment(mixup: 0.2) -> weights(column: "w")', {},
              "E825 : `mixup` mixes pairs of examples, so that none has a weight of its own"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_weight_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    weights, data, parts, expected = REFUSED[case]
    table(tmp_path, weights)
    with pytest.raises(NablacError) as caught:
        training(tmp_path, data, **parts).data  # noqa: B018 - reads it
    (diagnostic,) = caught.value.diagnostics
    shown = f"{diagnostic.code} {diagnostic.place or ''}: {diagnostic.message}"
    assert shown.replace(str(tmp_path), "HERE") == expected


ARRAYS = {
    "missing": ({}, "E822 : there is no array `w`, for the weights of examples"),
    "negative": ({"w": np.array([1, 2, -1])}, f"E821 example 2: `w`: the weight of an example is -1, and {AT_LEAST}"),
    "nan": ({"w": np.array([np.nan, 2, 1])}, "E821 data: `w` is not finite at example 0: [nan]"),
    "wide": ({"w": np.ones((3, 2))}, "E824 : `w` is float64[3, 2]; weights of examples are one number each"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARRAYS)
def test_an_array_of_weights_is_checked(case: str, tmp_path: Path) -> None:
    arrays, expected = ARRAYS[case]
    run = training(tmp_path, 'arrays() -> weights(column: "w")')
    with pytest.raises(NablacError) as caught:
        run.examples = from_arrays({"x": np.ones((3, 2)), "t": np.ones((3, 1)), **arrays}, "data")
        run.data  # noqa: B018 - reads it
    (diagnostic,) = caught.value.diagnostics
    assert f"{diagnostic.code} {diagnostic.place or ''}: {diagnostic.message}" == expected
