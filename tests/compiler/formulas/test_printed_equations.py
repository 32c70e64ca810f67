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
        r"sqrt colon neq leq geq land lor lnot bmod lfloor rfloor gamma beta alpha epsilon theta mu "
        r"_ , \ ; # % & $ { }",
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
train M { target goal: [batch, time, 3]; loss mse(y, goal); optimizer sgd(lr: 0.1) }
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


SCANNED = """
cell C() { input x: [batch, 2]; state h, n: [batch, 2] = 0; param w, u, v: [2]; q = u + v
    h' = tanh(w * x + q * h); n' = (n + x * w) // 2; output h', n' }
model M() { input xs: [batch, time, 2]; param a: [2]; y, n = scan(C())(xs, axis: 1); output out = y * a + n }
train M { target goal: [batch, time, 2]; loss mse(out, goal); optimizer sgd(lr: 0.1) }
"""


OUTSIDE = ["dout", "dn", "dy", "c.dn_out'", "c.dh_out'"]


@pytest.mark.parametrize(
    ("wrt", "outside", "in_the_step"),
    [
        ("a", ["dout", "da"], []),
        ("c.w", [*OUTSIDE, "c.dh[time]", "c.dn[time]"], ["dn'", "dh'", "da_h", "dw", "dh", "dn"]),
        ("c.u", [*OUTSIDE, "c.dh[time]"], ["dh'", "da_h", "dh", "dq", "du"]),
        ("xs", [*OUTSIDE, "c.dh[time]", "c.dn[time]", "dxs"], ["dn'", "dh'", "da_h", "dh", "dx", "dn"]),
    ],
)
def test_a_step_has_only_the_gradients_that_lead_to_what_is_asked_for(
    wrt: str, outside: list[str], in_the_step: list[str]
) -> None:
    lines = text_of(gradient_equations(spec_of(SCANNED, training=True), [wrt])).splitlines()
    targets = [line.partition(" = ")[0] for line in lines if " = " in line and not line.strip().startswith("#")]
    assert [target.strip() for target in targets if target.startswith(" ")] == in_the_step
    assert [target for target in targets if not target.startswith(" ")] == outside


def test_steps_in_a_step_are_a_section_of_their_own() -> None:
    text = """
cell I() { input x: [batch, 2]; state h: [batch, 2] = 0; param w: [2]; h' = tanh(x * w + h); output h' }
cell O() { input x: [batch, n, 2]; state c: [batch, 2] = 0; param v: [2]
    z, last = scan(I())(x, axis: 1, states: true); c' = tanh(last * v + c); output c' }
model M() { input xs: [batch, time, n, 2]; y = scan(O())(xs, axis: 1); output y }
train M { target goal: [batch, time, 2]; loss mse(y, goal); optimizer sgd(lr: 0.1) }
"""
    lines = text_of(gradient_equations(spec_of(text, training=True))).splitlines()
    inner = lines.index("    # the steps k of o.i (I), from the last to the first")
    assert lines[inner + 2 :] == [
        "        # h' = tanh(x * w + h)    test.model:2",
        "        dh' = dh[k + 1]",
        "        dh = dh' * (1 - h' ** 2)",
        "        dw_2 = sum over k, batch of dh * x",  # in one step of the outer recurrence
        "        dx = dh * w",
        "",
        "    # out of the steps of o.i",
        "    i.dw = sum over t of i.dw_2",
        "    dx = transpose(i.dx, [1, 0, 2])",
        "",
        "# out of the steps of o",
        "dxs = transpose(o.dx, [1, 0, 2, 3])",
    ]
    behind = text_of(gradient_equations(spec_of(text, training=True), ["o.v"])).splitlines()
    assert not any("the steps k" in line for line in behind)  # no gradient has to go through them
    assert behind[-1] == "    dv = sum over t, batch of dc * i.h[n]"


def test_what_no_gradient_reaches_is_0() -> None:
    text = """
model M() { input x: [batch, 3]; param w, v: [3] = 1; output y = (x * w) // 2 + v * stop_gradient(w) }
train M { target goal: [batch, 3]; loss mse(y, goal); optimizer sgd(lr: 0.1) }
"""
    for wrt, expected in [
        ("*", ["", "# always 0: no gradient reaches them", "dx = 0", "dw = 0"]),
        ("w", ["", "# always 0: no gradient reaches it", "dw = 0"]),
    ]:
        lines = text_of(gradient_equations(spec_of(text, training=True), [wrt])).splitlines()
        assert lines[-len(expected) :] == expected
    assert latex_of(gradient_equations(spec_of(text, training=True), ["x"])).splitlines()[-3:] == [
        "% always 0: no gradient reaches it",
        r"\nabla_{x} &= 0 \\",
        r"\end{aligned}",
    ]


def test_latex_has_one_notation_for_sizes_for_rounded_quotients_and_for_words() -> None:
    text = """
model M() { input x_in: [batch, time, 2]; param W_xh: [2] = 1
    output y = (x_in * W_xh) // 2 * ((W_xh - 1) // 2) ** 2 + W_xh }
train M { target t_out: [batch, time, 2]; loss mse(y, t_out); optimizer sgd(lr: 0.1) }
"""
    x, w, t = r"x_{\mathrm{in}}", r"W_{\mathrm{xh}}", r"t_{\mathrm{out}}"
    first = rf"\left\lfloor \frac{{{x} \odot {w}}}{{2}} \right\rfloor"
    second = rf"\left\lfloor \frac{{{w} - 1}}{{2}} \right\rfloor"
    equations = latex_of(model_equations(elaborate(text))).splitlines()
    assert rf"y &= {first} \odot \left({second}\right)^{{2}} + {w} \\" in equations
    gradient = latex_of(gradient_equations(spec_of(text, training=True)))
    count = r"2 \cdot \mathrm{batch} \cdot \mathrm{time}"
    assert rf"\nabla_{{y}} &= \frac{{2 \, \left(y - {t}\right)}}{{{count}}} && " in gradient


def test_a_spec_of_the_library_has_a_short_name() -> None:
    lines = text_of(gradient_equations(spec_of(load(SPECS / "mlp.model"), model="MLP", training=True))).splitlines()
    assert "# logits = dense_2.y + dense_2.b    specs/mlp.model:7" in lines
