"""Charts show the data they are given: counts and positions of marks, tips and texts, and nothing beyond the edge."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.charts.bars import bar_chart, bin_counts, bin_edges, histogram
from runtime.charts.heat_maps import confusion_matrix, heat_map
from runtime.charts.lines import Highlight, Series, line_chart
from runtime.charts.palette import SERIES
from runtime.charts.panel import Chart, card
from runtime.charts.parallel import Dimension, parallel_coordinates
from runtime.charts.points import CalibrationBin, calibration_plot, scatter
from tests.runtime.charts.drawings import (
    SVG,
    elements,
    label,
    number,
    of_color,
    outside,
    parsed,
    points,
    texts,
    tips,
)

NAN, INF = math.nan, math.inf
ANY = st.floats() | st.sampled_from([0.0, 1e-300, -1e300, 1e299, 5e-324, NAN, INF])
FEW = st.lists(ANY, max_size=8)
WORDS = st.text(max_size=30)


# Lines


def test_a_line_for_each_series_with_gaps_where_values_are_not_finite() -> None:
    chart = line_chart("t", [Series("a", [1, 2, 3, 4, 5], [1, 2, NAN, 4, 5]), Series("b", [1, 2, 3], [INF, 2, NAN])])
    root = parsed(chart)
    assert [len(points(mark)) for mark in of_color(root, "polyline", "blue")] == [2, 2]
    assert of_color(root, "polyline", "orange") == []
    assert len(of_color(root, "circle", "orange")) == 1  # a value between two gaps
    assert {"t", "a", "b"} <= set(texts(root))


def test_points_lie_where_their_values_are_on_the_labelled_axes() -> None:
    root = parsed(line_chart("t", [Series("a", [0, 5, 10], [0, 50, 100])], x_name="x"))
    (line,) = elements(root, "polyline")
    (first, middle, last) = points(line)
    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2), abs=0.1)
    assert number(label(root, "10"), "x") == pytest.approx(last[0], abs=0.1)
    assert number(label(root, "100"), "y") - 4 == pytest.approx(last[1], abs=0.1)  # its baseline is below its middle


def test_a_logarithmic_x_axis_leaves_out_what_is_not_positive() -> None:
    root = parsed(line_chart("t", [Series("a", [-1, 0, 0.01, 0.1, 1], [1, 1, 1, 2, 3])], log_x=True))
    (first, middle, last) = points(elements(root, "polyline")[0])
    assert middle[0] == pytest.approx((first[0] + last[0]) / 2, abs=0.1)


def test_steps_keep_a_value_up_to_the_next_one() -> None:
    root = parsed(line_chart("t", [Series("a", [0, 1, 2], [3, 2, 2], style="steps")]))
    drawn = points(elements(root, "polyline")[0])
    assert all(x == to_x or y == to_y for (x, y), (to_x, to_y) in pairwise(drawn))
    assert len(drawn) == 5


def test_dots_have_their_own_tips() -> None:
    series = Series("a", [0, 1, 2], [3, NAN, 2], style="dots", tips=["first", "second", "third"])
    root = parsed(line_chart("t", [series]))
    assert tips(root) == ["first", "third"] and elements(root, "polyline") == []


def test_a_level_is_a_dashed_line_at_its_value_and_a_highlight_stands_in_the_legend() -> None:
    series = [Series("a", [0, 10], [0, 100])]
    root = parsed(line_chart("t", series, levels={"base": 50.0, "nowhere": NAN}, highlight=Highlight(5, 50, "half")))
    dashed = [mark for mark in of_color(root, "line", "muted") if number(mark, "x2") - number(mark, "x1") > 100]
    (line,) = elements(root, "polyline")
    assert [number(mark, "y1") for mark in dashed] == pytest.approx([(points(line)[0][1] + points(line)[1][1]) / 2])
    assert {"base 50", "half"} <= set(texts(root))
    dot = of_color(root, "circle", "best")[-1]
    assert number(dot, "cy") == pytest.approx(number(dashed[0], "y1"), abs=0.1)


def test_more_series_than_colours_are_dashed_the_second_time() -> None:
    root = parsed(line_chart("t", [Series(f"s{index}", [0, 1], [index, index]) for index in range(len(SERIES) + 1)]))
    (solid, dashed) = of_color(root, "polyline", SERIES[0].name)
    assert solid.get("stroke-dasharray") is None and dashed.get("stroke-dasharray")


def test_a_legend_in_several_rows_makes_the_panel_higher() -> None:
    few, many = (
        line_chart("t", [Series(f"a long name {index}", [0, 1], [0, 1]) for index in range(n)]) for n in (2, 9)
    )
    assert many.height > few.height
    assert {number(mark, "y") for mark in elements(parsed(many), "text") if "long" in (mark.text or "")} == {47, 67, 87}


def test_a_long_line_is_thinned_out_to_what_can_be_seen() -> None:
    values = [math.sin(index / 1000) for index in range(100_000)]
    values[54_321] = 50.0
    chart = line_chart("t", [Series("a", range(100_000), values)])
    (line,) = elements(parsed(chart), "polyline")
    assert len(points(line)) < 2500
    assert min(y for _, y in points(line)) < points(line)[0][1] - 100  # the one high value is still there


@given(FEW, FEW, st.booleans(), st.sampled_from([None, True, False]), st.sampled_from(["line", "steps", "dots"]))
def test_a_line_chart_takes_any_numbers(
    x: list[float], y: list[float], log_x: bool, log_y: bool | None, style: str
) -> None:
    series = Series("a", x, y, style=style)  # type: ignore[arg-type]
    assert not list(outside(parsed(line_chart("t", [series], log_x=log_x, log_y=log_y, x_name="x", y_name="y"))))


@given(WORDS, WORDS, WORDS, WORDS)
def test_texts_stay_texts_and_inside(title: str, name: str, x_name: str, note: str) -> None:
    chart = line_chart(title, [Series(name, [1, 2], [1, 2])] * 3, x_name=x_name, y_name=name, note=note)
    assert not list(outside(parsed(chart)))


@pytest.mark.parametrize("evil", ["</svg><script>alert(1)</script>", "&amp; \"'<b>", "\x00\x1b[31m", "]]>", "\ud800"])
def test_markup_in_a_text_is_shown_as_it_is(evil: str) -> None:
    chart = bar_chart(evil, {evil: 1.0}, note=evil)
    root = parsed(chart)
    assert "<script" not in chart.svg()
    assert root.findtext(f"{SVG}title") == "".join(letter if letter.isprintable() else " " for letter in evil)


def test_a_chart_says_what_it_shows_to_those_who_do_not_see_it() -> None:
    root = parsed(line_chart("Loss", [Series("run", [1, 2, 3], [3, 1, NAN])], x_name="epoch"))
    assert root.get("role") == "img" and root.findtext(f"{SVG}title") == "Loss"
    assert root.findtext(f"{SVG}desc") == "run by epoch, 2 values: lowest 1, highest 3, last 1."


def test_a_file_has_the_colours_of_a_dark_screen_and_a_part_of_a_page_leaves_them_to_it() -> None:
    chart = line_chart("Loss", [Series("run", [1, 2], [3, 1])])
    assert "prefers-color-scheme: dark" in chart.svg() and "prefers-color-scheme" not in chart.inline()


def test_a_card_holds_its_charts_side_by_side_and_below_each_other() -> None:
    chart = line_chart("a", [Series("run", [1, 2], [3, 1])], width=100, height=80)
    root = parsed(card("All", [[chart, chart], [chart]]))
    moves = [mark.get("transform") for mark in elements(root, "g")]
    assert moves == ["translate(20 56)", "translate(136 56)", "translate(20 152)"]
    assert texts(parsed(card("All", [], empty="no runs"))) == ["All", "no runs"]


# Bars


def test_bars_are_as_long_as_their_amounts() -> None:
    root = parsed(bar_chart("t", {"a": 1.0, "b": 3.0, "c": 0.0}))
    widths = [number(mark, "width") for mark in of_color(root, "rect", "blue")]
    assert widths == pytest.approx([widths[1] / 3, widths[1], 0.0], abs=0.02)
    assert tips(root) == ["a: 1", "b: 3", "c: 0"]


def test_negative_bars_go_the_other_way_from_the_same_line() -> None:
    root = parsed(bar_chart("t", {"down": -1.0, "up": 2.0, "none": NAN}, texts=["-1 %", "2 %", "?"]))
    down, up, none = of_color(root, "rect", "blue")
    assert number(down, "x") + number(down, "width") == pytest.approx(number(up, "x"), abs=0.02)
    assert number(up, "width") == pytest.approx(2 * number(down, "width"), abs=0.05) and number(none, "width") == 0
    assert {"-1 %", "2 %", "?"} <= set(texts(root)) and not list(outside(root))


def test_bars_beyond_the_most_are_counted() -> None:
    root = parsed(bar_chart("t", {f"n{index}": 1.0 for index in range(40)}, most=12))
    assert len(of_color(root, "rect", "blue")) == 12 and "and 28 more" in texts(root)


@given(st.dictionaries(WORDS, ANY, max_size=6))
def test_a_bar_chart_takes_any_amounts(amounts: dict[str, float]) -> None:
    assert not list(outside(parsed(bar_chart("t", amounts))))


def test_a_histogram_has_a_column_for_each_interval_that_has_values() -> None:
    root = parsed(histogram("t", [0, 1, 1, 2, 2, 2, 9, NAN, INF], bins=10, mark=0.0))
    assert tips(root) == ["0 to 1: 1", "1 to 2: 2", "2 to 3: 3", "8 to 9: 1"]  # the last end is of its interval
    columns = of_color(root, "rect", "blue")
    heights = [number(mark, "height") for mark in columns]
    assert heights == pytest.approx([heights[0], 2 * heights[0], 3 * heights[0], heights[0]], abs=0.05)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.sampled_from([None, 5, 20]))
def test_intervals_are_around_all_values_and_counts_miss_none(values: list[float], bins: int | None) -> None:
    values.sort()
    edges = bin_edges(values, bins)
    rounding = 2e-9 * (edges[1] - edges[0])  # a value this near an edge counts as on it
    assert edges[0] <= values[0] + rounding and edges[-1] >= values[-1] - rounding
    assert len(edges) < 150
    assert sum(bin_counts(values, edges)) == len(values)


@given(FEW)
def test_a_histogram_takes_any_values(values: list[float]) -> None:
    assert not list(outside(parsed(histogram("t", values, x_name="x", mark=0.0))))


@pytest.mark.parametrize("values", [[0.0, 1.1e-133], [-1.1e-133, 0.0], [0.0, 1.234e299], [0.0, 123_400.0]])
@pytest.mark.parametrize("width", [480, 200])
def test_wide_labels_at_the_ends_of_an_axis_stay_inside(values: list[float], width: int) -> None:
    assert not list(outside(parsed(histogram("t", values, x_name="x", width=width))))


# Points


def test_a_dot_for_each_pair_that_has_a_place() -> None:
    root = parsed(scatter("t", [1, 2, NAN, 4], [1, 2, 3, INF], tips=["a", "b", "c", "d"], x_name="x", y_name="y"))
    assert tips(root) == ["a", "b"]


def test_the_line_of_equal_values_goes_through_equal_values() -> None:
    root = parsed(scatter("t", [0, 10, 5], [0, 10, 90], identity=True))
    (line,) = [mark for mark in of_color(root, "line", "muted") if number(mark, "x2") - number(mark, "x1") > 100]
    slope = (number(line, "y2") - number(line, "y1")) / (number(line, "x2") - number(line, "x1"))
    low, high, _ = of_color(root, "circle", "blue")
    for dot in (low, high):
        expected = number(line, "y1") + slope * (number(dot, "cx") - number(line, "x1"))
        assert number(dot, "cy") == pytest.approx(expected, abs=0.1)


def test_of_very_many_points_some_are_drawn_and_that_is_said() -> None:
    root = parsed(scatter("t", range(50_000), range(50_000)))
    assert len(elements(root, "circle")) == 2000 and "2,000 of 50,000 points" in texts(root)


@given(st.lists(st.tuples(ANY, ANY), max_size=8), st.booleans())
def test_a_scatter_takes_any_numbers(pairs: list[tuple[float, float]], identity: bool) -> None:
    x, y = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert not list(outside(parsed(scatter("t", x, y, identity=identity, x_name="x"))))


def test_calibration_is_a_dot_and_a_column_for_each_bin_with_predictions() -> None:
    bins = [CalibrationBin(0.1, 0.2, 10), CalibrationBin(0.5, NAN, 0), CalibrationBin(0.9, 0.7, 40)]
    root = parsed(calibration_plot("t", bins))
    first, second = of_color(root, "circle", "blue")
    columns = of_color(root, "rect", "ramp-2")[1:]  # the first is the legend's
    assert number(columns[1], "height") == pytest.approx(4 * number(columns[0], "height"), abs=0.05)
    (diagonal,) = [mark for mark in of_color(root, "line", "muted") if number(mark, "x2") - number(mark, "x1") > 100]
    assert number(first, "cy") < number(diagonal, "y1") * 0.9 + number(diagonal, "y2") * 0.1  # above it: too modest
    assert number(second, "cy") > number(diagonal, "y1") * 0.1 + number(diagonal, "y2") * 0.9  # below it: too sure
    assert "Of 10 at 10%, 20% are right." in (root.findtext(f"{SVG}desc") or "")
    assert "no predictions" in texts(parsed(calibration_plot("t", [])))


# Heat maps


def test_a_confusion_matrix_has_counts_names_and_the_shares_of_its_rows() -> None:
    root = parsed(confusion_matrix("t", ["cat", "dog"], [[9, 1], [0, 0]]))
    cells = [mark for mark in elements(root, "rect") if mark.get("rx") == "3"]
    classes = [mark.get("class") for mark in cells]
    assert classes == ["fill-ramp-9", "fill-ramp-2", "fill-ramp-0", "fill-ramp-0"]
    assert tips(root)[:2] == ["cat taken for cat: 9 of 10", "cat taken for dog: 1 of 10"]
    shown = texts(root)
    assert shown.count("cat") == shown.count("dog") == 2 and {"9", "1"} <= set(shown)
    assert root.findtext(f"{SVG}desc") == "9 of 10 are right. cat taken for dog: 1 of 10."


def test_of_very_many_classes_those_with_the_most_mistakes_are_shown() -> None:
    count = 100
    counts = [[0] * count for _ in range(count)]
    for index in range(count):
        counts[index][index] = 50
    counts[70][71] = 5
    root = parsed(confusion_matrix("t", [f"c{index}" for index in range(count)], counts))
    assert len([mark for mark in elements(root, "rect") if mark.get("rx") == "3"]) == 40 * 40
    assert {"c70", "c71"} <= set(texts(root))
    assert any("the 40 of 100 classes with the most mistakes" in words for words in texts(root))


@pytest.mark.parametrize("count", [1, 2, 3, 8, 10, 15, 25, 40])
def test_cells_have_room_for_names_of_any_length(count: int) -> None:
    for length in (1, 8, 60):
        names = [f"{index}" * length for index in range(count)]
        root = parsed(confusion_matrix("t", names, [[123_456] * count for _ in range(count)]))
        assert not list(outside(root))


def test_cells_without_a_number_are_empty() -> None:
    root = parsed(heat_map("t", ["a"], ["x", "y", "z"], [[0.0, NAN, 1.0]]))
    assert tips(root) == ["a, x: 0.0%", "a, z: 100.0%"]
    assert not list(outside(parsed(heat_map("t", [], [], []))))


# Parallel coordinates


def trials(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [mark for mark in elements(root, "polyline") if "trial" in mark.get("class", "")]


def test_a_line_for_each_trial_the_best_last_and_in_its_own_colour() -> None:
    objective = Dimension("loss", [0.5, None, 0.1, 0.9, NAN])
    root = parsed(
        parallel_coordinates(
            "t", [Dimension("units", [1, 2, 3, 4, 5])], objective, tips=[f"trial {index}" for index in range(5)]
        )
    )
    assert [tip for tip in tips(root) if tip] == ["trial 3", "trial 0", "trial 2"]
    assert ["stroke-best" in mark.get("class", "") for mark in trials(root)] == [False, False, True]
    higher = parsed(parallel_coordinates("t", [], objective, higher_is_better=True, tips=["a", "b", "c", "d", "e"]))
    assert tips(higher) == ["c", "a", "d"]


def test_axes_are_numeric_logarithmic_or_of_names() -> None:
    dimensions = [
        Dimension("cell", ["LSTM", "GRU", "LSTM"]),
        Dimension("units", [0, 50, 100]),
        Dimension("lr", [1e-4, 1e-3, 1e-2], logarithmic=True),
    ]
    root = parsed(parallel_coordinates("t", dimensions, Dimension("loss", [3.0, 2.0, 1.0])))
    lines = [points(mark) for mark in trials(root)]
    assert lines[0][0] == lines[2][0] != lines[1][0]  # the same name is the same point
    for axis in (1, 2):
        low, middle, high = (line[axis][1] for line in lines)
        assert middle == pytest.approx((low + high) / 2, abs=0.1)
    assert {"cell", "LSTM", "GRU", "units", "50", "lr", "0.001", "loss"} <= set(texts(root))


def test_what_a_trial_has_not_lies_below_the_axis() -> None:
    dimensions = [Dimension("dropout", [0.1, None, 0.3]), Dimension("kind", [None, "a", "b"])]
    root = parsed(parallel_coordinates("t", dimensions, Dimension("loss", [3.0, 2.0, 1.0])))
    (first, second, third) = [points(mark) for mark in trials(root)]
    assert second[0][1] > first[0][1] + 20 > third[0][1]
    assert texts(root).count("none") == 2


@pytest.mark.parametrize("values", [[], [None, NAN]])
def test_without_results_there_is_a_line_of_text(values: list[float | None]) -> None:
    root = parsed(parallel_coordinates("t", [Dimension("a", [1] * len(values))], Dimension("loss", values)))
    assert "no trial has a result yet" in texts(root)


@given(st.lists(st.tuples(ANY | st.none(), WORDS | st.none() | st.integers(-5, 5), ANY), max_size=8), st.booleans())
def test_parallel_coordinates_take_any_values(
    rows: list[tuple[float | None, str | int | None, float]], logarithmic: bool
) -> None:
    first, second, objective = ([row[index] for row in rows] for index in range(3))
    dimensions = [Dimension("a", first, logarithmic), Dimension("b" * 40, second), Dimension("c", first)]  # type: ignore[arg-type]
    chart: Chart = parallel_coordinates("t", dimensions, Dimension("loss", objective), note="n")  # type: ignore[arg-type]
    assert not list(outside(parsed(chart)))
