"""The compiler, the table of costs and the files in `benchmarks/forms` name the same choices, forms and sizes."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from benchmarks import form_costs
from benchmarks.form_costs import CHOICES, COSTS, calls_of, medians, text_of, write
from benchmarks.forms import Choice
from compiler.costs import HEAD
from compiler.targets import ORT_CPU, Target
from tests.paths import ROOT

TABLE = json.loads(COSTS.read_text("utf-8"))
MEASURED = {(choice.name, target): choice for choice in CHOICES.values() for target in choice.targets}


def asked() -> Iterator[str]:
    """The names of the choices that the compiler asks for: in the text of a call, or as an attribute of its class."""
    for path in sorted((ROOT / "compiler").rglob("*.py")):
        text = path.read_text("utf-8")
        for owner in ast.parse(text).body if "cheapest(" in text else ():
            for call in ast.walk(owner):
                if not isinstance(call, ast.Call) or ast.unparse(call.func) != "cheapest":
                    continue
                match call.args[1]:
                    case ast.Constant(value=str(name)):
                        yield name
                    case ast.Attribute(value=ast.Name(id="self"), attr=attribute) if isinstance(owner, ast.ClassDef):
                        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                        yield from values_of(import_module(module), owner.name, attribute)
                    case name:
                        pytest.fail(f"{path}, line {call.lineno}: which choice is {ast.unparse(name)}?")


def values_of(module: Any, owner: str, attribute: str) -> Iterator[str]:
    """The values of an attribute: those of the literals that its type lists, or of the class and those below it."""
    cls = getattr(module, owner)
    if annotation := cls.__annotations__.get(attribute):
        yield from get_args(getattr(module, annotation))
        return
    for owned in (cls, *cls.__subclasses__()):
        if isinstance(value := vars(owned).get(attribute), str):
            yield value


def test_what_the_compiler_asks_for_is_measured() -> None:
    assert set(asked()) == set(CHOICES)


def test_the_table_has_the_choices_that_are_measured_and_where() -> None:
    listed = {f"{target}: {choice}" for target, choices in TABLE.items() if target != HEAD for choice in choices}
    assert listed == {f"{target.name}: {name}" for name, target in MEASURED} == set(TABLE[HEAD])


@pytest.mark.parametrize(("name", "target"), MEASURED, ids=lambda part: getattr(part, "name", part))
def test_the_table_has_the_forms_and_sizes_that_are_measured(name: str, target: Target) -> None:
    choice, rows = CHOICES[name], TABLE[target.name][name]
    assert {row["form"] for row in rows} == set(choice.forms)
    sizes = [dict(case.sizes) for case in choice.cases]
    assert [size for size, _ in groupby(row["sizes"] for row in rows)] == sizes
    assert all(sizes.count(size) == 1 for size in sizes)


def smallest(choice: Choice, target: Target) -> Any:
    """The smallest case at which all forms apply."""
    rows = TABLE[target.name][choice.name]

    def complete(sizes: Mapping[str, int]) -> bool:
        return {row["form"] for row in rows if row["sizes"] == sizes} == set(choice.forms)

    return min((case for case in choice.cases if complete(case.sizes)), key=lambda case: math.prod(case.sizes.values()))


@pytest.mark.parametrize(("name", "target"), MEASURED, ids=lambda part: getattr(part, "name", part))
def test_all_forms_run_and_compute_the_same(name: str, target: Target) -> None:
    choice = CHOICES[name]
    calls = calls_of(choice, smallest(choice, target), target)
    assert tuple(calls) == choice.forms
    first, *others = (arrays(call()) for call in calls.values())
    for other in others:
        for expected, actual in zip(first, other, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def arrays(results: Any) -> list[np.ndarray]:
    return list(results.values() if isinstance(results, dict) else results)


# The command


def test_the_writer_keeps_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert text_of(TABLE) == COSTS.read_text("utf-8")
    copy = tmp_path / "costs.json"
    copy.write_text(COSTS.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(form_costs, "COSTS", copy)
    row = {"form": "operator", "sizes": {"rows": 1, "width": 64}, "us": 5.0}
    write(ORT_CPU, "layer_normalization", [row])
    expected, written = json.loads(COSTS.read_text("utf-8")), json.loads(copy.read_text("utf-8"))
    expected[ORT_CPU.name]["layer_normalization"] = [row]
    head = f"{ORT_CPU.name}: layer_normalization"
    expected[HEAD][head] = written[HEAD][head]
    assert written == expected
    assert written[HEAD][head]["versions"]["numpy"] == np.__version__


def test_a_median_is_that_of_the_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a call that takes ten times as long as another one, on a clock that the calls set."""
    now, calls = [0.0], {"fast": 0.01, "slow": 0.1}

    def advance(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("time.process_time", lambda: now[0])
    times = medians({name: partial(advance, seconds) for name, seconds in calls.items()})
    assert times == pytest.approx(calls)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"no choice is named 'lstms'; there are: .*lstm"):
        form_costs.main("lstms")
