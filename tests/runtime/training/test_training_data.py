"""The data of a run: other files like the training part, labels in range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.data.examples import fitted_to
from runtime.data.fitted import read_fitted
from runtime.data.recipe import recipe_in, write_recipe
from runtime.input_files import Reading, read_inputs
from runtime.training.folder import RunFolder
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.models import text_source
from tests.runtime.training.table_runs import TABLE, rows, training

KINDS = TABLE.replace('targets: "t"', 'targets: "kind"')


def test_a_target_that_is_an_input_too_is_said(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    run = training(tmp_path, TABLE.replace('"b"]', '"t"]'), 'validation "train.csv"')
    assert run.data.columns["x"] == ("a", "t")
    assert [(what, len(places)) for what, places in run.context.notes.items()] == [
        ("column `t` is a target and an input too", 1)
    ]


def test_other_files_are_scaled_as_the_training_part(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    rows(tmp_path, "shifted.csv", shift=50)
    run = training(tmp_path, TABLE, 'validation "train.csv"\n test "shifted.csv"').data
    x, scale = run.arrays["x"], run.scalings["x"].scale[0]
    np.testing.assert_array_equal(x[run.parts["validation"]], x[run.parts["training"]])
    np.testing.assert_allclose(x[run.parts["test"]][:, 0] - x[run.parts["training"]][:, 0], 50 / scale, rtol=1e-5)


def test_a_compiled_model_takes_its_columns_by_their_names(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    run = training(tmp_path, TABLE)
    compiled = recipe_in(run.metadata())
    assert compiled is not None
    columns = compiled.fitted.columns
    assert columns == fitted_to(run.data).columns == {"x": ("a", "b")}
    write_recipe(tmp_path, run.recipe)
    kept = read_fitted(tmp_path)
    assert kept is not None and kept.columns == columns
    header, *lines = (tmp_path / "train.csv").read_text().splitlines()
    names = header.split(",")
    turned = [",".join(line.split(",")[names.index(name)] for name in ("t", "b", "a")) for line in lines]
    (tmp_path / "turned.csv").write_text("\n".join(["t,b,a", *turned]))
    types = {"x": TensorType(DType.F32, (Dim.named("batch"), 2))}
    found = [
        read_inputs([f"{tmp_path}/{name}"], types, Reading(columns=columns))["x"]
        for name in ("train.csv", "turned.csv")
    ]
    np.testing.assert_array_equal(*found)


def test_the_classes_of_another_file_are_those_of_the_training_part(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv", kinds=("cat", "dog"))
    rows(tmp_path, "dogs.csv", kinds=("dog",))
    arguments = {"TARGETS": "t: i64[batch]", "LOSS": "cross_entropy(y, t)", "WIDTH": "2"}
    run = training(tmp_path, KINDS, 'validation "dogs.csv"', **arguments)
    assert set(run.data.arrays["t"][run.data.parts["validation"]].tolist()) == {1}
    assert run.recipe.fitted.labels == ("cat", "dog")
    rows(tmp_path, "birds.csv", kinds=("dog", "bird"))
    with pytest.raises(NablacError) as caught:
        training(tmp_path, KINDS, 'validation "birds.csv"', **arguments).data  # noqa: B018
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place) == ("E821", f"{tmp_path}/birds.csv:3")
    assert diagnostic.message == "column `kind`: `bird` is none of the classes cat, dog"


def test_folders_of_images_keep_the_numbers_of_their_classes(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    for folder, names in (("train", ("cat", "dog")), ("other", ("dog",)), ("more", ("bird", "dog"))):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
            image_module.new("RGB", (2, 2)).save(tmp_path / folder / name / "1.png")
    text = """
    model M {{ input x: [batch, 3, 2, 2]; y = reshape(x, [batch, 12]) -> Dense(2); output y }}
    train M {{ target t: i64[batch]; loss cross_entropy(y, t); validation "{}"; data images("train") }}
    """
    program = program_of(Source(str(tmp_path / "m.model"), text.format("other")))
    data = Training(TextSource(program)).data
    assert data.arrays["t"].tolist() == [0, 1, 1]
    assert data.files == ("cat/1.png", "dog/1.png", "dog/1.png")
    with pytest.raises(NablacError) as caught:
        Training(text_source(text.format("more"), tmp_path)).data  # noqa: B018
    assert caught.value.diagnostics[0].message == "`bird` is none of the classes cat, dog"


@pytest.mark.parametrize(
    "stage", ["characters(length: 4)", "words(length: 2)", 'tokens(length: 4, kind: "characters")']
)
def test_another_text_is_cut_by_the_training_parts_tokenizer(tmp_path: Path, stage: str) -> None:
    (tmp_path / "train.txt").write_text("a b c d e f g h " * 8)
    (tmp_path / "other.txt").write_text("h g f z " * 8)
    text = f"""
    model M {{ input x: i64[batch, time]; y = x -> Embedding(32, 4) -> Dense(32); output y }}
    train M {{
        target t: i64[batch, time]; loss cross_entropy(y, t); validation "other.txt"; data text("train.txt") -> {stage}
    }}
    """
    data = Training(text_source(text, tmp_path)).data
    assert data.tokenizer is not None
    seen = data.tokenizer.decode(data.arrays["x"][data.parts["validation"]].ravel().tolist())
    assert "h" in seen and "g" in seen and "z" not in seen


def test_longer_pairs_of_another_file_widen_the_rows(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a b\tc d\nb a\td c\n" * 2 + "a a\tc c\n")
    (tmp_path / "other.tsv").write_text("a b a b a\tc d c\n")
    text = """
    model M {
        input source: i64[batch, S], target_in: i64[batch, T]
        y = (target_in -> Embedding(16, 4)) + mean(source -> Embedding(16, 4), axis: 1, keep: true) -> Dense(16)
        output y
    }
    train M {
        target target_out: i64[batch, T]; loss cross_entropy(y, target_out); validation "other.tsv"
        data pairs("train.tsv") -> tokens(length: 10)
    }
    """
    data = Training(text_source(text, tmp_path)).data
    assert data.arrays["source"].shape[1] == 5 and (data.arrays["source"][0, 2:] == 0).all()


def test_what_a_run_keeps_scales_the_data_that_its_weights_are_evaluated_on(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    rows(tmp_path, "shifted.csv", shift=50)
    run = training(tmp_path, TABLE)
    RunFolder.begin(tmp_path / "run", run, run.loop())
    evaluated = training(tmp_path, TABLE, options=Options(data=str(tmp_path / "shifted.csv")))
    evaluated.fitted = read_fitted(tmp_path / "run")
    moved = evaluated.data.arrays["x"][:, 0] - run.data.arrays["x"][:, 0]
    np.testing.assert_allclose(moved, 50 / run.data.scalings["x"].scale[0], rtol=1e-5)


def test_rows_left_out_are_listed_in_the_run(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,t,kind\n1,2,3,x\n1,oops,3,x\n2,2,4,x\n")
    run = training(tmp_path, TABLE, options=Options(skip_broken=True))
    RunFolder.begin(tmp_path / "run", run, run.loop())
    expected = f"{tmp_path}/train.csv:3: column `b`: `oops` is not a number\n"
    assert (tmp_path / "run" / "skipped.txt").read_text() == expected


def test_shares_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv")
    with pytest.raises(NablacError) as caught:
        training(tmp_path, TABLE, "validation 0.2\n test 0.9").data  # noqa: B018
    assert caught.value.diagnostics[0].message == "validation 0.2 and test 0.9 leave nothing to train on"


# Labels and tokens that the model has no entry for

CLASSES_OF = {"TARGETS": "t: i64[batch]", "WIDTH": "3", "LOSS": "cross_entropy(y, t)"}


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_named_at_its_row(tmp_path: Path, label: int) -> None:
    rows(tmp_path, "train.csv", kinds=("0", "1", str(label)))
    with pytest.raises(NablacError) as caught:
        training(tmp_path, KINDS, **CLASSES_OF).data  # noqa: B018
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place) == ("E826", f"{tmp_path}/train.csv:4")
    assert diagnostic.message == f"column `kind` holds the label {label}, and the model has the classes 0 to 2"


def test_classes_without_a_number_are_told_by_their_texts_and_no_line(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv", kinds=("d", "a", "c", "b"))
    with pytest.raises(NablacError) as caught:
        training(tmp_path, KINDS, **CLASSES_OF).data  # noqa: B018
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place, diagnostic.note) == ("E826", None, f"read from {tmp_path}/train.csv")
    assert diagnostic.message == "`kind` holds 4 classes, `a`, `b`, `c`, `d`, and the model has 3"
    assert diagnostic.hint == "the model needs 4, or the data fewer texts"


def test_a_label_that_the_loss_ignores_may_be_outside(tmp_path: Path) -> None:
    rows(tmp_path, "train.csv", kinds=("0", "1", "-1"))
    ignoring = {**CLASSES_OF, "LOSS": "cross_entropy(y, t, ignore: -1)"}
    assert training(tmp_path, KINDS, **ignoring).data.arrays["t"].min() == -1
    with pytest.raises(NablacError):
        training(tmp_path, KINDS, **{**ignoring, "LOSS": "cross_entropy(y, t, ignore: -2)"}).data  # noqa: B018
