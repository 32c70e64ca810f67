"""Random texts of models: statements and expressions, with line breaks and comments where they may be."""

from __future__ import annotations

from hypothesis import strategies as st

GAPS = st.sampled_from(
    ["", " ", "  ", "\n", "\n\n\n", "\n    ", "  # why\n", "\n# a line\n", "# a, (b\n# c\n", "\n\n # }\n"]
)
SPACES = st.sampled_from(["", " ", "   "])
NAMES = st.sampled_from(["x", "h", "long_name_of_a_value", "state", "W_xh", "input", "σ"])
ATOMS = NAMES | st.sampled_from(["h'", "3", "1_000", "2.50", "1e-3", '"same"', '"a # b"', "true", "none"])


def _inside(items: st.SearchStrategy[str], opening: str, closing: str, least: int = 0) -> st.SearchStrategy[str]:
    def join(parts: list[tuple[str, str, str]], last: str, comma: bool) -> str:
        texts = ",".join(before + item + after for before, item, after in parts)
        return f"{opening}{texts}{',' if comma and parts else ''}{last}{closing}"

    return st.builds(join, st.lists(st.tuples(GAPS, items, GAPS), min_size=least, max_size=6), GAPS, st.booleans())


def _compound(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "@", "/", "//", "%", " and ", " or ", " + ", "**"])
    named = st.builds(lambda name, space, value: f"{name}:{space}{value}", NAMES, SPACES, parts)
    return st.one_of(
        st.builds(lambda left, sign, right: f"({left}{sign}{right})", parts, operators, parts),
        st.builds(lambda left, sign, right: f"({left}) {sign} ({right})", parts, st.sampled_from(["==", "<"]), parts),
        st.builds(lambda left, right: f"({left} -> {right})", parts, NAMES),
        st.builds(lambda left, before, right: f"({left}{before}-> f({right}))", parts, GAPS, parts),
        st.builds(lambda name, inside: name + inside, NAMES, _inside(parts | named, "(", ")")),
        st.builds(lambda name, inside: name + inside, NAMES, _inside(parts | st.just(":"), "[", "]", least=1)),
        _inside(parts, "[", "]"),
        st.builds("({} if {} else {})".format, parts, parts, parts),
        st.builds("{} + {} * {}".format, ATOMS, ATOMS, ATOMS),
        st.builds("-({})".format, parts),
        st.builds("not ({})".format, parts),
        st.builds("({}).T".format, parts),
        st.builds("({}..{})".format, parts, parts),
    )


EXPRESSIONS = st.recursive(ATOMS, _compound, max_leaves=12)
STAGES = st.builds("".join, st.lists(st.builds("{}-> f{}".format, GAPS, _inside(EXPRESSIONS, "(", ")")), max_size=5))
_ENDS = st.sampled_from(["\n", " # beside\n", "\n\n\n", "\n  # below\n", ";"])


def _block(statements: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    bodies = st.lists(st.builds("".join, st.tuples(statements, _ENDS)), max_size=3).map("".join)
    opened = st.sampled_from(["{", "{\n", "{  # head\n", "{\n\n"])
    return st.one_of(
        st.builds("if {} {}{}}}".format, EXPRESSIONS, opened, bodies),
        st.builds("if {} {}{}}} else {}{}}}".format, EXPRESSIONS, opened, bodies, opened, bodies),
        st.builds("for i in {} {}{}}}".format, EXPRESSIONS, opened, bodies),
    )


_SIMPLE = st.one_of(
    st.builds("y = {}{}".format, EXPRESSIONS, STAGES),
    st.builds("y, z = {}, {}".format, EXPRESSIONS, EXPRESSIONS),
    st.builds("output {}{}".format, EXPRESSIONS, STAGES),
    st.builds("param W: [n, {}] ~ {}".format, ATOMS, EXPRESSIONS),
    st.builds('assert {}, "why"'.format, EXPRESSIONS),
    _inside(st.builds("{} = {}".format, NAMES, ATOMS), "preset p {", "}").map(lambda text: text.replace(",}", "}")),
)
STATEMENTS = st.recursive(_SIMPLE, _block, max_leaves=6)
_HYPERS = _inside(st.builds("{}{} = {}".format, NAMES, st.sampled_from(["", ": int"]), EXPRESSIONS), "(", ")")
_BODIES = st.lists(st.builds("".join, st.tuples(STATEMENTS, _ENDS)), max_size=4).map("".join)
_DECLARATIONS = st.one_of(
    st.builds("layer L{} {{\n{}}}\n".format, _HYPERS, _BODIES),
    st.builds('model M {{  # head\n"""Says what."""\n{}}}\n'.format, _BODIES),
    st.builds("fn f{} = {}{}\n".format, _HYPERS, EXPRESSIONS, STAGES),
    st.builds("const c = {}  # why\n".format, EXPRESSIONS),
    st.builds("train M {{\nloss {}\ndata {}{}\nmetric e = {} over epoch\n}}\n".format,
              EXPRESSIONS, EXPRESSIONS, STAGES, EXPRESSIONS),
)  # fmt: skip
_ABOVE = st.sampled_from(["", "\n\n", "# above\n"])
FILES = st.lists(st.builds("".join, st.tuples(_ABOVE, _DECLARATIONS)), max_size=3).map("".join)
