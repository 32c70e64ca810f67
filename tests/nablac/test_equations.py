"""`nablac grad --text` and `--latex`, `nablac draw --latex`, and the page about them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import nablac
from tests.command_line import invoke
from tests.paths import ROOT, SPECS

PAGE = (ROOT / "docs" / "gradients.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\n\$ nablac ([^\n]*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[command for command, _ in BLOCKS])
def test_the_page_shows_what_is_printed(command: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = invoke(*command.split())
    assert done.exit_code == 0
    if "...\n" in shown:
        (part,) = filter(None, re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE))
        assert part in done.stdout
    else:
        assert done.stdout == shown


def test_equations_are_printed_written_and_put_in_json(tmp_path: Path) -> None:
    command = ("grad", SPECS / "mlp.model", "--text")
    printed = invoke(*command).stdout
    assert "dlogits = (softmax(logits) - one_hot(label, depth: 10)) / batch\n" in printed
    assert json.loads(invoke(*command, "--json").stdout) == {"text": printed}
    target = tmp_path / "gradient.txt"
    done = invoke(*command, "-o", target)
    assert done.exit_code == 0 and target.read_text("utf-8") == printed and str(target) in done.stderr
    assert nablac.compile(SPECS / "mlp.model").gradient_equations() == printed
    latex = invoke("grad", SPECS / "mlp.model", "--latex").stdout
    assert latex.splitlines()[1] == "\\begin{aligned}" and latex.endswith("\\end{aligned}\n")
    model = invoke("draw", SPECS / "mlp.model", "--latex", "-o", tmp_path / "model.tex")
    assert model.exit_code == 0 and (tmp_path / "model.tex").read_text("utf-8").startswith(
        "% MLP: its equations in inference mode, in the order in which they are computed\n\\begin{aligned}\n"
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("grad", "mlp", "--text", "--latex"), "choose one of --text and --latex"),
        (("grad", "mlp", "--text", "--hvp"), "--hvp is for ONNX files: leave out --text"),
        (("grad", "mlp", "--latex", "--opset", "17"), "--opset is for ONNX files: leave out --latex"),
        (("draw", "mlp", "--latex", "--depth", "1"), "--depth and --optimised are for pictures: leave out --latex"),
    ],
)
def test_options_that_do_not_go_together_are_refused(command: tuple[str, ...], message: str) -> None:
    name, model, *options = command
    done = invoke(name, SPECS / f"{model}.model", *options)
    assert done.exit_code == 2 and message in done.stderr


def test_a_model_without_a_loss_has_no_gradient() -> None:
    done = invoke("grad", SPECS / "sentence.model", "--text")
    assert done.exit_code == 1 and "error[E612]" in done.stderr and not done.stdout
