"""The tests detect small changes of the sources; the campaign tries fifty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations.areas import AREAS
from tests.mutations.changes import changes
from tests.mutations.runs import choose, run
from tests.paths import ROOT

CHANGED = {
    "a + b": ["(a - b)"],
    "a < b": ["(a <= b)"],
    "a is None": ["(a is not None)"],
    "a and b": ["(a or b)"],
    "not a": ["(a)"],
    "-a": ["(a)"],
    "f(3)": ["(4)"],
    "f(a, b)": ["(f(b, a))"],
    "f(a, a)": [],
    "True": ["(False)"],
    "a[0]": ["(1)"],
    "f'{a + b}'": [],
    "'text'": [],
    "a < b < c": [],
}


@pytest.mark.parametrize("text", CHANGED)
def test_one_thing_is_changed_at_a_time(text: str) -> None:
    assert [change.after for change in changes(f"x = {text}\n")] == CHANGED[text]


def test_annotations_docstrings_and_errors_are_not_changed() -> None:
    text = '''"""é + 1"""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    LIMIT = 1
@cache(1)
def f(a: Literal[1] = 0) -> Tuple[1, 2]:
    """1 + 1"""
    raise Wrong(1 + 1)
'''
    (change,) = changes(text)
    assert str(change) == "line 6: `0` -> `(1)`"
    assert change.apply(text) == text.replace("= 0)", "= (1))")


@pytest.mark.parametrize("name", AREAS)
def test_the_paths_of_an_area_exist(name: str) -> None:
    assert len(AREAS[name].files()) > 0
    assert all((ROOT / path).exists() for path in AREAS[name].tests)


def test_the_same_seed_chooses_the_same_mutations() -> None:
    assert choose(4, 1, ("gradient",)) == choose(4, 1, ("gradient",)) != choose(4, 2, ("gradient",))
    assert [mutation.area for mutation in choose(5, 0)] == list(AREAS)


@pytest.mark.campaign
def test_nearly_every_mutation_is_detected(tmp_path: Path) -> None:
    survivors = [str(outcome.mutation) for outcome in run(choose(50, 0), tmp_path) if outcome.detected_by is None]
    assert len(survivors) <= 2, "\n".join(survivors)
