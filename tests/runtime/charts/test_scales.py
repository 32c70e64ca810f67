"""Axes: ticks are round and apart, values lie where they belong, whatever numbers there are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.charts.readable_numbers import duration, is_drawable, labels, readable, ticks, whole_ticks
from runtime.charts.scales import Axis, Scale, named_scale, numeric_scale, whole_scale, with_ticks_at

NUMBERS = st.floats(allow_nan=False, allow_infinity=False).filter(is_drawable)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.03, 0.52, [0.1, 0.2, 0.3, 0.4, 0.5]),
        (-7, 7, [-6, -4, -2, 0, 2, 4, 6]),
        (0, 1.1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1e6, 1e6 + 3, [1e6, 1e6 + 0.5, 1e6 + 1, 1e6 + 1.5, 1e6 + 2, 1e6 + 2.5, 1e6 + 3]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, 1, [1]),
        (1, 2, [1, 2]),
        (1, 40, [1, 10, 20, 30, 40]),
        (1, 5, [1, 2, 3, 4, 5]),
        (95, 190, [100, 120, 140, 160, 180]),
    ],
)
def test_ticks_of_counts_are_whole(low: float, high: float, expected: list[float]) -> None:
    assert whole_ticks(low, high) == expected


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0, 4, "0"),
        (1, 4, "1"),
        (0.25, 4, "0.25"),
        (1234.5678, 4, "1,235"),
        (123456, 2, "123,456"),
        (1e6, 4, "1e6"),
        (0.00012345, 3, "0.000123"),
        (0.000012, 3, "1.2e-5"),
        (-4e9, 4, "-4e9"),
        (math.nan, 4, "NaN"),
        (math.inf, 4, "∞"),
        (-math.inf, 4, "-∞"),
    ],
)
def test_numbers_are_short(value: float, digits: int, expected: str) -> None:
    assert readable(value, digits) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (12, "12 s"), (119, "119 s"), (180, "3 min"), (9000, "2.5 h")],
)
def test_times_are_said_in_a_fitting_unit(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_labels_tell_neighbours_apart() -> None:
    assert labels([1.00001, 1.00002, 1.00003]) == ["1.00001", "1.00002", "1.00003"]
    assert labels([0.0, 0.5, 1.0]) == ["0", "0.5", "1"]


@given(st.lists(NUMBERS, max_size=6), st.sampled_from([None, True, False]), st.sampled_from([0.0, 0.07]))
def test_every_value_lies_on_its_scale(values: list[float], logarithmic: bool | None, air: float) -> None:
    scale = numeric_scale(values, logarithmic=logarithmic, air=air)
    assert all(-1e-6 <= scale.share(value) <= 1 + 1e-6 for value in values)
    assert len(scale.ticks) <= 12
    shares = [scale.share(tick) for tick, _ in scale.ticks]
    assert shares == sorted(shares) and all(-1e-6 <= share <= 1 + 1e-6 for share in shares)
    shown = [text for _, text in scale.ticks]
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [([1, 99], False), ([1, 101], True), ([0, 1000], False), ([-1, 1000], False), ([1e-9, 1e9], True)],
)
def test_two_decades_of_positive_values_make_a_scale_logarithmic(values: list[float], logarithmic: bool) -> None:
    assert numeric_scale(values).logarithmic is logarithmic


@pytest.mark.parametrize("values", [[0.0, 5.0], [-1.0, 1.0]])
def test_a_logarithmic_scale_needs_positive_values(values: list[float]) -> None:
    assert not numeric_scale(values, logarithmic=True).logarithmic


def test_a_logarithmic_scale_has_its_ticks_at_powers_of_ten() -> None:
    scale = numeric_scale([1.0, 1000.0], air=0.0)
    assert [label for _, label in scale.ticks] == ["1", "10", "100", "1,000"]
    assert [scale.share(tick) for tick, _ in scale.ticks] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert len(scale.minor) == 24 and 20 in scale.minor


def test_within_a_decade_a_logarithmic_scale_has_ticks_too() -> None:
    assert len(numeric_scale([2e-3, 8e-3], logarithmic=True).ticks) >= 3


def test_equal_values_stand_in_the_middle() -> None:
    for values in ([5.0], [5.0, 5.0], [0.0], [-1e-300]):
        assert numeric_scale(values).share(values[0]) == pytest.approx(0.5)
    assert whole_scale([7, 7]).share(7) == 0.5


def test_names_have_a_tick_each() -> None:
    scale = named_scale(["a", "b", "c"])
    assert scale.ticks == ((0, "a"), (1, "b"), (2, "c"))
    assert [scale.share(index) for index in range(3)] == pytest.approx([1 / 12, 1 / 2, 11 / 12])
    assert named_scale(["only"]).share(0) == 0.5


def test_an_axis_may_go_either_way() -> None:
    scale = Scale(0.0, 10.0, ())
    assert [Axis(scale, 100.0, 0.0).at(value) for value in (0, 5, 10)] == [100, 50, 0]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([32, 16], ["16", "32"]),
        ([0.01, 0.1, 0.01], ["0.01", "0.1"]),  # the options of a choice
        ([0.1, 0.3, 0.7], None),  # draws from a range
        ([0, 1, 100], None),  # without room
        ([*range(7)], None),
        ([], None),
    ],
)
def test_values_that_are_whole_or_repeat_have_ticks(values: list[float], ticks: list[str] | None) -> None:
    scale = numeric_scale(values)
    labels = [label for _, label in with_ticks_at(scale, values).ticks]
    assert labels == (ticks if ticks is not None else [label for _, label in scale.ticks])


@pytest.mark.parametrize("values", [[5e-324, 2e-309], [1e-305, 1e-303]])
def test_a_logarithmic_scale_of_the_smallest_numbers_has_no_ticks(values: list[float]) -> None:
    assert numeric_scale(values, logarithmic=True).ticks == ()
