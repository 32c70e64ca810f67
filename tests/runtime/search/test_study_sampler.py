"""What a study draws: the same for a seed, a trial and a variable, whatever was drawn before."""

from __future__ import annotations

import math

import pytest

optuna = pytest.importorskip("optuna")

from runtime.search.study_record import Search  # noqa: E402
from runtime.search.study_sampler import SeededSampler, pruner  # noqa: E402


def study(kind: str, seed: int = 0) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=SeededSampler(Search(kind, 3, seed, None)))


def draw(trial: optuna.Trial, names: str) -> dict[str, object]:
    draws = {
        "a": lambda: trial.suggest_float("a", 0.0, 1.0),
        "b": lambda: trial.suggest_int("b", 1, 1000, log=True),
        "c": lambda: trial.suggest_categorical("c", ["x", "y", "z"]),
    }
    return {name: draws[name]() for name in names}


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_the_order_of_variables_does_not_matter(kind: str) -> None:
    one, two = study(kind), study(kind)
    for number in range(15):
        first, second = one.ask(), two.ask()
        forwards, backwards = draw(first, "abc"), draw(second, "cba")
        if number < 10:  # where TPE draws all variables together, their order in the study counts
            assert forwards == {name: backwards[name] for name in "abc"}
        value = float(forwards["a"])  # type: ignore[arg-type]
        one.tell(first, value)
        two.tell(second, value)


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_trial_that_was_killed_between_two_draws_goes_on_with_the_same(kind: str) -> None:
    whole, part = study(kind), study(kind)
    for _ in range(14):
        trial, begun = whole.ask(), part.ask()
        draw(begun, "a")
        values = draw(trial, "abc")
        taken_over = optuna.Trial(part, begun._trial_id)
        assert draw(taken_over, "abc") == values
        for asked, of in ((trial, whole), (taken_over, part)):
            of.tell(asked, float(values["a"]))  # type: ignore[arg-type]


def test_random_draws_fill_the_ranges() -> None:
    drawn = study("random")
    values = [draw(drawn.ask(), "abc") for _ in range(300)]
    first = sorted(float(trial["a"]) for trial in values)  # type: ignore[arg-type]
    assert max(abs(value - index / 300) for index, value in enumerate(first)) < 0.1  # Kolmogorov-Smirnov
    logarithms = sorted(math.log(float(trial["b"])) / math.log(1000) for trial in values)  # type: ignore[arg-type]
    assert max(abs(value - index / 300) for index, value in enumerate(logarithms)) < 0.2  # whole numbers: a tenth are 1
    assert {trial["c"] for trial in values} == {"x", "y", "z"}


def test_tpe_draws_near_what_was_good() -> None:
    near = {}
    for kind in ("random", "tpe"):
        drawn = study(kind)
        for _ in range(40):
            trial = drawn.ask()
            values = draw(trial, "ac")
            drawn.tell(trial, abs(float(values["a"]) - 0.3) + (values["c"] != "y"))  # type: ignore[arg-type]
        late = [trial.params for trial in drawn.trials[20:]]
        near[kind] = sum(abs(params["a"] - 0.3) < 0.15 and params["c"] == "y" for params in late)
    assert near["tpe"] > 2 * near["random"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (None, "NopPruner"),
        ("median", "MedianPruner"),
        ("halving", "SuccessiveHalvingPruner"),
        ("hyperband", "HyperbandPruner"),
    ],
)
def test_pruners(kind: str | None, name: str) -> None:
    assert type(pruner(Search("random", 3, 0, kind), 50)).__name__ == name
