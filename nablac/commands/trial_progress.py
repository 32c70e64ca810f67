"""Progress of a search: a live bar on a terminal, and a line for each trial that has ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nablac.commands.output import note
from runtime.search.study_page import show_value
from runtime.search.trial_results import ENDED, TrialResult, ranked, trial_results

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy


class TrialProgress:
    """Shows the trials of a study as they end, here and in other processes; silent if `quiet`."""

    def __init__(self, study: OpenStudy, total: int, quiet: bool) -> None:
        self._study, self._total, self._quiet = study, total, quiet
        self._width = len(str(total))
        self._seen = {trial.number for trial in trial_results(study.study) if trial.state in ENDED}
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> TrialProgress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("trials"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._total, completed=len(self._seen))
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def epoch(self, number: int, epoch: int) -> None:
        """Show the epoch of the running trial."""
        if self._bar is not None:
            self._bar.update(self._task, description=f"trial {number}, epoch {epoch}")

    def look(self) -> None:
        """Print a line for each trial that has ended since the last call."""
        if self._quiet:
            return
        trials = trial_results(self._study.study)
        best = next(iter(ranked(trials, self._study.record.higher_is_better)), None)
        for trial in trials:
            if trial.state in ENDED and trial.number not in self._seen:
                self._seen.add(trial.number)
                self._print(self._line(trial, best))
        if self._bar is not None:
            self._bar.update(self._task, completed=len(self._seen))

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            note(line)

    def _line(self, trial: TrialResult, best: TrialResult | None) -> str:
        monitor = self._study.record.monitor
        number = f"trial {trial.number:>{self._width}}"
        values = shown_values(trial)
        if trial.state == "failed":
            return f"{number}  failed: {trial.message}  {values}"
        figure = f"{monitor} {trial.objective:.5g}" if trial.objective is not None else monitor
        if trial.state == "pruned":
            figure += f"  pruned after {trial.epochs} epochs"
        figure += f"  {trial.seconds:.1f} s" if trial.seconds is not None else f"  {trial.message}"
        if best is not None:
            figure += "  best" if best.number == trial.number else f"  best {best.objective:.5g} (trial {best.number})"
        return f"{number}  {figure}  {values}"


def shown_values(trial: TrialResult) -> str:
    """The values of a trial in a line."""
    return "  ".join(f"{name} {show_value(value)}" for name, value in trial.values.items())
