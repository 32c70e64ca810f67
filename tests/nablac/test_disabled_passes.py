"""`nablac compile` lists the passes that it runs, and skips those that are disabled."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from compiler.passes.pipeline import CLEAN_UP, Stage, passes_of
from nablac.commands.compile import command
from tests.command_line import invoke
from tests.nablac.line_model import write_line

TEXT = """
cell Written() {
    input x: [batch, 2]
    state h: [batch, 3] = 0
    param W: [2, 3] ~ normal(0.5)
    param U: [3, 3] ~ normal(0.5)
    h' = tanh(x @ W + h @ U)
    output h'
}
model M {
    input xs: [time, 1, 2]
    output y = scan(Written(), axis: 0)(xs)
}
"""
AMOUNT = r"(\d[\d.]*(?:e\+\d+)?(?: [kMGT])?)"
LINE = re.compile(
    rf"^(\w[\w ]*?) +([\w-]+) +(\d+) +(\d+)(?: +{AMOUNT} +{AMOUNT} +{AMOUNT} +{AMOUNT})? +[\d.,]+$", re.MULTILINE
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recurrent.model"
    path.write_text(TEXT)
    return path


def compiled(file: Path, *options: str) -> Result:
    return CliRunner().invoke(command, [str(file), "--no-verify", *options])


def kinds(file: Path) -> set[str]:
    return {node.op_type for node in onnx.load(file.with_suffix(".onnx")).graph.node}


def test_every_pass_is_listed_with_its_nodes(file: Path) -> None:
    runs = LINE.findall(compiled(file, "-v").stderr)
    stages = (Stage.AFTER_GRADIENT, Stage.MODEL, Stage.WEIGHTS, Stage.EXPORT)
    expected = [(stage, item.name) for stage in stages for item in passes_of(stage)]
    expected.append((Stage.LOWERED, CLEAN_UP))
    assert [(stage, name) for stage, name, *_ in runs] == expected
    counts = {name: (int(before), int(after)) for _, name, before, after, *_ in runs}
    assert counts["fuse-lstm"][0] == counts["fuse-lstm"][1]
    assert counts["fuse-rnn"][0] == 13  # 6, and 7 of the step
    assert counts["fuse-rnn"][1] < 13
    amounts = {name: row for _, name, _, _, *row in runs}
    flops, _, bytes_before, bytes_after = amounts["fuse-rnn"]
    assert flops == "1.15 k"  # 32 steps: 12 and 18 of the products, 3 of the sum, 3 of tanh
    assert bytes_before.endswith(" k") and "k" not in bytes_after  # the steps read the weights again and again
    assert amounts[CLEAN_UP] == ["", "", "", ""]  # ONNX's nodes are no operators, whose costs are known
    assert not LINE.search(compiled(file).stderr)


def test_a_pass_that_is_disabled_does_not_run(file: Path) -> None:
    compiled(file)
    assert "RNN" in kinds(file)
    listed = compiled(file, "--disable-pass", "fuse-rnn", "--disable-pass", "simplify", "-v").stderr
    stages = (Stage.AFTER_GRADIENT, Stage.MODEL, Stage.WEIGHTS, Stage.EXPORT)
    run = {each.name for each in passes_of(*stages)} | {CLEAN_UP}
    assert {name for _, name, *_ in LINE.findall(listed)} == run - {"fuse-rnn", "simplify"}
    assert "RNN" not in kinds(file) and "Scan" in kinds(file)
    compiled(file)
    assert "RNN" in kinds(file)  # only that run disables it


@pytest.mark.parametrize(
    ("name", "hint"), [("fuse_rnn", "did you mean `fuse-rnn`?"), ("zzz", "the passes are remove-gradient-cuts, ")]
)
def test_an_unknown_pass_is_an_error(file: Path, name: str, hint: str) -> None:
    result = compiled(file, "--disable-pass", name)
    assert result.exit_code == 2
    assert f"no pass is called `{name}`; {hint}" in result.stderr
    assert not file.with_suffix(".onnx").exists()


def test_the_passes_are_listed_below_what_they_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_line(tmp_path)
    assert invoke("train", "m.model", "--epochs", "1", "-q", "-o", "run").exit_code == 0

    def titles(*options: str) -> list[str]:
        done = invoke("compile", "run", "-v", *options)
        assert done.exit_code == 0, done.stderr
        return [line for line in done.stderr.splitlines() if line.startswith("passes on ")]

    assert titles("-o", "m.onnx") == [
        "passes on the model as written:",
        "passes on the model in the units of its data:",
    ]
    assert titles("-o", "s.onnx", "--train") == [
        "passes on the model as written:",
        "passes on the training step:",
        "passes on the training step with its measures, to be compared:",
    ]
