"""The figures of an evaluation that are single numbers, to compare two models by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.evaluation.evaluation import Evaluation


def key_figures(evaluation: Evaluation) -> dict[str, float]:
    """The figures that are one number for a target, or for a column of it, by name: `digit accuracy`, `y mae`."""
    of_targets: Mapping[str, Mapping[str, Any]] = evaluation.to_json()
    return {
        f"{target} {name}": number
        for target, facts in of_targets.items()
        for name, number in _numbers(facts, columns=facts.get("columns") or {})
    }


def _numbers(facts: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    yield from ((name, number) for name, number in facts.items() if isinstance(number, float))
    for column, figures in columns.items():
        prefix = f"{column} " if len(columns) > 1 else ""
        yield from ((f"{prefix}{name}", number) for name, number in _numbers(figures, {}))
