"""Precedence and associativity of expressions."""

from __future__ import annotations

import pytest

from grammar.expression_printer import print_expression
from tests.grammar.trees import brief, expression

CASES = [
    ("a + b * c", "(+ a (* b c))"),
    ("a - b - c", "(- (- a b) c)"),
    ("(a - b) - c", "(- (- a b) c)"),
    ("a - (b - c)", "(- a (- b c))"),
    ("a @ b^T / c", "(/ (@ a (^T b)) c)"),
    ("a // b % c", "(% (// a b) c)"),
    ("-x ** 2", "(- (** x 2))"),
    ("2 ** -x", "(** 2 (- x))"),
    ("2 ** 3 ** 4", "(** 2 (** 3 4))"),
    ("(2 ** 3) ** 4", "(** (** 2 3) 4)"),
    ("--x", "(- (- x))"),
    ("-x * y", "(* (- x) y)"),
    ("Whh h + Wxh x", "(+ (side Whh h) (side Wxh x))"),
    ("not a and b or c", "(or (and (not a) b) c)"),
    ("not a == b", "(not (== a b))"),
    ("a + 1 < b * 2", "(< (+ a 1) (* b 2))"),
    ("(a < b) < c", "(< (< a b) c)"),
    ("0..depth", "(.. 0 depth)"),
    ("1e-4 .. 1e-2", "(.. 0.0001 0.01)"),
    ("0 .. n + 1", "(.. 0 (+ n 1))"),
    ("a if c else b", "(if c a b)"),
    ("a if c else b if d else e", "(if c a (if d b e))"),
    ("b if bias else 0", "(if bias b 0)"),
    ("x -> f -> g(2)", "(-> (-> x f) (call g 2))"),
    ("x -> f if c else g", "(-> x (if c f g))"),
    ("x -> (f if c else g) -> h", "(-> (-> x (if c f g)) h)"),
    ("(a if c else b) -> f", "(-> (if c a b) f)"),
    ("W^T x + y", "(+ (side (^T W) x) y)"),
    ("2 * a.b^T h'", "(* 2 (side (^T (. a b)) h'))"),
    ("(x -> f) + 1", "(+ (-> x f) 1)"),
    ("f(a, axis: -1)", "(call f a axis:(- 1))"),
    ("scan(cell)(xs, axis: 1,)", "(call (call scan cell) xs axis:1)"),
    ("f(x -> g, y: x -> h)", "(call f (-> x g) y:(-> x h))"),
    ("f()", "(call f)"),
    ("emb.table^T", "(^T (. emb table))"),
    ("x.T.input", "(. (. x T) input)"),
    ("x.if", "(. x if)"),
    ("x[0]", "(index x 0)"),
    ("x[:, -1]", "(index x (: . . .) (- 1))"),
    ("x[..., 0:3]", "(index x ... (: 0 3 .))"),
    ("x[::2]", "(index x (: . . 2))"),
    ("x[1:]", "(index x (: 1 . .))"),
    ("x[a:b:c]", "(index x (: a b c))"),
    ("[]", "[]"),
    ("[1, [2, 3],]", "[1 [2 3]]"),
    ("a, b", "(, a b)"),
    ("c' + h'", "(+ c' h')"),
    ('"a\\"b\\n"', "'a\"b\\n'"),
    ("true", "True"),
    ("1_000", "1000"),
    ("σ(θ)", "(call σ θ)"),
    ("mse(y, target, state: input, in: 1, if: 2)", "(call mse y target state:input in:1 if:2)"),
    ("param - lr * grad", "(- param (* lr grad))"),
    ("f(\n  a,\n\n  b\n)", "(call f a b)"),
    ("x\n   # and then\n\n   -> f", "(-> x f)"),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_an_expression_groups_as_the_language_says(text: str, expected: str) -> None:
    assert brief(expression(text)) == expected


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_a_printed_expression_reads_the_same(text: str, expected: str) -> None:
    printed = print_expression(expression(text))
    assert brief(expression(printed)) == expected
    assert print_expression(expression(printed)) == printed


SPANS = [
    ("(a + b) * c", "(a + b) * c"),
    ("f(x)[0].shape", "f(x)[0].shape"),
    ("x -> f(2)", "x -> f(2)"),
    ("a if (c) else (b)", "a if (c) else (b)"),
]


@pytest.mark.parametrize(("text", "expected"), SPANS)
def test_a_span_covers_the_whole_expression(text: str, expected: str) -> None:
    assert expression(text).span.text == expected


def test_the_sign_of_an_operator_has_its_own_span() -> None:
    node = expression("a  @ b")
    assert node.operator_span.text == "@"
    assert node.operator_span.line == 2
    assert node.operator_span.column == 12
