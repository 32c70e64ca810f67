"""Training from weights of elsewhere: what starts new, what is trained, and what is kept of the data before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.search.study_record import TrialOptions
from runtime.search.trial_setup import TrialSetup
from runtime.weights import read_tensors
from tests.command_line import Ended, invoke

MODEL = """
model Net {{
    input x: [batch, 4]
    encoder = Dense(8, activation: tanh)
    norm = BatchNorm()
    head = Dense({classes})
    output scores = x -> encoder -> norm -> head
}}
train Net {{
    target t: i64[batch]
    loss cross_entropy(scores, t)
    optimizer sgd(lr: 0.1)
    epochs 1
    {settings}
    data csv("{file}.csv") -> columns(inputs: ["a", "b", "c", "d"], targets: ["kind"]) -> standardize()
}}
"""
ENCODER = ("encoder.W", "encoder.b", "norm.gamma", "norm.beta")


def write(folder: Path, name: str, classes: list[str], settings: str = "") -> Path:
    """A model of that many classes, and its table."""
    chance = np.random.default_rng(len(classes))
    rows = [
        ",".join([*(f"{number:.3f}" for number in chance.normal(len(classes), 2, 4)), chance.choice(classes)])
        for _ in range(60)
    ]
    (folder / f"{name}.csv").write_text("\n".join(["a,b,c,d,kind", *rows]) + "\n")
    (folder / f"{name}.model").write_text(MODEL.format(classes=len(classes), settings=settings, file=name))
    return folder / f"{name}.model"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three classes."""
    folder = tmp_path_factory.mktemp("base")
    done = invoke("train", write(folder, "base", ["x", "y", "z"]), "-o", folder / "run")
    assert done.exit_code == 0, done.stderr
    return folder / "run"


def tune(folder: Path, base: Path, settings: str, *options: str) -> Ended:
    model = write(folder, "new", ["no", "yes"], settings)
    return invoke("train", model, "--weights", base / "weights.safetensors", "-o", folder / "run", *options)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ('only "head.*"; fresh "head.*"', []),
        ('only "head.*"', ["--fresh", "head.*"]),
        ('freeze ["encoder.*", "norm.*"]; fresh "norm.*"', ["--fresh", "head.W", "--fresh", "head.b"]),
    ],
    ids=["by the train block", "by the command", "the command's counts"],
)
def test_a_new_head_is_trained_on_new_classes(settings: str, options: list[str], base: Path, tmp_path: Path) -> None:
    done = tune(tmp_path, base, settings, *options)
    assert done.exit_code == 0, done.stderr
    assert f"`head.W`, `head.b` start new, the others from {base / 'weights.safetensors'}\n" in done.stderr
    before, after = (read_tensors(run / "weights.safetensors") for run in (base, tmp_path / "run"))
    assert all(np.array_equal(before[path], after[path]) for path in ENCODER)
    assert (before["head.W"].shape, after["head.W"].shape) == ((8, 3), (8, 2))
    report = invoke("eval", tmp_path / "run")
    assert "kind: 2 classes" in report.stdout, report.stderr


def test_new_weights_are_those_of_a_run_from_nothing(base: Path, tmp_path: Path) -> None:
    model = write(tmp_path, "new", ["no", "yes"], 'only "encoder.b"; fresh "head.*"')
    for options in (["--weights", base / "weights.safetensors", "-o", tmp_path / "a"], ["-o", tmp_path / "b"]):
        assert invoke("train", model, *options).exit_code == 0
    first, second = (read_tensors(tmp_path / name / "weights.safetensors") for name in "ab")
    assert np.array_equal(first["head.W"], second["head.W"])
    assert not np.array_equal(first["encoder.W"], second["encoder.W"])


def test_inputs_keep_their_scaling(base: Path, tmp_path: Path) -> None:
    assert tune(tmp_path, base, 'fresh "head.*"').exit_code == 0
    assert invoke("train", tmp_path / "new.model", "-o", tmp_path / "alone").exit_code == 0
    scalings = [(run / "data.json").read_text().partition('"classes"')[0] for run in (base, tmp_path / "run")]
    assert scalings[0] == scalings[1] != (tmp_path / "alone" / "data.json").read_text().partition('"classes"')[0]


def test_a_study_starts_from_weights_without_what_is_fresh(base: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "new", ["no", "yes"], 'fresh "head.*"')
    weights = str(base / "weights.safetensors")
    options = TrialOptions(None, None, [], "f32", weights, None, None, None, None, "numpy", "cpu", False)
    setup = TrialSetup(file, options)
    start = setup.training(setup.source).start
    assert start is not None and start.fitted is not None
    assert {path for path in start.weights if path.startswith("head")} == set()
    assert set(ENCODER) <= start.weights.keys()
    assert not start.fitted.labels and start.fitted.scalings.keys() == {"x"}


def test_a_run_from_other_weights_resumes(base: Path, tmp_path: Path) -> None:
    assert tune(tmp_path, base, 'fresh "head.*"').exit_code == 0
    done = invoke("train", "--resume", tmp_path / "run", "--epochs", "2")
    assert done.exit_code == 0, done.stderr


REFUSED = {
    "a head of another shape": ([], 2, "error[E703]: `head.W` is f32[8, 3] in the file, and f32[8, 2] in the model"),
    "a pattern of nothing": (["--fresh", "haed.*"], 1, "error[E613]: `haed.*` in `fresh` matches no parameter"),
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_does_not_fit_is_told(label: str, base: Path, tmp_path: Path) -> None:
    options, status, message = REFUSED[label]
    done = tune(tmp_path, base, "seed 1", *options)
    assert done.exit_code == status and message in done.stderr
    assert not (tmp_path / "run").exists()


def test_fresh_needs_weights(tmp_path: Path) -> None:
    done = invoke("train", write(tmp_path, "new", ["no", "yes"]), "--fresh", "head.*")
    assert done.exit_code == 2
    assert "`--fresh` says which weights are not loaded: add `--weights FILE`" in done.stderr
