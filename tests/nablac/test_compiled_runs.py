"""`nablac compile RUN`: the model, the training step and the decode step, in every float type and opset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.command_line import invoke
from tests.nablac.small_runs import KINDS, train

FORMS = {"default": (), "train": ("--train",), "decode": ("--decode",)}
DTYPES = {"f32": 2.0**-23, "f64": 2.0**-52, "f16": 2.0**-10, "bf16": 2.0**-7}  # with the roundings of each
OPSETS = (17, 18, 20, 22, 23, 24)
UNVERIFIED = {("images", "f64")}  # onnxruntime has no convolution of f64, and next to nothing of bf16
CASES = [
    (kind, form, dtype)
    for kind, about in KINDS.items()
    for form in FORMS
    if form != "decode" or about.decodes
    for dtype in DTYPES
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of one run of each kind."""
    folders = {}
    for kind in KINDS:
        folders[kind] = tmp_path_factory.mktemp(kind)
        train(kind, folders[kind])
    return folders


def written(folder: Path, form: str, target: str, *options: str) -> tuple[list[Path], str]:
    """The files that are compiled, and what the command says of them."""
    ended = invoke("compile", "run", *FORMS[form], *options, "-o", target, folder=folder)
    assert ended.exit_code == 0, ended.output
    path = folder / target
    return ([*path.glob("*.onnx")] if path.is_dir() else [path]), ended.stderr


@pytest.mark.parametrize(("kind", "form", "dtype"), CASES)
def test_a_run_is_compiled_in_any_float_type(runs: dict[str, Path], kind: str, form: str, dtype: str) -> None:
    folder = runs[kind]
    target = f"{form}-{dtype}" + (".onnx" if form != "decode" else "")
    files, said = written(folder, form, target, "--dtype", dtype)
    for file in files:
        onnx.checker.check_model(str(file), full_check=True)
    verified = dtype != "bf16" and (kind, dtype) not in UNVERIFIED
    assert any(f"verified{how}" in said for how in (" against", ": the losses", " token by token")) == verified
    assert ("not verified: onnxruntime on this machine has no kernel" in said) != verified
    elements = {
        tensor.type.tensor_type.elem_type
        for file in files
        for model in [onnx.load(str(file))]
        for tensor in (*model.graph.input, *model.graph.output)
    }
    floats = {"f32": 1, "f64": 11, "f16": 10, "bf16": 16}
    assert floats[dtype] in elements
    # The step keeps the optimizer's states and losses of 16-bit floats in f32.
    others = set(floats.values()) - {floats[dtype]} - ({1} if form == "train" else set())
    assert not elements & others


@pytest.mark.parametrize("dtype", ["f64", "f16", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_another_type_gives_the_same_but_for_rounding(
    runs: dict[str, Path], kind: str, dtype: str, tmp_path: Path
) -> None:
    results = []
    for chosen in ("f32", dtype):
        target = tmp_path / f"{chosen}.npz"
        ended = invoke("run", "run", *KINDS[kind].inputs, "--dtype", chosen, "-q", "-o", target, folder=runs[kind])
        assert ended.exit_code == 0, ended.output
        with np.load(target) as arrays:
            results.append(dict(arrays))
    for name, expected in results[0].items():
        assert results[1][name].shape == expected.shape
        slack = 16 * max(DTYPES[dtype], DTYPES["f32"]) * np.abs(expected).max()
        np.testing.assert_allclose(results[1][name].astype(float), expected, rtol=0, atol=slack, err_msg=name)


def lowest_of_step(kind: str) -> int:
    """The lowest opset of a training step: draws, as those of dropout, need operators on bits."""
    return 18 if kind == "classifier" else 17


@pytest.mark.parametrize(
    ("kind", "form", "opset"),
    [
        (kind, form, opset)
        for kind, form, dtype in CASES
        for opset in OPSETS
        if dtype == "f32" and (form != "train" or opset >= lowest_of_step(kind))
    ],
)
def test_a_run_is_compiled_at_any_opset_that_has_its_operators(
    runs: dict[str, Path], kind: str, form: str, opset: int
) -> None:
    folder = runs[kind]
    target = f"{form}-{opset}" + (".onnx" if form != "decode" else "")
    files, said = written(folder, form, target, "--opset", str(opset))
    assert "verified" in said and "not verified" not in said
    assert {onnx.load(str(file)).opset_import[0].version for file in files} == {opset}


@pytest.mark.parametrize("kind", KINDS)
def test_an_opset_without_the_operators_of_a_training_step_is_refused(runs: dict[str, Path], kind: str) -> None:
    lowest = lowest_of_step(kind)
    ended = invoke("compile", "run", "--train", "--opset", str(lowest - 1), "-o", "step.onnx", folder=runs[kind])
    assert ended.exit_code == 2 and "error[E907]" in ended.stderr
    assert f"choose one from {lowest} to 24" in ended.stderr
    assert not (runs[kind] / "step.onnx").exists()


@pytest.mark.parametrize("opset", [17, 22, 24])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_bf16_is_valid_at_any_opset(runs: dict[str, Path], kind: str, opset: int) -> None:
    files, _ = written(runs[kind], "default", f"bf16-{opset}.onnx", "--dtype", "bf16", "--opset", str(opset))
    onnx.checker.check_model(str(files[0]), full_check=True)


def test_a_type_that_does_not_hold_the_scaling_is_refused(tmp_path: Path) -> None:
    small = tmp_path / "small.model"
    small.write_text(
        """
model M { input x: [batch, 1]; output y = x -> Dense(1) }
train M {
    target t: [batch, 1]
    loss mse(y, t)
    epochs 1
    data csv("small.csv") -> standardize() -> columns(inputs: ["a"], targets: ["b"])
}
"""
    )
    lines = [f"{step},{1e6 * step}" for step in range(40)]
    (tmp_path / "small.csv").write_text("a,b\n" + "\n".join(lines) + "\n")
    assert invoke("train", "small.model", "-q", "-o", "run", folder=tmp_path).exit_code == 0
    ended = invoke("compile", "run", "--dtype", "f16", "-o", "out.onnx", folder=tmp_path)
    assert ended.exit_code == 2 and "error[E844]" in ended.stderr
    assert "scaled `t`, whose raw numbers f16 cannot represent: 1.95e+07 is too large" in ended.stderr
    assert not (tmp_path / "out.onnx").exists()
    assert invoke("compile", "run", "--dtype", "bf16", "-o", "out.onnx", folder=tmp_path).exit_code == 0
