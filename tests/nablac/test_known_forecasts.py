"""Forecasts by columns that are known ahead, from the table to dated predictions, on every way there is."""

from __future__ import annotations

import csv
import io
import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import nablac
from runtime.data.file_rows import VARIABLE
from tests.command_line import invoke, succeed
from tests.nablac.evaluated import figures_of
from tests.nablac.hourly import FIRST, LATER, PAST, SPEC, STATIONS, column, rows_of, waves, write_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a run on it, and its compiled model."""
    folder = tmp_path_factory.mktemp("hourly")
    write_table(folder / "load.csv")
    (folder / "load.model").write_text(SPEC.lstrip())
    succeed("train", "load.model", "-o", "run", "-q", folder=folder)
    succeed("compile", "run", "-o", "load.onnx", folder=folder)
    return folder


def test_the_next_day_of_each_station_is_predicted_with_dates(folder: Path) -> None:
    assert len(SPEC.strip().splitlines()) <= 30
    table, compiled = (
        list(csv.DictReader(io.StringIO(succeed("predict", model, "load.csv", "-q", folder=folder).stdout)))
        for model in ("run", "load.onnx")
    )
    times = [(FIRST + timedelta(hours=PAST + hour)).strftime("%Y-%m-%d %H:%M") for hour in range(LATER)]
    assert [(row["station"], row["time"]) for row in table] == [(name, time) for name in STATIONS for time in times]
    assert [row["step"] for row in table] == 3 * [str(step) for step in range(1, LATER + 1)]
    compiled = list(
        csv.DictReader(io.StringIO(succeed("predict", "load.onnx", "load.csv", "-q", folder=folder).stdout))
    )
    np.testing.assert_allclose(
        *([float(row["predicted_load"]) for row in rows] for rows in (table, compiled)), rtol=1e-4
    )


def test_the_compiled_model_reads_the_arrays_that_the_docs_describe(folder: Path) -> None:
    """Of arrays made by hand, of filled past rows and of the prices and hours ahead, it says what `predict` says."""
    past, future = [], []
    for station in STATIONS:
        rows = rows_of(folder / "load.csv", station)
        columns = [column(rows, name, filled=True)[:, None] for name in ("load", "temperature", "price")]
        table = np.concatenate([*columns, waves(rows)], axis=1)
        past.append(table[PAST - 48 : PAST])
        future.append(table[PAST:, 2:])
    np.savez(folder / "arrays.npz", past=np.array(past), future=np.array(future))
    succeed("run", "load.onnx", "arrays.npz", "-o", "load.npy", folder=folder)
    predicted = nablac.load(folder / "run").predict(str(folder / "load.csv"))["predicted_load"]
    np.testing.assert_allclose(np.load(folder / "load.npy").ravel(), predicted, rtol=1e-4)


def test_it_is_judged_beside_the_seasonal_naive_forecast(folder: Path) -> None:
    """In the units of the table, on the targets that are there in the windows of the last fifth of each station."""
    pandas = pytest.importorskip("pandas")
    naive: dict[str, list[np.ndarray]] = {"last value": [], "last season": []}
    for station in STATIONS:
        load = pandas.Series(column(rows_of(folder / "load.csv", station)[:PAST], "load"))
        last, seasons = load.ffill().to_numpy(), load.groupby(np.arange(PAST) % 168).ffill().to_numpy()
        for origin in range(PAST - round(0.2 * PAST), PAST - 24 + 1):
            truth = load.to_numpy()[origin : origin + 24]
            for name, forecast in (
                ("last value", last[origin - 1]),
                ("last season", seasons[origin - 168 : origin - 144]),
            ):
                naive[name].append(np.abs(truth - forecast)[np.isfinite(truth)])
    facts = figures_of(folder / "run", "--season", "168", "--part", "test")["figures"]["next"]["columns"]["load"]
    for name, parts in naive.items():
        errors, baseline = np.concatenate(parts), facts["baselines"][name]
        assert facts["count"] == baseline["count"] == len(errors)
        assert baseline["mae"] == pytest.approx(errors.mean(), rel=1e-6)
        assert facts["mae"] < 0.8 * errors.mean()
    compiled = figures_of(folder / "load.onnx", "--data", str(folder / "load.csv"), "--season", "168")
    assert compiled["figures"]["next"]["columns"]["load"]["mae"] < 0.8 * errors.mean()


def test_a_table_on_disk_is_judged_as_one_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With naive forecasts and backtests, of a run and of its compiled model, and with a report."""
    asked = (("run",), ("load.onnx", "--data", "load.csv"))
    options = ("--season", "24", "--backtest", "--json", "--report", "report")
    figures = []
    for limit in ("1GB", "4KiB"):
        monkeypatch.setenv(VARIABLE, limit)
        judged = [invoke("eval", *model, *options, folder=folder) for model in asked]
        assert [done.exit_code for done in judged] == [0, 0], judged[0].output
        assert "naive" not in judged[0].stderr
        figures.append([json.loads(done.stdout) for done in judged])
    assert figures[0] == figures[1]
    assert figures[0][0]["figures"]["next"]["backtest"]["columns"]["load"]["baselines"]["last season"]["count"] > 0
    assert "row " in (folder / "report" / "report.html").read_text()


def test_a_price_decides_about_its_own_hour(folder: Path) -> None:
    """Dearer hours have less load: known columns of the rows to predict are used, each for its row."""
    rows = (folder / "load.csv").read_text().splitlines()
    header, *north = [line for line in rows if line.startswith(("station", "north"))]
    *others, last = north
    cells = last.split(",")
    predicted = []
    for price in ("20", "40"):
        (folder / "north.csv").write_text("\n".join([header, *others, ",".join([*cells[:3], price, ""])]) + "\n")
        predicted.append(nablac.load(folder / "run").predict(str(folder / "north.csv"))["predicted_load"])
    assert np.array_equal(predicted[0][:-1], predicted[1][:-1])
    assert predicted[1][-1] < predicted[0][-1] - 10


def test_missing_prices_are_named(folder: Path) -> None:
    header, *rows = (folder / "load.csv").read_text().splitlines()
    past = [header]
    for station in STATIONS:
        of_station = [row for row in rows if row.startswith(station)]
        past += of_station[: max(of_station.index(row) + 1 for row in of_station if not row.endswith(","))]
    (folder / "past.csv").write_text("\n".join(past) + "\n")
    done = invoke("predict", "run", "past.csv", folder=folder)
    assert done.exit_code == 2
    line = max(past.index(row) + 1 for row in past if row.startswith("north"))
    assert done.stderr == (
        "error[E884]: the model reads `price` of the 24 rows that it predicts, and none follows the last row of the"
        f" series `north` with `load`\n --> past.csv:{line}\n"
        "help: add the rows to predict: with dates and `price`, and `load` empty\n"
    )


def test_a_resumed_run_reaches_the_same_bits(folder: Path) -> None:
    for name, epochs in (("whole", "2"), ("stopped", "1")):
        succeed("train", "load.model", "-o", name, "-q", "--epochs", epochs, folder=folder)
    succeed("train", "--resume", "stopped", "--epochs", "2", "-q", folder=folder)
    weights = [(folder / name / "weights.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]


def test_a_decoder_of_products_compiles(folder: Path) -> None:
    """Numbers at the limits of the dtype overflow in it, in another order where the scaling is folded into weights."""
    start, end = SPEC.index("    context"), SPEC.index("}\n\ntrain")
    decoder = "relu((future -> Dense(units)) + (past -> GRU(units) -> unsqueeze(1))) -> Dense(1)"
    (folder / "products.model").write_text(f"{SPEC[:start]}    output load = {decoder}\n{SPEC[end:]}")
    succeed("train", "products.model", "-o", "products", "-q", "--epochs", "1", folder=folder)
    done = succeed("compile", "products", "-o", "products.onnx", folder=folder)
    assert "verified against the NumPy runtime" in done.output


def test_other_data_and_searches_have_them_too(folder: Path) -> None:
    pytest.importorskip("optuna")
    write_table(folder / "later.csv", later=30)
    succeed("train", "load.model", "-o", "other", "-q", "--epochs", "1", "--data", "later.csv", folder=folder)
    (folder / "search.model").write_text(SPEC.replace("units = 12", "units = 4..8"))
    succeed("tune", "search.model", "--trials", "1", "--epochs", "1", "-o", "study", folder=folder)
    shutil.rmtree(folder / "study")


COPY = """
model Copy {
    input x: [batch, 4, columns]
    input k: [batch, HORIZON, 1]
    param w: [1] = 1
    output y = k * w + 0 * sum(x[:, 3:], axis: -1, keep: true)
}
train Copy {
    target t: [batch, HORIZON, 1]; loss mse(y, t); optimizer sgd(lr: 1e-30); epochs 1; validation 0.25
    data csv("s.csv") -> by("s") -> window([READ], length: 4, horizon: HORIZON, shift: SHIFT, target: "v", known: "p")
}
"""


@pytest.mark.parametrize(("read", "fed_back"), [('"v"', True), ('"v", "p"', True), ('"u"', False)])
@pytest.mark.parametrize(("horizon", "shift"), [(2, 0), (4, 2), (2, 6)])
def test_a_backtest_reads_what_is_known_after_its_origins(
    tmp_path: Path, read: str, fed_back: bool, horizon: int, shift: int
) -> None:
    """A model that returns `p`: its errors are those of `p`, but for rows at the end after which `p` is not known."""
    generator = np.random.default_rng(3)
    numbers = {name: generator.normal(size=(count, 3)).round(4) for name, count in (("a", 40), ("b", 52))}
    lines = [f"{name},{','.join(map(str, row))}" for name, rows in numbers.items() for row in rows.tolist()]
    (tmp_path / "s.csv").write_text("\n".join(["s,v,p,u", *lines]) + "\n")
    (tmp_path / "m.model").write_text(
        COPY.replace("READ", read).replace("HORIZON", str(horizon)).replace("SHIFT", str(shift))
    )
    succeed("train", "m.model", "-o", "run", "-q", folder=tmp_path)
    facts = figures_of(tmp_path / "run", "--backtest", "2")["figures"]["t"]["backtest"]
    assert facts["fed_back"] is fed_back
    errors, skipped = [], 0
    for rows in numbers.values():
        first = len(rows) - round(len(rows) / 4) + (4 - shift if 0 < shift < 4 else 0)  # that no window has seen
        for block in np.array_split(np.arange(first, len(rows)), 2):
            known = len(block) if block[-1] + 1 < len(rows) else len(block) // 2 * 2
            errors += [abs(rows[row, 0] - rows[row, 1]) for row in block[:known]]
            skipped += len(block) - known
    assert skipped > 0
    assert (facts["columns"]["v"]["count"], facts["rows_left_out"]) == (len(errors), skipped)
    assert facts["columns"]["v"]["mae"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_the_recipe_says_which_inputs_are_known(folder: Path) -> None:
    assert json.loads((folder / "run" / "data.json").read_text())["known"] == ["future"]
