"""Forecasts of the next day from an hourly table of three stations: errors, and what training and forecasting take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.forecasting.scores import ALL, read_forecasts, scores_of
from benchmarks.forecasting.station_table import LEVELS, write_tables
from benchmarks.measuring import Figure
from benchmarks.processes import run_in_turns
from benchmarks.results import Row
from benchmarks.tables import Settings

NOTE = """26 weeks: 18 for training, 4 for validation, 4 for the test, in which each contender forecasts 24 hours
from each midnight, trained once. 1 % of the cells are missing; hours whose load is missing do not count. One run
and one seed."""
NAIVE = ["same hour yesterday", "same hour last week"]
OURS = ["nablac dense", "nablac GRU"]
NEURAL = ["neuralforecast NHITS", "neuralforecast NHITS, covariates", "neuralforecast NBEATS"]
DARTS = ["darts linear regression, covariates"]
SLOW = ["neuralforecast LSTM, covariates", "darts TiDE, covariates"]  # minutes


def rows(settings: Settings) -> Iterator[Row]:
    names = settings.competing([*OURS, *NAIVE, *NEURAL, *DARTS, *([] if settings.quick else SLOW)])
    notes = {name: f"{', '.join(CONTENDERS[name].missing())} not installed" for name in names}
    notes = {name: note for name, note in notes.items() if CONTENDERS[name].missing()}
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder))
        commands = {name: ["-m", "benchmarks.forecasting", name, folder] for name in names if name not in notes}
        usages = run_in_turns(commands, 1, first=False)
        notes |= {name: usage.failure for name, usage in usages.items() if usage.failure}
        finished = [name for name in usages if name not in notes]
        scores = {name: scores_of(read_forecasts(Path(folder, f"{name}.npz"))) for name in finished}
    for case in settings.chosen([*LEVELS, ALL]):
        yield _row(case, "MAE in kW", {name: score[case].mae for name, score in scores.items()})
        yield _row(case, "RMSE in kW", {name: score[case].rmse for name, score in scores.items()})
    for case in settings.chosen([ALL]):
        used = {name: usage for name, usage in usages.items() if name in finished and name not in NAIVE}
        seconds = {name: usage.seconds[0] for name, usage in used.items()}
        yield _row(case, "s, processor time to train and forecast, imports counted", seconds)
        peaks = {name: usage.peaks[0] for name, usage in used.items()}
        yield _row(case, "MiB at the peak, imports counted", peaks, notes)


def _row(case: str, measure: str, values: dict[str, float], notes: dict[str, str] | None = None) -> Row:
    figures = {name: Figure(value, 0.0, 1) for name, value in values.items()}
    return Row("forecasting", case, measure, figures, notes or {}, reference=OURS[0])
