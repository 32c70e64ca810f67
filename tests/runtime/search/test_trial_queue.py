"""The trials of a study among its workers: each is done by one, and taken over where its worker has died."""

from __future__ import annotations

from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState  # noqa: E402

from runtime.search.journal import locks_of, open_journal  # noqa: E402
from runtime.search.locks import FileLocks, hold_claims  # noqa: E402
from runtime.search.trial_queue import TrialQueue, fill, total  # noqa: E402


def opened(path: Path) -> optuna.Study:
    """The study of a journal, as a process of its own would have it."""
    return optuna.create_study(storage=open_journal(path), study_name="s", load_if_exists=True)


def queue(path: Path) -> TrialQueue:
    return TrialQueue(opened(path), FileLocks(locks_of(path)))


def numbers(trials: list[optuna.Trial | None]) -> list[int | None]:
    return [trial.number if trial is not None else None for trial in trials]


def test_no_trial_is_claimed_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    fill(opened(path), [{}] * 5, 5)
    with queue(path) as one, queue(path) as two:
        claims = [worker.claim() for worker in (one, two, two, one, two, one, two)]
    assert numbers(claims) == [0, 1, 2, 3, 4, None, None]


def test_what_a_dead_worker_was_at_is_taken_over_first_and_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    fill(opened(path), [{}] * 4, 4)
    with queue(path) as alive:
        assert numbers([alive.claim()]) == [0]
        with queue(path) as dies:
            dead = dies.name
            assert numbers([dies.claim(), dies.claim()]) == [1, 2]
            assert numbers([alive.claim()]) == [3]
            assert numbers([alive.claim()]) == [None]
        assert numbers([alive.claim(), alive.claim(), alive.claim()]) == [1, 2, None]
        assert not (locks_of(path) / dead).exists()
        assert not alive.is_over


def test_a_trial_that_was_claimed_by_nobody_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    study = opened(path)
    fill(study, [{}] * 2, 2)
    study.ask()  # and killed before it said who it was
    with queue(path) as worker:
        assert numbers([worker.claim(), worker.claim(), worker.claim()]) == [0, 1, None]


def test_nothing_is_claimed_while_trials_are_put_in(tmp_path: Path) -> None:
    from filelock import FileLock, Timeout

    path = tmp_path / "journal.log"
    opened(path)
    with hold_claims(FileLocks(locks_of(path))), pytest.raises(Timeout):
        FileLock(locks_of(path) / "claims").acquire(timeout=0)


def test_a_queue_that_was_half_filled_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    study = opened(path)
    study.enqueue_trial({"x": 0})
    assert total(study) is None
    fill(study, [{"x": number} for number in range(5)], 3)
    assert total(opened(path)) == 3
    fixed = [trial.system_attrs["fixed_params"] for trial in opened(path).trials]
    assert fixed == [{"x": 0}, {"x": 1}, {"x": 2}]
    fill(study, [{"x": number} for number in range(5)], 5)
    assert len(opened(path).trials) == 5


def test_a_twin_is_the_first_trial_of_the_same_values(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    study = opened(path)
    fill(study, [{"x": x} for x in (1, 2, 1, 1)], 4)
    with queue(path) as worker:
        for _ in range(4):
            trial = worker.claim()
            assert trial is not None
            trial.suggest_int("x", 0, 9)
        twins = [worker.twin(number) for number in range(4)]
        assert [twin.number if twin is not None else None for twin in twins] == [None, None, 0, 0]
        assert all(twin is None or twin.state is TrialState.RUNNING for twin in twins)
