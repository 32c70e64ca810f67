"""The documentation is true: its examples check, its mistakes get the text shown, its tables name everything."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.elaborate.builtins.language_names import builtin_names
from compiler.elaborate.checking import check
from compiler.elaborate.data import SOURCES, STAGES
from compiler.elaborate.program import library, program_of
from compiler.elaborate.train_settings import SETTINGS
from compiler.elaborate.values import Defined
from compiler.operators import OPERATORS
from grammar.diagnostics import NablacError, render_all
from grammar.source import Source
from nablac.commands import COMMANDS
from nablac.compiling import from_program
from runtime.rename_rules import read_renames, shipped_rules
from runtime.renames import apply_renames
from runtime.verification import compare
from tests import operator_page
from tests.command_line import invoke

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```model\n(.*?)^```$(?:\n+^```diagnostic\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
EXAMPLES = [
    pytest.param(page, block[1], block[2], id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")))
]
_PLACES = {"float", "f16", "bf16", "f32", "f64", "i8", "u8", "i32", "i64", "bool", "none", "scan", "random"}  # in prose


RUNS = [example for example in EXAMPLES if example.values[2] is None]
MISTAKES = [example for example in EXAMPLES if example.values[2] is not None]


@pytest.mark.parametrize(("page", "model", "diagnostic"), MISTAKES)
def test_a_mistake_gets_the_text_that_is_shown(page: Path, model: str, diagnostic: str | None) -> None:
    with pytest.raises(NablacError) as caught:
        check(program_of(Source(f"{page.stem}.model", model)))
    assert render_all(caught.value.diagnostics) + "\n" == diagnostic


def named(page: str, names: set[str]) -> set[str]:
    """Those of the names that a page has in a code span."""
    text = re.sub(
        r"^```.*?^```", "", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    words = {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", span)}
    return names & words


def test_every_built_in_is_in_the_reference() -> None:
    names = {name for name, operator in OPERATORS.items() if operator.public} | set(builtin_names()) - _PLACES
    assert named("language.md", names) == names


def test_the_page_of_operators_is_what_their_declarations_say() -> None:
    assert operator_page.PAGE.read_text(encoding="utf-8") == operator_page.page(), "python -m tests.operator_page"


def errors_of_call(name: str, arguments: list[str]) -> set[str]:
    """The codes of the errors of a call with these names of arguments, whose values fit nothing."""
    call = f"{name}({', '.join(f'{argument}: none' for argument in arguments)})"
    try:
        check(program_of(Source("call.model", f"model M {{\n    input x: [batch, 3]\n    output y = {call}\n}}\n")))
    except NablacError as error:
        return {str(diagnostic.code) for diagnostic in error.diagnostics}
    return set()


@pytest.mark.parametrize("name", sorted(name for name, operator in OPERATORS.items() if operator.public))
def test_an_operator_takes_the_arguments_of_its_page(name: str) -> None:
    listed = operator_page.arguments(OPERATORS[name])
    names = [argument.partition(" = ")[0] for argument in listed]
    needed = [argument for argument in listed if " = " not in argument]
    unbound = {"E401", "E402", "E403"}  # missing, unknown and surplus ones
    assert not errors_of_call(name, names) & unbound
    assert not errors_of_call(name, needed) & unbound
    assert errors_of_call(name, [*names, "other"]) & unbound
    assert errors_of_call(name, needed[:-1]) & {*unbound, "E415"}  # no list of tensors


def test_every_setting_source_and_stage_is_in_the_reference() -> None:
    names = set(SETTINGS) | set(SOURCES) | set(STAGES)
    assert named("language.md", names) == names


def test_every_name_of_the_library_is_in_its_page() -> None:
    names = set(library().files)
    assert named("library.md", names) == names


SIGNATURE = re.compile(r"^\| `(\w+) (\w+)(?:\(([^`]*)\))?[^`]*` \|", re.MULTILINE)


def test_the_signatures_of_the_library_are_those_of_its_page() -> None:
    listed = SIGNATURE.findall((ROOT / "docs" / "library.md").read_text(encoding="utf-8"))
    wrong = []
    for kind, name, arguments in listed:
        item = library().find(name)
        own = [hyper.span.text for hyper in item.syntax.hypers] if isinstance(item, Defined) else []
        if isinstance(item, Defined) and (item.kind, ", ".join(own)) != (kind, arguments):
            wrong.append((kind, name, arguments, own))
    assert len(listed) > 100
    assert not wrong


@pytest.mark.parametrize(("page", "model", "diagnostic"), RUNS)
def test_an_example_compiles_to_what_it_says(page: Path, model: str, diagnostic: str | None) -> None:
    """NumPy on the text, and onnxruntime on the file that it becomes, at several sizes."""
    program = program_of(Source(f"{page.stem}.model", model))
    check(program)
    for defined in program.models:
        compiled = from_program(program, model=defined.name)
        file = compiled.onnx().SerializeToString()
        assert compare(compiled.graph, file, compiled.weights, text=compiled.elaborated).agrees


README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def fenced(start: str, language: str = "") -> str:
    """The fenced block of the README that begins with `start`."""
    (block,) = (text for kind, text in FENCED.findall(README) if kind == language and text.startswith(start))
    return str(block)


def test_the_cell_of_the_readme_is_one_lstm() -> None:
    model = "model M { input x: [batch, T, 3]; output y = scan(LSTMCell(4))(x, axis: 1) }\n"
    compiled = from_program(program_of(Source("readme.model", fenced("cell LSTMCell") + model)))
    kinds = [node.op_type for node in compiled.onnx().graph.node]
    assert kinds.count("LSTM") == 1
    assert "Scan" not in kinds


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = fenced("import nablac", "python").replace('"specs/', f'"{ROOT}/specs/').replace("epochs=50", "epochs=1")
    names: dict[str, object] = {"series": np.zeros((2, 12, 1), np.float32)}
    exec(code, names)
    assert "loss" in names["history"]  # type: ignore[operator]
    assert (tmp_path / "forecaster.onnx").exists()


def test_the_python_of_its_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = FENCED.findall((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    code = "\n".join(text for kind, text in blocks if kind == "python").replace('"specs/', f'"{ROOT}/specs/')
    names: dict[str, Any] = {}
    exec(code, names)
    assert f"# {names['code']} {names['code'].heading}\n" in code
    assert names["model"](x=np.zeros((5, 3), np.float32))["y"].shape == (5, 1)
    assert names["code"] == "E301"
    assert names["history"]["loss"][-1] < names["history"]["loss"][0]
    assert (tmp_path / "linear.onnx").exists() and (tmp_path / "curves.svg").exists()


def commands() -> list[str]:
    """The lines of the README that call nablac, continued ones whole, without what is said beside them."""
    blocks = "\n".join(text for kind, text in FENCED.findall(README) if not kind).replace("\\\n", " ")
    lines = [part for line in blocks.split("\n") for part in line.split("&&")]
    return [line.strip() for line in lines if line.strip().startswith("nablac ")]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_is_one(line: str) -> None:
    _, name, *rest = shlex.split(line, comments=True)
    assert name in COMMANDS
    command = import_module(f"nablac.commands.{name}").command
    options = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in rest if argument.startswith("-")} <= options
    files = {argument.partition(":")[0] for argument in rest if argument.startswith("specs/")}
    assert all((ROOT / file).exists() for file in files)


def test_a_run_of_the_readme_has_the_name_of_a_spec() -> None:
    models = {
        name
        for file in (ROOT / "specs").glob("*.model")
        for name in re.findall(r"^model (\w+)", file.read_text(), re.M)
    }
    runs = {run for line in commands() for run in re.findall(r"runs/(\w+)/\d", line)}
    assert len(runs) > 1 and runs <= {name.lower() for name in models}


GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"]
PATH = re.compile(r"`((?:grammar|compiler|runtime|nablac|specs|tests|docs|benchmarks|examples|\.ci)/[\w./-]*)`")


@pytest.mark.parametrize("page", GUIDES, ids=[page.stem for page in GUIDES])
def test_a_guide_names_what_is_there(page: Path) -> None:
    named = set(PATH.findall(page.read_text(encoding="utf-8")))
    assert len(named) > 10
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


DEFINED = re.compile(r"`(\w+)` (?:is )?in `([\w/]+\.py)`|`([A-Z]\w+)` \(`([\w/]+\.py)`\)")


@pytest.mark.parametrize("page", GUIDES, ids=[page.stem for page in GUIDES])
def test_a_file_defines_what_a_guide_says_is_in_it(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split())
    named = [(name or in_brackets, file or file_in_brackets)
             for name, file, in_brackets, file_in_brackets in DEFINED.findall(text)]  # fmt: skip
    assert named
    missing = [
        (name, file)
        for name, file in named
        if not re.search(rf"^(?:(?:def|class) {name}\b|{name}\b *[:=])", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    ]
    assert not missing


def test_the_page_of_weights_is_true_to_the_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the page begins with a network of PyTorch")
    monkeypatch.chdir(tmp_path)
    blocks = FENCED.findall((ROOT / "docs" / "weights.md").read_text(encoding="utf-8"))
    (theirs, ours) = (text for kind, text in blocks if kind == "python")
    exec(theirs, {})
    (model,) = (text for kind, text in blocks if text.startswith("model Movements"))
    (tmp_path / "movements.model").write_text(model)
    lines = [text.strip() for kind, text in blocks if not kind and text.startswith("nablac train ")]
    assert len(lines) == 2
    for line in lines:
        done = invoke(*shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
        assert "`head.W`, `head.b` start new, the others from theirs.safetensors\n" in done.stderr
    names: dict[str, Any] = {}
    exec(ours, names)
    assert len(names["history"]["loss"]) == 1
    assert (tmp_path / "tuned" / "weights.safetensors").is_file()


RULE = re.compile(r"^\| `([^`]+)` \| ([\d x]+) \| `(.*?)` \| (.*?) \| ([\d x]*) ?\|$", re.MULTILINE)


def test_the_rules_of_the_page_of_weights_do_what_it_says() -> None:
    examples = RULE.findall((ROOT / "docs" / "weights.md").read_text(encoding="utf-8"))
    assert len(examples) == 8
    for entry, shape, written, paths, becomes in examples:
        array = np.arange(np.prod(sizes := [int(size) for size in shape.split(" x ")])).reshape(sizes)
        rule = written.replace("\\|", "|")
        renamed = apply_renames({entry: array.ndim}, read_renames([rule]), entry, lambda path: True)
        values = {path: value.value({entry: array}) for path, value in renamed.entries.items()}
        assert list(values) == re.findall(r"`([^`]+)`", paths), rule
        assert {" x ".join(map(str, value.shape)) for value in values.values()} == {becomes.strip()} - {""}, rule


def test_the_page_of_weights_names_all_rules() -> None:
    assert named("weights.md", set(shipped_rules())) == set(shipped_rules())
