"""Flame graphs: widths are amounts, parts lie under their whole, and what is too narrow to see is one slice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.charts.flames import Flame, flame_graph
from tests.runtime.charts.drawings import elements, number, outside, parsed, texts, tips

LEAVES = (Flame("first", 60, "first: 60", leaf=True), Flame("second", 20, "second: 20", leaf=True))
TREE = Flame("all", 100, "all: 100", (Flame("layer", 80, "layer: 80", LEAVES), Flame("rest", 20, "rest: 20")))


def slices(flame: Flame) -> dict[str, tuple[float, float, float]]:
    """The left edge, the width and the top of each slice, by its tip."""
    marks = [mark for mark in elements(parsed(flame_graph("t", flame)), "rect") if len(mark)]
    return {mark[0].text or "": (number(mark, "x"), number(mark, "width"), number(mark, "y")) for mark in marks}


def test_a_slice_is_as_wide_as_its_amount_and_lies_under_its_whole() -> None:
    drawn = slices(TREE)
    assert list(drawn) == ["all: 100", "layer: 80", "first: 60", "second: 20", "rest: 20"]
    whole = drawn["all: 100"][1] + 1  # a gap follows each
    for tip, (_, width, _) in drawn.items():
        assert (width + 1) / whole == pytest.approx(float(tip.split(": ")[1]) / 100, abs=1e-3)
    assert drawn["first: 60"][0] == drawn["layer: 80"][0] == drawn["all: 100"][0]
    assert drawn["second: 20"][0] == pytest.approx(drawn["first: 60"][0] + drawn["first: 60"][1] + 1, abs=0.02)
    assert drawn["all: 100"][2] < drawn["layer: 80"][2] == drawn["rest: 20"][2] < drawn["first: 60"][2]


def test_only_leaves_are_coloured_and_the_largest_is_the_darkest() -> None:
    root = parsed(flame_graph("t", TREE))
    colors = {mark[0].text: mark.get("class") for mark in elements(root, "rect") if len(mark)}
    assert colors["first: 60"] == "fill-ramp-10" and colors["all: 100"] == "fill-faint stroke-grid"
    assert colors["second: 20"] not in (colors["first: 60"], colors["all: 100"])


def test_narrow_parts_are_one_slice_that_says_how_many() -> None:
    many = tuple(Flame(f"part {index}", 0.01, "") for index in range(100))
    drawn = slices(Flame("all", 100, "all", (Flame("large", 99, "large"), *many)))
    assert list(drawn) == ["all", "large", "100 smaller: 1.0% of all"]


def test_names_are_shortened_to_their_slices() -> None:
    long = Flame("a_very_long_name_of_a_layer", 5, "tip", leaf=True)
    root = parsed(flame_graph("t", Flame("all", 100, "all", (long, Flame("b", 0.5, "b", leaf=True)))))
    assert [text for text in texts(root) if text != "t"] == ["all", "a_ve…"]
    assert tips(root) == ["all", "tip", "b"]


@pytest.mark.parametrize("amount", [0.0, -1.0, float("nan"), float("inf")])
def test_nothing_is_drawn_of_no_amount(amount: float) -> None:
    assert texts(parsed(flame_graph("t", Flame("all", amount, "all")))) == ["t", "nothing to show"]


TREES = st.recursive(
    st.builds(Flame, st.text(max_size=20), st.floats(-1, 100), st.text(max_size=5), leaf=st.booleans()),
    lambda parts: st.builds(
        lambda name, some: Flame(name, sum(max(part.amount, 0) for part in some), name, tuple(some)),
        st.text(max_size=20),
        st.lists(parts, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=20, deadline=None)
@given(TREES)
def test_no_slice_and_no_name_is_outside_of_the_chart(tree: Flame) -> None:
    assert list(outside(parsed(flame_graph("t", tree)))) == []
