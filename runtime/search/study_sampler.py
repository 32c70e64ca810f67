"""The sampler of a study: draws depend only on its seed, the trial's number and the ended trials."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from runtime.search.study_record import Search

STARTUP_TRIALS = 4  # that have ended before the median of trials says something
_WARMUP = 10  # trials are not pruned in the first tenth of their epochs, whose losses say little


class SeededSampler(BaseSampler):
    """An Optuna sampler that is created for every draw, seeded by the study's seed, the trial and the variable.

    So it does not matter which process draws, what it has drawn before, and whether it was killed in between. A grid
    draws nothing: its trials are enqueued with their values.
    """

    def __init__(self, search: Search) -> None:
        self._search = search

    def _sampler(self, trial: FrozenTrial, name: str) -> BaseSampler:
        key = f"{self._search.seed} {trial.number} {name}"
        seed = int.from_bytes(blake2b(key.encode(), digest_size=4).digest(), "big")
        if self._search.kind == "tpe":
            return TPESampler(seed=seed, multivariate=True, constant_liar=True)
        return RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The variables that are drawn together."""
        return self._sampler(trial, "").infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of variables that are drawn together."""
        return self._sampler(trial, "").sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of a variable by itself."""
        return self._sampler(trial, param_name).sample_independent(study, trial, param_name, param_distribution)


def first_epochs(epochs: int) -> int:
    """The number of epochs in which a trial of `epochs` is not pruned."""
    return epochs // _WARMUP


def pruner(search: Search, epochs: int) -> BasePruner:
    """The pruner of trials of `epochs` epochs."""
    first = first_epochs(epochs)
    match search.pruner:
        case "median":
            return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=first)
        case "halving":
            return SuccessiveHalvingPruner(min_resource=max(1, first))
        case "hyperband":
            return HyperbandPruner(min_resource=max(1, first), max_resource=epochs)
    return NopPruner()
