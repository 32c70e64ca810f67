"""Rename rules: which paths an entry gets, how its axes change, and what is told of rules that do not apply."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.name_patterns import Budget
from runtime.rename_rules import read_rename, read_renames
from runtime.weights import fit_weights, load_weights
from tests.runtime.graphs import graph, normal, parameter, text_of
from tests.runtime.test_weights import GOOD, example, saved

RULES = {
    "a plain name": ("fc.weight -> dense.W", "fc.weight", "dense.W"),
    "an equals sign": ("fc.weight=dense.W", "fc.weight", "dense.W"),
    "a hole": ("layers.{i}.fc -> block.{i}.dense", "layers.12.fc", "block.12.dense"),
    "two holes exchanged": ("{a}.{b} -> {b}.{a}", "x.y", "y.x"),
    "a hole met twice": ("{a}.{a}.w -> {a}", "x.x.w", "x"),
    "a hole met twice, unequal": ("{a}.{a}.w -> {a}", "x.y.w", None),
    "a hole holds no dot": ("{a}.w -> {a}", "x.y.w", None),
    "a star holds nothing": ("constant* -> x*", "constant", "x"),
    "a star holds dots": ("*.w -> net.*.W", "x.y.w", "net.x.y.W"),
    "stars and holes": ("*.{i}.* -> {i}/*/*", "a.1.b", "1/a/b"),
    "a regular expression": (r"/layer_(\d+)\.w/ -> layers.\1.W", "layer_3.w", "layers.3.W"),
    "a named group": (r"/layer_(?P<n>\d+)/ -> layers.\g<n>", "layer_3", "layers.3"),
    "signs are signs": ("a+b.(c) -> x", "a+b.(c)", "x"),
    "the whole name counts": ("fc -> dense", "fc2", None),
    "a backslash is a letter": (r"a\b -> c\d", r"a\b", r"c\d"),
    "a number less": ("layer{i}.{j}.w -> block.{i-1}.{j}.W", "layer4.0.w", "block.3.0.W"),
    "a number more": ("h{i} -> layers.{i+10}.{i}", "h9", "layers.19.9"),
    "a number is a number": ("layer{i} -> block.{i-1}", "layerx", None),
    "a group less": (r"/layer(\d+)/ -> block.\g<1-1>", "layer4", "block.3"),
    "a hole holds no slash": ("{a}.w -> {a}", "x/y.w", None),
    "slashes become dots": ("*/kernel -> *.W", "encoder/lstm/kernel", "encoder.lstm.W"),
    "one side of a join": ("{m}.q | {m}.k -> {m}.W", "attention.k", "attention.W"),
    "rules by name": (
        "net.* -> encoder.* by torchvision",
        "net.layer2.0.bn2.bias",
        "encoder.block.1.0.batch_norm_1.beta",
    ),
    "rules by name that do not match": ("net.* -> encoder.* by torchvision", "net.other", None),
    "axes of another number": ("a -> b axes: [0, 2, 1]", "a", None),
}


NO_RULES = [
    "a -> b axes: [0, 2]",
    "a -> b axes: [0, 0]",
    "a | b -> c | d",
    "a | b -> none",
    "a{i+1} -> b",
    "a.* -> b.* by nothing",
    "a.b -> b by pytorch",
    "a.* -> b.* ^T by pytorch",
    "->",
    "a ->",
    "-> b",
    "a -> b -> c",
    "a=b=c",
    "a -> {i}",
    "{i} -> {j}",
    "a -> *",
    "* -> **",
    "/(/ -> b",
]


def paths_of(rule: str, name: str, rank: int = 2) -> tuple[str, ...] | None:
    """The paths of an entry by a rule; None if it does not match."""
    return next((each.paths for each in read_rename(rule).assignments(name, rank, Budget())), None)


class TestRenames:
    @pytest.mark.parametrize("label", RULES)
    def test_a_rule_gives_a_path(self, label: str) -> None:
        rule, name, path = RULES[label]
        assert paths_of(rule, name) == (None if path is None else (path,))

    @pytest.mark.parametrize("rule", [*NO_RULES, r"/a/ -> \1", "a" * 2000 + " -> b"])
    def test_what_is_no_rule_is_told(self, rule: str) -> None:
        with pytest.raises(NablacError) as caught:
            read_renames([rule])
        assert caught.value.diagnostics[0].code == "E706"

    def test_a_file_of_rules_is_read_and_its_lines_are_told(self, tmp_path: Path) -> None:
        file = tmp_path / "rules.txt"
        file.write_text("# from torch\n\nfc.weight -> dense.W ^T   # stored the other way\nfc.bias -> dense.b\n")
        rules = read_renames([str(file)])
        assert [rule.layout.turned for rule in rules] == [True, False]
        weights = saved(tmp_path, fc__weight=GOOD["dense.W"].T, fc__bias=GOOD["dense.b"])
        found = load_weights(weights, example(), rules)
        assert all(np.array_equal(found[name], array) for name, array in GOOD.items())
        file.write_text("a -> b\nnonsense\n")
        with pytest.raises(NablacError) as caught:
            read_renames([str(file)])
        assert f" --> {file}:2" in text_of(caught)

    def test_a_file_that_is_not_there_is_told(self) -> None:
        with pytest.raises(NablacError) as caught:
            read_renames(["rules.txt"])
        assert "there is no file of rename rules rules.txt" in text_of(caught)

    def test_the_first_rule_that_fits_counts(self, tmp_path: Path) -> None:
        rules = read_renames(["fc.weight -> dense.W", "fc.* -> dense.b"])
        weights = saved(tmp_path, fc__weight=GOOD["dense.W"], fc__bias=GOOD["dense.b"])
        assert set(load_weights(weights, example(), rules)) == {"dense.W", "dense.b"}

    def test_two_entries_that_become_one_are_told(self, tmp_path: Path) -> None:
        weights = saved(tmp_path, a__w=GOOD["dense.W"], b__w=GOOD["dense.W"])
        with pytest.raises(NablacError) as caught:
            load_weights(weights, example(), read_renames(["*.w -> dense.W"]))
        assert "`a.w` and `b.w` both become `dense.W`" in text_of(caught)


X = np.arange(24.0, dtype=np.float32)
A, B, C, D = X[:12].reshape(3, 4), X[12:].reshape(3, 4), X[:8].reshape(2, 4), X[8:].reshape(4, 4)
LAYOUTS: dict[str, tuple[str, dict[str, Any], Any]] = {  # by label: the rules, the entries, the weight `p`
    "axes in another order": (
        "a -> p axes: [3, 2, 0, 1]",
        {"a": X.reshape(1, 2, 3, 4)},
        np.einsum("abcd->dcab", X.reshape(1, 2, 3, 4)),
    ),
    "two entries joined": ("a | b -> p", {"a": A, "b": B}, np.hstack([A, B])),
    "joined in the order of the rule": ("d | c -> p axis: 0", {"c": C, "d": D}, np.vstack([D, C])),
    "turned, then joined": ("a | b -> p ^T axis: 0", {"a": A, "b": B}, np.vstack([A.T, B.T])),
    "one added to a join": ("a | b -> p; c -> +p", {"a": X[:2], "b": X[2:5], "c": X[5:10]}, X[:5] + X[5:10]),
    "flattened": ("a -> p flat", {"a": X.reshape(4, 6)}, X),
}


class TestLayouts:
    @pytest.mark.parametrize("label", LAYOUTS)
    def test_a_rule_arranges_an_entry(self, label: str) -> None:
        rules, arrays, expected = LAYOUTS[label]
        g = graph([], y=parameter("p", *expected.shape))
        weights = fit_weights(arrays, g, "file", [read_rename(rule) for rule in rules.split("; ")])
        assert np.array_equal(weights["p"], expected)

    @settings(max_examples=50, deadline=None)
    @given(
        shape=st.lists(st.integers(0, 3), min_size=1, max_size=4),
        parts=st.integers(2, 4),
        order=st.randoms(use_true_random=False),
    )
    def test_joining_undoes_splitting_and_turning_back_undoes_turning(
        self, shape: list[int], parts: int, order: random.Random
    ) -> None:
        axis = order.randrange(len(shape))
        shape[axis] *= parts
        axes = order.sample(range(len(shape)), len(shape))
        back = [axes.index(number) for number in range(len(axes))]
        entry = normal(*shape)
        names = [f"p{number}" for number in range(parts)]
        turned = axes.index(axis)  # of the axis that is split, once the entry is turned
        split = read_rename(f"a -> {' | '.join(names)} axes: {axes} axis: {turned}")
        part = np.split(np.transpose(entry, axes), parts, axis=turned)[0]
        pieces = fit_weights({"a": entry}, graph([], **{n: parameter(n, *part.shape) for n in names}), "file", [split])
        joined = read_rename(f"{' | '.join(names)} -> a axis: {turned}")
        whole = fit_weights(pieces, graph([], y=parameter("a", *(shape[number] for number in axes))), "file", [joined])
        again = fit_weights(whole, graph([], y=parameter("a", *shape)), "file", [read_rename(f"a -> a axes: {back}")])
        assert np.array_equal(again["a"], entry)

    def test_a_part_of_any_axis(self) -> None:
        g = graph([], y=parameter("p", 2, 2, 3) + parameter("q", 2, 2, 3))
        a = X.reshape(2, 4, 3)
        weights = fit_weights({"a": a}, g, "file", [read_rename("a -> p | q axis: 1")])
        assert np.array_equal(weights["p"], a[:, :2]) and np.array_equal(weights["q"], a[:, 2:])

    def test_the_first_rule_whose_paths_the_model_has_applies(self) -> None:
        g = graph([], y=parameter("net.p", 4) + parameter("other.q", 4))
        rules = read_renames(["*.w -> *.p", "*.w -> *.q"])
        notes: list[Any] = []
        weights = fit_weights({"net.w": X[:4], "other.w": X[4:8]}, g, "file", rules, say=notes.append)
        assert np.array_equal(weights["net.p"], X[:4]) and np.array_equal(weights["other.q"], X[4:8])
        assert not notes

    REFUSED = {
        "parts that differ": (
            ["a | b -> p"],
            {"a": X[:6].reshape(2, 3), "b": X[:12].reshape(3, 4)},
            "error[E706]: cannot join `a`, [2, 3], and `b`, [3, 4], along axis -1\n --> --rename\n"
            "help: they may differ along that axis only: `axis: 0` at the end of the rule joins along the first",
        ),
        "a part that is missing": (
            ["a | b -> p"],
            {"b": X[:6]},
            "error[E706]: `p` joins 2 entries, and the file has only `b`\n --> file\nhelp: the rule is `a | b -> p`",
        ),
        "two of one part": (
            ["{m}.a | {m}.b -> p"],
            {"x.a": X[:6], "y.a": X[:6]},
            "error[E706]: `x.a` and `y.a` both become `p`\n --> file\nhelp: give them different paths",
        ),
        "a negative number": (
            ["layer{i} -> block.{i-1}"],
            {"layer0": X[:6]},
            "error[E706]: `layer{i} -> block.{i-1}` does not count for `layer0`: it would be -1\n --> --rename\n"
            "help: as in `layers.{i}.fc.weight -> block.{i}.dense.W ^T`",
        ),
        "a shape after a rule": (
            ["a -> p | p.q ^T axis: 0"],
            {"a": X.reshape(4, 6)},
            "error[E702]: `a`, renamed to `p.q`, is not a parameter of test\n --> file\nhelp: `--rename 'a -> none'` "
            "leaves it out\n\n"
            "error[E703]: `p` is f32[3, 4] by its rename rule, and f32[5, 5] in the model\n --> file\n"
            "  = the rule is `a -> p | p.q ^T axis: 0`; in the file `a` is f32[4, 6]",
        ),
        "parts of an axis that it does not have": (
            ["a -> p | q axis: 5"],
            {"a": np.zeros((5, 5), np.float32)},
            "error[E702]: `a`, renamed to `q`, is not a parameter of test\n --> file\n"
            "help: `--rename 'a -> none'` leaves it out\n\n"
            "error[E706]: `a`, [5, 5], cannot be split into 2 equal parts along axis 5: it has 2 axes\n --> file\n"
            "  = the rule is `a -> p | q axis: 5`",
        ),
        "parts that are not equal": (
            ["a -> p | q"],
            {"a": np.zeros((4, 7), np.float32)},
            "error[E702]: `a`, renamed to `q`, is not a parameter of test\n --> file\n"
            "help: `--rename 'a -> none'` leaves it out\n\n"
            "error[E706]: `a`, [4, 7], cannot be split into 2 equal parts along axis -1, of size 7\n --> file\n"
            "  = the rule is `a -> p | q`",
        ),
        "an order of more axes": (
            ["a -> p axes: [1, 0, 2]"],
            {"a": np.zeros((5, 5), np.float32)},
            "error[E701]: `p`: f32[5, 5] is missing\n --> file\nhelp: `a` has its shape: `--rename 'a -> p'`\n\n"
            "error[E702]: `a` is not a parameter of test\n --> file\n"
            "help: `--rename 'a -> none'` leaves it out\n\n"
            "error[E706]: `a -> p axes: [1, 0, 2]` is for entries with 3 axes, and `a` has 2\n --> file",
        ),
        "a kernel of Keras": (
            ["a -> p"],
            {"a": np.zeros((5, 5, 3, 2), np.float32)},
            "error[E703]: `p` is f32[5, 5, 3, 2] in the file, and f32[2, 3, 5, 5] in the model\n --> file\n"
            "help: turn it by a rename rule before the others: `--rename 'a -> p axes: [3, 2, 0, 1]'`",
        ),
    }

    @pytest.mark.parametrize("label", REFUSED)
    def test_what_does_not_fit_is_told(self, label: str) -> None:
        rules, arrays, text = self.REFUSED[label]
        shape = (2, 3, 5, 5) if "Keras" in label else (5, 5)
        with pytest.raises(NablacError) as caught:
            fit_weights(arrays, graph([], y=parameter("p", *shape)), "file", read_renames(rules))
        assert text_of(caught) == text

    def test_of_shipped_rules_only_those_of_which_none_match_are_told(self) -> None:
        g = graph([], y=parameter("dense.W", 2, 3))
        notes: list[Any] = []
        fit_weights(
            {"dense.weight": X[:6].reshape(3, 2)},
            g,
            "file",
            read_renames(["pytorch", "keras", "a -> b"]),
            say=notes.append,
        )
        assert notes == ["note: file: `keras`, `a -> b` match no entry of the file"]

    def test_a_misspelt_name_of_rules_is_suggested(self) -> None:
        with pytest.raises(NablacError) as caught:
            read_renames(["pytorhc"])
        assert text_of(caught) == (
            "error[E706]: there is no file of rename rules pytorhc\n --> --rename\nhelp: did you mean `pytorch`?"
        )
