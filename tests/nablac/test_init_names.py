"""`nablac init` on tables whose file and columns have awkward names: the spec compiles, and takes its data."""

from __future__ import annotations

import csv
import io
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nablac.commands.first_spec import spec_for_table
from runtime.data.context import Context
from runtime.data.csv_file import Format
from runtime.data.loading import Requirements, load_examples
from tests.command_line import invoke
from tests.models import spec_of

TEXT = r"""
    T T1 T2 N b x y W h time batch i64 f32 none pi _ __x 1st 2 a-b a/b "a" a\b note Note NOTE größe 名前
    Dense dense Embedding embedding GRU Dropout adam mse relu sum concat mean
    model input output target train data loss if for from import not training epochs validation metric optimizer
    features hidden rate label value logits probability past next units seed step csv columns tokens categories fill
"""
WORDS = [*TEXT.split(), "a b", "e\u0301", "\ufb01n"]
NAMES = st.builds(str.__add__, st.sampled_from(WORDS), st.sampled_from(["", "", "", "_known", "_mean", "_2", "Model"]))
KINDS: dict[str, Callable[[random.Random, int], str]] = {
    "number": lambda draw, row: f"{draw.random():.3f}",
    "class": lambda draw, row: draw.choice(["big", "small", "none at all"]),
    "text": lambda draw, row: f"a {draw.choice(['red', 'blue'])} car {row}",
    "gap": lambda draw, row: draw.choice(["", "1.5", "2.25"]),
}
COLUMNS = st.tuples(NAMES, st.sampled_from(sorted(KINDS)))


@settings(max_examples=30, deadline=None)
@example("a", [("_", "class"), ("input", "class")], "y", "number", False)
@example("t", [("note", "text"), ("note_mean", "class")], "label", "class", False)
@given(
    st.sampled_from(WORDS),
    st.lists(
        st.tuples(NAMES, st.sampled_from(sorted(KINDS))), min_size=1, max_size=6, unique_by=lambda column: column[0]
    ),
    NAMES,
    st.sampled_from(["number", "class"]),
    st.booleans(),
)
def test_whatever_the_names_the_spec_takes_its_data(
    stem: str, columns: list[tuple[str, str]], target: str, kind: str, dated: bool
) -> None:
    columns = [("a number", "number"), *(column for column in columns if column[0] != target), (target, kind)]
    draw, text = random.Random(1), io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*(["on this day"] if dated else []), *(name for name, _ in columns)])
    for row in range(40):
        date = [f"2024-{1 + row // 28:02}-{1 + row % 28:02}"] if dated else []
        writer.writerow([*date, *(KINDS[of](draw, row) for _, of in columns)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{stem}.csv".replace("/", ""))
        path.write_text(text.getvalue(), "utf-8")
        chosen = target if kind == "number" or not dated else None
        spec = spec_for_table(path, chosen, Format(header=True))
        elaborated = spec_of(spec.text)
        training = elaborated.training
        assert training is not None
        inputs = {name: value.type for name, value in elaborated.graph.inputs.items()}
        targets = {name: value.type for name, value in training.targets.items()}
        examples = load_examples(
            training.data, Context(Path(folder)), Requirements(inputs, targets, frozenset(targets))
        )
        assert set(inputs) | set(targets) <= set(examples.arrays)


CASES = [
    ("a dim", "t.csv", "note,y", "a {word} car {n},{n}.5", []),
    ("a layer", "dense.csv", "note,kind,qty,w,sales", "a {word} car {n},{word},{n}.5,{n}.25,{n}.5", []),
    ("a layer that it uses", "embedding.csv", "note,kind,y", "a {word} car {n},{word},{n}.5", []),
    ("an equation", "a.csv", "note,note_known,y", "a {word} car {n},{word},{n}.5", []),
    ("no name of an input", "a.csv", "mean,a b,x,y", "{word},{word},{n}.5,{n}.5",
     ["left out (an input cannot have the name): mean, a b"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "head", "row", "notes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_spec_passes_check(file: str, head: str, row: str, notes: list[str], tmp_path: Path) -> None:
    rows = [row.format(word=("red", "blue")[n % 2], n=n) for n in range(30)]
    (tmp_path / file).write_text("\n".join([head, *rows]) + "\n")
    done = invoke("init", file, folder=tmp_path)
    spec = file.replace(".csv", ".model")
    assert done.stderr == "".join(f"note: {note}\n" for note in notes) + f"train it:  nablac train {spec}\n"
    assert invoke("check", spec, folder=tmp_path).stderr == "1 file checked, no errors\n"
