"""Studies that are killed or stopped at any moment: no ended trial is lost, and they end as the one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.command_line import invoke, process
from tests.nablac.tuned import TEXT, rows, tune, unclocked, write_model

pytest.importorskip("optuna")
ENDED = ("done", "pruned", "failed")


def same(folder: Path, one: str, two: str) -> None:
    """Two studies have the same table, and the same weights of every trial."""
    assert unclocked(folder / one) == unclocked(folder / two)
    for row in rows(folder / one):
        for name in ("history.csv", "weights.safetensors"):
            files = [folder / study / "trials" / row["trial"] / name for study in (one, two)]
            assert [file.exists() for file in files] in ([True, True], [False, False])
            assert not files[0].exists() or files[0].read_bytes() == files[1].read_bytes(), files


class Killed(BaseException):
    """Stands for the end of the process, which no handler of errors sees."""


@contextmanager
def killed_at(append: int) -> Iterator[None]:
    """The process ends within its `append`-th line of the journal, of which half is written."""
    from optuna.storages.journal import JournalFileBackend

    real, count = JournalFileBackend.append_logs, 0

    def append_logs(backend: Any, logs: list[dict[str, Any]]) -> None:
        nonlocal count
        count += 1
        real(backend, logs)
        if count == append:
            path = Path(backend._file_path)
            whole = path.read_bytes()
            last = whole.rstrip(b"\n").rfind(b"\n") + 1
            path.write_bytes(whole[: last + (len(whole) - last) // 2])
            raise Killed
        if count > append:  # what a killed process does not do
            raise Killed

    with patch.object(JournalFileBackend, "append_logs", append_logs):
        yield


def killed_study(folder: Path, options: tuple[str, ...], append: int) -> bool:
    """A study that is killed and goes on; whether it was killed before its end."""
    name = f"killed-{append}"
    try:
        with killed_at(append):
            tune(folder, *options, "-q", "-o", name)
        return False
    except Killed:
        pass
    again = ("tune", "--resume", name) if (folder / name).exists() else ("tune", "net.model", *options, "-o", name)
    ended = invoke(*again, "-q", folder=folder)
    assert ended.exit_code == 0, ended.output
    same(folder, "whole", name)
    return True


OPTIONS = {
    "grid": ("--search", "grid", "--points", "1", "--trials", "2", "--epochs", "2"),
    "random": ("--search", "random", "--trials", "2", "--epochs", "2"),
    "pruned": ("--search", "tpe", "--trials", "6", "--epochs", "12", "--prune"),
}


@pytest.mark.parametrize(("search", "appends"), [("grid", [4]), ("random", [1, 7, 13]), ("pruned", [90])])
def test_a_study_killed_within_a_line_of_its_journal_ends_as_the_one_that_was_not(
    tmp_path: Path, search: str, appends: list[int]
) -> None:
    write_model(tmp_path)
    tune(tmp_path, *OPTIONS[search], "-q", "-o", "whole")
    for append in appends:
        assert killed_study(tmp_path, OPTIONS[search], append)


@pytest.mark.campaign
@pytest.mark.parametrize("search", OPTIONS)
def test_a_study_killed_within_any_line_of_its_journal_ends_as_the_one_that_was_not(
    tmp_path: Path, search: str
) -> None:
    write_model(tmp_path)
    tune(tmp_path, *OPTIONS[search], "-q", "-o", "whole")
    append = 1
    while killed_study(tmp_path, OPTIONS[search], append):
        append += 1 if search != "pruned" else 7
    assert append > 20


def lasting(epochs: int) -> str:
    """The model's text with so many epochs a trial, for a study that is still running when it is killed."""
    return TEXT.replace("epochs     3", f"epochs     {epochs}")


def begun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A study, once a trial of it trains."""
    running = process("tune", *arguments, folder=folder)
    while running.poll() is None and not list(folder.glob("study/trials/*/history.csv")):
        time.sleep(0.02)
    return running


def ended_trials(study: Path) -> dict[str, str]:
    """The lines of the trials that have ended, in the table as it would be written now."""
    from optuna.trial import TrialState

    from runtime.search.resuming import resume_study

    trials = resume_study(study).study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state is not TrialState.WAITING and trial.state.is_finished()]
    return {str(trial.number): repr((trial.state, trial.value, trial.params)) for trial in finished}


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, "1"), (signal.SIGTERM, "2")])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: int, jobs: str) -> None:
    write_model(tmp_path, lasting(100_000))
    running = begun(tmp_path, "net.model", "--trials", "3", "--jobs", jobs, "-o", "study")
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 128 + number, errors
    last = errors.splitlines()[-1]
    assert last == "stopped and saved after 0 of 3 trials; resume with:   nablac tune --resume study"
    assert "Traceback" not in errors
    assert not list((tmp_path / "study").rglob("*.part"))
    assert {row["state"] for row in rows(tmp_path / "study")} == {"running"}


def test_a_killed_study_ends_as_the_one_that_was_not(tmp_path: Path) -> None:
    write_model(tmp_path, lasting(20))
    running = begun(tmp_path, "net.model", "--search", "tpe", "--trials", "3", "-q", "-o", "study")
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert invoke("tune", "--resume", "study", "-q", folder=tmp_path).exit_code == 0
    tune(tmp_path, "--search", "tpe", "--trials", "3", "-q", "-o", "whole")
    same(tmp_path, "whole", "study")


@pytest.mark.one_version
def test_others_take_over_what_a_killed_one_was_at(tmp_path: Path) -> None:
    write_model(tmp_path, lasting(20))
    options = ("--search", "random", "--trials", "4")
    first = begun(tmp_path, "net.model", *options, "-q", "-o", "study")
    second = process("tune", "--resume", "study", "-q", folder=tmp_path)
    while second.poll() is None and len(list(tmp_path.glob("study/trials/*/history.csv"))) < 2:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    output, errors = second.communicate(timeout=120)
    assert second.returncode == 0, output + errors
    tune(tmp_path, *options, "-q", "-o", "whole")
    same(tmp_path, "whole", "study")


def journal_size(folder: Path) -> int:
    """The bytes of the study's journal, as far as it is written."""
    journal = folder / "study" / "journal.log"
    return journal.stat().st_size if journal.exists() else 0


KILLS = 30


@pytest.mark.campaign
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_study_killed_often_loses_no_ended_trial(tmp_path: Path, jobs: str) -> None:
    """Killed at random moments, again and again. What workers leave behind is taken over by the next."""
    write_model(tmp_path, lasting(60))
    options = ("--search", "random", "--trials", "40")
    tune(tmp_path, *options, "-q", "-o", "whole")
    generator, kills, before = random.Random(3), 0, dict[str, str]()
    while kills < KILLS:
        exists = (tmp_path / "study" / "study.json").exists()
        arguments = ("--resume", "study") if exists else ("net.model", *options, "-o", "study")
        written = journal_size(tmp_path)
        running = process("tune", *arguments, "--jobs", jobs, "-q", folder=tmp_path)
        while kills % 4 and running.poll() is None and journal_size(tmp_path) == written:
            time.sleep(0.02)  # till it works: every fourth is killed while it starts
        try:
            running.wait(timeout=generator.uniform(0.0, 2.0))
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            kills += 1
        running.communicate()
        if (tmp_path / "study" / "study.json").exists():
            after = ended_trials(tmp_path / "study")
            assert before.items() <= after.items(), "an ended trial is lost"
            before = after
        if running.returncode == 0:
            break
    assert invoke("tune", "--resume", "study", "-q", folder=tmp_path).exit_code == 0
    same(tmp_path, "whole", "study")
    assert kills >= KILLS or os.environ.get("CI"), "too short for so many: more trials, or longer ones"
