"""Classes of examples held out that training has not: named, and counted as pandas counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.data.context import Context
from runtime.data.untrained_classes import note_untrained_classes
from tests.command_line import invoke
from tests.runtime.data.descriptions import load

DATA = 'csv("c.csv") -> columns(inputs: ["city", "x"], targets: "kind")'
INPUTS, TARGET = "city: i64[batch]; input x: f32[batch, 1]", "kind: i64[batch]"


def noted(folder: Path, data: str, inputs: str, target: str, **context: object) -> tuple[list[str], Any]:
    """The notes, and how many rows of each part have each kind."""
    examples = load(folder, data, inputs, target, **context)  # type: ignore[arg-type]
    found = Context(folder)
    note_untrained_classes(examples, found)
    assert all(places == [str(folder / "c.csv")] for places in found.notes.values())
    part_of = {row: part for part, rows in examples.parts.items() for row in rows.tolist()}
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(folder / "c.csv").assign(part=pandas.Series(part_of))
    return list(found.notes), pandas.crosstab(table["kind"], table["part"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=8, max_size=20),
    target=st.sampled_from(["kind: i64[batch]", "kind: f32[batch, 5]"]),
    limit=st.sampled_from(["1", "1GiB"]),
)
def test_they_are_those_that_pandas_counts(tmp_path: Path, kinds: list[str], target: str, limit: str) -> None:
    kinds = [*"abcde", *kinds]
    (tmp_path / "c.csv").write_text("city,x,kind\n" + "".join(f"Bonn,{x},{kind}\n" for x, kind in enumerate(kinds)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NABLAC_IN_MEMORY", limit)
        notes, counts = noted(tmp_path, DATA, INPUTS, target, validation=0.3, test=0.3)
    missing = [kind for kind, row in counts.iterrows() if not row.get("training", 0)]
    wheres = [
        ", ".join(f"{counts[part][kind]} in {part}" for part in ("validation", "test") if counts[part][kind])
        for kind in missing
    ]
    shown = ", ".join(f"`{kind}` ({where})" for kind, where in zip(missing, wheres, strict=True))
    which = "1 class of `kind` is" if len(missing) == 1 else f"{len(missing)} classes of `kind` are"
    learnt = f"so nothing is learnt about {'it' if len(missing) == 1 else 'them'}"
    assert notes == ([f"{which} in no example for training, {learnt}: {shown}"] if missing else [])


def test_the_entry_for_unseen_classes_is_not_one_of_them(tmp_path: Path) -> None:
    rows = [*(["Bonn"] * 6), "Ulm", "Ulm"]
    (tmp_path / "c.csv").write_text("city,x,kind\n" + "".join(f"{city},1,a\n" for city in rows))
    split = {"validation": 0.25, "order": "time"}
    assert len(noted(tmp_path, DATA, INPUTS, TARGET, **split)[0]) == 1
    with_entry = DATA.replace("-> columns", '-> categories("city") -> columns')
    assert noted(tmp_path, with_entry, INPUTS, TARGET, **split)[0] == []


SPEC = """model M { input x: [batch, 1]; output logits = x -> Dense(10) }
train M {
    target label: i64[batch]; loss cross_entropy(logits, label); epochs 1; validation "later.csv"
    data csv("c.csv") -> columns(inputs: "x", targets: "label")
}
"""


def test_numbers_of_classes_in_a_file_for_validation_are_noted_before_training(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("x,label\n" + "".join(f"{x}.5,{x % 3}\n" for x in range(12)))
    (tmp_path / "later.csv").write_text("x,label\n" + "".join(f"{x}.5,{x}\n" for x in [*range(9), 8]))
    (tmp_path / "m.model").write_text(SPEC)
    done = invoke("train", "m.model", "--dry-run", folder=tmp_path)
    assert (
        "note: 6 classes of `label` are in no example for training, so nothing is learnt about them: `3` (1 in "
        "validation), `4` (1 in validation), `5` (1 in validation), `6` (1 in validation), `7` (1 in validation), "
        f"`8` (2 in validation): {tmp_path}/c.csv\n"
    ) in done.stderr
