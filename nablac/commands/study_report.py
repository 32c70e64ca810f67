"""What `nablac tune` reports of a study: its best trials, the files that it has written, and how to continue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import click

from grammar.visible import shell_word
from nablac.commands.output import note, print_json
from nablac.commands.signals import status_of_stopped

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy
    from runtime.search.study_record import StudyRecord
    from runtime.search.trial_results import TrialJson, TrialResult

_SHOWN = 10  # of the best trials, in the table at the end


class TuneJson(TypedDict):
    """A study. The exit status is 1 if every trial failed, 130 or 143 if a signal stopped it."""

    study: Annotated[str, "its folder"]
    trials: Annotated[list[TrialJson], "that have started, in order"]
    unfinished: Annotated[int, "trials that are still to be run"]
    monitor: Annotated[str, "the quantity that trials are compared by"]
    higher_is_better: Annotated[bool, "of that"]
    best: Annotated[TrialJson | None, "the best trial"]
    model: Annotated[str | None, "the file with its values"]


def report_study(study: OpenStudy, total: int, caught: Sequence[int], as_json: bool, quiet: bool) -> int:
    """Write the results, show them and how to continue, if signals were `caught`; returns the exit status."""
    from runtime.search.study_results import BEST, as_written, write_results
    from runtime.search.trial_results import ENDED, ranked, trial_results, variable_columns

    trials = trial_results(study.study)
    best = write_results(study, trials, total)
    ended = sum(trial.state in ENDED for trial in trials)
    is_over = ended >= total
    status = status_of_stopped(caught) if caught and not is_over else 1 if is_over and best is None else 0
    if as_json:
        facts: TuneJson = {
            "study": str(study.folder),
            "trials": [trial.to_json() for trial in trials],
            "unfinished": total - ended,
            "monitor": study.record.monitor,
            "higher_is_better": study.record.higher_is_better,
            "best": best.to_json() if best is not None else None,
            "model": str(study.folder / BEST) if best is not None else None,
        }
        print_json(facts)
        return status
    if best is not None:
        _print_table(study, ranked(trials, study.record.higher_is_better), variable_columns(trials))
        _print_ends(study, best, as_written(study, trials), quiet)
    failed = [trial for trial in trials if trial.state == "failed"]
    if failed:
        of = "every trial" if is_over and len(failed) == total else f"{len(failed)} of {ended} trials"
        note(f"{of} failed, the first with {failed[0].message}")
    if not is_over:
        why = "stopped and saved" if caught else "the time is up"
        note(f"{why} after {ended} of {total} trials; resume with:   {study.resume_command}")
    return status


def _print_table(study: OpenStudy, best: list[TrialResult], variables: list[str]) -> None:
    """Print the best trials, one a row, with those of `variables` that they reached."""
    from runtime.search.study_page import show_value

    shown = best[:_SHOWN]
    names = [name for name in variables if any(name in trial.values for trial in shown)]
    rows = [["trial", study.record.monitor, "epochs", "seconds", *names]]
    for trial in shown:
        values = [show_value(trial.values[name]) if name in trial.values else "" for name in names]
        seconds = f"{trial.seconds:.1f}" if trial.seconds is not None else f"as {trial.same_as}"
        rows.append([str(trial.number), f"{trial.objective:.6g}", str(trial.epochs), seconds, *values])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if len(best) > _SHOWN:
        click.echo(f"and {len(best) - _SHOWN:,} more")


def _print_ends(study: OpenStudy, best: TrialResult, own: TrialResult | None, quiet: bool) -> None:
    """Print which files were written, and the commands that use them."""
    from runtime.search.study_results import BEST, PAGE, TABLE

    text = f"; with the default values {own.objective:.6g}" if own is not None else ""
    click.echo(
        f"best trial {best.number}: {study.record.monitor} {best.objective:.6g} in epoch {best.best_epoch}{text}"
    )
    files = [name for name in (PAGE, TABLE, BEST) if (study.folder / name).is_file()]
    click.echo(f"{study.folder}: {', '.join(files)}")
    note(f"train:     nablac train {shell_word(study.folder / BEST)}{_train_options(study.record)}", quiet)
    number = best.number if best.same_as is None else best.same_as
    run = study.folder / "trials" / str(number)
    if not run.is_dir() and best.folder is not None:  # with --storage, by a process with a folder of its own
        run = Path(best.folder)
    if run.is_dir():
        note(f"evaluate:  nablac eval {shell_word(run)}", quiet)
    else:
        note(f"trial {number} was run on another machine, in {shell_word(run)}", quiet)


def _train_options(record: StudyRecord) -> str:
    """The options with which `nablac train` trains the best program as in its trial."""
    options, defaults = record.options, {"dtype": "f32", "backend": "numpy", "device": "cpu", "skip_broken": False}
    parts = []
    for name in (
        "model",
        "dtype",
        "weights",
        "epochs",
        "patience",
        "validation",
        "data",
        "backend",
        "device",
        "threads",
    ):
        value = getattr(options, name)
        if value is not None and value != defaults.get(name):
            parts.append(f" --{name} {shell_word(str(value))}")
    return "".join(parts) + (" --skip-broken" if options.skip_broken else "")
