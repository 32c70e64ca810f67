"""Equations as text and LaTeX: of every shipped model, of what is hard to name, and of what is refused."""

from __future__ import annotations

import re
from functools import cache

import pytest

from compiler.elaborate.program import load
from compiler.formulas.gradient_equations import gradient_equations
from compiler.formulas.latex import latex_of
from compiler.formulas.model_equations import model_equations
from compiler.formulas.plain_text import text_of
from compiler.formulas.sections import Section, every_equation
from compiler.operators.leaves import Parameter
from grammar.diagnostics import NablacError
from tests.models import elaborate, spec_of
from tests.paths import SPECS

TRAINED = ["characters", "cnn", "forecaster", "gpt", "gru", "lstm", "mlp", "rnn", "sentiment", "transformer"]


@cache
def section_of(name: str) -> Section:
    program = load(SPECS / f"{name}.model")
    return gradient_equations(spec_of(program, model=program.models[0].name, training=True))


@pytest.mark.parametrize("name", TRAINED)
def test_every_parameter_has_one_equation(name: str) -> None:
    program = load(SPECS / f"{name}.model")
    spec = spec_of(program, model=program.models[0].name, training=True)
    printed = [
        ".".join(filter(None, (equation.target.of.path, equation.target.of.text)))
        for _, _, equation in every_equation(section_of(name))
        if equation.target.of is not None
    ]
    graph = spec.graph
    paths = [node.op.path for node in graph if isinstance(node.op, Parameter)]
    counts = {path: printed.count(re.sub(r"\.(\d+)$", r"_\1", path)) for path in paths}
    assert paths and set(counts.values()) == {1}, counts


@pytest.mark.parametrize("name", TRAINED)
def test_a_name_is_defined_once_and_before_it_is_used(name: str) -> None:
    """In the model; in a step, what arrives from the next one is used before it is defined."""
    lines = [line for line in text_of(section_of(name)).splitlines() if line and not line.startswith(("#", " "))]
    targets = [line.partition(" = ")[0] for line in lines]
    assert len(set(targets)) == len(targets)
    defined: set[str] = set()
    for line in lines:
        target, _, value = line.partition(" = ")
        used = {word for word in re.findall(r"[\w.]+'?", value) if word in targets}
        assert used <= defined, line
        defined.add(target)


def commands_of(latex: str) -> list[str]:
    return re.findall(r"\\([A-Za-z]+|.)", latex)


KATEX = frozenset(
    re.findall(
        r"\S+",
        "begin end aligned nabla mathrm frac operatorname left right sum odot top cdot text tanh sigma exp log max min "
        r"sqrt colon neq leq geq land lor lnot bmod div gamma beta alpha epsilon theta mu _ , \ ; # % & $ { }",
    )
)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("of_gradient", [True, False], ids=["gradient", "model"])
def test_latex_is_well_formed(name: str, of_gradient: bool) -> None:
    """Braces, delimiters and scripts are as KaTeX wants them."""
    program = load(SPECS / f"{name}.model")
    section = section_of(name) if of_gradient else model_equations(elaborate(program, model=program.models[0].name))
    latex = latex_of(section)
    math = "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", math):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert math.count(r"\left") == math.count(r"\right") > 0
    assert math.count(r"\begin{aligned}") == math.count(r"\end{aligned}") > 0
    assert set(commands_of(math)) <= KATEX
    assert not re.search(r"[_^]\{(?:[^{}]|\{[^{}]*\})*\}(?:_|\^\{\\top\}\^)", math), "two scripts of one kind"
    assert not re.search(r"(?<!\\)_(?!\{)", math), "a subscript without braces"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "a = shared(left); b = shared(right)\n    output y = a - b",
            "shared.dW = right^T @ db + left^T @ dy",
        ),
        (
            "a = shared(left); b = shared(right)\n    output y = (a - b) * 2.0",
            "shared.db = sum over batch of (db + da)",
        ),
        ("y = left * 2.0 + right\n    output y", "dleft = 2 * dy"),
        ("y = where(left > 0, left, right)\n    output y", "dleft = where(left > 0, dy, 0)"),
        ("y = exp(-left) / right\n    output y", "dright = -(dy * y / right)"),
        ("y = relu(left) + right\n    output y", "dleft = dy * (relu(left) > 0)"),
        (
            "y = concat([left[:, 1:3], right[:, :2]], axis: 1)\n    output y",
            "dleft = pad(dy[:, :2], before: [0, 1], after: [0, 1])",
        ),
        ("y = sum(left, axis: 1, keep: true) * right\n    output y", "dleft = sum(dy * right, axis: 1, keep: true)"),
    ],
)
def test_gradients_are_written_in_plain_notation(body: str, expected: str) -> None:
    text = (
        "model M() {\n    input left: [batch, 4], right: [batch, 4]\n    shared = Dense(4)\n    "
        + body
        + "\n}\ntrain M { target t: [batch, 4]; loss mse(y, t); optimizer sgd(lr: 0.1) }\n"
    )
    assert expected in text_of(gradient_equations(spec_of(text, training=True))).splitlines()


def test_a_layer_that_is_used_in_a_step_has_the_names_of_the_cell() -> None:
    text = """
cell C() { input x: [batch, 3]; state h: [batch, 3] = 0; z = x + h; h' = z -> Dense(3, tanh); output h' }
model M() { input s: [batch, time, 3]; y = scan(C())(s, axis: 1); output y }
train M { target t: [batch, time, 3]; loss mse(y, t); optimizer sgd(lr: 0.1) }
"""
    lines = [line.strip() for line in text_of(gradient_equations(spec_of(text, training=True))).splitlines()]
    assert "dh' = dh_out' + dh[t + 1]" in lines
    assert "dense.dW = sum over t of z^T @ dense.dy" in lines
    assert "dz = dense.dy @ dense.W^T" in lines
    assert lines[lines.index("# z = x + h    test.model:2") + 1 :][:2] == ["dh = dz", "dx = dz"]


def test_only_what_is_asked_for_is_differentiated() -> None:
    program = load(SPECS / "mlp.model")
    spec = spec_of(program, model=program.models[0].name, training=True)
    whole, one = (text_of(gradient_equations(spec, [pattern])) for pattern in ("*", "*.b"))
    assert "dW = " in whole and "dW = " not in one and "db = " in one
    with pytest.raises(NablacError) as caught:
        gradient_equations(spec, ["nothing"])
    assert caught.value.diagnostics[0].code == "E614"


def test_a_spec_of_the_library_has_a_short_name() -> None:
    lines = text_of(gradient_equations(spec_of(load(SPECS / "mlp.model"), model="MLP", training=True))).splitlines()
    assert "# logits = dense_2.y + dense_2.b    specs/mlp.model:7" in lines
