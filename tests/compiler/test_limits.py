"""Files that ask for much with few words: each comes to an end, in bounded work, and says why."""

from __future__ import annotations

import difflib

import pytest

from compiler.elaborate import checking, work
from compiler.elaborate.checking import check
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from compiler.elaborate.work import Work
from compiler.passes.pipeline import optimize
from compiler.training import next_state
from grammar import diagnostics
from grammar.diagnostics import NablacError
from grammar.limits import MOST_ERRORS
from grammar.source import Source
from tests.work import at_most

LEFT = 300_000  # of the steps of one check: a hundredth, so that the tests are soon done


def model(body: str, before: str = "") -> str:
    return f"{before}\nmodel M {{\ninput x: [a, 4]\n{body}\noutput y = x\n}}\n"


def chain(kind: str, first: str, each: str) -> str:
    """Definitions that use the one before them twice."""
    return "\n".join([f"{kind} {first}", *(f"{kind} {each}".format(i, i - 1) for i in range(1, 50))])


HALVES = "fn f(n) { if n > 0 { y = f(n - 1) + f(n - 1) } else { y = 1 }\noutput y }"
LAYERS = "layer L(n) { input x: [...]\nif n > 0 { x = x -> L(n - 1) -> L(n - 1) }\noutput x }"
FUNCTIONS = chain("fn", "f0(n) = n", "f{0}(n) = f{1}(n) + f{1}(n)")
UNROLLED = chain(
    "layer", "L0() { input x: [...]; output x }", "L{0}() {{ input x: [...]; output x -> L{1}() -> L{1}() }}"
)
PAIRS = "fn pair_of(t) { output t, t }"
DEEP = f"fn f(n) = {'-(' * 90}f(n + 1){')' * 90}"
CELL = "cell C() { input x: [f]; state h: [f] = 0; h' = h + x; output h' }"
LONG = "n = a\nfor i in 1..16 { n = n + a ** i }\n"

HOSTILE = {
    "a function that calls itself twice": (model("y = f(40)", HALVES), "E504"),
    "a layer that applies itself twice": (model("x = x -> L(40)", LAYERS), "E504"),
    "functions that call the one before twice": (model("y = f49(1)", FUNCTIONS), "E504"),
    "layers that apply the one before twice": (model("x = x -> L49()", UNROLLED), "E504"),
    "calls deep in expressions": (model("y = f(0)", DEEP), "E503"),
    "a layer that is a default of its own": (
        model("x = x -> L()", "layer L(n = L()) { input x: [...]; output x -> n }"),
        "E503",
    ),
    "an optimizer that is a default of its own": (
        model("", "optimizer o(lr = o()) { param' = param - lr * grad }"),
        "E503",
    ),
    "constants in a row": (
        model("x = x * c0", "\n".join(f"const c{i} = c{i + 1}" for i in range(9000)) + "\nconst c9000 = 1"),
        "E503",
    ),
    "a text that doubles": (model('s = "ab"\nfor i in 0..60 { s = s + s }'), "E509"),
    "texts that are compared": (
        model('s = "ab"\nt = "ab"\nfor i in 0..18 { s = s + s; t = t + t }\nfor i in 0..100000 { u = s == t }'),
        "E504",
    ),
    "a list that doubles": (model("l = [1]\nfor i in 0..60 { l = l + l }"), "E509"),
    "a list of itself twice": (model('l = [1]\nfor i in 0..60 { l = [l, l] }\nassert false, "{l}"'), "E509"),
    "such lists compared": (model("l = [1]\nfor i in 0..60 { l = [l, l] }\nm = l == [l]"), "E509"),
    "lists inside of lists": (model("l = [1]\nfor i in 0..100000 { l = [l] }\nx = x + l"), "E509"),
    "values that double": (model("t = 1\nfor i in 0..60 { t = pair_of(t) }", PAIRS), "E504"),
    "a list that is copied in a loop": (model("l = range(500000)\nfor i in 0..100000 { m = l + l }"), "E504"),
    "a list that is cut in a loop": (model("l = range(1000000)\nfor i in 0..100000 { m = l[1:] }"), "E504"),
    "a list that is multiplied in a loop": (model("l = range(1000000)\nfor i in 0..100000 { m = product(l) }"), "E504"),
    "long lists in a loop": (model("for i in 0..100000 { m = range(1000000) }"), "E504"),
    "many parts, many times": (model("for i in 0..100 { p = split(iota(10000), 10000, axis: 0) }"), "E504"),
    "a wide stack": (model("l = []\nfor i in 0..20000 { l = l + [x] }\nx = sum(stack(l, axis: 0), axis: 0)"), "E504"),
    "three million operators": (model("for i in 0..999999 { x = x + 1\nx = x * 2\nx = x - 1 }"), "E504"),
    "a million calls": (model("for i in 0..999999 { m = f(i) }", "fn f(i) { output i + 1 }"), "E504"),
    "scans one after another": (model("for i in 0..100000 { x = scan(C())(x, axis: 0) }", CELL), "E504"),
    "gradients of gradients": (model("y = sum(x)\nfor i in 0..40 { y = y + sum(gradient(y * y, x)) }"), "E504"),
    "a message of many pieces": (model(f'assert false, "{"{x} " * 50_000}"'), "E504"),
    "a pattern that is mostly blank": (
        model(f'for i in 0..100000 {{ x = rearrange(x, "a{" " * 100_000}b -> a b") }}'),
        "E504",
    ),
    "quotients of quotients": (model("n = a\nfor i in 0..60 { n = n // 2 + n // 3 }\ny = iota(n)"), "E307"),
    "a long chain of quotients": (model("n = a\nfor i in 0..5000 { n = (n + 1) // 2 }\ny = iota(n)"), "E307"),
    "an axis that doubles": (model("for i in 0..70 { x = tile(x, [1, 2]) }"), "E307"),
    "an input of many elements": ("model M(n = 999999999999) { input x: [n, n]; output y = x }", "E307"),
    "a parameter of many elements": (
        "model M(n = 99999999999) { input x: [a, n]; output x -> Flatten() -> Dense(n) }",
        "E307",
    ),
    "a constant of many elements": (model("y = sum(zeros([10000000000, 10000000000]))"), "E307"),
    "a size that grows": (model("n = a\nfor i in 0..100 { n = n * 10 }\ny = iota(n)"), "E307"),
    "a product of sizes that grow": (model("n = product([a * 2**40, a * 2**40])"), "E307"),
    "an integer of infinity": (model("n = int(infinity)"), "E506"),
    "loops to a far end": (model("for i in 0..int(1e30) { x = x + i }"), "E506"),
    "loops over all numbers": (model("for i in (1 - 2**62) * 2..(2**62 - 1) * 2 { x = x + i }"), "E502"),
    "a far floor": (model("n = floor(1e30)"), "E506"),
    "products of long sizes": (model(f"{LONG}for i in 0..100000 {{ m = n * (a + 1) }}"), "E504"),
    "tensors of many axes": (
        model("for i in 0..28 { x = unsqueeze(x, 0) }\nfor i in 0..100000 { x = x + 1 }"),
        "E504",
    ),
    "axes that grow": (model("for i in 0..2000 { x = unsqueeze(x, 0) }"), "E307"),
    "an input of many axes": (f"model M {{ input x: [{', '.join('1' * 65)}]; output y = x }}", "E307"),
    "a shape of many axes": (model(f"y = zeros([{', '.join('1' * 33)}])"), "E307"),
}


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """The work of each check, which begins with less than usual."""
    begun: list[Work] = []

    def begin() -> Work:
        begun.append(Work(LEFT))
        return begun[-1]

    monkeypatch.setattr(checking, "Work", begin)
    return begun


def codes(text: str) -> list[str]:
    with pytest.raises(NablacError) as caught:
        check(program_of(Source("hostile.model", text)))
    assert all(len(each.render()) < 3_000 for each in caught.value.diagnostics)
    return [each.code for each in caught.value.diagnostics]


@pytest.mark.parametrize(("text", "code"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_ends_within_the_work_of_one_check(text: str, code: str, spent: list[Work]) -> None:
    assert codes(text)[0] == code
    assert len(spent) == 1
    assert (spent[0].used_up) == (code == "E504")


MANY = {
    "layers with an unknown name each": "\n".join(
        f"layer L{n}() {{ input x: [a]; output x + y{n} }}" for n in range(3_000)
    ),
    "statements that do not fit": model("\n".join(f"y{n} = x @ x" for n in range(3_000))),
    "models without an output": "\n".join(f"model M{n} {{ input x: [a] }}" for n in range(3_000)),
    "trainings of no model": "\n".join(f"train M{n} {{ epochs 1 }}" for n in range(3_000)),
    "names that are taken": "const a = 1\n" * 3_000,
    "settings of no hyperparameter": model("preset p {" + "\n".join(f"y{n} = 1" for n in range(3_000)) + "}"),
    "arguments of no name": model(f"y = f({', '.join(f'b{n}: 1' for n in range(3_000))})", "fn f(a) = a"),
}


@pytest.mark.parametrize("text", MANY.values(), ids=MANY)
def test_no_more_errors_are_looked_for_than_are_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sought: list[str] = []
    near = difflib.get_close_matches
    monkeypatch.setattr(
        difflib, "get_close_matches", lambda name, *rest, **how: sought.append(name) or near(name, *rest, **how)
    )
    assert len(codes(text)) == MOST_ERRORS
    assert len(sought) <= MOST_ERRORS


def test_of_very_many_names_or_a_very_long_one_none_is_sought() -> None:
    assert diagnostics.did_you_mean("a" * 100_000 + "b", ["a" * 100_000 + "c"]) is None
    assert diagnostics.did_you_mean("widht", ["width", *(f"z{n}" for n in range(100_000))]) == "did you mean `width`?"


def test_all_models_of_a_file_share_the_work(spent: list[Work]) -> None:
    body = "for i in 0..500 { x = x + i }"
    check(program_of(Source("one.model", model(body))))
    used = LEFT - spent.pop().left
    count = int(LEFT / used) + 1
    text = "\n".join(model(body).replace("model M", f"model M{number}") for number in range(count))
    assert codes(text) == ["E504"]


@pytest.mark.parametrize(("body", "factor"), [("x = tanh(x) + x", 1), ("x = tanh(x) + i\nx = x * 2", 2)])
def test_a_graph_of_a_million_nodes_is_not_too_much_work(
    body: str, factor: float, spent: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost is that of its two hundredth, two hundred times. With numbers it needs twice the usual budget."""
    source = Source("unrolled.model", model(f"for i in 0..{5000 // (2 * factor)} {{ {body} }}"))
    check(program_of(source))
    used = LEFT - spent.pop().left
    monkeypatch.setenv(work.FACTOR, str(factor))
    assert used * 200 < Work().left


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "inf", "much", ""])
def test_a_factor_of_the_budget_is_a_number_above_zero(factor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(work.FACTOR, factor)
    with pytest.raises(NablacError) as caught:
        check(program_of(Source("test.model", model("y = x"))))
    assert [diagnostic.message for diagnostic in caught.value.diagnostics] == [
        f"the environment variable NABLAC_WORK multiplies the work budget: `{factor}` is not a number above 0"
    ]


def test_passes_look_at_a_graph_only_for_operators_that_it_has() -> None:
    """Of an unrolled graph, twice the operators take twice the calls, and few for each."""
    for count in (500, 1_000):
        text = model(f"for i in 0..{count // 2} {{ x = tanh(x) + i }}")
        graph = TextSource(program_of(Source("unrolled.model", text))).spec(training=False).graph
        optimize(graph)  # fills caches
        with at_most(75 * count + 2_000):
            optimize(graph)


RECURSION = {  # how a definition comes to apply itself, and what is said
    "in its body": (
        model("y = f(0)", "fn f(n) = f(n + 1)"),
        "unbounded recursion: fn f applies itself (64 levels)",
        "repeat with `for i in 0..n { ... }` instead",
    ),
    "in a default": (
        model("x = x -> L()", "layer L(n = L()) { input x: [...]; output x -> n }"),
        "unbounded recursion: a default of layer L creates another one (64 levels)",
        "end it with another default, such as `none`",
    ),
}


@pytest.mark.parametrize("where", RECURSION)
def test_recursion_is_told_by_where_it_is(where: str) -> None:
    text, message, hint = RECURSION[where]
    with pytest.raises(NablacError) as caught:
        check(program_of(Source("test.model", text)))
    assert [(diagnostic.message, diagnostic.hint) for diagnostic in caught.value.diagnostics] == [(message, hint)]


def test_equal_equations_of_an_optimizer_are_checked_for_one_parameter_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    instantiated: list[str] = []
    copy = next_state.next_values
    monkeypatch.setattr(
        next_state, "next_values", lambda *arguments: instantiated.append(arguments[1]) or copy(*arguments)
    )
    layers = "for i in 0..10 { x = x -> Dense(4) -> tanh }"
    text = f"{model(layers)}\ntrain M {{ target t: [a, 4]; loss mse(y, t); optimizer adam() }}"
    check(program_of(Source("deep.model", text)))
    assert instantiated == ["optimizer.dense.0.W", "optimizer.dense.0.b"]
