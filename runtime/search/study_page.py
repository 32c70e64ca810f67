"""A study as a page: the best result so far, the importance of variables, and all trials as a chart and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from runtime.charts.bars import bar_chart
from runtime.charts.lines import Highlight, Series, line_chart
from runtime.charts.page import Facts, Figures, Paragraph, Part, Section, Table, page
from runtime.charts.palette import BLUE, MAGENTA, ORANGE
from runtime.charts.panel import Chart
from runtime.charts.parallel import Dimension, parallel_coordinates
from runtime.charts.readable_numbers import duration, is_drawable, readable
from runtime.search.trial_rows import StudyFacts, TrialRow, Value, best_row, best_so_far

_MOST_AXES = 9  # of variables, side by side
_MOST_SLICES = 5
_FEW = 10  # trials, of which importances say little


def study_page(facts: StudyFacts, rows: Sequence[TrialRow], importances: Mapping[str, float], footer: str = "") -> str:
    """The HTML file. `importances` are shares of 1 by variable; empty if there are too few trials to compute them."""
    rows = sorted(rows, key=lambda row: row.number)
    best = best_row(rows, facts.higher_is_better)
    names = _variables(rows, importances)
    sections = [Section("Result", _result(facts, rows, best))]
    if any(row.objective is not None for row in rows):
        sections.append(Section("Best so far", [Figures([_progress(facts, rows, best)])]))
        sections.append(Section("What mattered", _importances(facts, rows, names, importances)))
        sections.append(Section("All trials at once", [Figures([_parallel(facts, rows, names)])]))
    sections.append(Section("Trials", [_table(facts, rows, best)]))
    limit = f"{facts.trials:,} trials" if facts.trials is not None else "no limit of trials"
    seed = f", seed {facts.seed}" if facts.seed is not None else ""
    goal = "higher" if facts.higher_is_better else "lower"
    search = facts.search.upper() if facts.search == "tpe" else facts.search.capitalize()
    subtitle = f"{search} search, {limit}{seed}; {facts.objective}, {goal} is better"
    return page(f"Study of {facts.model}", sections, subtitle=subtitle, footer=footer)


def _variables(rows: Sequence[TrialRow], importances: Mapping[str, float]) -> list[str]:
    """The names of all variables, the most important first, then in the order of the trials."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    return sorted(names, key=lambda name: -importances.get(name, 0.0))


def _result(facts: StudyFacts, rows: Sequence[TrialRow], best: TrialRow | None) -> list[Part]:
    states = Counter(row.state for row in rows)
    others = ", ".join(f"{states[state]:,} {state}" for state in ("pruned", "failed", "running") if states[state])
    counted = ("trials that are done", f"{states['done']:,}", others) if others else None
    seconds = sum(row.seconds or 0.0 for row in rows)
    epochs = sum(row.epochs or 0 for row in rows)
    cost = [
        counted or ("trials that are done", f"{states['done']:,}"),
        ("time of all trials", duration(seconds), f"{epochs:,} epochs"),
    ]
    if best is None or best.objective is None:
        return [Facts(cost), Paragraph("No trial is done yet.")]
    shown: list[tuple[str, str] | tuple[str, str, str]] = [
        (f"best {facts.objective}", readable(best.objective, 5), f"trial {best.number}")
    ]
    if facts.baseline is not None:
        change = _change(best.objective, facts.baseline)
        shown.append((f"{facts.objective} without the search", readable(facts.baseline, 5), change))
    values = [[name, show_value(value)] for name, value in best.values.items()]
    return [Facts([*shown, *cost]), Table(["variable", "best value"], values)]


def _change(value: float, baseline: float) -> str:
    if not is_drawable(baseline) or not baseline:
        return ""
    share = (value - baseline) / abs(baseline)
    return "the best is equal" if not share else f"the best is {abs(share):.1%} {'higher' if share > 0 else 'lower'}"


def _progress(facts: StudyFacts, rows: Sequence[TrialRow], best: TrialRow | None) -> Chart:
    done, pruned = (
        [row for row in rows if row.state == state and row.objective is not None] for state in ("done", "pruned")
    )
    pairs = best_so_far(rows, facts.higher_is_better)
    series = [Series("best so far", *_columns(pairs), style="steps", color=BLUE)] if pairs else []
    for name, chosen, color in (("trial", done, ORANGE), ("pruned trial", pruned, MAGENTA)):
        points = [(row.number, row.objective or 0.0) for row in chosen]
        if points:
            series.append(
                Series(name, *_columns(points), style="dots", color=color, tips=[_tip(row) for row in chosen])
            )
    highlight = None
    if best is not None and best.objective is not None:
        highlight = Highlight(best.number, best.objective, f"best {readable(best.objective)} in trial {best.number}")
    return line_chart(
        f"{facts.objective} by trial",
        series,
        x_name="trial",
        whole_x=True,
        levels={"without the search": facts.baseline} if facts.baseline is not None else None,
        highlight=highlight,
        width=968,
        height=340,
    )


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _tip(row: TrialRow) -> str:
    values = ", ".join(f"{name} {show_value(value)}" for name, value in row.values.items())
    result = f": {readable(row.objective, 5)}" if row.objective is not None else ""
    return f"trial {row.number}{result}; {values}"


def _importances(
    facts: StudyFacts, rows: Sequence[TrialRow], names: Sequence[str], importances: Mapping[str, float]
) -> list[Part]:
    """The importances of variables, and the objective over each numeric one."""
    charts: list[Chart] = []
    if importances:
        shares = {name: importances[name] for name in names if name in importances}
        charts.append(bar_chart("Importance of variables", shares, texts=[f"{share:.0%}" for share in shares.values()]))
    for name in names:
        if len(charts) <= _MOST_SLICES and (chart := _slice(facts, rows, name)) is not None:
            charts.append(chart)
    done = sum(row.state == "done" for row in rows)
    parts: list[Part] = [Figures(charts)] if charts else []
    if not importances:
        parts.append(Paragraph("There are too few trials to compute the importances of variables.", quiet=True))
    elif done < _FEW:
        parts.append(Paragraph(f"Importances of {done} trials are no more than a hint.", quiet=True))
    return parts


def _slice(facts: StudyFacts, rows: Sequence[TrialRow], name: str) -> Chart | None:
    """The objective over one variable; None if it is not numeric, or has only one value."""
    chosen = [row for row in rows if row.state == "done" and row.objective is not None and name in row.values]
    values = [row.values[name] for row in chosen]
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values) or len(set(numbers)) < 2:
        return None
    objectives = [row.objective or 0.0 for row in chosen]
    series = Series(name, numbers, objectives, style="dots", color=ORANGE, tips=[_tip(row) for row in chosen])
    return line_chart(
        f"{facts.objective} by {name}",
        [series],
        x_name=name,
        log_x=name in facts.logarithmic,
        ticks_at_x=True,
        legend=False,
        air=0.03,
    )


def _parallel(facts: StudyFacts, rows: Sequence[TrialRow], names: Sequence[str]) -> Chart:
    kept = list(names[:_MOST_AXES])
    left_out = len(names) - len(kept)
    note = f"the {len(kept)} most important of {len(names)} variables" if left_out else ""
    order = {name: index for row in rows for index, name in enumerate(row.values)}
    kept.sort(key=lambda name: order[name])
    shown = [row for row in rows if row.objective is not None]
    dimensions = [
        Dimension(name, [_coordinate(row.values.get(name)) for row in shown], name in facts.logarithmic)
        for name in kept
    ]
    objective = Dimension(facts.objective, [row.objective for row in shown])
    return parallel_coordinates(
        "Trials by their values",
        dimensions,
        objective,
        higher_is_better=facts.higher_is_better,
        tips=[_tip(row) for row in shown],
        note=note,
    )


def _coordinate(value: Value | None) -> float | str | None:
    return show_value(value) if isinstance(value, bool) else value


def _table(facts: StudyFacts, rows: Sequence[TrialRow], best: TrialRow | None) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    with_message = any(row.message for row in rows)
    header = ["trial", "state", *names, facts.objective, "epochs", "time", *(["note"] if with_message else [])]
    cells = []
    for row in rows:
        values = [show_value(row.values[name]) if name in row.values else "" for name in names]
        objective = readable(row.objective, 5) if row.objective is not None else ""
        epochs = f"{row.epochs:,}" if row.epochs is not None else ""
        seconds = duration(row.seconds) if row.seconds is not None else ""
        message = [row.message] if with_message else []
        cells.append([str(row.number), row.state, *values, objective, epochs, seconds, *message])
    return Table(header, cells, strong=[rows.index(best)] if best is not None else [])


def show_value(value: Value) -> str:
    """The readable value of a variable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return readable(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
