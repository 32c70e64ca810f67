"""Writings of recurrent cells that become an operator, and near misses that stay a Scan.

The oracle is onnxruntime with its optimisation off, on the equations as written, in f64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime
import pytest

from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize
from compiler.targets import Target
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import elaborate

OPERATORS = ("rnn", "lstm", "gru")
ANYWHERE = Target("anywhere", "a runtime for which nothing was measured")

# Parameters, 2 features and 3 units: a matrix for each gate, packed columns of x and h, and of [x, h].
GATES = " ".join(
    f"param W{gate}: [2, 3] ~ normal(0.8); param U{gate}: [3, 3] ~ normal(0.8); param b{gate}: [3] ~ normal(0.5);"
    for gate in "ifgo"
)
PEEPHOLES = GATES + " param pi, pf, po: [3] ~ normal(0.8);"
ROWS = " ".join(
    f"param W{gate}: [3, 2] ~ normal(0.8); param U{gate}: [3, 3] ~ normal(0.8); param b{gate}: [3] ~ normal(0.5);"
    for gate in "ifgo"
)
FOUR = "param W: [2, 12] ~ normal(0.8); param U: [3, 12] ~ normal(0.8); param b, d: [12] ~ normal(0.5);"
THREE = "param W: [2, 9] ~ normal(0.8); param U: [3, 9] ~ normal(0.8); param b, d: [9] ~ normal(0.5);"
BOTH = "param W: [5, 12] ~ normal(0.8); param b: [12] ~ normal(0.5);"
ONE = "param W: [2, 3] ~ normal(0.8); param U: [3, 3] ~ normal(0.8); param b, d: [3] ~ normal(0.5);"

LSTM = "c' = f * c + i * g; h' = o * tanh(c')"
ALL = "s = x @ W + h @ U + b;"
SPLIT = f"{ALL} i, f, g, o = split(s, 4, axis: -1);"
ACTIVATED = "c' = sigmoid(f) * c + sigmoid(i) * tanh(g); h' = sigmoid(o) * tanh(c')"


def gates(form: str, names: str = "ifo") -> str:
    """A form of each gate: `@` stands for its name, and `A` for its affine term."""
    return " ".join(
        f"{name} = {form};".replace("A", "(x @ W@ + h @ U@ + b@)")
        .replace("@ W@", f"@ W{name}")
        .replace("@ U@", f"@ U{name}")
        .replace("b@", f"b{name}")
        .replace("p@", f"p{name}")
        for name in names
    )


CANDIDATE = "g = tanh(x @ Wg + h @ Ug + bg);"
LSTMS: Mapping[str, tuple[str, str]] = {
    "a matrix for each gate": (GATES, f"{gates('sigmoid(A)')} {CANDIDATE} {LSTM}"),
    "columns, as in a textbook": (
        ROWS,
        "i = sigmoid(Wi x + Ui h + bi); f = sigmoid(Wf x + Uf h + bf); o = sigmoid(Wo x + Uo h + bo); "
        f"g = tanh(Wg x + Ug h + bg); {LSTM}",
    ),
    "rows times transposed matrices": (
        ROWS,
        "i = sigmoid(x @ Wi^T + h @ Ui^T + bi); f = sigmoid(x @ Wf^T + h @ Uf^T + bf); "
        f"o = sigmoid(x @ Wo^T + h @ Uo^T + bo); g = tanh(x @ Wg^T + h @ Ug^T + bg); {LSTM}",
    ),
    "no bias": (GATES, f"{gates('sigmoid(x @ W@ + h @ U@)')} g = tanh(x @ Wg + h @ Ug); {LSTM}"),
    "a bias of the forget gate alone": (
        GATES,
        f"{gates('sigmoid(x @ W@ + h @ U@)', 'io')} {gates('sigmoid(A + 1)', 'f')} g = tanh(x @ Wg + h @ Ug); {LSTM}",
    ),
    "a bias that is subtracted": (GATES, f"{gates('sigmoid(x @ W@ - b@ + h @ U@)')} {CANDIDATE} {LSTM}"),
    "split": (FOUR, f"{SPLIT} {ACTIVATED}"),
    "split, two biases": (FOUR, f"i, f, g, o = split(x @ W + b + h @ U + d, 4, axis: -1); {ACTIVATED}"),
    "split, the order of Keras": (FOUR, f"{ALL} i, f, g, o = split(s, 4, axis: 1); {ACTIVATED}"),
    "split, another order": (FOUR, f"{ALL} f, o, g, i = split(s, 4, axis: -1); {ACTIVATED}"),
    "slices": (
        FOUR,
        f"{ALL} i = s[:, 0:3]; f = s[:, 3:6]; g = s[:, 6:9]; o = s[:, 9:12]; {ACTIVATED}",
    ),
    "slices of one sigmoid": (
        FOUR,
        f"{ALL} t = sigmoid(s[:, 0:9]); c' = t[:, 3:6] * c + t[:, 0:3] * tanh(s[:, 9:]); h' = t[:, 6:] * tanh(c')",
    ),
    "[x, h] and one matrix": (BOTH, f"i, f, g, o = split(concat([x, h], axis: -1) @ W + b, 4, axis: -1); {ACTIVATED}"),
    "[h, x] and one matrix": (BOTH, f"i, f, g, o = split(concat([h, x], axis: -1) @ W + b, 4, axis: -1); {ACTIVATED}"),
    "[x, h] and a matrix for each gate": (
        "param W1, W2, W3, W4: [5, 3] ~ normal(0.8);",
        "z = concat([x, h], axis: -1); i = sigmoid(z @ W1); f = sigmoid(z @ W2); g = tanh(z @ W3); "
        f"o = sigmoid(z @ W4); {LSTM}",
    ),
    "1 / (1 + exp(-x))": (GATES, f"{gates('1 / (1 + exp(-A))')} {CANDIDATE} {LSTM}"),
    "(1 + exp(-x)) ** -1": (GATES, f"{gates('(exp(-A) + 1) ** -1.0')} {CANDIDATE} {LSTM}"),
    "0.5 * (1 + tanh(x / 2))": (GATES, f"{gates('0.5 * (1 + tanh(A / 2))')} {CANDIDATE} {LSTM}"),
    "0.5 * tanh(0.5 * x) + 0.5": (GATES, f"{gates('0.5 * tanh(0.5 * A) + 0.5')} {CANDIDATE} {LSTM}"),
    "2 * sigmoid(2 * x) - 1": (
        GATES,
        f"{gates('sigmoid(A)')} g = 2 * sigmoid(2 * (x @ Wg + h @ Ug + bg)) - 1; "
        "c' = f * c + i * g; h' = o * (2 * sigmoid(2 * c') - 1)",
    ),
    "2 / (1 + exp(-2 * x)) - 1": (
        GATES,
        f"{gates('sigmoid(A)')} g = 2 / (1 + exp(-2 * (x @ Wg + h @ Ug + bg))) - 1; {LSTM}",
    ),
    "1 - 2 / (exp(2 * x) + 1)": (
        GATES,
        f"{gates('sigmoid(A)')} {CANDIDATE} c' = f * c + i * g; h' = o * (1 - 2 / (exp(2 * c') + 1))",
    ),
    "an input gate of 1 - f": (GATES, f"{gates('sigmoid(A)', 'fo')} i = 1 - f; {CANDIDATE} {LSTM}"),
    "a forget gate of 1 - i": (
        GATES,
        f"{gates('sigmoid(A)', 'io')} {CANDIDATE} c' = (1 - i) * c + i * g; h' = o * tanh(c')",
    ),
    "coupled gates as a step towards g": (
        GATES,
        f"{gates('sigmoid(A)', 'io')} {CANDIDATE} c' = c + i * (g - c); h' = o * tanh(c')",
    ),
    "coupled gates as a step back from g": (
        GATES,
        f"{gates('sigmoid(A)', 'fo')} {CANDIDATE} c' = g - f * (g - c); h' = o * tanh(c')",
    ),
    "peepholes": (
        PEEPHOLES,
        f"{gates('sigmoid(A + p@ * c)', 'if')} {CANDIDATE} c' = f * c + i * g; "
        "o = sigmoid(x @ Wo + po * c' + h @ Uo + bo); h' = o * tanh(c')",
    ),
    "hard sigmoid, as in Keras 1": (GATES, f"{gates('clip(0.2 * A + 0.5, 0, 1)')} {CANDIDATE} {LSTM}"),
    "hard sigmoid, as in PyTorch": (GATES, f"{gates('hard_sigmoid(A)')} {CANDIDATE} {LSTM}"),
    "hard sigmoid by minimum and maximum": (
        GATES,
        f"{gates('maximum(0, minimum(1, 0.2 * A + 0.5))')} {CANDIDATE} {LSTM}",
    ),
    "relu for tanh, as in Keras": (
        GATES,
        f"{gates('sigmoid(A)')} g = relu(x @ Wg + h @ Ug + bg); c' = f * c + i * g; h' = o * maximum(c', 0)",
    ),
    "no tanh but softsign": (
        GATES,
        f"{gates('sigmoid(A)')} g = softsign(x @ Wg + h @ Ug + bg); c' = f * c + i * g; h' = o * softsign(c')",
    ),
}

RZ = "r = sigmoid(x @ Wi + h @ Ui + bi); z = sigmoid(x @ Wf + h @ Uf + bf);"
AFTER = f"{RZ} n = tanh(x @ Wg + bg + r * (h @ Ug + bo));"
BEFORE = f"{RZ} n = tanh(x @ Wg + (r * h) @ Ug + bg);"
PARTS = (
    "a, q, n = split(x @ W + b, 3, axis: -1); u, v, m = split(h @ U + d, 3, axis: -1); "
    "r = sigmoid(a + u); z = sigmoid(q + v);"
)
GRUS: Mapping[str, tuple[str, str]] = {
    "reset after, PyTorch's update": (GATES, f"{AFTER} h' = (1 - z) * n + z * h"),
    "reset after, the paper's update": (GATES, f"{AFTER} h' = z * n + (1 - z) * h"),
    "reset before, PyTorch's update": (GATES, f"{BEFORE} h' = (1 - z) * n + z * h"),
    "reset before, the paper's update": (GATES, f"{BEFORE} h' = (1 - z) * h + z * n"),
    "reset before, the state first": (GATES, f"{RZ} n = tanh((h * r) @ Ug + x @ Wg); h' = z * h + (1 - z) * n"),
    "n + z (h - n)": (GATES, f"{AFTER} h' = n + z * (h - n)"),
    "h + z (n - h)": (GATES, f"{BEFORE} h' = h + z * (n - h)"),
    "n - z (n - h)": (GATES, f"{AFTER} h' = n - z * (n - h)"),
    "h - z (h - n)": (GATES, f"{AFTER} h' = h - z * (h - n)"),
    "(-z + 1) n + z h": (GATES, f"{AFTER} h' = (-z + 1) * n + z * h"),
    "split": (THREE, f"{PARTS} h' = (1 - z) * tanh(n + r * m) + z * h"),
    "split, the order of Keras": (
        THREE,
        "q, a, n = split(x @ W + b, 3, axis: -1); v, u, m = split(h @ U + d, 3, axis: -1); r = sigmoid(a + u); "
        "z = sigmoid(q + v); h' = z * h + (1 - z) * tanh(n + r * m)",
    ),
    "slices": (
        THREE,
        "s = x @ W + b; t = h @ U; r = sigmoid(s[:, 0:3] + t[:, 0:3]); z = sigmoid(s[:, 3:6] + t[:, 3:6]); "
        "h' = (1 - z) * tanh(s[:, 6:] + r * t[:, 6:]) + z * h",
    ),
    "[x, h] for the gates": (
        "param V: [5, 6] ~ normal(0.8); param W: [5, 3] ~ normal(0.8); param b: [6] ~ normal(0.5);",
        "r, z = split(sigmoid(concat([x, h], axis: -1) @ V + b), 2, axis: -1); "
        "n = tanh(concat([x, r * h], axis: -1) @ W); h' = (1 - z) * h + z * n",
    ),
    "no bias": (
        GATES,
        "r = sigmoid(x @ Wi + h @ Ui); z = sigmoid(x @ Wf + h @ Uf); n = tanh(x @ Wg + r * (h @ Ug)); "
        "h' = (1 - z) * n + z * h",
    ),
    "columns": (
        ROWS,
        "r = sigmoid(Wi x + Ui h + bi); z = sigmoid(Wf x + Uf h + bf); n = tanh(Wg x + r * (Ug h) + bg); "
        "h' = (1 - z) * n + z * h",
    ),
    "1 / (1 + exp(-x))": (
        GATES,
        "r = 1 / (1 + exp(-(x @ Wi + h @ Ui))); z = 1 / (1 + exp(-x @ Wf - h @ Uf - bf)); "
        "n = tanh(x @ Wg + r * (h @ Ug)); h' = (1 - z) * n + z * h",
    ),
    "hard sigmoid, and a complement": (
        GATES,
        "r = clip(0.2 * (x @ Wi + h @ Ui) + 0.5, 0, 1); z = clip(0.2 * (x @ Wf + h @ Uf) + 0.5, 0, 1); "
        "n = tanh(x @ Wg + (r * h) @ Ug); h' = (1 - z) * h + z * n",
    ),
    "relu for tanh": (GATES, f"{RZ} n = relu(x @ Wg + bg + r * (h @ Ug + bo)); h' = (1 - z) * n + z * h"),
}

RNNS: Mapping[str, tuple[str, str]] = {
    "tanh": (ONE, "h' = tanh(x @ W + h @ U + b)"),
    "two biases": (ONE, "h' = tanh((x @ W + b) + (h @ U + d))"),
    "no bias": (ONE, "h' = tanh(h @ U + x @ W)"),
    "columns": ("param W: [3, 2] ~ normal(0.8); param U: [3, 3] ~ normal(0.8);", "h' = tanh(W x + U h)"),
    "[x, h]": ("param W: [5, 3] ~ normal(0.8);", "h' = tanh(concat([x, h], axis: -1) @ W)"),
    "a bias with an axis of rows": (ONE + " param e: [1, 3] ~ normal(0.5);", "h' = tanh(x @ W + h @ U + e)"),
    "a negative product": (ONE, "h' = tanh(b - h @ U + x @ W)"),
    "relu": (ONE, "h' = relu(x @ W + h @ U + b)"),
    "maximum(x, 0)": (ONE, "h' = maximum(x @ W + h @ U + b, 0)"),
    "where(x < 0, 0, x)": (ONE, "s = x @ W + h @ U + b; h' = where(s < 0, 0, s)"),
    "sigmoid": (ONE, "h' = sigmoid(x @ W + h @ U + b)"),
    "1 / (1 + exp(-x))": (ONE, "h' = 1 / (1 + exp(-(x @ W + h @ U + b)))"),
    "tanh by exp": (ONE, "h' = 2 / (1 + exp(-2 * (x @ W + h @ U + b))) - 1"),
    "hard sigmoid": (ONE, "h' = clip(0.2 * (x @ W + h @ U + b) + 0.5, 0, 1)"),
    "leaky relu": (ONE, "h' = leaky_relu(x @ W + h @ U, 0.2)"),
    "softsign": (ONE, "h' = softsign(x @ W + h @ U + b)"),
}

ROW = "{cell}model M {{ input xs: [batch, time, 2]; {before}output y = {scan} }}\n"
AFFINE = "(x @ W + h @ U + b)"
# The gates, and the scan that runs the cell
SCANS: Mapping[str, tuple[str, str, str]] = {
    "from the end": ("lstm", "", "scan(Cell())(xs, axis: 1, reverse: true)"),
    "over the first axis": ("lstm", "", 'scan(Cell())(rearrange(xs, "b t n -> t b n"), axis: 0)'),
    "a first state": ("lstm", "param a: [3] ~ normal(0.5); ", "scan(Cell())(xs, axis: 1, h: expand(a, [batch, 3]))"),
    "the final state": ("lstm", "ys, h, c = scan(Cell())(xs, axis: 1, states: true); ", "h"),
    "the final cell": ("lstm", "ys, h, c = scan(Cell())(xs, axis: 1, states: true); ", "c"),
    "all that it gives": (
        "gru",
        "ys, h = scan(Cell())(xs, axis: 1, states: true); ",
        "concat([ys, unsqueeze(h, 1)], axis: 1)",
    ),
    "both directions": (
        "gru",
        "",
        "concat([scan(Cell())(xs, axis: 1), scan(Cell())(xs, axis: 1, reverse: true)], axis: -1)",
    ),
}


def text_of(parameters: str, equations: str, states: str = "", before: str = "", scan: str = "") -> str:
    kept = states or ("state h, c: [batch, 3] = 0" if "c'" in equations else "state h: [batch, 3] = 0")
    cell = f"cell Cell() {{ input x: [batch, 2]; {kept}; {parameters} {equations}; output h' }}\n"
    return ROW.format(cell=cell, before=before, scan=scan or "scan(Cell())(xs, axis: 1)")


def xs() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 4, 2))


def on_onnxruntime(graph: Graph, x: np.ndarray, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    file = export(graph, weights=weights).SerializeToString()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"xs": x})[0]
    return result


def operators(graph: Graph) -> list[str]:
    return [node.op.name for node in graph if node.op.name in (*OPERATORS, "scan")]


def expect(text: str, *names: str) -> None:
    """The text's cell becomes these operators, which compute what is written."""
    whole, fused = elaborate(text, dtype=DType.F64), optimize(elaborate(text), ANYWHERE)
    assert operators(fused) == list(names)
    weights = {path: np.asarray(array, np.float64) for path, array in initialize(whole, 0).items()}
    wanted = on_onnxruntime(whole, xs(), weights)
    x, half = xs().astype(np.float32), {path: array.astype(np.float32) for path, array in weights.items()}
    np.testing.assert_allclose(on_onnxruntime(fused, x, half), wanted, rtol=1e-4, atol=1e-5)
    (result,) = run(fused, {"xs": x}, half).values()
    np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)


WRITINGS = {"lstm": LSTMS, "gru": GRUS, "rnn": RNNS}


@pytest.mark.parametrize(
    ("kind", "title"),
    [pytest.param(kind, title, id=f"{kind}: {title}") for kind in WRITINGS for title in WRITINGS[kind]],
)
def test_a_writing_becomes_the_operator(kind: str, title: str) -> None:
    expect(text_of(*WRITINGS[kind][title]), kind)


@pytest.mark.parametrize("title", SCANS)
def test_a_scan_becomes_the_operator(title: str) -> None:
    kind, before, scan = SCANS[title]
    parameters, equations = LSTMS["split, two biases"] if kind == "lstm" else GRUS["split"]
    expect(text_of(parameters, equations, before=before, scan=scan), kind)


def test_inputs_projected_for_all_steps_at_once_are_the_operators() -> None:
    text = text_of("param U: [3, 12] ~ normal(0.8);", f"i, f, g, o = split(x + h @ U, 4, axis: -1); {ACTIVATED}")
    text = text.replace("input x: [batch, 2]", "input x: [batch, 12]").replace("(xs, axis", "(xs @ W + b, axis")
    before = "param W: [2, 12] ~ normal(0.8); param b: [12] ~ normal(0.5); output"
    expect(text.replace("output y", before + " y"), "lstm")


MISSES: Mapping[str, tuple[str, str]] = {
    "a gate with relu": (GATES, f"{gates('sigmoid(A)', 'io')} f = relu(x @ Wf + h @ Uf + bf); {CANDIDATE} {LSTM}"),
    "a gate with tanh": (GATES, f"{gates('sigmoid(A)', 'fo')} {gates('tanh(A)', 'i')} {CANDIDATE} {LSTM}"),
    "one gate with a hard sigmoid": (
        GATES,
        f"{gates('sigmoid(A)', 'fi')} {gates('hard_sigmoid(A)', 'o')} {CANDIDATE} {LSTM}",
    ),
    "h' = h + ...": (GATES, f"{gates('sigmoid(A)')} {CANDIDATE} c' = f * c + i * g; h' = h + o * tanh(c')"),
    "x added to the output": (ONE, "h' = tanh(x @ W + h @ U + b) + x @ W"),
    "a bias that depends on h": (
        GATES,
        f"{gates('sigmoid(A + mean(h))', 'f')} {gates('sigmoid(A)', 'io')} {CANDIDATE} {LSTM}",
    ),
    "a normalised gate": (
        GATES,
        f"{gates('sigmoid(A)', 'io')} a = x @ Wf + h @ Uf; f = sigmoid(a - mean(a, axis: -1, keep: true)); "
        f"{CANDIDATE} {LSTM}",
    ),
    "c clipped": (GATES, f"{gates('sigmoid(A)')} {CANDIDATE} c' = clip(f * c + i * g, -3, 3); h' = o * tanh(c')"),
    "no tanh of c": (GATES, f"{gates('sigmoid(A)')} {CANDIDATE} c' = f * c + i * g; h' = o * c'"),
    "tanh of the old c": (GATES, f"{gates('sigmoid(A)')} {CANDIDATE} c' = f * c + i * g; h' = o * tanh(c)"),
    "a peephole of o at the old c": (
        PEEPHOLES,
        f"{gates('sigmoid(A + p@ * c)')} {CANDIDATE} {LSTM}",
    ),
    "a peephole of one gate": (
        PEEPHOLES,
        f"{gates('sigmoid(A + p@ * c)', 'i')} {gates('sigmoid(A)', 'fo')} {CANDIDATE} {LSTM}",
    ),
    "a peephole of a whole matrix": (
        GATES,
        f"{gates('sigmoid(A + c @ Ug)', 'i')} {gates('sigmoid(A)', 'fo')} {CANDIDATE} {LSTM}",
    ),
    "gates that add up to 2": (GATES, f"{gates('sigmoid(A)', 'fo')} i = 2 - f; {CANDIDATE} {LSTM}"),
    "an input gate of f": (GATES, f"{gates('sigmoid(A)', 'fo')} i = f - 1; {CANDIDATE} {LSTM}"),
    "coupled with the output gate": (GATES, f"{gates('sigmoid(A)', 'fo')} i = 1 - o; {CANDIDATE} {LSTM}"),
    "c and g exchanged": (GATES, f"{gates('sigmoid(A)')} {CANDIDATE} c' = f * g + i * c * c; h' = o * tanh(c')"),
    "an output gate from h'": (
        GATES,
        f"{gates('sigmoid(A)', 'if')} {CANDIDATE} c' = f * c + i * g; k = tanh(c'); "
        "o = sigmoid(x @ Wo + k @ Uo); h' = o * k",
    ),
    "a matrix that depends on x": (ONE, "h' = tanh(x @ W + h @ (U * mean(x)) + b)"),
    "two layers in one step": (ONE, "k = tanh(x @ W + h @ U + b); h' = tanh(k @ U + h @ U + d)"),
    "the state twice as slow": (ONE, "h' = 0.5 * h + 0.5 * tanh(x @ W + h @ U + b)"),
    "the square of the state": (ONE, "h' = tanh(x @ W + (h * h) @ U + b)"),
    "no input": (ONE, "h' = tanh(h @ U + b + 0 * sum(x))"),
    "a diagonal matrix": (ONE, "h' = tanh(x @ W + d * h + b)"),
    "cosine": (ONE, "h' = cos(x @ W + h @ U + b)"),
    "softplus, which overflows": (ONE, "h' = softplus(x @ W + h @ U + b)"),
    "tanh by exp, which is NaN": (
        ONE,
        f"s = {AFFINE}; h' = (exp(s) - exp(-s)) / (exp(s) + exp(-s))",
    ),
    "where(x > 0, x, 0), which is 0 for NaN": (ONE, f"s = {AFFINE}; h' = where(s > 0, s, 0)"),
    "a GRU that resets the input": (
        GATES,
        f"{RZ} n = tanh(r * (x @ Wg) + h @ Ug + bg); h' = (1 - z) * n + z * h",
    ),
    "a GRU with two update gates": (GATES, f"{AFTER} h' = (1 - z) * n + r * h"),
    "a GRU that adds up to 2": (GATES, f"{AFTER} h' = (2 - z) * n + z * h"),
    "a GRU whose gates differ": (
        GATES,
        "r = hard_sigmoid(x @ Wi + h @ Ui); z = sigmoid(x @ Wf + h @ Uf); n = tanh(x @ Wg + r * (h @ Ug)); "
        "h' = (1 - z) * n + z * h",
    ),
    "a GRU with its complement, of another hard sigmoid": (
        GATES,
        "r = clip(0.2 * (x @ Wi + h @ Ui) + 0.4, 0, 1); z = clip(0.2 * (x @ Wf + h @ Uf) + 0.4, 0, 1); "
        "n = tanh(x @ Wg + (r * h) @ Ug); h' = (1 - z) * h + z * n",
    ),
    "a GRU that resets twice": (GATES, f"{RZ} n = tanh(x @ Wg + r * ((r * h) @ Ug)); h' = (1 - z) * n + z * h"),
}


@pytest.mark.parametrize("title", MISSES)
def test_a_near_miss_stays_a_scan(title: str) -> None:
    assert operators(optimize(elaborate(text_of(*MISSES[title])), ANYWHERE)) == ["scan"]


@pytest.mark.parametrize(
    ("parameters", "equations", "states"),
    [
        (
            "param W: [2, 3] ~ normal(0.8); param U: [4, 3] ~ normal(0.8); param V: [3, 4] ~ normal(0.8);",
            "h' = tanh(x @ W + h @ U) @ V",
            "state h: [batch, 4] = 0",
        ),
        (ONE, "h' = tanh(x @ W + h @ U + n * b); n' = n + 1", "state h: [batch, 3] = 0; state n: [] = 0"),
    ],
    ids=["a projected state", "weights that change with time"],
)
def test_a_state_of_another_kind_stays_a_scan(parameters: str, equations: str, states: str) -> None:
    assert operators(optimize(elaborate(text_of(parameters, equations, states)), ANYWHERE)) == ["scan"]
