"""What the driver of rules does for every rule."""

from __future__ import annotations

import pytest

from compiler.graph import Graph, Value
from compiler.operators.activations import Relu, Tanh
from compiler.operators.arithmetic import Abs, Add, Mul, Neg, Sub
from compiler.operators.leaves import Input, constant
from compiler.operators.pooling import MaxPool, MaxPoolIndices
from compiler.operators.powers import Exp
from compiler.operators.reductions import Sum
from compiler.operators.shaping import Expand, Transpose
from compiler.origins import origin
from compiler.passes.rules import (
    Application,
    Rule,
    apply_rules,
    either,
    is_everywhere,
    is_near,
    near,
    pattern_of,
    rule,
    variables,
)
from compiler.types import DType, TensorType
from grammar.source import Source, Span

TYPE = TensorType(DType.F32, (2, 3))
x, y, axes = variables("x y axes")
add, mul, sub, neg, exp, abs_, relu = (pattern_of(each) for each in (Add, Mul, Sub, Neg, Exp, Abs, Relu))
A: Value = Input("a", TYPE)()
B: Value = Input("b", TYPE)()
ROW: Value = Input("row", TensorType(DType.F32, (1, 3)))()


def rewritten(value: Value, *rules: Rule) -> Value:
    return apply_rules(Graph({"a": A, "b": B, "row": ROW}, {"z": value}), rules).outputs["z"]


def text(value: Value) -> str:
    """A value as an expression."""
    op = value.node.op
    if isinstance(op, Input):
        return op.label
    return f"{op.name}({', '.join(map(text, value.node.operands))})"


TO_ABS = rule("-exp(x) + x", add(neg(exp(x)), x), lambda x: Abs()(x))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-Exp()(A) + A, "abs(a)"),
        (A + -Exp()(A), "abs(a)"),
        (-Exp()(A) + B, "add(neg(exp(a)), b)"),
        (A - -Exp()(A), "sub(a, neg(exp(a)))"),
    ],
    ids=["as it stands", "the other way around", "of two values", "of another operator"],
)
def test_a_pattern_is_an_expression(value: Value, expected: str) -> None:
    assert text(rewritten(value, TO_ABS)) == expected


def test_operands_of_others_are_in_their_order() -> None:
    to_abs = rule("exp(x) - x", sub(exp(x), x), lambda x: Abs()(x))
    assert text(rewritten(Exp()(A) - A, to_abs)) == "abs(a)"
    assert text(rewritten(A - Exp()(A), to_abs)) == "sub(a, exp(a))"


def test_both_ways_are_tried_before_a_condition_gives_up() -> None:
    only_b = rule("x + y", add(x, y), lambda x: -x, when=lambda y: y is B)
    assert text(rewritten(A + B, only_b)) == "neg(a)"
    assert text(rewritten(B + A, only_b)) == "neg(a)"


def test_commutative_operators_inside_are_tried_both_ways_too() -> None:
    deep = rule("(x * exp(y)) + y", add(mul(x, exp(y)), y), lambda x: -x)
    for value in (A * Exp()(B) + B, Exp()(B) * A + B, B + A * Exp()(B), B + Exp()(B) * A):
        assert text(rewritten(value, deep)) == "neg(a)"


def test_an_attribute_is_matched_or_bound() -> None:
    summed = pattern_of(Sum)
    kept = rule("a sum that keeps its axes", summed(x, axes=axes, keep=True), lambda x, axes: Sum(axes, True)(-x))
    assert text(rewritten(Sum((0,))(A), kept)) == "sum(a)"
    with pytest.raises(RuntimeError, match="a sum that keeps its axes does not terminate"):
        rewritten(Sum((0,), True)(A), kept)
    transposed = pattern_of(Transpose)
    (p,) = variables("p")
    same = rule("equal transposes", transposed(transposed(x, permutation=p), permutation=p), lambda x: x)
    assert text(rewritten(Transpose((1, 0))(Transpose((1, 0))(A)), same)) == "a"


def test_a_replacement_of_another_type_is_refused() -> None:
    first = rule("x + y", add(x, y), lambda x: x)
    assert text(rewritten(ROW + A, first)) == "a"  # the other way around
    assert text(rewritten(A + ROW, first)) == "a"
    assert text(rewritten(ROW + ROW, first)) == "row"
    only_left = rule("x - y", sub(x, y), lambda x: x)
    assert text(rewritten(ROW - A, only_left)) == "sub(row, a)"


def test_what_is_made_is_rewritten_in_turn() -> None:
    rules = (
        rule("-(-x)", neg(neg(x)), lambda x: x),
        rule("exp(x)", exp(x), lambda x: Tanh()(Neg()(Neg()(x)))),
        rule("|x|", abs_(x), lambda x: Neg()(Neg()(Exp()(x)))),
    )
    assert text(rewritten(Abs()(A), *rules)) == "tanh(a)"


def test_a_number_is_a_constant_in_every_element() -> None:
    to_neg = rule("x * 3", mul(x, 3), lambda x: -x)
    for three in (constant(3.0, DType.F32), Expand((2, 3))(constant(3.0, DType.F32))):
        assert is_everywhere(three, 3)
        assert text(rewritten(three * A, to_neg)) == "neg(a)"
    assert text(rewritten(constant(2.0, DType.F32) * A, to_neg)).startswith("mul")


ONCE = rule("exp(-x)", exp(neg(x).named("negated").only_use), lambda x, negated: Abs()(x))


@pytest.mark.parametrize(
    ("outputs", "rewrites"),
    [
        (lambda negated: {"z": Exp()(negated)}, True),
        (lambda negated: {"z": Exp()(negated), "negated": negated}, False),  # an output is a use
        (lambda negated: {"z": Exp()(negated), "other": Relu()(negated)}, False),
        (lambda negated: {"z": Exp()(negated), "again": Exp()(negated)}, False),
    ],
)
def test_the_only_use(outputs: object, rewrites: bool) -> None:
    graph = Graph({"a": A}, outputs(-A))  # type: ignore[operator]
    assert (text(apply_rules(graph, (ONCE,)).outputs["z"]) == "abs(a)") == rewrites


def test_a_use_that_another_rule_takes_away_counts_no_more() -> None:
    """What is seen a sweep too late is seen in the next."""
    negated = -A
    graph = Graph({"a": A}, {"z": Exp()(negated), "other": Relu()(negated)})
    gone = rule("relu(-x)", relu(neg(x)), lambda x: Tanh()(x))
    changed = apply_rules(graph, (ONCE, gone))
    assert [text(value) for value in changed.outputs.values()] == ["abs(a)", "tanh(a)"]


def test_a_pattern_that_stands_twice_is_one_value() -> None:
    e = exp(x)
    square = rule("exp(x) * exp(x)", mul(e, e), lambda x: -x)
    shared = Exp()(A)
    assert text(rewritten(shared * shared, square)) == "neg(a)"
    assert text(rewritten(Exp()(A) * Exp()(A), square)) == "mul(exp(a), exp(a))"


def test_an_operator_of_several_results_is_replaced_whole() -> None:
    image: Value = Input("image", TensorType(DType.F32, (1, 1, 4)))()
    largest, positions = MaxPoolIndices((2,)).apply(-image).results
    pools = pattern_of(MaxPool, MaxPoolIndices)(neg(x)).named("pool")
    graph = Graph({"image": image}, {"largest": largest, "positions": positions})
    changed = apply_rules(graph, (rule("pools", pools, lambda x, pool: pool.node.op.apply(x).results),))
    assert [text(value) for value in changed.outputs.values()] == ["max_pool_indices(image)"] * 2
    assert [value.index for value in changed.outputs.values()] == [0, 1]


def test_new_nodes_come_from_where_the_old_did() -> None:
    span = Span(Source("m.model", "-a"), 0, 2)
    with origin(span, "layer"):
        negated = -A
    changed = rewritten(negated, rule("-x", neg(x), lambda x: Exp()(Abs()(x))))
    assert [each.origin.path for each in (changed.node, changed.node.operands[0].node)] == ["layer", "layer"]
    assert changed.node.origin.span == span


def test_a_graph_without_a_match_is_the_same_graph() -> None:
    graph = Graph({"a": A}, {"z": Exp()(A)})
    assert apply_rules(graph, (TO_ABS,)) is graph


def test_a_function_asks_for_what_the_pattern_has() -> None:
    with pytest.raises(ValueError, match="the pattern has no y"):
        rule("-x", neg(x), lambda y: y)
    with pytest.raises(ValueError, match="the pattern has no whole"):
        rule("-x", neg(x), lambda x: x, when=lambda whole: whole)


def test_patterns_are_compared_by_identity() -> None:
    assert isinstance(neg(x), Application)
    assert neg(x) != neg(x)


ALTERNATIVES = rule("exp(x) or -x, twice", either(mul(either(exp(x), neg(x)), 2), relu(exp(x))), lambda x: Abs()(x))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Exp()(A) * 2, "abs(a)"),
        (-A * 2, "abs(a)"),
        (Relu()(Exp()(A)), "abs(a)"),
        (Relu()(-A), "relu(neg(a))"),
        (Abs()(A) * 2, "mul(abs(a), constant())"),
    ],
    ids=["the first inside", "the second inside", "the second outside", "a mixture", "another"],
)
def test_a_pattern_has_alternatives(value: Value, expected: str) -> None:
    assert text(rewritten(value, ALTERNATIVES)) == expected


def test_a_variable_of_another_alternative_is_none() -> None:
    seen: list[Value | None] = []

    def record(x: Value, y: Value | None) -> Value:
        seen.append(y)
        return x

    choose = rule("either", either(mul(exp(x), y), exp(x)), record)
    rewritten(Exp()(A), choose)
    rewritten(Exp()(A) * B, choose)
    assert seen[0] is None


@pytest.mark.parametrize(
    ("dtype", "written", "number", "close"),
    [
        (DType.F32, 0.7071068, 0.5**0.5, True),
        (DType.F32, 0.70711, 0.5**0.5, False),
        (DType.F64, 0.70710678, 0.5**0.5, True),
        (DType.F64, 0.7071068, 0.5**0.5, False),
        (DType.F16, 0.044715, 0.044715, True),
        (DType.F16, 0.0452, 0.044715, False),
        (DType.I64, 3, 3, True),
        (DType.I64, 4, 3, False),
        (DType.F32, float("nan"), 1.0, False),
    ],
)
def test_a_number_is_near_to_the_precision_of_its_dtype(
    dtype: DType, written: float, number: float, close: bool
) -> None:
    assert is_near(constant(written, dtype), number) is close
    assert is_near(Expand((2, 3))(constant(written, dtype)), number) is close


def test_what_is_not_a_constant_is_near_to_nothing() -> None:
    assert not is_near(A, 1.0)


THIRD = rule("exp(x) / 3", mul(exp(x), near(1 / 3)), lambda x: Abs()(x))


def test_a_pattern_holds_a_number_to_within_its_precision() -> None:
    assert text(rewritten(Exp()(A) * 0.33333333, THIRD)) == "abs(a)"
    assert text(rewritten(Exp()(A) * 0.3333, THIRD)) == "mul(exp(a), constant())"


def test_a_closed_rule_needs_all_users_of_what_is_inside() -> None:
    power = exp(x)
    square = rule("exp(x) * exp(x)", mul(power, power), lambda x: Abs()(x), closed=True)
    inside = Exp()(A)
    assert text(rewritten(inside * inside, square)) == "abs(a)"
    assert text(rewritten(Sub()(inside * inside, inside), square)) == "sub(mul(exp(a), exp(a)), exp(a))"
    twice = rewritten(Add()(inside * inside, B), square)
    assert text(twice) == "add(abs(a), b)"
